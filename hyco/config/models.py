"""The blocks about the two models: the equation on its grid, and the network."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from hyco.config.section import Count, Formula, Positive, Section
from hyco.problem.grid import AXES, Boundary


class Axis(Section):
    """One axis of the box: its length and its number of cells."""

    size: Positive
    resolution: Count


class Parameter(Section):
    """The true value of a parameter: one number, or a field given by an expression of the coordinates."""

    type: Literal["scalar", "field"] = "scalar"
    value: Formula


def _first_axes(domain: dict[str, Axis]) -> dict[str, Axis]:
    """The axes in the order x, y, z, whatever their order in the file."""
    if not domain or set(domain) != set(AXES[: len(domain)]):
        raise PydanticCustomError(
            "axes",
            "expected the axes x, or x and y, or x, y and z; got {names}",
            {"names": ", ".join(map(repr, domain)) or "none"},
        )
    return {axis: domain[axis] for axis in AXES if axis in domain}


def _filter_counts(value: Any) -> Any:
    counts = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not counts or any(type(count) is not int or count < 1 for count in counts):
        raise PydanticCustomError("filters_type", "a whole number from 1, or a list of them")
    return counts if isinstance(value, (list, tuple)) else value


class Physical(Section):
    """The equation, its box, its time step, and the true values of its parameters."""

    name: str
    domain: Annotated[dict[str, Axis], AfterValidator(_first_axes)]
    dt: Positive
    substeps: Count = 5
    boundaries: dict[str, Boundary] = Field(default_factory=dict)
    parameters: dict[str, Parameter]


class Architecture(Section):
    """The network: `filters` is one width for all levels, or a list of one width per level."""

    levels: Annotated[int, Field(ge=1, le=16)] = 3
    filters: Annotated[int | tuple[int, ...], BeforeValidator(_filter_counts)] = 16
    batch_norm: bool = False
    activation: Literal["relu", "tanh", "silu", "gelu", "sigmoid"] = "relu"
    periodic: bool = True


class Synthetic(Section):
    """The surrogate.

    `residual`: the network predicts the change of the dynamic fields.  `inputs`: whether it sees the static
    fields too.
    """

    name: Literal["unet"] = "unet"
    residual: bool = True
    inputs: Literal["all", "dynamic"] = "all"
    architecture: Architecture = Architecture()


class Model(Section):
    """Both models."""

    physical: Physical
    synthetic: Synthetic = Synthetic()
