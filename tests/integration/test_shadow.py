"""Shadow mode in whole runs: what it writes and says, and that nothing else changes, whatever happens."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.conftest import Here, Project

MIXTURE = "{dataset: phiml, physical_model: phiml, synthetic_trainer: phiml, hybrid_trainer: phiml}"
MODES = {
    "legacy": ["migration.mode=legacy"],
    "phiml": ["migration.mode=phiml"],
    "mixture": ["migration.mode=hybrid", f"migration.components={MIXTURE}"],
}
HARD = [
    "model.synthetic.architecture.batch_norm=true",
    "trainer.synthetic.input_noise.scale=0.01",
    "trainer.synthetic.weight_decay=0.01",
    "general.tasks=[generate, train]",
]
ON = ["migration.shadow.enabled=true", "migration.shadow.every=1"]
EVERYWHERE = {
    "data_manager.load": {"stored values"},
    "dataset.get_batch": {"stored values"},
    "physical_model.rollout": {"steps in a run"},
    "physical_model.step": {"steps in a run"},
    "physical_trainer.loss": {"fit loss in a run"},
    "physical_trainer.loss_and_gradients": {"fit loss in a run", "fit gradient in a run"},
    "synthetic_model.call": {"network in a run"},
    "synthetic_model.rollout": {"network in a run"},
    "synthetic_trainer.loss": {"network loss in a run"},
    "synthetic_trainer.update": {"network loss in a run", "weight gradient in a run"},
}


def apart(name: str) -> list[str]:
    """Overrides that give a run folders of its own."""
    return [f"{key}={folder}/{name}" for key, folder in FOLDERS.items()]


FOLDERS = {"general.output_dir": "out", "data.data_dir": "data", "data.cache_dir": "cache"}


def comparisons(project: Project, run: str) -> list[dict[str, Any]]:
    """The lines of `shadow.jsonl`, which are strict JSON."""
    lines = (project.folder / run / "shadow.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=pytest.fail) for line in lines]


def state(folder: Path, name: str) -> dict[str, Any]:
    """Everything in a checkpoint."""
    kinds = {
        "synthetic": "synthetic training state",
        "physical": "physical training state",
        "synthetic_best": "unet network",
        "physical_best": "burgers physical model",
    }
    checkpoints = folder / "checkpoints"
    where = checkpoints if name.endswith("_best") else max(checkpoints.glob("last-*"))
    (path,) = where.glob(f"{name}.*")
    side = {".pth": "legacy", ".phiml": "phiml"}[path.suffix]
    arrays, facts = import_module(f"hyco.{side}.checkpoints").read_checkpoint(path, kinds[name])
    return {**arrays, **facts}


def assert_same_run(project: Project, one: str, other: str) -> None:
    """Every loss, weight, moment, running statistic and parameter is the same to the last bit."""
    assert project.history(one) == project.history(other)
    assert len(project.history(one)) == 5
    for name in ("synthetic", "physical", "synthetic_best", "physical_best"):
        a, b = state(project.folder / one, name), state(project.folder / other, name)
        assert list(a) == list(b)
        for key, value in a.items():
            assert np.array_equal(value, b[key]), f"{name}: {key}"


@pytest.mark.parametrize("mode", MODES)
def test_a_run_is_the_same_to_the_last_bit(project: Project, hyco_here: Here, mode: str) -> None:
    for name, extra in (("plain", []), ("shadowed", ON)):
        done = hyco_here("run", "tiny.yaml", "-q", *MODES[mode], *HARD, *apart(name), *extra)
        assert done.status == 0, done.err
    assert_same_run(project, "out/plain", "out/shadowed")
    for folder in ("data", "cache"):  # what stands there is neither more nor other
        plain, shadowed = (project.folder / folder / name for name in ("plain", "shadowed"))
        assert {p.name for p in plain.iterdir()} == {p.name for p in shadowed.iterdir()} - {"shadow"}
    assert not (project.folder / "out/plain/shadow.jsonl").exists()
    found = comparisons(project, "out/shadowed")
    assert [r for r in found if not r["passed"]] == []
    assert {r["quantity"] for r in found} == set().union(*EVERYWHERE.values())


@pytest.mark.parametrize("mode", MODES)
def test_what_a_run_writes_and_says(project: Project, hyco_here: Here, mode: str) -> None:
    done = hyco_here("run", "tiny.yaml", "-q", *MODES[mode], "migration.shadow={enabled: true, every: 4}")
    assert done.status == 0, done.err
    found = comparisons(project, "results/tiny")
    assert {r["task"] for r in found} == {"generate", "train", "evaluate"}
    quantities: dict[str, set[str]] = {}
    for record in found:
        quantities.setdefault(f"{record['component']}.{record['call']}", set()).add(record["quantity"])
    # phiml's models make whole rollouts, without calls of single steps
    expected = dict(EVERYWHERE)
    if mode != "legacy":
        del expected["physical_model.step"]
    if mode == "phiml":
        del expected["synthetic_model.call"]
    assert quantities == expected
    assert all(r["passed"] and r["difference"] <= r["allowed"] and r["seconds_candidate"] > 0 for r in found)
    sides = {(r["component"], r["control"]) for r in found}
    phiml = {"legacy": set(), "phiml": {c.partition(".")[0] for c in expected}}
    phiml["mixture"] = {"dataset", "physical_model", "synthetic_trainer"}
    assert {component for component, side in sides if side == "phiml"} == phiml[mode]

    summary = json.loads((project.folder / "results/tiny/shadow.json").read_text())
    calls = {f"{c['component']}.{c['call']}": c for c in summary["calls"]}
    assert calls.keys() == expected.keys()
    assert summary["compared"] == sum(c["compared"] for c in calls.values()) > 30
    assert (summary["mismatches"], summary["failures"]) == (0, 0)
    assert summary["overhead_seconds"] > 0 and summary["overhead_per_cent"] > 0
    assert all(c["speed_ratio"] > 0 and c["worst"]["share"] <= 1 for c in calls.values())
    updates = {r["number"] for r in found if r["call"] == "update"}
    assert calls["synthetic_trainer.update"]["compared"] == len(updates)

    said = [line for line in done.out.splitlines() if line.startswith("shadow mode: ")]
    assert said[0].startswith(f"shadow mode: {summary['compared']} calls compared, 0 mismatches, 0 failures;")
    assert said[-1] == "shadow mode: results/tiny/shadow.json"
    assert len(said) == len(calls) + 2
    page = (project.folder / "results/tiny/report.html").read_text()
    section = page[page.index("Shadow mode") :]
    for name in ("loss_and_gradients", "get_batch", "speed ratio", "comparing took"):
        assert name in section


def test_what_is_done_again_replaces_its_record(project: Project, hyco_here: Here) -> None:
    on = [*ON, "general.mode=physical"]
    for task in ("generate", "train", "evaluate", "train"):
        assert hyco_here(task, "tiny.yaml", "-q", *on).status == 0
    found = comparisons(project, "results/tiny")
    tasks = [r["task"] for r in found]
    assert list(dict.fromkeys(tasks)) == ["generate", "evaluate", "train"]
    more = [*on, "trainer.physical.epochs=2"]
    assert hyco_here("train", "tiny.yaml", "-q", "--resume", "--force", *more).status == 0
    assert len(comparisons(project, "results/tiny")) > len(found)


def test_off_costs_nothing(project: Project) -> None:
    script = (
        "import sys\n"
        "import hyco\n"
        "hyco.run('tiny.yaml', ['general.mode=physical', 'general.tasks=[generate, train]'])\n"
        "from hyco.config import load_config\n"
        "from hyco.migration.factory import Factory\n"
        "model = Factory(load_config('tiny.yaml')).physical_model()\n"
        "loaded = [n for n in sys.modules if n.startswith('hyco.migration.shadow') or n == 'phiml']\n"
        "print(loaded, type(model).__mro__[1].__name__)\n"
    )
    done = project.python("-c", script)
    assert done.out.endswith("[] GridModel\n"), done.err


# ------------------------------------------------------------------------------------------------- sabotage


def spoil(monkeypatch: pytest.MonkeyPatch, name: str, by: float) -> None:
    """Steps of phiml's Burgers model are off in one cell of frames that are nowhere else."""
    from hyco.phiml.physical.burgers import Burgers

    original = getattr(Burgers, name)

    def spoiled(self: Any, *arguments: Any) -> Any:
        array = np.array(self.arrays.numpy(original(self, *arguments)))
        array[0, 0, 11] += by
        return self.arrays.state(array)

    monkeypatch.setattr(Burgers, name, spoiled)
    # rollouts are made of steps, not by kernels
    monkeypatch.setattr("hyco.phiml.physical.fused.FusedSteps.can_take", lambda *_: False)


