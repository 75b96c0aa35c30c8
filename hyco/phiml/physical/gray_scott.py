"""The Gray-Scott equations in phiml mode."""

from __future__ import annotations

from collections.abc import Mapping

from phiml import math
from phiml.math import Tensor, channel

from hyco.migration.registry import register
from hyco.phiml.physical.base import GridModel
from hyco.phiml.stencils import diffuse


@register("physical_model", "gray_scott", "phiml")
class GrayScott(GridModel):
    """Gray-Scott reaction and diffusion in a box of 1 to 3 dimensions.

        du/dt = div(Du grad u) - u v^2 + F (1 - u)
        dv/dt = div(Dv grad v) + u v^2 - (F + k) v

    State: `u` (substrate) and `v` (autocatalyst), both without unit.  Parameters: `Du`, `Dv` in length^2 per
    time, at most `hyco.problem.equation.diffusion_limit`; `feed` = F and `kill` = k in 1/time; each a scalar
    or one value per cell.  Step: diffusion (explicit Euler in substeps), then reaction (explicit Euler in as
    many substeps).  Limits: dt / substeps well below 1 / (1 + F + k).  Source: Gray, Scott (1984);
    Pearson (1993).
    """

    name = "gray_scott"

    def advance(self, state: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        u = self._diffuse(state, parameters, "u", "Du")
        v = self._diffuse(state, parameters, "v", "Dv")
        feed, kill = parameters["feed"], parameters["kill"]
        for _ in range(self.substeps):
            reaction = u * v * v
            change = feed * (1.0 - u) - reaction, reaction - (feed + kill) * v
            u, v = (q + self.dt / self.substeps * c for q, c in zip((u, v), change, strict=True))
        return math.stack({"u": u, "v": v}, channel("field"))

    def _diffuse(
        self, state: Tensor, parameters: Mapping[str, Tensor], name: str, coefficient: str
    ) -> Tensor:
        quantity, boundary = state.field[name], self.layout.field(name).boundary
        return diffuse(
            quantity, parameters[coefficient], self.dt, self.grid, boundary, substeps=self.substeps
        )
