"""`hyco compare` and `hyco modes --next` as a user types them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import CONFIG, Here, Project

COMPONENTS = [
    "data_manager",
    "dataset",
    "physical_model",
    "synthetic_model",
    "synthetic_trainer",
    "physical_trainer",
    "hybrid_trainer",
]
QUANTITIES = {
    "stored values",
    "steps in a run",
    "network in a run",
    "network loss in a run",
    "weight gradient in a run",
    "fit loss in a run",
    "fit gradient in a run",
    "steps of a fit",  # counts, which must be equal
    "losses of a short training",
    "weights of a short training",
    "moments of a short training",
    "parameters of a short training",
    "synthetic predictions of a short training",
    "physical predictions of a short training",
}
AMPLIFIED = {"weights of a short training", "moments of a short training"}  # in float32 by optimisers
NEXT = "next: {} (step {} of 7)"


def result(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "compare.json").read_text()))


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A tiny experiment whose modes were compared by `hyco compare tiny.yaml`."""
    folder = tmp_path_factory.mktemp("compared")
    (folder / "tiny.yaml").write_text(CONFIG)
    project = Project(folder)
    done = project.hyco("compare", "tiny.yaml")
    (folder / "out.txt").write_text(done.out)
    assert done.status == 0, done.err + done.out
    assert "components 7/7: hybrid_trainer: the same" in done.err
    assert "trainings 2/2: phiml: " in done.err
    return project