@pytest.mark.parametrize("by", [1e-12, np.nan])
def test_wrong_numbers_are_found_and_located(
    project: Project, hyco_here: Here, monkeypatch: pytest.MonkeyPatch, by: float
) -> None:
    assert hyco_here("generate", "tiny.yaml", "-q", *apart("plain")).status == 0
    spoil(monkeypatch, "step", by)
    done = hyco_here(
        "generate", "tiny.yaml", *apart("shadowed"), "migration.shadow={enabled: true, every: 3}"
    )
    assert done.status == 0
    step, *_ = (r for r in comparisons(project, "out/shadowed") if r["call"] == "step")
    assert step["outcome"] == "mismatch"
    assert step["place"].startswith("batch=0, field=velocity_x, x=11")
    if by == by:
        assert step["difference"] == pytest.approx(by, rel=1e-2)
    assert "physical_model.step, call 1: steps in a run differs by" in done.err
    assert "batch=0, field=velocity_x, x=11" in done.out
    summary = json.loads((project.folder / "out/shadowed/shadow.json").read_text())
    assert summary["mismatches"] == summary["compared"] > 8
    for path in sorted((project.folder / "data/plain").iterdir()):
        import h5py

        with h5py.File(path) as a, h5py.File(project.folder / "data/shadowed" / path.name) as b:
            assert np.array_equal(a["velocity"][:], b["velocity"][:])


