"""Every assignment of sides to components, for every equation: each must train as pure legacy does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from hyco.config import Config
from hyco.migration.registry import Component, use_mode
from hyco.problem.equations import EQUATIONS
from hyco.testing.cases import Case, kinds_of, pairwise
from hyco.testing.compare import Difference, Mismatch, measure
from hyco.testing.experiments import Outcome, train

SIDES = ("legacy", "phiml")
NEEDED: Mapping[str, tuple[str, ...]] = {
    "hybrid": tuple(str(c) for c in Component),
    "synthetic": ("data_manager", "dataset", "synthetic_model", "synthetic_trainer"),
    "physical": ("data_manager", "dataset", "physical_model", "physical_trainer"),
}
KINDS = {"hybrid": "hybrid run", "synthetic": "synthetic fit", "physical": "physical fit"}


@dataclass(frozen=True)
class Mixture:
    """One assignment: a side for each component that a kind of training needs, in the order of `NEEDED`."""

    equation: str
    training: str
    sides: tuple[str, ...]

    @property
    def name(self) -> str:
        """`heat-hybrid-LLPLPLP`."""
        return f"{self.equation}-{self.training}-{''.join(side[0].upper() for side in self.sides)}"

    @property
    def components(self) -> dict[str, str]:
        """Component -> side."""
        return dict(zip(NEEDED[self.training], self.sides, strict=True))


def case_of(equation: str) -> Case:
    """The tiny case of an equation: as few axes as it allows, periodic, fields and numbers together."""
    facts = EQUATIONS[equation]
    *_, kind = kinds_of(facts.parameters)
    return Case(equation, {1: (8,), 2: (8, 6), 3: (6, 4, 4)}[min(facts.ranks)], kind, "periodic")


def mixtures(equation: str) -> list[Mixture]:
    """128 assignments of the hybrid training, 16 of each other."""
    return [
        Mixture(equation, training, sides)
        for training, needed in NEEDED.items()
        for sides in product(SIDES, repeat=len(needed))
    ]


def selected(equation: str) -> list[Mixture]:
    """A few of them, in which any two components still are in all four combinations of sides."""
    chosen: list[Mixture] = []
    for training in NEEDED:
        candidates = [m for m in mixtures(equation) if m.training == training]
        chosen += pairwise(candidates, lambda m: m.sides)
    return chosen


def compare(mixture: Mixture, config: Config, expected: Outcome) -> dict[str, Difference]:
    """The differences of a mixture's training from `expected`, that of pure legacy, by quantity.

    Raises Mismatch when the training did not even go through the same epochs, iterations and windows.
    """
    with use_mode("hybrid", mixture.components):
        found = train(config)
    if found.counts() != expected.counts():
        raise Mismatch(f"{mixture.name}: the records differ: {found.counts()} for {expected.counts()}")
    pairs = {
        "losses": (expected.losses(), found.losses()),
        "weights": (expected.weights, found.weights),
        "parameters": (expected.parameters, found.parameters),
        "predictions": (expected.predictions, found.predictions),
    }
    kind = KINDS[mixture.training]
    return {
        f"{what} of a {kind}": measure(a, b, f"{what} of a {kind}")
        for what, (a, b) in pairs.items()
        if a or b
    }
