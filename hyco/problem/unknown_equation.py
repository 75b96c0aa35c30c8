"""Data of an equation that hyco does not have: fields with names, and nothing that could be solved."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from hyco.errors import ConfigError
from hyco.problem.equation import Equation
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import Grid

NONE = "none"


def unknown_equation(dynamic: Sequence[str], static: Sequence[str], vectors: Collection[str]) -> Equation:
    """An equation of which the fields alone are known: those that evolve, those that stay, which are vectors.

    It has no parameters, and cannot be simulated: asking for initial conditions raises ConfigError.
    """
    fields = tuple(
        FieldSpec(name, vector=name in vectors, static=still)
        for still, names in ((False, dynamic), (True, static))
        for name in names
    )
    return Equation(NONE, "not known: a surrogate learns from data alone", (1, 2, 3), fields, (), _nothing)


def _nothing(grid: Grid, layout: FieldLayout, batch: int, rng: np.random.Generator) -> NDArray[np.float64]:
    raise ConfigError(
        "model.physical.name: none has no initial conditions, since its equation is not known. Take states "
        "from the data."
    )
