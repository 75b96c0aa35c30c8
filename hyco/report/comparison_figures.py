"""Figures of a comparison: differences in units of their tolerances, curves over each other, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hyco.report.evaluation import MODELS
from hyco.report.plots import LINES, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Data = Mapping[str, Any]
SOFT, GRID, GOOD, BAD = "#5A5A5A", "#D9D9D9", "#0072B2", "#D55E00"
LOSSES = {"train_loss": "training", "validation_loss": "validation"}
ROW = 0.21  # inches per row of a figure with one row per quantity


def draw_differences(data: Data, path: Path, *, dpi: int) -> None:
    """Write one row per judged quantity: its worst difference in units of what is allowed."""
    groups = [(s, [f for f in s["findings"] if f["verdict"] != "shown"]) for s in data["sections"]]
    groups = [(s, found) for s, found in groups if found]
    shares = [f["share"] for _, found in groups for f in found if f["share"]]
    lowest = min([1e-4, *shares])
    left = 10.0 ** (np.floor(np.log10(lowest)) - 1.0)
    rows = sum(len(found) for _, found in groups)
    with figure(path, width=8.2, height=1.0 + ROW * (rows + len(groups)), dpi=dpi) as drawn:
        panel = drawn.subplots()
        ticks, labels, row = [], [], 0.0
        for section, found in groups:
            panel.text(left, row, section["name"].replace("_", " "), va="center", fontsize=9.5, weight="bold")
            panel.axhline(row - 0.5, color=GRID, linewidth=0.8)
            row += 1.0
            for finding in found:
                _mark(panel, finding["share"], row, left)
                ticks.append(row)
                labels.append(_label(finding))
                row += 1.0
        panel.set_xscale("log")
        panel.set(yticks=ticks, yticklabels=labels, ylim=(row - 0.4, -0.6))
        panel.set_xlim(left * 0.7, max([10.0, *(10 * s for s in shares)]))
        panel.axvline(1.0, color="black", linewidth=1.2)
        panel.axvspan(1.0, panel.get_xlim()[1], color=BAD, alpha=0.07, linewidth=0)
        panel.text(1.0, -0.62, "tolerance", ha="center", va="bottom", fontsize=9)
        panel.set_xlabel("worst difference / allowed difference")
        panel.grid(axis="x", alpha=0.25)
        panel.tick_params(axis="y", length=0, labelsize=8.5)
        panel.spines[["top", "right", "left"]].set_visible(False)


def _mark(panel: Axes, share: float | None, row: float, left: float) -> None:
    """A dot on a stem; open at the edge where nothing differs, an arrow where it is beyond all measure."""
    if share == 0:
        panel.plot(left, row, "o", color=GOOD, markerfacecolor="white", markersize=5, clip_on=False)
        return
    place, marker = (share, "o") if share is not None else (5.0, ">")
    colour = BAD if place > 1 else GOOD
    panel.hlines(row, left, place, color=colour, linewidth=1.0, alpha=0.45)
    panel.plot(place, row, marker, color=colour, markersize=5.5)


def _label(finding: Data) -> str:
    what, quantity = finding["what"], finding["quantity"]
    short = quantity.removesuffix(" in a run").removesuffix(" of a short training")
    return what if short in what or short in ("step", "stored values") else f"{what}: {short}"


def draw_curves(data: Data, path: Path, *, dpi: int) -> None:
    """Write the losses of both trainings over each other, and their relative difference below."""
    curves = data["curves"]
    with figure(path, width=0.6 + 4.3 * len(curves), height=4.7, dpi=dpi) as drawn:
        panels = drawn.subplots(2, len(curves), squeeze=False, sharex="col", height_ratios=[2.2, 1])
        for column, (model, pair) in enumerate(curves.items()):
            upper, lower = panels[0, column], panels[1, column]
            for key, style in (("train_loss", "o"), ("validation_loss", "s")):
                a, b = (_column(pair[who], key) for who in ("reference", "candidate"))
                if np.all(np.isnan(a)) and np.all(np.isnan(b)):
                    continue
                _pair(upper, a, b, key, style, data["names"])
                _apart(lower, a, b, key, style)
            upper.set_title(MODELS[model])
            for panel in (upper, lower):
                _logarithmic(panel, whole_decades=panel is lower)
            lower.set_xlabel("epoch" if model == "synthetic" else "solve of the inverse problem")
            lower.xaxis.get_major_locator().set_params(integer=True)
            for panel in (upper, lower):
                panel.grid(alpha=0.25)
                panel.margins(x=0.06)
            upper.legend(loc="best", frameon=True, framealpha=0.85, edgecolor="none")
        panels[0, 0].set_ylabel("loss (mean squared error)")
        panels[1, 0].set_ylabel("relative\ndifference")


def _logarithmic(panel: Axes, *, whole_decades: bool) -> None:
    """A logarithmic axis for what has been drawn, if anything of it is positive."""
    drawn = [np.asarray(line.get_ydata(), np.float64) for line in panel.get_lines()]
    values = np.concatenate([np.empty(0), *drawn])
    positive = values[np.isfinite(values) & (values > 0)]
    if positive.size:
        panel.set_yscale("log", nonpositive="mask")
        if whole_decades:
            low, high = np.floor(np.log10(positive.min())), np.ceil(np.log10(positive.max()))
            panel.set_ylim(10.0 ** (low - 0.2), 10.0 ** (max(high, low + 1) + 0.2))


def _pair(panel: Axes, a: NDArray[Any], b: NDArray[Any], key: str, marker: str, names: Sequence[str]) -> None:
    """The reference as a broad pale line, the candidate as a thin dashed one on top of it."""
    colour = LINES["synthetic" if key == "train_loss" else "physical"]["color"]
    dots: dict[str, Any] = {"marker": marker, "markersize": 4.5} if max(len(a), len(b)) <= 30 else {}
    panel.plot(_epochs(a), a, color=colour, linewidth=4.0, alpha=0.35, label=f"{LOSSES[key]}, {names[0]}")
    panel.plot(_epochs(b), b, color=colour, linewidth=1.3, linestyle=(0, (4, 2)),
               label=f"{LOSSES[key]}, {names[1]}", **dots)  # fmt: skip


def _apart(panel: Axes, a: NDArray[Any], b: NDArray[Any], key: str, marker: str) -> None:
    """|candidate - reference| / |reference| of the epochs that both have; nothing where it is zero."""
    common = min(len(a), len(b))
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.abs(b[:common] - a[:common]) / np.abs(a[:common])
    colour = LINES["synthetic" if key == "train_loss" else "physical"]["color"]
    shown = np.where(apart > 0, apart, np.nan)
    panel.plot(_epochs(shown), shown, color=colour, linewidth=1.3, marker=marker, markersize=4.5)
    if np.all(np.isnan(shown)):
        panel.text(0.5, 0.5 if key == "train_loss" else 0.3, f"{LOSSES[key]}: not a bit differs",
                   transform=panel.transAxes, ha="center", color=SOFT, fontsize=9)  # fmt: skip


def _epochs(values: NDArray[Any]) -> NDArray[np.int_]:
    return np.arange(1, len(values) + 1)


def _column(records: Sequence[Data], key: str) -> NDArray[np.float64]:
    """One key of all records, NaN where there is none."""
    return np.array([np.nan if r.get(key) is None else r[key] for r in records], np.float64)


def draw_costs(data: Data, path: Path, *, dpi: int) -> None:
    """Write the times of every call, and time and memory of the trainings, candidate / reference."""
    rows: list[tuple[str, float, tuple[float, float] | None]] = [
        (f"{s['name'].replace('_', ' ')}: {t['call']}", t["ratio"], _spread(t))
        for s in data["sections"]
        for t in s["timings"]
    ]
    costs = data["costs"]
    if costs:
        for key, what in (("seconds", "whole training, cold: time"), ("memory_mb", "whole training: memory")):
            rows.append((what, costs["candidate"][key] / costs["reference"][key], None))
    with figure(path, width=8.2, height=0.9 + 1.15 * ROW * len(rows), dpi=dpi) as drawn:
        panel = drawn.subplots()
        for row, (_, value, spread) in enumerate(rows):
            colour = GOOD if value <= 1 else BAD
            if spread:
                panel.hlines(row, *spread, color=colour, linewidth=4.0, alpha=0.25)
            panel.plot(value, row, "o" if spread else "D", color=colour, markersize=5)
            panel.annotate(f"{value:.2f}", (1.01, row), xycoords=("axes fraction", "data"), va="center",
                           fontsize=8.5, annotation_clip=False)  # fmt: skip
        panel.axvline(1.0, color="black", linewidth=1.2)
        panel.set_xscale("log", base=2)
        reach = max(2.0, *(max(v, 1 / v, *(s or ())) for _, v, s in rows)) * 1.15
        panel.set_xlim(1 / reach, reach)
        panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        panel.set(yticks=range(len(rows)), yticklabels=[r[0] for r in rows], ylim=(len(rows) - 0.4, -0.6))
        panel.set_xlabel(f"{data['names'][1]} / {data['names'][0]} (bars: quartiles)")
        panel.grid(axis="x", alpha=0.25)
        panel.tick_params(axis="y", length=0, labelsize=8.5)
        panel.spines[["top", "right", "left"]].set_visible(False)


def _spread(timing: Data) -> tuple[float, float]:
    """The quartiles of the ratio, call by call."""
    ratios = np.array(timing["candidate"]) / np.array(timing["reference"])
    return float(np.quantile(ratios, 0.25)), float(np.quantile(ratios, 0.75))
