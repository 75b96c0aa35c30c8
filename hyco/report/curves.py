"""Curves: the error of the rollouts over time, and the losses of the training over its epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hyco.report.evaluation import MODELS, Evaluation, Summary
from hyco.report.metrics import CORRELATED
from hyco.report.plots import LINES, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Record = Mapping[str, Any]
NAMES = {**MODELS, "baseline": "Nothing changes"}
# beyond this many decades a curve says "diverged", and the others should still be read
DECADES_ABOVE = 1.0


def draw_error_over_time(evaluation: Evaluation, summary: Summary, path: Path, *, dpi: int) -> None:
    """Write nRMSE and correlation over time: median of the simulations, and the range they span."""
    with figure(path, width=9.0, height=3.7, dpi=dpi) as drawn:
        left, right = drawn.subplots(1, 2)
        curves = {m: per_frame(summary, m, "nrmse") for m in (*evaluation.models, "baseline")}
        for model, values in curves.items():
            _band(left, model, values, evaluation.dt)
        _limit_errors(left, curves)
        left.set_ylabel("nRMSE of a frame")
        for model in evaluation.models:
            _band(right, model, per_frame(summary, model, "correlation"), evaluation.dt)
        right.axhline(CORRELATED, color="#7A7A7A", linestyle=":", linewidth=1.2)
        right.text(0.0, CORRELATED, f" {CORRELATED}", color="#5A5A5A", va="bottom", fontsize=9)
        right.set(ylabel="correlation with the truth", ylim=(min(0.6, right.get_ylim()[0]), 1.02))
        for panel in (left, right):
            _mark_horizon(panel, summary, evaluation.dt)
            panel.set_xlabel(f"t ({evaluation.time_unit})")
            panel.set_xlim(left=0.0)
            panel.grid(alpha=0.25)
        handles, labels = left.get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside upper center", ncols=len(labels))


def per_frame(summary: Summary, model: str, score: str) -> NDArray[np.float64]:
    """A score of every frame, dims (simulation, frame); NaN where it is not finite or there is no frame."""
    rows = [s["baseline"] if model == "baseline" else s["models"][model] for s in summary["simulations"]]
    series = [np.array(row["per_frame"][score], np.float64) for row in rows]
    longest = max(len(s) for s in series)
    return np.array([np.pad(s, (0, longest - len(s)), constant_values=np.nan) for s in series])


def draw_loss_curves(records: Sequence[Record], path: Path, *, dpi: int) -> None:
    """Write the losses of each trained model over its epochs, warm-up and cycles marked."""
    chosen = {m: epochs_of(records, m) for m in MODELS if epochs_of(records, m)}
    with figure(path, width=4.6 * len(chosen), height=3.7, dpi=dpi) as drawn:
        panels = drawn.subplots(1, len(chosen), squeeze=False)[0]
        for panel, (model, epochs) in zip(panels, chosen.items(), strict=True):
            _losses(panel, model, epochs)
            _mark_phases(panel, epochs)
            panel.set_title(MODELS[model], pad=20)
            panel.set_xlabel("epoch" if model == "synthetic" else "solve of the inverse problem")
            panel.set_ylabel("loss (mean squared error)")
            panel.grid(alpha=0.25)
            panel.legend(loc="best", frameon=True, framealpha=0.85, edgecolor="none")


def epochs_of(records: Sequence[Record], model: str) -> list[Record]:
    """The epochs of one model, in order."""
    return [r for r in records if r.get("kind") == "epoch" and r.get("model") == model]


def _band(panel: Axes, model: str, values: NDArray[np.float64], dt: float) -> None:
    """The median over the simulations, and a band over what they span; dims (simulation, frame)."""
    seen = ~np.all(np.isnan(values), axis=0)
    time = (np.arange(values.shape[1])[seen] + 1) * dt
    shown = values[:, seen]
    cut = "" if seen.all() else " (until it is not finite)"
    panel.plot(time, np.nanmedian(shown, axis=0), label=NAMES[model] + cut, **LINES[model])
    if len(values) > 1:
        low, high = np.nanmin(shown, axis=0), np.nanmax(shown, axis=0)
        panel.fill_between(time, low, high, color=LINES[model]["color"], alpha=0.15, linewidth=0)


def _limit_errors(panel: Axes, curves: Mapping[str, NDArray[np.float64]]) -> None:
    """A logarithmic axis where the errors span more than a decade, and no room for diverged curves."""
    values = np.concatenate([c.ravel() for c in curves.values()])
    positive = values[np.isfinite(values) & (values > 0)]
    if positive.size and positive.max() > 10 * positive.min():
        panel.set_yscale("log")
    else:
        panel.set_ylim(bottom=0.0)
    reference = curves["baseline"][np.isfinite(curves["baseline"])]
    if reference.size and reference.max() > 0:
        ceiling = reference.max() * 10**DECADES_ABOVE
        panel.set_ylim(top=min(panel.get_ylim()[1], ceiling))


def _mark_horizon(panel: Axes, summary: Summary, dt: float) -> None:
    steps = summary["baseline"]["horizon"]["steps"]
    if steps == summary["baseline"]["all_frames"]["steps"]:
        return
    panel.axvline(steps * dt, color="#7A7A7A", linewidth=0.9)
    place = panel.get_xaxis_transform()
    panel.text(steps * dt, 0.02, f" {steps} steps", transform=place, color="#5A5A5A", fontsize=9)


def _losses(panel: Axes, model: str, epochs: Sequence[Record]) -> None:
    """Training and validation loss, and for a solve the loss that it began with."""
    number = np.arange(1, len(epochs) + 1)
    colour = LINES[model]["color"]
    markers: dict[str, Any] = {"marker": "o", "markersize": 5} if len(epochs) <= 30 else {}
    train, validation, initial = (_column(epochs, f"{k}_loss") for k in ("train", "validation", "initial"))
    if not np.all(np.isnan(initial)):
        panel.vlines(number, train, initial, color=colour, linewidth=0.9, alpha=0.6)
        panel.plot(number, initial, "o", color=colour, markerfacecolor="white", label="before the solve")
    panel.plot(number, train, color=colour, linewidth=1.8, label="training", **markers)
    if not np.all(np.isnan(validation)):
        panel.plot(number, validation, color="#000000", linestyle=(0, (4, 1.5)), linewidth=1.4,
                   label="validation", **markers)  # fmt: skip
    if np.nanmax([*train, *validation, *initial, 0.0]) > 0:
        panel.set_yscale("log", nonpositive="mask")
    panel.set_xlim(0.5, len(epochs) + 0.5)
    panel.locator_params(axis="x", integer=True)


def _column(epochs: Sequence[Record], key: str) -> NDArray[np.float64]:
    """The values of one key, NaN where a record has none or it is not finite."""
    values = np.array([np.nan if e.get(key) is None else e[key] for e in epochs], np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _mark_phases(panel: Axes, epochs: Sequence[Record]) -> None:
    """Shade the warm-up, draw a line where a cycle begins, and name both above the panel.

    Where there are many cycles only their numbers stand there, and the legend says what they are.
    """
    phases = [(e.get("phase"), e.get("cycle")) for e in epochs]
    if all(phase != "cycle" for phase, _ in phases):
        return
    starts = [i for i, phase in enumerate(phases) if i == 0 or phase != phases[i - 1]]
    crowded = len(starts) > 6
    place: dict[str, Any] = {
        "transform": panel.get_xaxis_transform(),
        "ha": "center",
        "va": "bottom",
        "fontsize": 8.5,
    }
    every = -(-len(starts) // 14)
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(epochs)], strict=True)):
        phase, cycle = phases[start]
        if phase != "cycle":
            label = "warm-up" if crowded else None
            panel.axvspan(start + 0.5, end + 0.5, color="#000000", alpha=0.07, linewidth=0, label=label)
        if start:
            label = "a cycle begins" if crowded and number == 1 else None
            panel.axvline(start + 0.5, color="#7A7A7A", linestyle=":", linewidth=1.0, label=label)
        if not crowded:
            panel.text(
                (start + end + 1) / 2, 1.02, f"cycle {cycle}" if phase == "cycle" else "warm-up", **place
            )
        elif phase == "cycle" and number % every == 0:
            panel.text((start + end + 1) / 2, 1.02, str(cycle), **place)
