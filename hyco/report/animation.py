"""Truth, prediction and error in motion: one GIF per test simulation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyco.report.evaluation import MODELS, Evaluation, SimulationResult
from hyco.report.frames import View, draw_error_lines, draw_lines
from hyco.report.gif import new_figure, palette_of, render, write_gif
from hyco.report.plots import STYLE, axis_label, draw_plane, panel_height, pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# the artists that change, and what puts them at a frame
Scene = tuple[list[Any], Callable[[int], None]]


def draw_animation(evaluation: Evaluation, result: SimulationResult, path: Path, *, fps: int) -> None:
    """Write the GIF of one simulation, all its frames, looping; colour scales are the same throughout.

    Rows are models; columns truth, prediction and error (for 1-D, one row: values and errors).
    """
    import matplotlib

    view = View(evaluation, result)
    rank = evaluation.grid.rank
    row = 2.6 if rank == 1 else panel_height(evaluation.grid, 2.0) + 0.25
    rows = 1 if rank == 1 else len(view.predictions)
    with matplotlib.rc_context(STYLE):
        drawn = new_figure(7.3, row * rows + 1.15)
        title = drawn.suptitle(_title(view, result, result.frames - 1))
        artists, show = (_lines if rank == 1 else _images)(drawn, view)

        def advance(frame: int) -> None:
            show(frame)
            title.set_text(_title(view, result, frame))

        images = list(render(drawn, [*artists, title], advance, result.frames))
    maps = () if rank == 1 else (view.scale.colours, view.error_scale.colours)
    write_gif(images, palette_of(maps, images), path, fps=fps)


def _title(view: View, result: SimulationResult, frame: int) -> str:
    return f"{view.title(result.simulation)}, {view.time(frame)}"


def _lines(drawn: Figure, view: View) -> Scene:
    left, right = drawn.subplots(1, 2)
    values, errors = draw_lines(left, view, 0), draw_error_lines(right, view, 0)
    left.set_ylabel(view.scale.label)
    right.set_ylabel(view.error_scale.label)
    for panel in (left, right):
        panel.set_xlabel(axis_label("x", view.evaluation))
        panel.grid(alpha=0.25)
    drawn.legend(handles=values, loc="outside lower center", ncols=len(values))
    series = [view.truth, *view.predictions.values(), *view.errors.values()]

    def show(frame: int) -> None:
        for line, array in zip(values + errors, series, strict=True):
            line.set_ydata(array[frame])

    return values + errors, show


def _images(drawn: Figure, view: View) -> Scene:
    panels = drawn.subplots(len(view.predictions), 3, sharex=True, sharey=True, squeeze=False)
    shown = []
    for row, model in zip(panels, view.predictions, strict=True):
        columns = ("Truth", view.truth, view.scale), (MODELS[model], view.predictions[model], view.scale)
        wrong = ("|error|", view.errors[model], view.error_scale)
        for panel, (name, values, scale) in zip(row, (*columns, wrong), strict=True):
            shown.append((draw_plane(panel, values[0], view.grid, scale), values))
            panel.set_title(name)
        row[0].set_ylabel(axis_label("y", view.evaluation))
    for panel in panels[-1]:
        panel.set_xlabel(axis_label("x", view.evaluation))
    place = {"location": "bottom", "pad": 0.02}
    view.colour_bars(drawn, panels[:, :2], panels[:, 2], aspects=(35, 16), **place)

    def show(frame: int) -> None:
        for image, values in shown:
            image.set_data(pixels(values[frame], view.grid))

    return [image for image, _ in shown], show
