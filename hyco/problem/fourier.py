"""Which waves a Fourier layer keeps, and the box it computes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyco.errors import ConfigError
from hyco.problem.grid import Grid


@dataclass(frozen=True)
class Spectrum:
    """The waves |k_i| < modes_i of a real field on a box of `cells`.

    Along the last axis only k >= 0 is kept, since a real field has the same amplitude at k and -k.  Waves
    stand in the order of the discrete Fourier transform, 0, 1, ..., -2, -1; the wave of half the cells,
    which is its own mirror image, stands once, among the positive ones.

    The transforms are also there as matrices.  A complex number is a pair (real, imaginary) in them, in
    the order (cells, pair, waves, pair) and back, where a pair that is always real has one entry only.
    """

    cells: tuple[int, ...]
    modes: tuple[int, ...]

    @property
    def negative(self) -> tuple[int, ...]:
        """How many waves k < 0 are kept along every axis."""
        both_signs = [min(m - 1, n - m) for m, n in zip(self.modes, self.cells, strict=True)]
        return (*both_signs[:-1], 0)

    @property
    def shape(self) -> tuple[int, ...]:
        """How many waves are kept along every axis."""
        return tuple(m + n for m, n in zip(self.modes, self.negative, strict=True))

    @property
    def copies(self) -> NDArray[np.float64]:
        """How often each wave of the last axis stands in the whole spectrum: 2, or 1 where k = -k."""
        waves = np.arange(self.modes[-1])
        return np.where((waves == 0) | (2 * waves == self.cells[-1]), 1.0, 2.0)

    def analysis(self, axis: int) -> NDArray[np.float64]:
        """The transform to the kept waves along an axis, of real values along the last one."""
        matrix = _on_pairs(self._waves(axis).conj().T)
        return matrix[:, :1] if axis == len(self.cells) - 1 else matrix

    def synthesis(self, axis: int) -> NDArray[np.float64]:
        """The transform back from the kept waves along an axis, to real values along the last one."""
        waves = self._waves(axis) / self.cells[axis]
        if axis < len(self.cells) - 1:
            return _on_pairs(waves)
        return _on_pairs(waves * self.copies[:, None])[..., :1]

    def _waves(self, axis: int) -> NDArray[np.complex128]:
        """exp(2 pi i k j / n), an array (waves, cells)."""
        n = self.cells[axis]
        waves = np.r_[: self.modes[axis], -self.negative[axis] : 0]
        turns = np.outer(waves, np.arange(n)) % n / n  # whole turns are taken off without rounding
        cosine, sine = np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)
        # quarter turns exactly, as the fast transform has them: an amplitude without effect has no gradient
        return np.where(4 * turns % 2 == 1, 0.0, cosine) + 1j * np.where(2 * turns % 1 == 0, 0.0, sine)


def _on_pairs(matrix: NDArray[np.complex128]) -> NDArray[np.float64]:
    """A complex matrix (a, b) that multiplies row vectors, as a real one (a, pair, b, pair)."""
    real, imaginary = matrix.real, matrix.imag
    rows = np.stack([real, imaginary], axis=-1), np.stack([-imaginary, real], axis=-1)
    return np.stack(rows, axis=1)


def fno_modes(grid: Grid, modes: int | Sequence[int]) -> tuple[int, ...]:
    """One number of modes per axis; raises ConfigError for more than half the cells and one.

    `modes` waves are 0 ... modes - 1, and of n cells the shortest wave is n // 2.
    """
    per_axis = (modes,) * grid.rank if isinstance(modes, int) else tuple(modes)
    if len(per_axis) != grid.rank:
        raise ConfigError(
            f"modes: expected one number, or one per axis {', '.join(grid.axes)}, got {list(per_axis)}."
        )
    for axis, cells, kept in zip(grid.axes, grid.resolution, per_axis, strict=True):
        if not 1 <= kept <= cells // 2 + 1:
            raise ConfigError(
                f"modes: {axis} has {cells} cells and so 1 to {cells // 2 + 1} Fourier modes, got {kept}. "
                "Use other modes, or another resolution."
            )
    return per_axis


def fno_padding(grid: Grid, periodic: bool) -> tuple[int, ...]:
    """How many cells of zeros follow each axis of a box that is not periodic: an eighth, rounded up."""
    return tuple(0 if periodic else -(-cells // 8) for cells in grid.resolution)


def fno_coordinates(grid: Grid) -> NDArray[np.float64]:
    """Cell centres as shares of the box, between 0 and 1: an array (axis, *space)."""
    shares = [x / size for x, size in zip(grid.coordinates().values(), grid.size, strict=True)]
    return np.stack(np.broadcast_arrays(*shares))
