"""The divergence of cell-centred velocities as a matrix per axis, and the modes in which it is diagonal.

In a box every axis has its own one-dimensional divergence D_a, and D u = sum_a D_a u_a.  With the singular
value decomposition D_a = P_a diag(s_a) V_a^T the divergence, the gradient G = -D^T and the pressure equation
D G p = D u are diagonal in products of these modes, for every boundary, as they are in Fourier modes for
periodic ones.  So pressure needs no iterations.  Source: Lynch, Rice, Thomas (1964).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hyco.problem.grid import Boundary, Grid

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Modes:
    """D = pressure diag(values) velocity^T along one axis; columns are orthonormal modes, values >= 0.

    `values` is exactly 0 for velocities without divergence: uniform ones, or the ones that alternate from
    cell to cell, which central fluxes do not see.
    """

    pressure: Array
    velocity: Array
    values: Array


def divergence_matrix(cells: int, width: float, boundary: Boundary) -> Array:
    """Divergence along one axis by central fluxes.

        (D u)_i = (f_{i+1/2} - f_{i-1/2}) / width,    f_{i+1/2} = (u_i + u_{i+1}) / 2

    On the walls: `periodic` wraps; `zero` is a closed box, f = 0; `zero-gradient` is an open one, f = the
    value of the boundary cell.
    """
    faces = np.zeros((cells + 1, cells))
    for cell in range(cells):
        faces[cell : cell + 2, cell] = 0.5
    wall = {"periodic": (0.5, 0.5), "zero": (0.0, 0.0), "zero-gradient": (1.0, 0.0)}
    own, opposite = wall[boundary]
    faces[0, 0] = faces[-1, -1] = own
    faces[0, -1] += opposite
    faces[-1, 0] += opposite
    return np.diff(faces, axis=0) / width


@lru_cache(maxsize=64)
def divergence_modes(cells: int, width: float, boundary: Boundary) -> Modes:
    """The singular value decomposition of `divergence_matrix`."""
    pressure, values, velocity = np.linalg.svd(divergence_matrix(cells, width, boundary))
    # the least value that is not 0 is about pi / cells of 1 / width; rounding leaves 1e-15 of it
    return Modes(pressure, velocity.T, np.where(values * width > 1e-9, values, 0.0))


def inverse_laplacian(grid: Grid, boundary: Boundary) -> Array:
    """1 / sum_a s_a^2 for every product of pressure modes, (*space); 0 where no velocity has divergence."""
    total = np.zeros(grid.resolution)
    for axis, (cells, width) in enumerate(zip(grid.resolution, grid.spacing, strict=True)):
        shape = [-1 if a == axis else 1 for a in range(grid.rank)]
        total = total + divergence_modes(cells, width, boundary).values.reshape(shape) ** 2
    seen = total > 0.0
    return np.where(seen, 1.0 / np.where(seen, total, 1.0), 0.0)
