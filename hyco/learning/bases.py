"""What is unknown of a parameter: one value per cell, or the coefficients of a few functions.

Everything is numpy in float64, and so the same for both modes.  No basis knows of boundaries: waves fit into
the box and so suit periodic coefficients; bumps do not wrap, since a coefficient may jump across a periodic
boundary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.errors import ConfigError, did_you_mean
from hyco.problem.grid import Grid

Array = NDArray[np.float64]
Bounds = tuple[float, float]
# directions of a set of bumps that are this much weaker than the strongest take no part in a projection
NEGLIGIBLE = 1e-10


class Basis(ABC):
    """A linear map from coefficients to a field (*space):  c(x) = sum_k theta_k phi_k(x).

    `description`: name and options, from which `basis_of` makes it again.
    """

    description: Mapping[str, Any]

    @abstractmethod
    def field(self, coefficients: Array) -> Array:
        """The field of these coefficients."""

    @abstractmethod
    def adjoint(self, gradient: Array) -> Array:
        """The gradient by the coefficients from that by the cells."""

    @abstractmethod
    def coefficients(self, field: Array) -> Array:
        """Those whose field is nearest to `field`, in the mean square over the cells.

        A field that the basis cannot represent is projected, and a search starts from the projection; a
        uniform one comes back bit for bit.
        """


class Cells(Basis):
    """One unknown per cell, or the one of a scalar."""

    description: Mapping[str, Any] = {"name": "cells"}

    def field(self, coefficients: Array) -> Array:
        return coefficients

    def adjoint(self, gradient: Array) -> Array:
        return gradient

    def coefficients(self, field: Array) -> Array:
        return field


class Fourier(Basis):
    """A mean, and the cosines and sines of all waves with at most `modes` periods along each axis.

        phi(x) = prod_a w_a(x_a),    w_a in {1, cos(2 pi k x_a / size_a), sin(2 pi k x_a / size_a)},
        k = 1 ... modes

    Coefficients: (2 modes + 1, ...), one axis per axis of the grid, each in the order 1, cos 1, sin 1, cos 2
    ...; in units of the parameter.  Raises ConfigError when an axis has fewer cells than that.
    """

    def __init__(self, grid: Grid, *, modes: int) -> None:
        _check_size(grid, 2 * modes + 1, f"{modes} modes")
        self.description = {"name": "fourier", "modes": modes}
        self._waves = [
            _waves(grid.centres(a) / size, modes) for a, size in zip(grid.axes, grid.size, strict=True)
        ]
        self._inverse = [np.linalg.pinv(w) for w in self._waves]

    def field(self, coefficients: Array) -> Array:
        return _along(self._waves, coefficients)

    def adjoint(self, gradient: Array) -> Array:
        return _along([w.T for w in self._waves], gradient)

    def coefficients(self, field: Array) -> Array:
        middle = _middle(field)
        found = _along(self._inverse, field - middle)
        found[(0,) * found.ndim] += middle
        return found


class Gaussians(Basis):
    """A mean, and bumps on a lattice of `count` per axis, each `width` lattice spacings wide.

        phi_0 = 1,    phi_j(x) = prod_a exp(-(x_a - z_ja)^2 / (2 (width h_a)^2)),    z_ja = (j_a + 1/2) h_a,
        h_a = size_a / count

    Coefficients: (1 + count^d,), in units of the parameter.  Raises ConfigError when an axis has fewer cells
    than bumps.
    """

    def __init__(self, grid: Grid, *, count: int, width: float = 1.0) -> None:
        _check_size(grid, count, f"{count} gaussians")
        self.description = {"name": "gaussians", "count": count, "width": width}
        places = (np.arange(count) + 0.5) / count
        shares = [grid.centres(a) / size for a, size in zip(grid.axes, grid.size, strict=True)]
        self._bumps = [np.exp(-0.5 * ((x[:, None] - places) * count / width) ** 2) for x in shares]
        self._inverse = [np.linalg.pinv(b, rcond=NEGLIGIBLE) for b in self._bumps]
        self._lattice = (count,) * grid.rank
        ones = np.ones(grid.resolution)
        self._rest = ones - _along(self._bumps, _along(self._inverse, ones))  # what bumps miss of a constant

    def field(self, coefficients: Array) -> Array:
        return coefficients[0] + _along(self._bumps, coefficients[1:].reshape(self._lattice))

    def adjoint(self, gradient: Array) -> Array:
        heights = _along([b.T for b in self._bumps], gradient)
        return np.concatenate([[np.sum(gradient)], heights.ravel()])

    def coefficients(self, field: Array) -> Array:
        middle = _middle(field)
        left = field - middle
        norm = float(np.sum(self._rest**2))
        mean = float(np.sum(self._rest * left)) / norm if norm > NEGLIGIBLE**2 * left.size else 0.0
        heights = _along(self._inverse, left - mean)
        return np.concatenate([[middle + mean], heights.ravel()])


CELLS = Cells()
_BASES: dict[str, Callable[..., Basis]] = {
    "cells": lambda grid: CELLS,
    "fourier": Fourier,
    "gaussians": Gaussians,
}


def basis_of(grid: Grid, *, name: str, **options: Any) -> Basis:
    """The basis of that name on `grid`: `cells`, `fourier` (modes), `gaussians` (count, width).

    Raises ConfigError for a name that there is not, and for more functions than the grid has cells along an
    axis.
    """
    if name not in _BASES:
        raise ConfigError(f"there is no basis {name!r}. {did_you_mean(name, _BASES)}")
    return _BASES[name](grid, **options)


@dataclass(frozen=True)
class Unknowns:
    """What a solve searches for: the coefficients of every learnable parameter, in its basis.

    Fields made of coefficients are clipped to the bounds of the parameter, and the coefficients themselves
    are free; values per cell, and scalars, are bounded themselves.

    Args:
        bounds: parameter -> (least, greatest) value.
        bases: parameter -> basis; `cells` for those not given.
    """

    bounds: Mapping[str, Bounds]
    bases: Mapping[str, Basis]

    def __post_init__(self) -> None:
        strange = [name for name in self.bases if name not in self.bounds]
        if strange:
            raise ConfigError(
                f"a basis is given for {strange[0]!r}, which is not learned. "
                f"{did_you_mean(strange[0], self.bounds)}"
            )

    @property
    def expanded(self) -> tuple[str, ...]:
        """The parameters that have another basis than their cells."""
        return tuple(name for name in self.bounds if self._basis(name) is not CELLS)

    @property
    def descriptions(self) -> dict[str, dict[str, Any]]:
        """Name and options of the basis of every parameter in `expanded`."""
        return {name: dict(self.bases[name].description) for name in self.expanded}

    @property
    def limits(self) -> dict[str, Bounds]:
        """The bounds of the coefficients."""
        free = (-np.inf, np.inf)
        return {name: free if name in self.expanded else self.bounds[name] for name in self.bounds}

    def scales(self, coefficients: Mapping[str, Array]) -> dict[str, float]:
        """How much the coefficients of every expanded parameter may sensibly differ.

        As much as the parameter may; without bounds, as much as its largest coefficient, or 1.
        """
        spans = {name: self.bounds[name][1] - self.bounds[name][0] for name in self.expanded}
        return {
            name: span if np.isfinite(span) else float(np.max(np.abs(coefficients[name]))) or 1.0
            for name, span in spans.items()
        }

    def of(self, fields: Mapping[str, Array]) -> dict[str, Array]:
        """The coefficients of fields, projected where they cannot be represented.

        Raises ConfigError for a number that has a basis.
        """
        for name, description in self.descriptions.items():
            if np.ndim(fields[name]) == 0:
                raise ConfigError(
                    f"{name} is one number, which has no basis {description['name']!r}. Leave it out."
                )
        return {name: np.array(self._basis(name).coefficients(fields[name])) for name in self.bounds}

    def fields(self, coefficients: Mapping[str, Array]) -> dict[str, Array]:
        """The fields of coefficients, within the bounds."""
        return {name: self._clipped(name, self._raw(name, coefficients)) for name in self.bounds}

    def pulled_back(
        self, coefficients: Mapping[str, Array], gradients: Mapping[str, Array]
    ) -> dict[str, Array]:
        """The gradients by the coefficients from those by the fields.

        Clipped cells count where descent leads them back within the bounds, although the objective is flat
        there: otherwise a field that a step drove out of its bounds would stay there for good.
        """
        pulled = {}
        for name in self.bounds:
            gradient = gradients[name]
            if name in self.expanded:
                raw = self._raw(name, coefficients)
                away = (raw - self._clipped(name, raw)) * gradient < 0.0
                gradient = np.where(away, 0.0, gradient)
            pulled[name] = self._basis(name).adjoint(gradient)
        return pulled

    def within(self, coefficients: Mapping[str, Array]) -> dict[str, Array] | None:
        """The coefficients nearest to the clipped fields; None where nothing is clipped."""
        raw = {name: self._raw(name, coefficients) for name in self.expanded}
        clipped = {name: self._clipped(name, field) for name, field in raw.items()}
        outside = [name for name in raw if np.any(raw[name] != clipped[name])]
        if not outside:
            return None
        return {
            name: np.array(self._basis(name).coefficients(clipped[name])) if name in outside else array
            for name, array in coefficients.items()
        }

    def _basis(self, name: str) -> Basis:
        return self.bases.get(name, CELLS)

    def _raw(self, name: str, coefficients: Mapping[str, Array]) -> Array:
        return self._basis(name).field(coefficients[name])

    def _clipped(self, name: str, raw: Array) -> Array:
        return np.clip(raw, *self.bounds[name]) if name in self.expanded else raw


def _waves(share: Array, modes: int) -> Array:
    """(cell, wave) of one axis: 1, cos 1, sin 1, cos 2 ...; `share` in (0, 1) is where a cell lies."""
    columns = [np.ones_like(share)]
    for k in range(1, modes + 1):
        columns += [np.cos(2.0 * np.pi * k * share), np.sin(2.0 * np.pi * k * share)]
    return np.stack(columns, axis=1)


def _along(matrices: Sequence[NDArray[Any]], tensor: NDArray[Any]) -> Array:
    """Every axis multiplied by its matrix."""
    for axis, matrix in enumerate(matrices):
        tensor = np.moveaxis(np.tensordot(matrix, tensor, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(tensor)


def _middle(field: Array) -> float:
    """Half way between least and greatest: of a uniform field its value, to the last bit."""
    least, greatest = float(field.min()), float(field.max())
    return least + 0.5 * (greatest - least)


def _check_size(grid: Grid, needed: int, what: str) -> None:
    for axis, cells in zip(grid.axes, grid.resolution, strict=True):
        if cells < needed:
            raise ConfigError(
                f"a basis of {what} needs {needed} cells along each axis, and {axis} has {cells}. "
                "Use fewer, or a finer grid."
            )