def test_both_modes_are_the_same_and_everything_is_written(compared: Project) -> None:
    folder = compared.folder / "results" / "tiny-compare"
    data = result(folder)
    assert data["passed"] is True
    assert data["names"] == ["legacy", "phiml"]
    assert [s["name"] for s in data["sections"]] == [*COMPONENTS, "training"]
    assert {f["quantity"] for s in data["sections"] for f in s["findings"]} == QUANTITIES
    for section in data["sections"]:
        assert section["findings"]
        assert {f["verdict"] for f in section["findings"]} == {"pass"}
        for timing in section["timings"]:
            assert all(s > 0 for s in [*timing["reference"], *timing["candidate"]])
    assert set(data["costs"]["candidate"]) == {"seconds", "memory_mb", "imports_mb"}
    assert data["costs"]["reference"]["memory_mb"] > data["costs"]["reference"]["imports_mb"] > 50
    assert len(data["curves"]["synthetic"]["candidate"]) == 2
    assert {p.name for p in (folder / "figures").iterdir()} == {"differences.png", "curves.png", "costs.png"}
    page = (folder / "compare.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "http" not in page.replace("http-equiv", "")


def test_the_tables_say_it(compared: Project) -> None:
    out = (compared.folder / "out.txt").read_text()
    sections = result(compared.folder / "results" / "tiny-compare")["sections"]
    judged = sum(len(s["findings"]) for s in sections)
    assert out.splitlines()[-2:] == [
        f"legacy and phiml: the same, all {judged} judged quantities are within their tolerances",
        "comparison: results/tiny-compare/compare.html",
    ]
    for expected in (
        "physical_model (burgers): legacy and phiml",
        "worst difference",
        "synthetic_trainer: times",
        "A whole training, in a process of its own",
        "peak memory of the process",
        "Losses, epoch by epoch",
        "a small copy of the experiment",
        "trainer.physical.solve.max_iterations: 3 -> 2",
    ):
        assert expected in out, expected


def test_the_two_trainings_that_it_left_are_compared_as_runs(compared: Project, hyco_here: Here) -> None:
    root = compared.folder / "results" / "tiny-compare"
    folders = ["--old", str(root / "reference"), "--new", str(root / "candidate")]
    done = hyco_here("compare", *folders, "--output", "runs")
    assert done.status == 0, done.out
    assert "best physical model" in done.out
    assert result(Path("runs"))["names"] == ["old", "new"]
    history = root / "candidate" / "history.jsonl"
    kept = history.read_text()
    lines = [json.loads(line) for line in kept.splitlines()]
    lines[1]["initial_loss"] *= 1.001
    try:
        history.write_text("".join(json.dumps(r) + "\n" for r in lines))
        refused = hyco_here("compare", *folders, "--quiet")
    finally:
        history.write_text(kept)
    assert refused.status == 1
    assert refused.out.startswith("old and new: NOT the same, 1 of ")
    places = [
        f["place"] for f in result(Path("results/reference-candidate-compare"))["sections"][0]["findings"]
    ]
    assert "physical epoch 1, initial_loss: the only value" in places


def test_a_wrong_candidate_fails_and_its_place_is_named(
    hyco_here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    from phiml import math

    from hyco.phiml.physical.burgers import Burgers

    advance = Burgers.advance

    def wrong(self: Any, state: Any, parameters: Any) -> Any:
        """In one of 16 cells, one part in ten million too much."""
        result = advance(self, state, parameters)
        spot = math.tensor([1.0 + 1e-7 * (i == 5) for i in range(16)], math.spatial("x"))
        return result * spot

    monkeypatch.setattr(Burgers, "advance", wrong)
    done = hyco_here("compare", "tiny.yaml", "--no-training", "--output", "out")
    assert done.status == 1
    assert "look at physical_model first" in done.out
    (step,) = [f for s in result(Path("out"))["sections"] for f in s["findings"] if f["what"] == "one step"][
        :1
    ]
    assert step["verdict"] == "FAIL"
    assert step["place"].endswith("field=velocity_x, x=5")
    assert "x=5" in done.out
    failing = [s["name"] for s in result(Path("out"))["sections"] if not s["passed"]]
    assert failing == ["physical_model", "physical_trainer", "hybrid_trainer"]


def test_a_candidate_that_raises_fails_and_the_others_are_compared(
    hyco_here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hyco.phiml.synthetic.unet import UNet

    def fail(*_: Any) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(UNet, "predict", fail)
    done = hyco_here("compare", "tiny.yaml", "--no-training", "-q", "--output", "out")
    assert done.status == 1
    sections = {s["name"]: s for s in result(Path("out"))["sections"]}
    places = {
        f["what"]: f["place"] for f in sections["synthetic_model"]["findings"] if f["verdict"] == "FAIL"
    }
    assert places == dict.fromkeys(
        ("one step", "a rollout"), "the candidate raised ZeroDivisionError: by nothing"
    )
    assert sections["physical_model"]["passed"]


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_one_step_of_a_migration(hyco_here: Here, precision: str) -> None:
    mixture = ["migration.mode=hybrid", "migration.components={synthetic_model: phiml}"]
    candidate = ["--candidate", "components.synthetic_trainer=phiml"]
    general = ["general.mode=synthetic", f"trainer.precision={precision}"]
    done = hyco_here(
        "compare", "tiny.yaml", *mixture, *general, *candidate, "--no-training", "--output", "out"
    )
    assert done.status == 0, done.out
    data = result(Path("out"))
    assert data["names"] == ["mixture", "mixture + synthetic_trainer"]
    assert {s["name"]: s["sides"] for s in data["sections"]} == {
        "data_manager": ["legacy", "legacy"],
        "dataset": ["legacy", "legacy"],
        "physical_model": ["legacy", "legacy"],
        "synthetic_model": ["phiml", "phiml"],
        "synthetic_trainer": ["legacy", "phiml"],
    }
    findings = [f for s in data["sections"] for f in s["findings"]]
    shown = {f["quantity"] for f in findings if f["verdict"] == "shown"}
    assert shown == (AMPLIFIED if precision == "float32" else set())


def test_usage_errors(hyco_here: Here) -> None:
    for arguments, expected in (
        ([], "compare one CONFIG in both modes, or two runs"),
        (["--old", "a"], "--old and --new belong together"),
        (["tiny.yaml", "--old", "a", "--new", "b"], "not both"),
        (["--old", "a", "--new", "b"], "a: expected the results of a run"),
        (["tiny.yaml", "--candidate", "components.dataset=legacy"], "changes nothing"),
        (["tiny.yaml", "trainer.presicion=float64"], "Did you mean 'precision'"),
    ):
        refused = hyco_here("compare", *arguments)
        assert refused.status == 2, arguments
        assert expected in refused.error


def steps(order: str) -> Iterator[tuple[str, int]]:
    """The components of a road, with their numbers."""
    data, others = ["data_manager", "dataset"], ["synthetic_model", "physical_model", "synthetic_trainer",
                                                 "physical_trainer", "hybrid_trainer"]  # fmt: skip
    road = [*data, *others] if order == "forward" else [*others, *reversed(data)]
    yield from zip(road, range(1, 8), strict=True)


@pytest.mark.parametrize("order", ["models", "forward"])
def test_modes_next_leads_along_the_road(order: str, project: Project, hyco_here: Here) -> None:
    for number in ("000011", "000012"):
        (project.folder / "results/tiny/checkpoints" / f"last-{number}").mkdir(parents=True)
    overrides = ["migration.mode=legacy"]
    for component, number in steps(order):
        shown = hyco_here("modes", "tiny.yaml", *overrides, "--next", "--order", order)
        lines = shown.out.splitlines()
        assert (shown.status, lines[0]) == (0, NEXT.format(component, number))
        assert lines[1].startswith("prove it: hyco compare tiny.yaml ")
        assert overrides[0] in lines[1]
        assert lines[1].endswith(f" --candidate components.{component}=phiml")
        block = lines[2].removeprefix("put it in force: migration: ")
        if component in ("synthetic_trainer", "physical_trainer"):
            last = f"results/tiny/checkpoints/last-000012/{component.partition('_')[0]}"
            assert lines[3].endswith(f"hyco convert checkpoint {last}.pth {last}.phiml")
        overrides = [f"migration={block}"]
    done = hyco_here("modes", "tiny.yaml", *overrides, "--next", "--order", order)
    assert done.out == "tiny.yaml: every component is phiml; nothing is left to move.\n"


def test_modes_next_names_no_file_that_is_not_there(hyco_here: Here) -> None:
    mixture = "migration.components={synthetic_model: phiml, physical_model: phiml}"
    shown = hyco_here("modes", "tiny.yaml", "migration.mode=hybrid", mixture, "--next")
    assert shown.out.splitlines()[0] == NEXT.format("synthetic_trainer", 3)
    assert "hyco convert" not in shown.out


def test_modes_next_refuses_unknown_orders(hyco_here: Here) -> None:
    refused = hyco_here("modes", "tiny.yaml", "--next", "--order", "backward")
    assert refused.status == 2
    assert "unknown order 'backward'" in refused.error


def test_moves_to_jax_are_not_made_one_by_one(project: Project, hyco_here: Here) -> None:
    refused = hyco_here("modes", "tiny.yaml", "trainer.backend=jax", "migration.mode=legacy", "--next")
    assert refused.status == 2
    assert "one by one in PyTorch" in refused.err
    shown = hyco_here("modes", "tiny.yaml", "trainer.backend=jax", "migration.mode=legacy")
    assert shown.status == 2
    assert "synthetic_trainer" in shown.out
    assert "all models and trainers are legacy" in shown.err
