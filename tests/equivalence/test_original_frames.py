"""The frames that the original computed follow from hyco's step, in both modes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hyco.compat.scenes import read_scene
from hyco.migration.factory import Factory
from hyco.migration.registry import use_mode
from hyco.testing import assert_equivalent, snapshot
from tests.originals import FIRST, SCENES, config_of


@pytest.mark.parametrize("folder", SCENES, ids=lambda path: path.name)
def test_every_frame_follows_from_the_first(folder: Path, side: str, precision: str) -> None:
    """Burgers with a field coefficient, dt 0.5, 5 substeps, a periodic box, 12 steps."""
    config = config_of(FIRST, f"trainer.precision={precision}")
    recorded = read_scene(folder).arranged(config.grid, config.layout, config.model.physical.dt)
    recorded = recorded.astype(precision)
    with use_mode(side):
        model = Factory(config).physical_model()
    computed = model.predict(np.ascontiguousarray(recorded[np.newaxis, :, 0]), recorded.shape[1] - 1)[0]
    dims, names = ("field", "time", *config.layout.axes), {"field": config.layout.components}
    assert recorded.shape == (2, 13, 32, 32)
    assert_equivalent(
        snapshot(recorded[:, 1:], dims, names=names),
        snapshot(computed[:, 1:], dims, names=names),
        "frames of the original",
    )


def test_there_are_four_simulations() -> None:
    assert [path.name for path in SCENES] == [f"sim_{n:06d}" for n in range(4)]
