"""Files are whole or not there, say what they are, and are refused when they are not what is asked for."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray

import hyco
from hyco.errors import CheckpointError, DataError, StorageError
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import Grid
from hyco.storage import atomic
from hyco.storage.atomic import atomic_write, write_bytes, write_json, write_text
from hyco.storage.fingerprint import fingerprint
from hyco.storage.hdf5 import read_facts, read_trajectory, simulation_path, write_trajectory
from hyco.storage.memory import TrajectoryMemory

# ---------------------------------------------------------------------------------------- atomic writes


def test_a_write_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "a.txt"
    write_text(target, "one\n")
    write_text(target, "zwei ü\n")
    assert target.read_bytes() == "zwei ü\n".encode()
    assert os.listdir(target.parent) == ["a.txt"]


def test_the_temporary_is_hidden_beside_the_file_with_its_suffix(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a.png") as first, atomic_write(tmp_path / "a.png") as second:
        assert first != second
        assert first.parent == tmp_path and first.name.startswith(".") and first.suffix == ".png"
        first.write_text("1")
        second.write_text("2")
    assert (tmp_path / "a.png").read_text() == "1"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("mine"), CheckpointError("mine")])
def test_an_error_in_the_block_keeps_the_old_file_and_stays_what_it_is(
    tmp_path: Path, error: BaseException
) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(type(error)) as caught, atomic_write(target) as temporary:
        temporary.write_text("half of the n")
        raise error
    assert caught.value is error
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_an_error_about_another_file_is_not_taken_for_one_about_this_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a.txt"):
        (tmp_path / "other.txt").read_text()


@pytest.mark.parametrize(
    ("code", "advice"),
    [(errno.ENOSPC, "Make room"), (errno.EACCES, "permissions"), (errno.EIO, "Check the disk")],
)
def test_a_disk_error_says_what_to_do_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, advice: str
) -> None:
    target = tmp_path / "a.bin"
    write_bytes(target, b"old")

    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(atomic.os, "fsync", fail)
    with pytest.raises(StorageError) as caught:
        write_bytes(target, bytes(3 << 20))
    message = str(caught.value)
    assert caught.value.exit_status == 2
    assert str(target) in message and os.strerror(code) in message and advice in message
    assert "after 3.0 MiB" in message and "the previous file is untouched" in message and "\n" not in message
    assert target.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.bin"]


def test_a_path_that_cannot_be_is_a_storage_error(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "")
    with pytest.raises(StorageError, match="parents are directories"):
        write_text(tmp_path / "file" / "a.txt", "")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="folder: cannot be written"):
        write_text(tmp_path / "folder", "")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


LIMITED = """
import os, resource, signal, sys
from hyco.errors import StorageError
from hyco.storage.atomic import atomic_write, write_bytes

def killed(target):
    with atomic_write(target) as temporary:
        temporary.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

def full(target):
    write_bytes(target, bytes(100_000))

def full_and_silent(target):
    with atomic_write(target) as temporary, open(temporary, "wb", buffering=0) as file:
        file.write(bytes(100_000))
        raise RuntimeError("unexpected pos 576 vs 534")

def full_in_hdf5(target):
    import numpy as np
    from hyco.problem.fields import FieldLayout, FieldSpec
    from hyco.problem.grid import Grid
    from hyco.storage.hdf5 import write_trajectory
    write_trajectory(target, np.zeros((1, 50, 500)), grid=Grid.of(x=(1.0, 500)), dt=1.0, equation="heat",
                     layout=FieldLayout((FieldSpec("u"),), ("x",)), parameters={}, fingerprint="")

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    globals()[sys.argv[1]](sys.argv[2])
except StorageError as error:
    print(error)
    sys.exit(error.exit_status)
