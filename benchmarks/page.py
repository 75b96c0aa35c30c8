"""docs/benchmarks.md, from pytest-benchmark's JSON of one session or of several.

python -m benchmarks.page RESULT.json ... [--output docs/benchmarks.md]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import wording
from benchmarks.figures import COST, ROOFLINE, draw
from benchmarks.notes import NOTES, explained, read_notes
from benchmarks.results import Results
from benchmarks.sessions import Session, Sessions
from benchmarks.table import groups, memory, preparation, roofline, threads
from benchmarks.targets import ISSUE, PLAN, TARGETS, Verdict, detail, overview


def render(sessions: Sessions, notes: Mapping[str, str], figures: Mapping[str, str]) -> str:
    """The whole page; `figures`: name -> link to it from the page."""
    main = sessions.main
    by_device = {"cpu": main.results, "cuda": None if sessions.cuda is None else sessions.cuda.results}
    verdicts = [Verdict.of(target, by_device[target.device]) for target in TARGETS]
    parts = [wording.HEAD, "## Targets", wording.TARGETS]
    for origin in (PLAN, ISSUE):
        rows = overview(v for v in verdicts if v.target.origin == origin)
        parts += [f"Of {origin}:", "\n".join(rows)]
    parts += ["## What is missed, and why", *(explained(verdicts, notes) or ["Nothing is missed."])]
    parts += ["## Machine", *machine(main)]
    parts += pictures(main.results, figures, "")
    parts += ["## Times", *groups(main.results)]
    if sessions.single is not None:
        parts += ["## Threads", *threads(sessions.single, main)]
    parts += ["## Peak memory of a hybrid run", "\n".join(memory(main.results))]
    parts += ["## First calls", wording.PREPARATION, "\n".join(preparation(main.results))]
    parts += ["## On CUDA", *cuda(sessions.cuda, figures)]
    parts += ["## Scenario by scenario", *("\n".join(detail(v)) for v in verdicts)]
    return "\n\n".join(parts) + "\n"


def machine(session: Session) -> list[str]:
    """What the numbers were taken on, and how busy it was."""
    facts = session.facts
    load, cores = facts.get("load_before"), facts["cores"]
    memory_gib = "" if facts.get("memory_gib") is None else f", {facts['memory_gib']:.0f} GiB of memory"
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    lines = [
        f"- {facts['processor']}, {cores} cores{memory_gib}, {facts['system']}",
        *([f"- {facts['accelerator']}"] if facts.get("accelerator") else []),
        f"- threads per process: {facts['threads']}",
        f"- {versions}",
        f"- taken {facts['taken'][:16].replace('T', ' ')} UTC",
    ]
    if load is not None:
        busy = "; **the machine was busy, so trust no single figure**" if load > 0.5 * cores else ""
        lines.append(f"- load before the run: {load:.1f} processes on {cores} cores{busy}")
    return ["\n".join(lines)]


def pictures(results: Results, figures: Mapping[str, str], suffix: str) -> list[str]:
    """Cost of a cell and roofline, each where it was drawn, and the table of the second."""
    parts = []
    for name, title, text in (
        (COST, "Size and cost", wording.COST), (ROOFLINE, "Roofline", wording.ROOFLINE),
    ):  # fmt: skip
        if name + suffix in figures:
            parts += [f"## {title}", text, f"![{title}]({figures[name + suffix]})"]
    table = roofline(results)
    if table:
        parts += ["\n".join(part) for part in table]
    return parts


def cuda(session: Session | None, figures: Mapping[str, str]) -> list[str]:
    """The same of the session on a GPU, if there was one."""
    if session is None:
        return [wording.NO_GPU]
    parts = [*machine(session), *pictures(session.results, figures, "-cuda"), *groups(session.results)]
    return [part.replace("## ", "### ", 1) if part.startswith("## ") else part for part in parts]


def page(paths: Sequence[Path], folder: Path) -> str:
    """The page of these results, for a file in `folder`; draws its pictures into `folder`/figures."""
    sessions = Sessions.of([Session.read(path) for path in paths])
    notes = read_notes(NOTES.read_text(encoding="utf-8"))
    names = draw(sessions.main.results, folder / "figures")
    if sessions.cuda is not None:
        names += draw(sessions.cuda.results, folder / "figures", "-cuda")
    return render(sessions, notes, {name: f"figures/{name}.svg" for name in names})


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the page, or write it with its pictures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="+", type=Path, help="what pytest wrote with --benchmark-json")
    parser.add_argument("--output", type=Path, help="the page; its pictures go into figures/ beside it")
    given = parser.parse_args(arguments)
    if given.output is None:
        with TemporaryDirectory() as folder:
            sys.stdout.write(page(given.results, Path(folder)))
        return
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(page(given.results, given.output.parent), encoding="utf-8")


if __name__ == "__main__":
    main()
