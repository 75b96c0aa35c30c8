"""Runs that survive: killed, stopped, damaged, changed, held by another; they end as they would have.

HYCO_KILLS: how often each training is killed, 3 by default.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hyco.config import load_config
from hyco.errors import CheckpointError, InputError, Interrupted, Stopped
from hyco.interfaces import Record
from hyco.storage.run_directory import RunDirectory
from hyco.storage.states import read_state
from hyco.tasks import Silent, run
from tests.integration.conftest import Here, Outcome, Project

KILLS = int(os.environ.get("HYCO_KILLS", "3"))
MIXTURE = "{dataset: phiml, synthetic_model: phiml, physical_trainer: phiml}"
MODES = {
    "legacy": ["migration.mode=legacy"],
    "phiml": ["migration.mode=phiml"],
    "jax": ["migration.mode=phiml", "trainer.backend=jax"],
    "mixture": ["migration.mode=hybrid", f"migration.components={MIXTURE}"],
}
DEMANDING = [
    "general.tasks=[train]",
    "data.trajectory_length=10",
    "data.num_simulations=5",
    "model.synthetic.architecture.batch_norm=true",
    "observations={space: {mask: random_points, count: 9}, noise: {level: 0.02}}",
    "trainer.precision=float32",
    "trainer.rollout_steps=4",
    "trainer.synthetic.epochs=6",
    "trainer.synthetic.optimizer=adamw",
    "trainer.synthetic.weight_decay=0.01",
    "trainer.synthetic.gradient_clipping=1.0",
    "trainer.synthetic.early_stopping={patience: 3}",
    "trainer.synthetic.curriculum={start: 2, end: 4, strategy: linear}",
    "trainer.synthetic.input_noise.scale=0.01",
    "trainer.physical.epochs=2",
    "trainer.hybrid.cycles=3",
    "trainer.hybrid.updates=simultaneous",
    "trainer.hybrid.reversion={tolerance: 0.0}",
    "trainer.hybrid.loss_scaling={synthetic: {proportional: true}}",
    "trainer.hybrid.augmentation={num_trajectories: 2, trajectory_length: 6, points: 5}",
    "trainer.hybrid.augmentation.initial_conditions=data",
]
CADENCES = ("{epochs: 1, cycles: 1, minutes: 10}", "{epochs: null, cycles: null, minutes: 0.0005}")
KINDS = {"synthetic": "synthetic training state", "physical": "physical training state"}


def contents(run: Path) -> dict[str, Any]:
    """Every array and fact of the newest state and of the best models of a run."""
    newest = max((run / "checkpoints").glob("last-*"))
    found: dict[str, Any] = {}
    for path in (*newest.iterdir(), *(run / "checkpoints").glob("*_best.*")):
        if path.suffix == ".json":
            facts = json.loads(path.read_text())
            found |= {f"run {key}": facts[key] for key in ("epochs", "records", "finished", "data")}
            continue
        if path.suffix == ".safetensors":
            state = read_state(path)
            arrays, facts = state.arrays, state.facts
        else:
            side = {".pth": "legacy", ".phiml": "phiml"}[path.suffix]
            _, arrays, facts = import_module(f"hyco.{side}.checkpoints").read_contents(path)
        found |= {f"{path.stem} {name}": a for name, a in arrays.items()}
        found |= {f"{path.stem} {name}": f for name, f in facts.items()}
    return found


def assert_same(project: Project, one: str, other: str) -> None:
    """Two runs ended the same, to the last bit."""
    assert project.history(one) == project.history(other)
    expected, found = contents(project.folder / one), contents(project.folder / other)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(found[key], value, err_msg=key, strict=True)
        else:
            assert found[key] == value, key


def train(project: Project, *overrides: str, **options: Any) -> None:
    """Train in this process."""
    run(load_config(project.folder / "tiny.yaml", overrides), tasks=("train",), **options)


@pytest.fixture
def small(project: Project, hyco_here: Here) -> Project:
    """The tiny project with its data, and an undisturbed training of two cycles in `whole`."""
    text = (project.folder / "tiny.yaml").read_text()
    (project.folder / "tiny.yaml").write_text(
        text.replace("data: {", "data: {data_dir: data, cache_dir: cache, ")
        .replace("synthetic: {epochs: 1}", "synthetic: {epochs: 2}")
        .replace("{cycles: 1,", "{cycles: 2,")
    )
    assert hyco_here("generate", "tiny.yaml", "-q").status == 0
    assert hyco_here("train", "tiny.yaml", "-q", "general.output_dir=whole").status == 0
    return project


# ------------------------------------------------------------------------------------------------ killed


@dataclass
class Killer:
    """Starts a training and kills it at a random moment, so that `wanted` kills make about one training.

    How fast a machine is changes from minute to minute, so the moments follow what happened: earlier ones
    when a training came to its end, later ones when it did not come forward.
    """

    project: Project
    wanted: int
    start: float
    work: float
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(KILLS))
    idle: int = 0

    def kill(self, *command: str, early: bool) -> bool:
        """Whether it was killed before its end; `early`: before the training has begun, mostly."""
        latest = self.start + 1.3 * self.work / self.wanted
        moment = self.rng.uniform(*((0.0, self.start) if early else (0.8 * self.start, latest)))
        before, began = self._states(), time.monotonic()
        process = self.project.popen(sys.executable, "-m", "hyco", *command)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=moment)
        process.send_signal(signal.SIGKILL)
        _, err = process.communicate()
        if process.returncode == 0:
            self.start = min(0.8 * self.start, 0.8 * (time.monotonic() - began))
            return False
        assert process.returncode == -signal.SIGKILL, err
        self.idle = 0 if early or self._states() != before else self.idle + 1
        if self.idle == 3:
            self.start, self.idle = 1.3 * self.start, 0
        return True

    def _states(self) -> set[Path]:
        return set(self.project.folder.glob("cut*/checkpoints/last-*"))


@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_is_killed_again_and_again_ends_as_if_it_had_not_been(project: Project, mode: str) -> None:
    """Every fourth kill is before the training has begun; every second one saves in the middle of epochs."""
    settings = ["tiny.yaml", *MODES[mode], *DEMANDING]
    assert project.hyco("generate", *settings).status == 0
    killer = measured(project, *settings)
    kills, runs = 0, ["cut0"]
    while kills < KILLS:
        every = f"checkpoint.every={CADENCES[kills % 2]}"
        command = ["train", *settings, every, f"general.output_dir={runs[-1]}"]
        if killer.kill(*command, *resume(project, runs[-1]), early=kills % 4 == 3):
            kills += 1
        else:
            runs.append(f"cut{len(runs)}")
    done = project.hyco("train", *settings, f"general.output_dir={runs[-1]}", *resume(project, runs[-1]))
    assert done.status == 0, done.err
    assert project.temporaries() == []
    for name in runs:
        assert_same(project, "whole", name)


def measured(project: Project, *settings: str) -> Killer:
    """What kills trainings at moments that suit one which is left alone, in `whole`."""
    history, began = project.folder / "whole" / "history.jsonl", time.monotonic()
    command = [sys.executable, "-m", "hyco", "train", *settings, "general.output_dir=whole"]
    process = project.popen(*command)
    while process.poll() is None and not (history.exists() and history.stat().st_size):
        time.sleep(0.002)
    start = time.monotonic() - began
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return Killer(project, KILLS, start, time.monotonic() - began - start)


def resume(project: Project, run: str) -> list[str]:
    """`--resume`, where there is something to go on from."""
    return ["--resume"] if list(project.folder.glob(f"{run}/checkpoints/last-*")) else []


# ----------------------------------------------------------------------------------------------- stopped


class At(Silent):
    """Does something once the training is somewhere: after so many records, batches or iterations."""

    def __init__(self, where: str, number: int, action: Callable[[], None]) -> None:
        self.where, self.number, self.action = where, number, action

    def update(self, work: str, done: int, total: int, text: str = "") -> None:
        if work == self.where:
            self._count()

    def record(self, record: Record) -> None:
        if self.where == "record":
            self._count()

    def _count(self) -> None:
        self.number -= 1
        if self.number == 0:
            self.action()


def asks(name: str) -> Callable[[], None]:
    """What a scheduler does."""
    return lambda: signal.raise_signal(getattr(signal, name))


MOMENTS = [("batches", 2), ("batches", 3), ("batches", 14), ("iterations", 2), ("iterations", 8),
           ("record", 5), ("record", 6), ("record", 7)]  # fmt: skip


@pytest.mark.parametrize(("where", "number"), MOMENTS, ids=lambda v: str(v))
def test_a_stop_saves_and_going_on_changes_nothing(
    small: Project, side: str, where: str, number: int
) -> None:
    name = "SIGUSR1" if number % 2 else "SIGTERM"
    here = ["general.output_dir=cut", f"migration.mode={side}"]
    whole = "whole"
    if side == "phiml":
        train(small, f"migration.mode={side}", "general.output_dir=whole_phiml")
        whole = "whole_phiml"
    with pytest.raises(
        Stopped, match=rf"stopped by {name}; the state is saved in cut/checkpoints/last-0"
    ) as stopped:
        train(small, *here, progress=At(where, number, asks(name)))
    assert (stopped.value.exit_status, stopped.value.resumable) == (75, True)
    newest = small.newest("cut")
    assert str(newest.relative_to(small.folder)) in str(stopped.value)
    if where == "batches":  # in the middle of an epoch
        assert json.loads((newest / "run.json").read_text())["reason"] == name
    train(small, *here, resume=True)
    assert_same(small, whole, "cut")


def test_a_second_interrupt_saves_nothing_more(small: Project) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(Interrupted, match="interrupted; the state is saved in") as stopped:
        train(small, "general.output_dir=cut", progress=At("batches", 2, twice))
    assert stopped.value.exit_status == 130
    assert json.loads((small.newest("cut") / "run.json").read_text())["reason"] == "begun"
    train(small, "general.output_dir=cut", resume=True)
    assert_same(small, "whole", "cut")


def test_a_scheduler_stops_the_command_with_a_status_of_its_own_while_others_are_refused(
    project: Project,
) -> None:
    long = ["trainer.synthetic.epochs=100000", "general.tasks=[generate, train]"]
    process = project.popen(sys.executable, "-m", "hyco", "run", "tiny.yaml", *long)
    history = project.folder / "results/tiny/history.jsonl"
    while not (history.exists() and history.stat().st_size):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    second = project.hyco("evaluate", "tiny.yaml")
    assert second.status == 2
    assert f"results/tiny: in use by process {process.pid} on " in second.error
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75
    newest = project.newest().name
    assert err.splitlines()[-1] == (
        f"hyco: stopped by SIGTERM; the state is saved in results/tiny/checkpoints/{newest}. "
        f"Go on with: python -m hyco run tiny.yaml {' '.join(long[:1])} '{long[1]}' --resume"
    )


def test_a_time_limit_stops_in_time(small: Project, hyco_here: Here) -> None:
    long = ["general.output_dir=cut", "trainer.synthetic.epochs=100000"]
    began = time.monotonic()
    done = hyco_here("train", "tiny.yaml", *long, "--time-limit", "6s")
    assert time.monotonic() - began < 60  # the training would take an hour
    assert done.status == 75, done.err
    newest = small.newest("cut")
    assert (
        f"stopped by the time limit of 6s; the state is saved in cut/checkpoints/{newest.name}. " in done.err
    )
    facts = json.loads((newest / "run.json").read_text())
    assert facts["records"] == len(small.history("cut"))
    assert facts["reason"] in ("the time limit of 6s", "epoch")  # which was saved at that moment anyway
    refused = hyco_here("train", "tiny.yaml", *long, "--time-limit", "6 s")
    assert refused.status == 2
    assert "--time-limit: expected a duration such as 23h50m" in refused.error


class Begun(Silent):
    """Does something as soon as a run begins, the first one or a later one."""

    def __init__(self, number: int, action: Callable[[], None]) -> None:
        self.number, self.action = number, action

    def update(self, work: str, done: int, total: int, text: str = "") -> None:
        if work == "runs":
            self.number -= 1
            if self.number == 0:
                self.action()

    def begin(self, rows: Any) -> None:
        if self.number == 0:
            self.action()


def test_a_stop_is_heard_before_the_first_task(small: Project) -> None:
    with pytest.raises(Stopped, match=r"stopped by SIGUSR1; what was finished stays in") as stopped:
        train(small, "general.output_dir=cut", progress=Begun(0, asks("SIGUSR1")))
    assert (stopped.value.exit_status, stopped.value.resumable) == (75, False)


def test_a_stop_between_two_runs_tells_to_resume(small: Project) -> None:
    """What the first one has done need not be done again."""
    several = ["general.output_dir=cut", "general.mode=all"]
    with pytest.raises(Stopped, match=r"stopped by SIGTERM") as stopped:
        train(small, *several, progress=Begun(1, asks("SIGTERM")))
    assert stopped.value.resumable
    assert sorted(p.name for p in (small.folder / "cut").iterdir() if p.is_dir()) == ["physical"]
    before = small.newest("cut/physical").stat().st_mtime_ns
    train(small, *several, resume=True)
    assert small.newest("cut/physical").stat().st_mtime_ns == before
    assert small.newest("cut/hybrid").is_dir()


def test_several_runs_hold_the_folder_of_all(small: Project, hyco_here: Here) -> None:
    """A second command would do the first of them anew while this one is at a later one."""
    seen: list[Outcome] = []
    command = ["general.output_dir=cut", "general.mode=all"]

    def second() -> None:
        seen.append(small.hyco("train", "tiny.yaml", *command))

    train(small, *command, progress=Begun(1, second))
    assert seen[0].status == 2
    assert f"cut: in use by process {os.getpid()} on " in seen[0].error


@pytest.mark.parametrize("how", ["SIGTERM", "limit"])
def test_a_stop_while_data_are_generated_leaves_what_is_finished(project: Project, how: str) -> None:
    many = ["generate", "tiny.yaml", "data.num_simulations=5000"]
    limit = ["--time-limit", "4"] if how == "limit" else []
    process = project.popen(sys.executable, "-m", "hyco", *(["run", *many[1:]] if limit else many), *limit)
    data = project.folder / "data" / "tiny"
    if not limit:
        while not (data / "sim_000002.h5").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75
    said = "SIGTERM" if not limit else "the time limit of 4"
    assert f"stopped by {said}; what was finished stays in data/tiny, results/tiny. Go on with: " in err
    assert "--resume" not in err
    assert project.temporaries() == []


# --------------------------------------------------------------------------------------- what is kept


def reasons(project: Project, run: str = "cut") -> list[str]:
    """Why the states that are there were saved, the oldest first."""
    folders = sorted((project.folder / run / "checkpoints").glob("last-*"))
    return [json.loads((f / "run.json").read_text())["reason"] for f in folders]


def test_when_and_how_many_states_are_kept(small: Project) -> None:
    cut = "general.output_dir=cut"
    train(small, cut, "checkpoint.keep=100")
    # 3 rounds of two epochs and a solve; the last solve of a cycle counts once the cycle is on record
    expected = ["epoch"] * 3 + (["epoch"] * 2 + ["epoch"]) * 2
    assert reasons(small) == ["begun", *expected, "finished"]
    train(small, cut, "checkpoint={keep: 2, every: {epochs: null}}")
    assert reasons(small) == ["cycle", "finished"]
    assert len(list((small.folder / "cut/checkpoints").glob("last-*"))) == 2
    train(small, cut, "checkpoint={keep: 9, every: {epochs: null, cycles: null, minutes: null}}")
    assert reasons(small) == ["begun", "finished"]
    train(small, cut, "checkpoint={keep: 9, every: {epochs: null, cycles: 1, minutes: null}}")
    assert reasons(small) == ["begun", "cycle", "cycle", "finished"]
    train(small, cut, "checkpoint={keep: 99, every: {epochs: null, cycles: null, minutes: 1.0e-9}}")
    saved = reasons(small)
    assert saved.count("minutes") > 20  # batches and iterations
    assert_same(small, "whole", "cut")


def test_a_training_that_begins_anew_leaves_nothing_of_another_to_resume(small: Project) -> None:
    train(small, "general.output_dir=cut", "trainer.batch_size=3")
    before = sorted(os.listdir(small.folder / "cut/checkpoints"))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        train(small, "general.output_dir=cut", progress=At("rounds", 1, stop))
    kept = [p.name for p in (small.folder / "cut/checkpoints").glob("last-*")]
    assert len(kept) == 1 and kept[0] > max(n for n in before if n.startswith("last-"))
    assert small.history("cut") == []
    assert not list(
        (small.folder / "cut/checkpoints").glob("*_best.*")
    )  # which would be evaluated as its own
    train(small, "general.output_dir=cut", resume=True)
    assert_same(small, "whole", "cut")


def test_a_finished_training_is_said_to_be_so(small: Project, hyco_here: Here) -> None:
    before = {p: p.read_bytes() for p in (small.folder / "whole").rglob("*") if p.is_file()}
    done = hyco_here("train", "tiny.yaml", "general.output_dir=whole", "--resume")
    assert done.status == 0
    assert f"the training is finished ({small.newest('whole').relative_to(small.folder)})" in done.err
    changed = {p.name for p, content in before.items() if p.read_bytes() != content}
    assert changed <= {"log.txt", "environment.json"}


# --------------------------------------------------------------------------------------------- damaged


def stopped(project: Project, *overrides: str) -> Path:
    """A training that was stopped in its first cycle; its newest state."""
    with pytest.raises(Stopped):
        train(project, "general.output_dir=cut", *overrides, progress=At("record", 5, asks("SIGTERM")))
    return project.newest("cut")


def resumed(hyco: Here, *more: str) -> Outcome:
    """`hyco train --resume` of the training that was stopped."""
    return hyco("train", "tiny.yaml", "general.output_dir=cut", "--resume", *more)


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "cut short": lambda p: os.truncate(p / "synthetic.pth", 1000),
    "empty": lambda p: (p / "physical.pth").write_bytes(b""),
    "missing": lambda p: (p / "physical.pth").unlink(),
    "hybrid missing": lambda p: (p / "hybrid.safetensors").unlink(),
    "facts": lambda p: (p / "run.json").write_text("{}"),
    "facts missing": lambda p: (p / "run.json").unlink(),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_the_newest_state_that_is_whole_is_used_and_named(small: Project, hyco_here: Here, how: str) -> None:
    newest = stopped(small)
    (before,) = [p for p in newest.parent.glob("last-*") if int(p.name[5:]) == int(newest.name[5:]) - 1]
    DAMAGE[how](newest)
    damaged = {p.name: p.read_bytes() for p in newest.iterdir()}
    seen: list[bool] = []
    record = RunDirectory.record

    def look(directory: RunDirectory, entry: Record) -> None:
        if not seen:
            seen.append({p.name: p.read_bytes() for p in newest.iterdir()} == damaged)
        record(directory, entry)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunDirectory, "record", look)
        done = resumed(hyco_here)
    assert done.status == 0, done.err
    (warning,) = [line for line in done.err.splitlines() if line.startswith("warning: ")]
    assert f"cut/checkpoints/{newest.name}/" in warning
    assert warning.endswith(f"; going on from cut/checkpoints/{before.name} instead")
    assert seen == [True]  # nothing was written over it
    assert_same(small, "whole", "cut")


def test_the_best_models_are_those_of_the_state(small: Project) -> None:
    """Whatever files are there: none, as after a change of the mode, or those of what is done again."""
    newest = stopped(small)
    best = sorted(newest.parent.glob("*_best.*"))
    assert len(best) == 2
    best[0].unlink()
    best[1].write_bytes((small.folder / "whole/checkpoints" / best[1].name).read_bytes())
    before = [p.read_bytes() for p in sorted((small.folder / "whole/checkpoints").glob("*_best.*"))]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        train(small, "general.output_dir=cut", resume=True, progress=At("rounds", 1, stop))
    facts = [json.loads(line) for line in (small.folder / "cut/history.jsonl").read_text().splitlines()]
    last = {r["model"]: r["epoch"] for r in facts if r.get("best")}
    assert last.keys() == {"synthetic", "physical"}
    assert [p.is_file() for p in best] == [True, True]
    assert best[1].read_bytes() != before[1]
    train(small, "general.output_dir=cut", resume=True)
    assert_same(small, "whole", "cut")


def test_when_none_is_whole_all_are_named(small: Project, hyco_here: Here) -> None:
    stopped(small)
    for path in (small.folder / "cut/checkpoints").glob("last-*"):
        os.truncate(path / "synthetic.pth", 100)
    before = {
        p: p.read_bytes() for p in (small.folder / "cut").rglob("*") if p.is_file() and p.name != "log.txt"
    }
    refused = resumed(hyco_here)
    assert refused.status == 2
    for number in (4, 5, 6):
        assert f"cut/checkpoints/last-00000{number}/synthetic.pth: damaged" in refused.error
    assert {p: p.read_bytes() for p in before} == before


def test_a_history_that_lost_records_is_noticed(small: Project, hyco_here: Here) -> None:
    stopped(small)
    history = small.folder / "cut/history.jsonl"
    lines = history.read_text().splitlines(keepends=True)
    history.write_text("".join(lines[:-1]))
    done = resumed(hyco_here)
    assert done.status == 0
    assert "belongs to a history of 5 records, and cut/history.jsonl has 4; going on from" in done.err
    assert_same(small, "whole", "cut")


def test_data_that_vanished_or_changed_are_named(small: Project, hyco_here: Here) -> None:
    stopped(small)
    path = small.folder / "data" / "sim_000001.h5"
    content = path.read_bytes()
    path.unlink()
    refused = resumed(hyco_here)
    assert refused.status == 2 and "sim_000001.h5" in refused.error
    path.write_bytes(content)
    generated = hyco_here("generate", "tiny.yaml", "general.seed=77", "general.output_dir=other")
    assert generated.status == 0
    refused = resumed(hyco_here)
    assert refused.status == 2
    assert "simulation 0, simulation 1, simulation 2 made with other settings than what cut/" in refused.error
    assert resumed(hyco_here, "--force").status == 0


# --------------------------------------------------------------------------------------------- changed


def test_other_settings_are_shown_and_need_force(small: Project, hyco_here: Here) -> None:
    stopped(small)
    config = (small.folder / "cut/config.yaml").read_text()
    refused = resumed(
        hyco_here, "trainer.batch_size=3", "trainer.physical.solve.max_iterations=2", "cache.ttl=5"
    )
    assert refused.status == 2
    assert "was made with other settings: trainer.batch_size: 4 -> 3; " in refused.error
    assert "trainer.physical.solve.max_iterations: 3 -> 2" in refused.error
    assert "cache" not in refused.error
    assert "--force" in refused.error
    assert (small.folder / "cut/config.yaml").read_text() == config
    forced = resumed(hyco_here, "trainer.batch_size=3", "--force")
    assert forced.status == 0
    assert "warning: going on with other settings (--force): trainer.batch_size: 4 -> 3" in forced.err
    assert small.history("cut") != small.history("whole")
    # what it was forced to is what it has now
    assert resumed(hyco_here, "trainer.batch_size=3").status == 0
    assert resumed(hyco_here).status == 2


def test_settings_that_change_no_result_are_only_shown(small: Project, hyco_here: Here) -> None:
    stopped(small)
    done = resumed(hyco_here, "cache.ttl=5", "checkpoint.keep=1", "evaluation.horizon=2")
    assert done.status == 0
    assert "other settings than before: cache.ttl: 10.0 -> 5.0; checkpoint.keep: 3 -> 1" in done.err
    assert_same(small, "whole", "cut")


def test_force_belongs_to_resume(small: Project, hyco_here: Here) -> None:
    refused = hyco_here("train", "tiny.yaml", "--force")
    assert refused.status == 2 and "needs --resume" in refused.error


# ---------------------------------------------------------------------------- the other mode, and others


def test_a_state_of_the_other_mode_is_converted_where_it_lies(small: Project, hyco_here: Here) -> None:
    newest = stopped(small)
    with pytest.raises(CheckpointError) as missing:
        train(small, "general.output_dir=cut", "migration.mode=phiml", resume=True)
    command = str(missing.value).split("`")[1].split()
    assert command == [
        *("hyco", "convert", "checkpoint"),
        *(f"{newest.relative_to(small.folder)}/synthetic.{e}" for e in ("pth", "phiml")),
    ]
    assert hyco_here(*command[1:]).status == 0
    other = [word.replace("synthetic", "physical") for word in command]
    assert hyco_here(*other[1:]).status == 0
    done = resumed(hyco_here, "migration.mode=phiml")
    assert done.status == 0, done.err
    assert "resuming from" in done.err
    expected, found = small.history("whole"), small.history("cut")
    assert [(r["kind"], r.get("epoch")) for r in expected] == [(r["kind"], r.get("epoch")) for r in found]
    for one, two in zip(expected, found, strict=True):
        if one["kind"] == "cycle":
            assert two["synthetic_loss"] == pytest.approx(one["synthetic_loss"], rel=1e-6)


def test_a_folder_of_converted_files_is_a_start_where_there_is_no_history(
    small: Project, hyco_here: Here
) -> None:
    newest = stopped(small)
    start = small.folder / "new/checkpoints/last-000000"
    start.mkdir(parents=True)
    for path in newest.glob("*.pth"):
        (start / path.name).write_bytes(path.read_bytes())
    done = hyco_here("train", "tiny.yaml", "general.output_dir=new", "--resume")
    assert done.status == 0, done.err
    epochs = [r["epoch"] for r in small.history("new") if r.get("model") == "synthetic"]
    assert epochs == [5, 6]
    (newest / "run.json").unlink()  # but beside a history, it is a state that lost what it says of itself
    refused = resumed(hyco_here)
    assert f"{newest.name}/run.json: missing; going on from " in refused.err


def test_two_runs_in_one_folder(small: Project, hyco_here: Here) -> None:
    refused: list[Exception] = []

    def again() -> None:
        with pytest.raises(InputError, match="in use by process") as error:
            train(small, "general.output_dir=cut")
        refused.append(error.value)

    train(small, "general.output_dir=cut", progress=At("batches", 2, again))
    assert refused
    assert_same(small, "whole", "cut")
