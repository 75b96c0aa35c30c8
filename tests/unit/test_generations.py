"""States of a training on disk: whole or not there, the newest kept, damage named; one process per folder."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hyco
from hyco.errors import CheckpointError, InputError, StorageError
from hyco.interfaces import TrainingState
from hyco.storage import atomic, generations
from hyco.storage.atomic import atomic_folder, remove_leftovers, write_text
from hyco.storage.generations import Generations, read_generation
from hyco.storage.locking import locked
from hyco.storage.run_directory import RunDirectory
from hyco.storage.states import read_state, write_state
from hyco.tasks.saving import Cadence

ROOT = str(Path(hyco.__file__).parents[1])


def save(folder: Path, *, keep: int = 3, alone: bool = False, records: int = 0) -> Path:
    """One more generation of two files."""

    def write(where: Path) -> None:
        write_text(where / "synthetic.pth", f"surrogate {records}")
        write_text(where / "physical.phiml", f"physics {records}")

    return Generations(folder).save(write, {"records": records}, keep=keep, alone=alone)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


# --------------------------------------------------------------------------------------------- folders


def test_a_generation_says_what_is_in_it(tmp_path: Path) -> None:
    path = save(tmp_path / "checkpoints", records=7)
    assert path == tmp_path / "checkpoints" / "last-000001"
    assert names(path) == ["physical.phiml", "run.json", "synthetic.pth"]
    generation = read_generation(path)
    assert (generation.records, generation.finished) == (7, False)
    facts = json.loads((path / "run.json").read_text())
    assert sorted(facts["files"]) == ["physical.phiml", "synthetic.pth"]
    assert {len(digest) for digest in facts["files"].values()} == {64}


def test_the_newest_stay(tmp_path: Path) -> None:
    for records in range(5):
        save(tmp_path, keep=2, records=records)
    assert names(tmp_path) == ["last-000004", "last-000005"]
    assert Generations(tmp_path).paths() == [tmp_path / "last-000005", tmp_path / "last-000004"]
    save(tmp_path, keep=1)
    assert names(tmp_path) == ["last-000006"]


def test_another_training_takes_the_place_of_all(tmp_path: Path) -> None:
    for _ in range(3):
        save(tmp_path, keep=9)
    write_text(tmp_path / "synthetic_best.pth", "stays")
    (tmp_path / "last-year").mkdir()
    save(tmp_path, keep=9, alone=True)
    assert names(tmp_path) == ["last-000004", "last-year", "synthetic_best.pth"]


def test_numbers_are_compared_as_numbers(tmp_path: Path) -> None:
    save(tmp_path)
    (tmp_path / "last-000001").rename(tmp_path / "last-999999")
    assert save(tmp_path).name == "last-1000000"
    assert Generations(tmp_path).paths()[0].name == "last-1000000"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("mine"), CheckpointError("mine")])
def test_an_error_while_saving_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    save(tmp_path, keep=1)

    def write(where: Path) -> None:
        write_text(where / "synthetic.pth", "half")
        raise error

    with pytest.raises(type(error)) as caught:
        Generations(tmp_path).save(write, {"records": 1}, keep=1)
    assert caught.value is error
    assert names(tmp_path) == ["last-000001"]


@pytest.mark.parametrize("late", [1, 3, 4])
def test_a_full_disk_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: int
) -> None:
    """In the first file, in `run.json`, and in the folder itself."""
    save(tmp_path, keep=1)
    count, sync, rename = 0, os.fsync, os.rename

    def fail(descriptor: int) -> None:
        nonlocal count
        count += os.fstat(descriptor).st_mode & 0o100000 != 0  # a file, not a folder
        if count == late:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    def full(source: Path, target: Path) -> None:
        if late == 4 and Path(target).name.startswith("last-"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source))
        rename(source, target)

    monkeypatch.setattr(atomic.os, "fsync", fail)
    monkeypatch.setattr(atomic.os, "rename", full)
    with pytest.raises(StorageError, match=r"last-000002.*No space left on device") as caught:
        save(tmp_path, keep=1)
    assert ".last-" not in str(caught.value) and "\n" not in str(caught.value)
    assert names(tmp_path) == ["last-000001"]


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    write_text(tmp_path / "checkpoints", "a file")
    with pytest.raises(StorageError, match="parents are directories"):
        save(tmp_path / "checkpoints")


DAMAGE = {
    "cut": (lambda p: (p / "synthetic.pth").write_text("surr"), "synthetic.pth: damaged"),
    "missing": (lambda p: (p / "physical.phiml").unlink(), "physical.phiml: missing"),
    "a folder": (
        lambda p: ((p / "synthetic.pth").unlink(), (p / "synthetic.pth").mkdir()),
        "synthetic.pth: missing",
    ),
    "no json": (lambda p: (p / "run.json").write_text("{"), "run.json: not readable"),
    "other json": (lambda p: (p / "run.json").write_text("[1]"), "run.json: not readable"),
    "other format": (lambda p: (p / "run.json").write_text('{"format": "2"}'), "run.json: not readable"),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damage_is_named(tmp_path: Path, how: str) -> None:
    path = save(tmp_path)
    spoil, expected = DAMAGE[how]
    spoil(path)
    with pytest.raises(CheckpointError, match=expected):
        read_generation(path)


def test_what_cannot_be_read_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, whole = save(tmp_path), Path.open

    def fail(self: Path, *given: Any, **options: Any) -> Any:
        if self.name == "physical.phiml":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(self))
        return whole(self, *given, **options)

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(CheckpointError, match=r"physical.phiml: cannot be read \(Input/output error\)"):
        read_generation(path)


def test_a_file_may_be_replaced_by_what_it_was_converted_to(tmp_path: Path) -> None:
    path = save(tmp_path)
    (path / "synthetic.pth").rename(path / "synthetic.phiml")
    read_generation(path)
    (path / "synthetic.phiml").unlink()
    with pytest.raises(CheckpointError, match=r"synthetic.pth: missing"):
        read_generation(path)


def test_what_cannot_be_removed_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path)

    def fail(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(generations, "remove_folder", fail)
    save(tmp_path, keep=1)
    assert names(tmp_path) == ["last-000001", "last-000002"]
    assert "last-000001: cannot be removed (Permission denied)" in caplog.text


KILLED = """
import os, signal, sys
from pathlib import Path
from typing import Any
from hyco.storage.atomic import write_text
from hyco.storage.generations import Generations

