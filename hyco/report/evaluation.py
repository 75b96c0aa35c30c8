"""What an evaluation found, and the summary of it that `metrics.json` holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hyco.errors import ConfigError, DataError
from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid
from hyco.report.metrics import FrameErrors, frame_errors, parameter_error, ratio, unchanged

MODELS: Mapping[str, str] = {"synthetic": "Surrogate", "physical": "Physical model"}
Summary = dict[str, Any]


@dataclass(frozen=True)
class SimulationResult:
    """One test simulation: the truth and what each model made of its first frame.

    Args:
        simulation: its number.
        truth: dims (field, time, *space), two frames at least.
        predictions: by model, `synthetic` or `physical`; each of the truth's shape.
        components: names of the entries of `field`.
    """

    simulation: int
    truth: NDArray[np.floating]
    predictions: Mapping[str, NDArray[np.floating]]
    components: tuple[str, ...]

    def __post_init__(self) -> None:
        where = f"simulation {self.simulation}"
        if self.truth.shape[0] != len(self.components) or self.truth.shape[1] < 2:
            raise DataError(
                f"{where}: expected {len(self.components)} fields and at least 2 frames to score a rollout, "
                f"got an array (field, time, *space) of shape {self.truth.shape}. Check the test simulation."
            )
        for model, prediction in self.predictions.items():
            if model not in MODELS or prediction.shape != self.truth.shape:
                raise DataError(
                    f"{where}: expected predictions by {' or '.join(MODELS)} of shape {self.truth.shape}, "
                    f"got {model!r} of shape {prediction.shape}. Roll out as many steps as the truth has."
                )

    @property
    def frames(self) -> int:
        """Number of frames, the initial one included."""
        return int(self.truth.shape[1])


@dataclass(frozen=True)
class ParameterResult:
    """A parameter of the equation that was learned: scalars, or arrays of dims (*space).

    One that is known `up_to_constant` is held, scored and drawn without its mean.
    """

    name: str
    unit: str
    truth: NDArray[np.floating] | float
    initial: NDArray[np.floating] | float
    recovered: NDArray[np.floating] | float
    up_to_constant: bool = False

    def __post_init__(self) -> None:
        if self.up_to_constant:
            for kind in ("truth", "initial", "recovered"):
                value = np.asarray(getattr(self, kind), np.float64)
                object.__setattr__(self, kind, value - value.mean())


@dataclass(frozen=True)
class Evaluation:
    """Everything that a report is made from.

    Args:
        experiment: name of the experiment; equation: name of the equation; formula: the equation itself.
        grid, layout, dt: the problem; dt in time units.
        simulations: rollouts on test data, one at least, all by the same models.
        trained_on: those of them that the models have learned from; the report says so.
        parameters: the learned parameters.
        history: the records of the training, in order.
        facts: what else the reader should know of the run (mode, seed, times ...), shown as it is.
        length_unit, time_unit: what the axes are labelled with.
    """

    experiment: str
    equation: str
    formula: str
    grid: Grid
    layout: FieldLayout
    dt: float
    simulations: tuple[SimulationResult, ...]
    parameters: tuple[ParameterResult, ...] = ()
    history: Sequence[Mapping[str, Any]] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    length_unit: str = "length"
    time_unit: str = "time"
    trained_on: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.simulations:
            raise ConfigError("evaluation.test_sim: a report needs one test simulation at least, got none.")
        for result in self.simulations:
            if set(result.predictions) != set(self.simulations[0].predictions):
                raise DataError(
                    f"expected predictions by {', '.join(self.models)} for every simulation, got "
                    f"{', '.join(result.predictions)} for simulation {result.simulation}. "
                    "Roll every model out on all of them."
                )

    @cached_property
    def models(self) -> tuple[str, ...]:
        """The models that were evaluated, in the order of `MODELS`."""
        return tuple(m for m in MODELS if m in self.simulations[0].predictions)

    def unit(self, dimension: str) -> str:
        """`length^2/time` in the units of this evaluation."""
        return dimension.replace("length", self.length_unit).replace("time", self.time_unit)


def summarise(evaluation: Evaluation, horizon: int) -> Summary:
    """Scores per simulation, per model and per frame, over all frames and over the first `horizon` steps.

    Strictly JSON: what is infinite or undefined is None, and `finite` beside it is False.  The static
    components of the state are given, not predicted, and are not scored.
    """
    if horizon < 1:
        raise ConfigError(f"the horizon of an evaluation is 1 step at least, got {horizon}. Raise it.")
    errors = {m: [_errors(evaluation, r, m) for r in evaluation.simulations] for m in evaluation.models}
    baseline = [_errors(evaluation, r, None) for r in evaluation.simulations]
    summary = {
        "experiment": evaluation.experiment,
        "equation": evaluation.equation,
        "components": list(evaluation.layout.dynamic),
        "dt": evaluation.dt,
        "horizon": horizon,
        "baseline": _overall(baseline, baseline, horizon),
        "models": {m: _overall(errors[m], baseline, horizon) for m in errors},
        "simulations": [
            {
                "simulation": result.simulation,
                "baseline": _single(baseline[i], baseline[i], horizon),
                "models": {m: _single(errors[m][i], baseline[i], horizon) for m in errors},
            }
            for i, result in enumerate(evaluation.simulations)
        ],
        "parameters": {p.name: _parameter(p) for p in evaluation.parameters},
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


def _overall(errors: Sequence[FrameErrors], baseline: Sequence[FrameErrors], horizon: int) -> Summary:
    """Scores over all simulations; the correlation horizon is the earliest of any of them."""
    longest = max(len(e) for e in errors)
    lost = [e.correlation_horizon for e in errors if e.correlation_horizon is not None]
    pooled, reference = FrameErrors.pooled(errors), FrameErrors.pooled(baseline)
    near = FrameErrors.pooled([e.first(horizon) for e in errors])
    near_reference = FrameErrors.pooled([b.first(horizon) for b in baseline])
    return {
        "all_frames": _scores(pooled, reference, longest),
        "horizon": _scores(near, near_reference, min(horizon, longest)),
        "correlation_horizon": min(lost, default=None),
    }


def _single(errors: FrameErrors, baseline: FrameErrors, horizon: int) -> Summary:
    """Scores of one simulation, and the values of every frame."""
    per_frame = {
        "frame": np.arange(1, len(errors) + 1),
        "nrmse": errors.relative_l2,
        "relative_l2": errors.relative_l2,
        "max_error": errors.max_error,
        "correlation": errors.correlation,
        "finite": errors.finite,
    }
    return {**_overall([errors], [baseline], horizon), "per_frame": per_frame}


def _parameter(result: ParameterResult) -> Summary:
    """The errors of the recovered value and of the initial guess, and the ratio of their relative L2."""
    recovered = parameter_error(result.recovered, result.truth)
    initial = parameter_error(result.initial, result.truth)
    return {
        "unit": result.unit,
        "up_to_constant": result.up_to_constant,
        "recovered": {**asdict(recovered), "finite": bool(np.isfinite(recovered.relative_l2))},
        "initial": {**asdict(initial), "finite": bool(np.isfinite(initial.relative_l2))},
        "ratio_to_initial": ratio(recovered.relative_l2, initial.relative_l2),
    }
