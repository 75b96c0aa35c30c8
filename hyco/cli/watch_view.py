"""How `hyco watch` shows a run, or several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from hyco.cli.display import clock
from hyco.cli.tables import new_table
from hyco.report.page import summary_lines
from hyco.report.standing import Progress, Standing, sparkline
from hyco.report.wording import MODELS, line
from hyco.storage.glance import number_of

STYLES = {"running": "bold green", "done": "bold", "stopped": "bold yellow"}
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, IndexError)


def one_run(progress: Progress, console: Console) -> RenderableType:
    """Everything about one run."""
    models = new_table(console, "model", "done", "loss", "validation", "best", "trend", "each", "")
    for model in progress.models:
        models.add_row(*_model_row(model, console))
    lines = [_heading(progress), _second(progress)]
    rest = [*_parameters(progress), *_troubles(progress), *_scores(progress)]
    return Group(*lines, models if progress.models else Text(), *rest)


def several_runs(runs: Sequence[Progress], root: Path, console: Console) -> RenderableType:
    """One line per run."""
    heads = ("run", "mode", "state", "phase", "surrogate", "physics", "best", "trend", "left")
    table = new_table(console, *heads)
    for progress in runs:
        by_name = {m.name: m for m in progress.models}
        counts = [_done(by_name[n]) if n in by_name else "" for n in MODELS]
        leading = next(iter(progress.models), None)
        table.add_row(
            run_name(progress.glance.folder, root),
            str(progress.glance.setting("general.mode", "?")),
            Text(progress.state, style=STYLES[progress.state]),
            progress.phase,
            *counts,
            ", ".join(_loss(m.best[0]) for m in progress.models if m.best),
            sparkline(leading.judged, 16, unicode=_draws(console)) if leading else "",
            clock(progress.left) if progress.left is not None and progress.state == "running" else "",
        )
    return table


def run_name(folder: Path, root: Path) -> str:
    """The name of one of several runs."""
    return str(folder.relative_to(root)) if folder != root else folder.name


def record_line(record: Mapping[str, Any]) -> str:
    """A record in one line, also when parts of it are missing."""
    try:
        return line(dict(record))
    except UNREADABLE:
        known = {k: v for k, v in record.items() if isinstance(v, (str, int, float))}
        return ", ".join(f"{k} {v}" for k, v in known.items())


def closing_line(progress: Progress) -> str:
    """The state of a run in one line."""
    parts = [f"{MODELS[m.name]} {_done(m)}" for m in progress.models]
    return f"{progress.state}: {', '.join([progress.phase, *parts])}{_advice(progress)}"


def score_lines(progress: Progress) -> list[str]:
    """The headlines of the evaluation, when there was one."""
    try:
        return summary_lines(dict(progress.glance.metrics)) if progress.glance.metrics else []
    except UNREADABLE:
        return []


def _heading(progress: Progress) -> Text:
    glance = progress.glance
    name = str(glance.setting("general.experiment_name", glance.folder.name))
    facts = [str(glance.setting("general.mode", "")), _implementations(glance.environment)]
    if glance.environment.get("device"):
        facts.append(f"device {glance.environment['device']}")
    return Text.assemble((name, "bold"), "  ", ", ".join(f for f in facts if f), f"  {glance.folder}")


def _second(progress: Progress) -> Text:
    glance, parts = progress.glance, [progress.phase]
    if glance.holder:
        parts.append(f"process {glance.holder.pid} on {glance.holder.host} since {glance.holder.started}")
        if progress.left:
            parts.append(f"about {clock(progress.left)} left")
    if glance.age is not None:
        parts.append(f"last record {clock(glance.age)} ago")
    state = (progress.state, STYLES[progress.state])
    return Text.assemble(state, ": ", ", ".join(parts), _advice(progress))


def _advice(progress: Progress) -> str:
    begun = progress.state == "stopped" and progress.glance.history
    return "; --resume goes on with it" if begun else ""


def _implementations(environment: Mapping[str, Any]) -> str:
    """`phiml`, or of a mixture how many components each mode has."""
    rows = environment.get("modes")
    found = rows if isinstance(rows, list) else []
    counted = Counter(str(r["mode"]) for r in found if isinstance(r, Mapping) and "mode" in r)
    return next(iter(counted)) if len(counted) == 1 else ", ".join(f"{n} {s}" for s, n in counted.items())


def _model_row(model: Standing, console: Console) -> Iterator[str]:
    last = model.last
    yield MODELS[model.name]
    yield _done(model)
    yield _loss(number_of(last, "train_loss"))
    yield _loss(number_of(last, "validation_loss"))
    unit = "epoch" if model.name == "synthetic" else "solve"
    yield f"{_loss(model.best[0])} ({unit} {model.best[1]})" if model.best else ""
    yield sparkline(model.judged, unicode=_draws(console))
    yield "" if model.seconds is None else f"{model.seconds:.2g} s"
    yield ", ".join(_extras(last))


def _extras(record: Mapping[str, Any]) -> Iterator[str]:
    rate, frames, iterations = (
        number_of(record, k) for k in ("learning_rate", "rollout_steps", "iterations")
    )
    if rate is not None:
        yield f"learning rate {rate:.2g}"
    if frames is not None:
        yield f"windows of {frames:.0f} frames"
    if iterations is not None:
        yield f"{iterations:.0f} iterations"
    if isinstance(record.get("status"), str):
        yield record["status"]


def _parameters(progress: Progress) -> Iterator[RenderableType]:
    """Mean, least and greatest value of each parameter after the last solve."""
    last = next((m.last for m in progress.models if m.name == "physical"), {})
    found = last.get("parameters")
    for name, values in found.items() if isinstance(found, Mapping) else ():
        if isinstance(values, Mapping):
            numbers = {k: number_of(values, k) for k in ("mean", "min", "max")}
            yield Text(f"{name}: " + ", ".join(f"{k} {_short(v)}" for k, v in numbers.items()))


def _troubles(progress: Progress) -> Iterator[RenderableType]:
    diverged = [n for m in progress.models for n in m.diverged]
    if diverged:
        shown = ", ".join(map(str, diverged[-8:]))
        yield Text(f"diverged solves: {len(diverged)} ({shown})", style="yellow")
    reverted = Counter(str(n) for c in progress.cycles for n in c.get("reverted") or ())
    for name, times in reverted.items():
        yield Text(f"{MODELS.get(name, name)} went back to an earlier state {times} times", style="yellow")


def _scores(progress: Progress) -> Iterator[RenderableType]:
    yield from (Text(text) for text in score_lines(progress))


def _done(model: Standing) -> str:
    return f"{model.done}/{'?' if model.total is None else model.total}"


def _loss(value: float | None) -> str:
    return "" if value is None else f"{value:.2e}" if isfinite(value) else "not finite"


def _short(value: float | None) -> str:
    return "?" if value is None else f"{value:.4g}"


def _draws(console: Console) -> bool:
    """Whether the terminal can show the bars of a curve."""
    return console.encoding.lower().startswith("utf")
