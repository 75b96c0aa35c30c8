"""The incompressible Navier-Stokes equations with rising smoke in legacy mode."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from hyco.legacy.physical.base import GridModel
from hyco.legacy.projection import balanced, make_incompressible
from hyco.legacy.stencils import advect, diffuse
from hyco.migration.registry import register


@register("physical_model", "navier_stokes", "legacy")
class NavierStokes(GridModel):
    """Incompressible flow in a plane box, with smoke that it carries and that lifts it.

        du/dt + (u . grad) u = -grad p + div(nu grad u) + b rho e_y,    div u = 0
        drho/dt + (u . grad) rho = 0

    State: `velocity` = u, `density` = rho of the smoke, without unit.  Parameters: `viscosity` = nu in
    length^2 per time, at most `hyco.problem.equation.diffusion_limit`, and `buoyancy_coeff` = b in length
    per time^2; each a scalar or one value per cell.  The boundary of the velocity makes the box periodic,
    closed (`zero`) or open (`zero-gradient`).

    Step: u carries rho, then itself (semi-Lagrangian); u diffuses (explicit Euler); the carried smoke lifts
    it by dt b rho; pressure makes it free of divergence (`hyco.legacy.projection`).  In a periodic box the
    mean pressure gradient carries the net lift, so that the mean velocity stays.  Limits: first order in
    time; a velocity that alternates from cell to cell escapes the pressure, and viscosity alone damps it.
    Source: Stam (1999).
    """

    name = "navier_stokes"

    def advance(self, state: torch.Tensor, parameters: Mapping[str, torch.Tensor]) -> torch.Tensor:
        velocity, density = (state[:, self.layout.slice_of(name)] for name in ("velocity", "density"))
        walls = self.layout.field("velocity").boundary
        smoke = advect(density, velocity, self.dt, self.grid, self.layout.field("density").boundary)
        carried = advect(velocity, velocity, self.dt, self.grid, walls)
        nu = parameters["viscosity"]
        across, along = diffuse(carried, nu, self.dt, self.grid, walls, substeps=self.substeps).unbind(1)
        lift = balanced(parameters["buoyancy_coeff"] * smoke[:, 0], self.grid, walls)
        driven = torch.stack([across, along + self.dt * lift], dim=1)
        return torch.cat([make_incompressible(driven, self.grid, walls), smoke], dim=1)
