"""The blocks about the two models: the equation on its grid, and the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializeAsAny, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from hyco.config.architectures import ARCHITECTURES, Architecture
from hyco.config.section import Count, Formula, Positive, Section
from hyco.errors import did_you_mean
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


class Physical(Section):
    """The equation, its box, its time step, and the true values of its parameters.

    `name` none: data of an equation that hyco does not have, for a surrogate alone.
    """

    name: str
    domain: Annotated[dict[str, Axis], AfterValidator(_first_axes)]
    dt: Positive
    substeps: Count = 5
    boundaries: dict[str, Boundary] = Field(default_factory=dict)
    parameters: dict[str, Parameter] = Field(default_factory=dict)


def _known_surrogate(name: str) -> str:
    if name not in ARCHITECTURES:
        raise PydanticCustomError(
            "surrogate",
            "unknown value {name}. {hint}",
            {"name": repr(name), "hint": did_you_mean(name, ARCHITECTURES)},
        )
    return name


class Synthetic(Section):
    """The surrogate, and its architecture in the keys that this surrogate knows (`ARCHITECTURES`).

    `residual`: the network predicts the change of the dynamic fields.  `inputs`: whether it sees the static
    fields too.
    """

    name: Annotated[str, AfterValidator(_known_surrogate)] = "unet"
    residual: bool = True
    inputs: Literal["all", "dynamic"] = "all"
    architecture: SerializeAsAny[Architecture] = Field(default=None, validate_default=True)

    @field_validator("architecture", mode="plain")
    @classmethod
    def _architecture_of_that_name(cls, block: Any, others: ValidationInfo) -> Any:
        """The block as the surrogate's own section; what it refuses is reported under `architecture`."""
        name = others.data.get("name")
        if name is None:  # it was refused itself
            return block
        known = ARCHITECTURES[name].model_fields
        strange = [key for key in block if key not in known] if isinstance(block, Mapping) else []
        if strange:
            raise PydanticCustomError(
                "unknown_key",
                "unknown key {key}. The {name} knows {known}",
                {"key": repr(strange[0]), "name": name, "known": ", ".join(known)},
            )
        return ARCHITECTURES[name].model_validate(block)


class Model(Section):
    """Both models."""

    physical: Physical
    synthetic: Synthetic = Synthetic()
