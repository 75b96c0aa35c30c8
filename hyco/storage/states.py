"""Training states that belong to no mode: named arrays and plain facts in one safetensors file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hyco.errors import CheckpointError
from hyco.interfaces import TrainingState
from hyco.storage.atomic import write_bytes

SUFFIX = ".safetensors"
FORMAT = "hyco-state-1"


def write_state(path: Path, state: TrainingState) -> None:
    """Write a state atomically, without a loss; facts are what JSON knows, infinities included."""
    header = {"format": FORMAT, "facts": json.dumps(dict(state.facts))}
    arrays = {name: np.array(a, order="C") for name, a in state.arrays.items()}
    write_bytes(path, save(arrays, header))


def read_state(path: Path) -> TrainingState:
    """The state in a file of `write_state`; raises CheckpointError when it is anything else."""
    try:
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
        if header.get("format") != FORMAT:
            raise ValueError(f"expected format {FORMAT!r}, found {header.get('format')!r}")
        return TrainingState(arrays, dict(json.loads(header["facts"])))
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path}: not a readable training state ({error}). Use another one.") from error
