"""The inviscid Burgers equation in phiml mode."""

from __future__ import annotations

from collections.abc import Mapping

from phiml import math
from phiml.math import Tensor, channel

from hyco.migration.registry import register
from hyco.phiml.physical.base import GridModel
from hyco.phiml.stencils import advect, gradient


@register("physical_model", "inviscid_burgers", "phiml")
class InviscidBurgers(GridModel):
    """Inviscid Burgers equation with a potential force, in a box of 1 to 3 dimensions.

        du/dt + (u . grad) u = -grad(phi)

    State: `velocity`, one component per axis.  Parameter: `potential` = phi, one value per cell, in
    length^2 per time^2; only its gradient acts, so that it is known up to a constant.  Step: u carries itself
    (semi-Lagrangian), then the force acts for `dt`.  Limits: shocks are as wide as the interpolation makes
    them; central differences see no potential that alternates from cell to cell.  Source: Burgers (1948).
    """

    name = "inviscid_burgers"

    def advance(self, state: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        boundary = self.layout.field("velocity").boundary
        carried = advect(state, state, self.dt, self.grid, boundary)
        slopes = gradient(parameters["potential"], self.grid, boundary)
        force = {f"velocity_{axis}": -slope for axis, slope in slopes.items()}
        return carried + self.dt * math.stack(force, channel("field"))
