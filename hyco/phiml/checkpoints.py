"""Checkpoints of phiml mode: `.phiml` files, which are safetensors with a JSON header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hyco.errors import CheckpointError
from hyco.storage.atomic import write_bytes

SUFFIX = ".phiml"
FORMAT = "hyco-1"


def write_checkpoint(
    path: Path, kind: str, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]
) -> None:
    """Write arrays by name and JSON-like facts, atomically.  `kind` says what they are.

    Raises CheckpointError for arrays that the format has no type for, such as complex128.
    """
    header = {"format": FORMAT, "kind": kind, "facts": json.dumps(dict(facts))}
    try:
        data = save({name: np.array(a, order="C") for name, a in arrays.items()}, header)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: cannot be kept in a {SUFFIX} file: {error}.") from error
    write_bytes(path, data)


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
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path}: not a readable safetensors file ({error}). It is damaged, or was not written by hyco; "
            "use another one, or train again."
        ) from error
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: expected a checkpoint of format {FORMAT!r}, found another safetensors file."
        )
    try:
        return header["kind"], arrays, dict(json.loads(header["facts"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: a checkpoint without its kind or facts ({type(error).__name__}: {error}). "
            "It is damaged; use another one, or train again."
        ) from error
