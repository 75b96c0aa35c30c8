"""The viscous Burgers equation: what it is."""

from __future__ import annotations

from hyco.problem.equation import Equation, ParameterSpec
from hyco.problem.fields import FieldSpec
from hyco.problem.initial_conditions import random_velocity

EQUATION = Equation(
    name="burgers",
    formula="du/dt + (u . grad) u = div(nu grad u)",
    ranks=(1, 2, 3),
    fields=(FieldSpec("velocity", vector=True, unit="length/time"),),
    parameters=(
        ParameterSpec(
            "diffusion_coeff", "length^2/time", "kinematic viscosity nu", lower=0.0, diffusive=True
        ),
    ),
    initial_conditions=random_velocity,
)
