"""What a data file of HYCO-PhiFlow holds, whichever of its formats it is in, and how hyco orders it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isclose
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.errors import DataError
from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid

RENAMED = {"vel": "velocity", "temp": "temperature", "smoke": "density"}


def renamed(component: str) -> str:
    """A component by hyco's name: `vel_x` is `velocity_x`, `temp` is `temperature`."""
    name, underscore, axis = component.partition("_")
    return f"{RENAMED.get(name, name)}{underscore}{axis}"


@dataclass(frozen=True)
class Recorded:
    """One trajectory as its file has it.

    Attributes:
        source: the file or folder.
        components: (time, *space) by hyco's names of components, space in the order x, y, z.
        grid, boundaries (by field), dt: what the file says of them; None and no entry where it is silent.
    """

    source: Path
    components: Mapping[str, NDArray[Any]]
    grid: Grid | None = None
    boundaries: Mapping[str, str] = field(default_factory=dict)
    dt: float | None = None

    def arranged(self, grid: Grid, layout: FieldLayout, dt: float) -> NDArray[Any]:
        """The trajectory (field, time, *space), components in the order of the layout.

        Raises DataError when the file is of another problem: other components, cells, size, boundaries or
        time step.
        """
        missing = [c for c in layout.components if c not in self.components]
        left_over = [c for c in self.components if c not in layout.components]
        if missing or left_over:
            raise self._mismatch(f"the components {_listed(layout.components)}", _listed(self.components))
        array = np.stack([self.components[c] for c in layout.components])
        if array.shape[2:] != grid.resolution:
            raise self._mismatch(f"{grid.resolution} cells", str(array.shape[2:]))
        if self.grid is not None and not all(map(_close, self.grid.size, grid.size)):
            raise self._mismatch(f"a box of size {grid.size}", str(self.grid.size))
        if self.dt is not None and not _close(self.dt, dt):
            raise self._mismatch(f"a time step of {dt:g}", f"{self.dt:g}")
        for name, found in self.boundaries.items():
            if found != layout.field(name).boundary:
                raise self._mismatch(
                    f"{name} with a {layout.field(name).boundary} boundary", f"a {found} one"
                )
        return np.ascontiguousarray(array)

    def _mismatch(self, expected: str, found: str) -> DataError:
        return DataError(
            f"{self.source}: expected {expected}, found {found}. "
            "Use the configuration that this file was made with."
        )


def split_vector(
    source: Path, name: str, values: NDArray[Any], axes: Iterable[str], *, vector: bool
) -> dict[str, NDArray[Any]]:
    """Components by name of a field: values (vector, time, *space), or (time, *space) of a scalar."""
    if not vector:
        return {renamed(name): values}
    names = [f"{renamed(name)}_{axis}" for axis in axes]
    if len(names) != len(values):
        raise DataError(
            f"{source}: {name} has {len(values)} components, and the box the axes {_listed(axes)}."
        )
    return dict(zip(names, values, strict=True))


def _close(a: float, b: float) -> bool:
    return isclose(a, b, rel_tol=1e-6)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
