"""The outputs of two runs: losses, weights, parameters, predictions, scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hyco.comparison.cutting import MOST, value_of
from hyco.comparison.findings import Comparison, Finding, Section, failure, judge
from hyco.comparison.run_outputs import RunOutputs
from hyco.comparison.run_parts import (
    is_first,
    part_of_predictions,
    parts_of_beginnings,
    parts_of_records,
    parts_of_scores,
    parts_of_values,
    place_of,
)
from hyco.config import Config
from hyco.storage.run_directory import environment

LENGTHS = (
    "trainer.synthetic.epochs",
    "trainer.physical.epochs",
    "trainer.physical.solve.max_iterations",
    "trainer.hybrid.cycles",
    "trainer.hybrid.warmup",
)
CHAOTIC = (
    "over a long training every rounding grows (Adam and line searches decide by signs), so that one mode on "
    "one thread and on two ends apart too"
)
Curves = dict[str, dict[str, list[dict[str, Any]]]]


def compare_runs(old: Path, new: Path) -> Comparison:
    """Compare the results in two folders.

    Trainings that are short by every measure of `cutting.MOST` are judged as a whole.  Of longer ones, the
    losses of the first epoch of either model are judged, and everything else is shown.
    Raises InputError when a folder holds no run, or a damaged one.
    """
    pair = RunOutputs(old), RunOutputs(new)
    section, notes = compare_outputs(*pair)
    return Comparison(
        title=f"{old} and {new}",
        names=("old", "new"),
        precision=pair[0].config.trainer.precision,
        sections=[section],
        notes=[f"old: {old}", f"new: {new}", *_differing(*pair), *notes],
        curves=curves(*pair),
        facts=environment(),
    )


def compare_outputs(reference: RunOutputs, candidate: RunOutputs) -> tuple[Section, list[str]]:
    """What came out of two trainings, and what the reader must know of how it was judged."""
    precision = reference.config.trainer.precision
    initial, origin = reference.initial()
    size = float(np.max(np.abs(initial)))
    short = _is_short(reference.config) and _is_short(candidate.config)
    shown = "" if short else CHAOTIC
    findings = _histories(reference.history, candidate.history, size, precision, shown)
    found, notes = _models(reference, candidate, initial, precision, shown)
    findings += found
    if reference.metrics and candidate.metrics:
        scores = [parts_of_scores(run.metrics or {}, size) for run in (reference, candidate)]
        findings += judge("metrics.json", scores[0], scores[1], precision, shown=shown)
    if not short:
        notes.append(f"of whole trainings the first epochs are judged, and the rest is shown: {CHAOTIC}")
    if reference.models:
        notes.append(f"predictions are those of the best checkpoints, {origin}")
    return Section("training", findings=findings), notes


def curves(reference: RunOutputs, candidate: RunOutputs) -> Curves:
    """The records of every model's epochs, side by side."""
    both = {"reference": reference.history, "candidate": candidate.history}
    found = {
        model: {who: [r for r in history if r.get("model") == model] for who, history in both.items()}
        for model in ("synthetic", "physical")
    }
    return {model: pair for model, pair in found.items() if any(pair.values())}


def _is_short(config: Config) -> bool:
    """Whether the rows of the table for short trainings were measured on trainings as long as this one."""
    return all(value_of(config, key) <= MOST[key] for key in LENGTHS)


def _differing(old: RunOutputs, new: RunOutputs) -> list[str]:
    """The settings in which two runs differ, beside modes and folders."""
    a, b = old.settings(), new.settings()
    keys = [k for k in dict.fromkeys([*a, *b]) if a.get(k) != b.get(k)]
    return [f"the configurations differ in {key}: {a.get(key)} in old, {b.get(key)} in new" for key in keys]


def _histories(
    expected: Sequence[Mapping[str, Any]],
    found: Sequence[Mapping[str, Any]],
    size: float,
    precision: str,
    shown: str,
) -> list[Finding]:
    """The first epoch of each model by the table; the others as well, unless they are only shown."""
    if [place_of(r) for r in expected] != [place_of(r) for r in found]:
        return [failure("history", f"{_words(expected)} in the reference, {_words(found)} in the candidate")]
    if not shown:
        pair = [parts_of_records(records, size) for records in (expected, found)]
        return judge("all epochs", pair[0], pair[1], precision)
    first = [parts_of_beginnings([r for r in rs if is_first(r)], size) for rs in (expected, found)]
    later = [parts_of_records([r for r in rs if not is_first(r)], size) for rs in (expected, found)]
    return [
        *judge("first epochs", first[0], first[1], precision),
        *judge("later epochs", later[0], later[1], precision, shown=shown),
    ]


def _words(records: Sequence[Mapping[str, Any]]) -> str:
    return f"{len(records)} records, the last of {place_of(records[-1])}" if records else "no records"


def _models(
    reference: RunOutputs, candidate: RunOutputs, initial: Any, precision: str, shown: str
) -> tuple[list[Finding], list[str]]:
    """Weights or parameters, and predictions, of the best models."""
    models, others = reference.models, candidate.models
    if not models and not others:
        return [], ["neither run has checkpoints, so that there are no models to compare"]
    if models.keys() != others.keys():
        names = [", ".join(m) or "no model" for m in (models, others)]
        return [failure("checkpoints", f"of {names[0]} in the reference, of {names[1]} in the candidate")], []
    config, findings = reference.config, []
    for name, model in models.items():
        what, other = f"best {name} model", others[name]
        values = [parts_of_values(m, config) for m in (model, other)]
        findings += judge(what, values[0], values[1], precision, shown=shown)
        if (model.grid, model.layout) != (other.grid, other.layout):
            findings.append(failure(what, "its predictions are on other cells, or of other fields"))
            continue
        steps = config.evaluation.num_frames - 1
        rollouts = [[part_of_predictions(name, m, initial, steps)] for m in (model, other)]
        findings += judge(what, rollouts[0], rollouts[1], precision, shown=shown)
    return findings, []