def test_raise_stops_the_run(project: Project, hyco_here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, "step", 1e-6)
    done = hyco_here("generate", "tiny.yaml", "-q", *ON, "migration.shadow.on_mismatch=raise")
    assert done.status == 1
    assert "shadow mode stopped the run: physical_model.step, call 1: steps in a run" in done.error
    assert "migration.shadow.on_mismatch=warn" in done.error
    (record,) = comparisons(project, "results/tiny")
    assert (record["call"], record["passed"]) == ("step", False)
    assert json.loads((project.folder / "results/tiny/shadow.json").read_text())["mismatches"] == 1


def test_a_tolerance_that_is_given_replaces_that_of_the_table(
    project: Project, hyco_here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, "step", 1e-6)
    on = [*ON, "migration.shadow.on_mismatch=raise", "migration.shadow.atol=1e-3"]
    assert hyco_here("generate", "tiny.yaml", "-q", *on).status == 0


def test_exceptions_do_not_harm(project: Project, hyco_here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates of either side fail, one of them while PhiML traces it, beside controls of both sides."""
    tasks = ["general.tasks=[generate, train]", "-q"]
    mode = [
        "migration.mode=hybrid",
        "migration.components={synthetic_model: phiml, synthetic_trainer: phiml, hybrid_trainer: phiml}",
    ]
    assert hyco_here("run", "tiny.yaml", *mode, *tasks, *apart("plain")).status == 0

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("sabotage")

    monkeypatch.setattr("hyco.phiml.physical.burgers.Burgers.advance", fail)
    monkeypatch.setattr("hyco.phiml.dataset.Dataset.__init__", fail)
    monkeypatch.setattr("hyco.legacy.trainers.synthetic.SyntheticTrainer.update", fail)
    done = hyco_here("run", "tiny.yaml", *mode, *tasks, *apart("shadowed"), *ON)
    assert done.status == 0, done.err
    assert_same_run(project, "out/plain", "out/shadowed")
    found = comparisons(project, "out/shadowed")
    failed = {f"{r['component']}.{r['call']}" for r in found if r["outcome"] == "failure"}
    assert failed == {
        "physical_model.step",
        "physical_model.rollout",
        "physical_trainer.loss",
        "physical_trainer.loss_and_gradients",
        "dataset.get_batch",
        "synthetic_trainer.update",
    }
    assert all("RuntimeError: sabotage" in r["error"] for r in found if r["outcome"] == "failure")
    given_up = {f"{r['component']}.{r['call']}" for r in found if r["outcome"] == "given up"}
    assert given_up == failed
    others = [r for r in found if f"{r['component']}.{r['call']}" not in failed]
    assert others and all(r["passed"] for r in others)
    assert done.err.count("the candidate failed: RuntimeError: sabotage") == len(failed)
