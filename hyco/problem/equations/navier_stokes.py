"""The incompressible Navier-Stokes equations with smoke that rises: what they are."""

from __future__ import annotations

from hyco.problem.equation import Equation, ParameterSpec
from hyco.problem.fields import FieldSpec
from hyco.problem.initial_conditions import smoke_in_eddies

EQUATION = Equation(
    name="navier_stokes",
    formula="du/dt + (u . grad) u = -grad p + div(nu grad u) + b rho e_y,   div u = 0,   "
    "drho/dt + (u . grad) rho = 0",
    ranks=(2,),
    fields=(FieldSpec("velocity", vector=True, unit="length/time"), FieldSpec("density")),
    parameters=(
        ParameterSpec("viscosity", "length^2/time", "kinematic viscosity nu", lower=0.0, diffusive=True),
        ParameterSpec("buoyancy_coeff", "length/time^2", "upward acceleration b per unit of density"),
    ),
    initial_conditions=smoke_in_eddies,
)
