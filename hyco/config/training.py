"""The blocks about learning and about judging what was learned: trainer, evaluation."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from hyco.config.optimisation import (
    Adam,
    Basis,
    Cells,
    Cosine,
    Curriculum,
    EarlyStopping,
    LossScaling,
    Optimizer,
    Scheduler,
)
from hyco.config.section import Count, Formula, Index, NonNegative, Positive, Section, Simulations


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise PydanticCustomError(
            "device", "unknown device {name}; expected auto, cpu, cuda or cuda:N", {"name": repr(name)}
        )
    return name


class InputNoise(Section):
    """Gaussian noise on what the surrogate starts from in training: `scale` root mean squares per component.

    A surrogate that has seen disturbed states puts up with its own errors over longer rollouts.
    """

    scale: NonNegative = 0.0


class SyntheticTraining(Section):
    """Gradient descent on the surrogate's rollout loss; in hybrid mode `epochs` is per round.

    Schedules count the epochs of the whole run.  `gradient_clipping`: the greatest norm of a gradient.
    `amp`: the network computes in bfloat16, or on CUDA in float16; weights and losses stay in
    `trainer.precision`.  `recompute`: keep only the states of a rollout, and compute the network
    a second time for the gradients, so that memory does not grow with all that it computed.
    """

    epochs: Count = 20
    learning_rate: Positive = 1e-3
    optimizer: Optimizer = Adam()
    scheduler: Scheduler = Cosine()
    weight_decay: NonNegative = 0.0
    gradient_clipping: Positive | None = None
    early_stopping: EarlyStopping | None = None
    curriculum: Curriculum = None
    amp: Literal["bf16", "fp16"] | None = None
    recompute: bool = False
    input_noise: InputNoise = InputNoise()


class LearnableParameter(Section):
    """A parameter to recover: where the search starts, and bounds (null: those of the equation).

    `basis`: what is unknown of a field: its `cells`, or the coefficients of a few functions, `fourier` or
    `gaussians`.
    """

    name: str
    initial_guess: Formula
    lower: float | None = None
    upper: float | None = None
    basis: Basis = Cells()


class Solve(Section):
    """The optimiser of the inverse problem, and when it stops.

    `learning_rate`: of adam, in units of the parameter.  A fit that diverges is tried again `retries` times,
    each time with a tenth of the step; after `max_failures` fits in a row that diverged all the same, the
    run stops.
    """

    method: Literal["L-BFGS-B", "adam"] = "L-BFGS-B"
    abs_tol: NonNegative = 1e-9
    rel_tol: NonNegative = 1e-6
    max_iterations: Count = 50
    learning_rate: Positive | None = None
    retries: Index = 2
    max_failures: Count = 3


class PhysicalTraining(Section):
    """The inverse problem; the fit uses every `window_stride`-th real window.

    `smoothness` weighs the mean squared gradient of field parameters beside the loss, `total_variation` their
    mean absolute gradient; 0 is off.
    """

    epochs: Count = 1
    window_stride: Count = 1
    smoothness: NonNegative = 0.0
    total_variation: NonNegative = 0.0
    learnable_parameters: Annotated[tuple[LearnableParameter, ...], Field(strict=False)] = ()
    solve: Solve = Solve()


class Augmentation(Section):
    """What the models generate for each other in a cycle, and the share `alpha` of real windows beside it.

    `trajectory_length` in frames; null: as many as the simulations have.  `points`: how many cells, drawn
    anew in every cycle, generated trajectories are compared in; null: whole frames.
    """

    alpha: Annotated[float, Field(gt=0, le=1)] = 1.0
    num_trajectories: Count = 4
    trajectory_length: Annotated[int, Field(ge=2)] | None = None
    initial_conditions: Literal["random", "data"] = "random"
    points: Count | None = None


class Reversion(Section):
    """A model whose loss a cycle made worse by more than this share goes back to the last accepted one."""

    tolerance: NonNegative = 0.1


class HybridTraining(Section):
    """The alternation: `warmup` rounds on data alone, then `cycles` in which the models teach each other.

    `updates`: alternating, the physical model learns from the surrogate as the same cycle left it; or
    simultaneous, both learn from the other one as the cycle found it.  `interaction` false: neither learns
    from the other, the ablation.
    """

    cycles: Count = 3
    warmup: Index = 1
    interaction: bool = True
    updates: Literal["alternating", "simultaneous"] = "alternating"
    reversion: Reversion | None = None
    loss_scaling: LossScaling = LossScaling()
    augmentation: Augmentation = Augmentation()


class Trainer(Section):
    """What all trainings share, and one block for each kind.

    `backend`: the library that phiml mode computes with, `torch` or `jax`.  `kernels`: how it makes the steps
    of the equation in PyTorch: by `fused` kernels, by operations of `phiflow`, or (auto) by fused ones where
    there are any, for whole steps or for stages of them.
    """

    device: Annotated[str, AfterValidator(_device)] = "auto"
    precision: Literal["float32", "float64"] = "float32"
    backend: Literal["torch", "jax"] = "torch"
    kernels: Literal["auto", "fused", "phiflow"] = "auto"
    batch_size: Count = 16
    rollout_steps: Annotated[int, Field(ge=2)]
    train_sim: Simulations
    val_sim: Simulations = ()
    synthetic: SyntheticTraining = SyntheticTraining()
    physical: PhysicalTraining = PhysicalTraining()
    hybrid: HybridTraining = HybridTraining()


class Visualization(Section):
    """The animations of the report, at `fps` frames per second, and its figures, in `dpi`."""

    format: Literal["gif"] = "gif"
    fps: Count = 10
    dpi: Annotated[int, Field(ge=20, le=600)] = 100


class Evaluation(Section):
    """Rollouts of `num_frames` frames on unseen simulations; headline figures are over `horizon` steps.

    `on_training_data` allows `test_sim` to name simulations of `train_sim`; the scores are then said to be of
    data that the models have learned from.
    """

    test_sim: Simulations = ()
    on_training_data: bool = False
    num_frames: Annotated[int, Field(ge=2)]
    horizon: Count
    visualization: Visualization = Visualization()
