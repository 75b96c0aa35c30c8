"""Why a loss is not finite, as far as that can be told, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hyco.interfaces import Arrays, Batch
from hyco.learning.amp import Amp

LOOK_BACK = 5
GROWTH = 2.0


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
