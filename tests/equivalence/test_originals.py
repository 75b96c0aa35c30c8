"""The original's files, read as hyco has them, against PhiFlow, PyTorch, and what was recorded with them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from phi.field import Scene
from phiml import math

from hyco.compat.checkpoints import convert_checkpoint
from hyco.compat.original_networks import (
    build_network,
    continue_training,
    read_network,
)
from hyco.compat.originals import (
    convert_scene,
    convert_trajectories,
    in_force,
    read_cache,
    read_parameters,
    read_trajectory,
)
from hyco.compat.phiml_files import read_phiml
from hyco.compat.scenes import read_scene, write_scene
from hyco.config import Config
from hyco.errors import CheckpointError, DataError, StorageError
from hyco.interfaces import Batch
from hyco.migration.factory import Factory
from hyco.migration.registry import use_mode
from hyco.problem.equations import EQUATIONS
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import Boundary, Grid
from hyco.storage.hdf5 import read_facts, simulation_path
from hyco.storage.hdf5 import read_trajectory as read_hdf5
from hyco.testing import assert_equivalent
from tests.originals import (
    CACHES,
    FIRST,
    NETWORKS,
    SCENES,
    SECOND,
    TRAJECTORIES,
    config_of,
    recorded_output,
)
from tests.sides import module

BURGERS = EQUATIONS["burgers"]
WEIGHTS = FIRST / "models/burgers_synthetic_model_hybrid_best.pth"
PARAMETERS = {
    FIRST: FIRST / "models/burgers_physical_model.pth",
    SECOND: SECOND / "models/burgers_physical_model_2d.npz",
}
SUFFIXES = {"legacy": ".pth", "phiml": ".phiml"}
by_name = pytest.mark.parametrize("folder", [FIRST, SECOND], ids=lambda path: path.name)


# --- networks


@by_name
def test_a_network_gives_the_recorded_output(folder: Path, side: Any, precision: str) -> None:
    config = config_of(folder)
    original = read_network(NETWORKS[folder])
    model = build_network(original, config.grid, config.layout, side, precision=precision)
    states, outputs = recorded_output(folder)
    computed = model.predict(states.astype(precision), 1)[:, :, 1].astype("float32")
    assert_equivalent(outputs, computed, "output of an original network")
    assert np.abs(computed - outputs).max() < 1e-5


@by_name
def test_names_and_shapes_tell_the_architecture_of_the_configuration(folder: Path) -> None:
    config, original = config_of(folder), read_network(NETWORKS[folder])
    assert original.architecture == config.model.synthetic.architecture.model_dump()
    assert (original.rank, original.inputs, original.outputs) == (2, 2, 2)


def test_a_bare_state_is_read_too() -> None:
    bare, whole = read_network(WEIGHTS), read_network(NETWORKS[FIRST])
    assert bare.architecture == whole.architecture and list(bare.weights) == list(whole.weights)
    assert not bare.moments and bare.epoch is None
    assert len(whole.moments) == 26 and (whole.epoch, round(whole.loss or 0, 3)) == (0, 0.605)
    assert any(not np.array_equal(bare.weights[n], whole.weights[n]) for n in bare.weights)


@by_name
def test_a_network_becomes_a_checkpoint_of_either_mode(folder: Path, side: str, tmp_path: Path) -> None:
    """The configuration's own surrogate loads it, and gives the recorded output."""
    source, target = NETWORKS[folder], tmp_path / f"surrogate{SUFFIXES[side]}"
    before = source.read_bytes()
    done = convert_checkpoint(source, target, config=config_of(folder))
    assert done.kind == "unet network" and done.output is not None and done.output.passed
    with use_mode(side):
        model = Factory(config_of(folder)).synthetic_model()
    model.load(target)
    states, outputs = recorded_output(folder)
    assert_equivalent(outputs, model.predict(states, 1)[:, :, 1], "output of an original network")
    assert source.read_bytes() == before and list(tmp_path.iterdir()) == [target]


