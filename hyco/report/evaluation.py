"""What an evaluation found: rollouts, recovered parameters, and what the reader must know of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.errors import ConfigError, DataError
from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid
from hyco.report.observed import Observed
from hyco.storage.parameter_history import Snapshots

MODELS: Mapping[str, str] = {"synthetic": "Surrogate", "physical": "Physical model"}


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
                object.__setattr__(self, kind, self.scored(getattr(self, kind)))

    def scored(self, value: NDArray[np.floating] | float) -> NDArray[np.floating] | float:
        """What of a value of this parameter is compared."""
        if not self.up_to_constant:
            return value
        wide = np.asarray(value, np.float64)
        return wide - wide.mean()


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
        observed: by model, what it was shown of the training data; nothing where everything was.
        snapshots: the parameters after the solves of the training, where they were kept.
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
    observed: Mapping[str, Observed] = field(default_factory=dict)
    snapshots: Snapshots = field(default_factory=Snapshots)

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
