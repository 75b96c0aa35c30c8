"""What an equation is, apart from how it is discretised: fields, parameters, limits, initial conditions.

The equations themselves are in `hyco/problem/equations/`, one file each; their discretisations in
`hyco/legacy/physical/` and `hyco/phiml/physical/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hyco.errors import ConfigError, did_you_mean
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import Boundary, Grid

Kind = Literal["scalar", "field"]
InitialConditions = Callable[[Grid, FieldLayout, int, np.random.Generator], NDArray[np.float64]]


@dataclass(frozen=True)
class ParameterSpec:
    """A parameter of an equation: a scalar, or one value per cell.

    Args:
        lower: the least admissible value.
        diffusive: bounded above by the limit of the explicit diffusion step.
        kinds: what it can be; a potential that is the same everywhere would do nothing.
        up_to_constant: only its gradient acts, so that values are compared without their means.
    """

    name: str
    unit: str
    description: str
    lower: float = -np.inf
    diffusive: bool = False
    kinds: tuple[Kind, ...] = ("scalar", "field")
    up_to_constant: bool = False

    def upper(self, grid: Grid, dt: float, substeps: int) -> float:
        """The largest admissible value on this grid with this step; infinite when there is no limit."""
        return diffusion_limit(grid, dt, substeps) if self.diffusive else np.inf


@dataclass(frozen=True)
class Equation:
    """The framework-free facts of one PDE."""

    name: str
    formula: str
    ranks: tuple[int, ...]
    fields: tuple[FieldSpec, ...]
    parameters: tuple[ParameterSpec, ...]
    initial_conditions: InitialConditions

    def layout(self, grid: Grid, boundaries: Mapping[str, Boundary] | None = None) -> FieldLayout:
        """The state's fields on `grid`, with `boundaries` (by field name) instead of the defaults."""
        chosen = dict(boundaries or {})
        fields = tuple(
            FieldSpec(f.name, f.vector, f.static, chosen.pop(f.name, f.boundary), f.unit) for f in self.fields
        )
        if chosen:
            known = ", ".join(f.name for f in self.fields)
            raise ValueError(f"{self.name} has no field {', '.join(chosen)}; its fields: {known}")
        return FieldLayout(fields, grid.axes)

    def parameter(self, name: str) -> ParameterSpec:
        """The parameter of that name; KeyError when the equation has none."""
        return {p.name: p for p in self.parameters}[name]


def diffusion_limit(grid: Grid, dt: float, substeps: int) -> float:
    """Largest coefficient that explicit Euler diffusion of step `dt / substeps` keeps stable.

    nu <= substeps / (2 dt sum_a 1 / dx_a^2)          (= substeps dx^2 / (2 d dt) for equal spacing)
    """
    return substeps / (2.0 * dt * sum(1.0 / h**2 for h in grid.spacing))


def substeps_needed(coefficient: float, grid: Grid, dt: float) -> int:
    """The smallest number of substeps that keeps `coefficient` within `diffusion_limit`."""
    return max(1, ceil(coefficient / diffusion_limit(grid, dt, 1) - 1e-12))


def check_parameters(
    equation: Equation,
    grid: Grid,
    dt: float,
    substeps: int,
    parameters: Mapping[str, NDArray[np.floating] | float],
) -> None:
    """Raise ConfigError unless `parameters` are those of the equation, well shaped, finite, and stable."""
    known = {p.name for p in equation.parameters}
    for name in parameters:
        if name not in known:
            raise ConfigError(f"{equation.name} has no parameter {name!r}. {did_you_mean(name, known)}")
    missing = sorted(known - set(parameters))
    if missing:
        raise ConfigError(f"{equation.name} needs the parameter {missing[0]!r}; give it a value.")
    for name, value in parameters.items():
        check_parameter(equation.parameter(name), grid, dt, substeps, np.asarray(value, dtype=np.float64))


def check_parameter(
    spec: ParameterSpec, grid: Grid, dt: float, substeps: int, value: NDArray[np.float64]
) -> None:
    """Raise ConfigError unless `value` is a scalar or a field on `grid`, finite, and within the limits."""
    if value.shape not in ((), grid.resolution):
        raise ConfigError(
            f"{spec.name} must be a scalar or have one value per cell {grid.resolution}, "
            f"got shape {value.shape}."
        )
    if not np.all(np.isfinite(value)):
        raise ConfigError(f"{spec.name} must be finite, but {np.sum(~np.isfinite(value))} values are not.")
    if ("field" if value.ndim else "scalar") not in spec.kinds:
        raise ConfigError(f"{spec.name} must be a {spec.kinds[0]}, got shape {value.shape}.")
    least, greatest = float(value.min()), float(value.max())
    if least < spec.lower:
        raise ConfigError(f"{spec.name} must be at least {spec.lower:g}, but goes down to {least:g}.")
    upper = spec.upper(grid, dt, substeps)
    if greatest > upper * (1.0 + 1e-6):  # the tolerance admits a bound that was rounded to float32
        raise ConfigError(
            f"{spec.name} = {greatest:g} is unstable with dt = {dt:g} and {substeps} substeps, which allow "
            f"at most {upper:.4g}. Use substeps: {substeps_needed(greatest, grid, dt)} or more, "
            "or a smaller dt."
        )
