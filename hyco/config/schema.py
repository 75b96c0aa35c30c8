"""The whole configuration, and what follows from it: grid, equation, fields, parameters, folders."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from hyco.config.models import Model
from hyco.config.observations import Observations
from hyco.config.run import Cache, Data, General, Migration
from hyco.config.section import Section
from hyco.config.surviving import Checkpoint, Tracking
from hyco.config.training import Evaluation, LearnableParameter, Trainer
from hyco.config.yaml_text import ConfigDumper
from hyco.errors import ConfigError, ExpressionError
from hyco.problem.equation import Equation
from hyco.problem.equations import EQUATIONS
from hyco.problem.expressions import evaluate, evaluate_scalar
from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid
from hyco.problem.observations import Observations as Observed
from hyco.problem.observations import Sensors, space_mask, time_mask
from hyco.problem.sampling import stream
from hyco.problem.unknown_equation import NONE, unknown_equation

ParameterValue = float | NDArray[np.float64]


class Config(Section):
    """One experiment, complete.  Made by `load_config` or `parse_config`, which check it as a whole."""

    general: General
    migration: Migration = Migration()
    data: Data
    cache: Cache = Cache()
    model: Model
    observations: Observations = Observations()
    trainer: Trainer
    checkpoint: Checkpoint = Checkpoint()
    tracking: Tracking = Tracking()
    evaluation: Evaluation

    def to_yaml(self) -> str:
        """All settings, defaults included, as YAML text from which an equal configuration can be parsed."""
        settings = self.model_dump(mode="json")
        return yaml.dump(settings, Dumper=ConfigDumper, sort_keys=False, default_flow_style=None, width=100)

    @property
    def output_dir(self) -> Path:
        """Where the results of the run go."""
        return self.general.output_dir

    @property
    def checkpoint_dir(self) -> Path:
        """Where the checkpoints go: `general.checkpoint_dir`, or `checkpoints` in the output folder."""
        return self.general.checkpoint_dir or self.output_dir / "checkpoints"

    @property
    def grid(self) -> Grid:
        """The grid of the box."""
        domain = self.model.physical.domain
        return Grid.of(**{name: (axis.size, axis.resolution) for name, axis in domain.items()})

    @property
    def has_equation(self) -> bool:
        """Whether the data are of an equation that hyco has."""
        return self.model.physical.name != NONE

    @property
    def equation(self) -> Equation:
        """The facts of the equation; of an unknown one, its fields alone."""
        scheme = self.data.fields_scheme
        if not self.has_equation and scheme is not None:
            return unknown_equation(scheme.dynamic, scheme.static, scheme.vectors)
        return EQUATIONS[self.model.physical.name]

    @property
    def layout(self) -> FieldLayout:
        """The fields of a state, with the boundaries that the configuration chooses."""
        return self.equation.layout(self.grid, self.model.physical.boundaries)

    @property
    def learnable(self) -> tuple[str, ...]:
        """Names of the parameters to recover, in the order of the configuration."""
        return tuple(p.name for p in self.trainer.physical.learnable_parameters)

    @property
    def generated_length(self) -> int:
        """Frames of the trajectories that the models generate for each other."""
        return self.trainer.hybrid.augmentation.trajectory_length or self.data.trajectory_length

    def true_parameters(self) -> dict[str, ParameterValue]:
        """The parameters that make the data: name -> number, or array of shape `grid.resolution`."""
        given = self.model.physical.parameters
        return {name: self._value(name, p.value, _true_path(name)) for name, p in given.items()}

    def initial_parameters(self) -> dict[str, ParameterValue]:
        """The parameters before any learning: the true ones, with initial guesses for the learnable ones."""
        guesses = enumerate(self.trainer.physical.learnable_parameters)
        return self.true_parameters() | {
            p.name: self._value(p.name, p.initial_guess, guess_path(i)) for i, p in guesses
        }

    def observed(self) -> Observed | None:
        """What each model is shown of the simulations; None: everything, without noise."""
        made = Observed(
            self._sensors("physical"),
            self._sensors("synthetic"),
            first_only=self.observations.starts == "first",
            seed=self.general.seed,
        )
        return None if made.see_everything else made

    def parameter_bounds(self, name: str) -> tuple[float, float]:
        """Least and greatest admissible value of a parameter: explicit bounds, else those of the equation."""
        spec, physical = self.equation.parameter(name), self.model.physical
        lower, upper = spec.lower, spec.upper(self.grid, physical.dt, physical.substeps)
        chosen = self._learnable(name)
        if chosen is not None:
            lower = lower if chosen.lower is None else chosen.lower
            upper = upper if chosen.upper is None else chosen.upper
        return lower, upper

    def _sensors(self, model: Literal["physical", "synthetic"]) -> Sensors:
        """The sensors of one model; those of both draw the same random numbers, those of one its own."""
        settings, path = self.observations.of(model), sensors_path(self, model)
        draws = 0 if path == "observations" else ("physical", "synthetic").index(model) + 1
        rng = stream(self.general.seed, "observations", 0, draws)
        try:
            space = space_mask(grid=self.grid, rng=rng, **settings.space.model_dump())
        except ConfigError as error:
            raise ConfigError(f"{path}.space.{error}") from None
        times = time_mask(**settings.time.model_dump())
        return Sensors(space, times, settings.noise.share, draws)

    def _learnable(self, name: str) -> LearnableParameter | None:
        return next((p for p in self.trainer.physical.learnable_parameters if p.name == name), None)

    def _value(self, name: str, formula: float | str, path: str) -> ParameterValue:
        """A formula as the type of that parameter has it: one number, or one per cell."""
        scalar = self.model.physical.parameters[name].type == "scalar"
        try:
            return evaluate_scalar(formula, self.grid) if scalar else evaluate(formula, self.grid)
        except ExpressionError as error:
            raise ExpressionError(f"{path}: {error}") from None


def _true_path(name: str) -> str:
    return f"model.physical.parameters.{name}.value"


def sensors_path(config: Config, model: Literal["physical", "synthetic"]) -> str:
    """Where the configuration says what a model is shown of the simulations."""
    return f"observations.{model}" if getattr(config.observations, model) else "observations"


def guess_path(index: int) -> str:
    """Where the initial guess of a learnable parameter stands in the configuration."""
    return f"trainer.physical.learnable_parameters.{index}.initial_guess"
