"""Data managers and datasets of both sides: the same values, in the same order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hyco.config import Config
from hyco.interfaces import Batch
from hyco.migration.factory import Factory
from hyco.migration.registry import use_mode
from hyco.testing.experiments import write_data
from tests.experiments import PLANE, tiny
from tests.sides import SIDES, taken

SIMULATIONS = (0, 2, 1, 3)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Four simulations of 6 frames in the plane."""
    config = tiny(tmp_path_factory.mktemp("batches"), ["data.num_simulations=4"], domain=PLANE)
    write_data(config)
    return config


def dataset(config: Config, side: str, folder: Path, **cache: Any) -> Any:
    """Windows of all simulations on one side, with a cache of its own."""
    settings = config.model_copy(
        update={
            "cache": config.cache.model_copy(update=cache),
            "data": config.data.model_copy(update={"cache_dir": folder / side}),
        }
    )
    with use_mode(side):
        factory = Factory(settings)
        return factory.dataset(factory.data_manager(), SIMULATIONS)


def contents(dataset: Any, batch: Batch) -> list[Any]:
    """What a batch holds: arrays with their dims and names, and counts."""
    snapshots = [taken(t, dataset.arrays, dataset.layout) for t in (batch.initial, batch.targets)]
    return [*snapshots, batch.size, batch.generated]


def same(a: list[Any], b: list[Any]) -> bool:
    """Whether two batches are the same to the bit."""
    return a[2:] == b[2:] and all(
        p.dims == q.dims
        and p.names == q.names
        and p.values.dtype == q.values.dtype
        and np.array_equal(p.values, q.values)
        for p, q in zip(a[:2], b[:2], strict=True)
    )


def passes(dataset: Any, size: int = 5, **options: Any) -> list[list[Any]]:
    """Two shuffled passes and one in order."""
    rng = np.random.default_rng(4)
    orders = [dataset.batches(size, rng=rng, **options), dataset.batches(size, rng=rng, **options)]
    return [contents(dataset, b) for order in [*orders, dataset.batches(size, **options)] for b in order]


def test_trajectories_are_the_same_bits(config: Config, tmp_path: Path, precision: str) -> None:
    loaded = []
    for side in SIDES:
        with use_mode(side):
            settings = config.model_copy(
                update={
                    "trainer": config.trainer.model_copy(update={"precision": precision}),
                    "data": config.data.model_copy(update={"cache_dir": tmp_path / side}),
                }
            )
            manager = Factory(settings).data_manager()
        loaded.append([taken(manager.load(s), manager.arrays, manager.layout) for s in SIMULATIONS])
    for a, b in zip(*loaded, strict=True):
        assert (a.dims, a.names, a.values.dtype) == (b.dims, b.names, b.values.dtype)
        assert a.dims == ("batch", "field", "time", "x", "y")
        assert a.values.dtype == precision
        assert np.array_equal(a.values, b.values)


ONE_TRAJECTORY = 2 * 6 * 8 * 12 * 8 / 2**20  # components, frames, cells, bytes: in MiB


@pytest.mark.parametrize("fits", [1, 2, 99], ids=lambda n: f"{n} in memory")
@pytest.mark.parametrize("backend", ["torch", "numpy"])
def test_batches_are_the_same_bits_in_the_same_order(
    config: Config, tmp_path: Path, fits: int, backend: str
) -> None:
    memory = (fits + 0.5) * ONE_TRAJECTORY
    legacy, phiml = (dataset(config, s, tmp_path, memory_limit_mb=memory, backend=backend) for s in SIDES)
    assert len(legacy) == len(phiml) == 16
    expected, found = passes(legacy), passes(phiml)
    assert [b[2] for b in expected] == [5, 5, 5, 1] * 3
    assert len(expected) == len(found)
    assert all(same(a, b) for a, b in zip(expected, found, strict=True))
    assert not same(expected[0], expected[4])
    assert not same(expected[0], expected[8])


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_generated_windows_join_in_the_same_places(config: Config, tmp_path: Path, alpha: float) -> None:
    generated = np.random.default_rng(1).standard_normal((2, 2, 5, 8, 12))
    taught = []
    for side in SIDES:
        plain = dataset(config, side, tmp_path)
        taught.append(plain.with_generated(plain.arrays.trajectory(generated), alpha=alpha))
        assert (len(plain), plain.generated) == (16, 0)
    assert all((len(t), t.generated) == (22, 6) for t in taught)
    for source in ("both", "real", "generated"):
        expected, found = (passes(t, source=source) for t in taught)
        assert len(expected) == len(found)
        assert all(same(a, b) for a, b in zip(expected, found, strict=True))
    first = contents(taught[0], taught[0].get_batch([16]))
    assert np.array_equal(first[1].values[0], generated[0][:, 1:3])
    assert first[3] == 1


def test_single_windows_are_the_same_bits(config: Config, tmp_path: Path) -> None:
    legacy, phiml = (dataset(config, s, tmp_path) for s in SIDES)
    for index in (0, 7, 15):
        for a, b in zip(legacy[index], phiml[index], strict=True):
            assert np.array_equal(legacy.arrays.numpy(a), phiml.arrays.numpy(b))
