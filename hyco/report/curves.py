"""Curves over time: the error of the rollouts, and what of it is in which band of wave numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hyco.report.evaluation import MODELS, Evaluation
from hyco.report.frequencies import BANDS
from hyco.report.metrics import CORRELATED
from hyco.report.plots import LINES, SOFT, figure, superscripts
from hyco.report.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMES = {**MODELS, "baseline": "Nothing changes"}
# beyond this many decades a curve says "diverged", and the others should still be read
DECADES_ABOVE, DECADES_BELOW = 1.0, 6.0
QUARTILES = 5  # from so many rows on the band of a curve is the quartiles, below it the range


@dataclass(frozen=True, eq=False)
class Curve:
    """A score of every frame, (rows, frames), of several simulations or runs; NaN where there is none.

    Args:
        name: for the legend; style: of the line; baseline: whether it is what the others are held against.
    """

    name: str
    values: NDArray[np.float64]
    style: Mapping[str, Any]
    baseline: bool = False

    @classmethod
    def of(cls, summary: Summary, model: str, score: str, band: str | None = None) -> Curve:
        """A model's score in every simulation of a summary."""
        style = LINES["truth"] | {"linestyle": ":"} if model == "truth" else LINES[model]
        values = per_frame(summary, model, score, band)
        return cls(NAMES.get(model, "The truth itself"), values, style, model in ("baseline", "truth"))

    def draw(self, panel: Axes, dt: float) -> None:
        """The median over the rows, and a band over what they span (quartiles, where they are many)."""
        seen = ~np.all(np.isnan(self.values), axis=0)
        time = (np.arange(self.values.shape[1])[seen] + 1) * dt
        shown = self.values[:, seen]
        cut = "" if seen.all() else " (until it is not finite)"
        panel.plot(time, np.nanmedian(shown, axis=0), label=self.name + cut, **self.style)
        if len(self.values) > 1:
            low, high = band_of(shown)
            panel.fill_between(time, low, high, color=self.style["color"], alpha=0.15, linewidth=0)


