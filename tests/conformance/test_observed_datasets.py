"""What every dataset shows of sparse and noisy observations, plain and behind an adapter."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.errors import DataError
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import Grid
from hyco.problem.observations import Observations, Sensors, time_mask
from hyco.storage.hdf5 import simulation_path, write_trajectory
from tests.sides import Seen, implementation, registered, taken

GRID = Grid.of(x=(4.0, 5), y=(3.0, 4))
LAYOUT = FieldLayout((FieldSpec("density"), FieldSpec("velocity", vector=True, static=True)), GRID.axes)
FRAMES = (6, 4, 5)
STEPS = 3
SPACE = np.zeros(GRID.resolution, dtype=bool)
SPACE[1:3, 2:] = True
TIMES = time_mask("uniform", stride=2)
datasets = pytest.mark.parametrize("seen", registered("dataset"), ids=str)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("observed")
    for number, frames in enumerate(FRAMES):
        where = simulation_path(folder / "data", number)
        options = {"grid": GRID, "layout": LAYOUT, "dt": 0.5, "equation": "advection", "parameters": {}}
        write_trajectory(where, trajectory(number, frames), fingerprint="made up", **options)
    return folder


def trajectory(number: int, frames: int) -> NDArray[np.float64]:
    """100 simulation + 10 frame + component, and a little of everything."""
    noise = np.random.default_rng(number).standard_normal((3, frames, *GRID.resolution))
    time, component = np.arange(frames).reshape(1, -1, 1, 1), np.arange(3).reshape(-1, 1, 1, 1)
    made = 100.0 * number + 10.0 * time + component + 0.01 * noise
    made[1:] = made[1:, :1]  # static
    return made


def build(seen: Seen, folder: Path, observations: Observations | None, **options: Any) -> Any:
    simulations = options.pop("simulations", (2, 0))
    manager = implementation(seen.side, "data_manager")(
        folder / "data",
        folder / f"cache-{seen.side}",
        grid=GRID,
        layout=LAYOUT,
        dt=0.5,
        device="cpu",
        precision="float64",
        **options,
    )
    cls = implementation(seen.side, "dataset", seen.name)
    return seen.adapted(cls(manager, simulations, rollout_steps=STEPS, observations=observations))


def values(dataset: Any, batch: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    taken_ = (taken(t, dataset.arrays, LAYOUT).values for t in (batch.initial, batch.targets))
    return next(taken_), next(taken_)


def starts(dataset: Any, batch: Any) -> list[float]:
    return np.round(values(dataset, batch)[0][:, 0].mean(axis=(1, 2)), -1).tolist()


def whole(dataset: Any, **options: Any) -> Any:
    (batch,) = dataset.batches(99, **options)
    return batch


def sparse(**options: Any) -> Observations:
    physical = Sensors(SPACE, TIMES)
    return Observations(physical, Sensors(noise=0.1, draws=2), seed=5, **options)


EVERY_START = [200.0, 210.0, 220.0, 0.0, 10.0, 20.0, 30.0]


@datasets
def test_before_it_is_seen_by_a_model_everything_is_observed(seen: Seen, folder: Path) -> None:
    dataset, plain = build(seen, folder, sparse(first_only=True)), build(seen, folder, None)
    batch, expected = whole(dataset), whole(plain)
    assert batch.observed is None and starts(dataset, batch) == EVERY_START
    for a, b in zip(values(dataset, batch), values(plain, expected), strict=True):
        assert np.array_equal(a, b)


@datasets
def test_each_model_has_its_own_sensors(seen: Seen, folder: Path) -> None:
    dataset = build(seen, folder, sparse())
    physical, synthetic = dataset.seen_by("physical"), dataset.seen_by("synthetic")
    assert physical.mode == synthetic.mode == seen.through
    batch = whole(physical)
    assert starts(physical, batch) == [200.0, 220.0, 0.0, 20.0]
    assert batch.observed is not None and batch.observed.shape == (4, STEPS - 1, *GRID.resolution)
    assert not batch.observed[:, 0].any()  # odd frames
    assert np.array_equal(batch.observed[:, 1], np.broadcast_to(SPACE, (4, *GRID.resolution)))
    clean = build(seen, folder, None)
    for a, b in zip(values(physical, batch), values(clean, clean.get_batch([0, 2, 3, 5])), strict=True):
        assert np.array_equal(a, b)
    other = whole(synthetic)
    assert other.observed is None and len(synthetic) == 7
    back = whole(synthetic.seen_by("physical"))
    assert np.array_equal(back.observed, batch.observed)


@datasets
def test_windows_that_start_at_the_first_frame_alone(seen: Seen, folder: Path) -> None:
    dataset = build(seen, folder, Observations(first_only=True)).seen_by("synthetic")
    assert starts(dataset, whole(dataset)) == [200.0, 0.0]


@datasets
def test_what_shows_everything_changes_nothing(seen: Seen, folder: Path) -> None:
    """Numbers, orders and values are to the bit those without observations."""
    everything = Sensors(np.ones(GRID.resolution, dtype=bool), partial(np.ones, dtype=bool))
    plain, full = build(seen, folder, None), build(seen, folder, Observations(everything, everything))
    for model in ("physical", "synthetic"):
        batches = (d.batches(2, rng=np.random.default_rng(3)) for d in (plain, full.seen_by(model)))
        for a, b in zip(*batches, strict=True):
            assert a.observed is None and b.observed is None
            assert all(np.array_equal(*p) for p in zip(values(plain, a), values(full, b), strict=True))


@datasets
def test_noise_is_on_the_dynamic_components_of_real_trajectories(seen: Seen, folder: Path) -> None:
    noisy = build(seen, folder, sparse()).seen_by("synthetic")
    batch = whole(noisy)
    expected = np.stack(
        [
            Sensors(noise=0.1, draws=2).disturbed(trajectory(s, FRAMES[s]), LAYOUT, 5, s)[:, f : f + STEPS]
            for s, f in ((2, 0), (2, 1), (2, 2), (0, 0), (0, 1), (0, 2), (0, 3))
        ]
    )
    initial, targets = values(noisy, batch)
    assert np.array_equal(initial, expected[:, :, 0])  # the noise of a frame is one noise, in all windows
    assert np.array_equal(targets, expected[:, :, 1:])
    clean = build(seen, folder, None)
    found = values(clean, whole(clean))[1]
    assert np.array_equal(targets[:, 1:], found[:, 1:])
    assert np.all(np.abs(targets - found)[:, 0].max(axis=(1, 2, 3)) > 1.0)
    generated = np.stack([trajectory(7, 4)])
    taught = noisy.with_generated(noisy.arrays.trajectory(generated))
    fresh = values(taught, whole(taught, source="generated"))
    assert np.array_equal(fresh[0][0], generated[0][:, 0])


@datasets
def test_noisy_trajectories_are_kept_as_many_as_fit(seen: Seen, folder: Path, monkeypatch: Any) -> None:
    made: list[int] = []
    disturbed = Sensors.disturbed

    def counted(self: Sensors, clean: Any, layout: Any, seed: int, simulation: int) -> Any:
        made.append(simulation)
        return disturbed(self, clean, layout, seed, simulation)

    monkeypatch.setattr(Sensors, "disturbed", counted)
    dataset = build(seen, folder, sparse(), simulations=(0, 1, 2)).seen_by("synthetic")
    assert made == []
    for derived in (dataset, dataset.with_rollout_steps(2), dataset.seen_by("synthetic")):
        list(derived.batches(1))
        list(derived.batches(2, rng=np.random.default_rng(0)))
    assert sorted(made) == [0, 1, 2]
    made.clear()
    room = 3.2 * 5 * 4 * 6 * 8 / 2**20  # of one trajectory, not of two
    narrow = build(seen, folder, sparse(), simulations=(0, 1, 2), memory_limit_mb=room).seen_by("synthetic")
    list(narrow.batches(1))
    list(narrow.batches(1))
    assert made == [0, 1, 2, 0, 1, 2]


@datasets
def test_generated_windows_are_observed_everywhere_or_at_points(seen: Seen, folder: Path) -> None:
    physical = build(seen, folder, sparse()).seen_by("physical")
    generated = physical.arrays.trajectory(np.stack([trajectory(7, 4), trajectory(8, 4)]))
    taught = physical.with_generated(generated)
    assert whole(taught, source="generated").observed is None
    mixed = taught.get_batch([0, 4])
    assert (mixed.size, mixed.generated) == (2, 1)
    assert mixed.observed is not None and mixed.observed[1].all() and not mixed.observed[0].all()
    points = np.zeros(GRID.resolution, dtype=bool)
    points[0, 0] = points[4, 1] = True
    at = physical.with_generated(generated, points=points)
    fresh = whole(at, source="generated")
    assert np.array_equal(fresh.observed, np.broadcast_to(points, (4, STEPS - 1, *GRID.resolution)))
    assert np.array_equal(whole(at, source="real").observed, whole(physical).observed)
    plain = build(seen, folder, None).with_generated(generated, points=points)
    assert plain.get_batch([0]).observed is None


@datasets
def test_other_lengths_of_windows(seen: Seen, folder: Path) -> None:
    dataset = build(seen, folder, sparse()).seen_by("physical")
    longer = dataset.with_rollout_steps(4)
    assert (dataset.rollout_steps, longer.rollout_steps, longer.mode) == (STEPS, 4, seen.through)
    batch = whole(longer)
    assert starts(longer, batch) == [200.0, 0.0, 20.0]
    assert batch.observed.any(axis=(2, 3)).tolist() == [[False, True, False]] * 3
    assert starts(dataset, whole(dataset)) == [200.0, 220.0, 0.0, 20.0]
    with pytest.raises(DataError, match="no window of 2 frames that begins at an observed frame"):
        dataset.with_rollout_steps(2)
    with pytest.raises(DataError, match=r"window of 6 frames.*simulation 2 has 5"):
        dataset.with_rollout_steps(6)


@datasets
def test_lengths_generated_windows_and_sensors_come_in_any_order(seen: Seen, folder: Path) -> None:
    dataset = build(seen, folder, sparse())
    generated = dataset.arrays.trajectory(np.stack([trajectory(7, 4), trajectory(8, 4)]))
    points = SPACE[::-1]

    def taught(d: Any) -> Any:
        return d.with_generated(generated, alpha=0.5, points=points)

    ways = [
        taught(dataset.seen_by("physical").with_rollout_steps(4)),
        taught(dataset.with_rollout_steps(4)).seen_by("physical"),
        taught(dataset).with_rollout_steps(4).seen_by("physical"),
        taught(dataset.seen_by("synthetic")).seen_by("physical").with_rollout_steps(4),
    ]
    batches = [list(way.batches(2, rng=np.random.default_rng(1))) for way in ways]
    assert [(len(w), w.generated, w.rollout_steps) for w in ways] == [(5, 2, 4)] * 4
    for way, found in zip(ways, batches, strict=True):
        for a, b in zip(found, batches[0], strict=True):
            assert (a.size, a.generated) == (b.size, b.generated)
            assert np.array_equal(a.observed, b.observed)
            assert all(np.array_equal(*p) for p in zip(values(way, a), values(ways[0], b), strict=True))


@datasets
def test_generated_trajectories_shorter_than_a_window_have_none(seen: Seen, folder: Path) -> None:
    dataset = build(seen, folder, None)
    taught = dataset.with_generated(dataset.arrays.trajectory(np.stack([trajectory(7, 2)])))
    assert (len(taught), taught.generated) == (7, 0)
    assert sum(b.size for b in taught.batches(2, rng=np.random.default_rng(0))) == 7
    assert list(taught.batches(2, source="generated")) == []
    assert taught.with_rollout_steps(2).generated == 1


@datasets
def test_skipped_batches_are_not_read(seen: Seen, folder: Path) -> None:
    dataset = build(seen, folder, None)
    expected = [starts(dataset, b) for b in dataset.batches(2, rng=np.random.default_rng(2))]
    rest = [starts(dataset, b) for b in dataset.batches(2, rng=np.random.default_rng(2), skip=2)]
    assert rest == expected[2:]


@datasets
def test_a_model_that_is_shown_no_window_is_refused(seen: Seen, folder: Path) -> None:
    blind = Sensors(times=time_mask("custom", fractions=(0.5,)))
    dataset = build(seen, folder, Observations(synthetic=blind))
    assert len(dataset.seen_by("physical")) == 7
    with pytest.raises(DataError, match=r"no window of 3 frames.*observations\.time"):
        dataset.seen_by("synthetic")
