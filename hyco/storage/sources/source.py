"""Trajectories of published datasets by number, read by window and checked against a configuration."""

from __future__ import annotations

import glob
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hyco.config import Config
from hyco.errors import DataError, HycoError
from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid
from hyco.storage.fingerprint import fingerprint
from hyco.storage.sources import pdebench, well
from hyco.storage.sources.contents import SAMPLE, Contents, Place, Variable
from hyco.storage.sources.fitting import check_contents
from hyco.storage.sources.naming import Part, parts_of

log = logging.getLogger("hyco.data")
LAYOUTS: Mapping[str, ModuleType] = {"pdebench": pdebench, "well": well}
GLOB = frozenset("*?[")


Key = tuple[Path, str, int | None]


@dataclass(frozen=True)
class Source:
    """The trajectories of files in a published layout, numbered over sorted files and what is in each.

    Nothing is held, and no file stays open: every call opens the files that it needs and reads the frames
    that it asks for.  What a file says is checked once, before its first value is used.

    Args:
        format: which layout, a key of `LAYOUTS`.
        path: a file, a folder of files, or a pattern of names.
        names: field -> what it is called in the files; see `hyco.storage.sources.naming`.
        grid, layout, dt: what the trajectories must be, after strides.
        frames_used: how many frames of each are used, the first ones.
        precision: of the arrays that are read.
        time_stride, space_stride: every how many-th frame, and cell along each axis, is used.
        boundaries: whether the boundaries of the layout must be those of the files, as far as these say.
    """

    format: str
    path: str
    names: Mapping[str, str | tuple[str, ...]]
    grid: Grid
    layout: FieldLayout
    dt: float
    frames_used: int
    precision: str
    time_stride: int = 1
    space_stride: int = 1
    boundaries: bool = True
    _said: dict[Path, Mapping[str, float]] = field(default_factory=dict, repr=False, compare=False)
    _parts: dict[Key, tuple[Part, ...]] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        """The number of trajectories in all files."""
        return len(self._places)

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """All files, in alphabetical order; raises DataError when there is none."""
        path, endings = Path(self.path).expanduser(), LAYOUTS[self.format].ENDINGS
        if path.is_dir():
            found = [p for p in path.iterdir() if p.suffix in endings]
        elif path.is_file():
            found = [path]
        else:
            found = [Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file()]
        if not found:
            kind = (
                "folder without"
                if path.is_dir()
                else "pattern of no"
                if GLOB & set(self.path)
                else "path of no"
            )
            raise DataError(
                f"data.source.path: expected HDF5 files ({', '.join(endings)}), but {self.path} is a {kind} "
                "such files. Correct it; hyco downloads nothing."
            )
        return tuple(sorted(found))

    def check(self, simulations: Sequence[int]) -> None:
        """Raises DataError for the first of these trajectories that is not there or does not fit."""
        for simulation in simulations:
            self.frames(simulation)

    def prepare(self, simulations: Sequence[int]) -> None:
        """`check`, and say what is read; there is nothing to cache."""
        self.check(simulations)
        log.info(
            "trajectories read from %s (layout %s): %d, in all files: %d; they are not copied into the cache",
            self.path,
            self.format,
            len(simulations),
            len(self),
        )
        for path, parameters in self._said.items():
            if parameters:
                said = ", ".join(f"{name} = {value:g}" for name, value in parameters.items())
                log.info("%s says %s", path, said)

    def is_cached(self, simulation: int) -> bool:
        """False: what is in files already is not copied."""
        return False

    def frames(self, simulation: int) -> int:
        """Frames of a trajectory that are used; raises DataError when it is not there or does not fit."""
        sizes = [part.variable.size(SAMPLE) for part in self._parts_of(simulation)]
        stored = min((size for size in sizes if size is not None), default=None)
        if stored is not None and self._place(simulation)[1].sample >= stored:
            raise DataError(
                f"{self.where(simulation)}: expected its values, but the file holds {stored}, fewer than it "
                "says. Fetch it again, or list only those."
            )
        return self.frames_used

    def nbytes(self, simulation: int) -> int:
        """Size of a trajectory in memory."""
        values = self.frames(simulation) * len(self.layout.components) * self.grid.cells
        return values * np.dtype(self.precision).itemsize

    def load(self, simulation: int) -> NDArray[Any]:
        """A whole trajectory (field, time, *space)."""
        whole: NDArray[Any] = self.windows([simulation], [0], self.frames(simulation))[0]
        return whole

    def windows(self, simulations: Sequence[int], starts: Sequence[int], steps: int) -> NDArray[Any]:
        """Windows (window, field, time, *space) of `steps` frames; these frames alone are read.

        Raises DataError for what cannot be read, and for values that are not finite, naming the frame.
        """
        sizes = len(simulations), len(self.layout.components), steps, *self.grid.resolution
        array = np.empty(sizes, self.precision)
        order = sorted(range(len(simulations)), key=lambda i: (simulations[i], starts[i]))
        for path, some in groupby(order, key=lambda i: self._place(simulations[i])[0]):
            wanted = list(some)
            for i in wanted:  # before the file is open, since this opens it too
                self._parts_of(simulations[i])
            with self._opened(path) as file:
                for i in wanted:
                    self._read(file, simulations[i], int(starts[i]), array[i])
        return array

    def fingerprint(self, simulation: int) -> str:
        """Of what a trajectory is made from: its file, as it is now, its place there, and what is used."""
        path, place = self._place(simulation)
        self._parts_of(simulation)
        status = path.stat()
        return fingerprint(
            {
                "size": status.st_size,
                "changed": status.st_mtime_ns,
                "place": tuple(place),
                "names": dict(self.names),
                "strides": (self.time_stride, self.space_stride),
            }
        )

    def where(self, simulation: int) -> str:
        """`simulation 3 (sample 3 of burgers.hdf5)`."""
        path, place = self._place(simulation)
        return f"simulation {simulation} ({place.group or f'sample {place.sample}'} of {path})"

    @cached_property
    def _places(self) -> tuple[tuple[Path, Place], ...]:
        found = []
        for path in self.files:
            with self._opened(path) as file:
                found += [(path, p) for p in LAYOUTS[self.format].places(file, self.grid.axes)]
        return tuple(found)

    def _place(self, simulation: int) -> tuple[Path, Place]:
        if not 0 <= simulation < len(self):
            raise DataError(
                f"data.source.path: there is no simulation {simulation}; {self.path} has {len(self)}, 0 to "
                f"{len(self) - 1}. Set data.num_simulations to {len(self)} or less."
            )
        return self._places[simulation]

    def _parts_of(self, simulation: int) -> tuple[Part, ...]:
        """What the components of a trajectory are, once it was found to fit; samples of a file share it."""
        path, place = self._place(simulation)
        keys: tuple[Key, Key] = (path, place.group, None), (path, place.group, place.sample)
        known = next((self._parts[key] for key in keys if key in self._parts), None)
        if known is not None:
            return known
        layout, cells = LAYOUTS[self.format], tuple(n * self.space_stride for n in self.grid.resolution)
        with self._opened(path) as file:
            found: Contents = layout.contents(file, place, self.grid.axes, cells)
        with self._about(simulation):
            parts = parts_of(found, self.layout, self.names, layout.NAMES)
            check_contents(
                found,
                parts,
                grid=self.grid,
                layout=self.layout,
                dt=self.dt,
                frames=self.frames_used,
                strides=(self.time_stride, self.space_stride),
                boundaries=self.boundaries,
            )
        self._said.setdefault(path, found.parameters)
        return self._parts.setdefault(keys[found.own_times], parts)

    def _read(self, file: h5py.File, simulation: int, start: int, out: NDArray[Any]) -> None:
        """Read one window into `out`, (field, time, *space)."""
        index, stride, steps = self._place(simulation)[1].sample, self.time_stride, out.shape[1]
        frames = slice(start * stride, (start + steps - 1) * stride + 1, stride)
        thinned = (..., *(slice(None, None, self.space_stride) for _ in self.grid.axes))
        read: dict[Variable, NDArray[Any]] = {}
        for part, target in zip(self._parts_of(simulation), out, strict=True):
            if part.variable not in read:
                read[part.variable] = part.variable.read(file, index, frames, self.grid.axes)
            target[...] = read[part.variable][part.component][thinned]
        if not np.isfinite(out).all():
            self._refuse(simulation, start, out)

    def _refuse(self, simulation: int, start: int, window: NDArray[Any]) -> None:
        """Name the first value of a window that is not finite."""
        frame, component, *cell = np.argwhere(~np.isfinite(np.moveaxis(window, 1, 0)))[0].tolist()
        stored = f" ({(start + frame) * self.time_stride} of the file)" if self.time_stride > 1 else ""
        place = ", ".join(f"{a}={i}" for a, i in zip(self.grid.axes, cell, strict=True))
        value = window[(component, frame, *cell)]
        large = " (or too large for trainer.precision)" if np.isinf(value) else ""
        raise DataError(
            f"{self.where(simulation)}: expected finite values, got {value}{large} in "
            f"{self.layout.components[component]} of frame {start + frame}{stored} at cell ({place}). "
            "Leave it out of the lists of simulations, or use fewer frames (data.trajectory_length)."
        )

    @contextmanager
    def _about(self, simulation: int) -> Iterator[None]:
        """What does not fit is said of this trajectory."""
        try:
            yield
        except DataError as error:
            raise DataError(f"{self.where(simulation)}: {error}") from None

    @contextmanager
    def _opened(self, path: Path) -> Iterator[h5py.File]:
        """The open file; what is wrong with it becomes a DataError that says which one it is."""
        try:
            # Nobody writes to it, and some network file systems cannot lock.
            with h5py.File(path, "r", locking=False) as file:
                yield file
        except HycoError as error:
            raise error if str(path) in str(error) else DataError(f"{path}: {error}.") from None
        except (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
            why = " ".join(str(error).split())
            raise DataError(
                f"{path}: expected a file in the {self.format} layout, but it is of another kind, damaged, "
                f"or cut short ({why}). Fetch it again, or correct data.source."
            ) from error


def open_source(config: Config) -> Source | None:
    """The files that `data.source` names; None where data are generated.  Nothing is opened yet."""
    settings = config.data.source
    if settings is None:
        return None
    return Source(
        settings.format,
        settings.path,
        settings.fields,
        config.grid,
        config.layout,
        config.model.physical.dt,
        config.data.trajectory_length,
        config.trainer.precision,
        settings.time_stride,
        settings.space_stride,
        config.has_equation,
    )
