"""Tiny problems, one for every path through the code: equation x dimension x parameter x boundary.

Sizes, resolutions and spacings differ between the axes, so that two axes taken for each other show; cells
are crossed in less than a time step in places, so that departure points lie in other cells than their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hyco.migration.registry import resolve, use_mode
from hyco.problem.equation import Equation, diffusion_limit
from hyco.problem.equations import EQUATIONS
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import AXES, Boundary, Grid
from hyco.problem.sampling import smooth_random_field

SIZES = (10.0, 7.0, 5.0)


@dataclass(frozen=True)
class Case:
    """One equation on one small grid, with one kind of parameter and one boundary."""

    equation: str
    resolution: tuple[int, ...]
    coefficient: Literal["scalar", "field"]
    boundary: Boundary
    dt: float = 2.5
    substeps: int = 2

    @property
    def name(self) -> str:
        """`burgers-2d-field-zero`."""
        return f"{self.equation}-{len(self.resolution)}d-{self.coefficient}-{self.boundary}"

    @cached_property
    def grid(self) -> Grid:
        """The box: another size and another spacing along each axis."""
        axes = zip(AXES, SIZES, self.resolution, strict=False)
        return Grid.of(**{name: (size, cells) for name, size, cells in axes})

    @property
    def facts(self) -> Equation:
        """What the equation is."""
        return EQUATIONS[self.equation]

    @property
    def boundaries(self) -> dict[str, Boundary]:
        """The boundary of every field."""
        return {f.name: self.boundary for f in self.facts.fields}

    @property
    def layout(self) -> FieldLayout:
        """The components of a state."""
        return self.facts.layout(self.grid, self.boundaries)

    @property
    def limit(self) -> float:
        """The largest stable diffusion coefficient."""
        return diffusion_limit(self.grid, self.dt, self.substeps)

    def parameters(self) -> dict[str, NDArray[np.float64] | float]:
        """Every parameter: a fifth of the stable limit, or a field between a tenth and six tenths of it."""
        return {p.name: self.value(p.name) for p in self.facts.parameters}

    def value(self, name: str) -> NDArray[np.float64] | float:
        """The value of one parameter."""
        if self.coefficient == "scalar":
            return 0.2 * self.limit
        waves = [
            np.sin(2 * np.pi * x / size + 0.4 + 0.7 * i)  # no two neighbours are equal
            for i, (x, size) in enumerate(zip(self.grid.coordinates().values(), self.grid.size, strict=True))
        ]
        share = sum(waves) / len(waves)
        return np.broadcast_to(self.limit * (0.35 + 0.25 * share), self.grid.resolution).copy()

    def model(self, side: str, precision: str = "float64", device: str = "cpu", **changes: Any) -> Any:
        """The physical model of this case on one side."""
        with use_mode(side):
            cls = resolve("physical_model", self.equation)
        options: dict[str, Any] = {
            "boundaries": self.boundaries,
            "substeps": self.substeps,
            "device": device,
            "precision": precision,
        }
        return cls(self.grid, self.dt, self.parameters(), **(options | changes))

    def states(self, batch: int, seed: int = 0) -> NDArray[np.float64]:
        """Initial states (batch, field, *space): four waves per axis, up to two cells per step."""
        rng = np.random.default_rng(seed)
        return 0.18 * smooth_random_field(self.grid, (batch, len(self.layout.components)), rng, modes=4)


CASES = (
    Case("burgers", (16,), "scalar", "periodic"),
    Case("burgers", (16,), "field", "periodic"),
    Case("burgers", (14,), "field", "zero-gradient"),
    Case("burgers", (14,), "field", "zero"),
    Case("burgers", (12, 10), "scalar", "periodic"),
    Case("burgers", (12, 10), "field", "periodic"),
    Case("burgers", (12, 10), "scalar", "zero-gradient"),
    Case("burgers", (12, 10), "field", "zero-gradient"),
    Case("burgers", (12, 10), "scalar", "zero"),
    Case("burgers", (12, 10), "field", "zero"),
    Case("burgers", (10, 9, 8), "field", "periodic"),
    Case("burgers", (10, 9, 8), "scalar", "zero-gradient"),
    Case("burgers", (10, 9, 8), "field", "zero"),
)
BY_NAME = {case.name: case for case in CASES}


def layout_with_static(axes: tuple[str, ...]) -> FieldLayout:
    """A velocity and a temperature that evolve, with a static height between them."""
    fields = (FieldSpec("velocity", vector=True), FieldSpec("height", static=True), FieldSpec("temperature"))
    return FieldLayout(fields, axes)


def smooth_states(layout: FieldLayout, grid: Grid, batch: int, seed: int = 0) -> NDArray[np.float64]:
    """Smooth random states (batch, field, *space) of any layout."""
    rng = np.random.default_rng(seed)
    return smooth_random_field(grid, (batch, len(layout.components)), rng, modes=2)
