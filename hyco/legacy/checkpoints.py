"""Checkpoints of legacy mode: `.pth` files of plain tensors and facts, read without unpickling code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hyco.errors import CheckpointError
from hyco.storage.atomic import atomic_write

SUFFIX = ".pth"
FORMAT = "hyco-1"


def write_checkpoint(
    path: Path, kind: str, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]
) -> None:
    """Write arrays by name and JSON-like facts, atomically.  `kind` says what they are."""
    content = {
        "format": FORMAT,
        "kind": kind,
        "arrays": {name: torch.from_numpy(np.array(a, order="C")) for name, a in arrays.items()},
        "facts": dict(facts),
    }
    with atomic_write(path) as temporary:
        torch.save(content, temporary)


def read_checkpoint(path: Path, kind: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """(arrays, facts) of a checkpoint of this kind; raises CheckpointError when it is anything else."""
    found, arrays, facts = read_contents(path)
    if found != kind:
        raise CheckpointError(f"{path}: expected a checkpoint of a {kind}, found one of a {found}.")
    return arrays, facts


def read_contents(path: Path) -> tuple[str, dict[str, NDArray[Any]], dict[str, Any]]:
    """(kind, arrays, facts) of a checkpoint of any kind; raises CheckpointError when it is none."""
    if not path.exists():
        raise CheckpointError(f"{path}: no such checkpoint. Train first, or check general.checkpoint_dir.")
    try:
        content = read_tensors(path)
    except ValueError as error:
        raise CheckpointError(
            f"{path}: {error}. It is damaged, or was not written by hyco; use another one, or train again."
        ) from error
    if content.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: expected a checkpoint of format {FORMAT!r}, found another PyTorch file."
        )
    try:
        arrays = {str(name): t.numpy() for name, t in content["arrays"].items()}
        return str(content["kind"]), arrays, dict(content["facts"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: a checkpoint without its kind, arrays or facts ({type(error).__name__}: {error}). "
            "It is damaged; use another one, or train again."
        ) from error


def read_tensors(path: Path, *, mmap: bool = False) -> dict[str, Any]:
    """The dict in a PyTorch file, on the CPU; ValueError when it is damaged or holds more than plain data."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # torch raises many types for a damaged or hostile file
        raise ValueError(f"not a readable PyTorch file ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise ValueError(f"expected a dict in the file, found a {type(content).__name__}")
    return content
