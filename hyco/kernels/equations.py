"""Which equations have fused kernels, and what a step of each is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Parts:
    """A step: the field `moved` is carried by a wind, if there is one, and then diffuses, if it does.

    Args:
        moved: the field that changes; its components stand first in a state.
        wind: the field of velocities that carries it.
        factor: the parameter that the wind is multiplied by.
        diffusivity: the parameter that is the coefficient of diffusion.
        potential: the parameter whose gradient is a force upon what is moved.
    """

    moved: str
    wind: str | None = None
    factor: str | None = None
    diffusivity: str | None = None
    potential: str | None = None

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of a `hyco.kernels.rollout.Rollout`, and their names in the equation."""
        roles = {"factor": self.factor, "coefficient": self.diffusivity, "potential": self.potential}
        return {role: name for role, name in roles.items() if name is not None}


PARTS: Mapping[str, Parts] = {
    "advection": Parts("density", wind="velocity", factor="advection_coeff"),
    "burgers": Parts("velocity", wind="velocity", diffusivity="diffusion_coeff"),
    "heat": Parts("temperature", diffusivity="conductivity"),
    "inviscid_burgers": Parts("velocity", wind="velocity", potential="potential"),
}

ON_CUDA = frozenset(name for name, parts in PARTS.items() if parts.potential is None)
"""Those whose rollouts have kernels on CUDA too."""

STAGES = ("gray_scott", "navier_stokes")
"""Equations whose steps are made stage by stage."""

KERNELS = (*PARTS, *STAGES)
"""Equations that have fused kernels."""
