"""The files of the original HYCO-PhiFlow, and what a test has to know of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.compat.archives import read_npz
from hyco.config import Config, load_config

FOLDER = Path(__file__).parent / "data" / "hyco-phiflow"
FIRST, SECOND = FOLDER / "v1-burgers", FOLDER / "v2-burgers-2d"
NETWORKS = {
    FIRST: FIRST / "models/burgers_synthetic_model.pth",
    SECOND: SECOND / "models/burgers_synthetic_model_2d.pth",
}
SCENES = sorted((FIRST / "scenes").iterdir())
CACHES = sorted((FIRST / "cache").iterdir())
TRAJECTORIES = sorted((SECOND / "data").iterdir())


def config_of(folder: Path, *overrides: str) -> Config:
    """The configuration in a folder."""
    return load_config(folder / "config.yaml", overrides)


def recorded_output(folder: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """States and the network's outputs for them, each (batch, field, *space); times are batch entries."""
    stored = read_npz(folder / "unet_reference.npz")
    if folder == FIRST:  # (batch, field, time, x, y)
        return tuple(np.ascontiguousarray(np.moveaxis(stored[n][0], 1, 0)) for n in "xy")  # type: ignore[return-value]
    return tuple(np.ascontiguousarray(np.moveaxis(stored[n], -1, 1)) for n in "xy")  # type: ignore[return-value]
