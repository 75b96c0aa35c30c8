"""Errors and energies by wave number, from one to three dimensions, in boxes of any shape.

A field is taken apart into the waves that its boundaries allow, and the sum of the squared coefficients is
the mean square of the field (Parseval):

    periodic        exp(i k x),   k = 2 pi m / L
    zero-gradient   cos(k x),     k = pi m / L
    zero            sin(k x),     k = pi (m + 1) / L

per axis of length L, in radians per length.  The wave number of a wave is |k| = sqrt(kx^2 + ky^2 + kz^2).
Three bands divide what the grid resolves into equal parts of log |k|, from k1 = 2 pi / (longest side) to
kN = pi / (widest cell):

    low     |k| <= k1^(2/3) kN^(1/3)      the mean included
    middle  in between
    high    |k| > k1^(1/3) kN^(2/3)       the corners beyond kN included
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import pi

import numpy as np
from numpy.typing import NDArray

from hyco.problem.grid import Boundary, Grid

BANDS = ("low", "middle", "high")
ROUNDING = 1e-9  # wave numbers that differ by less, relatively, are the same
Array = NDArray[np.floating]


@dataclass(frozen=True)
class Scales:
    """The limits that divide the wave numbers of a grid.

    Args:
        first, last: k1 and kN.
        low, high: upper limit of the low band, lower limit of the high one.
        width: of the shells of a spectrum.
    """

    first: float
    last: float
    low: float
    high: float
    width: float

    @classmethod
    def of(cls, grid: Grid) -> Scales:
        """The limits for a grid; in an elongated box the shells are narrow enough for 12 of them."""
        first, last = 2 * pi / max(grid.size), pi / max(grid.spacing)
        low, high = (first ** (1 - share) * last**share for share in (1 / 3, 2 / 3))
        width = max(first, min(2 * pi / min(grid.size), last / 12))
        return cls(first, last, low, high, width)

    def bands(self) -> dict[str, tuple[float, float | None]]:
        """The limits of each band; None: whatever is beyond."""
        return {"low": (0.0, self.low), "middle": (self.low, self.high), "high": (self.high, None)}


class Waves:
    """The waves that a field on a grid with such boundaries is made of."""

    def __init__(self, grid: Grid, boundary: Boundary = "periodic") -> None:
        self.grid, self.boundary = grid, boundary
        self.scales = Scales.of(grid)
        mesh = np.meshgrid(*self._per_axis(), indexing="ij", sparse=True)
        self.number: Array = np.sqrt(sum(k**2 for k in mesh))
        limits = np.array([self.scales.low, self.scales.high]) * (1 + ROUNDING)
        self._band = np.digitize(self.number, limits, right=True).ravel()
        self._shell = np.rint(self.number / self.scales.width).astype(np.intp).ravel()
        # of a real field only half of the waves are computed; the others are their mirror images
        self._count = np.ones(self.number.shape)
        if boundary == "periodic":
            self._count[..., 1 : (grid.resolution[-1] + 1) // 2] = 2.0

    def _per_axis(self) -> list[Array]:
        sides = zip(self.grid.resolution, self.grid.size, self.grid.spacing, strict=True)
        if self.boundary == "periodic":
            every = [2 * pi * np.fft.fftfreq(n, d) for n, _, d in sides]
            return [*every[:-1], every[-1][: self.grid.resolution[-1] // 2 + 1]]
        first = 0 if self.boundary == "zero-gradient" else 1
        return [pi * (np.arange(n) + first) / length for n, length, _ in sides]

    def coefficients(self, values: Array) -> NDArray[np.inexact]:
        """The amplitudes of a field (*space)."""
        from scipy import fft  # no run waits for it at its start

        wide = values.astype(np.float64)
        with np.errstate(all="ignore"):
            if self.boundary == "periodic":
                return np.asarray(fft.rfftn(wide, norm="forward"))
            transform = fft.dctn if self.boundary == "zero-gradient" else fft.dstn
            return np.asarray(transform(wide, type=2, norm="ortho") / np.sqrt(self.grid.cells))

    def by_band(self, coefficients: NDArray[np.inexact]) -> Array:
        """The mean square in each band, (3,)."""
        sums: Array = np.bincount(self._band, self._squares(coefficients), len(BANDS)).astype(np.float64)
        return sums

    def by_shell(self, coefficients: NDArray[np.inexact]) -> Array:
        """The mean square in each of `shells`, (shells,)."""
        kept, _ = self._shells
        sums: Array = np.bincount(self._shell, self._squares(coefficients)).astype(np.float64)[kept]
        return sums

    @property
    def shells(self) -> Array:
        """The mean wave number of each shell: those with waves in them that lie between 0 and kN."""
        return self._shells[1]

    @cached_property
    def _shells(self) -> tuple[NDArray[np.intp], Array]:
        weights = self._count.ravel()
        waves = np.bincount(self._shell, weights)
        mean = np.bincount(self._shell, weights * self.number.ravel()) / np.maximum(waves, 1.0)
        whole = (np.arange(len(waves)) + 0.5) * self.scales.width <= self.scales.last * (1 + ROUNDING)
        kept = np.flatnonzero((waves > 0) & (mean > 0) & whole)
        return kept, mean[kept]

    def _squares(self, coefficients: NDArray[np.inexact]) -> Array:
        with np.errstate(all="ignore"):
            squares: Array = (self._count * np.abs(coefficients) ** 2).ravel()
        return squares