def test_files_that_are_no_networks_are_refused(tmp_path: Path) -> None:
    config = config_of(FIRST)
    for path, why in (
        (PARAMETERS[FIRST], "expected the weights of a network by name, found learnable_parameters"),
        (CACHES[0], "expected the weights of a network by name, found tensor_data"),
        (SECOND / "data/sim_0000.npz", "cannot be read as one"),
        (tmp_path / "none.pth", "no such file"),
    ):
        with pytest.raises(CheckpointError, match=why):
            read_network(path)
    state = torch.load(WEIGHTS, weights_only=True)
    for change, why in (
        ({"net.inc.double_conv.0.weight": None}, "there is no 'inc.double_conv.0.weight'"),
        ({"net.up1.conv.double_conv.3.bias": None}, "missing up1.conv.double_conv.3.bias"),
        ({"net.outc.bias": torch.zeros(3)}, r"outc.bias: expected shape \(2,\), found \(3,\)"),
        ({"net.extra": torch.zeros(3)}, "unexpected extra"),
        ({"net.outc.bias": torch.full((2,), torch.nan)}, "outc.bias: not finite"),
    ):
        changed = {k: v for k, v in {**state, **change}.items() if v is not None}
        torch.save(changed, tmp_path / "changed.pth")
        with pytest.raises(CheckpointError, match=why):
            convert_checkpoint(tmp_path / "changed.pth", tmp_path / "made.pth", config=config)
        assert not (tmp_path / "made.pth").exists()


def test_a_network_that_does_not_fit_the_configuration_is_refused(tmp_path: Path) -> None:
    heat = config_of(
        FIRST,
        "model.physical.name=heat",
        "model.physical.parameters={conductivity: {value: 1.0}}",
        "data.fields_scheme=null",
        "trainer.physical.learnable_parameters=[{name: conductivity, initial_guess: 0.1}]",
    )
    with pytest.raises(CheckpointError, match="expected a network of 2 axes that makes 1"):
        convert_checkpoint(NETWORKS[FIRST], tmp_path / "made.phiml", config=heat)
    with pytest.raises(CheckpointError, match=r"whose name ends in \.pth or"):
        convert_checkpoint(NETWORKS[FIRST], tmp_path / "made.npz", config=config_of(FIRST))
    assert not list(tmp_path.iterdir())


# --- Adam's state


def trainer_of(side: Any, precision: str) -> Any:
    """A trainer of the original's network, put where the original was."""
    config, original = config_of(FIRST), read_network(NETWORKS[FIRST])
    model = build_network(original, config.grid, config.layout, side, precision=precision)
    trainer = module(side, "trainers.synthetic").SyntheticTrainer(model, schedule=lambda epoch: 1e-4)
    continue_training(original, trainer)
    return trainer


@pytest.mark.parametrize("steps", [1, 3])
def test_a_further_step_is_that_of_pytorchs_adam(side: str, steps: int) -> None:
    """Restored from the very file by PyTorch itself, on the same gradients."""
    stored = torch.load(NETWORKS[FIRST], weights_only=True)
    trainer = trainer_of(side, "float32")
    network = trainer.model.network
    parameters = [
        torch.nn.Parameter(stored["model_state_dict"][f"net.{n}"].clone())
        for n, _ in network.named_parameters()
    ]
    reference = torch.optim.Adam(parameters, lr=1e-3)
    reference.load_state_dict(stored["optimizer_state_dict"])
    rate = reference.param_groups[0]["lr"]
    assert rate == pytest.approx(1e-4)
    trainer.set_learning_rate(rate)
    generator = torch.Generator().manual_seed(3)
    for _ in range(steps):
        for mine, theirs in zip(network.parameters(), parameters, strict=True):
            theirs.grad = torch.randn(theirs.shape, generator=generator)
            mine.grad = theirs.grad.clone()
        reference.step()
        optimiser_of(trainer).step()
    names = [name for name, _ in network.named_parameters()]
    expected = {name: p.detach().numpy() for name, p in zip(names, parameters, strict=True)}
    found = {name: trainer.weights()[name] for name in names}
    assert_equivalent(expected, found, "updated weights")
    moved = stored["model_state_dict"]["net.outc.weight"].numpy() - found["outc.weight"]
    assert np.abs(moved).max() > 1e-5


def optimiser_of(trainer: Any) -> Any:
    """The optimiser of PyTorch that a trainer of either side has."""
    return getattr(trainer, "_descent", trainer)._optimiser


def test_a_fresh_adam_would_step_elsewhere(side: str) -> None:
    """Else the test above would show nothing of the moments."""
    trainer, fresh = trainer_of(side, "float32"), trainer_of(side, "float32")
    fresh.put_moments({name: np.zeros_like(m) for name, m in fresh.moments().items()})
    for one in (trainer, fresh):
        for p in one.model.network.parameters():
            p.grad = torch.ones_like(p)
        optimiser_of(one).step()
    assert np.abs(trainer.weights()["outc.weight"] - fresh.weights()["outc.weight"]).max() > 1e-5


