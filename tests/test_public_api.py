"""Every public name exists and says what it is."""

from __future__ import annotations

import ast
import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import hyco

PACKAGE = Path(hyco.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = [
    "hyco",
    *(m.name for m in pkgutil.walk_packages(hyco.__path__, "hyco.") if "__main__" not in m.name),
]
Documented = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def public_definitions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Documented, bool]]:
    """(name, definition, whether in a class) of everything public, methods included."""
    for node in body:
        if isinstance(node, Documented) and not node.name.startswith("_"):
            yield f"{prefix}{node.name}", node, bool(prefix)
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body, f"{prefix}{node.name}.")


def undocumented(source: str, inherited: dict[str, set[str]]) -> list[str]:
    """Public names of a file without a docstring of their own, or of the interface that they implement."""
    tree = ast.parse(source)
    missing = [] if ast.get_docstring(tree) else ["the module"]
    for name, node, is_member in public_definitions(tree.body):
        owner, _, last = name.rpartition(".")
        if ast.get_docstring(node) is None and not (is_member and last in inherited.get(owner, set())):
            missing.append(name)
    return missing


def documented_by_bases(module: str) -> dict[str, set[str]]:
    """Class -> members with a docstring in a base, its own or that of a class it is mixed into."""
    classes = dict(inspect.getmembers(import_module(module), inspect.isclass))
    bases = {
        name: {base for other in classes.values() if cls in other.__mro__ for base in other.__mro__} - {cls}
        for name, cls in classes.items()
    }
    return {
        name: {
            member
            for base in found
            for member, value in vars(base).items()
            if base.__module__.startswith("hyco") and inspect.getdoc(value)
        }
        for name, found in bases.items()
    }


@pytest.mark.parametrize("module", MODULES)
def test_names_in_all_exist_and_are_documented(module: str) -> None:
    loaded = import_module(module)
    for name in getattr(loaded, "__all__", ()):
        value = getattr(loaded, name)
        if inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value):
            assert (inspect.getdoc(value) or "").strip(), f"{module}.{name}"


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_a_docstring(module: str) -> None:
    path = Path(import_module(module).__file__ or "")
    assert undocumented(path.read_text(encoding="utf-8"), documented_by_bases(module)) == []


def test_every_file_is_looked_at() -> None:
    looked_at = {Path(import_module(m).__file__ or "") for m in MODULES}
    assert {f for f in FILES if f.name != "__main__.py"} <= looked_at
    assert len(looked_at) > 60


def test_what_is_not_documented_is_found() -> None:
    source = '"""m"""\ndef f(): ...\ndef _g(): ...\nclass C:\n    """c"""\n    def m(self): ...\n'
    source += '    def k(self):\n        """k"""\n'
    assert undocumented(source, {}) == ["f", "C.m"]
    assert undocumented(source, {"C": {"m"}}) == ["f"]
    assert undocumented("x = 1\n", {}) == ["the module"]
