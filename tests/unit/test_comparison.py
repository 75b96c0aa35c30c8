"""Judging differences, choosing mixtures, cutting experiments, the road, and the outputs of two runs."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hyco.comparison import Comparison, Finding, Section, Timing, compare_modes, compare_runs
from hyco.comparison.cutting import MOST, full_experiment, small_experiment, value_of
from hyco.comparison.findings import failure, judge, worst
from hyco.comparison.mixtures import mixtures
from hyco.comparison.processes import train_in_process
from hyco.config import Config
from hyco.config.loading import load_config, parse_config, shipped_configs
from hyco.errors import DataError, InputError, ModeError, RunError
from hyco.migration.registry import use_mode
from hyco.migration.road import ORDERS, maps, next_step
from hyco.migration.shadow.recorder import Part
from hyco.report.comparison import section_tables, verdict_line, write_comparison
from hyco.storage.hdf5 import read_trajectory, simulation_path
from hyco.tasks import Silent, train
from hyco.testing import TOLERANCES
from hyco.testing.compare import Snapshot
from hyco.testing.experiments import write_data
from tests.experiments import tiny

# ------------------------------------------------------------------------------------------------- judging

STATE = Snapshot(np.linspace(1.0, 2.0, 6).reshape(2, 3), ("field", "x"), {"field": ("u", "v")})


def changed_by(amount: float) -> Snapshot:
    values = STATE.values.copy()
    values[1, 2] += amount
    return Snapshot(values, STATE.dims, STATE.names)


def test_a_difference_is_judged_by_the_table_and_placed() -> None:
    allowed = TOLERANCES["step"]["float64"].rtol * 2.0
    for share, verdict in ((0.9, "pass"), (1.2, "FAIL")):
        (found,) = judge(
            "one step", [Part("step", "", STATE)], [Part("step", "", changed_by(share * allowed))], "float64"
        )
        assert found.verdict == verdict
        assert found.place == "field=v, x=2"
        assert found.allowed == pytest.approx(allowed)
        assert found.share == pytest.approx(share, rel=0.02)


def test_the_magnitude_of_terms_that_cancel_is_allowed_for() -> None:
    row = TOLERANCES["fit loss in a run"]["float64"].rtol
    pair = [[Part("fit loss in a run", "", np.float64(loss), 1.0)] for loss in (1e-9, 1e-9 + 0.5 * row)]
    (found,) = judge("loss", pair[0], pair[1], "float64")
    assert found.passed
    assert found.relative == pytest.approx(0.5 * row, rel=1e-3)


def test_of_several_parts_the_worst_is_kept_with_its_name() -> None:
    wanted = [Part("step", n, STATE) for n in ("first", "second")]
    found = judge(
        "one step", wanted, [replace(wanted[0]), replace(wanted[1], values=changed_by(1e-3))], "float64"
    )
    assert [(f.place, f.verdict) for f in found] == [("second: field=v, x=2", "FAIL")]


@pytest.mark.parametrize(
    ("candidate", "why"),
    [
        ([], "only one side has  (step)"),
        ([Part("step", "", STATE.values)], "expected dims"),
        ([Part("step", "", Snapshot(STATE.values.astype("f4"), STATE.dims, STATE.names))], "expected dtype"),
    ],
)
def test_what_is_not_of_a_kind_fails(candidate: list[Part], why: str) -> None:
    (found,) = judge("one step", [Part("step", "", STATE)], candidate, "float64")
    assert found.verdict == "FAIL"
    assert why in found.place


def test_nothing_that_is_not_finite_passes_not_even_where_it_is_only_shown() -> None:
    for shown in ("", "chaotic"):
        (found,) = judge(
            "one step",
            [Part("step", "", STATE)],
            [Part("step", "", changed_by(np.nan))],
            "float64",
            shown=shown,
        )
        assert (found.error, found.verdict) == (inf, "FAIL")


def test_what_is_only_shown_passes_and_says_why() -> None:
    (found,) = judge(
        "later", [Part("step", "", STATE)], [Part("step", "", changed_by(1.0))], "float64", shown="chaotic"
    )
    assert (found.verdict, found.passed, found.note, found.share) == ("shown", True, "chaotic", None)
    assert found.error == 1.0


def test_counts_must_be_equal() -> None:
    pair = [[Part("steps of a fit", "", np.array([3, n]))] for n in (4, 5)]
    (found,) = judge("a fit", pair[0], pair[1], "float32")
    assert (found.verdict, found.share) == ("FAIL", inf)
    (same,) = judge("a fit", pair[0], pair[0], "float32")
    assert (same.verdict, same.share) == ("pass", 0.0)


def test_the_worse_of_two_calls_counts() -> None:
    good, bad = (Finding("call", "step", e, "", 1.0, 1e-3) for e in (1e-6, 1e-2))
    assert worst([good, bad, good]) == [bad]
    assert worst([good, replace(bad, what="other")]) == [good, replace(bad, what="other")]


# ------------------------------------------------------------------------------------------------ mixtures


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return tiny(tmp_path)


def with_migration(config: Config, **migration: Any) -> Config:
    return parse_config({**config.model_dump(mode="json"), "migration": migration})


def test_without_candidates_all_of_legacy_meets_all_of_phiml(config: Config) -> None:
    reference, candidate = mixtures(with_migration(config, mode="phiml"))
    assert (reference.name, set(reference.sides.values())) == ("legacy", {"legacy"})
    assert (candidate.name, set(candidate.sides.values())) == ("phiml", {"phiml"})
    assert list(reference.sides) == list(candidate.sides)
    assert len(reference.sides) == 7
    alone = config.model_copy(update={"general": config.general.model_copy(update={"mode": "synthetic"})})
    assert "physical_trainer" not in mixtures(alone)[0].sides


@pytest.mark.parametrize("mode", ["legacy", "phiml", None])
def test_a_candidate_is_added_to_legacy(config: Config, mode: str | None) -> None:
    reference, candidate = mixtures(with_migration(config, mode=mode), ["components.synthetic_model=phiml"])
    assert set(reference.sides.values()) == {"legacy"}
    assert [c for c, s in candidate.sides.items() if s == "phiml"] == ["synthetic_model"]
    assert candidate.name == "legacy + synthetic_model"
    assert candidate.migration() == {"mode": "hybrid", "components": {"synthetic_model": "phiml"}}


def test_a_candidate_is_added_to_the_mixture_so_far(config: Config) -> None:
    so_far = with_migration(config, mode="hybrid", components={"physical_model/burgers": "phiml"})
    reference, candidate = mixtures(so_far, ["dataset=phiml", "migration.components.physical_model=legacy"])
    assert [c for c, s in reference.sides.items() if s == "phiml"] == ["physical_model"]
    assert [c for c, s in candidate.sides.items() if s == "phiml"] == ["dataset"]
    assert candidate.name == "mixture + dataset, physical_model=legacy"


@pytest.mark.parametrize(
    ("candidate", "complaint"),
    [
        ("synthetic_model", "expected COMPONENT=SIDE"),
        ("components.syntetic_model=phiml", "Did you mean 'synthetic_model'"),
        ("components.dataset=phi", "unknown side 'phi'"),
        ("components.dataset=legacy", "changes nothing: dataset is legacy"),
    ],
)
def test_a_candidate_that_is_none_is_refused(config: Config, candidate: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        mixtures(config, [candidate])


# ------------------------------------------------------------------------------------------------- cutting


@pytest.mark.parametrize("name", shipped_configs())
def test_a_small_copy_is_small_and_says_how(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hyco.comparison.cutting._generate", lambda config, progress: None)
    monkeypatch.chdir(tmp_path)
    config = load_config(name)
    found = small_experiment(config, tmp_path / "compare", Silent())
    for key, most in MOST.items():
        assert value_of(found.config, key) == min(most, value_of(config, key))
        said = f"{key}: {value_of(config, key)} -> {most}"
        assert (said in found.notes[0]) == (value_of(config, key) > most)
    assert found.config.model == config.model
    assert found.config.trainer.rollout_steps == config.trainer.rollout_steps
    made = config.data.source is None  # files of somebody else stay where they are
    assert found.config.data.data_dir == (tmp_path / "compare" / "data" if made else config.data.data_dir)
    assert "-> [0, 1]" in found.notes[0]
    assert "batch_size: 8 -> 8" not in found.notes[0]


def test_the_data_of_a_small_copy_are_the_first_frames_of_the_experiments_own(tmp_path: Path) -> None:
    config = tiny(tmp_path, ["data.trajectory_length=14", "trainer.train_sim=[1]", "trainer.val_sim=[0]",
                             "evaluation.test_sim=[0]"])  # fmt: skip
    write_data(config)
    found = small_experiment(config, tmp_path / "compare", Silent())
    small = found.config
    assert (small.trainer.train_sim, small.trainer.val_sim, small.evaluation.test_sim) == ((0,), (1,), (1,))
    assert small.data.trajectory_length == config.trainer.rollout_steps + 7 < 14
    facts = {"grid": config.grid, "layout": config.layout, "dt": config.model.physical.dt}
    for number, original in ((0, 1), (1, 0)):
        copied = read_trajectory(simulation_path(small.data.data_dir, number), **facts)
        whole = read_trajectory(simulation_path(config.data.data_dir, original), **facts)
        np.testing.assert_array_equal(copied, whole[:, : copied.shape[1]])
    assert str(config.data.data_dir) in found.notes[0]


def test_a_full_experiment_leaves_the_data_alone(tmp_path: Path) -> None:
    config = tiny(tmp_path)
    write_data(config)
    before = {p: p.stat().st_mtime_ns for p in config.data.data_dir.iterdir()}
    found = full_experiment(config, tmp_path / "compare", Silent())
    assert (found.config, found.small) == (config, False)
    simulation_path(config.data.data_dir, 0).unlink()
    elsewhere = full_experiment(config, tmp_path / "compare", Silent())
    assert elsewhere.config.data.data_dir == tmp_path / "compare" / "data"
    assert simulation_path(elsewhere.config.data.data_dir, 1).exists()
    assert {p: p.stat().st_mtime_ns for p in config.data.data_dir.iterdir()}.items() <= before.items()


# ------------------------------------------------------------------------------------------------ the road


def test_the_road_leads_from_legacy_to_phiml_one_component_at_a_time(config: Config) -> None:
    for order, components in ORDERS.items():
        road, walked = maps(config, order), {}
        for number, expected in enumerate(road, start=1):
            with use_mode("hybrid", walked):
                step = next_step(config, order)
            assert step is not None
            assert (step.component, step.number, step.of) == (components[number - 1], number, 7)
            assert step.components == expected
            walked = dict(step.components)
        with use_mode("hybrid", walked):
            assert next_step(config, order) is None
        assert walked == dict.fromkeys(components, "phiml")


def test_a_step_says_how_to_prove_it_and_how_to_put_it_in_force(config: Config) -> None:
    with use_mode("hybrid", {"synthetic_model": "phiml"}):
        step = next_step(config)
    assert step is not None
    assert step.command("my.yaml", ["trainer.seed=1", "a={b: c}"]) == (
        "hyco compare my.yaml trainer.seed=1 'a={b: c}' --candidate components.physical_model=phiml"
    )
    assert parse_config(
        {**config.model_dump(mode="json"), "migration": _yaml(step.block)["migration"]}
    ).migration.components == {"synthetic_model": "phiml", "physical_model": "phiml"}
    with use_mode("hybrid", dict.fromkeys(ORDERS["models"][:-1], "phiml")):
        last = next_step(config)
    assert last is not None
    assert _yaml(last.block) == {"migration": {"mode": "phiml"}}


def _yaml(text: str) -> Any:
    from hyco.config.yaml_text import parse_yaml

    return parse_yaml(text, "test")


def test_a_training_of_one_model_has_a_shorter_road(config: Config) -> None:
    alone = config.model_copy(update={"general": config.general.model_copy(update={"mode": "synthetic"})})
    step = next_step(alone)
    assert step is not None
    assert (step.component, step.of) == ("synthetic_model", 5)
    with pytest.raises(ModeError, match="Did you mean 'forward'"):
        next_step(alone, "forwards")


# ----------------------------------------------------------------------------------------------- trainings


def test_a_candidate_whose_training_fails_is_a_finding_and_a_reference_is_an_error(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_data(config)
    failing = "candidate"

    def train_in_process(config: Config) -> dict[str, float]:
        if config.output_dir.name == failing:
            raise RunError("the training failed: of sorts")
        return {"seconds": 1.0}

    monkeypatch.setattr("hyco.comparison.modes._components", lambda *_: [])
    monkeypatch.setattr("hyco.comparison.modes.train_in_process", train_in_process)
    found = compare_modes(config, tmp_path / "compare")
    (section,) = found.sections
    assert [(f.what, f.place, f.verdict) for f in section.findings] == [
        ("the training", "the training failed: of sorts", "FAIL")
    ]
    failing = "reference"
    with pytest.raises(RunError, match="of sorts"):
        compare_modes(config, tmp_path / "compare")


def test_a_training_that_fails_in_its_process_says_why(config: Config) -> None:
    with pytest.raises(RunError, match=r"failed \(exit status 1\): .*no such file"):
        train_in_process(config)  # its data were never made


# ------------------------------------------------------------------------------------------------ two runs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A finished legacy training."""
    config = tiny(tmp_path_factory.mktemp("run"))
    write_data(config)
    train(config)
    return config


