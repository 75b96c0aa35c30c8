"""Recovered parameters beside the true ones and the initial guess."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hyco.report.evaluation import Evaluation, ParameterResult
from hyco.report.metrics import parameter_error
from hyco.report.plots import (
    LINES,
    Scale,
    axis_label,
    colour_bar,
    draw_plane,
    figure,
    panel_height,
    plane,
    plane_note,
)
from hyco.report.records import epochs_of
from hyco.report.summary import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INITIAL = {"color": "#7A7A7A", "linestyle": (0, (1, 1.2)), "linewidth": 1.8}


def draw_parameter(evaluation: Evaluation, result: ParameterResult, path: Path, *, dpi: int) -> None:
    """Write the figure of one parameter: images, lines, or for a scalar its value after every solve."""
    if all(np.ndim(v) == 0 for v in (result.truth, result.initial, result.recovered)):
        _draw_scalar(evaluation, result, path, dpi)
    elif evaluation.grid.rank == 1:
        _draw_lines(evaluation, result, path, dpi)
    else:
        _draw_images(evaluation, result, path, dpi)


def scalar_history(records: Sequence[Mapping[str, Any]], result: ParameterResult) -> list[float]:
    """The initial guess, the value after every solve, and last the recovered one."""
    solves = [e["parameters"][result.name]["mean"] for e in epochs_of(records, "physical")
              if result.name in e.get("parameters", {})]  # fmt: skip
    values = [float(result.initial), *(float("nan") if v is None else float(v) for v in solves)]
    return values if solves else [*values, float(result.recovered)]


def _fields(evaluation: Evaluation, result: ParameterResult) -> dict[str, NDArray[np.float64]]:
    """True value, initial guess and recovered value on the whole grid, by title."""
    shape = evaluation.grid.resolution
    values = {"True": result.truth, "Initial guess": result.initial, "Recovered": result.recovered}
    return {k: np.broadcast_to(np.asarray(v, np.float64), shape) for k, v in values.items()}


def _error_of(result: ParameterResult, value: NDArray[np.floating] | float) -> str:
    return f"relative L2 error {number(_finite(parameter_error(value, result.truth).relative_l2))}"


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _draw_images(evaluation: Evaluation, result: ParameterResult, path: Path, dpi: int) -> None:
    grid, fields = evaluation.grid, _fields(evaluation, result)
    scale = Scale.of_parameter(evaluation, result)
    error = np.abs(fields["Recovered"] - fields["True"])
    error_scale = scale.of_errors([plane(error, grid)])
    height = panel_height(grid, 2.35) + 1.75
    with figure(path, width=10.4, height=height, dpi=dpi) as drawn:
        drawn.suptitle(f"{evaluation.experiment}: {scale.label}{plane_note(evaluation)}")
        panels = drawn.subplots(1, 4, sharex=True, sharey=True)
        for panel, (name, values) in zip(panels, fields.items(), strict=False):
            draw_plane(panel, values, grid, scale)
            subtitle = "" if name == "True" else f"\n{_error_of(result, values)}"
            panel.set_title(name + subtitle)
        draw_plane(panels[3], error, grid, error_scale)
        panels[3].set_title("|recovered - true|")
        for panel in panels:
            panel.set_xlabel(axis_label("x", evaluation))
        panels[0].set_ylabel(axis_label("y", evaluation))
        shown = [plane(v, grid) for v in fields.values()]
        place: dict[str, Any] = {"location": "bottom", "pad": 0.03}
        colour_bar(drawn, panels[:3], scale, shown, aspect=45, **place)
        colour_bar(drawn, panels[3:], error_scale, [plane(error, grid)], aspect=15, **place)


def _draw_lines(evaluation: Evaluation, result: ParameterResult, path: Path, dpi: int) -> None:
    x, fields = evaluation.grid.centres("x"), _fields(evaluation, result)
    scale = Scale.of_parameter(evaluation, result)
    styles = {"True": LINES["truth"], "Initial guess": INITIAL, "Recovered": LINES["physical"]}
    with figure(path, width=9.0, height=3.6, dpi=dpi) as drawn:
        drawn.suptitle(f"{evaluation.experiment}: {scale.label}")
        left, right = drawn.subplots(1, 2, sharex=True)
        for name, values in fields.items():
            left.plot(x, values, label=name, **styles[name])
        right.plot(x, np.abs(fields["Recovered"] - fields["True"]), color="#D55E00")
        left.set_ylabel(scale.label)
        right.set_ylabel("|recovered - true|")
        right.set_ylim(bottom=0.0)
        right.set_title(_error_of(result, result.recovered))
        left.legend()
        for panel in (left, right):
            _frame(panel, axis_label("x", evaluation))
        left.set_xlim(0.0, evaluation.grid.size[0])


def _draw_scalar(evaluation: Evaluation, result: ParameterResult, path: Path, dpi: int) -> None:
    values = scalar_history(evaluation.history, result)
    scale = Scale.of_parameter(evaluation, result)
    with figure(path, width=5.6, height=3.6, dpi=dpi) as drawn:
        panel = drawn.subplots()
        panel.axhline(float(result.truth), label=f"true: {float(result.truth):.4g}", **LINES["truth"])
        label = f"recovered: {float(result.recovered):.4g}"
        panel.plot(range(len(values)), values, marker="o", label=label, **LINES["physical"])
        guess: dict[str, Any] = {
            "marker": "o",
            "markersize": 8,
            "markerfacecolor": "white",
            "linestyle": "none",
        }
        label = f"initial guess: {float(result.initial):.4g}"
        panel.plot(0, values[0], color="#7A7A7A", label=label, **guess)
        panel.set_title(f"{evaluation.experiment}: {_error_of(result, result.recovered)}")
        panel.set_ylabel(scale.label)
        panel.locator_params(axis="x", integer=True)
        _frame(panel, "solves of the inverse problem")
        panel.legend()


def _frame(panel: Axes, label: str) -> None:
    panel.set_xlabel(label)
    panel.grid(alpha=0.25)
