"""Training on files in the layouts of published datasets, in both modes, and the commands on them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from hyco import tasks
from hyco.comparison.run_outputs import numbers
from hyco.config import Config
from hyco.migration.factory import Factory
from hyco.migration.registry import use_mode
from hyco.storage.hdf5 import read_trajectory, simulation_path
from hyco.testing.compare import measure
from hyco.testing.experiments import train, write_data
from hyco.testing.mixtures import NEEDED, Mixture, compare
from tests import public_files
from tests.experiments import LINE, PLANE, tiny
from tests.integration.conftest import Here, Project
from tests.sides import SIDES

LAYOUTS = ("pdebench", "well")
MIB = 2**20


def simulated(config: Config) -> NDArray[np.float64]:
    """Trajectories (sample, field, time, *space) of the experiment, which lie in its folder as well."""
    write_data(config)
    given = {"grid": config.grid, "layout": config.layout, "dt": config.model.physical.dt}
    paths = (simulation_path(config.data.data_dir, i) for i in range(config.data.num_simulations))
    return np.stack([read_trajectory(path, **given) for path in paths])


def published(folder: Path, layout: str, config: Config) -> list[str]:
    """Files with the trajectories of an experiment, and the settings that name them."""
    values, size, dt = simulated(config), config.grid.size, config.model.physical.dt
    if layout == "pdebench":
        names = [f"V{axis}" for axis in config.grid.axes]
        if len(names) == 1:
            public_files.pdebench_tensor(folder / "files.hdf5", values[:, 0], size[0], dt)
        else:
            parts = dict(zip(names, np.moveaxis(values, 1, 0), strict=True))
            public_files.pdebench_variables(folder / "files.hdf5", parts, size, dt)
        return [f"data.source={{format: pdebench, path: {folder / 'files.hdf5'}}}"]
    for number, half in enumerate(np.array_split(values, 2)):  # a file per part of the samples
        fields = {"t1_fields": {"velocity": np.moveaxis(half, 1, -1)}}
        public_files.well(folder / "train" / f"part_{number}.hdf5", fields, size, dt)
    return [f"data.source={{format: well, path: {folder / 'train'}}}"]


@pytest.mark.parametrize(
    ("layout", "domain", "training"),
    [
        *(("pdebench", LINE, training) for training in NEEDED),
        *(("well", PLANE, training) for training in NEEDED),
        ("pdebench", PLANE, "synthetic"),
    ],
    ids=lambda value: f"{len(value)}d" if isinstance(value, dict) else str(value),
)
def test_both_modes_learn_the_same_from_files_and_what_they_learn_from_generated_data(
    layout: str, domain: Any, training: Any, tmp_path: Path
) -> None:
    settings = [f"general.mode={training}"]
    generated = tiny(tmp_path, settings, domain=domain)
    config = tiny(tmp_path, [*settings, *published(tmp_path, layout, generated)], domain=domain)
    outcomes = {}
    for side in SIDES:
        with use_mode(side):
            outcomes[side], own = train(config), train(generated)
        found = outcomes[side]
        assert found.counts() == own.counts()
        assert all(np.array_equal(a, own.losses()[key]) for key, a in found.losses().items())
        assert all(np.array_equal(a, own.predictions[key]) for key, a in found.predictions.items())
    pure = Mixture("burgers", training, ("phiml",) * len(NEEDED[training]))
    for quantity, difference in compare(pure, config, outcomes["legacy"]).items():
        assert difference.passed, f"{quantity}: {difference}"


LARGE = {"x": {"size": 1024, "resolution": 1024}}
MANY = ("data.num_simulations=6", "data.trajectory_length=40", "cache.memory_limit_mb=1",
        "trainer.train_sim=[0, 1, 2, 3]", "trainer.val_sim=[4]", "evaluation.test_sim=[5]",
        "trainer.batch_size=16", "trainer.synthetic.epochs=2",
        "trainer.physical.window_stride=5")  # fmt: skip


IN_FORCE: dict[str, tuple[Any, Any]] = {
    "legacy": ("legacy", None),
    "phiml": ("phiml", None),
    "a manager of the other mode": ("hybrid", {"data_manager": "phiml", "synthetic_trainer": "phiml"}),
    "a dataset of the other mode": ("hybrid", {"dataset": "phiml"}),
}


@pytest.mark.parametrize("training", NEEDED)
@pytest.mark.parametrize("mode", IN_FORCE)
def test_windows_read_from_files_are_what_whole_trajectories_in_memory_give(
    mode: str, training: str, tmp_path: Path
) -> None:
    settings = [*MANY, f"general.mode={training}", "trainer.physical.solve.max_iterations=1"]
    files = published(tmp_path, "pdebench", tiny(tmp_path, settings, domain=LARGE))
    streamed = tiny(tmp_path, [*settings, *files], domain=LARGE)
    held = tiny(tmp_path, [*settings, *files, "cache.memory_limit_mb=64"], domain=LARGE)
    with use_mode(*IN_FORCE[mode]):
        factories = [Factory(c) for c in (streamed, held)]
        data = [f.dataset(f.data_manager(), streamed.trainer.train_sim) for f in factories]
        assert [d.streams for d in data] == [True, False]
        shuffled = [next(iter(d.batches(16, rng=np.random.default_rng(0)))).initial for d in data]
        assert np.array_equal(*(d.arrays.numpy(s) for d, s in zip(data, shuffled, strict=True)))
        found, expected = train(streamed), train(held)
    assert found.losses().keys() == expected.losses().keys()
    assert all(np.array_equal(loss, expected.losses()[key]) for key, loss in found.losses().items())
    assert all(np.array_equal(w, expected.weights[name]) for name, w in found.weights.items())
    assert all(np.array_equal(p, expected.parameters[name]) for name, p in found.parameters.items())


@pytest.mark.parametrize("side", SIDES)
def test_masks_and_noise_act_on_files_as_on_generated_data(side: str, tmp_path: Path) -> None:
    seen = [
        "general.mode=synthetic", *MANY,
        "observations={space: {mask: center, fraction: 0.5}, time: {mask: uniform, stride: 2}, "
        "noise: {level: 0.1}}",
    ]  # fmt: skip
    generated = tiny(tmp_path, [*seen, "cache.memory_limit_mb=64"], domain=LARGE)
    files = published(tmp_path, "pdebench", generated)
    own = []
    with use_mode(side):  # type: ignore[arg-type]
        for config in (generated, tiny(tmp_path, [*seen, *files], domain=LARGE)):
            factory = Factory(config)
            data = factory.dataset(factory.data_manager(), config.trainer.train_sim).seen_by("synthetic")
            batch = data.get_batch([0, 17, 60])
            own.append([data.arrays.numpy(batch.initial), data.arrays.numpy(batch.targets), batch.observed])
    assert all(np.array_equal(a, b) for a, b in zip(*own, strict=True))


# --- data of an equation that hyco does not have

UNKNOWN = """
general: {experiment_name: unknown, seed: 3}
migration: {mode: legacy}
data:
  source: {format: well, path: files, fields: {speed: velocity}}
  fields_scheme: {dynamic: [density, speed], static: [depth], vectors: [speed]}
  num_simulations: 4
  trajectory_length: 8
