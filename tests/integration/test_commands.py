"""The commands that do no work: help, version, configurations, modes; and how light they are."""

from __future__ import annotations

import json
import os

import pytest

from hyco import __version__
from tests.integration.conftest import SOURCES, Here, Project

COMMANDS = ("run", "generate", "train", "evaluate", "modes", "configs", "watch", "warmup")
LOADED = """
import json, sys
from hyco.cli import main
for arguments in (["--help"], ["run", "--help"], ["configs"], ["modes", "tiny.yaml"]):
    try:
        main(arguments)
    except SystemExit as ended:
        assert not ended.code, ended.code
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_commands_that_do_no_work_load_no_framework(project: Project) -> None:
    done = project.python("-c", LOADED)
    assert done.status == 0, done.err
    loaded = set(json.loads(done.out.splitlines()[-1]))
    assert "hyco" in loaded
    assert "typer" in loaded
    assert not loaded & {"torch", "phi", "phiml", "jax", "matplotlib", "scipy"}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_shows_examples(hyco_here: Here, command: str) -> None:
    shown = hyco_here(command, "--help")
    assert shown.status == 0
    assert shown.err == ""
    _, _, examples = shown.out.partition("Examples:")
    assert f"hyco {command}" in examples
    assert ("--resume" in shown.out) == (command in ("run", "train"))


def test_help_version_and_configurations(hyco_here: Here) -> None:
    bare = hyco_here()
    assert bare.status == 0
    assert bare.out == hyco_here("--help").out
    assert all(command in bare.out for command in COMMANDS)
    assert hyco_here("--version").out == f"hyco {__version__}\n"
    listed = hyco_here("configs").out.splitlines()
    described = [line for line in listed if line.startswith("burgers ")]
    assert len(described) == 1
    assert "Burgers" in described[0].removeprefix("burgers")


def test_modes_say_who_implements_what_and_who_chose_it(
    hyco_here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(*overrides: str) -> dict[str, list[str]]:
        shown = hyco_here("modes", "tiny.yaml", *overrides)
        assert shown.status == 0, shown.err
        cells = [line.split(maxsplit=3) for line in shown.out.splitlines()[1:]]
        return {component: rest for component, *rest in cells}

    plain = rows()
    assert len(plain) == 7
    assert plain["physical_model"] == ["burgers", "legacy", "tiny.yaml: migration.mode"]
    mixed = rows("migration.mode=hybrid", "migration.components={synthetic_model: phiml}")
    assert [name for name, row in mixed.items() if row[1] == "phiml"] == ["synthetic_model"]
    assert "synthetic_trainer" not in rows("general.mode=physical")
    monkeypatch.setenv("HYCO_MODE", "phiml")
    chosen = rows("migration.mode=null")
    assert {(row[1], row[2].strip()) for row in chosen.values()} == {("phiml", "HYCO_MODE=phiml")}


def test_usage_errors_are_one_line(hyco_here: Here) -> None:
    for arguments, expected in (
        (["rum", "tiny.yaml"], "No such command 'rum'"),
        (["run"], "Missing argument 'CONFIG'"),
        (["run", "tiny.yaml", "--fast"], "--fast"),
        (["evaluate", "tiny.yaml", "--resume"], "--resume"),
    ):
        refused = hyco_here(*arguments)
        assert refused.status == 2
        assert refused.out == ""
        assert refused.err.startswith("hyco: error: ")
        assert expected in refused.error


def test_unexpected_errors_have_a_traceback_on_demand(
    hyco_here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(error: BaseException) -> None:
        def load_config(*_: object) -> None:
            raise error

        monkeypatch.setattr("hyco.config.load_config", load_config)

    fail(ZeroDivisionError("by\nzero"))
    plain = hyco_here("modes", "tiny.yaml")
    assert plain.status == 1
    assert plain.err == (
        "hyco: unexpected error: ZeroDivisionError: by zero; run again with --debug for the traceback\n"
    )
    debugged = hyco_here("modes", "tiny.yaml", "--debug")
    assert debugged.status == 1
    assert debugged.err.startswith("Traceback")
    assert debugged.err.endswith(plain.err)
    fail(MemoryError())
    assert hyco_here("modes", "tiny.yaml").status == 1
    fail(PermissionError(13, "Permission denied", "results/tiny"))
    denied = hyco_here("modes", "tiny.yaml")
    assert (denied.status, denied.err) == (
        2,
        "hyco: error: results/tiny: Permission denied. Correct it, and run again.\n",
    )


def test_the_historic_spelling_has_the_same_messages_and_statuses(project: Project) -> None:
    script = str(SOURCES / "run.py")
    helped = project.python(script, "--help")
    assert helped.status == 0
    assert "python run.py --config-name=burgers.yaml" in helped.out
    nameless = project.python(script, "trainer.batch_size=2")
    assert nameless.status == 2
    assert "--config-name" in nameless.error
    for arguments in (
        ["--config-name=tiny.yaml"],
        ["--config-name", "tiny.yaml"],
        ["--config-path", ".", "--config-name", "tiny"],
    ):
        refused = project.python(script, *arguments, "trainer.batch_sise=2")
        assert refused.status == 2
        assert "unknown key 'batch_sise'. Did you mean 'batch_size'?" in refused.error
    assert os.listdir(project.folder) == ["tiny.yaml"]
