"""The Gray-Scott equations: what they are."""

from __future__ import annotations

from hyco.problem.equation import Equation, ParameterSpec
from hyco.problem.fields import FieldSpec
from hyco.problem.initial_conditions import random_seeds

EQUATION = Equation(
    name="gray_scott",
    formula="du/dt = Du lap u - u v^2 + F (1 - u),   dv/dt = Dv lap v + u v^2 - (F + k) v",
    ranks=(1, 2, 3),
    fields=(FieldSpec("u"), FieldSpec("v")),
    parameters=(
        ParameterSpec("Du", "length^2/time", "diffusivity of the substrate u", lower=0.0, diffusive=True),
        ParameterSpec("Dv", "length^2/time", "diffusivity of the autocatalyst v", lower=0.0, diffusive=True),
        ParameterSpec("feed", "1/time", "feed rate F of the substrate", lower=0.0),
        ParameterSpec("kill", "1/time", "removal rate k of the autocatalyst", lower=0.0),
    ),
    initial_conditions=random_seeds,
)
