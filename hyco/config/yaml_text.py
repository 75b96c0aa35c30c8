"""YAML as a configuration needs it: `1e-12` is a number, `yes` and `010` are no surprises, a key stands once.

PyYAML follows YAML 1.1, where `1e-12` is text, `off` is false, `010` is eight and `1:30` is ninety.  Here
plain scalars are what YAML 1.2 makes of them: null, true, false, decimal numbers, and otherwise text.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from hyco.errors import ConfigError

_SCALARS: dict[str, tuple[str, str]] = {
    "null": (r"~|null|Null|NULL|", "~nN\0"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+", "-+0123456789"),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN)",
        "-+.0123456789",
    ),
}


class _Loader(yaml.SafeLoader):
    """Builds plain values only, and refuses a key that stands twice."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def unique_mapping(self, node: yaml.MappingNode) -> dict[Hashable, Any]:
        """The mapping of a node; ConstructorError at the second place of a key."""
        values: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise ConstructorError(None, None, "a key must be one word", key_node.start_mark)
            if key in values:
                raise ConstructorError(None, None, f"the key {key!r} stands here twice", key_node.start_mark)
            values[key] = self.construct_object(value_node, deep=True)
        return values

    def whole_list(self, node: yaml.SequenceNode) -> list[Any]:
        """The list of a node, built at once, so that a list inside itself is an error."""
        return self.construct_sequence(node, deep=True)

    def decimal(self, node: yaml.ScalarNode) -> int:
        """A whole number; leading zeros do not make it octal."""
        try:
            return int(node.value, 10)
        except ValueError:
            raise ConstructorError(None, None, "a number with too many digits", node.start_mark) from None


class ConfigDumper(yaml.SafeDumper):
    """Writes YAML that reads back as the same values, by the rules here and by those of YAML 1.1."""


for _kind, (_pattern, _first) in _SCALARS.items():
    for _class in (_Loader, ConfigDumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_kind}",
            re.compile(f"^(?:{_pattern})$"),
            [c if c != "\0" else "" for c in _first],
        )
_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.unique_mapping)
_Loader.add_constructor("tag:yaml.org,2002:seq", _Loader.whole_list)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.decimal)


def parse_yaml(text: str, origin: str) -> Any:
    """The value of a YAML text.  Raises ConfigError `origin:line: ...` for text that is not YAML."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{origin}{line}: not valid YAML: {error.problem or error.context}.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin}: not valid YAML: {' '.join(str(error).split())}.") from None
