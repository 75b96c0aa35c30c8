"""The incompressible Navier-Stokes equations with rising smoke in phiml mode."""

from __future__ import annotations

from collections.abc import Mapping

from phiml import math
from phiml.math import Tensor, channel

from hyco.migration.registry import register
from hyco.phiml.physical.base import GridModel
from hyco.phiml.projection import balanced, make_incompressible
from hyco.phiml.stencils import advect, diffuse


@register("physical_model", "navier_stokes", "phiml")
class NavierStokes(GridModel):
    """Incompressible flow in a plane box, with smoke that it carries and that lifts it.

        du/dt + (u . grad) u = -grad p + div(nu grad u) + b rho e_y,    div u = 0
        drho/dt + (u . grad) rho = 0

    State: `velocity` = u, `density` = rho of the smoke, without unit.  Parameters: `viscosity` = nu in
    length^2 per time, at most `hyco.problem.equation.diffusion_limit`, and `buoyancy_coeff` = b in length
    per time^2; each a scalar or one value per cell.  The boundary of the velocity makes the box periodic,
    closed (`zero`) or open (`zero-gradient`).

    Step: u carries rho, then itself (semi-Lagrangian); u diffuses (explicit Euler); the carried smoke lifts
    it by dt b rho; pressure makes it free of divergence (`hyco.phiml.projection`).  In a periodic box the
    mean pressure gradient carries the net lift, so that the mean velocity stays.  Limits: first order in
    time; a velocity that alternates from cell to cell escapes the pressure, and viscosity alone damps it.
    Source: Stam (1999).
    """

    name = "navier_stokes"

    def advance(self, state: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        *components, smoke_name = self.layout.components
        velocity, density = state.field[components], state.field[[smoke_name]]
        walls = self.layout.field("velocity").boundary
        smoke = advect(density, velocity, self.dt, self.grid, self.layout.field("density").boundary)
        carried = advect(velocity, velocity, self.dt, self.grid, walls)
        nu = parameters["viscosity"]
        diffused = diffuse(carried, nu, self.dt, self.grid, walls, substeps=self.substeps)
        across, along = diffused.field
        lift = balanced(parameters["buoyancy_coeff"] * smoke.field[smoke_name], self.grid, walls)
        driven = dict(zip(components, (across, along + self.dt * lift), strict=True))
        incompressible = make_incompressible(math.stack(driven, channel("field")), self.grid, walls)
        return math.concat([incompressible, smoke], "field")
