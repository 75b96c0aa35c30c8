"""The advection equation: what it is."""

from __future__ import annotations

from hyco.problem.equation import Equation, ParameterSpec
from hyco.problem.fields import FieldSpec
from hyco.problem.initial_conditions import front_in_swirl

EQUATION = Equation(
    name="advection",
    formula="drho/dt + c (v . grad) rho = 0",
    ranks=(1, 2, 3),
    fields=(
        FieldSpec("density", boundary="zero-gradient"),
        FieldSpec("velocity", vector=True, static=True, unit="length/time"),
    ),
    parameters=(ParameterSpec("advection_coeff", "1", "factor c on the given velocity"),),
    initial_conditions=front_in_swirl,
)
