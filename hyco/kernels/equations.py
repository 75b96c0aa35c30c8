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
    """

    moved: str
    wind: str | None = None
    factor: str | None = None
    diffusivity: str | None = None


PARTS: Mapping[str, Parts] = {
    "advection": Parts("density", wind="velocity", factor="advection_coeff"),
    "burgers": Parts("velocity", wind="velocity", diffusivity="diffusion_coeff"),
    "heat": Parts("temperature", diffusivity="conductivity"),
}
