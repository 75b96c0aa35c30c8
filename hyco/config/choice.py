"""A setting that is a name, or a block with that name: `adam`, or `{name: sgd, momentum: 0.9}`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import PydanticCustomError

from hyco.config.section import Section
from hyco.errors import did_you_mean


def chosen(
    sections: Mapping[str, type[Section]], key: str, *, optional: bool = False
) -> Callable[[Any], Any]:
    """A validator: the section of that name, made from a name alone or from a block with `key: name`.

    A key that the chosen section does not know is refused, so that no setting is without an effect.
    Without a name the first section is meant; null means it too, or with `optional` that there is none.
    """

    def validate(value: Any) -> Any:
        if isinstance(value, Section) or (optional and value is None):
            return value
        block = {key: value} if isinstance(value, str) else {} if value is None else value
        if not isinstance(block, Mapping):
            raise PydanticCustomError(
                "choice",
                "expected a name or a block with {key}, got {value}",
                {"key": key, "value": repr(value)},
            )
        name = block.get(key, next(iter(sections)))
        if not isinstance(name, str) or name not in sections:
            raise PydanticCustomError(
                "choice",
                "unknown {key} {name}. {hint}",
                {"key": key, "name": repr(name), "hint": did_you_mean(str(name), sections)},
            )
        known = sections[name].model_fields
        strange = [k for k in block if k not in known]
        if strange:
            raise PydanticCustomError(
                "unknown_key",
                "unknown key {strange}. {key} {name} knows {known}",
                {"strange": repr(strange[0]), "key": key, "name": name, "known": ", ".join(known)},
            )
        return sections[name].model_validate({**block, key: name})

    return validate
