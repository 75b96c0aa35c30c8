"""What pydantic found wrong, in one line: the path of the key, what was expected, what came."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hyco.errors import did_you_mean

_KINDS: Mapping[str, str] = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "is_instance_of": "the path of a folder",
    "tuple_type": "a list",
    "dict_type": "a block of keys",
    "model_type": "a block of keys",
    "number_or_expression_type": "a number or an expression",
    "filters_type": "a whole number from 1, or a list of them",
}
_LIMITS: Mapping[str, tuple[str, str]] = {
    "greater_than": ("gt", "above {}"),
    "greater_than_equal": ("ge", "{} or more"),
    "less_than": ("lt", "below {}"),
    "less_than_equal": ("le", "{} or less"),
    "too_short": ("min_length", "at least {} entry"),
    "too_long": ("max_length", "at most {} entries"),
}


def explain(error: ValidationError) -> tuple[str, str]:
    """Path and text of the first problem, with the number of the others.

    A required key that is missing comes last, since a misspelt key explains it.
    """
    problems = sorted(error.errors(), key=lambda problem: problem["type"] == "missing")
    path = ".".join(str(part) for part in problems[0]["loc"] if part != "[key]")
    others = len(problems) - 1
    more = f" ({others} more problem{'s' if others > 1 else ''})" if others else ""
    return path, _text(problems[0]) + more


def _text(problem: ErrorDetails) -> str:
    kind, got = problem["type"], _shown(problem["input"])
    context = problem.get("ctx", {})
    if kind in _KINDS:
        return f"expected {_KINDS[kind]}, got {got}."
    if kind in _LIMITS:
        name, words = _LIMITS[kind]
        return f"expected {words.format(context[name])}, got {got}."
    special: Mapping[str, Callable[[], str]] = {
        "literal_error": lambda: _choice(context["expected"], problem["input"]),
        "missing": lambda: "this key is required.",
    }
    return special[kind]() if kind in special else problem["msg"].rstrip(".?") + _ending(problem["msg"])


def _ending(message: str) -> str:
    return "?" if message.endswith("?") else "."


def _choice(expected: str, value: Any) -> str:
    options = re.findall(r"'([^']*)'", expected)
    if isinstance(value, str):
        return f"unknown value {value!r}. {did_you_mean(value, options)}"
    return f"expected one of {', '.join(options)}; got {_shown(value)}."


def _shown(value: Any) -> str:
    """A value in the words of YAML, with its kind where that may surprise."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if isinstance(value, str):
        return f"the text {_cut(repr(value))}"
    if isinstance(value, Mapping):
        return f"a block ({_cut(', '.join(map(str, value)))})"
    if isinstance(value, (list, tuple)):
        return f"the list {_cut(str(list(value)))}"
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:56]}..."
