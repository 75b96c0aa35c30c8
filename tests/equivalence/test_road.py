"""The road of docs/migration.md: a training begun in legacy goes on after any step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hyco.compat import convert_phiml_to_torch, convert_torch_to_phiml
from hyco.config import Config
from hyco.errors import CheckpointError, Interrupted
from hyco.migration.registry import use_mode
from hyco.migration.road import CHECKPOINTS, ORDERS, maps
from hyco.tasks import Silent, train
from hyco.testing import assert_equivalent
from hyco.testing.experiments import write_data
from tests.experiments import tiny

STOP = 2  # epochs of the surrogate before the run is switched over, of 4
LOSSES = ("train_loss", "validation_loss", "initial_loss", "synthetic_loss", "physical_loss")
PLAN = ["trainer.synthetic.epochs=2", "trainer.hybrid.cycles=2"]
STEPS = {
    f"{order} {number}: {list(components)[-1]}": components
    for order in ORDERS
    for number, components in enumerate(maps(tiny(Path("unused"), PLAN), order), start=1)
}


class Stop(Silent):
    """Interrupts a training once the surrogate has so many epochs and the physical model its solves."""

    def record(self, record: dict[str, Any]) -> None:
        if record["kind"] == "cycle" and record["cycle"] == STOP // 2:
            raise KeyboardInterrupt


def experiment(folder: Path) -> Config:
    """Two cycles of a tiny Burgers training, and its data."""
    config = tiny(folder, PLAN)
    write_data(config)
    return config


def moved(config: Config, folder: Path) -> Config:
    """The same experiment with its results elsewhere."""
    general = config.general.model_copy(update={"output_dir": folder})
    return config.model_copy(update={"general": general})


def losses(config: Config) -> dict[str, float]:
    """Every loss of a run's history, by its place."""
    lines = (config.output_dir / "history.jsonl").read_text().splitlines()
    records: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return {
        f"{i} {r.get('model', r['kind'])} {key}": r[key]
        for i, r in enumerate(records)
        for key in LOSSES
        if r.get(key) is not None
    }


def checkpoint(config: Config, component: str, suffix: str) -> Path:
    """The file of a component that a run goes on from."""
    newest = max(config.checkpoint_dir.glob("last-*"))
    return config.checkpoint_dir / f"{CHECKPOINTS[component].format(last=newest.name)}{suffix}"


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, dict[str, float]]:
    """A legacy training that was stopped half way, and the losses of one that was not."""
    folder = tmp_path_factory.mktemp("road")
    config = experiment(folder)
    with use_mode("legacy"):
        whole = moved(config, folder / "whole")
        train(whole)
        with pytest.raises(Interrupted):
            train(config, progress=Stop())
    expected = losses(whole)
    assert 0 < len(losses(config)) < len(expected)
    return config, expected


def switched(config: Config, folder: Path, components: Mapping[str, str]) -> Config:
    """A copy of a stopped run, with the checkpoints of the components that are phiml now converted."""
    copy = moved(config, folder / "run")
    shutil.copytree(config.output_dir, copy.output_dir)
    for component in components:
        if component in CHECKPOINTS:
            path = checkpoint(copy, component, ".pth")
            convert_torch_to_phiml(path, path.with_suffix(".phiml"))
            path.unlink()
    return copy


@pytest.mark.parametrize("components", STEPS.values(), ids=STEPS)
def test_a_legacy_run_goes_on_after_every_step(
    components: dict[str, str], begun: tuple[Config, dict[str, float]], tmp_path: Path
) -> None:
    config, expected = begun
    run = switched(config, tmp_path, components)
    with use_mode("hybrid", components):
        train(run, resume=True)
    assert_equivalent(expected, losses(run), "losses of a hybrid run")


def test_and_back_again(begun: tuple[Config, dict[str, float]], tmp_path: Path) -> None:
    """Rolling back everything: a run that was switched to phiml goes on in legacy."""
    config, expected = begun
    run = switched(config, tmp_path, dict.fromkeys(ORDERS["models"], "phiml"))
    for component in CHECKPOINTS:
        path = checkpoint(run, component, ".phiml")
        convert_phiml_to_torch(path, path.with_suffix(".pth"))
    with use_mode("legacy"):
        train(run, resume=True)
    found = losses(run)
    assert found == expected  # not a bit is lost on the way there and back


def test_without_conversion_the_error_names_the_command(
    begun: tuple[Config, dict[str, float]], tmp_path: Path
) -> None:
    config, _ = begun
    run = switched(config, tmp_path, {})
    expected = r"`hyco convert checkpoint .*last-\d+/synthetic\.pth .*last-\d+/synthetic\.phiml`"
    with use_mode("phiml"), pytest.raises(CheckpointError, match=expected):
        train(run, resume=True)