def test_both_modes_go_on_alike(rng: np.random.Generator) -> None:
    config = config_of(FIRST)
    recorded = read_scene(SCENES[0]).arranged(config.grid, config.layout, 0.5).astype("float64")
    windows = np.stack([recorded[:, k : k + 3] for k in range(4)])
    weights = {}
    for side in ("legacy", "phiml"):
        trainer = trainer_of(side, "float64")
        arrays = trainer.model.arrays
        batch = Batch(arrays.state(windows[:, :, 0]), arrays.trajectory(windows[:, :, 1:]), 4)
        for _ in range(2):
            trainer.update(batch)
        assert trainer.epochs_done == 1
        weights[side] = trainer.weights()
    assert_equivalent(weights["legacy"], weights["phiml"], "updated weights with normalisation")


def test_weights_alone_have_nothing_to_go_on_from(side: Any) -> None:
    trainer = trainer_of(side, "float32")
    with pytest.raises(CheckpointError, match="weights only"):
        continue_training(read_network(WEIGHTS), trainer)


# --- learned parameters


@by_name
def test_learned_parameters_load_into_either_mode(folder: Path, side: str, tmp_path: Path) -> None:
    values = read_parameters(PARAMETERS[folder], BURGERS)
    assert {name: v.shape for name, v in values.items()} == {"diffusion_coeff": (32, 32)}
    config = config_of(
        folder,
        *(f"model.physical.domain.{a}.resolution=32" for a in "xy"),
        "model.synthetic.architecture.levels=2",
    )
    target = tmp_path / f"physical{SUFFIXES[side]}"
    convert_checkpoint(PARAMETERS[folder], target, config=config)
    with use_mode(side):
        model = Factory(config).physical_model()
    model.load(target)
    loaded = model.arrays.numpy(model.parameters["diffusion_coeff"])
    expected = values["diffusion_coeff"]
    if folder == FIRST:
        expected = in_force(values, BURGERS, config.grid, 0.5)["diffusion_coeff"]
        assert values["diffusion_coeff"].min() < 0 and expected.min() == 0.0
    assert np.array_equal(loaded, expected.astype("float32"))


def test_the_numbers_are_those_of_the_files() -> None:
    trusted = torch.load(PARAMETERS[FIRST], weights_only=True)["learnable_parameters"][0].numpy()
    assert np.array_equal(read_parameters(PARAMETERS[FIRST], BURGERS)["diffusion_coeff"], trusted)
    by_phiml = math.load(str(PARAMETERS[SECOND]))
    named = read_phiml(PARAMETERS[SECOND])
    assert named.items == {"field": ("diffusion_field",)} and set(named.dims) == set(by_phiml.shape.names)
    assert np.array_equal(named.ordered("field"), by_phiml.numpy("field,x,y"))


def test_parameters_of_a_halved_grid_say_so(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"grid \(32, 32\), but the configuration's is \(64, 64\).*downsample_factor"
    ):
        convert_checkpoint(PARAMETERS[SECOND], tmp_path / "made.pth", config=config_of(SECOND))
    with pytest.raises(CheckpointError, match="no 'learnable_parameters'"):
        read_parameters(NETWORKS[FIRST], BURGERS)
    with pytest.raises(
        CheckpointError, match="expected the parameters Du, Dv, feed, kill of gray_scott, found 1"
    ):
        read_parameters(PARAMETERS[FIRST], EQUATIONS["gray_scott"])
    assert not list(tmp_path.iterdir())


# --- trajectories


@pytest.mark.parametrize("folder", SCENES, ids=lambda path: path.name)
def test_a_scene_is_read_as_phiflow_reads_it(folder: Path) -> None:
    read, scene = read_scene(folder), Scene.at(str(folder))
    assert (read.dt, read.boundaries) == (0.5, {"velocity": "periodic"})
    assert read.grid == Grid.of(x=(100, 32), y=(100, 32))
    assert len(scene.frames) == 13
    for frame in scene.frames:
        field = scene.read("velocity", frame=frame, convert_to_backend=False)
        for i, axis in enumerate("xy"):
            expected = field.values.numpy("x,y,vector")[..., i]
            assert np.array_equal(read.components[f"velocity_{axis}"][frame], expected)


def test_a_cache_holds_the_first_frames_of_its_scene() -> None:
    for scene, cache in zip(SCENES, CACHES, strict=False):
        whole, cached = read_scene(scene), read_cache(cache)
        assert (cached.grid, cached.dt, cached.boundaries) == (whole.grid, whole.dt, whole.boundaries)
        for name, values in cached.components.items():
            assert values.shape == (12, 32, 32)
            assert np.array_equal(values, whole.components[name][:12])