cache: {workers: 0}
model:
  physical:
    name: none
    domain: {x: {size: 2, resolution: 8}, y: {size: 3, resolution: 12}}
    dt: 0.05
  synthetic: {architecture: {levels: 2, filters: 4, periodic: false}}
trainer: {device: cpu, precision: float64, batch_size: 4, rollout_steps: 3, synthetic: {epochs: 2}}
evaluation: {visualization: {dpi: 30}}
"""


@pytest.fixture
def unknown(project: Project) -> Project:
    """Two files of The Well, of fields that hyco has no equation for, one axis of which ends at walls."""
    rng = np.random.default_rng(5)
    for number in range(2):
        wave = rng.standard_normal((2, 1, 8, 12)) * np.exp(-0.1 * np.arange(10))[:, None, None]
        fields = {
            "t0_fields": {"density": 1 + wave, "depth": rng.standard_normal((8, 12))},
            "t1_fields": {"velocity": np.stack([wave, -wave], -1)},
        }
        varying = {"depth": {"sample_varying": False, "time_varying": False}}
        public_files.well(
            project.folder / "files" / f"{number}.hdf5",
            fields,
            (2.0, 3.0),
            0.05,
            varying=varying,
            boundary={"y": "WALL"},
            parameters={"Rayleigh": 1e6},
        )
    (project.folder / "unknown.yaml").write_text(UNKNOWN)
    return project


def test_a_surrogate_learns_from_data_without_an_equation(unknown: Project, hyco_here: Here) -> None:
    scores = []
    for side in SIDES:
        result = hyco_here("run", "unknown.yaml", f"migration.mode={side}", f"general.output_dir={side}")
        assert result.status == 0, result.err
        assert "nothing is generated" in (unknown.folder / side / "log.txt").read_text()
        scores.append(json.loads((unknown.folder / side / "metrics.json").read_text()))
        assert "not known" in (unknown.folder / side / "report.html").read_text()
        assert not list(unknown.folder.glob("data/**/*.h5"))  # neither generated nor copied
    assert scores[0]["equation"] == "none"
    assert scores[0]["parameters"] == {}
    first, second = (np.array([v for _, v in numbers(s["models"])]) for s in scores)
    assert len(first) > 10
    wrong = measure(first, second, "predictions of a synthetic fit")
    assert wrong.passed, wrong
    shown = hyco_here("modes", "unknown.yaml")
    assert shown.status == 0
    assert "physical_model" not in shown.out


REFUSED = {
    "general.mode=hybrid": "general.mode: model.physical.name: none has no physical model",
    "data.source=null": "data.source: model.physical.name: none has no equation to generate",
    "data.fields_scheme=null": "data.fields_scheme: model.physical.name: none needs the names",
    "data.fields_scheme.vectors=[sped]": "vectors: unknown field 'sped'. Did you mean 'speed'?",
    "data.fields_scheme.static=[density]": "the field 'density' is listed twice",
    "data.source.fields={sped: velocity}": "data.source.fields: unknown field 'sped'. Did you mean 'speed'?",
    "data.source.format=zarr": "data.source.format",
    "data.source.stride=2": "unknown key 'stride'. Did you mean 'time_stride'?",
    "model.physical.parameters={nu: {value: 1}}": "unknown parameter 'nu'",
    "data.num_simulations=5": "there is no simulation 4; files has 4, 0 to 3. Set data.num_simulations to 4",
    "data.trajectory_length=12": "found 10. Write data.trajectory_length: 10, or less",
    "model.physical.dt=0.1": "model.physical.dt is 0.1, but frames are 0.05 apart",
    "model.physical.domain.y.size=2": "y.size is 2, but 12 cells 0.25 apart make 3. Write",
    "data.source.path=nowhere": "data.source.path: expected HDF5 files",
    "data.fields_scheme.dynamic=['a,b']": "expected names of letters, digits",
    "data.fields_scheme.dynamic=[speed, speed_x]": "two fields have a component 'speed_x'",
    "data.fields_scheme.vectors=[]": "expected 1 components of the field speed (speed), found 2",
}


@pytest.mark.parametrize("override", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(override: str, unknown: Project, hyco_here: Here) -> None:
    result = hyco_here("train", "unknown.yaml", override)
    assert result.status == 2
    assert REFUSED[override] in result.error


# --- commands


def with_files(project: Project, layout: str = "pdebench") -> None:
    """The project's experiment, on files with what it would generate itself."""
    from hyco.config import load_config

    path = project.folder / "tiny.yaml"
    settings = published(project.folder, layout, load_config(path, ["data.data_dir=made"]))
    text = path.read_text()
    source = settings[0].removeprefix("data.source=")
    path.write_text(text.replace("data: {num_simulations", f"data: {{source: {source}, num_simulations"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_run_on_files_from_training_to_report(layout: str, project: Project, hyco_here: Here) -> None:
    with_files(project, layout)
    scores = []
    for side in SIDES:
        result = hyco_here("run", "tiny.yaml", f"migration.mode={side}", f"general.output_dir={side}")
        assert result.status == 0, result.err
        scores.append(json.loads((project.folder / side / "metrics.json").read_text()))
        assert (project.folder / side / "report.html").is_file()
    assert not (project.folder / "data").exists()
    assert scores[0]["parameters"].keys() == scores[1]["parameters"].keys() == {"diffusion_coeff"}
    refused = hyco_here("generate", "tiny.yaml")
    assert refused.status == 2
    assert "nothing to generate" in refused.error


def test_a_changed_file_is_noticed_on_resume(project: Project, hyco_here: Here) -> None:
    with_files(project)
    path = project.folder / "files.hdf5"
    assert hyco_here("train", "tiny.yaml").status == 0
    more = ("train", "tiny.yaml", "trainer.hybrid.cycles=2", "--resume", "--force")
    os.rename(path, project.folder / "moved.hdf5")
    moved = hyco_here("train", "tiny.yaml", f"data.source.path={project.folder / 'moved.hdf5'}", "--resume")
    assert moved.status == 0, moved.err
    os.rename(project.folder / "moved.hdf5", path)
    with h5py.File(path, "r+") as file:
        file["tensor"][0, 3] *= 1.5
    os.utime(path, ns=(1, 1))
    forced = hyco_here(*more)
    assert forced.status == 0, forced.err
    assert "simulation 0, simulation 1, simulation 2 made with other settings" in forced.err
    assert "or changed since" in forced.err


@pytest.mark.parametrize("options", [(), ("--full", "--no-training")], ids=["small", "full"])
def test_the_modes_are_compared_on_files(options: tuple[str, ...], project: Project, hyco_here: Here) -> None:
    with_files(project)
    result = hyco_here("compare", "tiny.yaml", *options)
    assert result.status == 0, result.err + result.out
    report = next(project.folder.glob("results/*compare*/*.json")).read_text()
    assert "files.hdf5" in report
    assert not list(project.folder.rglob("sim_*"))[4:]  # nothing beside what made the file


def test_the_modes_are_compared_without_an_equation(unknown: Project, hyco_here: Here) -> None:
    result = hyco_here("compare", "unknown.yaml", "--no-training")
    assert result.status == 0, result.err + result.out


def test_shadow_mode_watches_what_is_read_from_files(tmp_path: Path) -> None:
    settings = [*MANY, "general.mode=synthetic", "migration.mode=phiml"]
    settings += ["migration.shadow={enabled: true, every: 3, on_mismatch: raise}"]
    files = published(tmp_path, "pdebench", tiny(tmp_path, settings, domain=LARGE))
    tasks.run(tiny(tmp_path, [*settings, *files], domain=LARGE))
    found = json.loads((tmp_path / "results" / "shadow.json").read_text())
    assert found["mismatches"] == 0
    calls = {c["call"]: c["compared"] for c in found["calls"] if c["component"] == "dataset"}
    assert calls["get_batch"] >= 5


# --- memory

MEASURED = """
import sys
from hyco.config import load_config
from hyco.learning.clocks import peak_memory_mb
from hyco.migration.factory import Factory, mode_from

config = load_config(sys.argv[1], sys.argv[2:])
with mode_from(config):
    factory = Factory(config)
    manager = factory.data_manager()
    trainer = factory.synthetic_trainer(factory.synthetic_model())
    small, whole = (factory.dataset(manager, s) for s in ((0, 1, 2, 3, 4, 5), config.trainer.train_sim))
    trainer.fit(small, epochs=1)
    before = peak_memory_mb()
    history = trainer.fit(whole, epochs=1)
    after = peak_memory_mb()
print(round(before), round(after), history.records[-1]["train_loss"])
"""
MEMORY = """
data:
  source: {format: %s, path: large.hdf5}
  fields_scheme: {dynamic: [density, pressure]}
  num_simulations: %d
  trajectory_length: 8
cache: {memory_limit_mb: 4, workers: 0}
model:
  physical: {name: none, domain: {x: {size: 1, resolution: 128}, y: {size: 1, resolution: 128}}, dt: 0.1}
  synthetic: {name: convnet, architecture: {layers: 1, filters: 1}}
trainer: {device: cpu, batch_size: 4, rollout_steps: 2, val_sim: [], synthetic: {epochs: 1}}
general: {tasks: [train]}
evaluation: {test_sim: []}
"""


def large(folder: Path, layout: str, samples: int) -> int:
    """A file of float32 values of 1 MiB per sample; its size in MiB."""
    values = np.random.default_rng(0).standard_normal((samples, 8, 128, 128), dtype=np.float32)
    fields = {"density": values, "pressure": values[::-1]}
    path = folder / "large.hdf5"
    if layout == "pdebench":
        public_files.pdebench_variables(path, fields, (1.0, 1.0), 0.1, dtype="f4")
    else:
        public_files.well(path, {"t0_fields": fields}, (1.0, 1.0), 0.1)
    return path.stat().st_size // MIB


WHERE = {
    "legacy": ("pdebench", ["migration.mode=legacy"]),
    "phiml": ("well", ["migration.mode=phiml"]),
    "jax": ("pdebench", ["migration.mode=phiml", "trainer.backend=jax"]),
    "legacy with noise": ("well", ["migration.mode=legacy", "observations.noise.level=0.05"]),
    "phiml with noise": ("pdebench", ["migration.mode=phiml", "observations.noise.level=0.05"]),
}


@pytest.mark.parametrize("where", WHERE)
def test_peak_memory_does_not_grow_with_the_file(where: str, project: Project) -> None:
    """All windows of a file that is many times larger than the limit are trained on, and it is not held."""
    grown = {}
    layout, settings = WHERE[where]
    for samples in (32, 128):
        size = large(project.folder, layout, samples)
        (project.folder / "large.yaml").write_text(MEMORY % (layout, samples))
        found = project.python("-c", MEASURED, "large.yaml", *settings)
        assert found.status == 0, found.err
        before, after, _ = found.out.split()
        grown[size] = int(after) - int(before)
    assert max(grown) >= 128
    # of what JAX compiles meanwhile, and of a trajectory without and with noise, the file knows nothing
    assert max(grown.values()) < (40 if where != "legacy" and where != "phiml" else 16), grown
    assert max(grown.values()) - min(grown.values()) < 16, grown
