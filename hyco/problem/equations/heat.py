"""The heat equation: what it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hyco.problem.equation import Equation, ParameterSpec
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import Grid
from hyco.problem.sampling import smooth_random_field


def random_temperature(
    grid: Grid, layout: FieldLayout, batch: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Smooth random temperatures of unit root mean square and no mean, up to four waves per axis."""
    return smooth_random_field(grid, (batch, len(layout.components)), rng)


EQUATION = Equation(
    name="heat",
    formula="du/dt = div(kappa grad u)",
    ranks=(1, 2, 3),
    fields=(FieldSpec("temperature"),),
    parameters=(
        ParameterSpec("conductivity", "length^2/time", "conductivity kappa", lower=0.0, diffusive=True),
    ),
    initial_conditions=random_temperature,
)