def copy_of(run: Config, folder: Path) -> Path:
    import shutil

    shutil.copytree(run.output_dir, folder)
    return folder


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def write_records(folder: Path, history: list[dict[str, Any]]) -> None:
    (folder / "history.jsonl").write_text("".join(json.dumps(r) + "\n" for r in history))


def test_a_run_is_the_same_as_itself(run: Config, tmp_path: Path) -> None:
    found = compare_runs(run.output_dir, copy_of(run, tmp_path / "new"))
    (section,) = found.sections
    assert found.passed
    assert {f.what for f in section.findings} == {"all epochs", "best synthetic model", "best physical model"}
    assert len(section.findings) == 6
    assert all(f.error == 0 for f in section.findings)
    assert not [note for note in found.notes if "differ" in note]
    assert len(found.curves["synthetic"]["reference"]) == 1


def test_a_changed_loss_is_found(run: Config, tmp_path: Path) -> None:
    new = copy_of(run, tmp_path / "new")
    history = records(new)
    history[0]["validation_loss"] *= 1.0 + 1e-6
    write_records(new, history)
    found = compare_runs(run.output_dir, new)
    (bad,) = [f for f in found.sections[0].findings if not f.passed]
    assert bad.place == "synthetic epoch 1, validation_loss: the only value"


