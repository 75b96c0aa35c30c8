"""What every block of a configuration has in common, and the kinds of value that several blocks use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from hyco.errors import did_you_mean


class Section(BaseModel):
    """A block of keys: frozen, strict about types, and closed to keys that it does not know."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _closed(cls, block: Any) -> Any:
        """An empty block means its defaults; an unknown key is named together with the nearest known one."""
        if block is None:
            return {}
        if isinstance(block, Mapping):
            for key in block:
                if key not in cls.model_fields:
                    hint = did_you_mean(str(key), cls.model_fields)
                    raise PydanticCustomError(
                        "unknown_key", "unknown key {key}. {hint}", {"key": repr(key), "hint": hint}
                    )
        return block


def _number_or_expression(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise PydanticCustomError("number_or_expression_type", "a number or an expression")
    return value


def _expanded(value: Any) -> Any:
    return Path(value).expanduser() if isinstance(value, str) and value else value


Formula = Annotated[float | str, BeforeValidator(_number_or_expression)]
Folder = Annotated[Path, BeforeValidator(_expanded)]
Count = Annotated[int, Field(ge=1)]
Index = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Simulations = Annotated[tuple[Index, ...], Field(strict=False)]
Names = Annotated[tuple[str, ...], Field(strict=False)]
