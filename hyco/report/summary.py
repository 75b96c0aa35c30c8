"""The summary of an evaluation that `metrics.json` holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np

from hyco.errors import ConfigError
from hyco.report.evaluation import Evaluation, ParameterResult, SimulationResult
from hyco.report.frequency_scores import BandErrors, band_errors, bands_of, spectrum
from hyco.report.metrics import FrameErrors, frame_errors, parameter_error, ratio, unchanged
from hyco.storage.parameter_history import Snapshots

Summary = dict[str, Any]


def summarise(evaluation: Evaluation, horizon: int) -> Summary:
    """Scores per simulation, per model and per frame, over all frames and over the first `horizon` steps.

    Strictly JSON: what is infinite or undefined is None, and `finite` beside it is False.  The static
    components of the state are given, not predicted, and are not scored.  `bands` beside the other scores are
    the errors of low, middle and high wave numbers, as shares of the whole truth.
    """
    if horizon < 1:
        raise ConfigError(f"the horizon of an evaluation is 1 step at least, got {horizon}. Raise it.")
    errors = {m: [_errors(evaluation, r, m) for r in evaluation.simulations] for m in evaluation.models}
    errors["baseline"] = [_errors(evaluation, r, None) for r in evaluation.simulations]
    bands = [band_errors(evaluation, r) for r in evaluation.simulations]
    overall = {m: _overall(errors[m], errors["baseline"], [b[m] for b in bands], horizon) for m in errors}
    grid = evaluation.grid
    summary = {
        "experiment": evaluation.experiment,
        "equation": evaluation.equation,
        "components": list(evaluation.layout.dynamic),
        "grid": {"axes": grid.axes, "size": grid.size, "resolution": grid.resolution},
        "units": {"length": evaluation.length_unit, "time": evaluation.time_unit},
        "dt": evaluation.dt,
        "horizon": horizon,
        "bands": bands_of(evaluation),
        "baseline": overall.pop("baseline"),
        "models": overall,
        "simulations": [
            _simulation(evaluation, {m: e[i] for m, e in errors.items()}, bands[i], i, horizon)
            for i in range(len(evaluation.simulations))
        ],
        "spectrum": spectrum(evaluation).plain(),
        "parameters": {p.name: _parameter(p, evaluation.snapshots) for p in evaluation.parameters},
    }
    return cast(Summary, strict_json(summary))


def number(value: float | int | None) -> str:
    """Three digits of a score; a score that is infinite or undefined has none."""
    if value is None:
        return "not finite"
    return str(value) if isinstance(value, int) else f"{value:.3g}"


def strict_json(value: Any) -> Any:
    """The same with numpy values as Python's own, and None for every number that JSON cannot write."""
    if isinstance(value, Mapping):
        return {str(k): strict_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict_json(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return strict_json(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _errors(evaluation: Evaluation, result: SimulationResult, model: str | None) -> FrameErrors:
    """The frame errors of a model's dynamic components; of the baseline for None."""
    scored = [result.components.index(c) for c in evaluation.layout.dynamic]
    truth = result.truth[scored]
    return frame_errors(unchanged(truth) if model is None else result.predictions[model][scored], truth)


def _scores(errors: FrameErrors, baseline: FrameErrors, steps: int) -> Summary:
    """The scores of frames that may come from several simulations, of which the longest has `steps`."""
    relative, defined = errors.relative_l2, errors.correlation[~np.isnan(errors.correlation)]
    return {
        "steps": steps,
        "nrmse": errors.nrmse,
        "relative_l2": relative.mean(),
        "max_error": errors.max_error.max(),
        "correlation": defined.mean() if defined.size and errors.finite.all() else np.nan,
        "baseline_nrmse": baseline.nrmse,
        "ratio_to_baseline": ratio(errors.nrmse, baseline.nrmse),
        "finite": bool(np.isfinite(errors.nrmse) and np.isfinite(relative).all()),
    }


def _overall(
    errors: Sequence[FrameErrors],
    baseline: Sequence[FrameErrors],
    bands: Sequence[BandErrors],
    horizon: int,
) -> Summary:
    """Scores over all simulations; the correlation horizon is the earliest of any of them."""
    longest = max(len(e) for e in errors)
    lost = [e.correlation_horizon for e in errors if e.correlation_horizon is not None]
    pooled, reference = FrameErrors.pooled(errors), FrameErrors.pooled(baseline)
    near = FrameErrors.pooled([e.first(horizon) for e in errors])
    near_reference = FrameErrors.pooled([b.first(horizon) for b in baseline])
    shares = BandErrors.pooled(bands).shares()
    near_shares = BandErrors.pooled([b.first(horizon) for b in bands]).shares()
    return {
        "all_frames": {**_scores(pooled, reference, longest), "bands": shares},
        "horizon": {**_scores(near, near_reference, min(horizon, longest)), "bands": near_shares},
        "correlation_horizon": min(lost, default=None),
    }


def _simulation(
    evaluation: Evaluation,
    errors: Mapping[str, FrameErrors],
    bands: Mapping[str, BandErrors],
    number: int,
    horizon: int,
) -> Summary:
    """Scores of one simulation, of each model and of the baseline, and the truth in each band."""
    entries = {m: _single(errors[m], errors["baseline"], bands[m], horizon) for m in errors}
    return {
        "simulation": evaluation.simulations[number].simulation,
        "baseline": entries.pop("baseline"),
        "models": entries,
        "truth": {"per_frame": {"bands": bands["truth"].per_frame()}},
    }


def _single(errors: FrameErrors, baseline: FrameErrors, bands: BandErrors, horizon: int) -> Summary:
    """Scores of one simulation, and the values of every frame."""
    per_frame = {
        "frame": np.arange(1, len(errors) + 1),
        "nrmse": errors.relative_l2,
        "relative_l2": errors.relative_l2,
        "max_error": errors.max_error,
        "correlation": errors.correlation,
        "finite": errors.finite,
        "bands": bands.per_frame(),
    }
    return {**_overall([errors], [baseline], [bands], horizon), "per_frame": per_frame}


def _parameter(result: ParameterResult, snapshots: Snapshots) -> Summary:
    """The errors of the recovered value and of the initial guess, and the ratio of their relative L2.

    `after_solves`: the error after each solve of which a snapshot was kept.
    """
    recovered = parameter_error(result.recovered, result.truth)
    initial = parameter_error(result.initial, result.truth)
    return {
        "unit": result.unit,
        "up_to_constant": result.up_to_constant,
        "recovered": {**asdict(recovered), "finite": bool(np.isfinite(recovered.relative_l2))},
        "initial": {**asdict(initial), "finite": bool(np.isfinite(initial.relative_l2))},
        "ratio_to_initial": ratio(recovered.relative_l2, initial.relative_l2),
        "after_solves": _after_solves(result, snapshots),
    }


def _after_solves(result: ParameterResult, snapshots: Snapshots) -> Summary:
    values = [result.scored(v) for v in snapshots.values.get(result.name, ())]
    errors = [parameter_error(v, result.truth).relative_l2 for v in values]
    return {"solves": snapshots.solves if errors else (), "relative_l2": errors}
