"""The two sides mirror each other: the same files, the same registered names, the same signatures."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import hyco
from hyco import interfaces
from hyco.compat import adapters
from hyco.migration.registry import Component, implementations
from tests.sides import SIDES, implementation

PACKAGE = Path(hyco.__file__).parent
INTERFACES = {str(c): getattr(interfaces, "".join(p.title() for p in c.split("_"))) for c in Component}
MIRRORED = (
    "stencils",
    "projection",
    "losses",
    "optimisers",
    "checkpoints",
    "device",
    "tensors",
    "data_manager",
    "dataset",
)
PAIRS = [(str(c), name) for c in Component for name in implementations(c)]

# What one side has and the other needs not: public functions, classes, and members of classes.
ONLY_THERE = {
    "legacy.checkpoints": {"read_tensors"},
    "legacy.data_manager": {"TorchFormat"},
    "phiml.data_manager": {"HDF5Format"},
    "phiml.device": {"Compiled", "forget_compiled", "frozen", "tracing"},
    "phiml.physical_model": {"kernels", "backend"},  # plain PyTorch has none to choose from
    "phiml.synthetic_model": {"backend"},
    "phiml.tensors.NativeArrays": {"wrap", "native", "stack", "held"},
    "phiml.device.Compute": {"library", "native_device", "scope", "detached", "native", "backend"},
    "legacy.device.Compute": {"torch_device", "dtype"},
}
# trajectories held as one array; steps by fused kernels; networks and their training by either library
ONLY_IN_PHIML = {"block.py", "physical/fused.py", "networks.py", "descent.py"}
MORE_MEMBERS = {"data_manager": {"block", "reading_ahead"}}  # of components in phiml mode


def files(side: str) -> set[str]:
    """The Python files of a side."""
    return {p.relative_to(PACKAGE / side).as_posix() for p in (PACKAGE / side).rglob("*.py")}


def shape(function: Any) -> list[tuple[str, Any, Any]]:
    """Names, kinds and defaults of the parameters, in order; without `self`."""
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default) for p in parameters if p.name != "self"]


def members(cls: type, *, own_init: bool = True) -> dict[str, Any]:
    """The public methods and properties of a class, and how it is made."""
    found = {}
    for name, value in inspect.getmembers_static(cls):
        if name.startswith("_") and name not in ("__call__", "__len__", "__getitem__"):
            continue
        if isinstance(value, property):
            found[name] = "property"
        elif callable(value) or isinstance(value, staticmethod):
            found[name] = shape(getattr(cls, name))
    if own_init:
        found["__init__"] = shape(cls.__init__)
    return found


def public(module: ModuleType) -> dict[str, Any]:
    """The public functions and classes that a module defines."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == module.__name__
    }


def test_the_sides_have_the_same_files() -> None:
    legacy, phiml = (files(side) for side in SIDES)
    assert legacy == phiml - ONLY_IN_PHIML
    assert phiml >= ONLY_IN_PHIML
    assert "physical/burgers.py" in legacy
    assert len(legacy) >= 18


@pytest.mark.parametrize("component", [str(c) for c in Component])
def test_the_sides_register_the_same_names(component: str) -> None:
    legacy, phiml = (implementations(component, side) for side in SIDES)
    assert legacy == phiml != []


@pytest.mark.parametrize(("component", "name"), PAIRS)
def test_components_have_the_same_signatures(component: str, name: str) -> None:
    legacy, phiml = (members(implementation(side, component, name)) for side in SIDES)
    extra = ONLY_THERE.get(f"phiml.{component}", set())
    phiml["__init__"] = [p for p in phiml["__init__"] if p[0] not in extra]
    for member in MORE_MEMBERS.get(component, ()):
        del phiml[member]
    assert legacy == phiml
    assert len(legacy) > 1


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("component", "name"), PAIRS)
def test_components_have_the_signatures_of_their_interface(component: str, name: str, side: str) -> None:
    cls, interface = implementation(side, component, name), INTERFACES[component]
    assert issubclass(cls, interface)
    assert not inspect.isabstract(cls)
    assert cls.mode == side
    offered = members(cls)
    for member, signature in members(interface, own_init=False).items():
        assert offered[member] == signature, member


@pytest.mark.parametrize("adapter", sorted(adapters._ADAPTERS.items(), key=lambda item: item[0].__name__))
def test_adapters_have_the_signatures_of_their_interface(adapter: tuple[type, type]) -> None:
    interface, cls = adapter
    assert issubclass(cls, interface)
    assert not inspect.isabstract(cls)
    offered = members(cls)
    for member, signature in members(interface, own_init=False).items():
        assert offered[member] == signature, member


def test_every_component_that_meets_a_neighbour_has_an_adapter() -> None:
    assert set(adapters._ADAPTERS) == set(INTERFACES.values()) - {interfaces.HybridTrainer}


@pytest.mark.parametrize("module", MIRRORED)
def test_modules_have_the_same_public_functions(module: str) -> None:
    legacy, phiml = (public(import_module(f"hyco.{side}.{module}")) for side in SIDES)
    for side, names in zip(SIDES, (legacy, phiml), strict=True):
        for extra in ONLY_THERE.get(f"{side}.{module}", set()):
            del names[extra]
    assert set(legacy) == set(phiml)
    for name, ours in legacy.items():
        if inspect.isfunction(ours):
            assert shape(ours) == shape(phiml[name]), name
    assert legacy


@pytest.mark.parametrize(("module", "name"), [("tensors", "NativeArrays"), ("device", "Compute")])
def test_helpers_have_the_same_signatures(module: str, name: str) -> None:
    found = []
    for side in SIDES:
        offered = members(getattr(import_module(f"hyco.{side}.{module}"), name))
        for extra in ONLY_THERE.get(f"{side}.{module}.{name}", set()):
            offered.pop(extra, None)
        offered["__init__"] = [p for p in offered["__init__"] if p[0] != "backend"]
        found.append(offered)
    assert found[0] == found[1]
    assert len(found[0]) > 1


def test_the_mirror_sees_what_differs() -> None:
    class One:
        def step(self, state: int, *, parameters: int = 0) -> None: ...

    class Renamed:
        def step(self, condition: int, *, parameters: int = 0) -> None: ...

    class Defaulted:
        def step(self, state: int, *, parameters: int = 1) -> None: ...

    class Positional:
        def step(self, state: int, parameters: int = 0) -> None: ...

    class Property:
        @property
        def step(self) -> None: ...

    assert members(One) == members(type("Same", (One,), {}))
    assert all(members(One) != members(other) for other in (Renamed, Defaulted, Positional, Property))
