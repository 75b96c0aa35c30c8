"""How a recovered field changed from solve to solve, as a GIF."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hyco.report.coefficients import INITIAL
from hyco.report.evaluation import Evaluation, ParameterResult
from hyco.report.gif import new_figure, palette_of, render, write_gif
from hyco.report.metrics import parameter_error
from hyco.report.plots import (
    LINES,
    STYLE,
    Scale,
    axis_label,
    colour_bar,
    draw_plane,
    panel_height,
    pixels,
    plane,
    plane_note,
)
from hyco.report.records import Course

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SECONDS = 8.0  # that a whole training takes to watch, if its solves are many
Field = NDArray[np.floating]
Scene = tuple[list[Any], Callable[[int], None]]


def has_evolution(evaluation: Evaluation, result: ParameterResult) -> bool:
    """Whether there is a field, and more than one snapshot of it."""
    values = evaluation.snapshots.values.get(result.name)
    return values is not None and values.ndim > 1 and len(values) > 1


def draw_evolution(evaluation: Evaluation, result: ParameterResult, path: Path) -> None:
    """Write the GIF of one field parameter: truth, recovered field and error after each kept solve."""
    import matplotlib

    values = [np.asarray(result.scored(v)) for v in evaluation.snapshots.values[result.name]]
    truth = np.broadcast_to(np.asarray(result.truth, np.float64), evaluation.grid.resolution)
    errors = [np.abs(v - truth) for v in values]
    scale = Scale.of_parameter(evaluation, result)
    error_scale = scale.of_errors([plane(e, evaluation.grid) for e in errors])
    line = evaluation.grid.rank == 1
    with matplotlib.rc_context(STYLE):
        drawn = new_figure(7.6, 3.0 if line else panel_height(evaluation.grid, 2.1) + 1.6)
        title = drawn.suptitle(_title(evaluation, result, values, len(values) - 1))
        made = _lines if line else _images
        artists, show = made(drawn, evaluation, truth, values, errors, scale, error_scale)

        def advance(frame: int) -> None:
            show(frame)
            title.set_text(_title(evaluation, result, values, frame))

        images = list(render(drawn, [*artists, title], advance, len(values)))
    maps = () if line else (scale.colours, error_scale.colours)
    write_gif(images, palette_of(maps, images), path, fps=min(10.0, max(1.5, len(values) / SECONDS)))


def _title(evaluation: Evaluation, result: ParameterResult, values: list[Field], frame: int) -> str:
    """`burgers: diffusion coeff after solve 3 (cycle 2), relative L2 error 0.021`."""
    solve = evaluation.snapshots.solves[frame]
    when = "before the training" if solve == 0 else f"after solve {solve}"
    for stage in Course(evaluation.history, "physical").stages:
        if stage.start <= solve <= stage.end:
            when += " (warm-up)" if stage.name != "cycle" else f" (cycle {stage.cycle})"
    error = parameter_error(values[frame], result.truth).relative_l2
    name = result.name.replace("_", " ")
    return f"{evaluation.experiment}: {name} {when}\nrelative L2 error {error:.3g}{plane_note(evaluation)}"


def _images(
    drawn: Figure,
    evaluation: Evaluation,
    truth: Field,
    values: list[Field],
    errors: list[Field],
    scale: Scale,
    error_scale: Scale,
) -> Scene:
    grid = evaluation.grid
    panels = drawn.subplots(1, 3, sharex=True, sharey=True)
    draw_plane(panels[0], truth, grid, scale)
    changing = [
        (draw_plane(panels[1], values[0], grid, scale), values),
        (draw_plane(panels[2], errors[0], grid, error_scale), errors),
    ]
    for panel, name in zip(panels, ("True", "Recovered", "|recovered - true|"), strict=True):
        panel.set_title(name)
        panel.set_xlabel(axis_label("x", evaluation))
    panels[0].set_ylabel(axis_label("y", evaluation))
    place: dict[str, Any] = {"location": "bottom", "pad": 0.03}
    colour_bar(drawn, panels[:2], scale, [plane(v, grid) for v in values], aspect=30, **place)
    colour_bar(drawn, panels[2:], error_scale, [plane(e, grid) for e in errors], aspect=14, **place)

    def show(frame: int) -> None:
        for image, series in changing:
            image.set_data(pixels(series[frame], grid))

    return [image for image, _ in changing], show


def _lines(
    drawn: Figure,
    evaluation: Evaluation,
    truth: Field,
    values: list[Field],
    errors: list[Field],
    scale: Scale,
    error_scale: Scale,
) -> Scene:
    x = evaluation.grid.centres("x")
    left, right = drawn.subplots(1, 2, sharex=True)
    left.plot(x, truth, label="True", **LINES["truth"])
    left.plot(x, values[0], label="Initial guess", **INITIAL)
    changing = [
        (left.plot(x, values[-1], label="Recovered", **LINES["physical"])[0], values),
        (right.plot(x, errors[-1], **LINES["physical"])[0], errors),
    ]
    finite = np.concatenate([np.asarray(v, np.float64)[np.isfinite(v)] for v in (truth, *values)])
    reach = 0.06 * (float(np.ptp(finite)) or 1.0)
    left.set(ylim=(finite.min() - reach, finite.max() + reach), xlim=(0.0, evaluation.grid.size[0]))
    right.set(ylim=(0.0, 1.05 * error_scale.high))
    left.set_ylabel(scale.label)
    right.set_ylabel("|recovered - true|")
    drawn.legend(loc="outside lower center", ncols=3)
    for panel in (left, right):
        panel.set_xlabel(axis_label("x", evaluation))
        panel.grid(alpha=0.25)

    def show(frame: int) -> None:
        for curve, series in changing:
            curve.set_ydata(series[frame])

    return [curve for curve, _ in changing], show