def test_a_changed_parameter_is_found_by_its_value_and_its_predictions(run: Config, tmp_path: Path) -> None:
    from hyco.comparison.run_outputs import RunOutputs

    new = copy_of(run, tmp_path / "new")
    model = RunOutputs(new).models["physical"]
    values = model.arrays.numpy(model.parameters["diffusion_coeff"]).copy()
    values *= 1.001
    model.assign({"diffusion_coeff": values})
    model.save(new / "checkpoints" / "physical_best.pth")
    bad = [f for f in compare_runs(run.output_dir, new).sections[0].findings if not f.passed]
    assert [f.quantity for f in bad] == [
        "parameters of a short training",
        "physical predictions of a short training",
    ]
    assert bad[0].place == f"diffusion_coeff: dim 0={int(np.argmax(values))}"


def test_a_missing_epoch_fails(run: Config, tmp_path: Path) -> None:
    new = copy_of(run, tmp_path / "new")
    write_records(new, records(new)[:-1])
    bad = [f for f in compare_runs(run.output_dir, new).sections[0].findings if not f.passed]
    assert [f.place for f in bad] == [
        "3 records, the last of cycle 1 in the reference, 2 records, the last of physical epoch 1 in the "
        "candidate"
    ]


def test_other_settings_are_shown(run: Config, tmp_path: Path) -> None:
    new = copy_of(run, tmp_path / "new")
    text = (new / "config.yaml").read_text()
    (new / "config.yaml").write_text(text.replace("learning_rate: 0.01", "learning_rate: 0.02"))
    notes = compare_runs(run.output_dir, new).notes
    expected = "the configurations differ in trainer.synthetic.learning_rate: 0.01 in old, 0.02 in new"
    assert expected in notes


