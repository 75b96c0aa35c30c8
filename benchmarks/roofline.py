"""What an ideal implementation must do, what the machine can do, and how near to it a measurement comes.

A rollout reads and writes every component of every state once per step, and reads the coefficient once per
step for the whole batch; whatever an implementation moves beyond that (substeps, interpolation weights,
copies) counts as its own loss.  With gradients, every step reads the state, the target and the adjoint, and
writes the adjoint, on the way back, where the coefficient is read and its gradient read and written.
Floating-point operations are those of the formulas, each counted once; those of the way back twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.results import Results, Timing

COPY, TRIAD, CACHED, PRODUCT = "copy", "triad", "triad in the cache", "matrix product"
ROOFS = "roofs"


@dataclass(frozen=True)
class Equation:
    """What a step works on, in two dimensions.

    Args:
        moved: components that change.
        static: components that do not, but stand in every frame.
        carried, scaled, diffuses: whether there is advection, a factor on its wind, and diffusion.
    """

    moved: int
    static: int = 0
    carried: bool = False
    scaled: bool = False
    diffuses: bool = False


EQUATIONS: Mapping[str, Equation] = {
    "burgers": Equation(2, carried=True, diffuses=True),
    "heat": Equation(1, diffuses=True),
    "advection": Equation(1, static=2, carried=True, scaled=True),
}


@dataclass(frozen=True)
class Work:
    """What must be done at least: cells times steps, bytes moved, floating-point operations."""

    cells: int
    bytes: int
    flops: int

    @property
    def intensity(self) -> float:
        """Operations per byte."""
        return self.flops / self.bytes


def flops_per_cell(equation: Equation, substeps: int = 5, rank: int = 2) -> int:
    """Operations of one step on one cell.

    Advection: per axis the place it comes from (product, difference, floor, fraction; and the factor's
    product), per component 2^d - 1 linear interpolations of 3 operations.  Diffusion: per axis the smaller
    coefficient of a face; per axis, component and substep a flux (2) and its share of the change (3).
    """
    carried = rank * (4 + equation.scaled) + equation.moved * 3 * (2**rank - 1) if equation.carried else 0
    diffuses = rank + rank * equation.moved * substeps * 5 if equation.diffuses else 0
    return carried + diffuses


def rollout_work(
    name: str, resolution: int, batch: int, steps: int, *, gradients: bool = False, itemsize: int = 4
) -> Work:
    """The least that a rollout, or the loss of one and its gradient by the coefficient, must do."""
    equation = EQUATIONS[name]
    grid = resolution**2
    cells = grid * batch * steps
    components = equation.moved + equation.static
    values, coefficients, passes = 2 * components, 1, 1
    if gradients:
        values, coefficients, passes = values + 4 * equation.moved + equation.static, 4, 3
    moved = itemsize * (values * cells + coefficients * grid * steps)
    return Work(cells, moved, passes * flops_per_cell(equation) * cells)


@dataclass(frozen=True)
class Roof:
    """What the machine was measured to do: bytes per second from memory and from the cache, operations."""

    memory: float
    cache: float
    compute: float

    @classmethod
    def of(cls, results: Results) -> Roof | None:
        """From the measurements of a session; None where one is missing."""
        found = {name: next(iter(modes.values())) for name, modes in results.of(ROOFS)}
        if not {COPY, TRIAD, CACHED, PRODUCT} <= set(found):
            return None
        memory = max(bandwidth(found[COPY]), bandwidth(found[TRIAD]))
        return cls(memory, max(memory, bandwidth(found[CACHED])), speed(found[PRODUCT]))

    def attainable(self, intensity: float, *, cached: bool = False) -> float:
        """Operations per second under the roof at so many operations per byte."""
        return min(self.compute, intensity * (self.cache if cached else self.memory))


def bandwidth(timing: Timing) -> float:
    """Bytes per second, of those that had to be moved."""
    return timing.bytes / timing.median


def speed(timing: Timing) -> float:
    """Operations per second, of those that had to be done."""
    return timing.flops / timing.median
