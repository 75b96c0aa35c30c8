"""The parameters that a run recovered, as arrays: `parameters.npz`."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from hyco.errors import DataError
from hyco.report.evaluation import ParameterResult
from hyco.storage.atomic import write_bytes

NAME = "parameters.npz"
KINDS = ("truth", "initial", "recovered")
Values = Mapping[str, Mapping[str, NDArray[np.float64]]]


def write_parameters(path: Path, parameters: Sequence[ParameterResult]) -> None:
    """Write every parameter's true, initial and recovered value as `<name>/<kind>`, scalars or (*space)."""
    buffer = io.BytesIO()
    values = {
        f"{p.name}/{kind}": np.asarray(getattr(p, kind), np.float64) for p in parameters for kind in KINDS
    }
    np.savez(buffer, **values)  # type: ignore[arg-type]
    write_bytes(path, buffer.getbuffer())


def read_parameters(path: Path) -> Values:
    """By parameter and kind; nothing where there is no file.  Raises DataError when it is damaged."""
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as file:
            names = dict.fromkeys(key.rpartition("/")[0] for key in file.files)
            return {name: {kind: file[f"{name}/{kind}"] for kind in KINDS} for name in names}
    except (OSError, ValueError, KeyError, EOFError, AttributeError, BadZipFile) as error:
        raise DataError(f"{path}: no file of parameters ({error}). Evaluate the run again.") from error
