"""Does a checkpoint fit?  Every entry that does not is named before anything is put in force."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.errors import CheckpointError

Named = Mapping[str, NDArray[Any]]


def check_entries(origin: Path | str, expected: Named, found: Named) -> None:
    """Raise CheckpointError naming every missing, unexpected, misshapen and non-finite entry."""
    faults = [f"missing {name}" for name in expected if name not in found]
    faults += [f"unexpected {name}" for name in found if name not in expected]
    for name in expected:
        if name not in found:
            continue
        if np.shape(found[name]) != np.shape(expected[name]):
            faults.append(f"{name}: expected shape {np.shape(expected[name])}, found {np.shape(found[name])}")
        elif not np.all(np.isfinite(found[name])):
            faults.append(f"{name}: not finite")
    if faults:
        raise CheckpointError(
            f"{origin}: does not fit this model: {'; '.join(faults)}. "
            "Nothing was loaded; use the configuration it was trained with."
        )


def prefixed(prefix: str, arrays: Named) -> dict[str, NDArray[Any]]:
    """The arrays under `prefix.name`."""
    return {f"{prefix}.{name}": a for name, a in arrays.items()}


def under(prefix: str, arrays: Named) -> dict[str, NDArray[Any]]:
    """The arrays that stand under `prefix.`, by their own names."""
    start = f"{prefix}."
    return {name[len(start) :]: a for name, a in arrays.items() if name.startswith(start)}
