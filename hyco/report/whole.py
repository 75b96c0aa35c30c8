"""Whole simulations at a glance: 1-D ones in space and time, 3-D ones in three planes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hyco.report.evaluation import MODELS, Evaluation, SimulationResult
from hyco.report.frames import View
from hyco.report.plots import Scale, axis_label, colour_bar, draw_image, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Fields = dict[str, tuple[NDArray[np.floating], bool]]  # by title: an array, and whether it is an error


def draw_space_time(evaluation: Evaluation, result: SimulationResult, path: Path, *, dpi: int) -> None:
    """Write the figure of a 1-D simulation: x to the right, t upwards; truth, predictions, errors."""
    view = View(evaluation, result)
    fields = _fields(view)
    extent = (0.0, view.grid.size[0], 0.0, result.frames * evaluation.dt)
    with figure(path, width=1.4 + 1.95 * len(fields), height=4.1, dpi=dpi) as drawn:
        drawn.suptitle(view.title(result.simulation))
        panels = drawn.subplots(1, len(fields), sharex=True, sharey=True)
        for panel, (name, (values, wrong)) in zip(panels, fields.items(), strict=True):
            scale = view.error_scale if wrong else view.scale
            # a frame fills the step that begins with it
            draw_image(panel, values, scale, extent=extent, aspect="auto")
            panel.set_title(name)
            panel.set_xlabel(axis_label("x", evaluation))
        panels[0].set_ylabel(f"t ({evaluation.time_unit})")
        _colour_bars(drawn, panels, view, fields)


def draw_slices(evaluation: Evaluation, result: SimulationResult, path: Path, *, dpi: int) -> None:
    """Write the figure of a 3-D simulation at its last frame: the three planes through the middle."""
    view, grid = View(evaluation, result), evaluation.grid
    fields = _fields(view, result.frames - 1)
    rows = [(2, "x", "y"), (1, "x", "z"), (0, "y", "z")]
    width = 1.85
    heights = [width * _elongation(evaluation, across, up) for _, across, up in rows]
    with figure(
        path, width=1.9 + width * len(fields), height=1.9 + sum(heights) + 0.35 * 3, dpi=dpi
    ) as drawn:
        drawn.suptitle(
            f"{evaluation.experiment}: test simulation {result.simulation}, {view.time(result.frames - 1)}"
        )
        panels = drawn.subplots(
            3, len(fields), squeeze=False, height_ratios=heights, sharex="row", sharey="row"
        )
        for row, (normal, across, up) in zip(panels, rows, strict=True):
            middle = grid.resolution[normal] // 2
            size = dict(zip(grid.axes, grid.size, strict=True))
            for panel, (values, wrong) in zip(row, fields.values(), strict=True):
                scale = view.error_scale if wrong else view.scale
                _plane(panel, np.take(values, middle, axis=normal), scale, (size[across], size[up]))
                panel.set_xlabel(axis_label(across, evaluation))
            place = grid.centres(grid.axes[normal])[middle]
            row[0].set_ylabel(f"{grid.axes[normal]} = {place:.3g}\n{axis_label(up, evaluation)}")
        for panel, name in zip(panels[0], fields, strict=True):
            panel.set_title(name)
        _colour_bars(drawn, panels.T, view, fields)


def _fields(view: View, frame: int | None = None) -> Fields:
    """Truth, predictions and errors, all frames of them or one."""
    at: Any = slice(None) if frame is None else frame
    named: Fields = {"Truth": (view.truth[at], False)}
    named |= {MODELS[m]: (p[at], False) for m, p in view.predictions.items()}
    return named | {f"|error|\n{MODELS[m]}": (e[at], True) for m, e in view.errors.items()}


def _plane(panel: Axes, values: NDArray[np.floating], scale: Scale, size: tuple[float, float]) -> None:
    elongated = not 0.3 <= size[1] / size[0] <= 2.0
    draw_image(
        panel, values.T, scale, extent=(0.0, size[0], 0.0, size[1]), aspect="auto" if elongated else "equal"
    )


def _elongation(evaluation: Evaluation, across: str, up: str) -> float:
    size = dict(zip(evaluation.grid.axes, evaluation.grid.size, strict=True))
    return min(max(size[up] / size[across], 0.3), 2.0)


def _colour_bars(drawn: Any, columns: Any, view: View, fields: Fields) -> None:
    """One for the values and one for the errors, below the columns that they belong to."""
    wrong = [w for _, w in fields.values()]
    place: dict[str, Any] = {"location": "bottom", "pad": 0.03}
    for scale, which in ((view.scale, False), (view.error_scale, True)):
        chosen = np.array(columns, dtype=object)[np.array(wrong) == which]
        arrays = [values for values, w in fields.values() if w == which]
        colour_bar(drawn, chosen, scale, arrays, aspect=14 * len(chosen), **place)
