"""Energy spectra of truth and predictions at a few times."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hyco.report.evaluation import MODELS, Evaluation
from hyco.report.frequencies import BANDS, Scales
from hyco.report.frequency_scores import Spectrum, spectrum
from hyco.report.plots import LINES, SOFT, figure, superscripts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DECADES = 10.0  # below the largest energy: what lies further down is rounding in float32


def draw_spectra(evaluation: Evaluation, path: Path, *, dpi: int) -> None:
    """Write E(k) at each time of `spectrum`, logarithmically, with the limits of the bands."""
    found, scales = spectrum(evaluation), Scales.of(evaluation.grid)
    with figure(path, width=9.6, height=3.9, dpi=dpi) as drawn:
        axes = drawn.subplots(1, len(found.frames), sharex=True, sharey=True, squeeze=False)[0]
        for number, (panel, frame) in enumerate(zip(axes, found.frames, strict=True)):
            for name, energies in found.energies.items():
                shown = np.where(
                    np.isfinite(energies[number]) & (energies[number] > 0), energies[number], np.nan
                )
                label = "Truth" if name == "truth" else MODELS[name]
                panel.plot(found.wave_numbers, shown, label=label, **LINES[name])
            panel.set_title(f"t = {frame * evaluation.dt:.4g}", pad=16)
            panel.set_xlabel(f"|k| (rad/{evaluation.length_unit})")
            panel.grid(alpha=0.25)
        for panel in axes:
            panel.set_xscale("log")
            panel.set_xlim(0.9 * found.wave_numbers[0], 1.1 * found.wave_numbers[-1])
            ticks = _ticks(*panel.get_xlim())
            panel.set_xticks(ticks, [f"{t:g}" for t in ticks])
            panel.tick_params(axis="x", which="minor", labelbottom=False)
            _mark_bands(panel, scales)
        _limit(axes[0], found)
        axes[0].set_ylabel(_label(evaluation, found))
        handles, labels = axes[0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside upper center", ncols=len(labels))


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten between the limits; the powers alone, where they are many."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = (1, 2, 5) if np.log10(high / low) < 2.2 else (1,)
    ticks = (float(f"{step}e{power}") for power in powers for step in steps)
    return [t for t in ticks if low <= t <= high]


def _mark_bands(panel: Axes, scales: Scales) -> None:
    """Lines between the bands, and their names above the panel."""
    left, right = panel.get_xlim()
    edges = np.clip([left, scales.low, scales.high, right], left, right)
    for edge in edges[1:-1]:
        panel.axvline(edge, color="#7A7A7A", linestyle=":", linewidth=1.0)
    for name, start, end in zip(BANDS, edges[:-1], edges[1:], strict=True):
        if np.log(end / start) > 0.12 * np.log(right / left):
            panel.text(np.sqrt(start * end), 1.015, name, transform=panel.get_xaxis_transform(), ha="center",
                       va="bottom", fontsize=8.5, color=SOFT)  # fmt: skip


def _limit(panel: Axes, found: Spectrum) -> None:
    truth = found.energies["truth"]
    everything = np.concatenate([e.ravel() for e in found.energies.values()])
    positive = everything[np.isfinite(everything) & (everything > 0)]
    if not positive.size:
        return
    panel.set_yscale("log", nonpositive="mask")
    top = truth.max() if truth.max() > 0 else positive.max()
    panel.set_ylim(max(positive.min() / 2, top * 10**-DECADES), 10 * top)


def _label(evaluation: Evaluation, found: Spectrum) -> str:
    """`E(k) of the velocity (length^3/time^2)`: the field squared, times a length."""
    spec = evaluation.layout.field(found.field)
    words = f"E(k) of the {found.field.replace('_', ' ')}"
    unit = evaluation.unit(spec.unit)
    factor = evaluation.length_unit
    squared = {"1": factor, "length/time": "length^3/time^2"}.get(spec.unit, f"({unit})^2 {factor}")
    return f"{words} ({superscripts(evaluation.unit(squared))})"
