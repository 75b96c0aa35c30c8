"""What was observed of the training data: cells, frames and noise, by model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hyco.report.evaluation import MODELS, Evaluation
from hyco.report.observed import Observed
from hyco.report.plots import axis_label, figure, panel_height

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

SEEN, HIDDEN = "#0072B2", "#E4E4E4"
STRIP = 0.95  # inches of the panel of the frames


def draw_observations(evaluation: Evaluation, path: Path, *, dpi: int) -> None:
    """Write one column per model, or one for both where they see the same: cells, and frames along time."""
    columns = _columns(evaluation.observed)
    rank = evaluation.grid.rank
    wide = {1: 4.2, 2: 3.4, 3: 6.6}[rank]
    high = panel_height(evaluation.grid, 2.7) + 0.55 if rank == 2 else {1: 2.3, 3: 2.6}[rank]
    with figure(path, width=wide * len(columns) + 0.4, height=high + STRIP + 0.85, dpi=dpi) as drawn:
        parts = drawn.subfigures(1, len(columns), squeeze=False)[0]
        for part, (name, observed) in zip(parts, columns.items(), strict=True):
            part.suptitle(f"{name}\n{_amount(evaluation, observed)}", fontsize=10.5)
            if rank == 1:
                _in_space_time(part.subplots(), evaluation, observed)
                continue
            above, below = part.subfigures(2, 1, height_ratios=[high, STRIP])
            _cells(above, evaluation, observed)
            _frames(below.subplots(), evaluation, observed)


def _columns(observed: Mapping[str, Observed]) -> dict[str, Observed]:
    """By title; models with the same sensors share a column."""
    first, *others = observed.values()
    if others and all(first.same_as(o) for o in others):
        return {"Seen by both models": first}
    return {f"Seen by the {MODELS[m][0].lower()}{MODELS[m][1:]}": o for m, o in observed.items()}


def _amount(evaluation: Evaluation, observed: Observed) -> str:
    """Two lines: `576 of 2304 cells (25 %)`, and `20 of 40 frames, noise of 5 %`."""
    cells = evaluation.grid.cells
    seen = cells if observed.cells is None else int(observed.cells.sum())
    share = f"{seen} of {cells} cells ({100 * seen / cells:.3g} %)" if seen < cells else "all cells"
    frames = f"{observed.frames.sum()} of {len(observed.frames)} frames"
    if observed.frames.all():
        frames = "all frames"
    noise = f"noise of {100 * observed.noise:.3g} %" if observed.noise else "no noise"
    return f"{share}\n{frames}, {noise}"


def _mask(evaluation: Evaluation, observed: Observed) -> NDArray[np.bool_]:
    return np.ones(evaluation.grid.resolution, bool) if observed.cells is None else observed.cells


def _in_space_time(panel: Axes, evaluation: Evaluation, observed: Observed) -> None:
    """Cells to the right, frames upwards."""
    seen = np.logical_and.outer(observed.frames, _mask(evaluation, observed))
    dt = evaluation.dt
    extent = (0.0, evaluation.grid.size[0], -dt / 2, (len(observed.frames) - 0.5) * dt)
    _show(panel, seen, extent, "auto")
    panel.set_xlabel(axis_label("x", evaluation))
    panel.set_ylabel(f"t ({evaluation.time_unit})")


def _cells(part: SubFigure, evaluation: Evaluation, observed: Observed) -> None:
    """The observed cells; of a box, the share of them along each axis."""
    grid, mask = evaluation.grid, _mask(evaluation, observed)
    pairs = [(0, 1)] if grid.rank == 2 else [(0, 1), (0, 2), (1, 2)]
    panels = part.subplots(1, len(pairs), squeeze=False)[0]
    for panel, (across, up) in zip(panels, pairs, strict=True):
        rest = tuple(i for i in range(grid.rank) if i not in (across, up))
        extent = (0.0, grid.size[across], 0.0, grid.size[up])
        image = _show(panel, mask.mean(axis=rest).T, extent, "equal" if _square(extent) else "auto")
        panel.set_xlabel(axis_label(grid.axes[across], evaluation))
        panel.set_ylabel(axis_label(grid.axes[up], evaluation))
        if rest:
            panel.set_title(f"along {grid.axes[rest[0]]}")
    if grid.rank == 3:
        part.colorbar(image, ax=panels, label="share of cells\nobserved", shrink=0.8)


def _square(extent: tuple[float, float, float, float]) -> bool:
    return 0.3 <= extent[3] / extent[1] <= 2.0


def _show(panel: Axes, shares: NDArray[Any], extent: tuple[float, float, float, float], aspect: Any) -> Any:
    """An array (rows from the bottom up, columns) from grey, nothing is seen, to blue, all is."""
    from matplotlib.colors import LinearSegmentedColormap

    most = float(shares.max()) or 1.0
    colours = LinearSegmentedColormap.from_list("observed", [HIDDEN, SEEN])
    return panel.imshow(shares, extent=extent, aspect=aspect, cmap=colours, vmin=0, vmax=most)


def _frames(panel: Axes, evaluation: Evaluation, observed: Observed) -> None:
    """A line per observed frame along the time of a trajectory."""
    times = np.arange(len(observed.frames)) * evaluation.dt
    width = max(0.8, min(3.0, 150 / len(times)))
    panel.vlines(times[observed.frames], 0.0, 1.0, color=SEEN, linewidth=width)
    panel.vlines(times[~observed.frames], 0.0, 1.0, color=HIDDEN, linewidth=width)
    panel.set(xlim=(times[0] - evaluation.dt, times[-1] + evaluation.dt), ylim=(0.0, 1.0), yticks=[])
    panel.set_xlabel(f"observed frames, t ({evaluation.time_unit})")
    panel.spines[["top", "left", "right"]].set_visible(False)
