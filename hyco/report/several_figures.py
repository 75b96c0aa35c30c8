"""Figures about several runs: errors over time, errors of parameters, scores by run, times, fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hyco.problem.grid import Grid
from hyco.report.curves import Curve, draw_rollouts
from hyco.report.metrics import parameter_error
from hyco.report.plots import (
    LINES,
    SEQUENTIAL,
    SOFT,
    Scale,
    colour_bar,
    draw_plane,
    figure,
    panel_height,
    plane,
    superscripts,
)
from hyco.report.several import MODES, Entry, parameters_of, rows_of
from hyco.report.summary import Summary, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 0.09  # of the column that the dots of the runs are spread over, per run
Fields = Mapping[str, NDArray[np.floating]]  # by title


def draw_errors(entries: Sequence[Entry], path: Path, *, dpi: int) -> None:
    """Write nRMSE and correlation of all entries over time, and the error where nothing changes."""
    longest = max(entries, key=lambda e: len(e.summaries)).summaries
    nothing = Curve(
        "Nothing changes", rows_of(longest, "baseline", "nrmse"), LINES["baseline"], baseline=True
    )
    errors = [*(e.curve("nrmse") for e in entries), nothing]
    correlations = [e.curve("correlation") for e in entries]
    unit = longest[0]["units"]["time"]
    draw_rollouts(errors, correlations, path, summary=longest[0], time_unit=unit, dpi=dpi)


def draw_scores(entries: Sequence[Entry], path: Path, *, dpi: int) -> None:
    """Write the scores of every run as dots: rollouts on the left, and a panel for each parameter."""
    names = list(dict.fromkeys(n for e in entries for n in parameters_of(e)))
    physical = [e for e in entries if parameters_of(e)]
    first = entries[0].summaries[0]
    steps = first["baseline"]["horizon"]["steps"]
    counts = [len(entries), *[len(physical)] * len(names)]
    width = 1.4 * len(counts) + 0.85 * sum(counts)
    with figure(path, width=max(4.0, width), height=4.1, dpi=dpi) as drawn:
        panels = drawn.subplots(1, len(counts), squeeze=False, width_ratios=[c + 0.6 for c in counts])[0]
        baseline = [s["baseline"]["horizon"]["nrmse"] for s in entries[0].summaries]
        _dots(panels[0], entries, [e.score("nrmse") for e in entries], baseline, "nothing changes")
        panels[0].set_ylabel(f"nRMSE over {steps} steps")
        for panel, name in zip(panels[1:], names, strict=True):
            initial = physical[0].parameter(name, "initial")
            _dots(panel, physical, [e.parameter(name) for e in physical], initial, "initial guess")
            panel.set_ylabel(f"relative L2 error of {name.replace('_', ' ')}")


def _dots(panel: Axes, entries: Sequence[Entry], values: list[Any], reference: Any, name: str) -> None:
    """A dot per run and a bar at the median; what they are to be held against is a dotted line."""
    level = float(np.nanmedian(np.array(reference, np.float64)))
    panel.axhline(level, label=name, **LINES["baseline"])
    for column, (entry, found) in enumerate(zip(entries, values, strict=True)):
        finite = found[np.isfinite(found)]
        places = column + WIDTH * (np.arange(len(found)) - (len(found) - 1) / 2)
        colour = entry.style["color"]
        panel.plot(
            places, found, "o", color=colour, markersize=6, markeredgecolor="white", markeredgewidth=0.6
        )
        if len(found) > 1 and finite.size:
            panel.hlines(np.median(finite), column - 0.32, column + 0.32, color=colour, linewidth=2.2)
        if finite.size < len(found):
            panel.annotate(f"{len(found) - finite.size} not finite", (column, 0.98), ha="center", va="top",
                           xycoords=("data", "axes fraction"), fontsize=8, color=SOFT)  # fmt: skip
    every = np.concatenate([*values, [level]])
    positive = every[np.isfinite(every) & (every > 0)]
    if positive.size and positive.max() > 10 * positive.min():
        panel.set_yscale("log")
        panel.set_ylim(positive.min() / 2, positive.max() * 2)
    else:
        panel.set_ylim(0, 1.12 * max(positive.max(initial=0.0), 1e-30))
    names = [
        e.name.replace(", ", ",\n").replace(" alone", "\nalone").replace("Physical ", "Physical\n")
        for e in entries
    ]
    panel.set_xticks(range(len(entries)), names, fontsize=8.5)
    panel.set_xlim(-0.6, len(entries) - 0.4)
    panel.grid(axis="y", alpha=0.25)
    panel.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.1)


def draw_times(entries: Sequence[Entry], path: Path, *, dpi: int) -> None:
    """Write how long training took: a bar for each mode, a part of it for each model; medians of the runs."""
    modes = [mode for mode in MODES if any(e.mode == mode for e in entries)]
    colours = {"synthetic": LINES["synthetic"]["color"], "physical": LINES["physical"]["color"]}
    names = {"synthetic": "surrogate", "physical": "physical model"}
    with figure(path, width=6.4, height=1.3 + 0.42 * len(modes), dpi=dpi) as drawn:
        panel = drawn.subplots()
        ends = dict.fromkeys(modes, 0.0)
        for model, colour in colours.items():
            chosen = [e for e in entries if e.model == model and np.any(np.isfinite(e.seconds))]
            lengths = [float(np.nanmedian(e.seconds)) for e in chosen]
            rows = [modes.index(e.mode) for e in chosen]
            panel.barh(rows, lengths, left=[ends[e.mode] for e in chosen], color=colour, height=0.6,
                       label=names[model])  # fmt: skip
            for entry, length in zip(chosen, lengths, strict=True):
                ends[entry.mode] += length
        longest = max(ends.values())
        for row, mode in enumerate(modes):
            panel.text(ends[mode] + 0.01 * longest, row, f"{ends[mode]:.3g} s", va="center", fontsize=9)
        panel.set(
            yticks=range(len(modes)), yticklabels=[_alone(m) for m in modes], ylim=(len(modes) - 0.5, -0.5)
        )
        panel.set_xlim(0, 1.13 * longest)
        panel.set_xlabel("time spent in training (s)")
        panel.grid(axis="x", alpha=0.25)
        panel.tick_params(axis="y", length=0)
        panel.spines[["top", "right", "left"]].set_visible(False)
        drawn.legend(loc="outside upper center", ncols=2)


def _alone(mode: str) -> str:
    return "hybrid" if mode == "hybrid" else f"{mode} alone"


def draw_fields(name: str, fields: Fields, summary: Summary, path: Path, *, dpi: int) -> None:
    """Write one parameter as it is and as each run recovered it; the first of `fields` is the truth."""
    shape = summary["grid"]
    grid = Grid(tuple(shape["axes"]), tuple(shape["size"]), tuple(shape["resolution"]))
    shown = {
        title: np.broadcast_to(np.asarray(v, np.float64), grid.resolution) for title, v in fields.items()
    }
    truth, *others = shown.values()
    titles = list(shown)
    low, high = float(truth.min()), float(truth.max())
    if low == high:
        low, high = min(float(v.min()) for v in shown.values()), max(float(v.max()) for v in shown.values())
    scale = Scale(
        name, summary["parameters"][name]["unit"], low, high if high > low else low + 1.0, SEQUENTIAL
    )
    notes = ["", *(f"\nrelative L2 error {number(parameter_error(v, truth).relative_l2)}" for v in others)]
    length = superscripts(summary["units"]["length"])
    if grid.rank == 1:
        _draw_lines(name, shown, grid, scale, length, path, dpi)
        return
    with figure(path, width=1.0 + 2.45 * len(shown), height=panel_height(grid, 2.35) + 1.6, dpi=dpi) as drawn:
        panels = drawn.subplots(1, len(shown), sharex=True, sharey=True)
        for panel, title, note, values in zip(panels, titles, notes, shown.values(), strict=True):
            draw_plane(panel, values, grid, scale)
            panel.set_title(title + note)
            panel.set_xlabel(f"x ({length})")
        panels[0].set_ylabel(f"y ({length})")
        arrays = [plane(v, grid) for v in shown.values()]
        colour_bar(drawn, panels, scale, arrays, aspect=50, location="bottom", pad=0.03)


def _draw_lines(
    name: str, shown: Fields, grid: Grid, scale: Scale, length: str, path: Path, dpi: int
) -> None:
    styles = [LINES["truth"], LINES["baseline"], LINES["physical"], LINES["synthetic"]]
    with figure(path, width=6.0, height=3.6, dpi=dpi) as drawn:
        panel = drawn.subplots()
        for number_, (title, values) in enumerate(shown.items()):
            panel.plot(grid.centres("x"), values, label=title, **styles[number_ % len(styles)])
        panel.set(xlim=(0.0, grid.size[0]), xlabel=f"x ({length})", ylabel=scale.label)
        panel.grid(alpha=0.25)
        drawn.legend(loc="outside upper center", ncols=4)
