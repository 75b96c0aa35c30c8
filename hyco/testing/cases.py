"""Tiny problems, one for every path through the physics: equation x dimension x parameter kind x boundary.

Sizes, resolutions and spacings differ between the axes, so that two axes taken for each other show; cells
are crossed in less than a time step in places, so that departure points lie in other cells than their own.
A new equation has its cases as soon as its facts are there.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from hyco.migration.registry import resolve, use_mode
from hyco.problem.equation import Equation, ParameterSpec, diffusion_limit
from hyco.problem.equations import EQUATIONS
from hyco.problem.expressions import evaluate, evaluate_scalar
from hyco.problem.fields import FieldLayout
from hyco.problem.grid import AXES, BOUNDARIES, Boundary, Grid
from hyco.problem.sampling import smooth_random_field

SIZES = (10.0, 7.0, 5.0)
RESOLUTIONS = {1: (14,), 2: (12, 10), 3: (10, 9, 8)}
Kind = Literal["scalar", "field", "mixed"]
T = TypeVar("T")

# What changes a state of the size of `Case.states` by a few per cent in a step: rates that are not listed
# have the size 0.04, parameters without a unit the size 1.
TYPICAL = {"potential": 0.002}


@dataclass(frozen=True)
class Case:
    """One equation on one small grid, with one kind of parameters and one boundary.

    `coefficient`: all parameters are numbers, or fields, or (mixed) every other one is a field.
    """

    equation: str
    resolution: tuple[int, ...]
    coefficient: Kind
    boundary: Boundary
    dt: float = 2.5
    substeps: int = 2

    @property
    def name(self) -> str:
        """`burgers-2d-field-zero`."""
        return f"{self.equation}-{self.rank}d-{self.coefficient}-{self.boundary}"

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.resolution)

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
        """Every parameter by name."""
        return {p.name: self.value(p.name) for p in self.facts.parameters}

    def is_field(self, name: str) -> bool:
        """Whether a parameter has one value per cell in this case."""
        number = [p.name for p in self.facts.parameters].index(name)
        every_other = self.coefficient == "mixed" and number % 2 == 1
        wanted = self.coefficient == "field" or every_other
        return "scalar" not in self.facts.parameter(name).kinds or wanted

    def value(self, name: str) -> NDArray[np.float64] | float:
        """The value of one parameter."""
        formula = self.formula(name)
        return evaluate(formula, self.grid) if self.is_field(name) else evaluate_scalar(formula, self.grid)

    def formula(self, name: str, share: float = 1.0) -> str:
        """`share` of a parameter's value, as configurations have it.

        A scalar is 0.2 of the unit, a field waves between 0.1 and 0.6 of it, no two neighbours equal; the
        unit is the stable limit of a diffusivity, and 4 times what is `TYPICAL` of any other parameter.
        """
        spec = self.facts.parameter(name)
        typical = TYPICAL.get(name, 1.0 if spec.unit == "1" else 0.04)
        unit = share * (self.limit if spec.diffusive else 4.0 * typical)
        if not self.is_field(name):
            return repr(0.2 * unit)
        waves = [f"sin(2*pi*{a}/size_{a} + {0.4 + 0.7 * i})" for i, a in enumerate(self.grid.axes)]
        return f"{unit!r}*(0.35 + 0.25*({' + '.join(waves)})/{len(waves)})"

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


def kinds_of(parameters: Sequence[ParameterSpec]) -> Iterator[Kind]:
    """The kinds of parameters that an equation can have in a case."""
    if any("scalar" in p.kinds for p in parameters):
        yield "scalar"
    yield "field"
    if len(parameters) > 1:
        yield "mixed"


def pairwise(candidates: Sequence[T], settings: Callable[[T], Sequence[Hashable]]) -> list[T]:
    """A few of the candidates in which every two settings that occur together still do; in order.

    Greedy: always the candidate that brings most new pairs.
    """
    pairs = [set(combinations(enumerate(settings(c)), 2)) for c in candidates]
    missing, chosen = set().union(*pairs), set()
    while missing:
        best = max(range(len(candidates)), key=lambda i: len(pairs[i] & missing))
        chosen.add(best)
        missing -= pairs[best]
    return [candidates[i] for i in sorted(chosen)]


CASES = tuple(
    Case(equation.name, RESOLUTIONS[rank], kind, boundary)
    for equation in EQUATIONS.values()
    for rank in equation.ranks
    for kind in kinds_of(equation.parameters)
    for boundary in BOUNDARIES
)
SELECTED = tuple(pairwise(CASES, lambda c: (c.equation, c.rank, c.coefficient, c.boundary)))
BY_NAME = {case.name: case for case in CASES}
