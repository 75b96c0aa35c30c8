"""The inviscid Burgers equation, forced by a potential: what it is."""

from __future__ import annotations

from hyco.problem.equation import Equation, ParameterSpec
from hyco.problem.fields import FieldSpec
from hyco.problem.initial_conditions import random_velocity

EQUATION = Equation(
    name="inviscid_burgers",
    formula="du/dt + (u . grad) u = -grad(phi)",
    ranks=(1, 2, 3),
    fields=(FieldSpec("velocity", vector=True, unit="length/time"),),
    parameters=(
        ParameterSpec(
            "potential",
            "length^2/time^2",
            "potential phi of the force, known up to a constant",
            kinds=("field",),
            up_to_constant=True,
        ),
    ),
    initial_conditions=random_velocity,
)
