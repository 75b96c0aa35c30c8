"""What is observed: cells, frames, noise, the windows that are left, and configurations that ask for it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.config import parse_config
from hyco.errors import ConfigError, DataError
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import AXES, Grid
from hyco.problem.observations import Observations, Sensors, space_mask, time_mask, window_starts
from hyco.problem.windows import Windows
from tests.unit.test_config import HYBRID, refusal, small

GRIDS = {
    1: Grid.of(x=(4.0, 10)),
    2: Grid.of(x=(4.0, 10), y=(3.0, 6)),
    3: Grid.of(x=(4.0, 10), y=(3.0, 6), z=(1.0, 5)),
}
dimensions = pytest.mark.parametrize("grid", GRIDS.values(), ids=lambda g: f"{g.rank}-D")
WHOLE = dict.fromkeys(AXES, (0.0, 1.0))


def mask(name: str, grid: Grid, seed: int = 0, **settings: Any) -> NDArray[np.bool_] | None:
    return space_mask(name, grid, np.random.default_rng(seed), **settings)


def some(name: str, grid: Grid, seed: int = 0, **settings: Any) -> NDArray[np.bool_]:
    made = mask(name, grid, seed, **settings)
    assert made is not None and made.shape == grid.resolution and made.dtype == bool
    return made


def spread(grid: Grid, share: tuple[float, float], axis: str) -> NDArray[np.bool_]:
    """The cells whose centres lie in a share of an axis, by coordinates."""
    at = grid.coordinates()[axis] / grid.size[grid.axes.index(axis)]
    return np.broadcast_to((at >= share[0]) & (at <= share[1]), grid.resolution)


# --- cells


@dimensions
def test_masks_that_show_everything_are_none(grid: Grid) -> None:
    for name, settings in (
        ("full", {}),
        ("range", WHOLE),
        ("range", {**WHOLE, "x": (0.04, 0.96)}),
        ("center", {"fraction": 1.0}),
        ("random_points", {"count": grid.cells}),
    ):
        assert mask(name, grid, **settings) is None, name


@dimensions
def test_a_range_is_the_cells_whose_centres_lie_in_it(grid: Grid) -> None:
    shares = {"x": (0.0, 0.31), "y": (0.5, 1.0), "z": (0.15, 0.75)}
    made = some("range", grid, **{**WHOLE, **{a: shares[a] for a in grid.axes}})
    assert np.array_equal(made, np.logical_and.reduce([spread(grid, shares[a], a) for a in grid.axes]))
    assert made.sum() == {1: 3, 2: 3 * 3, 3: 3 * 3 * 3}[grid.rank]


def test_half_an_axis_is_half_of_its_cells() -> None:
    for cells in (2, 7, 10, 64, 100):
        made = some("range", Grid.of(x=(1.0, cells)), x=(0.0, 0.5))
        assert made.sum() == (cells + 1) // 2  # of an odd number, the middle one is in both halves


def test_a_centre_on_the_edge_belongs_to_it_in_spite_of_rounding() -> None:
    for cells in range(3, 100):
        for k in range(1, cells // 2):
            least, greatest = (k + 0.5) / cells, (cells - k - 0.5) / cells
            made = some("center", Grid.of(x=(1.0, cells)), fraction=greatest - least)
            assert made.sum() == cells - 2 * k, (cells, k)


@dimensions
def test_the_center_is_a_box_in_the_middle(grid: Grid) -> None:
    made = some("center", grid, fraction=0.5)
    assert np.array_equal(made, np.logical_and.reduce([spread(grid, (0.25, 0.75), a) for a in grid.axes]))
    assert np.array_equal(made, np.flip(made))


def test_a_center_of_half_is_a_quarter_of_a_plane() -> None:
    assert some("center", Grid.of(x=(1.0, 64), y=(2.0, 32)), fraction=0.5).mean() == 0.25


@dimensions
def test_random_points_follow_their_generator(grid: Grid) -> None:
    made, again, other = (some("random_points", grid, seed, count=7) for seed in (0, 0, 1))
    assert made.sum() == other.sum() == 7
    assert np.array_equal(made, again) and not np.array_equal(made, other)


@dimensions
@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float32])
def test_a_mask_from_a_file(grid: Grid, kind: Any, tmp_path: Path) -> None:
    expected = np.random.default_rng(3).random(grid.resolution) < 0.5
    np.save(tmp_path / "mask.npy", expected.astype(kind))
    assert np.array_equal(some("file", grid, path=tmp_path / "mask.npy"), expected)
    np.save(tmp_path / "mask.npy", np.ones(grid.resolution, dtype=kind))
    assert mask("file", grid, path=tmp_path / "mask.npy") is None


@dimensions
def test_points_from_a_file_are_the_cells_that_contain_them(grid: Grid, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    points = rng.random((9, grid.rank)) * grid.size
    order = list(reversed(grid.axes))  # columns are told apart by their names
    rows = [", ".join(order), *(",".join(repr(float(v)) for v in reversed(p)) for p in points), ""]
    (tmp_path / "points.csv").write_text("\n".join(rows))
    expected = np.zeros(grid.resolution, dtype=bool)
    centres = np.stack(np.meshgrid(*(grid.centres(a) for a in grid.axes), indexing="ij"), axis=-1)
    for p in points:
        inside = np.all(np.abs(centres - p) <= np.array(grid.spacing) / 2, axis=-1)
        assert inside.sum() == 1
        expected |= inside
    assert np.array_equal(some("file", grid, path=tmp_path / "points.csv"), expected)


def test_points_on_the_borders_of_the_box_belong_to_it(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("x\n0\n4.0\n2.0\n")
    made = some("file", GRIDS[1], path=tmp_path / "points.csv")
    assert np.flatnonzero(made).tolist() == [0, 5, 9]


GOOD = np.ones((10, 6), dtype=int)
FILES: list[tuple[str, Any, str]] = [
    ("m.npy", GOOD[:, :5], r"shape \(10, 5\), expected that of the grid, \(10, 6\)"),
    ("m.npy", GOOD * 2, "other values than 0, not observed, and 1, observed"),
    ("m.npy", GOOD * np.nan, "other values than 0"),
    ("m.npy", GOOD * 0, "shows no cell"),
    ("m.npy", "no array", "is no array of numpy"),
    ("m.npy", np.array([{"a": 1}], dtype=object), "is no array of numpy"),
    ("m.txt", "1", "expected a .npy mask or a .csv list of points, got m.txt"),
    ("m.csv", "", "begins with the columns none; expected x, y"),
    ("m.csv", "x,z\n1,1\n", "begins with the columns x, z; expected x, y"),
    ("m.csv", "x,y\n", "shows no cell"),
    ("m.csv", "x,y\n1,1\n1\n", r"line 3: expected 2 numbers, got '1'"),
    ("m.csv", "x,y\n1,one\n", r"line 2: expected 2 numbers, got '1', 'one'"),
    ("m.csv", "x,y\n1,1\n1,3.5\n", r"line 3: y = 3.5 is outside of the box, which is from 0 to 3"),
    ("m.csv", "x,y\n-0.1,1\n", r"line 2: x = -0.1 is outside"),
    ("m.csv", "x,y\nnan,1\n", r"line 2: x = nan is outside"),
    ("m.csv", b"\xff\xfe\x00", "cannot be read"),
]


@pytest.mark.parametrize(("name", "content", "expected"), FILES)
def test_files_that_are_no_masks_of_the_grid(name: str, content: Any, expected: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if isinstance(content, np.ndarray):
        np.save(path, content, allow_pickle=True)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=rf"^path: .*{expected}"):
        mask("file", GRIDS[2], path=path)


def test_a_pickle_in_a_mask_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "m.npy").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ConfigError, match="is no array of numpy"):
        mask("file", GRIDS[2], path=tmp_path / "m.npy")
    assert not (tmp_path / "ran").exists()


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"^path: nowhere\.npy cannot be read"):
        mask("file", GRIDS[2], path="nowhere.npy")


# --- frames


def shown(name: str, count: int, **settings: Any) -> list[int]:
    times = time_mask(name, **settings)
    assert times is not None
    made = times(count)
    assert made.shape == (count,) and made.dtype == bool
    return np.flatnonzero(made).tolist()


def test_full_times_and_a_stride_of_one_are_none() -> None:
    assert time_mask("full") is None
    assert time_mask("uniform", stride=1) is None


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0.0, 0.0, [0, 9]),
        (0.1, 0.1, [0, 9]),
        (0.29, 0.3, [0, 1, 7, 8, 9]),
        (0.7, 0.0, [0, 1, 2, 3, 4, 5, 6, 9]),  # 0.7 * 10 is less than 7 in floating point
        (1.0, 0.0, list(range(10))),
        (0.6, 0.6, list(range(10))),
    ],
)
def test_endpoints_are_at_least_one_frame_each(start: float, end: float, expected: list[int]) -> None:
    assert shown("endpoints", 10, start=start, end=end) == expected


def test_a_stride_begins_with_the_first_frame() -> None:
    assert shown("uniform", 10, stride=3) == [0, 3, 6, 9]
    assert shown("uniform", 9, stride=3) == [0, 3, 6]
    assert shown("uniform", 2, stride=30) == [0]


def test_fractions_are_the_nearest_frames() -> None:
    assert shown("custom", 11, fractions=(0.0, 0.34, 1.0)) == [0, 3, 10]
    assert shown("custom", 3, fractions=(0.24, 0.26, 0.5)) == [0, 1]
    assert shown("custom", 2, fractions=(0.6,)) == [1]


# --- windows


def by_hand(observed: NDArray[np.bool_], steps: int, first_only: bool) -> tuple[int, ...]:
    starts = []
    for s in range(len(observed) - steps + 1):
        window = observed[s : s + steps]
        if window[0] and window[1:].any() and (s == 0 or not first_only):
            starts.append(s)
    return tuple(starts)


def test_windows_begin_and_go_on_where_something_is_observed() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        observed = rng.random(rng.integers(1, 14)) < rng.random()
        steps = int(rng.integers(2, 9))
        for first_only in (False, True):
            assert window_starts(observed, steps, first_only=first_only) == by_hand(
                observed, steps, first_only
            )


def test_numbers_and_orders_stay_when_everything_is_observed() -> None:
    plain = Windows((9, 7, 8), 3, generated=(5, 6), alpha=0.7, resident=2)
    masked = Windows(
        (9, 7, 8), 3, generated=(5, 6), alpha=0.7, resident=2,
        observed=tuple(np.ones(n, dtype=bool) for n in (9, 7, 8)),
        space=np.ones((4, 2), dtype=bool), points=np.ones((4, 2), dtype=bool),
    )  # fmt: skip
    assert (len(plain), plain.real_count) == (len(masked), masked.real_count)
    assert [plain.locate(i) for i in range(len(plain))] == [masked.locate(i) for i in range(len(plain))]
    for rng in (None, 3):
        orders = (
            [list(b) for b in w.batches(4, None if rng is None else np.random.default_rng(rng))]
            for w in (plain, masked)
        )
        assert next(orders) == next(orders)
    assert masked.observed_targets(range(len(masked)), (4, 2)) is None


def test_observed_windows_are_numbered_in_the_same_way() -> None:
    observed = (np.array([1, 0, 0, 1, 1, 0], dtype=bool), np.array([0, 1, 1, 0], dtype=bool))
    windows = Windows((6, 4), 3, generated=(4,), observed=observed)
    assert [windows.locate(i) for i in range(len(windows))] == [(0, 3), (1, 1), (2, 0), (2, 1)]
    assert (windows.real_count, windows.generated_count) == (2, 2)
    longer = Windows((6, 4), 4, generated=(4,), observed=observed)
    assert [longer.locate(i) for i in range(len(longer))] == [(0, 0), (2, 0)]
    with pytest.raises(IndexError, match="window 4 of 4"):
        windows.locate(4)
    seen = sorted(i for b in windows.batches(3, np.random.default_rng(0)) for i in b)
    assert seen == [0, 1, 2, 3]


def test_a_window_may_begin_at_the_first_frame_alone() -> None:
    windows = Windows((6, 4), 3, generated=(5,), first_only=True)
    assert [windows.locate(i) for i in range(len(windows))] == [(0, 0), (1, 0), (2, 0), (2, 1), (2, 2)]


def test_what_is_observed_of_targets() -> None:
    observed = (np.array([1, 1, 0, 1], dtype=bool),)
    space, points = np.array([True, False, True]), np.array([False, True, False])
    windows = Windows((4,), 3, generated=(3,), observed=observed, space=space, points=points)
    assert [windows.locate(i) for i in range(len(windows))] == [(0, 0), (0, 1), (1, 0)]
    made = windows.observed_targets([1, 0, 2], (3,))
    assert made is not None
    none = [False] * 3
    assert made.tolist() == [
        [none, [True, False, True]],
        [[True, False, True], none],
        [[False, True, False]] * 2,
    ]
    in_time = Windows((4,), 3, generated=(3,), observed=observed)
    assert in_time.observed_targets([2], (3,)) is None  # generated, everywhere observed
    all_seen = Windows((4,), 2, observed=observed)
    assert all_seen.observed_targets([0], (3,)) is None


def test_skipped_batches_are_those_that_would_have_come_first() -> None:
    windows = Windows((22,), 3, generated=(8,))
    for seed in (None, 5):
        whole = [list(windows.batches(4, None if seed is None else np.random.default_rng(seed)))]
        rest = list(windows.batches(4, None if seed is None else np.random.default_rng(seed), skip=3))
        assert rest == whole[0][3:]
    assert list(windows.batches(4, skip=99)) == []


def test_generated_trajectories_that_are_too_short_have_no_window() -> None:
    windows = Windows((9,), 5, generated=(4, 4))
    assert (len(windows), windows.generated_count) == (5, 0)
    assert sorted(i for b in windows.batches(2, np.random.default_rng(0)) for i in b) == list(range(5))


def test_windows_that_cannot_be_are_refused() -> None:
    with pytest.raises(DataError, match=r"window of 5 frames.*simulation 7 has 4.*rollout_steps"):
        Windows((9, 4), 5).check((3, 7))
    observed = (np.array([1, 0, 0, 0, 1], dtype=bool),)
    with pytest.raises(DataError, match=r"no window of 3 frames.*an observed frame.*1 simulations of 5 to 5"):
        Windows((5,), 3, observed=observed).check((0,))
    with pytest.raises(DataError, match=r"that begins at the first frame"):
        Windows((5,), 3, observed=observed, first_only=True).check((0,))
    assert Windows((5,), 5, observed=observed).check((0,)).real_count == 1
    assert len(Windows((), 3).check(())) == 0


# --- noise

SCALARS = FieldLayout((FieldSpec("a"), FieldSpec("b", static=True), FieldSpec("c")), ("x", "y"))


def trajectory() -> NDArray[np.float64]:
    size = np.array([1.0, 50.0, 1e-3]).reshape(3, 1, 1, 1)
    return size * np.random.default_rng(1).standard_normal((3, 20, 16, 12)) + size


def test_noise_is_a_share_of_the_size_of_each_dynamic_component() -> None:
    clean = trajectory()
    noise = Sensors(noise=0.05).disturbed(clean, SCALARS, 4, 2) - clean
    assert np.all(noise[1] == 0.0)
    size = np.sqrt(np.mean(clean**2, axis=(1, 2, 3)))
    for c in (0, 2):
        assert np.sqrt(np.mean(noise[c] ** 2)) / size[c] == pytest.approx(0.05, rel=0.05)
        assert abs(noise[c].mean()) < 0.05 * size[c] * 4 / np.sqrt(noise[c].size)
    assert np.abs(np.corrcoef(noise[0].ravel(), noise[2].ravel())[0, 1]) < 0.06


def test_noise_belongs_to_its_seed_simulation_and_stream() -> None:
    clean = trajectory()
    made = [
        Sensors(noise=0.1, draws=draws).disturbed(clean, SCALARS, seed, simulation)
        for seed, simulation, draws in ((0, 0, 0), (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
    ]
    assert np.array_equal(made[0], made[1])
    for other in made[2:]:
        assert abs(np.corrcoef((other - clean)[0].ravel(), (made[0] - clean)[0].ravel())[0, 1]) < 0.06


def test_twice_the_level_is_twice_the_same_noise() -> None:
    clean = trajectory()
    once, twice = (Sensors(noise=n).disturbed(clean, SCALARS, 0, 0) - clean for n in (0.1, 0.2))
    assert np.allclose(twice, 2 * once, rtol=1e-9, atol=1e-12)


# --- configurations


def observed(*overrides: str) -> Observations:
    made = small(*HYBRID, *overrides).observed()
    assert made is not None
    return made


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("observations.space={mask: range, x: [0.0, 1.0]}",),
        ("observations.space={mask: random_points, count: 128}",),
        ("observations.time={mask: uniform, stride: 1}", "observations.noise.level=0.0"),
        ("observations.physical={}", "observations.synthetic.space=full"),
    ],
)
def test_what_shows_everything_is_no_observation_at_all(overrides: tuple[str, ...]) -> None:
    assert small(*HYBRID, *overrides).observed() is None


def test_both_models_share_the_sensors_of_the_block() -> None:
    made = observed("observations.space={mask: random_points, count: 9}", "observations.noise.snr_db=20")
    physical, synthetic = made.of("physical"), made.of("synthetic")
    assert physical.space is not None and synthetic.space is not None
    assert physical.space.sum() == 9 and np.array_equal(physical.space, synthetic.space)
    assert physical.noise == synthetic.noise == pytest.approx(0.1)
    assert (physical.draws, synthetic.draws, made.first_only) == (0, 0, False)
    again = observed("observations.space={mask: random_points, count: 9}", "observations.noise.snr_db=20")
    other = observed("observations.space={mask: random_points, count: 9}", "general.seed=1")
    assert np.array_equal(again.physical.space, physical.space)  # type: ignore[arg-type]
    assert not np.array_equal(other.physical.space, physical.space)  # type: ignore[arg-type]


def test_a_model_with_sensors_of_its_own_has_no_others() -> None:
    made = observed(
        "observations={noise: {level: 0.1}, space: {mask: random_points, count: 9}}",
        "observations.synthetic={space: {mask: random_points, count: 9}}",
    )
    assert (made.physical.noise, made.synthetic.noise) == (0.1, 0.0)
    assert (made.physical.draws, made.synthetic.draws) == (0, 2)
    assert not np.array_equal(made.physical.space, made.synthetic.space)  # type: ignore[arg-type]
    assert observed("observations.physical={noise: {level: 0.1}}").physical.draws == 1


def test_times_and_starts() -> None:
    made = observed("observations.time={mask: endpoints, start: 0.25}", "observations.starts=first")
    assert made.first_only
    assert np.flatnonzero(made.synthetic.frames(8)).tolist() == [0, 1, 7]
    assert observed("observations.starts=first").physical.see_everything


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["observations.space={mask: random_points, count: 129}"],
         "observations.space.count: 129 points are more than the 128 cells of the grid"),
        (["observations.space={mask: range, z: [0, 0.5]}"],
         "observations.space.z: the box has the axes x, y only"),
        (["observations.synthetic.space={mask: range, y: [0.0, 0.01]}"],
         "observations.synthetic.space.y: no cell has its centre between 0 and 0.01 of the axis y"),
        (["observations.physical.space={mask: center, fraction: 0.01}"],
         "observations.physical.space.fraction: no cell has its centre"),
        (["observations.space={mask: file, path: nowhere.npy}"],
         "observations.space.path: nowhere.npy cannot be read"),
        (["observations.time={mask: uniform, stride: 5}", "trainer.rollout_steps=5"],
         "trainer.rollout_steps: of the 64 frames of a trajectory observations.time shows the physical model "
         "13, and no window of 5 frames that begins at an observed frame has another one to compare with. "
         "Windows of 6 to 64 frames would have one."),
        (["observations.synthetic.time={mask: uniform, stride: 5}", "trainer.rollout_steps=4"],
         "observations.synthetic.time shows the synthetic model 13"),
        (["observations.time={mask: endpoints, end: 0.05}", "trainer.rollout_steps=9"],
         "Windows of 2 to 3, or 62 to 64 frames would have one"),
        (["observations.time={mask: custom, fractions: [0.5]}"],
         "No other length would do: observe more frames"),
        (["observations.time={mask: custom, fractions: [0.5, 1]}", "observations.starts=first"],
         "no window of 5 frames that begins at the first frame has another"),
        (["observations.time={mask: uniform, stride: 3}", "trainer.synthetic.curriculum={start: 3}"],
         "trainer.synthetic.curriculum: of the 64 frames"),
        (["trainer.synthetic.curriculum={end: 65}"],
         "trainer.synthetic.curriculum.end: a window of 65 frames needs trajectories of at least 65"),
        (["trainer.synthetic.curriculum={end: 9}", "trainer.hybrid.augmentation.trajectory_length=8"],
         "hold no window of trainer.synthetic.curriculum.end = 9 frames"),
    ],
)  # fmt: skip
def test_plans_that_would_show_nothing_are_refused(overrides: list[str], expected: str) -> None:
    assert expected in refusal(*HYBRID, "trainer.rollout_steps=5", *overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        ["observations.time={mask: uniform, stride: 3}", "trainer.synthetic.curriculum={start: 4}"],
        ["observations.synthetic.time={mask: uniform, stride: 5}", "general.mode=physical"],
        ["observations.physical.time={mask: uniform, stride: 5}", "general.mode=synthetic"],
        ["observations.time={mask: uniform, stride: 3}", "trainer.synthetic.curriculum={start: 2}",
         "general.mode=physical"],
    ],
)  # fmt: skip
def test_plans_that_show_something_are_not(overrides: list[str]) -> None:
    assert small(*HYBRID, "trainer.rollout_steps=5", *overrides).observed() is not None


def test_a_mask_from_a_file_is_read_where_the_configuration_says(tmp_path: Path) -> None:
    expected = np.zeros((16, 8), dtype=bool)
    expected[3, 2:5] = True
    np.save(tmp_path / "mask.npy", expected)
    config = small(f"observations.space={{mask: file, path: {tmp_path / 'mask.npy'}}}")
    assert config.observed() is not None
    assert np.array_equal(config.observed().physical.space, expected)  # type: ignore[union-attr, arg-type]
    assert parse_config(config.model_dump(mode="json")).observations == config.observations
