"""Bad input: exit status 2, one line that says what is wrong, and nothing half-written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from resource import RLIMIT_FSIZE, setrlimit

import h5py
import numpy as np
import pytest

from tests.integration.conftest import Here, Project

FIRST, LATER = 16 << 10, 64 << 10  # bytes: less than the initial state, less than the first epoch's
CONFIGURATIONS = {
    "unknown key": (["trainer.batch_sise=2"], "unknown key 'batch_sise'. Did you mean 'batch_size'?"),
    "wrong type": (["trainer.batch_size=many"], "trainer.batch_size"),
    "unknown mode": (["migration.mode=phimll"], "migration.mode"),
    "unknown component": (
        ["migration.mode=hybrid", "migration.components={physics_model: phiml}"],
        "'physics_model'. Did you mean 'physical_model'?",
    ),
    "unknown physical model": (["model.physical.name=burger"], "burgers"),
    "unknown surrogate": (["model.synthetic.name=resnett"], "resnet"),
    "code in an expression": (
        ["model.physical.parameters.diffusion_coeff.value=__import__('os').system('touch hacked')"],
        "__import__",
    ),
    "indivisible grid": (["model.physical.domain.x.resolution=17"], "17"),
    "window too long": (["trainer.rollout_steps=9"], "rollout_steps"),
    "no such simulation": (["evaluation.test_sim=[4]"], "test_sim"),
}


def refused(hyco: Here, *arguments: str) -> str:
    """The line of a command that must end with status 2."""
    done = hyco(*arguments)
    assert done.status == 2, done.err
    assert done.error.startswith("hyco: error: ")
    assert done.out == ""
    return done.error


@contextmanager
def spoiled(path: Path) -> Iterator[None]:
    """Inside, a file may be damaged; afterwards it is as before."""
    whole, status = path.read_bytes(), path.stat()
    yield
    path.write_bytes(whole)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def flip(path: Path, position: int) -> None:
    """Turn one byte of a file over."""
    content = bytearray(path.read_bytes())
    content[position] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(("overrides", "expected"), CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
def test_a_bad_configuration_is_refused_before_any_work(
    project: Project, hyco_here: Here, overrides: list[str], expected: str
) -> None:
    assert expected in refused(hyco_here, "run", "tiny.yaml", *overrides)
    assert os.listdir(project.folder) == ["tiny.yaml"]


def test_a_bad_configuration_file_is_refused_in_a_process_of_its_own(project: Project) -> None:
    missing = project.hyco("run", "tinny.yaml")
    assert missing.status == 2
    assert missing.err.startswith("hyco: error: tinny.yaml: neither a file nor a shipped configuration")
    (project.folder / "broken.yaml").write_text("general: {mode: [}\n")
    broken = project.hyco("run", "broken.yaml")
    assert broken.status == 2
    assert "broken.yaml" in broken.error
    code = project.hyco("run", "tiny.yaml", *CONFIGURATIONS["code in an expression"][0])
    assert code.status == 2
    assert "__import__" in code.error
    assert sorted(os.listdir(project.folder)) == ["broken.yaml", "tiny.yaml"]


def test_bad_trajectories_are_named(project: Project, hyco_here: Here) -> None:
    path = project.folder / "data" / "tiny" / "sim_000001.h5"
    assert "sim_000000.h5" in refused(hyco_here, "train", "tiny.yaml")
    assert hyco_here("generate", "tiny.yaml").status == 0
    whole = path.read_bytes()
    for damage in (
        lambda: path.unlink(),
        lambda: path.write_bytes(whole[: len(whole) // 2]),
        lambda: path.write_bytes(b""),
    ):
        with spoiled(path):
            damage()
            assert path.name in refused(hyco_here, "train", "tiny.yaml")
    with spoiled(path):
        with h5py.File(path) as file:
            stored = file["velocity"].id.get_chunk_info(0)
        flip(path, stored.byte_offset + stored.size // 2)
        assert path.name in refused(hyco_here, "train", "tiny.yaml")
    with spoiled(path):
        with h5py.File(path, "r+") as file:
            file["velocity"][3, 5] = np.nan
        line = refused(hyco_here, "train", "tiny.yaml")
        assert path.name in line
        assert "(nan) in velocity_x of frame 3 at cell (x=5)" in line
    assert project.temporaries() == []
    assert not (project.folder / "results" / "tiny" / "checkpoints").exists()
    assert hyco_here("train", "tiny.yaml").status == 0
    for override, expected in (
        ("model.physical.domain.x.resolution=32", "expected a grid of x=32 cells, got x=16"),
        ("model.physical.dt=0.1", "expected a time step of 0.1, got 0.2"),
    ):
        line = refused(hyco_here, "train", "tiny.yaml", override)  # although its cache is valid
        assert "sim_000000.h5" in line
        assert expected in line


def test_bad_checkpoints_are_named_and_never_evaluated(project: Project, hyco_here: Here, side: str) -> None:
    command = ("tiny.yaml", f"migration.mode={side}")
    assert hyco_here("generate", *command).status == 0
    assert "no such checkpoint" in refused(hyco_here, "evaluate", *command)
    assert "nothing to resume from" in refused(hyco_here, "train", *command, "--resume")
    assert hyco_here("train", *command).status == 0
    best = next((project.folder / "results/tiny/checkpoints").glob("synthetic_best.*"))
    with spoiled(best):
        best.write_bytes(best.read_bytes()[:-100])
        line = refused(hyco_here, "evaluate", *command)
        assert best.name in line
        assert "damaged" in line
    line = refused(hyco_here, "evaluate", *command, "model.synthetic.architecture.filters=6")
    assert best.name in line
    assert "expected shape" in line
    assert "found" in line
    line = refused(hyco_here, "evaluate", *command, "model.synthetic.architecture.levels=1")
    assert "unexpected" in line or "missing" in line
    assert not (project.folder / "results/tiny/report.html").exists()


def test_a_full_disk_leaves_the_last_good_checkpoints(project: Project, hyco_here: Here, side: str) -> None:
    command = ("tiny.yaml", f"migration.mode={side}", "model.synthetic.architecture.filters=16")
    assert hyco_here("generate", *command).status == 0
    assert hyco_here("train", *command).status == 0
    folder = project.folder / "results/tiny/checkpoints"

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    before, newest = files(), project.newest()
    assert len(before) == 2 + 3 * 4
    assert max(map(len, before.values())) > LATER
    history = project.history()

    def train_within(limit: int) -> str:
        bounds = (limit, limit)
        done = project.hyco("train", *command, preexec_fn=lambda: setrlimit(RLIMIT_FSIZE, bounds))
        assert done.status == 2, done.err
        assert "cannot be written: File too large" in done.error
        assert project.temporaries() == []
        return done.error

    line = train_within(FIRST)
    assert "last-000007/synthetic." in line
    assert line.endswith(f"The state saved last is in {newest.relative_to(project.folder)}.")
    assert files() == before
    assert project.history() == history
    assert "last-000008/synthetic." in train_within(LATER)
    assert project.newest().name == "last-000007"
    assert hyco_here("train", *command, "--resume").status == 0
    assert project.history() == history


def test_an_output_folder_that_cannot_be_made_is_named(project: Project, hyco_here: Here) -> None:
    (project.folder / "results").write_text("a file")
    assert "results" in refused(hyco_here, "generate", "tiny.yaml")
    assert sorted(os.listdir(project.folder)) == ["results", "tiny.yaml"]
