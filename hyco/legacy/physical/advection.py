"""The advection equation in legacy mode."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from hyco.legacy.physical.base import GridModel
from hyco.legacy.stencils import advect
from hyco.migration.registry import register


@register("physical_model", "advection", "legacy")
class Advection(GridModel):
    """A density carried by a given wind, in a box of 1 to 3 dimensions.

        drho/dt + c (v . grad) rho = 0

    State: `density`, and `velocity` = v, one component per axis, which stays.  Parameter: `advection_coeff`
    = c, a scalar or one value per cell, without unit.  Step: semi-Lagrangian with the velocity c v, stable
    for steps of any length; the interpolation is diffusive.  Source: Courant, Isaacson, Rees (1952).
    """

    name = "advection"

    def advance(self, state: torch.Tensor, parameters: Mapping[str, torch.Tensor]) -> torch.Tensor:
        density, velocity = (state[:, self.layout.slice_of(name)] for name in ("density", "velocity"))
        wind = parameters["advection_coeff"] * velocity
        carried = advect(density, wind, self.dt, self.grid, self.layout.field("density").boundary)
        return torch.cat([carried, velocity], dim=1)
