"""Checks of data that come from files of somebody else, and of data whose equation is not known."""

from __future__ import annotations

import re

from hyco.config.schema import Config
from hyco.errors import ConfigError, did_you_mean

_SCHEME = "data.fields_scheme"


def unknown_equation_is_only_learned(config: Config) -> None:
    """Without an equation there are data in files, fields with names, and a surrogate alone."""
    if config.has_equation:
        return
    scheme, none = config.data.fields_scheme, "model.physical.name: none"
    if config.data.source is None:
        raise ConfigError(f"data.source: {none} has no equation to generate data with. Name files, or one.")
    if scheme is None or not scheme.dynamic:
        raise ConfigError(f"{_SCHEME}: {none} needs the names of the fields, such as {{dynamic: [density]}}.")
    if config.general.mode != "synthetic":
        raise ConfigError(
            f"general.mode: {none} has no physical model to train. Set general.mode to synthetic, not "
            f"{config.general.mode}."
        )
    names = [*scheme.dynamic, *scheme.static]
    for name in names:
        if not re.fullmatch(r"\w[\w .-]*", name):
            raise ConfigError(
                f"{_SCHEME}: expected names of letters, digits, '_', '-', '.' and spaces, got {name!r}. Name "
                "it so here, and what it is called in the files under data.source.fields."
            )
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ConfigError(f"{_SCHEME}: the field {name!r} is listed twice; keep one.")
    for name in scheme.vectors:
        if name not in names:
            raise ConfigError(f"{_SCHEME}.vectors: unknown field {name!r}. {did_you_mean(name, names)}")
    components = config.layout.components
    for i, name in enumerate(components):
        if name in components[:i]:
            raise ConfigError(
                f"{_SCHEME}: two fields have a component {name!r}. Name one of them otherwise, and what it "
                "is called in the files under data.source.fields."
            )


def source_names_fields(config: Config) -> None:
    """The fields that a source has names for are those of the equation."""
    known = [field.name for field in config.equation.fields]
    for name in {} if config.data.source is None else config.data.source.fields:
        if name not in known:
            raise ConfigError(f"data.source.fields: unknown field {name!r}. {did_you_mean(name, known)}")
