"""The advection equation in phiml mode."""

from __future__ import annotations

from collections.abc import Mapping

from phiml import math
from phiml.math import Tensor

from hyco.migration.registry import register
from hyco.phiml.physical.base import GridModel
from hyco.phiml.stencils import advect


@register("physical_model", "advection", "phiml")
class Advection(GridModel):
    """A density carried by a given wind, in a box of 1 to 3 dimensions.

        drho/dt + c (v . grad) rho = 0

    State: `density`, and `velocity` = v, one component per axis, which stays.  Parameter: `advection_coeff`
    = c, a scalar or one value per cell, without unit.  Step: semi-Lagrangian with the velocity c v, stable
    for steps of any length; the interpolation is diffusive.  Source: Courant, Isaacson, Rees (1952).
    """

    name = "advection"

    def advance(self, state: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        velocity = state.field[list(self.layout.static)]
        wind = parameters["advection_coeff"] * velocity
        density = state.field[["density"]]
        carried = advect(density, wind, self.dt, self.grid, self.layout.field("density").boundary)
        return math.concat([carried, velocity], "field")
