"""What is observed of real trajectories: in which cells, in which frames, how precisely, and by which model.

Masks are numpy arrays of truth values, True where there is something to compare with.  A mask that shows
everything is None, so that nothing has to be masked.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import floor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hyco.errors import ConfigError
from hyco.problem.fields import FieldLayout
from hyco.problem.grid import AXES, Grid
from hyco.problem.sampling import random_cells, stream, with_noise

Mask = NDArray[np.bool_]
Times = Callable[[int], Mask]
Interval = tuple[float, float]
ROUNDING = 1e-9  # shares of a box or a trajectory that differ by less are the same


@dataclass(frozen=True, eq=False)
class Sensors:
    """What one model is shown of real trajectories.

    Args:
        space: the observed cells, (*space); None: all.
        times: which of T frames are observed, a function T -> (T,); None: all.
        noise: standard deviation of the noise, as a share of the root mean square of each dynamic component.
        draws: number of the random streams: models with the same number see the same noise.
    """

    space: Mask | None = None
    times: Times | None = None
    noise: float = 0.0
    draws: int = 0

    @property
    def see_everything(self) -> bool:
        """Whether all cells of all frames are observed, without noise."""
        return self.space is None and self.times is None and not self.noise

    def frames(self, count: int) -> Mask:
        """Which of `count` frames are observed."""
        return np.ones(count, dtype=bool) if self.times is None else self.times(count)

    def disturbed(
        self, trajectory: NDArray[Any], layout: FieldLayout, seed: int, simulation: int
    ) -> NDArray[np.float64]:
        """A trajectory (field, time, *space) with the noise of its simulation on every dynamic component.

            u_c <- u_c + noise rms(u_c) xi,      xi ~ N(0, 1)

        where rms is over all frames and cells; static components stay bit for bit.
        """
        rng = stream(seed, "observations", 1, simulation, self.draws)
        return with_noise(trajectory[np.newaxis], layout.indices(layout.dynamic), self.noise, rng)[0]


EVERYTHING = Sensors()


@dataclass(frozen=True, eq=False)
class Observations:
    """What each model is shown of real trajectories.

    Args:
        physical, synthetic: the sensors of the models.
        first_only: windows begin at the first frame of a trajectory alone, the known initial condition.
        seed: of the noise.
    """

    physical: Sensors = EVERYTHING
    synthetic: Sensors = EVERYTHING
    first_only: bool = False
    seed: int = 0

    def of(self, model: Literal["physical", "synthetic"]) -> Sensors:
        """The sensors of one model."""
        return self.physical if model == "physical" else self.synthetic

    @property
    def see_everything(self) -> bool:
        """Whether there is nothing that the models are not shown."""
        return not self.first_only and self.physical.see_everything and self.synthetic.see_everything


def window_starts(observed: Mask, rollout_steps: int, *, first_only: bool = False) -> tuple[int, ...]:
    """First frames of the windows of a trajectory whose `observed` frames, (T,), are given.

    A window of `rollout_steps` consecutive frames needs an initial state, so its first frame is observed, and
    something to compare with, so at least one of the others is.  `first_only`: it begins at frame 0.
    """
    counts = np.concatenate([[0], np.cumsum(observed)])  # of observed frames before each frame
    last = len(observed) - rollout_steps
    candidates = range(min(1, last + 1) if first_only else last + 1)
    return tuple(s for s in candidates if observed[s] and counts[s + rollout_steps] > counts[s + 1])


# --- cells


def space_mask(mask: str, grid: Grid, rng: np.random.Generator, **settings: Any) -> Mask | None:
    """The observed cells of a grid, by the name of a mask and its settings; None: all.

        full
        range          x, y, z: least and greatest share of each axis
        center         fraction: share of each axis, in the middle
        random_points  count: cells, drawn by `rng`
        file           path: a `.npy` mask, or a `.csv` list of points

    A cell is where its centre is.  Raises ConfigError, beginning with the setting at fault, for a mask that
    does not fit the grid or shows nothing.
    """
    made = _SPACE[mask](grid, rng, **settings)
    return None if made is None or made.all() else made


def _full(grid: Grid, rng: np.random.Generator) -> None:
    return None


def _range(grid: Grid, rng: np.random.Generator, **intervals: Interval) -> Mask:
    for axis in AXES[grid.rank :]:
        if tuple(intervals.get(axis, (0.0, 1.0))) != (0.0, 1.0):
            raise ConfigError(f"{axis}: the box has the axes {', '.join(grid.axes)} only; leave it out.")
    return _box(grid, {a: intervals.get(a, (0.0, 1.0)) for a in grid.axes}, grid.axes)


def _center(grid: Grid, rng: np.random.Generator, *, fraction: float) -> Mask:
    interval = (0.5 - fraction / 2, 0.5 + fraction / 2)
    return _box(grid, dict.fromkeys(grid.axes, interval), ("fraction",) * grid.rank)


def _box(grid: Grid, intervals: Mapping[str, Interval], keys: Sequence[str]) -> Mask:
    """The cells whose centres lie within these shares of each axis; `keys`: who is to blame where none do."""
    sides = []
    for (axis, (least, greatest)), cells, key in zip(intervals.items(), grid.resolution, keys, strict=True):
        shares = (np.arange(cells) + 0.5) / cells
        sides.append((shares >= least - ROUNDING) & (shares <= greatest + ROUNDING))
        if not sides[-1].any():
            raise ConfigError(
                f"{key}: no cell has its centre between {least:g} and {greatest:g} of the axis {axis}, whose "
                f"{cells} cells lie 1/{cells} apart. Choose a larger part of it."
            )
    mask: Mask = np.logical_and.reduce(np.meshgrid(*sides, indexing="ij"))
    return mask


def _random_points(grid: Grid, rng: np.random.Generator, *, count: int) -> Mask:
    if count > grid.cells:
        raise ConfigError(f"count: {count} points are more than the {grid.cells} cells of the grid.")
    return random_cells(grid, count, rng)


def _file(grid: Grid, rng: np.random.Generator, *, path: str | Path) -> Mask:
    path = Path(path)
    readers = {".npy": _from_array, ".csv": _from_points}
    if path.suffix.lower() not in readers:
        raise ConfigError(f"path: expected a .npy mask or a .csv list of points, got {path.name}.")
    try:
        mask = readers[path.suffix.lower()](path, grid)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"path: {path} cannot be read: {error}.") from None
    if not mask.any():
        raise ConfigError(f"path: {path} shows no cell; mark at least one.")
    return mask


def _from_array(path: Path, grid: Grid) -> Mask:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ConfigError(f"path: {path} is no array of numpy: {error}.") from None
    if not isinstance(array, np.ndarray) or array.shape != grid.resolution:
        found = array.shape if isinstance(array, np.ndarray) else "several arrays"
        raise ConfigError(
            f"path: {path} has the shape {found}, expected that of the grid, {grid.resolution}."
        )
    if array.dtype != bool and not (array.dtype.kind in "iuf" and np.isin(array, (0, 1)).all()):
        raise ConfigError(f"path: {path} has other values than 0, not observed, and 1, observed.")
    return array.astype(bool)


def _from_points(path: Path, grid: Grid) -> Mask:
    mask = np.zeros(grid.resolution, dtype=bool)
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file, strict=True)
        header = tuple(name.strip() for name in next(rows, []))
        if sorted(header) != sorted(grid.axes):
            raise ConfigError(
                f"path: {path} begins with the columns {', '.join(header) or 'none'}; expected "
                f"{', '.join(grid.axes)}, and in them the coordinates of one point per line."
            )
        try:
            for row in filter(any, rows):
                mask[_cell(grid, header, row, f"path: {path}, line {rows.line_num}")] = True
        except csv.Error as error:
            raise ConfigError(f"path: {path}, line {rows.line_num}: {error}.") from None
    return mask


def _cell(grid: Grid, header: Sequence[str], row: Sequence[str], where: str) -> tuple[int, ...]:
    """The cell that contains a point; on the border between two cells, the upper one."""
    try:
        point = {axis: float(text) for axis, text in zip(header, row, strict=True)}
    except ValueError:
        raise ConfigError(
            f"{where}: expected {len(header)} numbers, got {', '.join(map(repr, row))}."
        ) from None
    for axis, size in zip(grid.axes, grid.size, strict=True):
        if not 0.0 <= point[axis] <= size:
            raise ConfigError(
                f"{where}: {axis} = {point[axis]:g} is outside of the box, which is from 0 to {size:g}."
            )
    cells = zip(grid.axes, grid.spacing, grid.resolution, strict=True)
    return tuple(min(int(point[axis] / width), count - 1) for axis, width, count in cells)


_SPACE: dict[str, Callable[..., Mask | None]] = {
    "full": _full,
    "range": _range,
    "center": _center,
    "random_points": _random_points,
    "file": _file,
}


# --- frames


def time_mask(mask: str, **settings: Any) -> Times | None:
    """What picks the observed ones of T frames, by the name of a mask and its settings; None: all.

    full
    endpoints   start, end: the first and the last frames, as many as fit into these shares; at least one
    uniform     stride: every so many-th, the first one included
    custom      fractions: those nearest to these shares of the duration
    """
    return None if mask == "full" or settings.get("stride") == 1 else partial(_TIME[mask], **settings)


def _endpoints(frames: int, *, start: float, end: float) -> Mask:
    index = np.arange(frames)
    first, last = (max(1, floor(share * frames + ROUNDING)) for share in (start, end))
    return (index < first) | (index >= frames - last)


def _uniform(frames: int, *, stride: int) -> Mask:
    return np.arange(frames) % stride == 0


def _custom(frames: int, *, fractions: Sequence[float]) -> Mask:
    return np.isin(np.arange(frames), [floor(f * (frames - 1) + 0.5 + ROUNDING) for f in fractions])


_TIME: dict[str, Callable[..., Mask]] = {"endpoints": _endpoints, "uniform": _uniform, "custom": _custom}
