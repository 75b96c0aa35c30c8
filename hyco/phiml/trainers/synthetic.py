"""The surrogate's trainer in phiml mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import ceil
from pathlib import Path
from typing import Any, Literal, cast

from numpy.typing import NDArray
from phiml.math import Tensor

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
from hyco.learning.amp import check_amp, lowered
from hyco.learning.descriptions import check_surrogate
from hyco.learning.recomputation import check_recomputation, normalises, recomputing
from hyco.learning.schedules import Schedule
from hyco.learning.training import EpochLoop, ignore
from hyco.learning.weighting import entry_weights
from hyco.migration.registry import register
from hyco.phiml.checkpoints import SUFFIX, read_checkpoint, write_checkpoint
from hyco.phiml.device import frozen
from hyco.phiml.losses import rollout_loss
from hyco.phiml.optimisers import clip_gradients, moments, optimiser, put_moments, set_learning_rate
from hyco.phiml.tensors import NativeArrays

KIND = "synthetic training state"
CELLS_AT_ONCE = (
    1 << 15
)  # of the windows that a CPU differentiates together: beyond, its caches do not hold them
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
        check_amp(amp, self._compute.device, self._compute.precision)
        buffers = [name for name, _ in model.network.named_buffers()]
        check_recomputation(recompute, buffers)
        self._normalises = normalises(buffers)
        with self._compute.scope():
            self._optimiser = optimiser(model.network, schedule(0), optimizer)
        self._token = object()  # which no other trainer ever has
        self._scaler = self._made_scaler() if amp == "fp16" else None
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
        placed = self._placed(batch, weights)
        with self._compute.scope():
            self._optimiser.zero_grad()
            losses = [self._differentiated(share, part) for share, part in self._parts(batch, placed)]
            self._descend()
        return sum(losses)

    def loss(self, batch: Batch) -> Any:
        """The mean loss over what is observed of a batch, in evaluation mode."""
        self.model.training(False)
        with self._compute.scope(), frozen(self.model.network), lowered(self.amp):
            return self._compute.native(self._loss(*self._placed(batch)))

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
        """The optimiser's state by parameter."""
        return moments(self._optimiser)

    def put_moments(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Put the optimiser's state in force."""
        put_moments(self._optimiser, arrays)

    def loss_scale(self) -> dict[str, Any]:
        """The state of the loss scaling of fp16; empty without it."""
        return {} if self._scaler is None else dict(self._scaler.state_dict())

    def put_loss_scale(self, state: Mapping[str, Any]) -> None:
        """Put the loss scaling in force; without any, or with none in `state`, nothing changes."""
        if self._scaler is not None and state:
            self._scaler.load_state_dict(dict(state))

    def _parts(self, batch: Batch, placed: tuple[Tensor, ...]) -> Iterator[tuple[float, tuple[Tensor, ...]]]:
        """Windows that are differentiated together, and their share in the loss: on the CPU a few at a time.

        Gradients add up to those of the whole batch, and what is kept for them stays near the processor.
        Normalisation by the statistics of a batch needs the whole batch.
        """
        windows = batch.size
        if self._compute.device == "cpu" and not self._normalises:
            windows = ceil(windows / ceil(windows * self.model.grid.cells / CELLS_AT_ONCE))
        for first in range(0, batch.size, windows):
            last = min(first + windows, batch.size)
            part = placed if windows == batch.size else tuple(t.batch[first:last] for t in placed)
            # weights of entries sum up over the whole batch, a mean is over the windows of its part
            yield (1.0 if len(placed) == 3 else (last - first) / batch.size), part

    def _differentiated(self, share: float, part: tuple[Tensor, ...]) -> Any:
        """The loss of some windows, whose gradients are added to what is there."""
        if self._is_recorded(part[0].shape.volume // len(self.model.layout.components)):
            return self._recorded(share, part)
        with lowered(self.amp), recomputing(self.recompute):
            loss = share * self._loss(*part).native()
            (loss if self._scaler is None else self._scaler.scale(loss)).backward()
        return loss.detach()

    def _is_recorded(self, cells: int) -> bool:
        """Whether an update on windows of so many cells in all is replayed on CUDA (`hyco.kernels`)."""
        if self._compute.device == "cpu" or self.amp or self.recompute or self._normalises:
            return False
        from hyco.kernels.cuda_updates import SMALL

        return cells <= SMALL

    def _recorded(self, share: float, part: tuple[Tensor, ...]) -> Any:
        from hyco.kernels.cuda_updates import add_gradients

        arrays, axes = cast(NativeArrays, self.model.arrays), self.model.layout.axes
        every = ("batch", "field", *axes), ("batch", "field", "time", *axes), ("batch", "time", *axes)
        dims = every[: len(part)]

        def loss_of(*natives: Any) -> Any:
            named = (arrays.wrap(native, *d) for native, d in zip(natives, dims, strict=True))
            return share * self._loss(*named).native()

        natives = [arrays.native(tensor, *d) for tensor, d in zip(part, dims, strict=True)]
        weights = [p for p in self.model.network.parameters() if p.requires_grad]
        return add_gradients((share, self._token), loss_of, weights, *natives)

    def _descend(self) -> None:
        """Clip the gradients, and step."""
        if self._scaler is not None:
            self._scaler.unscale_(self._optimiser)
        if self.gradient_clipping is not None:
            self.gradient_norm = clip_gradients(self._optimiser, self.gradient_clipping)
        if self._scaler is None:
            self._optimiser.step()
        else:
            self._scaler.step(self._optimiser)
            self._scaler.update()

    def _made_scaler(self) -> Any:
        """PyTorch's own, from the library that PhiML brought along."""
        return self._compute.library.nn_library().torch.amp.GradScaler("cuda")

    def _placed(self, batch: Batch, weights: LossWeights | None = None) -> tuple[Tensor, ...]:
        """Initial states and targets; and weights of the entries, where the plain mean is something else."""
        arrays, entries = self.model.arrays, entry_weights(batch, weights or LossWeights())
        placed = arrays.place(batch.initial), arrays.place(batch.targets)
        return placed if entries is None else (*placed, arrays.entries(entries))

    def _loss(self, initial: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        rollout = self.model.rollout(initial, targets.shape.get_size("time"))
        return rollout_loss(rollout, targets, self.model.layout, weights)
