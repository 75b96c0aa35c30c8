"""The viscous Burgers equation in phiml mode."""

from __future__ import annotations

from collections.abc import Mapping

from phiml.math import Tensor

from hyco.migration.registry import register
from hyco.phiml.physical.base import GridModel
from hyco.phiml.stencils import advect, diffuse


@register("physical_model", "burgers", "phiml")
class Burgers(GridModel):
    """Viscous Burgers equation in a box of 1 to 3 dimensions.

        du/dt + (u . grad) u = div(nu grad u)

    State: `velocity`, one component per axis.  Parameter: `diffusion_coeff` = nu, a scalar or one value per
    cell, in length^2 per time, at most `hyco.problem.equation.diffusion_limit`.  Step: u carries itself
    (semi-Lagrangian), then every component diffuses (explicit Euler).  Source: Burgers (1948).
    """

    name = "burgers"

    def advance(self, state: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        boundary = self.layout.field("velocity").boundary
        carried = advect(state, state, self.dt, self.grid, boundary)
        viscosity = parameters["diffusion_coeff"]
        return diffuse(carried, viscosity, self.dt, self.grid, boundary, substeps=self.substeps)
