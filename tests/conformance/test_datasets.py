"""What every dataset promises, plain and behind an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.errors import DataError
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import Grid
from hyco.storage.hdf5 import simulation_path, write_trajectory
from tests.sides import Seen, implementation, registered, taken

GRID = Grid.of(x=(4.0, 5), y=(3.0, 4))
LAYOUT = FieldLayout((FieldSpec("velocity", vector=True),), GRID.axes)
FRAMES = (6, 4, 5)
STEPS = 3
datasets = pytest.mark.parametrize("seen", registered("dataset"), ids=str)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three trajectories whose values tell where they come from: 100 simulation + 10 frame + component."""
    folder = tmp_path_factory.mktemp("datasets")
    for number, frames in enumerate(FRAMES):
        where = simulation_path(folder / "data", number)
        options = {"grid": GRID, "layout": LAYOUT, "dt": 0.5, "equation": "burgers", "parameters": {}}
        write_trajectory(where, trajectory(number, frames), fingerprint="made up", **options)
    return folder


def trajectory(number: int, frames: int) -> NDArray[np.float64]:
    time = np.arange(frames).reshape(1, -1, 1, 1)
    component = np.arange(2).reshape(-1, 1, 1, 1)
    cell = 1e-3 * np.arange(GRID.cells).reshape(1, 1, *GRID.resolution)
    return 100.0 * number + 10.0 * time + component + cell


def build(seen: Seen, folder: Path, simulations: tuple[int, ...] = (2, 0), precision: str = "float64") -> Any:
    manager = implementation(seen.side, "data_manager")(
        folder / "data",
        folder / f"cache-{seen.side}-{precision}",
        grid=GRID,
        layout=LAYOUT,
        dt=0.5,
        device="cpu",
        precision=precision,
    )
    cls = implementation(seen.side, "dataset", seen.name)
    return seen.adapted(cls(manager, simulations, rollout_steps=STEPS), precision)


def starts(dataset: Any, batch: Any) -> list[float]:
    """100 simulation + 10 first frame, of every window of a batch."""
    return taken(batch.initial, dataset.arrays, LAYOUT).values[:, 0, 0, 0].tolist()


ALL = [200.0, 210.0, 220.0, 0.0, 10.0, 20.0, 30.0]


@datasets
def test_it_has_every_window_in_the_order_of_the_simulations(seen: Seen, folder: Path) -> None:
    dataset = build(seen, folder)
    assert (dataset.mode, dataset.grid, dataset.layout) == (seen.through, GRID, LAYOUT)
    assert (len(dataset), dataset.generated, dataset.rollout_steps) == (7, 0, STEPS)
    batches = list(dataset.batches(3))
    assert [b.size for b in batches] == [3, 3, 1]
    assert [start for b in batches for start in starts(dataset, b)] == ALL


@datasets
def test_a_batch_has_initial_states_and_the_frames_that_follow(
    seen: Seen, folder: Path, precision: str
) -> None:
    dataset = build(seen, folder, precision=precision)
    batch = dataset.get_batch([4, 1])
    initial, targets = (taken(t, dataset.arrays, LAYOUT) for t in (batch.initial, batch.targets))
    assert initial.dims == ("batch", "field", "x", "y")
    assert targets.dims == ("batch", "field", "time", "x", "y")
    assert initial.names == targets.names == {"field": ("velocity_x", "velocity_y")}
    expected = np.stack([trajectory(0, 6)[:, 1:4], trajectory(2, 5)[:, 1:4]]).astype(precision)
    assert initial.values.dtype == targets.values.dtype == precision
    assert np.array_equal(initial.values, expected[:, :, 0])
    assert np.array_equal(targets.values, expected[:, :, 1:])
    assert (batch.size, batch.generated) == (2, 0)


@datasets
def test_a_window_is_an_entry_of_a_batch(seen: Seen, folder: Path) -> None:
    dataset = build(seen, folder)
    window, batch = dataset[5], dataset.get_batch([5])
    for single, together in ((window.initial, batch.initial), (window.targets, batch.targets)):
        assert np.array_equal(dataset.arrays.numpy(single), dataset.arrays.numpy(together)[0])


@datasets
@pytest.mark.parametrize("index", [7, -1])
def test_a_window_that_does_not_exist_is_an_index_error(seen: Seen, folder: Path, index: int) -> None:
    with pytest.raises(IndexError, match=f"window {index} of 7"):
        build(seen, folder)[index]


