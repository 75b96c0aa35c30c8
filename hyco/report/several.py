"""Several runs of one experiment, side by side: by mode of training, by seed, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.errors import DataError
from hyco.report.curves import Curve, padded, per_frame
from hyco.report.evaluation import MODELS
from hyco.report.plots import LINES
from hyco.report.records import Course, Record
from hyco.report.summary import Summary, number, strict_json
from hyco.report.tables import Table

MODES = ("physical", "synthetic", "hybrid")
Runs = Mapping[str, Sequence[Summary]]  # by mode, one summary per seed
Histories = Mapping[str, Sequence[Sequence[Record]]]
WHICH = ("recovered", "initial")
SCORES = ("nrmse", "relative_l2", "ratio_to_baseline", "correlation")


@dataclass(frozen=True, eq=False)
class Entry:
    """One model as one mode of training left it, in every run of that mode.

    Args:
        mode, model: which; name: for the reader.
        summaries: of the runs, as in metrics.json.
        seconds: that training the model took, in each run; NaN where it is not known.
        style: of its lines.
    """

    mode: str
    model: str
    name: str
    summaries: tuple[Summary, ...]
    seconds: NDArray[np.float64]
    style: Mapping[str, Any]

    def score(self, key: str, span: str = "horizon") -> NDArray[np.float64]:
        """A score of the model in every run, NaN where it is not finite."""
        return _numbers(s["models"][self.model][span][key] for s in self.summaries)

    def parameter(self, name: str, which: str = "recovered") -> NDArray[np.float64]:
        """The relative L2 error of a parameter in every run."""
        return _numbers(s["parameters"][name][which]["relative_l2"] for s in self.summaries)

    def curve(self, score: str) -> Curve:
        """A score over time: a row per run, the median of its simulations; of one run, its simulations."""
        return Curve(self.name, rows_of(self.summaries, self.model, score), self.style)


def rows_of(summaries: Sequence[Summary], model: str, score: str) -> NDArray[np.float64]:
    """The rows of a curve."""
    found = [per_frame(s, model, score) for s in summaries]
    return found[0] if len(found) == 1 else padded([_median(rows).tolist() for rows in found])


def _median(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The median of every frame; NaN where no simulation has one."""
    made = np.full(rows.shape[1], np.nan)
    seen = ~np.all(np.isnan(rows), axis=0)
    made[seen] = np.nanmedian(rows[:, seen], axis=0)
    return made


def entries_of(runs: Runs, histories: Histories) -> list[Entry]:
    """What is to be compared, in the order of `MODELS` and `MODES`.

    Raises DataError for a mode that is not known, and where there is no run.
    """
    known = [mode for mode in MODES if runs.get(mode)]
    unknown = sorted(set(runs) - set(MODES))
    if unknown or not known:
        raise DataError(
            f"expected runs by {', '.join(MODES)}, at least one of them, got {', '.join(runs) or 'none'}."
        )
    made = []
    for model in MODELS:
        for mode in known:
            if model in runs[mode][0]["models"]:
                records = histories.get(mode) or [()] * len(runs[mode])
                seconds = [Course(r, model).seconds for r in records]
                name, style = _name(mode, model, len(known) > 1), _style(mode, model, len(known) > 1)
                made.append(Entry(mode, model, name, tuple(runs[mode]), _numbers(seconds), style))
    return made


def _name(mode: str, model: str, several: bool) -> str:
    return MODELS[model] + ((", hybrid" if mode == "hybrid" else " alone") if several else "")


def _style(mode: str, model: str, several: bool) -> dict[str, Any]:
    """Of a model alone, thin and dashed in a lighter tone; in the hybrid one as everywhere."""
    if not several:
        return LINES[model]
    light = {"synthetic": "#56B4E9", "physical": "#E69F00"}
    alone = {"color": light[model], "linestyle": (0, (4, 1.5)), "linewidth": 1.8}
    return alone if mode != "hybrid" else {**LINES[model], "linestyle": "-", "linewidth": 2.0}


