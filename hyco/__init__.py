"""Hybrid-cooperative (HYCO) models of PDEs: a physical model and a neural surrogate that teach each other.

The public names are imported when they are first used, so that `import hyco` is quick and loads no array
framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyco.config import Config, load_config
    from hyco.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        ExpressionError,
        HycoError,
        InputError,
        ModeError,
        RunError,
        StorageError,
    )
    from hyco.migration.registry import Component, MigrationMode, current_mode, mode_of, set_mode, use_mode
    from hyco.problem.grid import Grid
    from hyco.tasks import evaluate, generate, run, train

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "Component",
    "Config",
    "ConfigError",
    "DataError",
    "ExpressionError",
    "Grid",
    "HycoError",
    "InputError",
    "MigrationMode",
    "ModeError",
    "RunError",
    "StorageError",
    "__version__",
    "current_mode",
    "evaluate",
    "generate",
    "load_config",
    "mode_of",
    "run",
    "set_mode",
    "train",
    "use_mode",
]

_MODULES = {
    "hyco.config": ("Config", "load_config"),
    "hyco.errors": (
        "CheckpointError",
        "ConfigError",
        "DataError",
        "ExpressionError",
        "HycoError",
        "InputError",
        "ModeError",
        "RunError",
        "StorageError",
    ),
    "hyco.migration.registry": (
        "Component",
        "MigrationMode",
        "current_mode",
        "mode_of",
        "set_mode",
        "use_mode",
    ),
    "hyco.problem.grid": ("Grid",),
    "hyco.tasks": ("evaluate", "generate", "run", "train"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """A public name, from the module that defines it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, imported or not."""
    return sorted({*globals(), *__all__})
