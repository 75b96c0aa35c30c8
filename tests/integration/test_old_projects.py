"""A project of the original HYCO-PhiFlow, taken over on the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from hyco.compat.scenes import read_scene
from hyco.config import load_config
from hyco.storage.hdf5 import read_facts, read_trajectory
from tests.integration.conftest import Here, Project
from tests.originals import FIRST, SCENES, SECOND

OLD = {"first": FIRST / "config.yaml", "second": SECOND / "config.yaml"}
NAMES = {"first": "burgers_experiment", "second": "burgers_2d_experiment"}
QUICK = (
    "cache.workers=0",
    "trainer.synthetic.epochs=1",
    "trainer.hybrid.warmup=0",
    "trainer.hybrid.cycles=1",
    "trainer.hybrid.augmentation.num_trajectories=1",
    "trainer.physical.solve.max_iterations=1",
    "evaluation.visualization.dpi=20",
)
FEW = (
    "data.num_simulations=2",
    "trainer.train_sim=[0, 1]",
    "evaluation.test_sim=[0]",
    "evaluation.num_frames=5",
    "model.synthetic.architecture.levels=2",
)
SMALL = (*QUICK, *FEW, *(f"model.physical.domain.{axis}.resolution=16" for axis in "xy"))
DATA = {"scenes": (FIRST, "scenes"), "cache": (FIRST, "cache"), "npz": (SECOND, "data")}


@pytest.mark.parametrize("schema", OLD)
def test_an_old_configuration_runs_as_it_is(
    hyco_here: Here, project: Project, schema: str, side: str
) -> None:
    before = OLD[schema].read_bytes()
    tasks = "general.tasks=[generate, train, evaluate]"
    done = hyco_here("run", str(OLD[schema]), f"migration.mode={side}", tasks, *SMALL)
    assert done.status == 0, done.err
    assert done.err.count("in the keys of HYCO-PhiFlow, upgraded in memory") == 1
    assert done.err.count("model.physical.name: BurgersModel -> burgers") == 1
    assert done.err.index("BurgersModel -> burgers") < done.err.index("component ")
    run = f"results/{NAMES[schema]}"
    assert [r["kind"] for r in project.history(run)] == ["epoch", "epoch", "cycle"]
    assert (
        "warning: evaluation.on_training_data: the models were trained on the test simulations 0" in done.err
    )
    page = (project.folder / run / "report.html").read_text()
    assert "Rollouts on training data" in page and "unseen" not in page
    assert "trained on" in (project.folder / run / "log.txt").read_text()
    assert load_config(project.folder / run / "config.yaml").evaluation.on_training_data
    assert OLD[schema].read_bytes() == before


def test_a_report_on_unseen_data_says_so(hyco_here: Here, project: Project) -> None:
    apart = ("trainer.train_sim=[0]", "evaluation.test_sim=[1]", "general.tasks=[generate, train, evaluate]")
    done = hyco_here("run", str(OLD["first"]), *SMALL, *apart)
    assert done.status == 0 and "on_training_data" not in done.err.partition("component ")[2]
    page = (project.folder / "results/burgers_experiment/report.html").read_text()
    assert "Rollouts on unseen data" in page and "1 unseen" in page


@pytest.mark.parametrize("schema", OLD)
def test_a_converted_configuration_needs_no_notes(hyco_here: Here, project: Project, schema: str) -> None:
    done = hyco_here("convert", "config", str(OLD[schema]), "new.yaml")
    assert done.status == 0 and "BurgersModel -> burgers" in done.out and "written: new.yaml" in done.out
    shown = hyco_here("modes", "new.yaml")
    assert shown.status == 0 and "HYCO-PhiFlow" not in shown.err + shown.out
    assert load_config("new.yaml") == load_config(OLD[schema])
    again = hyco_here("convert", "config", str(OLD[schema]), "new.yaml")
    assert again.status == 2 and "is there already" in again.error


@pytest.mark.parametrize("kind", DATA)
def test_the_data_train(hyco_here: Here, project: Project, kind: str, side: str) -> None:
    folder, name = DATA[kind]
    config = folder / "config.yaml"
    done = hyco_here("convert", "trajectories", str(folder / name), "data/moved", "--config", str(config))
    assert done.status == 0 and "trajectories -> data/moved" in done.out, done.err
    number = len(list((folder / name).iterdir()))
    assert len(list((project.folder / "data/moved").iterdir())) == number
    simulations = list(range(number - 1))
    overrides = [
        "data.data_dir=data/moved",
        "general.output_dir=results/moved",
        f"data.num_simulations={number}",
        f"trainer.train_sim={simulations}",
        f"evaluation.test_sim=[{number - 1}]",
        f"general.mode={'hybrid' if kind == 'scenes' else 'synthetic'}",
        f"migration.mode={side}",
    ]
    trained = hyco_here("train", str(config), *overrides, *QUICK)
    assert trained.status == 0, trained.err
    losses = [r["train_loss"] for r in project.history("results/moved") if r["kind"] == "epoch"]
    assert len(losses) == (2 if kind == "scenes" else 1) and np.all(np.isfinite(losses)) and min(losses) > 0


def test_converted_data_are_not_simulated_anew(hyco_here: Here, project: Project) -> None:
    """Their fingerprint is another than that of the configuration, but they are no leftovers."""
    hyco_here("convert", "trajectories", str(FIRST / "scenes"), "data/burgers", "--config", str(OLD["first"]))
    done = hyco_here("generate", str(OLD["first"]), "data.num_simulations=5")
    assert done.status == 0 and "was converted from sim_000000 and stays" in done.err
    config = load_config(OLD["first"])
    for number, scene in enumerate(SCENES):
        path = project.folder / f"data/burgers/sim_{number:06d}.h5"
        array = read_trajectory(path, grid=config.grid, layout=config.layout, dt=0.5)
        assert np.array_equal(array, read_scene(scene).arranged(config.grid, config.layout, 0.5))
    assert "converted_from" not in read_facts(project.folder / "data/burgers/sim_000004.h5").extra


def test_old_checkpoints_are_evaluated(hyco_here: Here, project: Project, side: str) -> None:
    """The trained pair of the original, on its own data, by hyco: no training in between."""
    config, suffix = str(OLD["first"]), {"legacy": ".pth", "phiml": ".phiml"}[side]
    hyco_here("convert", "trajectories", str(FIRST / "scenes"), "data/burgers", "--config", config)
    for model in ("synthetic", "physical"):
        source = FIRST / f"models/burgers_{model}_model.pth"
        target = f"results/burgers_experiment/checkpoints/{model}_best{suffix}"
        done = hyco_here("convert", "checkpoint", str(source), target, "--config", config)
        assert done.status == 0 and target in done.out, done.err
    judged = hyco_here("evaluate", config, f"migration.mode={side}", "cache.workers=0", *QUICK)
    assert judged.status == 0, judged.err
    scores = json.loads((project.folder / "results/burgers_experiment/metrics.json").read_text())
    assert set(scores["models"]) == {"synthetic", "physical"}
    assert scores["models"]["physical"]["all_frames"]["nrmse"] < 1.0
    assert project.temporaries() == []


def test_scenes_go_both_ways(hyco_here: Here, project: Project) -> None:
    config = ("--config", str(OLD["first"]))
    assert hyco_here("convert", "scene", str(SCENES[0]), "a.h5", *config).status == 0
    assert hyco_here("convert", "scene", "a.h5", "scenes/sim_000000", *config).status == 0
    assert len(list((project.folder / "scenes/sim_000000").glob("velocity_*.npz"))) == 13


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> object:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("kind", ["network", "parameters", "cache", "scene", "npz"])
def test_a_hostile_file_is_refused_and_leaves_nothing(hyco_here: Here, project: Project, kind: str) -> None:
    made, source = project.folder / "made", project.folder / "old"
    source.mkdir()
    touch = Touch(made)
    array = np.empty(1, object)
    array[0] = touch
    command, suffix = "trajectories", ""
    if kind == "network":
        command, suffix = "checkpoint", "net.pth"
        torch.save({"net.inc.double_conv.0.weight": torch.ones(1), "x": touch}, source / suffix)
    elif kind == "parameters":
        command, suffix = "checkpoint", "parameters.npz"
        np.savez(source / suffix, tree=array)
    elif kind == "cache":
        torch.save({"tensor_data": {}, "metadata": touch}, source / "sim_000000.pt")
    elif kind == "scene":
        (source / "sim_000000").mkdir()
        np.savez(source / "sim_000000/velocity_000000.npz", data=array)
    else:
        np.savez(source / "sim_0000.npz", specs=array)
    before = sorted(project.folder.rglob("*"))
    target = "new.pth" if command == "checkpoint" else "new"
    done = hyco_here("convert", command, str(source / suffix), target, "--config", str(OLD["first"]))
    assert done.status == 2
    assert "refused: it asks for" in done.error and f"{os.system.__module__}.system" in done.error
    assert not made.exists() and sorted(project.folder.rglob("*")) == before