@pytest.mark.parametrize("path", TRAJECTORIES, ids=lambda path: path.name)
def test_a_trajectory_of_the_second_age_is_read_as_phiml_reads_it(path: Path) -> None:
    trusted = math.load(str(path))
    read = read_trajectory(path)
    assert trusted.shape.get_item_names("field") == ("vel_x", "vel_y") and read.grid is None
    for i, name in enumerate(("velocity_x", "velocity_y")):
        assert np.array_equal(read.components[name], trusted.numpy("field,time,x,y")[i])


KINDS = {"scenes": FIRST / "scenes", "cache": FIRST / "cache", "npz": SECOND / "data"}


def folder_of(kind: str) -> Path:
    return SECOND if kind == "npz" else FIRST


@pytest.mark.parametrize("kind", KINDS)
def test_converted_trajectories_hold_the_same_bits(kind: str, tmp_path: Path) -> None:
    config = config_of(folder_of(kind))
    written = convert_trajectories(KINDS[kind], tmp_path / "data", config)
    sources = sorted(KINDS[kind].iterdir())
    assert written == [simulation_path(tmp_path / "data", n) for n in range(len(sources))]
    for source, path in zip(sources, written, strict=True):
        array = read_hdf5(path, grid=config.grid, layout=config.layout, dt=config.model.physical.dt)
        facts, expected = read_facts(path), read_trajectory(source).components
        assert array.dtype == np.float32 and facts.extra["converted_from"] == source.name
        assert all(np.array_equal(array[i], expected[c]) for i, c in enumerate(config.layout.components))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]


def test_both_modes_load_what_was_converted(side: str, tmp_path: Path) -> None:
    convert_trajectories(FIRST / "scenes", tmp_path / "data", config_of(FIRST))
    config = config_of(
        FIRST, f"data.data_dir={tmp_path / 'data'}", f"data.cache_dir={tmp_path / 'cache'}", "cache.workers=0"
    )
    with use_mode(side):
        manager = Factory(config).data_manager()
    loaded = manager.arrays.numpy(manager.load(1))[0]
    assert np.array_equal(loaded, read_scene(SCENES[1]).arranged(config.grid, config.layout, 0.5))


def refused(source: Path, target: Path, config: Config, why: str) -> None:
    """Refused in one line, and nothing is left where it would have been written."""
    before = sorted(target.parent.rglob("*"))
    with pytest.raises(DataError, match=why) as caught:
        convert_trajectories(source, target, config)
    assert "\n" not in str(caught.value)
    assert sorted(target.parent.rglob("*")) == before


def test_data_of_another_problem_are_refused(tmp_path: Path) -> None:
    target = tmp_path / "made"
    scenes, npz = FIRST / "scenes", SECOND / "data"
    refused(scenes, target, config_of(FIRST, "model.physical.dt=0.25"), "time step of 0.25, found 0.5")
    refused(
        scenes, target, config_of(FIRST, "model.physical.domain.x.size=50"), r"size \(50.0, 100.0\), found"
    )
    refused(scenes, target, config_of(SECOND), r"expected \(64, 64\) cells, found \(32, 32\)")
    refused(npz, target, config_of(FIRST), r"expected \(32, 32\) cells, found \(64, 64\)")
    walls = config_of(FIRST, "model.physical.boundaries={velocity: zero-gradient}")
    refused(scenes, target, walls, "velocity with a zero-gradient boundary, found a periodic one")
    gray_scott = config_of(
        FIRST,
        "model.physical.name=gray_scott",
        "model.physical.parameters={Du: {value: 1}, Dv: {value: 1}, feed: {value: 1}, kill: {value: 1}}",
        "data.fields_scheme=null",
        "trainer.physical.learnable_parameters=[{name: Du, initial_guess: 0.1}]",
    )
    refused(scenes, target, gray_scott, "expected the components u, v, found velocity_x, velocity_y")


