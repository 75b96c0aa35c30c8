"""`hyco compare`: two modes on one experiment, or the results of two runs, side by side."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hyco.cli.parts import Debug

if TYPE_CHECKING:
    from hyco.comparison import Comparison
    from hyco.tasks import Progress

EXAMPLES = (
    "hyco compare burgers",
    "hyco compare burgers trainer.precision=float64",
    "hyco compare my.yaml --candidate components.synthetic_model=phiml",
    "hyco compare --old results/burgers --new results/burgers_phiml",
)
MARKS = {"pass": "green", "FAIL": "bold red", "shown": "dim"}


def compare(
    config: Annotated[
        str | None,
        typer.Argument(
            metavar="[CONFIG]", help="A shipped configuration, or a YAML file.", show_default=False
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE...", help="Settings to change.", show_default=False),
    ] = None,
    candidate: Annotated[
        list[str] | None,
        typer.Option(
            "--candidate",
            metavar="COMPONENT=SIDE",
            help="One step of a migration, such as components.synthetic_model=phiml; may be repeated.",
        ),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="The experiment as it is, not a small copy of it.")
    ] = False,
    no_training: Annotated[
        bool, typer.Option("--no-training", help="Compare the components, and train neither mode.")
    ] = False,
    old: Annotated[
        Path | None, typer.Option("--old", metavar="DIR", help="The results of one run ...")
    ] = None,
    new: Annotated[Path | None, typer.Option("--new", metavar="DIR", help="... and of another.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", help="Where it goes; results/<experiment>-compare."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only the verdict.")] = False,
    debug: Debug = False,
) -> None:
    """Compare both modes on an experiment, or two runs: agreement, speed, memory.

    Writes compare.json, compare.html and figures. Exit status 1 when anything is outside its tolerance.
    """
    from hyco.errors import Interrupted

    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # float32 is float32 on GPUs too; read when CUDA is loaded
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    _check(config, overrides, candidate, old, new)
    options = {"candidates": candidate or (), "full": full, "training": not no_training}
    try:
        with _shown(quiet=quiet, debug=debug) as progress:
            if config is None:
                found, folder = _runs(old, new, output)
            else:
                found, folder = _modes(config, overrides, output, {**options, "progress": progress})
    except KeyboardInterrupt:
        raise Interrupted("interrupted; a comparison starts from the beginning") from None
    _conclude(found, folder, quiet=quiet)
    raise typer.Exit(0 if found.passed else 1)


@contextmanager
def _shown(*, quiet: bool, debug: bool) -> Iterator[Progress]:
    """Inside, how far the work is and what is logged goes to stderr."""
    from hyco.cli.display import display
    from hyco.cli.logs import shown_logs

    with display(quiet=quiet) as (progress, console), shown_logs(console, quiet=quiet, debug=debug):
        yield progress


def _runs(old: Path | None, new: Path | None, output: Path | None) -> tuple[Comparison, Path]:
    from hyco.comparison import compare_runs

    assert old is not None
    assert new is not None
    return compare_runs(old, new), output or Path("results") / f"{old.name}-{new.name}-compare"


def _modes(
    config: str, overrides: Sequence[str] | None, output: Path | None, options: Mapping[str, Any]
) -> tuple[Comparison, Path]:
    from hyco.comparison import compare_modes
    from hyco.config import load_config

    loaded = load_config(config, overrides or ())
    folder = output or Path("results") / f"{loaded.general.experiment_name}-compare"
    return compare_modes(loaded, folder, **options), folder


def _check(
    config: str | None,
    overrides: Sequence[str] | None,
    candidate: Sequence[str] | None,
    old: Path | None,
    new: Path | None,
) -> None:
    """A configuration, or two folders."""
    if (old is None) != (new is None):
        raise typer.BadParameter("--old and --new belong together: name both folders.")
    if (config is None) == (old is None):
        raise typer.BadParameter(
            "compare one CONFIG in both modes, or two runs by --old DIR --new DIR, not both."
        )
    if old is not None and (overrides or candidate):
        raise typer.BadParameter("--candidate and KEY=VALUE are for a CONFIG, not for runs that are done.")


def _conclude(found: Comparison, folder: Path, *, quiet: bool) -> None:
    """Write everything, and print it."""
    from hyco.report.comparison import verdict_line, write_comparison

    data = found.plain()
    page = write_comparison(data, folder)
    if not quiet:
        show(data)
    print(verdict_line(data))
    print(f"comparison: {page}", flush=True)


def show(data: Mapping[str, Any]) -> None:
    """The tables on the terminal."""
    from rich.console import Console
    from rich.text import Text

    from hyco.cli.tables import new_table, width
    from hyco.report.comparison import cost_table, curve_table, section_tables

    console = Console(width=width(sys.stdout))
    made = [t for s in data["sections"] for t in section_tables(s, data["names"])]
    for table in [*made, cost_table(data), curve_table(data)]:
        if not table.rows:
            continue
        console.print(Text(table.title, style="bold"))
        shown = new_table(console, *table.heads)
        for row in table.rows:
            shown.add_row(*(Text(cell, style=MARKS.get(cell, "")) for cell in row))
        console.print(shown)
        console.print()
    for note in data["notes"]:
        console.print(Text(note, style="dim"), soft_wrap=True)
