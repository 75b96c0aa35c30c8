"""Uniform cell-centred grids and the boundary behaviour of the fields on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Boundary = Literal["periodic", "zero-gradient", "zero"]
BOUNDARIES: tuple[Boundary, ...] = get_args(Boundary)
AXES = ("x", "y", "z")


@dataclass(frozen=True)
class Grid:
    """A box of `resolution` equal cells per axis, values at the cell centres.

        x_i = (i + 1/2) dx,    dx = size / resolution,    i = 0 ... resolution - 1

    Args:
        axes: names of the axes, the first 1, 2 or 3 of x, y, z.
        size: length of the box along each axis.
        resolution: number of cells along each axis.
    """

    axes: tuple[str, ...]
    size: tuple[float, ...]
    resolution: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.axes != AXES[: len(self.axes)] or not self.axes:
            raise ValueError(f"axes must be the first 1 to 3 of {AXES}, got {self.axes}")
        if not len(self.size) == len(self.resolution) == len(self.axes):
            raise ValueError(f"one size and one resolution per axis: {self.size}, {self.resolution}")
        if min(self.resolution) < 1 or not all(s > 0 for s in self.size):
            raise ValueError(f"sizes and resolutions must be positive: {self.size}, {self.resolution}")

    @classmethod
    def of(cls, **axes: tuple[float, int]) -> Grid:
        """`Grid.of(x=(100.0, 64), y=(50.0, 32))`: size and resolution of each axis."""
        names = tuple(axes)
        return cls(names, tuple(float(axes[a][0]) for a in names), tuple(int(axes[a][1]) for a in names))

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.axes)

    @property
    def cells(self) -> int:
        """Number of cells of the whole box."""
        return prod(self.resolution)

    @cached_property
    def spacing(self) -> tuple[float, ...]:
        """Cell width along each axis."""
        return tuple(s / n for s, n in zip(self.size, self.resolution, strict=True))

    def centres(self, axis: str) -> NDArray[np.float64]:
        """Cell centres along one axis."""
        i = self.axes.index(axis)
        return (np.arange(self.resolution[i], dtype=np.float64) + 0.5) * self.spacing[i]

    def coordinates(self) -> Mapping[str, NDArray[np.float64]]:
        """Cell centres of every axis, each shaped to broadcast against a field on the grid."""
        mesh = np.meshgrid(*(self.centres(a) for a in self.axes), indexing="ij", sparse=True)
        return dict(zip(self.axes, mesh, strict=True))
