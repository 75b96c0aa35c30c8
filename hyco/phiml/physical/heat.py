"""The heat equation in phiml mode."""

from __future__ import annotations

from collections.abc import Mapping

from phiml.math import Tensor

from hyco.migration.registry import register
from hyco.phiml.physical.base import GridModel
from hyco.phiml.stencils import diffuse


@register("physical_model", "heat", "phiml")
class Heat(GridModel):
    """Heat conduction in a box of 1 to 3 dimensions.

        du/dt = div(kappa grad u)

    State: `temperature`.  Parameter: `conductivity` = kappa, a scalar or one value per cell, in length^2 per
    time, at most `hyco.problem.equation.diffusion_limit`.  Step: explicit Euler in substeps, conservative.
    Limits: kappa does not depend on the temperature; heat capacity is 1.  Source: Fourier (1822).
    """

    name = "heat"

    def advance(self, state: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        boundary = self.layout.field("temperature").boundary
        kappa = parameters["conductivity"]
        return diffuse(state, kappa, self.dt, self.grid, boundary, substeps=self.substeps)