def write(folder):
    write_text(folder / "synthetic.pth", "whole")
    (folder / "physical.phiml").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)

Generations(Path(sys.argv[1])).save(write, {"records": 1}, keep=1)
"""


def test_a_process_that_is_killed_while_saving_leaves_no_generation(tmp_path: Path) -> None:
    save(tmp_path)
    env = {**os.environ, "PYTHONPATH": ROOT}
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=env)
    assert done.returncode == -signal.SIGKILL
    assert Generations(tmp_path).paths() == [tmp_path / "last-000001"]
    (leftover,) = (name for name in names(tmp_path) if name != "last-000001")
    assert leftover.startswith(".last-000002.")
    write_text(tmp_path / ".profile", "mine")
    write_text(tmp_path / ".synthetic_best.0123456789ab.pth", "half")
    assert len(remove_leftovers(tmp_path)) == 2
    assert names(tmp_path) == [".profile", "last-000001"]


def test_a_folder_takes_its_place_whole(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "a" / "b") as folder:
        write_text(folder / "file", "1")
        assert not (tmp_path / "a" / "b").exists()
    assert names(tmp_path / "a") == ["b"]


# ---------------------------------------------------------------------------------------------- states


def test_states_of_no_mode_keep_every_bit(tmp_path: Path) -> None:
    arrays = {
        "weights.a": np.array([1.0, np.nextafter(1.0, 2.0)], np.float32),
        "moments.0.step": np.array(7.0),
        "turned": np.arange(6.0).reshape(2, 3).T,
        "accepted": np.zeros((0, 3)),
    }
    facts = {"cycle": 3, "accepted": {"synthetic": {"loss": inf, "facts": {"phase": None}}}}
    write_state(tmp_path / "hybrid.safetensors", TrainingState(arrays, facts))
    state = read_state(tmp_path / "hybrid.safetensors")
    assert state.facts == facts
    assert list(state.arrays) == sorted(arrays)
    for name, array in arrays.items():
        assert state.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(state.arrays[name], array, strict=True)


@pytest.mark.parametrize("content", [b"", b"not a state", None])
def test_what_is_no_state_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "hybrid.safetensors"
    write_state(path, TrainingState({"a": np.ones(3)}, {}))
    path.write_bytes(path.read_bytes()[:-4] if content is None else content)
    with pytest.raises(CheckpointError, match=r"hybrid\.safetensors: not a readable training state"):
        read_state(path)


# --------------------------------------------------------------------------------------------- cadence


def test_whichever_comes_first() -> None:
    now = 0.0
    cadence = Cadence(3, 1, 2.0, clock=lambda: now)
    cadence.count("epoch")
    cadence.count("epoch")
    assert cadence.due() is None
    cadence.count("epoch")
    assert cadence.due() == "epoch"
    cadence.restart()
    assert cadence.due() is None
    cadence.count("cycle")
    assert cadence.due() == "cycle"
    cadence.restart()
    now = 119.0
    assert cadence.due() is None
    now = 120.0
    assert cadence.due() == "minutes"
    never = Cadence(None, None, None, clock=lambda: now)
    never.count("epoch")
    now = 1e9
    assert never.due() is None


# ----------------------------------------------------------------------------------------------- locks

HOLDING = """
import sys, time
from pathlib import Path
from typing import Any
from hyco.storage.locking import locked
with locked(*map(Path, sys.argv[1:])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(*folders: Path) -> subprocess.Popen[str]:
    """A process that holds folders."""
    env = {**os.environ, "PYTHONPATH": ROOT}
    command = [sys.executable, "-c", HOLDING, *map(str, folders)]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    process = holder(tmp_path / "results")
    try:
        before = names(tmp_path / "results")
        expected = rf"in use by process {process.pid} on .+, since 20"
        with pytest.raises(InputError, match=expected) as caught, locked(tmp_path / "results"):
            pass
        assert caught.value.exit_status == 2
        assert names(tmp_path / "results") == before
        with locked(tmp_path / "other"):
            pass
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with locked(tmp_path / "results"):  # a dead process holds nothing
        assert json.loads((tmp_path / "results" / "run.lock.json").read_text())["pid"] == os.getpid()
    assert names(tmp_path / "results") == ["run.lock"]


def test_a_run_holds_its_checkpoints_too_where_they_are_apart(tmp_path: Path) -> None:
    apart = RunDirectory(tmp_path / "a", tmp_path / "kept")
    inside = RunDirectory(tmp_path / "b", tmp_path / "b" / "checkpoints")
    with apart.held(), inside.held():
        assert not inside.checkpoints.exists()
        with (
            pytest.raises(InputError, match="kept: in use"),
            RunDirectory(tmp_path / "c", apart.checkpoints).held(),
        ):
            pass
    with RunDirectory(tmp_path / "c", apart.checkpoints).held():
        pass


def test_a_folder_that_cannot_be_held_is_a_storage_error(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "")
    with (
        pytest.raises(StorageError, match="file/results: cannot be written"),
        locked(tmp_path / "file" / "results"),
    ):
        pass


# --------------------------------------------------------------------------------------------- history


def test_the_history_is_cut_and_goes_on(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path, tmp_path / "checkpoints")
    for epoch in range(4):
        directory.record({"epoch": epoch})
    again = RunDirectory(tmp_path, tmp_path / "checkpoints")
    again.write_history(again.read_history()[:2])
    again.record({"epoch": 9})
    assert (tmp_path / "history.jsonl").read_text() == '{"epoch": 0}\n{"epoch": 1}\n{"epoch": 9}\n'
    assert again.history == again.read_history()
