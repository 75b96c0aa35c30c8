"""Where among the wave numbers the errors of a rollout are, and where the energy of the fields is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.report.evaluation import Evaluation, SimulationResult
from hyco.report.frequencies import BANDS, Scales, Waves

Array = NDArray[np.floating]
TIMES = 3  # at which spectra are taken, equally far apart, the last frame being the last of them


@dataclass(frozen=True)
class BandErrors:
    """Mean squares per predicted frame and band, (frames, 3): of the error, and of the truth.

    The mean squares of all dynamic components are added.
    """

    error: Array
    truth: Array

    def first(self, frames: int) -> BandErrors:
        """The first `frames` predicted frames, or all there are."""
        return BandErrors(self.error[:frames], self.truth[:frames])

    @staticmethod
    def pooled(parts: Sequence[BandErrors]) -> BandErrors:
        """The frames of several simulations together."""
        return BandErrors(np.concatenate([p.error for p in parts]), np.concatenate([p.truth for p in parts]))

    def shares(self) -> dict[str, float]:
        """Error of each band over the whole truth, pooled over the frames; nRMSE^2 is the sum of squares."""
        return _shares(self.error.sum(0), self.truth.sum())

    def per_frame(self) -> dict[str, list[float]]:
        """The same of every frame."""
        rows = [_shares(e, t.sum()) for e, t in zip(self.error, self.truth, strict=True)]
        return {band: [row[band] for row in rows] for band in BANDS}


def _shares(error: Array, truth: float | np.floating) -> dict[str, float]:
    """sqrt(error / truth) of each band; no error of nothing is 0, and any error of nothing is infinite."""
    with np.errstate(all="ignore"):
        shares = np.where(error == 0.0, 0.0, np.sqrt(np.divide(error, truth)))
    return dict(zip(BANDS, np.where(np.isnan(shares), np.inf, shares).tolist(), strict=True))


def band_errors(evaluation: Evaluation, result: SimulationResult) -> dict[str, BandErrors]:
    """The errors of every model in one simulation, of the `baseline`, and of the `truth`.

    By the last, what predicting zero would be off.
    """
    waves = _waves(evaluation)
    names = (*evaluation.models, "baseline", "truth")
    error = {name: np.zeros((result.frames, len(BANDS))) for name in names}
    for component, made_of in waves.items():
        entry = result.components.index(component)
        first = made_of.coefficients(result.truth[entry, 0])
        for frame in range(1, result.frames):
            true = made_of.coefficients(result.truth[entry, frame])
            predicted = {m: made_of.coefficients(p[entry, frame]) for m, p in result.predictions.items()}
            for name, values in {**predicted, "baseline": first, "truth": np.zeros_like(true)}.items():
                with np.errstate(all="ignore"):
                    error[name][frame] += made_of.by_band(values - true)
    # frame 0 is given, and is not scored
    return {name: BandErrors(error[name][1:], error["truth"][1:]) for name in names}


def bands_of(evaluation: Evaluation) -> dict[str, Any]:
    """The limits of the bands and what they are measured in, for metrics.json."""
    return {"unit": f"rad/{evaluation.length_unit}", **Scales.of(evaluation.grid).bands()}


def _waves(evaluation: Evaluation) -> dict[str, Waves]:
    """The waves of every dynamic component."""
    layout = evaluation.layout
    boundaries = {c: f.boundary for f in layout.fields if not f.static for c in f.components(layout.axes)}
    made = {boundary: Waves(evaluation.grid, boundary) for boundary in set(boundaries.values())}
    return {component: made[boundary] for component, boundary in boundaries.items()}


@dataclass(frozen=True)
class Spectrum:
    """Energy spectra of the shown field at a few times, means over the simulations that last so long.

        E(k) = 1/2 sum of |u_k|^2 over the waves of a shell / width of the shell

    Args:
        field: whose; a vector's components are added.
        frames: at which frames.
        wave_numbers: mean |k| of each shell, in radians per length.
        energies: E(k) of the truth and each model, (frames, shells).
    """

    field: str
    frames: tuple[int, ...]
    wave_numbers: Array
    energies: dict[str, Array]

    def plain(self) -> dict[str, Any]:
        """For metrics.json: the energy of every shell as a share of the truth's in all of them."""
        whole = self.energies["truth"].sum(axis=1, keepdims=True)
        with np.errstate(all="ignore"):
            shares = {name: e / whole for name, e in self.energies.items()}
        return {
            "field": self.field,
            "frames": self.frames,
            "wave_numbers": self.wave_numbers,
            "energy_shares": shares,
        }


def spectrum(evaluation: Evaluation) -> Spectrum:
    """The spectra of the first field that evolves."""
    layout = evaluation.layout
    spec = next(f for f in layout.fields if not f.static)
    waves = Waves(evaluation.grid, spec.boundary)
    longest = max(r.frames for r in evaluation.simulations)
    frames = tuple(dict.fromkeys(np.linspace(0, longest - 1, TIMES + 1).round().astype(int)[1:].tolist()))
    energies: dict[str, list[Array]] = {name: [] for name in ("truth", *evaluation.models)}
    for frame in frames:
        lasting = [r for r in evaluation.simulations if r.frames > frame]
        for name, found in energies.items():
            rows = [_energy(waves, r, spec.components(layout.axes), name, frame) for r in lasting]
            with np.errstate(all="ignore"):
                found.append(np.mean(rows, axis=0))
    arrays = {n: np.array(e) for n, e in energies.items()}
    return Spectrum(spec.name, frames, waves.shells, arrays)


def _energy(
    waves: Waves, result: SimulationResult, components: Sequence[str], name: str, frame: int
) -> Array:
    values = result.truth if name == "truth" else result.predictions[name]
    parts = [waves.coefficients(values[result.components.index(c), frame]) for c in components]
    energy: Array = 0.5 * np.sum([waves.by_shell(p) for p in parts], axis=0) / waves.scales.width
    return energy