def band_of(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper quartile over the rows; of fewer than five rows, the least and the greatest."""
    if len(values) >= QUARTILES:
        low, high = np.nanquantile(values, (0.25, 0.75), axis=0)
        return low, high
    return np.nanmin(values, axis=0), np.nanmax(values, axis=0)


def spread_name(rows: int) -> str:
    """What the shaded band is."""
    return "the quartiles" if rows >= QUARTILES else "the range they span"


def draw_error_over_time(evaluation: Evaluation, summary: Summary, path: Path, *, dpi: int) -> None:
    """Write nRMSE and correlation over time: median of the simulations, and the range they span."""
    errors = [Curve.of(summary, m, "nrmse") for m in (*evaluation.models, "baseline")]
    correlations = [Curve.of(summary, m, "correlation") for m in evaluation.models]
    draw_rollouts(errors, correlations, path, summary=summary, time_unit=evaluation.time_unit, dpi=dpi)


def draw_rollouts(
    errors: Sequence[Curve],
    correlations: Sequence[Curve],
    path: Path,
    *,
    summary: Summary,
    time_unit: str,
    dpi: int,
) -> None:
    """Write nRMSE and correlation over time; `summary` says how long a step and the horizon are."""
    with figure(path, width=9.0, height=3.9, dpi=dpi) as drawn:
        left, right = drawn.subplots(1, 2)
        for curve in errors:
            curve.draw(left, summary["dt"])
        limit_errors(left, errors)
        left.set_ylabel("nRMSE of a frame")
        for curve in correlations:
            curve.draw(right, summary["dt"])
        right.axhline(CORRELATED, color="#7A7A7A", linestyle=":", linewidth=1.2)
        right.text(0.0, CORRELATED, f" {CORRELATED}", color=SOFT, va="bottom", fontsize=9)
        right.set(ylabel="correlation with the truth", ylim=(min(0.6, right.get_ylim()[0]), 1.02))
        for panel in (left, right):
            _mark_horizon(panel, summary)
            panel.set_xlabel(f"t ({time_unit})")
            panel.set_xlim(left=0.0)
            panel.grid(alpha=0.25)
        handles, labels = left.get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside upper center", ncols=min(3, len(labels)))


def draw_band_errors(evaluation: Evaluation, summary: Summary, path: Path, *, dpi: int) -> None:
    """Write the error of each frame in each band over time, beside what there is of the truth in the band."""
    models = (*evaluation.models, "truth")
    panels = {b: [Curve.of(summary, m, "bands", b) for m in models] for b in BANDS}
    with figure(path, width=9.6, height=3.9, dpi=dpi) as drawn:
        axes = drawn.subplots(1, len(BANDS), sharex=True, sharey=True)
        for panel, (band, curves) in zip(axes, panels.items(), strict=True):
            for curve in curves:
                curve.draw(panel, summary["dt"])
            panel.set_title(f"{band}: {_limits(summary['bands'], band)}")
            panel.set_xlabel(f"t ({evaluation.time_unit})")
            panel.set_xlim(left=0.0)
            panel.grid(alpha=0.25)
        limit_errors(axes[0], [c for curves in panels.values() for c in curves])
        axes[0].set_ylabel("error in the band / whole truth")
        handles, labels = axes[0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside upper center", ncols=len(labels))


def _limits(bands: Mapping[str, Any], band: str) -> str:
    """`|k| < 0.2 rad/length`."""
    low, high = bands[band]
    unit = superscripts(bands["unit"])
    if high is None:
        return f"|k| > {low:.3g} {unit}"
    return f"|k| \N{LESS-THAN OR EQUAL TO} {high:.3g} {unit}" if low == 0 else f"up to {high:.3g} {unit}"


def per_frame(summary: Summary, model: str, score: str, band: str | None = None) -> NDArray[np.float64]:
    """A score of every frame, dims (simulation, frame); NaN where it is not finite or there is no frame."""
    rows = [
        s[model] if model in ("baseline", "truth") else s["models"][model] for s in summary["simulations"]
    ]
    found = [row["per_frame"][score] for row in rows]
    return padded([f if band is None else f[band] for f in found])


def padded(rows: Sequence[Sequence[float | None]]) -> NDArray[np.float64]:
    """Rows of different lengths as one array, NaN where they end or hold None."""
    series = [np.array(row, np.float64) for row in rows]
    longest = max(len(s) for s in series)
    return np.array([np.pad(s, (0, longest - len(s)), constant_values=np.nan) for s in series])


def limit_errors(panel: Axes, curves: Sequence[Curve]) -> None:
    """A logarithmic axis where the errors span more than a decade, and no room for diverged curves."""
    values = np.concatenate([c.values.ravel() for c in curves])
    positive = values[np.isfinite(values) & (values > 0)]
    logarithmic = bool(positive.size and positive.max() > 10 * positive.min())
    if logarithmic:
        panel.set_yscale("log")
    else:
        panel.set_ylim(bottom=0.0)
    reference = np.concatenate([np.empty(0), *(c.values.ravel() for c in curves if c.baseline)])
    reference = reference[np.isfinite(reference)]
    if reference.size and reference.max() > 0:
        top = min(panel.get_ylim()[1], reference.max() * 10**DECADES_ABOVE)
        panel.set_ylim(top=top)
        if logarithmic:
            panel.set_ylim(bottom=max(panel.get_ylim()[0], top * 10 ** -(DECADES_ABOVE + DECADES_BELOW)))


def _mark_horizon(panel: Axes, summary: Summary) -> None:
    steps, dt = summary["baseline"]["horizon"]["steps"], summary["dt"]
    if steps == summary["baseline"]["all_frames"]["steps"]:
        return
    panel.axvline(steps * dt, color="#7A7A7A", linewidth=0.9)
    place = panel.get_xaxis_transform()
    panel.text(steps * dt, 0.02, f" {steps} steps", transform=place, color=SOFT, fontsize=9)
