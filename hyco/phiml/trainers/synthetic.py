"""The surrogate's trainer in phiml mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

from numpy.typing import NDArray

from hyco import interfaces
from hyco.interfaces import (
    Batch,
    Dataset,
    EarlyStopping,
    History,
    LossWeights,
    Observer,
    Optimizer,
    SyntheticModel,
    TrainingState,
)
from hyco.learning.amp import check_amp
from hyco.learning.descriptions import check_surrogate
from hyco.learning.recomputation import check_recomputation
from hyco.learning.schedules import Schedule
from hyco.learning.training import EpochLoop, ignore
from hyco.learning.weighting import entry_weights
from hyco.migration.registry import register
from hyco.phiml.checkpoints import SUFFIX, read_checkpoint, write_checkpoint
from hyco.phiml.descent import Descent, TorchDescent
from hyco.phiml.device import frozen, tracing
from hyco.phiml.losses import rollout_loss
from hyco.phiml.tensors import NativeArrays

KIND = "synthetic training state"
ADAM = Optimizer()


@register("synthetic_trainer", "default", "phiml")
class SyntheticTrainer(interfaces.SyntheticTrainer):
    """Rolls the surrogate out over each window and descends the mean squared error.

    Args:
        model: a phiml surrogate.
        batch_size: windows per update.
        schedule: learning rate by epoch of the whole run (`hyco.learning.schedules`); None: always 1e-3.
        optimizer: adam, adamw or sgd, and their weight decay.
        gradient_clipping: the greatest norm of a gradient, of all weights together; None: any.
        early_stopping, curriculum, pulse: see `hyco.learning.training.EpochLoop`.
        amp: what the network computes in while it is trained, see `hyco.learning.amp`; None: as its weights.
        recompute: whether gradients cost a second rollout, see `hyco.learning.recomputation`.
        input_noise: on the initial states of updates, see `hyco.learning.training.EpochLoop`.
        seed: of the order of windows, and of the noise.
        observe: called with the record of every epoch.

    Raises ConfigError for fp16 on a CPU, for amp with weights in float64, and for recomputation of a network
    with batch normalisation.
    """

    mode = "phiml"
    suffix = SUFFIX

    def __init__(
        self,
        model: SyntheticModel,
        *,
        batch_size: int = 16,
        schedule: Schedule | None = None,
        optimizer: Optimizer = ADAM,
        gradient_clipping: float | None = None,
        early_stopping: EarlyStopping | None = None,
        curriculum: Callable[[int], int] | None = None,
        amp: Literal["bf16", "fp16"] | None = None,
        recompute: bool = False,
        input_noise: float = 0.0,
        seed: int = 0,
        observe: Observer = ignore,
        pulse: Callable[[], None] = ignore,
    ) -> None:
        schedule = schedule or (lambda epoch: 1e-3)
        self.model = model
        self.optimizer = optimizer
        self.gradient_clipping = gradient_clipping
        self.gradient_norm: Any = None
        self.amp = amp
        self.recompute = recompute
        self._compute = cast(NativeArrays, model.arrays).compute
        check_amp(amp, self._compute.device, self._compute.precision, self._compute.backend)
        check_recomputation(recompute, [name for name, _ in model.network.named_buffers()])
        self._descent = self._made_descent()
        self._descent.set_learning_rate(schedule(0))
        self._loop = EpochLoop(
            self,
            schedule,
            batch_size,
            seed,
            observe,
            input_noise,
            early_stopping=early_stopping,
            curriculum=curriculum,
            pulse=pulse,
        )

    def fit(
        self,
        train: Dataset,
        validation: Dataset | None = None,
        *,
        epochs: int,
        weights: LossWeights | None = None,
    ) -> History:
        return self._loop.fit(train, validation, epochs, weights)

    def evaluate(self, dataset: Dataset) -> float:
        return self._loop.evaluate(dataset)

    @property
    def epochs_done(self) -> int:
        return self._loop.epoch

    @property
    def generated_seen(self) -> int:
        return self._loop.generated_seen

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

    def update(self, batch: Batch, weights: LossWeights | None = None) -> Any:
        """One step of the optimiser; the loss before it, still on the device."""
        self.model.training(True)
        data = self._natives(batch, weights)
        with self._compute.scope():
            loss = self._descent.update(*data)
        self.gradient_norm = self._descent.gradient_norm
        return loss

    def loss(self, batch: Batch) -> Any:
        """The mean loss over what is observed of a batch, in evaluation mode."""
        self.model.training(False)
        data = self._natives(batch)
        with self._compute.scope(), frozen(self.model.network):
            return self._descent.value(*data)

    def set_learning_rate(self, learning_rate: float) -> None:
        """The step size of the next updates."""
        self._descent.set_learning_rate(learning_rate)

    def weights(self) -> dict[str, NDArray[Any]]:
        """The network's state by name."""
        return self.model.weights()

    def assign(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Put weights in force."""
        self.model.assign(weights)

    def gradients(self) -> dict[str, NDArray[Any]]:
        """The gradients of the last update's loss, by parameter."""
        return self._descent.gradients()

    def moments(self) -> dict[str, NDArray[Any]]:
        """The optimiser's state by parameter."""
        return self._descent.moments()

    def put_moments(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Put the optimiser's state in force."""
        self._descent.put_moments(arrays)

    def loss_scale(self) -> dict[str, Any]:
        """The state of the loss scaling of fp16; empty without it."""
        return self._descent.loss_scale()

    def put_loss_scale(self, state: Mapping[str, Any]) -> None:
        """Put the loss scaling in force; without any, or with none in `state`, nothing changes."""
        self._descent.put_loss_scale(state)

    def _made_descent(self) -> Descent:
        """What updates the weights, in the library that computes."""
        model, compute = self.model, self._compute
        how: dict[str, Any] = {
            "settings": self.optimizer,
            "clipping": self.gradient_clipping,
            "amp": self.amp,
            "recompute": self.recompute,
        }
        with compute.scope():
            if compute.backend == "torch":
                return TorchDescent(model.network, self._loss, model.grid, compute, **how)
            from hyco.jax.descent import JaxDescent

            return JaxDescent(model.network, tracing()(self._loss), **how)

    def _natives(self, batch: Batch, weights: LossWeights | None = None) -> list[Any]:
        """Initial states and targets; and weights of the entries, where the plain mean is something else."""
        arrays, entries = (
            cast(NativeArrays, self.model.arrays),
            entry_weights(batch, weights or LossWeights()),
        )
        placed = [arrays.place(batch.initial), arrays.place(batch.targets)]
        if entries is not None:
            placed.append(arrays.entries(entries))
        return [arrays.native(tensor, *dims) for tensor, dims in zip(placed, self._dims, strict=False)]

    def _loss(self, *natives: Any) -> Any:
        """The loss, native, of what `_natives` gave."""
        arrays = cast(NativeArrays, self.model.arrays)
        named = [arrays.wrap(native, *dims) for native, dims in zip(natives, self._dims, strict=False)]
        initial, targets, *weights = named
        rollout = self.model.rollout(initial, targets.shape.get_size("time"))
        return rollout_loss(rollout, targets, self.model.layout, *weights).native()

    @property
    def _dims(self) -> tuple[tuple[str, ...], ...]:
        """The dims of initial states, targets and weights of the entries."""
        axes = self.model.layout.axes
        return ("batch", "field", *axes), ("batch", "field", "time", *axes), ("batch", "time", *axes)
