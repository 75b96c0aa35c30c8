"""The command line of `python -m hyco.testing`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from hyco.storage.atomic import write_json, write_text
from hyco.testing.evidence import gather
from hyco.testing.page import page

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback()
def main() -> None:
    """Evidence that both modes compute the same."""


@app.command()
def report(
    device: Annotated[str, typer.Option(help="cpu, cuda, or cuda:N.")] = "cpu",
    full: Annotated[
        bool, typer.Option("--full", help="The whole matrix, not the default selection.")
    ] = False,
    jobs: Annotated[int, typer.Option(help="Processes at once.")] = os.cpu_count() or 1,
    output: Annotated[Path, typer.Option(help="The page to write.")] = Path("docs/equivalence.md"),
    only_page: Annotated[
        bool,
        typer.Option("--only-page", help="Measure nothing; write the page from the records that are there."),
    ] = False,
) -> None:
    """Compare both modes on a device, and write the page with the worst difference of every row.

    The record of each kind of device is kept beside the page, as `equivalence/cpu.json`, so that one machine
    can add to what another one measured.  Exit status 1 when anything is outside its tolerance.
    """
    records = output.with_suffix("")
    if not only_page:
        evidence = gather(device, full=full, jobs=jobs, progress=_say)
        write_json(records / f"{device.partition(':')[0]}.json", evidence)
    found = {p.stem: json.loads(p.read_text()) for p in sorted(records.glob("*.json"))}
    write_text(output, page(found))
    failed = sum(row["failed"] for evidence in found.values() for row in evidence["rows"])
    typer.echo(f"{output}: {failed} comparisons outside their tolerance")
    raise typer.Exit(1 if failed else 0)


def _say(done: int, total: int) -> None:
    if done % 10 == 0 or done == total:
        typer.echo(f"{done} of {total}", err=True)
