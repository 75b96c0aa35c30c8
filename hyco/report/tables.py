"""The tables of the report: scores, parameters, times, implementations, environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hyco.report.curves import NAMES
from hyco.report.evaluation import MODELS, Evaluation
from hyco.report.plots import superscripts
from hyco.report.records import epochs_of
from hyco.report.shadow import HEADS, shadow_note, shadow_rows
from hyco.report.summary import Summary, number


@dataclass(frozen=True)
class Table:
    """A table of the page: a title, the heads of the columns, rows of text."""

    title: str
    heads: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    note: str = ""


def tables(evaluation: Evaluation, summary: Summary, extra: Mapping[str, Any]) -> list[Table]:
    """The tables of the page, those that have rows."""
    made = [
        _metrics_table(summary, evaluation.trained_on),
        _parameters_table(summary),
        _timings_table(evaluation),
        _modes_table(extra.get("modes", ())),
        _shadow_table(extra.get("shadow", {})),
        Table("Run", ("", ""), list(_pairs(evaluation.facts))),
        Table("Environment", ("", ""), list(_pairs(extra.get("environment", {})))),
    ]
    return [table for table in made if table.rows]


def _modes_table(modes: Iterable[Sequence[Any]]) -> Table:
    heads = ("component", "implementation", "mode", "chosen by")
    return Table("Implementations", heads, [[str(cell) for cell in row] for row in modes])


def _shadow_table(summary: Mapping[str, Any]) -> Table:
    """What shadow mode compared; without rows where it was off."""
    rows = shadow_rows(summary) if summary else []
    return Table("Shadow mode", HEADS, rows, shadow_note(summary) if rows else "")


def _metrics_table(summary: Summary, trained_on: Sequence[int] = ()) -> Table:
    heads = ("simulation", "model", "steps", "nRMSE", "\u00d7 baseline", "relative L2", "max error",
             "correlation", "below 0.8 at step")  # fmt: skip
    groups = [("all", {**summary["models"], "baseline": summary["baseline"]})]
    if len(summary["simulations"]) > 1:
        groups += [
            (str(s["simulation"]), {**s["models"], "baseline": s["baseline"]}) for s in summary["simulations"]
        ]
    rows = [
        _metrics_row(simulation, model, entry, entry[span])
        for simulation, entries in groups
        for model, entry in entries.items()
        for span in _spans(entry)
    ]
    note = (
        "nRMSE: root of the summed squared error over that of the truth, pooled over frames and simulations. "
        "Relative L2: mean over the frames. Max error in the units of the fields."
    )
    if not trained_on:
        return Table("Rollouts on unseen data", heads, rows, note)
    seen = f"The models were trained on the simulations {', '.join(map(str, trained_on))}. {note}"
    return Table("Rollouts on training data", heads, rows, seen)


def _spans(entry: Summary) -> tuple[str, ...]:
    same = entry["horizon"]["steps"] == entry["all_frames"]["steps"]
    return ("all_frames",) if same else ("horizon", "all_frames")


def _metrics_row(simulation: str, model: str, entry: Summary, scores: Summary) -> list[str]:
    below = entry["correlation_horizon"]
    keys = ("steps", "nrmse", "ratio_to_baseline", "relative_l2", "max_error")
    correlation = "\u2013" if scores["correlation"] is None else number(scores["correlation"])
    return [simulation, NAMES[model], *(number(scores[k]) for k in keys), correlation,
            "never" if below is None else str(below)]  # fmt: skip


def _parameters_table(summary: Summary) -> Table:
    heads = ("parameter", "unit", "", "relative L2 error", "max error", "\u00d7 initial guess")
    rows = []
    for name, scores in summary["parameters"].items():
        shares = {"recovered": scores["ratio_to_initial"], "initial": 1.0}
        for which, title in (("recovered", "recovered"), ("initial", "initial guess")):
            errors = (scores[which]["relative_l2"], scores[which]["max_error"], shares[which])
            rows.append([name, superscripts(scores["unit"]), title, *(number(e) for e in errors)])
    return Table("Recovered parameters", heads, rows)


def _timings_table(evaluation: Evaluation) -> Table:
    """Epochs and seconds of each model in each phase of the training."""
    rows = []
    for model in MODELS:
        epochs = epochs_of(evaluation.history, model)
        for phase in dict.fromkeys(str(e.get("phase", "training")) for e in epochs):
            chosen = [e for e in epochs if str(e.get("phase", "training")) == phase]
            seconds = [e["timing"]["seconds"] for e in chosen if "seconds" in e.get("timing", {})]
            if seconds:
                row = (f"{sum(seconds):.1f}", f"{sum(seconds) / len(seconds):.2f}")
                rows.append([MODELS[model], phase, str(len(chosen)), *row])
    return Table("Time spent in training", ("model", "phase", "epochs", "seconds", "seconds/epoch"), rows)


def _pairs(mapping: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Name and value of every entry, those of nested mappings with dotted names."""
    for name, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _pairs(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", f"{value:.4g}" if isinstance(value, float) else str(value)
