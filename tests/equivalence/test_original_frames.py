"""The frames that the original computed follow from hyco's step, in both modes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hyco.compat.scenes import read_scene
from hyco.migration.factory import Factory
from hyco.migration.registry import use_mode
from hyco.testing import Snapshot, assert_equivalent, snapshot
from tests.originals import FIRST, SCENES, config_of

simulations = pytest.mark.parametrize("folder", SCENES, ids=lambda path: path.name)


def frames(folder: Path, side: str, precision: str, kernels: str = "auto") -> tuple[Snapshot, Snapshot]:
    """The frames after the first one: as recorded, and as hyco computes them from the first."""
    config = config_of(FIRST, f"trainer.precision={precision}", f"trainer.kernels={kernels}")
    recorded = read_scene(folder).arranged(config.grid, config.layout, config.model.physical.dt)
    assert recorded.shape == (2, 13, 32, 32)
    with use_mode(side):
        model = Factory(config).physical_model()
    initial = np.ascontiguousarray(recorded[np.newaxis, :, 0].astype(precision))
    computed = model.predict(initial, recorded.shape[1] - 1)[0].astype("float32")
    dims, names = ("field", "time", *config.layout.axes), {"field": config.layout.components}
    return snapshot(recorded[:, 1:], dims, names=names), snapshot(computed[:, 1:], dims, names=names)


@simulations
def test_every_frame_follows_from_the_first(folder: Path, side: str, precision: str) -> None:
    """Burgers with a field coefficient, dt 0.5, 5 substeps, a periodic box, 12 steps."""
    assert_equivalent(*frames(folder, side, precision), "frames of the original")


@simulations
def test_phiflows_operations_give_the_same_frames_to_rounding(folder: Path) -> None:
    """So closely that 4 substeps, or a coefficient of 1.001, would be 40 tolerances off."""
    quantity = "frames of the original by the same operations"
    assert_equivalent(*frames(folder, "phiml", "float32", "phiflow"), quantity)


def test_there_are_four_simulations() -> None:
    assert [path.name for path in SCENES] == [f"sim_{n:06d}" for n in range(4)]