def test_of_a_long_training_only_the_first_epochs_are_judged(run: Config, tmp_path: Path) -> None:
    folders = [copy_of(run, tmp_path / name) for name in ("old", "new")]
    for folder in folders:
        text = (folder / "config.yaml").read_text()
        (folder / "config.yaml").write_text(text.replace("cycles: 1", "cycles: 5"))
    history = records(folders[1])
    for record in history:
        for key in ("train_loss", "physical_loss", "synthetic_loss"):
            if key in record and record.get("model") != "synthetic":
                record[key] *= 1.1
    write_records(folders[1], history)
    found = compare_runs(*folders)
    verdicts = {f.what: f.verdict for f in found.sections[0].findings}
    assert verdicts == {
        "first epochs": "pass",
        "later epochs": "shown",
        "best synthetic model": "shown",
        "best physical model": "shown",
    }
    assert any("first epochs are judged" in note for note in found.notes)
    history[0]["train_loss"] *= 1.1
    write_records(folders[1], history)
    assert not compare_runs(*folders).passed


def test_scores_are_compared_where_there_are_some(run: Config, tmp_path: Path) -> None:
    folders = [copy_of(run, tmp_path / name) for name in ("old", "new")]
    for folder, score in zip(folders, (0.5, 0.50001), strict=True):
        (folder / "metrics.json").write_text(json.dumps({"models": {"synthetic": {"nrmse": score}}, "n": 3}))
    (bad,) = [f for f in compare_runs(*folders).sections[0].findings if not f.passed]
    assert (bad.what, bad.place) == ("metrics.json", "models.synthetic.nrmse: the only value")
    assert bad.quantity == "scores of a short training"


