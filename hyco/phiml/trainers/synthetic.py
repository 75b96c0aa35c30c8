"""The surrogate's trainer in phiml mode."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from numpy.typing import NDArray
from phiml import nn
from phiml.math import Tensor

from hyco import interfaces
from hyco.interfaces import Batch, Dataset, History, Observer, SyntheticModel, TrainingState
from hyco.learning.descriptions import check_surrogate
from hyco.learning.schedules import learning_rate_schedule
from hyco.learning.training import EpochLoop, ignore
from hyco.migration.registry import register
from hyco.phiml.checkpoints import SUFFIX, read_checkpoint, write_checkpoint
from hyco.phiml.device import Compiled, frozen
from hyco.phiml.losses import rollout_loss
from hyco.phiml.optimisers import adam, moments, put_moments, set_learning_rate
from hyco.phiml.tensors import NativeArrays

KIND = "synthetic training state"


@register("synthetic_trainer", "default", "phiml")
class SyntheticTrainer(interfaces.SyntheticTrainer):
    """Rolls the surrogate out over each window and descends the mean squared error with Adam.

    Args:
        model: a phiml surrogate.
        batch_size: windows per update.
        total_epochs: of the whole run, over which the schedule extends.
        learning_rate, scheduler, weight_decay: see `hyco.learning.schedules`; decay is L2, inside Adam.
        input_noise: on the initial states of updates, see `hyco.learning.training.EpochLoop`.
        seed: of the order of windows, and of the noise.
        observe: called with the record of every epoch.
    """

    mode = "phiml"
    suffix = SUFFIX

    def __init__(
        self,
        model: SyntheticModel,
        *,
        batch_size: int = 16,
        total_epochs: int = 1,
        learning_rate: float = 1e-3,
        scheduler: Literal["cosine", "constant"] = "cosine",
        weight_decay: float = 0.0,
        input_noise: float = 0.0,
        seed: int = 0,
        observe: Observer = ignore,
    ) -> None:
        self.model = model
        self._compute = cast(NativeArrays, model.arrays).compute
        with self._compute.scope():
            self._optimiser = adam(model.network, learning_rate, weight_decay)
        self.compiled_loss = {
            on: Compiled(self._loss, self._compute, network=model.network) for on in (False, True)
        }
        schedule = learning_rate_schedule(scheduler, learning_rate, total_epochs)
        self._loop = EpochLoop(self, schedule, batch_size, seed, observe, input_noise)

    def fit(self, train: Dataset, validation: Dataset | None = None, *, epochs: int) -> History:
        return self._loop.fit(train, validation, epochs)

    def evaluate(self, dataset: Dataset) -> float:
        return self._loop.evaluate(dataset)

    @property
    def epochs_done(self) -> int:
        return self._loop.epoch

    def use_best(self) -> None:
        self._loop.use_best()

    def state(self) -> TrainingState:
        return self._loop.state()

    def restore(self, state: TrainingState) -> None:
        self._loop.restore(state)

    def save(self, path: Path) -> None:
        state = self.state()
        write_checkpoint(path, KIND, state.arrays, {**state.facts, "model": self.model.description})

    def load(self, path: Path) -> None:
        arrays, facts = read_checkpoint(path, KIND)
        check_surrogate(path, self.model.description, facts)
        self.restore(TrainingState(arrays, facts))

    def update(self, batch: Batch) -> Any:
        """One Adam step; the loss before it, still on the device."""
        self.model.training(True)
        initial, targets = self._placed(batch)
        with self._compute.scope():
            loss = nn.update_weights(
                self.model.network, self._optimiser, self.compiled_loss[True], initial, targets
            )
        return self._compute.native(loss)

    def loss(self, batch: Batch) -> Any:
        """The loss of a batch in evaluation mode."""
        self.model.training(False)
        with frozen(self.model.network):
            return self._compute.native(self.compiled_loss[False](*self._placed(batch)))

    def set_learning_rate(self, learning_rate: float) -> None:
        """The step size of the next updates."""
        set_learning_rate(self._optimiser, learning_rate)

    def weights(self) -> dict[str, NDArray[Any]]:
        """The network's state by name."""
        return self.model.weights()

    def assign(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Put weights in force."""
        self.model.assign(weights)

    def gradients(self) -> dict[str, NDArray[Any]]:
        """The gradients of the last update's loss, by parameter."""
        named = self.model.network.named_parameters()
        return {name: p.grad.cpu().numpy().copy() for name, p in named if p.grad is not None}

    def moments(self) -> dict[str, NDArray[Any]]:
        """Adam's state by parameter."""
        return moments(self._optimiser)

    def put_moments(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Put Adam's state in force."""
        put_moments(self._optimiser, arrays)

    def _placed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        arrays = self.model.arrays
        return arrays.place(batch.initial), arrays.place(batch.targets)

    def _loss(self, initial: Tensor, targets: Tensor) -> Tensor:
        rollout = self.model.rollout(initial, targets.shape.get_size("time"))
        return rollout_loss(rollout, targets, self.model.layout)
