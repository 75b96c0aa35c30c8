"""The blocks about how a model is optimised: optimiser, schedules, loss weights, bases of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny
from pydantic_core import PydanticCustomError

from hyco.config.choice import chosen
from hyco.config.section import Count, NonNegative, Positive, Section

Fraction = Annotated[float, Field(gt=0, lt=1)]
Frames = Annotated[int, Field(ge=2)]
Strategy = Literal["linear", "power", "step"]


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
    """Up from `start` times the learning rate to it, in the first `peak` of the run; then down to `final` times it."""

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


class Curriculum(Section):
    """How many frames the surrogate's training windows have, from `start` to `end` over the epochs of the run.

    `end` null: `trainer.rollout_steps`.  linear: in equal parts; power: share ** exponent; step: by one frame
    after every `every` epochs.
    """

    start: Frames = 2
    end: Frames | None = None
    strategy: Strategy = "linear"
    exponent: Positive = 2.0
    every: Count = 1


class EarlyStopping(Section):
    """End a phase when its loss has not fallen by `min_delta`, relatively, for `patience` epochs."""

    patience: Count = 5
    min_delta: NonNegative = 0.0


class Ramp(Section):
    """A weight that goes from `start` to `end` over the cycles.

    linear: in equal parts; power: share ** exponent; step: `end` from the middle on.
    """

    start: NonNegative
    end: NonNegative
    strategy: Strategy = "linear"
    exponent: Positive = 2.0


def _number_or_ramp(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, Mapping, Ramp)):
        raise PydanticCustomError("weight", "expected a number, or a block of start, end and strategy")
    return value


Weight = Annotated[NonNegative | Ramp, BeforeValidator(_number_or_ramp)]


class ModelWeights(Section):
    """What a real and a generated window count in the loss of one model.

    `proportional`: the interaction term is scaled, at the start of each phase, to the magnitude of the real one.
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
