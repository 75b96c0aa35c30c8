"""Why a loss is not finite, as far as that can be told, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.errors import RunError
from hyco.interfaces import Arrays, Batch
from hyco.learning.amp import Amp
from hyco.learning.learner import Learner
from hyco.learning.phases import Progress

LOOK_BACK = 5
GROWTH = 2.0


def check_losses(
    learner: Learner,
    losses: Sequence[float],
    epoch: int,
    learning_rate: float,
    batch: Callable[[int], Batch | None],
) -> None:
    """Raise RunError for the first loss of an epoch, counted from 0, that is not finite.

    `batch(number)` gives the batch that a loss is of, or None where it is not known any more.
    """
    number = next((i for i, loss in enumerate(losses) if not isfinite(loss)), None)
    if number is None:
        return
    given = batch(number)
    data = given is not None and broken(learner.model.arrays, given)
    what = f"the loss of batch {number} in epoch {epoch + 1} is {losses[number]}"
    raise _failure(what, explained(losses[:number], data, learner.amp, learning_rate))


def check_weights(
    learner: Learner,
    weights: Mapping[str, NDArray[Any]],
    progress: Progress,
    epoch: int,
    learning_rate: float,
) -> None:
    """Raise RunError when the last update of an epoch, counted from 0, broke the weights."""
    name = next((name for name, w in weights.items() if not np.all(np.isfinite(w))), None)
    if name is None:
        return
    what = f"after batch {progress.batch - 1} in epoch {epoch + 1} the weights {name} are not finite"
    raise _failure(what, explained(progress.losses(), False, learner.amp, learning_rate))


def _failure(what: str, why: str) -> RunError:
    return RunError(
        f"synthetic training: {what}. {why} The checkpoints of the last complete epoch are untouched."
    )


def broken(arrays: Arrays, batch: Batch) -> bool:
    """Whether there are values in a batch that are not finite."""
    return not all(np.all(np.isfinite(arrays.numpy(t))) for t in (batch.initial, batch.targets))


def explained(losses: Sequence[float], data: bool, amp: Amp | None, learning_rate: float) -> str:
    """The likely cause and its remedy, in one or two sentences.

    Args:
        losses: of the batches before the one whose loss is not finite.
        data: whether the values of the batch itself are not finite.
        amp: precision of the network.
        learning_rate: of the epoch.
    """
    lower = f"Lower trainer.synthetic.learning_rate (now {learning_rate:g})"
    if data:
        return (
            "The data of this batch are not finite themselves: generate or convert the trajectories again; "
            "generated ones come from a model that has diverged."
        )
    if amp == "fp16":
        return (
            f"Numbers above 65504 overflow in fp16: set trainer.synthetic.amp to bf16 or null. Else: {lower}."
        )
    recent = losses[-LOOK_BACK:]
    if len(recent) > 1 and recent[-1] > GROWTH * min(recent):
        return (
            f"The losses before it grew from {min(recent):.3g} to {recent[-1]:.3g}, as they do when steps "
            f"are too large. {lower}, or set trainer.synthetic.gradient_clipping."
        )
    return (
        f"The losses before it did not grow: a rollout may have left the range of numbers at once. {lower} "
        "or trainer.rollout_steps, or set trainer.synthetic.gradient_clipping."
    )
