"""The pages about several runs: one for the modes of training, one for the seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.report.curves import spread_name
from hyco.report.gallery import Picture
from hyco.report.page import Headline, render
from hyco.report.parameters_file import Values
from hyco.report.records import Record
from hyco.report.several import Entry, Histories, Runs, aggregate, entries_of, parameters_of, said, tables_of
from hyco.report.several_figures import draw_errors, draw_fields, draw_scores, draw_times
from hyco.report.summary import Summary, number
from hyco.report.tables import Table
from hyco.storage.atomic import write_json, write_text

DPI = 130
TRUE, GUESS = "True", "Initial guess"
RECOVERED = {"physical": "Physical model alone", "hybrid": "Hybrid"}


def write_comparison_of_modes(
    folder: Path,
    summaries: Mapping[str, Summary],
    *,
    histories: Mapping[str, Sequence[Record]] | None = None,
    parameters: Mapping[str, Values] | None = None,
    config_yaml: str = "",
) -> Path:
    """Write report.html, metrics.json and figures/*.png about one experiment, trained in several modes.

    Args:
        summaries: by mode, `physical`, `synthetic` or `hybrid`, what its metrics.json holds.
        histories: by mode, its records, for the times.
        parameters: by mode, what `read_parameters` finds in its folder, for the figures of fields.

    Raises DataError for unknown modes or none, StorageError when a file cannot be written.
    """
    runs = {mode: [summary] for mode, summary in summaries.items()}
    entries = entries_of(runs, {mode: [records] for mode, records in (histories or {}).items()})
    figures = [
        *_figures(entries, folder / "figures"),
        *_fields(summaries, parameters or {}, folder / "figures"),
    ]
    title = f"{entries[0].summaries[0]['experiment']}: {', '.join(summaries)}"
    return _write(folder, title, entries, figures, tables_of(entries), _against(entries), config_yaml)


def write_seeds_report(
    folder: Path,
    runs: Mapping[int, Mapping[str, Summary]],
    *,
    histories: Mapping[int, Mapping[str, Sequence[Record]]] | None = None,
    config_yaml: str = "",
) -> Path:
    """Write report.html, metrics.json and figures/*.png about one experiment that was run with several seeds.

    Args:
        runs: by seed and mode, what the metrics.json of the run holds; every seed in the same modes.
        histories: by seed and mode, the records, for the times.

    Raises DataError for unknown modes or no run, StorageError when a file cannot be written.
    """
    modes = dict.fromkeys(mode for found in runs.values() for mode in found)
    by_mode: Runs = {mode: [found[mode] for found in runs.values() if mode in found] for mode in modes}
    told = histories or {}
    records: Histories = {
        mode: [told.get(seed, {}).get(mode, ()) for seed, found in runs.items() if mode in found]
        for mode in modes
    }
    entries = entries_of(by_mode, records)
    title = f"{entries[0].summaries[0]['experiment']}: {len(runs)} seeds"
    tables = [*tables_of(entries), _by_seed(entries, list(runs))]
    figures = _figures(entries, folder / "figures")
    return _write(folder, title, entries, figures, tables, _medians(entries), config_yaml)


def _write(
    folder: Path,
    title: str,
    entries: Sequence[Entry],
    figures: Sequence[Picture],
    tables: Sequence[Table],
    headlines: Sequence[Headline],
    config_yaml: str,
) -> Path:
    write_json(folder / "metrics.json", aggregate(entries))
    page = folder / "report.html"
    text = render(
        "several.html",
        title=title,
        equation=entries[0].summaries[0]["equation"],
        headlines=headlines,
        galleries=[("Figures", figures)],
        tables=tables,
        config_yaml=config_yaml,
    )
    write_text(page, text)
    return page


def _figures(entries: Sequence[Entry], folder: Path) -> list[Picture]:
    runs = max(len(e.summaries) for e in entries)
    rows = runs if runs > 1 else len(entries[0].summaries[0]["simulations"])
    what = "seeds" if runs > 1 else "test simulations"
    shaded = f" Median of the {what}; shaded: {spread_name(rows)}." if rows > 1 else ""
    draw_errors(entries, folder / "error_over_time.png", dpi=DPI)
    draw_scores(entries, folder / "scores.png", dpi=DPI)
    dots = "A dot for each seed, a bar at the median." if runs > 1 else "A dot for each model."
    made = [
        Picture(
            folder / "error_over_time.png",
            f"Error of the rollouts over time, and correlation with the truth.{shaded}",
            "Curves of nRMSE and correlation over time",
        ),
        Picture(
            folder / "scores.png",
            f"Error of the rollouts, and of the recovered parameters. {dots}",
            "Dots of the rollout error and of the parameter errors",
        ),
    ]
    if any(np.any(np.isfinite(e.seconds)) for e in entries):
        draw_times(entries, folder / "times.png", dpi=DPI)
        made.append(Picture(folder / "times.png", "Time spent in training.", "Bars of the training times"))
    return made


def _fields(
    summaries: Mapping[str, Summary], parameters: Mapping[str, Values], folder: Path
) -> list[Picture]:
    """The fields that the modes recovered, beside the truth."""
    made = []
    known = {mode: parameters[mode] for mode in RECOVERED if parameters.get(mode)}
    first: Values = next(iter(known.values()), {})
    for name, values in first.items():
        fields: dict[str, NDArray[np.floating]] = {TRUE: values["truth"], GUESS: values["initial"]}
        fields |= {
            RECOVERED[mode]: found[name]["recovered"] for mode, found in known.items() if name in found
        }
        if all(np.ndim(v) == 0 for v in fields.values()):
            continue
        path, words = folder / f"parameters_{name}.png", name.replace("_", " ")
        draw_fields(name, fields, summaries[next(iter(known))], path, dpi=DPI)
        made.append(Picture(path, f"{words}: true, guessed and recovered.", f"Fields of {words}"))
    return made


def _against(entries: Sequence[Entry]) -> list[Headline]:
    """The hybrid models, held against each model alone."""
    made = []
    for entry in entries:
        alone = [e for e in entries if e.model == entry.model and e.mode == entry.model]
        if entry.mode != "hybrid" or not alone:
            continue
        steps = entry.summaries[0]["baseline"]["horizon"]["steps"]
        pairs = [(f"{entry.name}: nRMSE over {steps} steps", entry.score("nrmse"), alone[0].score("nrmse"))]
        pairs += [
            (f"{n}, hybrid: relative L2 error", entry.parameter(n), alone[0].parameter(n))
            for n in parameters_of(entry)
        ]
        for what, mine, other in pairs:
            share = mine[0] / other[0] if other[0] else np.nan
            times = f"{number(float(share))} times" if np.isfinite(share) else "against"
            made.append(
                Headline(what, said(mine), f"{times} the {said(other)} of the {alone[0].name.lower()}")
            )
    return made


def _medians(entries: Sequence[Entry]) -> list[Headline]:
    """Medians over the seeds."""
    made = []
    for entry in entries:
        steps = entry.summaries[0]["baseline"]["horizon"]["steps"]
        scores: list[tuple[str, Any]] = [(f"{entry.name}, nRMSE over {steps} steps", entry.score("nrmse"))]
        scores += [
            (f"{n}, relative L2 error, {entry.name.lower()}", entry.parameter(n))
            for n in parameters_of(entry)
        ]
        for what, values in scores:
            median, _, rest = said(values).partition(" (")
            made.append(
                Headline(what, median, f"median; quartiles {rest.rstrip(')')}" if rest else "one seed")
            )
    return made


def _by_seed(entries: Sequence[Entry], seeds: Sequence[int]) -> Table:
    """The headline scores of every seed."""
    heads = ["seed"]
    columns = []
    for entry in entries:
        heads.append(f"{entry.name}: nRMSE")
        columns.append(entry.score("nrmse"))
        for name in parameters_of(entry):
            heads.append(f"{name.replace('_', ' ')}, {entry.name.lower()}")
            columns.append(entry.parameter(name))
    rows = [
        [str(seed), *(said(c[i : i + 1]) if i < len(c) else "" for c in columns)]
        for i, seed in enumerate(seeds)
    ]
    return Table(
        "Seed by seed", tuple(heads), rows, "nRMSE over the horizon; relative L2 error of parameters."
    )
