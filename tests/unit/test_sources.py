"""Files of published datasets: which trajectories they have, what is read of them, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.errors import DataError
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import Grid
from hyco.storage.sources import Source, WindowsAhead
from tests import public_files

LINE = Grid.of(x=(2.0, 8))
PLANE = Grid.of(x=(2.0, 8), y=(3.0, 6))
DT, FRAMES = 0.05, 7
FLOW = FieldLayout((FieldSpec("velocity", vector=True), FieldSpec("density")), PLANE.axes)


def random(*shape: int) -> NDArray[np.float64]:
    return np.random.default_rng(shape).standard_normal(shape)


def scalar(name: str = "velocity", grid: Grid = LINE, vector: bool = True) -> FieldLayout:
    return FieldLayout((FieldSpec(name, vector=vector),), grid.axes)


def source(path: Path, layout: FieldLayout | None = None, grid: Grid = LINE, **changes: Any) -> Source:
    settings: dict[str, Any] = {
        "format": "pdebench",
        "path": str(path),
        "names": {},
        "grid": grid,
        "layout": layout or scalar(),
        "dt": DT,
        "frames_used": FRAMES,
        "precision": "float64",
    }
    return Source(**{**settings, **changes})


def burgers(path: Path, **options: Any) -> NDArray[np.float64]:
    tensor = random(3, FRAMES, 8)
    public_files.pdebench_tensor(path, tensor, 2.0, DT, **options)
    return tensor


def flow_well(path: Path, count: int = 2, **options: Any) -> dict[str, NDArray[np.float64]]:
    density, velocity = random(count, FRAMES, 8, 6), random(count, FRAMES, 8, 6, 2)
    fields = {"t0_fields": {"density": density}, "t1_fields": {"velocity": velocity}}
    public_files.well(path, fields, (2.0, 3.0), DT, **options)
    return {"density": density, "velocity": velocity}


def test_a_tensor_of_pdebench(tmp_path: Path) -> None:
    tensor = burgers(tmp_path / "1D_Burgers_Sols_Nu0.01.hdf5", Nu=0.01)
    read = source(tmp_path / "1D_Burgers_Sols_Nu0.01.hdf5")
    assert len(read) == 3
    assert read.frames(2) == FRAMES
    assert read.nbytes(2) == FRAMES * 8 * 8
    assert np.array_equal(read.load(1), tensor[1][np.newaxis])
    found = read.windows([2, 0, 2], [3, 0, 1], 4)
    assert found.shape == (3, 1, 4, 8)
    expected = [tensor[2, 3:7], tensor[0, 0:4], tensor[2, 1:5]]
    assert np.array_equal(found[:, 0], expected)


def test_variables_of_pdebench(tmp_path: Path) -> None:
    variables = {
        name: random(2, FRAMES, 8, 6) + i for i, name in enumerate(("Vx", "Vy", "density", "pressure"))
    }
    public_files.pdebench_variables(tmp_path / "2D_CFD.hdf5", variables, (2.0, 3.0), DT)
    expected = np.stack([variables[n][1] for n in ("Vx", "Vy", "density")])
    for names in ({}, {"velocity": ("Vx", "Vy"), "density": "density"}):
        read = source(tmp_path / "2D_CFD.hdf5", FLOW, PLANE, names=names)
        assert np.array_equal(read.load(1), expected)
    swapped = source(
        tmp_path / "2D_CFD.hdf5", FLOW, PLANE, names={"velocity": ("Vy", "Vx"), "density": "pressure"}
    )
    assert np.array_equal(swapped.load(1)[0], variables["Vy"][1])
    assert np.array_equal(swapped.load(1)[2], variables["pressure"][1])


def test_incompressible_flow_of_pdebench(tmp_path: Path) -> None:
    velocity, particles, force = random(2, FRAMES, 8, 6, 2), random(2, FRAMES, 8, 6, 1), random(2, 8, 6, 2)
    public_files.pdebench_incompressible(tmp_path / "ns.h5", velocity, particles, force, DT)
    layout = FieldLayout((*FLOW.fields, FieldSpec("force", vector=True, static=True)), PLANE.axes)
    read = source(tmp_path / "ns.h5", layout, PLANE, names={"density": "particles"})
    found = read.windows([1], [2], 3)[0]
    assert np.array_equal(found[:2], np.moveaxis(velocity[1, 2:5], -1, 0))
    assert np.array_equal(found[2], particles[1, 2:5, ..., 0])
    assert np.array_equal(found[3:], np.repeat(np.moveaxis(force[1], -1, 0)[:, None], 3, axis=1))


@pytest.mark.parametrize("grid", [LINE, PLANE], ids=["line", "plane"])
def test_a_group_per_seed(tmp_path: Path, grid: Grid) -> None:
    data = random(3, FRAMES, *grid.resolution, 2)
    public_files.pdebench_seeds(tmp_path / "diff-react.h5", data, grid.size, DT, first=-1.0)
    layout = FieldLayout((FieldSpec("activator"), FieldSpec("inhibitor")), grid.axes)
    for names in ({}, {"activator": "data.0", "inhibitor": "data.1"}):
        read = source(tmp_path / "diff-react.h5", layout, grid, names=names)
        assert len(read) == 3
        assert np.array_equal(read.load(2), np.moveaxis(data[2], -1, 0))
    turned = source(
        tmp_path / "diff-react.h5", layout, grid, names={"activator": "data.1", "inhibitor": "data.0"}
    )
    assert np.array_equal(turned.load(2), np.moveaxis(data[2], -1, 0)[::-1])


def test_the_well(tmp_path: Path) -> None:
    made = [flow_well(tmp_path / "data/train" / f"part_{i}.hdf5", count=i + 1) for i in range(3)]
    for path in (tmp_path / "data/train", tmp_path / "data/*/part_?.hdf5"):
        read = source(path, FLOW, PLANE, format="well")
        assert len(read) == 6
        found = read.windows([5, 0], [1, 2], 4)
        assert np.array_equal(found[0, :2], np.moveaxis(made[2]["velocity"][2, 1:5], -1, 0))
        assert np.array_equal(found[1, 2], made[0]["density"][0, 2:6])


def test_what_does_not_vary_is_repeated(tmp_path: Path) -> None:
    """A field of The Well has the dims along which it varies alone."""
    density = random(2, FRAMES, 8, 6)
    parts = {"shared": random(8, 6), "own": random(2, 8, 6), "column": random(8)}
    varying = {
        "shared": {"sample_varying": False, "time_varying": False},
        "own": {"time_varying": False},
        "column": {"sample_varying": False, "time_varying": False, "dim_varying": [True, False]},
    }
    fields = {"t0_fields": {"density": density, **parts}, "t2_fields": {"D": random(2, FRAMES, 8, 6, 2, 2)}}
    public_files.well(tmp_path / "one.hdf5", fields, (2.0, 3.0), DT, varying=varying)
    layout = FieldLayout(
        (FieldSpec("density"), FieldSpec("stress"), *(FieldSpec(n, static=True) for n in parts)), PLANE.axes
    )
    found = source(tmp_path / "one.hdf5", layout, PLANE, format="well", names={"stress": "D.1.0"}).windows(
        [1], [2], 3
    )[0]
    assert np.array_equal(found[1], fields["t2_fields"]["D"][1, 2:5, ..., 1, 0])
    for number, expected in enumerate((parts["shared"], parts["own"][1], parts["column"][:, None]), start=2):
        assert np.array_equal(found[number], np.broadcast_to(expected, (3, 8, 6)))


def test_every_so_many_frames_and_cells(tmp_path: Path) -> None:
    tensor = burgers(tmp_path / "b.hdf5")
    coarse = source(
        tmp_path / "b.hdf5", grid=Grid.of(x=(2.0, 4)), dt=3 * DT, frames_used=3, time_stride=3, space_stride=2
    )
    assert np.array_equal(coarse.load(1)[0], tensor[1, ::3, ::2])
    assert np.array_equal(coarse.windows([1], [1], 2)[0, 0], tensor[1, 3::3, ::2])
    made = flow_well(tmp_path / "w.hdf5")
    read = source(tmp_path / "w.hdf5", FLOW, Grid.of(x=(2.0, 4), y=(3.0, 3)), format="well", space_stride=2)
    assert np.array_equal(read.load(1)[2], made["density"][1, :, ::2, ::2])


def test_the_precision_is_that_of_the_training(tmp_path: Path) -> None:
    tensor = burgers(tmp_path / "b.hdf5")
    assert np.array_equal(source(tmp_path / "b.hdf5", precision="float32").load(0)[0], tensor[0].astype("f4"))
    burgers(tmp_path / "single.hdf5", dtype="f4")
    read = source(tmp_path / "single.hdf5").load(0)
    assert read.dtype == np.float64
    assert np.array_equal(read[0], tensor[0].astype("f4"))


def test_only_the_frames_of_windows_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    burgers(tmp_path / "b.hdf5")
    read = source(tmp_path / "b.hdf5")
    read.prepare([0, 1])
    values: list[int] = []
    original = h5py.Dataset.__getitem__

    def counted(dataset: h5py.Dataset, *arguments: Any, **options: Any) -> Any:
        found = original(dataset, *arguments, **options)
        values.append(np.size(found))
        return found

    monkeypatch.setattr(h5py.Dataset, "__getitem__", counted)
    read.windows([1, 0], [2, 3], 2)
    assert values == [2 * 8, 2 * 8]


def test_a_changed_file_has_another_fingerprint(tmp_path: Path) -> None:
    burgers(tmp_path / "b.hdf5")
    before = [source(tmp_path / "b.hdf5").fingerprint(i) for i in range(3)]
    assert len(set(before)) == 3
    os.rename(tmp_path / "b.hdf5", tmp_path / "elsewhere.hdf5")
    assert [source(tmp_path / "elsewhere.hdf5").fingerprint(i) for i in range(3)] == before
    assert source(tmp_path / "elsewhere.hdf5", frames_used=5).fingerprint(0) == before[0]
    burgers(tmp_path / "b.hdf5")
    os.utime(tmp_path / "b.hdf5", ns=(0, 7))
    assert source(tmp_path / "b.hdf5").fingerprint(0) != before[0]


def test_windows_are_read_ahead_and_are_the_same(tmp_path: Path) -> None:
    tensor = burgers(tmp_path / "b.hdf5")

    class Noted:
        def __init__(self) -> None:
            self.asked: list[Any] = []

        def windows(self, simulations: Any, starts: Any, steps: int) -> NDArray[Any]:
            self.asked.append((tuple(simulations), tuple(starts)))
            return source(tmp_path / "b.hdf5").windows(simulations, starts, steps)

    noted = Noted()
    ahead = WindowsAhead(noted)
    requests: list[Any] = [([0], [0], 3), None, ([1, 2], [1, 0], 3), ([2], [4], 3)]
    for request, _ in zip(requests, ahead.along(requests), strict=False):
        if request is not None:
            expected = [tensor[s, t : t + 3] for s, t in zip(*request[:2], strict=True)]
            assert np.array_equal(ahead.windows(*request)[:, 0], expected)
    assert noted.asked == [((0,), (0,)), ((1, 2), (1, 0)), ((2,), (4,))]
    stopped = ahead.along(requests)
    next(stopped)
    stopped.close()
    assert not ahead._coming


def damaged(path: Path, **changes: Any) -> None:
    """Other contents of some datasets of a file."""
    with h5py.File(path, "r+") as file:
        for name, values in changes.items():
            key = name.replace("_coordinate", "-coordinate").replace("__", "/")
            attributes = dict(file[key].attrs)
            del file[key]
            file[key] = values
            file[key].attrs.update(attributes)


def wrong_time(path: Path) -> Source:
    burgers(path)
    damaged(path, t_coordinate=np.arange(FRAMES + 1.0) ** 2)
    return source(path)


def wrong_cells(path: Path) -> Source:
    burgers(path)
    damaged(path, x_coordinate=np.linspace(0, 1, 8) ** 2)
    return source(path)


def cut(path: Path) -> Source:
    burgers(path)
    path.write_bytes(path.read_bytes()[:-200])
    return source(path)


def text(path: Path) -> Source:
    path.write_text("not HDF5")
    return source(path)


def steady(path: Path) -> Source:
    public_files.pdebench_darcy(path)
    return source(
        path, scalar("pressure", vector=False), Grid.of(x=(1.0, 8), y=(1.0, 8)), names={"pressure": "tensor"}
    )


def empty(path: Path) -> Source:
    with h5py.File(path, "w") as file:
        file["x-coordinate"] = np.arange(3.0)
    return source(path)


def of_burgers(**changes: Any) -> Callable[[Path], Source]:
    def make(path: Path) -> Source:
        burgers(path)
        return source(path, **changes)

    return make


def of_well(made: dict[str, Any], **changes: Any) -> Callable[[Path], Source]:
    def make(path: Path) -> Source:
        flow_well(path, **made)
        return source(path, **{"layout": FLOW, "grid": PLANE, "format": "well", **changes})

    return make


def ragged(path: Path) -> Source:
    flow_well(path)
    damaged(path, dimensions__time=np.linspace(0, 1, FRAMES) ** 3)
    return source(path, FLOW, PLANE, format="well")


def misshapen(path: Path) -> Source:
    flow_well(path)
    damaged(path, t0_fields__density=np.ones((2, FRAMES, 8)))
    return source(path, FLOW, PLANE, format="well")


def fewer_than_said(path: Path) -> Source:
    flow_well(path)
    with h5py.File(path, "r+") as file:
        file.attrs["n_trajectories"] = 3
    return source(path, FLOW, PLANE, format="well")


def other_contents(**changes: Any) -> Callable[[Path], Source]:
    def make(path: Path) -> Source:
        burgers(path)
        damaged(path, **changes)
        return source(path)

    return make


DENSITY = scalar("density", vector=False)
REFUSED: dict[str, tuple[Callable[[Path], Source], str]] = {
    "there is no file": (source, "is a path of no such files"),
    "times at unequal distances": (wrong_time, "expected times at equal, growing distances"),
    "cells at unequal distances": (wrong_cells, "expected coordinates x at equal"),
    "a file that is cut short": (cut, "cut short"),
    "another kind of file": (text, "of another kind"),
    "a steady problem": (steady, "a steady problem, such as Darcy"),
    "no variables": (empty, "found x-coordinate"),
    "another time step": (of_burgers(dt=0.1), "model.physical.dt is 0.1, but frames are 0.05 apart"),
    "another stride": (of_burgers(time_stride=2, frames_used=3), "frames are 0.1 apart .1 of 2 of the 7 in"),
    "another size": (
        of_burgers(grid=Grid.of(x=(1.0, 8))),
        r"x.size is 1, but 8 cells 0.25 apart make 2. Write",
    ),
    "another resolution": (
        of_burgers(grid=Grid.of(x=(2.0, 4))),
        r"resolution is 4, but there are 8 .*resolution: 8",
    ),
    "a stride that does not divide": (
        of_burgers(grid=Grid.of(x=(2.0, 2)), space_stride=3),
        "space_stride is 3, which does not divide the 8 cells along x",
    ),
    "more frames": (
        of_burgers(frames_used=8),
        "at least 8 frames .*found 7. Write data.trajectory_length: 7",
    ),
    "another field": (
        of_burgers(layout=DENSITY, names={"density": "rho"}),
        "'rho' for the field density, found tensor",
    ),
    "another rank": (
        of_burgers(grid=PLANE, layout=FLOW),
        r"'velocity' for the field velocity, found none, and on no grid .* tensor \(3, 7, 8\)",
    ),
    "a component that is not there": (
        of_burgers(names={"velocity": "tensor.1"}),
        "a component of tensor, which has none",
    ),
    "too many components": (of_burgers(names={"velocity": ("tensor", "tensor")}), "expected 1 components"),
    "static fields that vary": (
        of_burgers(layout=FieldLayout((FieldSpec("tensor", static=True),), ("x",))),
        "to be given, but /tensor varies",
    ),
    "a well's boundary": (
        of_well({"boundary": {"y": "WALL"}}),
        "velocity is periodic, but the axis y is not",
    ),
    "a well's grid": (of_well({"grid_type": "spherical"}), "grid_type 'spherical'"),
    "a well's rank": (of_well({}, grid=LINE, layout=scalar()), "n_spatial_dims 2"),
    "a well's times": (ragged, "expected times at equal"),
    "a well's field of another shape": (
        misshapen,
        r"expected density as values in time and space.*\(2, 7, 8\)",
    ),
    "a field of a well that is missing": (
        of_well({}, layout=scalar("pressure", vector=False)),
        "'pressure' for the field pressure, found density, velocity",
    ),
    "times that are a number": (other_contents(t_coordinate=1.0), "expected times of 7 frames, found 1"),
    "coordinates that are a table": (
        other_contents(x_coordinate=np.ones((8, 2))),
        r"expected coordinates x as one list of numbers, found the shape \(8, 2\)",
    ),
    "a pdebench file as a well": (of_burgers(format="well"), "expected a file in the well layout"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused(what: str, tmp_path: Path) -> None:
    make, words = REFUSED[what]
    path = tmp_path / "file.hdf5"
    with pytest.raises(DataError, match=words) as caught:
        make(path).prepare([0])
    assert "file.hdf5" in str(caught.value)


def test_fewer_trajectories_than_said(tmp_path: Path) -> None:
    read = fewer_than_said(tmp_path / "w.hdf5")
    read.prepare([0, 1])
    with pytest.raises(DataError, match=r"simulation 2 .*the file holds 2, fewer than it says"):
        read.prepare([2])


def test_numbers_are_real(tmp_path: Path) -> None:
    burgers(tmp_path / "b.hdf5")
    damaged(tmp_path / "b.hdf5", tensor=random(3, FRAMES, 8) + 1j)
    with pytest.raises(DataError, match=r"b\.hdf5: expected real numbers in /tensor, found complex128"):
        source(tmp_path / "b.hdf5").load(0)


def test_a_pattern_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"b\*\.h5 is a pattern of no such files"):
        source(tmp_path / "b*.h5").prepare([0])


@pytest.mark.parametrize("single", [False, True], ids=["left out", "one entry"])
def test_an_axis_along_which_a_field_does_not_vary(single: bool, tmp_path: Path) -> None:
    """The specification leaves it out; the reader of the authors wants one entry."""
    column, density = random(2, 8), random(2, FRAMES, 8, 6)
    fields = {"t0_fields": {"density": density, "column": column[..., None] if single else column}}
    said = {"column": {"dim_varying": [True, False], "time_varying": False}}
    public_files.well(tmp_path / "w.hdf5", fields, (2.0, 3.0), DT, varying=said)
    layout = FieldLayout((FieldSpec("density"), FieldSpec("column", static=True)), PLANE.axes)
    found = source(tmp_path / "w.hdf5", layout, PLANE, format="well").load(1)
    assert np.array_equal(found[0], density[1])
    assert np.array_equal(found[1], np.broadcast_to(column[1][None, :, None], (FRAMES, 8, 6)))


def test_fields_of_one_name_in_two_groups(tmp_path: Path) -> None:
    scalars, vectors = random(2, FRAMES, 8, 6), random(2, FRAMES, 8, 6, 2)
    fields = {"t0_fields": {"flow": scalars}, "t1_fields": {"flow": vectors}}
    public_files.well(tmp_path / "w.hdf5", fields, (2.0, 3.0), DT)
    names = {"velocity": "t1_fields/flow", "density": "flow"}
    found = source(tmp_path / "w.hdf5", FLOW, PLANE, format="well", names=names).load(0)
    assert np.array_equal(found, [*np.moveaxis(vectors[0], -1, 0), scalars[0]])


def test_a_boundary_is_nobody_s_where_there_is_no_equation(tmp_path: Path) -> None:
    flow_well(tmp_path / "w.hdf5", boundary={"y": "WALL"})
    source(tmp_path / "w.hdf5", FLOW, PLANE, format="well", boundaries=False).prepare([0, 1])


def test_a_sample_that_is_not_there(tmp_path: Path) -> None:
    burgers(tmp_path / "b.hdf5")
    with pytest.raises(DataError, match=r"no simulation 3; .* has 3, 0 to 2. Set data.num_simulations to 3"):
        source(tmp_path / "b.hdf5").prepare([2, 3])


def test_values_that_are_not_finite_are_named_when_they_are_read(tmp_path: Path) -> None:
    tensor = burgers(tmp_path / "b.hdf5")
    tensor[1, 4, 6] = np.nan
    with h5py.File(tmp_path / "b.hdf5", "r+") as file:
        file["tensor"][...] = tensor
    read = source(tmp_path / "b.hdf5")
    read.windows([1, 0], [0, 2], 4)
    with pytest.raises(
        DataError, match=r"simulation 1 \(sample 1 of .*nan in velocity_x of frame 4 at cell \(x=6\)"
    ):
        read.windows([1, 0], [2, 2], 4)
    thinned = source(tmp_path / "b.hdf5", time_stride=2, dt=2 * DT, frames_used=4)
    with pytest.raises(DataError, match=r"frame 2 \(4 of the file\)"):
        thinned.load(1)