def test_a_folder_without_a_run_is_refused(run: Config, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected the results of a run"):
        compare_runs(run.output_dir, tmp_path)


# ---------------------------------------------------------------------------------------------- the report


def comparison() -> Comparison:
    findings = [
        Finding("one step", "step", 0.0, "", 1.0, 1e-5),
        Finding("a rollout", "rollout in a run", 3e-4, "field=u, x=3", 1.0, 1e-4),
        failure("a rollout", "the candidate raised ValueError: no"),
        Finding("later", "losses of a short training", 0.1, "epoch 9", 1.0, None, "chaotic"),
    ]
    timing = Timing("one step", [1e-3, 2e-3, 3e-3], [2e-6, 3e-6, 4e-6])
    epoch = {"kind": "epoch", "model": "synthetic", "epoch": 1, "train_loss": 0.5, "validation_loss": None}
    other = {**epoch, "train_loss": 0.6}
    cost = {"seconds": 2.0, "memory_mb": 100.0, "imports_mb": 50.0}
    return Comparison(
        "tiny <&>",
        ("legacy", "phiml"),
        "float32",
        [
            Section("data_manager", "default", ("legacy", "phiml"), findings[:1]),
            Section("physical_model", "burgers", ("legacy", "phiml"), findings, [timing]),
        ],
        ["a note"],
        {"synthetic": {"reference": [epoch], "candidate": [other]}},
        {"reference": cost, "candidate": {**cost, "seconds": 1.0}},
        {"packages": {"torch": "2"}},
    )


class Sources(HTMLParser):
    """Everything that a page would load, and the texts of its cells."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [v or "" for k, v in attrs if k in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text.append(data.strip())


def test_the_page_stands_alone_and_says_everything(tmp_path: Path) -> None:
    page = write_comparison(comparison().plain(), tmp_path)
    parser = Sources()
    parser.feed(page.read_text())
    assert len(parser.loaded) == 3
    assert all(source.startswith("data:image/png;base64,") for source in parser.loaded)
    for expected in (
        "tiny <&>",
        "3.0e-04",
        "FAIL",
        "field=u, x=3",
        "2 ms",
        "3 µs",
        "a note",
        "beyond",
        "shown",
    ):
        assert expected in parser.text, expected
    assert {p.name for p in (tmp_path / "figures").iterdir()} == {
        "differences.png",
        "curves.png",
        "costs.png",
    }
    data = json.loads((tmp_path / "compare.json").read_text())
    assert (data["passed"], data["sections"][0]["passed"], data["sections"][1]["passed"]) == (
        False,
        True,
        False,
    )
    assert data["sections"][1]["findings"][2]["error"] is None  # infinity
    assert data["sections"][1]["timings"][0]["ratio"] == pytest.approx(1.5e-3)


def test_the_verdict_names_where_to_look_first() -> None:
    found = comparison()
    assert verdict_line(found.plain()) == (
        "legacy and phiml: NOT the same, 2 of 4 judged quantities are outside their tolerances, in "
        "physical_model; look at physical_model first; 1 more are shown, not judged"
    )
    good = replace(found, sections=found.sections[:1])
    assert verdict_line(good.plain()) == (
        "legacy and phiml: the same, all 1 judged quantities are within their tolerances"
    )
    assert found.sections[1].worst is found.sections[1].findings[2]


def test_tables_have_a_cell_for_every_head() -> None:
    for section in comparison().plain()["sections"]:
        for table in section_tables(section, ("legacy", "phiml")):
            assert all(len(row) == len(table.heads) for row in table.rows)
