"""What the epoch loop asks of a mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from hyco.interfaces import Batch, LossWeights, Optimizer, SyntheticModel
from hyco.learning.amp import Amp


class Learner(Protocol):
    """What a mode's synthetic trainer can do; losses stay native until they are asked for.

    Attributes: model; optimizer, and `amp`, as configured; gradient_norm, native, of the last update before
    clipping, None where nothing is clipped.
    """

    model: SyntheticModel
    optimizer: Optimizer
    amp: Amp | None
    gradient_norm: Any

    def update(self, batch: Batch, weights: LossWeights | None = None) -> Any:
        """One optimiser step; the loss before it."""

    def loss(self, batch: Batch) -> Any:
        """The mean loss over what is observed of a batch, without gradients, in evaluation mode."""

    def set_learning_rate(self, learning_rate: float) -> None:
        """The step size of the next updates."""

    def weights(self) -> dict[str, NDArray[Any]]:
        """The network's state by name."""

    def assign(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Put weights in force."""

    def moments(self) -> dict[str, NDArray[Any]]:
        """The optimiser's state by name."""

    def put_moments(self, moments: Mapping[str, NDArray[Any]]) -> None:
        """Put the optimiser's state in force."""

    def loss_scale(self) -> dict[str, Any]:
        """The state of the loss scaling of fp16; empty without it."""

    def put_loss_scale(self, state: Mapping[str, Any]) -> None:
        """Put the loss scaling in force."""
