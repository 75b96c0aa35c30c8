"""How the parameters of a physical model went during the training: `parameter_history.npz` of a run.

A file of numpy with `solves`, (snapshots,), the number of the solve that each snapshot was taken after, 0 for
the initial guess; and `parameters/<name>`, (snapshots, *space), in float32, for looking at.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from hyco.errors import DataError
from hyco.storage.atomic import write_bytes

NAME = "parameter_history.npz"
MOST = 64  # snapshots: as many frames as anyone watches
MOST_BYTES = 32 << 20  # of the whole file, which is written anew with every solve
_PREFIX = "parameters/"


@dataclass(frozen=True, eq=False)
class Snapshots:
    """Parameters after some of the solves, in order.

    Args:
        solves: number of the solve, 0 for the initial guess.
        values: by parameter, (snapshots, *space).
    """

    solves: tuple[int, ...] = ()
    values: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.solves)

    def taken(self, keep: NDArray[np.bool_]) -> Snapshots:
        """Those snapshots for which `keep`, (snapshots,), is true."""
        solves = tuple(s for s, kept in zip(self.solves, keep, strict=True) if kept)
        return Snapshots(solves, {name: v[keep] for name, v in self.values.items()})


class ParameterHistory:
    """The snapshots of one run, on disk.

    There are at most `most` of them, fewer where they would take more than 32 MiB: of a longer training every
    second, fourth ... solve is kept, and always the last one.  Which ones depends on the number of solves
    alone, so that a training that was resumed ends with the same as one that was not; after `cut` they may be
    sparser for a while.
    """

    def __init__(self, path: Path, *, most: int = MOST) -> None:
        self.path, self.most = path, most
        self._snapshots: Snapshots | None = None

    def read(self) -> Snapshots:
        """The snapshots; none where there is no file.  Raises DataError when it is damaged."""
        if self._snapshots is None:
            self._snapshots = _read(self.path) if self.path.exists() else Snapshots()
        return self._snapshots

    def append(self, solve: int, parameters: Mapping[str, NDArray[Any] | float]) -> None:
        """Add what the parameters are after a solve; what is there of it or of later ones is replaced.

        Raises DataError when the names or shapes are not those of the earlier snapshots.
        """
        before = self.read()
        before = before.taken(np.array([s < solve for s in before.solves], dtype=bool))
        new = {name: np.asarray(value, np.float32)[np.newaxis] for name, value in parameters.items()}
        if len(before):
            expected, got = ({n: v.shape[1:] for n, v in vs.items()} for vs in (before.values, new))
            if got != expected:
                raise DataError(
                    f"{self.path}: expected parameters of the shapes {expected}, as earlier, got "
                    f"{got}. Train into a folder of its own."
                )
            new = {name: np.concatenate([before.values[name], v]) for name, v in new.items()}
        self._write(self._thinned(Snapshots((*before.solves, solve), new)))

    def cut(self, solves: int) -> None:
        """Forget what came after so many solves: a training that goes on from there does them again."""
        before = self.read()
        keep = np.array([s <= solves for s in before.solves], dtype=bool)
        if not keep.all():
            self._write(before.taken(keep))

    def clear(self) -> None:
        """Begin anew, whatever the file holds."""
        self.path.unlink(missing_ok=True)
        self._snapshots = Snapshots()

    def _thinned(self, snapshots: Snapshots) -> Snapshots:
        size = sum(v[0].nbytes for v in snapshots.values.values())
        most = max(2, min(self.most, MOST_BYTES // max(size, 1)))
        last, every = snapshots.solves[-1], 1
        while last // every + 1 > most:
            every *= 2
        return snapshots.taken(np.array([s % every == 0 or s == last for s in snapshots.solves]))

    def _write(self, snapshots: Snapshots) -> None:
        arrays: dict[str, Any] = {_PREFIX + name: values for name, values in snapshots.values.items()}
        buffer = io.BytesIO()
        np.savez(buffer, solves=np.array(snapshots.solves, np.int64), **arrays)
        write_bytes(self.path, buffer.getbuffer())
        self._snapshots = snapshots


def _read(path: Path) -> Snapshots:
    """The file; raises DataError when it is not what `ParameterHistory` writes."""
    try:
        with np.load(path, allow_pickle=False) as file:
            solves = tuple(int(s) for s in file["solves"])
            values = {n.removeprefix(_PREFIX): file[n] for n in file.files if n.startswith(_PREFIX)}
    except (OSError, ValueError, KeyError, EOFError, AttributeError, BadZipFile) as error:
        raise DataError(f"{path}: no history of parameters ({error}). Delete it.") from error
    if any(len(v) != len(solves) for v in values.values()):
        raise DataError(f"{path}: not as many parameters as solves. Delete it.")
    return Snapshots(solves, values)