def _numbers(values: Any) -> NDArray[np.float64]:
    return np.array([np.nan if v is None else v for v in values], np.float64)


def spread(values: NDArray[np.float64]) -> dict[str, Any]:
    """Median, quartiles and range of a score over the runs; of those in which it is not finite, how many."""
    finite = values[np.isfinite(values)]
    levels = {"min": 0.0, "lower_quartile": 0.25, "median": 0.5, "upper_quartile": 0.75, "max": 1.0}
    found = {k: float(np.quantile(finite, q)) if finite.size else None for k, q in levels.items()}
    return {**found, "not_finite": int(values.size - finite.size), "values": values}


def aggregate(entries: Sequence[Entry]) -> Summary:
    """The scores of all entries over their runs, for metrics.json."""
    made: list[Summary] = []
    for entry in entries:
        spans = {s: {k: spread(entry.score(k, s)) for k in SCORES} for s in ("horizon", "all_frames")}
        errors = {n: {w: spread(entry.parameter(n, w)) for w in WHICH} for n in parameters_of(entry)}
        about = {"mode": entry.mode, "model": entry.model, "runs": len(entry.summaries)}
        made.append(about | spans | {"parameters": errors, "seconds": spread(entry.seconds)})
    first = entries[0].summaries[0]
    facts = {k: first[k] for k in ("experiment", "equation", "horizon", "grid")}
    plain: Summary = strict_json({**facts, "entries": made})
    return plain


def parameters_of(entry: Entry) -> list[str]:
    """The parameters that a model recovered."""
    return list(entry.summaries[0]["parameters"]) if entry.model == "physical" else []


def headlines(entries: Sequence[Entry]) -> list[str]:
    """A line for every model about its rollouts, and about the parameters that it recovered."""
    lines = []
    for entry in entries:
        steps = entry.summaries[0]["baseline"]["horizon"]["steps"]
        errors = [f"{name}: relative L2 error {said(entry.parameter(name))}" for name in parameters_of(entry)]
        rollouts = f"nRMSE over {steps} steps {said(entry.score('nrmse'))}"
        lines.append(f"{entry.name}: {'; '.join([rollouts, *errors])}")
    return lines


def said(values: NDArray[np.float64]) -> str:
    """`0.21`, or of several runs `0.21 (0.18 to 0.3)`, median and quartiles."""
    found = spread(values)
    if found["median"] is None:
        return "not finite" if values.size and not np.all(np.isnan(values)) else "\N{EN DASH}"
    if values.size == 1:
        return number(found["median"])
    lost = f", {found['not_finite']} not finite" if found["not_finite"] else ""
    middle, low, high = (number(found[k]) for k in ("median", "lower_quartile", "upper_quartile"))
    return f"{middle} ({low} to {high}{lost})"


def tables_of(entries: Sequence[Entry]) -> list[Table]:
    """Scores, parameters and times of all entries."""
    several = len(entries[0].summaries) > 1
    note = "Median over the runs, in parentheses the quartiles. " if several else ""
    steps = entries[0].summaries[0]["baseline"]["horizon"]["steps"]
    times = "\N{MULTIPLICATION SIGN} baseline"
    heads: tuple[str, ...] = ("model", f"nRMSE, {steps} steps", times, "correlation", "nRMSE, all frames")
    rows = [
        [e.name, *(said(e.score(k)) for k in ("nrmse", "ratio_to_baseline", "correlation")),
         said(e.score("nrmse", "all_frames")), said(e.seconds)]
        for e in entries
    ]  # fmt: skip
    note_ = f"{note}Baseline: the prediction that nothing changes."
    made = [Table("Rollouts", (*heads, "training (s)"), rows, note_)]
    physical = [e for e in entries if parameters_of(e)]
    recovered = [
        [name, e.name, said(e.parameter(name)), said(e.parameter(name, "initial"))]
        for e in physical
        for name in parameters_of(e)
    ]
    heads = ("parameter", "by", "relative L2 error", "initial guess's")
    return [*made, Table("Recovered parameters", heads, recovered, note)] if recovered else made