def test_damaged_mixed_and_missing_folders_are_refused(tmp_path: Path) -> None:
    source, target, config = tmp_path / "source", tmp_path / "made", config_of(FIRST)
    refused(source, target, config, "expected a folder of trajectories, but there is none")
    shutil.copytree(FIRST / "scenes", source)
    damaged = source / "sim_000002" / "velocity_000005.npz"
    data = damaged.read_bytes()
    damaged.write_bytes(data[: len(data) // 2])
    refused(source, target, config, "velocity_000005.npz: expected a NumPy archive")
    damaged.unlink()
    refused(source, target, config, "frame 5 of velocity is missing")
    damaged.write_bytes(data)
    shutil.copy(CACHES[0], source)
    refused(source, target, config, r"Scene folders and caches \(\.pt\)")
    (source / CACHES[0].name).unlink()
    other = dict(np.load(damaged, allow_pickle=True))
    for key, value, why in (
        ("field_type", np.array("StaggeredGrid"), "cell centres, found a StaggeredGrid"),
        ("extrapolation", np.array({"type": "symmetric"}, object), "expected one of the boundaries"),
        ("upper", np.array([50, 100]), "differ in shape, box or boundary"),
        ("data", other["data"][:16], "differ in shape, box or boundary"),
        ("dim_names", np.array(["x", "y", "w", "v"]), "expected a frame of a PhiFlow Scene"),
    ):
        np.savez(damaged, **{**other, key: value})
        refused(source, target, config, why)
    damaged.write_bytes(data)
    convert_trajectories(source, target, config)
    refused(source, target, config, "is there already")


# --- Scenes written


FIELDS = FieldLayout(
    (FieldSpec("density", boundary="zero-gradient"), FieldSpec("velocity", vector=True)), ("x", "y")
)


def layouts() -> list[Any]:
    boundaries: tuple[Boundary, ...] = ("periodic", "zero-gradient", "zero")
    made = []
    for rank, boundary in zip((1, 2, 3), boundaries, strict=True):
        axes = ("x", "y", "z")[:rank]
        fields = (
            FieldSpec("density", boundary="zero-gradient"),
            FieldSpec("velocity", vector=True, boundary=boundary),
        )
        grid = Grid.of(**{a: (10.0 * (i + 1), 4 + i) for i, a in enumerate(axes)})
        made.append(pytest.param(grid, FieldLayout(fields, axes), id=f"{rank}d-{boundary}"))
    return made


@pytest.mark.parametrize(("grid", "layout"), layouts())
def test_phiflow_reads_a_written_scene_back(
    grid: Grid, layout: FieldLayout, precision: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    array = rng.normal(size=(len(layout.components), 3, *grid.resolution)).astype(precision)
    folder = tmp_path / "sim_000000"
    write_scene(folder, array, grid=grid, layout=layout, dt=0.25, facts={"PDE": "advection"})
    scene = Scene.at(str(tmp_path), 0)
    assert sorted(scene.fieldnames) == ["density", "velocity"] and list(scene.frames) == [0, 1, 2]
    assert scene.properties["PDE"] == "advection" and scene.properties["Dt"] == 0.25
    for frame in range(3):
        for spec in layout.fields:
            with math.precision(64 if precision == "float64" else 32):
                field = scene.read(spec.name, frame=frame, convert_to_backend=False)
                expected = array[layout.slice_of(spec.name), frame]
                order = ["vector", *grid.axes] if spec.vector else list(grid.axes)
                values = field.values.numpy(order)
            assert np.array_equal(values, expected if spec.vector else expected[0])
            assert values.dtype == array.dtype
            assert {"periodic": "periodic", "zero-gradient": "zero-gradient", "zero": "0"}[
                spec.boundary
            ] in str(field.extrapolation)
            assert tuple(np.ravel(field.bounds.size.numpy())) == grid.size
    again = read_scene(folder)
    assert (again.grid, again.dt) == (grid, 0.25)
    assert np.array_equal(again.arranged(grid, layout, 0.25), array)


def test_a_trajectory_goes_to_a_scene_and_back_bit_for_bit(tmp_path: Path) -> None:
    config = config_of(FIRST)
    convert_scene(SCENES[0], tmp_path / "a.h5", config)
    convert_scene(tmp_path / "a.h5", tmp_path / "scene", config)
    convert_scene(tmp_path / "scene", tmp_path / "b.h5", config)
    options = {"grid": config.grid, "layout": config.layout, "dt": 0.5}
    assert np.array_equal(read_hdf5(tmp_path / "a.h5", **options), read_hdf5(tmp_path / "b.h5", **options))
    for source, target, error in (
        (tmp_path / "a.h5", tmp_path / "scene", StorageError),
        (SCENES[0], tmp_path / "a.h5", DataError),
        (SCENES[0], tmp_path / "c.npz", DataError),
    ):
        with pytest.raises(error):
            convert_scene(source, target, config)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "b.h5", "scene"]
