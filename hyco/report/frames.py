"""Truth, prediction and error at a few times, as one figure per test simulation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hyco.report.evaluation import MODELS, Evaluation, SimulationResult
from hyco.report.plots import (
    ERROR,
    LINES,
    Scale,
    axis_label,
    colour_bar,
    draw_plane,
    figure,
    panel_height,
    plane,
    plane_note,
    shown_component,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4


class View:
    """The component of a simulation that is shown: truth, predictions, errors (time, *space), scales."""

    def __init__(self, evaluation: Evaluation, result: SimulationResult) -> None:
        self.evaluation, self.grid = evaluation, evaluation.grid
        component = shown_component(evaluation.layout)
        entry = result.components.index(component)
        self.truth: NDArray[np.floating] = result.truth[entry]
        self.predictions = {m: result.predictions[m][entry] for m in evaluation.models}
        with np.errstate(over="ignore", invalid="ignore"):
            self.errors = {m: np.abs(p - self.truth) for m, p in self.predictions.items()}
        self.scale = Scale.of_state(evaluation, component, self.plane(self.truth))
        self.error_scale = self.scale.of_errors([self.plane(e) for e in self.errors.values()])

    def plane(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """What is seen of an array (time, *space)."""
        return plane(values, self.grid)

    def time(self, frame: int) -> str:
        """`t = 10.5`."""
        return f"t = {frame * self.evaluation.dt:.4g}"

    def colour_bars(
        self, drawn: Figure, values: Any, errors: Any, *, aspects: tuple[int, int], **place: Any
    ) -> None:
        """One colour bar for the panels of values, and one for those of errors."""
        predicted = [self.plane(p) for p in self.predictions.values()]
        wrong = [self.plane(e) for e in self.errors.values()]
        colour_bar(drawn, values, self.scale, predicted, aspect=aspects[0], **place)
        colour_bar(drawn, errors, self.error_scale, wrong, aspect=aspects[1], **place)

    def title(self, simulation: int) -> str:
        """The experiment, the simulation, and where the slice lies."""
        return f"{self.evaluation.experiment}: test simulation {simulation}{plane_note(self.evaluation)}"


def draw_frames(evaluation: Evaluation, result: SimulationResult, path: Path, *, dpi: int) -> None:
    """Write the figure of one simulation: columns are times, rows truth, predictions, and errors."""
    view = View(evaluation, result)
    times = np.unique(np.linspace(0, result.frames - 1, COLUMNS).round().astype(int)).tolist()
    rows = 2 if evaluation.grid.rank == 1 else 1 + 2 * len(view.predictions)
    height = 2.1 if evaluation.grid.rank == 1 else panel_height(evaluation.grid, 1.78) + 0.14
    with figure(path, width=1.8 + 2.05 * len(times), height=1.1 + height * rows, dpi=dpi) as drawn:
        drawn.suptitle(view.title(result.simulation))
        axes = drawn.subplots(rows, len(times), sharex=True, sharey="row", squeeze=False)
        for panel, frame in zip(axes[0], times, strict=True):
            panel.set_title(view.time(frame) + (" (given)" if frame == 0 else ""))
        for panel in axes[-1]:
            panel.set_xlabel(axis_label("x", evaluation))
        fill = _fill_lines if evaluation.grid.rank == 1 else _fill_images
        fill(drawn, axes, view, times)


def draw_lines(panel: Axes, view: View, frame: int) -> list[Any]:
    """Truth and predictions of a 1-D simulation at one time; returns the lines."""
    x = view.grid.centres("x")
    lines = panel.plot(x, view.truth[frame], label="Truth", **LINES["truth"])
    for model, values in view.predictions.items():
        lines += panel.plot(x, values[frame], label=MODELS[model], **LINES[model])
    reach = 0.08 * (view.scale.high - view.scale.low)
    panel.set(xlim=(0.0, view.grid.size[0]), ylim=(view.scale.low - reach, view.scale.high + reach))
    return lines


def draw_error_lines(panel: Axes, view: View, frame: int) -> list[Any]:
    """The absolute errors of a 1-D simulation at one time; returns the lines."""
    x = view.grid.centres("x")
    lines = []
    for model, error in view.errors.items():
        lines += panel.plot(x, error[frame], label=MODELS[model], **LINES[model])
    panel.set(xlim=(0.0, view.grid.size[0]), ylim=(0.0, 1.08 * view.error_scale.high))
    return lines


def _fill_lines(drawn: Figure, axes: NDArray[Any], view: View, times: Sequence[int]) -> None:
    for column, frame in enumerate(times):
        lines = draw_lines(axes[0, column], view, frame)
        draw_error_lines(axes[1, column], view, frame)
        for panel in axes[:, column]:
            panel.grid(alpha=0.25)
    axes[0, 0].set_ylabel(view.scale.label.replace(" (", "\n(", 1))
    axes[1, 0].set_ylabel(view.error_scale.label.replace(" (", "\n(", 1))
    drawn.legend(handles=lines, loc="outside lower center", ncols=len(lines))


def _fill_images(drawn: Figure, axes: NDArray[Any], view: View, times: Sequence[int]) -> None:
    named = {"Truth": view.truth} | {MODELS[m]: p for m, p in view.predictions.items()}
    wrong = {f"|error|\n{MODELS[m]}": e for m, e in view.errors.items()}
    for row, (name, values) in zip(axes, (named | wrong).items(), strict=True):
        scale = view.error_scale if name in wrong else view.scale
        row[0].set_ylabel(f"{name}\n{axis_label('y', view.evaluation)}")
        for panel, frame in zip(row, times, strict=True):
            draw_plane(panel, values[frame], view.grid, scale)
            if scale.colours == ERROR:
                largest = view.plane(values[frame]).max()
                _note(panel, f"max {largest:.2g}" if np.isfinite(largest) else "not finite")
    split = len(named)
    view.colour_bars(drawn, axes[:split], axes[split:], aspects=(26, 26), pad=0.02, shrink=0.96)


def _note(panel: Axes, text: str) -> None:
    """A small note in the corner of an image, readable on any colour."""
    box = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 1.5}
    panel.text(0.97, 0.04, text, transform=panel.transAxes, ha="right", va="bottom", fontsize=8, bbox=box)
