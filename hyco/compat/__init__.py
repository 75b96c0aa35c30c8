"""Where the modes meet: tensors and fields with their dims stated, files converted, components adapted.

Names are imported when they are first used, since fields need PhiFlow and checkpoints both modes.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = [
    "convert_caches",
    "convert_checkpoint",
    "convert_config",
    "convert_phiml_to_torch",
    "convert_scene",
    "convert_torch_to_phiml",
    "convert_trajectories",
    "from_bvts",
    "from_centered",
    "from_staggered",
    "read_scene",
    "to_bvts",
    "to_centered",
    "to_phiml",
    "to_staggered",
    "to_torch",
    "write_scene",
]

_MODULES = {
    "hyco.compat.caches": ("convert_caches",),
    "hyco.compat.checkpoints": ("convert_checkpoint", "convert_phiml_to_torch", "convert_torch_to_phiml"),
    "hyco.compat.fields": ("from_centered", "from_staggered", "to_centered", "to_staggered"),
    "hyco.compat.configs": ("convert_config",),
    "hyco.compat.originals": ("convert_scene", "convert_trajectories"),
    "hyco.compat.scenes": ("read_scene", "write_scene"),
    "hyco.compat.tensors": ("from_bvts", "to_bvts", "to_phiml", "to_torch"),
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
