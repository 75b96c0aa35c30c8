"""Which of the two implementations of each component is in force, and who chose it.

    use_mode (this thread or task)  >  set_mode (this process)  >  HYCO_MODE  >  legacy

The sides are packages known by name, `hyco.legacy` and `hyco.phiml`; each registers its classes when it
is imported, and is imported when one of its classes is first asked for.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from pkgutil import iter_modules
from threading import Lock
from types import MappingProxyType
from typing import Any, TypeVar

from hyco.errors import ModeError, did_you_mean

VARIABLE = "HYCO_MODE"
DEFAULT = "default"
PACKAGES = {"torch": "torch", "phi": "phiflow", "phiml": "phiml"}

C = TypeVar("C", bound=type)
E = TypeVar("E", bound=StrEnum)


class MigrationMode(StrEnum):
    """`legacy` and `phiml` are the two sides; `hybrid` chooses a side for each component."""

    LEGACY = "legacy"
    HYBRID = "hybrid"
    PHIML = "phiml"


class Component(StrEnum):
    """What exists on both sides."""

    DATA_MANAGER = "data_manager"
    DATASET = "dataset"
    PHYSICAL_MODEL = "physical_model"
    SYNTHETIC_MODEL = "synthetic_model"
    PHYSICAL_TRAINER = "physical_trainer"
    SYNTHETIC_TRAINER = "synthetic_trainer"
    HYBRID_TRAINER = "hybrid_trainer"


SIDES = (MigrationMode.LEGACY, MigrationMode.PHIML)
Key = tuple[Component, str | None]
Components = Mapping[Component | str, MigrationMode | str]


@dataclass(frozen=True)
class _Settings:
    """One choice of mode: the sides of the components that hybrid mode lists, and who chose."""

    mode: MigrationMode
    source: str
    sides: Mapping[Key, MigrationMode] = field(default_factory=lambda: MappingProxyType({}))

    def side(self, component: Component, implementation: str | None) -> MigrationMode:
        """The side of a component: that of the named implementation, of the component, or legacy."""
        if self.mode is not MigrationMode.HYBRID:
            return self.mode
        general = self.sides.get((component, None), MigrationMode.LEGACY)
        return self.sides.get((component, implementation), general)


_implementations: dict[tuple[Component, str, MigrationMode], type] = {}
_lock = Lock()
_process: _Settings | None = None
_context: ContextVar[_Settings | None] = ContextVar("hyco mode", default=None)


def set_mode(
    mode: MigrationMode | str, components: Components | None = None, *, source: str | None = None
) -> None:
    """Choose the mode of this process, for what is built from now on.

    Args:
        mode: legacy, hybrid, or phiml.
        components: in hybrid mode, the side of a component (`physical_model`) or of one implementation
            (`physical_model/burgers`, which counts more); what is not listed is legacy.
        source: who chose, as tables of modes say it.

    Raises ModeError for an unknown mode, component or side, and for components outside hybrid mode.
    """
    global _process
    settings = _settings(mode, components, source, "set_mode")
    with _lock:
        _process = settings


@contextmanager
def use_mode(
    mode: MigrationMode | str, components: Components | None = None, *, source: str | None = None
) -> Iterator[None]:
    """Choose the mode of this thread or task within a `with` block; nests.  Arguments as of `set_mode`."""
    token = _context.set(_settings(mode, components, source, "use_mode"))
    try:
        yield
    finally:
        _context.reset(token)


def reset() -> None:
    """Forget what `set_mode` chose."""
    global _process
    with _lock:
        _process = None


def in_use_mode() -> bool:
    """Whether a `use_mode` block is in force here, which outranks what a configuration says."""
    return _context.get() is not None


def current_mode() -> MigrationMode:
    """The mode in force; raises ModeError when HYCO_MODE decides and is not a mode."""
    return _in_force().mode


def mode_of(component: Component | str, implementation: str | None = None) -> tuple[MigrationMode, str]:
    """The side of a component, or of one implementation of it, and who chose it.

    `mode_of("physical_model/burgers")` is the same as `mode_of("physical_model", "burgers")`.
    """
    kind, named = _key(component)
    settings = _in_force()
    return settings.side(kind, implementation or named), settings.source


def register(
    component: Component | str, implementation_name: str, side: MigrationMode | str
) -> Callable[[C], C]:
    """Decorator: this class is the implementation of that name on that side, as its `mode` says too."""
    kind, on = _member(Component, component, "component"), _side(side)

    def enter(cls: C) -> C:
        if getattr(cls, "mode", None) != on:
            raise ModeError(
                f"{cls.__qualname__} registers on the {on} side, but its mode is "
                f"{getattr(cls, 'mode', None)!r}. Make both the same."
            )
        known = _implementations.get((kind, implementation_name, on), cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ModeError(
                f"{kind}/{implementation_name} on the {on} side is {known.__module__}.{known.__qualname__} "
                f"already, and {cls.__module__}.{cls.__qualname__} registers too. Rename one of them."
            )
        _implementations[kind, implementation_name, on] = cls
        return cls

    return enter


def import_all(package: str, path: Iterable[str]) -> None:
    """Import every module of a package: what stands in a new file registers, and no list names the files."""
    for module in iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")


def resolve(component: Component | str, implementation: str = DEFAULT) -> type[Any]:
    """The class in force for an implementation of a component.

    Raises ModeError when its side has no such implementation, or needs a package that is not installed.
    """
    kind = _member(Component, component, "component")
    settings = _in_force()
    _check_listed(kind, settings)
    side = settings.side(kind, implementation)
    known = _names(kind, side, settings.source)
    if implementation not in known:
        raise ModeError(
            f"the {side} side ({settings.source}) has no {kind} {implementation!r}. "
            f"{did_you_mean(implementation, known)}"
        )
    return _implementations[kind, implementation, side]


def implementations(component: Component | str, side: MigrationMode | str | None = None) -> list[str]:
    """The sorted names of the implementations of a component, on one side or (None) on either."""
    kind = _member(Component, component, "component")
    sides = SIDES if side is None else (_side(side),)
    return sorted({name for on in sides for name in _names(kind, on, "implementations")})


def _in_force() -> _Settings:
    """The settings that count here and now."""
    chosen = _context.get() or _process
    if chosen is not None:
        return chosen
    value = os.environ.get(VARIABLE)
    if not value:
        return _Settings(MigrationMode.LEGACY, DEFAULT)
    return _Settings(_member(MigrationMode, value, "mode", f"{VARIABLE}: "), f"{VARIABLE}={value}")


def _settings(
    mode: MigrationMode | str, components: Components | None, source: str | None, function: str
) -> _Settings:
    """Checked settings of a call of `set_mode` or `use_mode`."""
    prefix = f"{source}: " if source else ""
    chosen = _member(MigrationMode, mode, "mode", prefix)
    if components and chosen is not MigrationMode.HYBRID:
        listed = ", ".join(str(key) for key in components)
        raise ModeError(
            f"{prefix}components ({listed}) choose sides in mode 'hybrid' only, but the mode is "
            f"'{chosen}'. Set the mode to 'hybrid', or drop the components."
        )
    sides: dict[Key, MigrationMode] = {}
    for name, side in (components or {}).items():
        sides[_key(name, f"{prefix}components: ")] = _side(side, f"{prefix}components: {name}: ")
    call = f"hyco.{function}('{chosen}'{', ...' if sides else ''})"
    return _Settings(chosen, source or f"set by {call}", MappingProxyType(sides))


def _key(name: Component | str, prefix: str = "") -> Key:
    """`physical_model` or `physical_model/burgers`, in its two parts."""
    component, _, implementation = str(name).partition("/")
    return _member(Component, component, "component", prefix), implementation or None


def _side(name: MigrationMode | str, prefix: str = "") -> MigrationMode:
    """A mode that is a side."""
    return _member(MigrationMode, name, "side", prefix, SIDES)


def _member(enum: type[E], name: str, what: str, prefix: str = "", known: tuple[E, ...] = ()) -> E:
    """The member of that value; raises ModeError with a suggestion when it is none, or not a known one."""
    options = known or tuple(enum)
    for option in options:
        if name == option:
            return option
    suggestion = did_you_mean(str(name).lower(), [str(option) for option in options])
    raise ModeError(f"{prefix}unknown {what} {str(name)!r}. {suggestion}")


def _check_listed(kind: Component, settings: _Settings) -> None:
    """Raises ModeError when the components name an implementation that their side does not have."""
    for (component, implementation), side in settings.sides.items():
        if component is kind and implementation is not None:
            known = _names(kind, side, settings.source)
            if implementation not in known:
                raise ModeError(
                    f"components ({settings.source}) list {kind}/{implementation}, which the {side} side "
                    f"does not have. {did_you_mean(implementation, known)}"
                )


def _names(kind: Component, side: MigrationMode, source: str) -> list[str]:
    """The names of the implementations of a component on a side, which is imported for it."""
    _import_side(side, source)
    return sorted(name for component, name, on in _implementations if component is kind and on is side)


def _import_side(side: MigrationMode, source: str) -> None:
    """Import the package of a side, which registers what it has."""
    try:
        importlib.import_module(f"hyco.{side}")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in PACKAGES:
            raise
        raise ModeError(
            f"the {side} side ({source}) needs the package {missing!r}, which is not installed. "
            f"Install it with `pip install {PACKAGES[missing]}`, or choose another mode."
        ) from error