"""


@pytest.mark.parametrize("how", ["killed", "full", "full_and_silent", "full_in_hdf5"])
def test_a_killed_process_or_a_real_limit_leaves_the_old_file(tmp_path: Path, how: str) -> None:
    target = tmp_path / "a.bin"
    write_text(target, "old")
    root = str(Path(hyco.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, how, str(target)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert target.read_text() == "old"
    if how == "killed":
        assert done.returncode == -9
    else:
        assert done.returncode == 2, done.stderr
        assert "File too large (after 20000 bytes" in done.stdout and os.listdir(tmp_path) == ["a.bin"]


def test_json_is_strict_and_takes_numpy(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"a": np.float32(0.5), "b": np.arange(3), "c": tmp_path, "d": [None, True]})
    assert json.loads(target.read_text()) == {"a": 0.5, "b": [0, 1, 2], "c": str(tmp_path), "d": [None, True]}
    with pytest.raises(ValueError):
        write_json(target, {"a": float("nan")})
    with pytest.raises(TypeError, match="not object"):
        write_json(target, {"a": object()})
    assert json.loads(target.read_text())["a"] == 0.5


# ------------------------------------------------------------------------------------------ fingerprint

FACTS = {"dt": 0.5, "n": 3, "on": True, "none": None, "name": "nu", "sizes": (1, 2.5), "deep": {"a": [0]}}


def test_a_fingerprint_is_short_and_stable_across_processes_and_versions() -> None:
    assert fingerprint(FACTS) == "3b6ab8b3794b41f7"
    assert fingerprint({}) != fingerprint(FACTS)


@pytest.mark.parametrize(
    "same",
    [
        dict(reversed(FACTS.items())),
        FACTS | {"dt": np.float64(0.5)},
        FACTS | {"dt": np.array(0.5, np.float32)},
        FACTS | {"n": np.int8(3)},
        FACTS | {"n": 3.0},
        FACTS | {"on": np.bool_(True)},
        FACTS | {"sizes": [1.0, np.float64(2.5)]},
    ],
)
def test_order_and_types_of_numbers_do_not_count(same: dict[str, Any]) -> None:
    assert fingerprint(same) == fingerprint(FACTS)


@pytest.mark.parametrize(
    "other",
    [
        FACTS | {"dt": np.nextafter(0.5, 1.0)},
        FACTS | {"n": 4},
        FACTS | {"n": "3"},
        FACTS | {"on": False},
        FACTS | {"on": 1},
        FACTS | {"none": "None"},
        FACTS | {"none": False},
        FACTS | {"sizes": (2.5, 1)},
        FACTS | {"sizes": (1, (2.5,))},
        FACTS | {"deep": {"a": 0}},
        FACTS | {"deep": {"b": [0]}},
        FACTS | {"more": None},
        {k: v for k, v in FACTS.items() if k != "none"},
    ],
)
def test_every_value_and_nesting_counts(other: dict[str, Any]) -> None:
    assert fingerprint(other) != fingerprint(FACTS)


def test_arrays_count_by_shape_and_values() -> None:
    array = np.linspace(0.0, 1.0, 12).reshape(3, 4)
    name = fingerprint({"a": array})
    assert name == fingerprint({"a": np.asfortranarray(array)}) == fingerprint({"a": array[:, ::1].copy()})
    assert fingerprint({"a": np.arange(3)}) == fingerprint({"a": np.arange(3, dtype=np.float32)})
    moved = array.copy()
    moved[1, 2] = np.nextafter(moved[1, 2], 1.0)
    others = [moved, array.T, array.reshape(4, 3), array.ravel(), array[:2], array.astype(np.float32)]
    others += [array > 0.5, (array > 0.5).astype(int)]
    assert len({name, *(fingerprint({"a": other}) for other in others)}) == len(others) + 1
    big = np.array([2**60, 0])
    assert fingerprint({"a": big}) != fingerprint({"a": big + 1})


def test_dataclasses_count_by_their_fields_and_strangers_are_refused() -> None:
    grid = Grid.of(x=(10.0, 4))
    assert fingerprint({"grid": grid}) == fingerprint({"grid": Grid.of(x=(10, 4))})
    assert fingerprint({"grid": grid}) != fingerprint({"grid": Grid.of(x=(10.0, 5))})
    with pytest.raises(TypeError, match=r"facts\.a\[1\].*object"):
        fingerprint({"a": [0, object()]})
    with pytest.raises(TypeError, match="complex"):
        fingerprint({"a": np.zeros(2, complex)})


# ----------------------------------------------------------------------------------------- trajectories


@dataclass(frozen=True)
class Case:
    """A trajectory and the problem that it belongs to."""

    grid: Grid
    layout: FieldLayout
    array: np.ndarray
    dt: float = 0.5

    def write(self, path: Path, **changes: Any) -> Path:
        """Write it, with other values for some arguments."""
        facts = {"dt": self.dt, "equation": "burgers", "fingerprint": "f00", "extra": {"simulation": 3}}
        nu = np.full(self.grid.resolution, 0.25)
        write_trajectory(
            path,
            changes.pop("array", self.array),
            **{
                "grid": self.grid,
                "layout": self.layout,
                "parameters": {"scale": 2.0, "nu": nu},
                **facts,
                **changes,
            },
        )
        return path

    def read(self, path: Path) -> np.ndarray:
        """Read it back."""
        return read_trajectory(path, grid=self.grid, layout=self.layout, dt=self.dt)


def case(rank: int = 2, dtype: str = "float64", frames: int = 6) -> Case:
    """Velocity (periodic vector) and density (zero scalar) on a grid of unequal sides."""
    sides = {"x": (8.0, 4), "y": (10.0, 5), "z": (3.0, 3)}
    grid = Grid.of(**dict(list(sides.items())[:rank]))
    fields = (FieldSpec("velocity", vector=True, unit="length/time"), FieldSpec("density", boundary="zero"))
    shape = (rank + 1, frames, *grid.resolution)
    array = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    return Case(grid, FieldLayout(fields, grid.axes), array)


def test_simulations_have_numbered_files() -> None:
    assert simulation_path("data/burgers", 42) == Path("data/burgers/sim_000042.h5")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_trajectory_comes_back_bit_for_bit(tmp_path: Path, rank: int, dtype: str) -> None:
    written = case(rank, dtype)
    back = written.read(written.write(tmp_path / "a.h5"))
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, written.array)


def test_a_trajectory_of_many_chunks_comes_back(tmp_path: Path) -> None:
    grid = Grid.of(x=(1.0, 40_000))
    array = np.random.default_rng(1).standard_normal((1, 5, 40_000))
    written = Case(grid, FieldLayout((FieldSpec("u"),), ("x",)), array)
    path = written.write(tmp_path / "a.h5")
    with h5py.File(path) as file:
        assert file["u"].chunks == (1, 40_000) and file["u"].fletcher32
    np.testing.assert_array_equal(written.read(path), array)


def test_facts_are_read_without_values(tmp_path: Path) -> None:
    facts = read_facts(case(dtype="float32").write(tmp_path / "a.h5"))
    assert (facts.frames, facts.dt, facts.equation, facts.fingerprint) == (6, 0.5, "burgers", "f00")
    assert facts.grid == Grid.of(x=(8.0, 4), y=(10.0, 5))
    assert facts.dtype == np.float32 and facts.hyco_version == hyco.__version__
    assert facts.shapes == {"velocity": (6, 4, 5, 2), "density": (6, 4, 5)}
    assert facts.boundaries == {"velocity": "periodic", "density": "zero"}
    assert facts.parameters == {"scale": 2.0, "nu": "parameters/nu"}
    assert facts.extra == {"simulation": 3}


def test_xarray_shows_names_and_coordinates(tmp_path: Path) -> None:
    written = case()
    path = written.write(tmp_path / "a.h5")
    with xarray.open_dataset(path, engine="h5netcdf") as shown:
        assert shown["velocity"].dims == ("time", "x", "y", "vector")
        assert shown["density"].dims == ("time", "x", "y")
        assert list(shown["vector"].values) == ["x", "y"]
        np.testing.assert_allclose(shown["time"], np.arange(6) * 0.5)
        np.testing.assert_allclose(shown["y"], [1.0, 3.0, 5.0, 7.0, 9.0])
        chosen = shown["velocity"].sel(time=1.5, x=3.0, y=9.0, vector="y")
        assert chosen.item() == written.array[1, 3, 1, 4]
        assert shown["density"].attrs == {"boundary": "zero", "units": "1"}
        assert shown.attrs["dt"] == 0.5 and shown.attrs["format_version"] == 1
        assert json.loads(shown.attrs["parameters"])["scale"] == 2.0
    with xarray.open_dataset(path, engine="h5netcdf", group="parameters") as parameters:
        assert parameters["nu"].dims == ("x", "y") and float(parameters["nu"].max()) == 0.25


def test_what_is_no_trajectory_is_not_written(tmp_path: Path) -> None:
    good = case()
    for array in (
        good.array[:2],
        good.array[:, :0],
        good.array[..., :4],
        good.array.astype(int),
        good.array[0],
    ):
        with pytest.raises(ValueError, match="dims \\(field, time, x, y\\)"):
            good.write(tmp_path / "a.h5", array=array)
    assert os.listdir(tmp_path) == []


def other_grid(axis: str, size: float, resolution: int) -> Grid:
    """The grid of `case` with another side."""
    return Grid.of(**({"x": (8.0, 4), "y": (10.0, 5)} | {axis: (size, resolution)}))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"grid": other_grid("y", 10.0, 6)}, r"expected a grid of x=4, y=6 cells, got x=4, y=5"),
        ({"grid": other_grid("x", 9.0, 4)}, r"expected a box of x=9, y=10, got x=8, y=10"),
        ({"grid": Grid.of(x=(8.0, 4))}, r"expected a grid of x=4 cells, got x=4, y=5"),
        ({"dt": 0.25}, r"expected a time step of 0\.25, got 0\.5"),
        ({"fields": [FieldSpec("heat")]}, r"expected the field heat, got only velocity, density"),
        (
            {"fields": [FieldSpec("density", boundary="periodic")]},
            r"density with a periodic boundary, got a zero",
        ),
        (
            {"fields": [FieldSpec("density", vector=True, boundary="zero")]},
            r"density of shape \(6, 4, 5, 2\), got",
        ),
    ],
)
def test_a_trajectory_of_another_problem_is_refused(
    tmp_path: Path, asked: dict[str, Any], message: str
) -> None:
    written = case()
    path = written.write(tmp_path / "a.h5")
    fields = asked.pop("fields", None)
    if fields:
        asked["layout"] = FieldLayout(tuple(fields), ("x", "y"))
    with pytest.raises(DataError, match=message) as caught:
        replace(written, **asked).read(path)
    assert str(path) in str(caught.value) and "hyco generate" in str(caught.value)


def test_rounding_of_sizes_and_steps_is_no_difference(tmp_path: Path) -> None:
    written = case()
    path = written.write(tmp_path / "a.h5", dt=0.1 + 0.2 + 0.2)
    np.testing.assert_array_equal(written.read(path), written.array)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_no_number_is_named(tmp_path: Path, value: float) -> None:
    written = case()
    array = written.array.copy()
    array[0, 5, 0, 0] = array[1, 3, 2, 4] = value
    path = written.write(tmp_path / "a.h5", array=array)
    first = rf"the first one \({value}\) in velocity_y of frame 3 at cell \(x=2, y=4\)"
    with pytest.raises(DataError, match=rf"but 2 of \d+ are not, {first}"):
        written.read(path)


def test_missing_foreign_and_newer_files_are_refused(tmp_path: Path) -> None:
    written = case()
    with pytest.raises(DataError, match=r"no such file.*hyco generate"):
        read_facts(tmp_path / "sim_000009.h5")
    write_text(tmp_path / "text.h5", "time,x\n0,1\n")
    with pytest.raises(DataError, match=r"not an HDF5 file.*hyco generate"):
        written.read(tmp_path / "text.h5")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["velocity"] = np.zeros(3)
    with pytest.raises(DataError, match="something else"):
        written.read(tmp_path / "foreign.h5")
    path = written.write(tmp_path / "newer.h5")
    with h5py.File(path, "a") as file:
        file.attrs["format_version"] = 2
    with pytest.raises(DataError, match="expected format version 1, got 2"):
        written.read(path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    written = case()
    path = written.write(tmp_path / "a.h5")
    content = path.read_bytes()
    for length in (0, 1, len(content) // 4, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(
            DataError, match=r"a\.h5: expected a trajectory.*Delete it and run `hyco generate`"
        ):
            written.read(path)


def test_a_flipped_byte_of_a_value_is_found(tmp_path: Path) -> None:
    written = case()
    path = written.write(tmp_path / "a.h5")
    content = bytearray(path.read_bytes())
    value = written.array[1, 3, 2, 4].tobytes()
    assert content.count(value) == 1
    content[content.index(value) + 3] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"is damaged.*hyco generate"):
        written.read(path)


def test_no_flipped_byte_anywhere_is_read_as_something_else(tmp_path: Path) -> None:
    written = case(dtype="float32")
    path = written.write(tmp_path / "a.h5")
    content, facts = path.read_bytes(), read_facts(path)
    refused = 0
    for position in range(0, len(content), 29):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            np.testing.assert_array_equal(written.read(path), written.array)
            assert read_facts(path) == facts
        except DataError:
            refused += 1
    assert refused > 100


# ------------------------------------------------------------------------------------------- in memory


class Loader:
    """Counts how often each key was loaded; each item is its key and weighs `nbytes`."""

    def __init__(self, memory: TrajectoryMemory[int], nbytes: int = 10) -> None:
        self.memory, self.nbytes, self.loads = memory, nbytes, list[int]()

    def __call__(self, key: int, nbytes: int | None = None) -> int:
        """Ask the memory for a key."""

        def load() -> tuple[int, int]:
            self.loads.append(key)
            return key, self.nbytes if nbytes is None else nbytes

        return self.memory.get(key, load)


def test_the_least_recently_used_goes_first() -> None:
    memory = TrajectoryMemory[int](30)
    ask = Loader(memory)
    assert [ask(k) for k in (1, 2, 3, 1, 4)] == [1, 2, 3, 1, 4]
    assert ask.loads == [1, 2, 3, 4]
    assert [k in memory for k in (1, 2, 3, 4)] == [True, False, True, True]
    assert memory.nbytes == 30 and len(memory) == 3


def test_the_limit_holds_except_for_one_larger_item() -> None:
    memory = TrajectoryMemory[int](25)
    ask = Loader(memory)
    for key in range(10):
        ask(key)
        assert memory.nbytes <= 25
    ask(99, nbytes=100)
    assert len(memory) == 1 and memory.nbytes == 100 and 99 in memory
    ask(1)
    assert 99 not in memory and memory.nbytes == 10


def test_what_nobody_asks_for_is_dropped_in_time() -> None:
    now = 0.0
    memory = TrajectoryMemory[int](100, 5.0, clock=lambda: now)
    ask = Loader(memory)
    ask(1)
    ask(2)
    now = 4.0
    ask(1)
    now = 5.5
    ask(3)
    assert 1 in memory and 2 not in memory
    now = 100.0
    assert ask(1) == 1 and ask.loads == [1, 2, 3, 1]
    assert len(memory) == 1


def test_without_a_time_limit_items_stay() -> None:
    now = 0.0
    memory = TrajectoryMemory[int](100, clock=lambda: now)
    ask = Loader(memory)
    ask(1)
    now = 1e9
    ask(1)
    assert ask.loads == [1]


def test_a_load_that_fails_changes_nothing() -> None:
    memory = TrajectoryMemory[int](20)
    ask = Loader(memory)
    ask(1)
    ask(2)

    def fail() -> tuple[int, int]:
        raise DataError("damaged")

    with pytest.raises(DataError):
        memory.get(3, fail)
    assert 1 in memory and 2 in memory and 3 not in memory
