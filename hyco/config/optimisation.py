"""The blocks about how a model is optimised: optimiser, schedules, loss weights, bases of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny
from pydantic_core import PydanticCustomError

from hyco.config.choice import chosen
from hyco.config.section import Count, NonNegative, Positive, Section

Fraction = Annotated[float, Field(gt=0, lt=1)]
Frames = Annotated[int, Field(ge=2)]


class Adam(Section):
    """Adam; `weight_decay` is L2, inside the gradient."""

    name: Literal["adam"] = "adam"


class AdamW(Section):
    """Adam with decoupled weight decay."""

    name: Literal["adamw"] = "adamw"


class SGD(Section):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"] = "sgd"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9


OPTIMIZERS: dict[str, type[Section]] = {"adam": Adam, "adamw": AdamW, "sgd": SGD}


class Cosine(Section):
    """Half a cosine from the learning rate down to `final` times it at the end of the run."""

    name: Literal["cosine"] = "cosine"
    final: Annotated[float, Field(ge=0, le=1)] = 0.0


class Constant(Section):
    """The learning rate throughout."""

    name: Literal["none"] = "none"


class Step(Section):
    """Times `factor` after every `every` epochs."""

    name: Literal["step"] = "step"
    every: Count = 10
    factor: Annotated[float, Field(gt=0, le=1)] = 0.5


class Exponential(Section):
    """Times `factor` after every epoch."""

    name: Literal["exponential"] = "exponential"
    factor: Annotated[float, Field(gt=0, le=1)] = 0.95


class OneCycle(Section):
    """Up from `start` times the learning rate to it in the first `peak` of the run, then down to `final`."""

    name: Literal["one-cycle"] = "one-cycle"
    peak: Fraction = 0.3
    start: Annotated[float, Field(gt=0, le=1)] = 0.04
    final: Annotated[float, Field(ge=0, le=1)] = 1e-4


SCHEDULES: dict[str, type[Section]] = {
    "cosine": Cosine,
    "none": Constant,
    "step": Step,
    "exponential": Exponential,
    "one-cycle": OneCycle,
}


def _constant_is_none(value: Any) -> Any:
    """`constant`, the earlier name of `none`."""
    if isinstance(value, Mapping) and value.get("name") == "constant":
        return {**value, "name": "none"}
    return "none" if value == "constant" else value


Optimizer = Annotated[SerializeAsAny[Any], BeforeValidator(chosen(OPTIMIZERS, "name"))]
Scheduler = Annotated[
    SerializeAsAny[Any], BeforeValidator(lambda v: chosen(SCHEDULES, "name")(_constant_is_none(v)))
]


class LinearCurriculum(Section):
    """How many frames the surrogate's windows have: from `start` to `end`, in equal parts over the run.

    `end` null: `trainer.rollout_steps`.
    """

    strategy: Literal["linear"] = "linear"
    start: Frames = 2
    end: Frames | None = None


class PowerCurriculum(Section):
    """The same by a power of the share of the run: share ** exponent."""

    strategy: Literal["power"] = "power"
    start: Frames = 2
    end: Frames | None = None
    exponent: Positive = 2.0


class StepCurriculum(Section):
    """One frame more after every `every` epochs, until there are `end`."""

    strategy: Literal["step"] = "step"
    start: Frames = 2
    end: Frames | None = None
    every: Count = 1


CURRICULA: dict[str, type[Section]] = {
    "linear": LinearCurriculum,
    "power": PowerCurriculum,
    "step": StepCurriculum,
}
Curriculum = Annotated[SerializeAsAny[Any], BeforeValidator(chosen(CURRICULA, "strategy", optional=True))]


class EarlyStopping(Section):
    """End a phase when its loss has not fallen by `min_delta`, relatively, for `patience` epochs."""

    patience: Count = 5
    min_delta: NonNegative = 0.0


class LinearRamp(Section):
    """A weight that goes from `start` to `end` over the cycles, in equal parts."""

    strategy: Literal["linear"] = "linear"
    start: NonNegative
    end: NonNegative


class PowerRamp(Section):
    """The same by a power of the share of the cycles: share ** exponent."""

    strategy: Literal["power"] = "power"
    start: NonNegative
    end: NonNegative
    exponent: Positive = 2.0


class StepRamp(Section):
    """A weight that is `start` in the first half of the cycles, and `end` from there on."""

    strategy: Literal["step"] = "step"
    start: NonNegative
    end: NonNegative


RAMPS: dict[str, type[Section]] = {"linear": LinearRamp, "power": PowerRamp, "step": StepRamp}


def _number_or_ramp(value: Any) -> Any:
    if isinstance(value, Mapping | Section):
        return chosen(RAMPS, "strategy")(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < inf:
        raise PydanticCustomError(
            "weight",
            "expected a number from 0, or a block of start, end and strategy; got {got}",
            {"got": repr(value)},
        )
    return float(value)


Weight = Annotated[SerializeAsAny[Any], BeforeValidator(_number_or_ramp)]


class ModelWeights(Section):
    """What a real and a generated window count in the loss of one model.

    `proportional`: at the start of each phase of the surrogate, and of each solve, the interaction term is
    scaled to the size of the real one.
    """

    real_weight: Weight = 1.0
    interaction_weight: Weight = 1.0
    proportional: bool = False


class LossScaling(Section):
    """The weights of real data and of interaction, per model."""

    synthetic: ModelWeights = ModelWeights()
    physical: ModelWeights = ModelWeights()


class Cells(Section):
    """One unknown per cell."""

    name: Literal["cells"] = "cells"


class Fourier(Section):
    """A mean and the cosines and sines of all waves with at most `modes` periods along each axis."""

    name: Literal["fourier"] = "fourier"
    modes: Count = 3


class Gaussians(Section):
    """A mean and bumps on a lattice of `count` per axis, each `width` lattice spacings wide."""

    name: Literal["gaussians"] = "gaussians"
    count: Count = 6
    width: Positive = 1.0


BASES: dict[str, type[Section]] = {"cells": Cells, "fourier": Fourier, "gaussians": Gaussians}
Basis = Annotated[SerializeAsAny[Any], BeforeValidator(chosen(BASES, "name"))]