@datasets
def test_a_shuffled_pass_has_every_window_once_and_follows_its_generator(seen: Seen, folder: Path) -> None:
    dataset = build(seen, folder)

    def order(seed: int) -> list[float]:
        batches = dataset.batches(2, rng=np.random.default_rng(seed))
        return [start for b in batches for start in starts(dataset, b)]

    assert sorted(order(0)) == sorted(ALL)
    assert order(0) == order(0) != order(1)


@datasets
def test_generated_trajectories_make_a_new_dataset(seen: Seen, folder: Path) -> None:
    dataset = build(seen, folder)
    generated = np.stack([trajectory(7, 4), trajectory(8, 4)])
    taught = dataset.with_generated(dataset.arrays.trajectory(generated))
    assert (len(dataset), dataset.generated) == (7, 0)
    assert taught.mode == seen.through
    assert (len(taught), taught.generated, taught.rollout_steps) == (11, 4, STEPS)
    fresh = list(taught.batches(9, source="generated"))
    assert [starts(taught, b) for b in fresh] == [[700.0, 710.0, 800.0, 810.0]]
    assert [(b.size, b.generated) for b in fresh] == [(4, 4)]
    assert [start for b in taught.batches(9, source="real") for start in starts(taught, b)] == ALL
    mixed = taught.get_batch([0, 10])
    assert mixed.generated == 1
    assert starts(taught, mixed) == [200.0, 810.0]
    targets = taken(mixed.targets, taught.arrays, LAYOUT).values
    assert np.array_equal(targets[1], generated[1][:, 2:4])


@datasets
def test_generated_trajectories_replace_those_of_before(seen: Seen, folder: Path) -> None:
    dataset = build(seen, folder)
    once = dataset.with_generated(dataset.arrays.trajectory(trajectory(7, 4)[None]))
    twice = once.with_generated(dataset.arrays.trajectory(trajectory(8, 3)[None]))
    assert (once.generated, twice.generated) == (2, 1)
    assert starts(twice, next(twice.batches(9, source="generated"))) == [800.0]


@datasets
def test_alpha_thins_out_shuffled_real_windows(seen: Seen, folder: Path) -> None:
    dataset = build(seen, folder, (0, 1, 2))
    taught = dataset.with_generated(dataset.arrays.trajectory(trajectory(7, 4)[None]), alpha=0.5)
    batches = list(taught.batches(3, rng=np.random.default_rng(0)))
    assert sum(b.size - b.generated for b in batches) == round(0.5 * len(dataset))
    assert sum(b.generated for b in batches) == 2


@datasets
def test_a_simulation_shorter_than_a_window_is_refused(seen: Seen, folder: Path) -> None:
    manager = build(seen, folder)
    inner = getattr(manager, "inner", manager)
    with pytest.raises(DataError, match=r"window of 5 frames.*simulation 1 has 4.*rollout_steps"):
        type(inner)(inner.manager, (0, 1), rollout_steps=5)


def test_a_torch_data_loader_takes_the_legacy_one(folder: Path) -> None:
    import torch
    from torch.utils.data import DataLoader
    from torch.utils.data import Dataset as TorchDataset

    dataset = build(Seen("legacy", "default", "legacy"), folder)
    assert isinstance(dataset, TorchDataset)
    batches = list(
        DataLoader(dataset, batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(0))
    )
    assert [tuple(b.targets.shape) for b in batches] == [(4, 2, 2, 5, 4), (3, 2, 2, 5, 4)]
    assert sorted(start for b in batches for start in b.initial[:, 0, 0, 0].tolist()) == sorted(ALL)


def test_the_phiml_one_has_no_torch_in_it_when_numpy_holds_the_data(folder: Path) -> None:
    manager = implementation("phiml", "data_manager")(
        folder / "data",
        folder / "cache-n",
        grid=GRID,
        layout=LAYOUT,
        dt=0.5,
        backend="numpy",
        precision="float64",
    )
    dataset = implementation("phiml", "dataset")(manager, (2, 0), rollout_steps=STEPS)
    batch = next(dataset.batches(3))
    assert batch.initial.default_backend.name == batch.targets.default_backend.name == "numpy"
    assert starts(dataset, batch) == ALL[:3]
