"""The heat equation in legacy mode."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from hyco.legacy.physical.base import GridModel
from hyco.legacy.stencils import diffuse
from hyco.migration.registry import register


@register("physical_model", "heat", "legacy")
class Heat(GridModel):
    """Heat conduction in a box of 1 to 3 dimensions.

        du/dt = div(kappa grad u)

    State: `temperature`.  Parameter: `conductivity` = kappa, a scalar or one value per cell, in length^2 per
    time, at most `hyco.problem.equation.diffusion_limit`.  Step: explicit Euler in substeps, conservative.
    Limits: kappa does not depend on the temperature; heat capacity is 1.  Source: Fourier (1822).
    """

    name = "heat"

    def advance(self, state: torch.Tensor, parameters: Mapping[str, torch.Tensor]) -> torch.Tensor:
        boundary = self.layout.field("temperature").boundary
        kappa = parameters["conductivity"]
        return diffuse(state, kappa, self.dt, self.grid, boundary, substeps=self.substeps)
