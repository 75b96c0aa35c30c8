"""Gradient descent on the weights of a surrogate's network, in the library that PhiML computes with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import ceil
from typing import Any, Protocol

from numpy.typing import NDArray

from hyco.interfaces import Optimizer
from hyco.learning.amp import Amp, lowered
from hyco.learning.recomputation import normalises, recomputing
from hyco.phiml.device import Compute
from hyco.phiml.optimisers import clip_gradients, moments, optimiser, put_moments, set_learning_rate
from hyco.problem.grid import Grid

CELLS_AT_ONCE = (
    1 << 15
)  # of the windows that a CPU differentiates together: beyond, its caches do not hold them


class Descent(Protocol):
    """What both libraries offer.  Attributes: gradient_norm, native, of the last update before clipping."""

    gradient_norm: Any

    def update(self, *data: Any) -> Any:
        """One step on initial states, targets and, where the mean is something else, weights of the entries.

        All are native, with the batch first.  Returns the loss before the step, native.
        """

    def value(self, *data: Any) -> Any:
        """The loss, native."""

    def set_learning_rate(self, learning_rate: float) -> None:
        """The step size of the next updates."""

    def gradients(self) -> dict[str, NDArray[Any]]:
        """The gradients of the last update's loss, by weight."""

    def moments(self) -> dict[str, NDArray[Any]]:
        """The optimiser's state, as `index.name`."""

    def put_moments(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Put back what `moments` took out."""

    def loss_scale(self) -> dict[str, Any]:
        """The state of the loss scaling of fp16; empty without it."""

    def put_loss_scale(self, state: Mapping[str, Any]) -> None:
        """Put the loss scaling in force; without any, or with none in `state`, nothing changes."""


class TorchDescent(Descent):
    """Updates by an optimiser of PyTorch.

    Args:
        network: the module.
        loss: of native tensors, a scalar, which calls the network.
        grid, compute: of the states, and where they are.
        settings: the optimiser, and the decay of the weights.
        clipping: the greatest norm of a gradient; None: any.
        amp: what the network computes in.
        recompute: whether gradients compute the network a second time.
    """

    def __init__(
        self,
        network: Any,
        loss: Callable[..., Any],
        grid: Grid,
        compute: Compute,
        *,
        settings: Optimizer,
        clipping: float | None,
        amp: Amp | None,
        recompute: bool,
    ) -> None:
        self.network, self.loss = network, loss
        self.gradient_norm: Any = None
        self.clipping, self.amp, self.recompute = clipping, amp, recompute
        self._grid, self._on_cpu = grid, compute.device == "cpu"
        self._normalises = normalises(name for name, _ in network.named_buffers())
        self._optimiser = optimiser(network, 0.0, settings)
        self._token = object()  # which no other training ever has
        native = compute.library.nn_library().torch
        self._scaler = native.amp.GradScaler("cuda") if amp == "fp16" else None

    def update(self, *data: Any) -> Any:
        self._optimiser.zero_grad()
        losses = [self._differentiated(share, part) for share, part in self._parts(data)]
        self._descend()
        return sum(losses)

    def value(self, *data: Any) -> Any:
        with lowered(self.amp):
            return self.loss(*data).detach()

    def set_learning_rate(self, learning_rate: float) -> None:
        set_learning_rate(self._optimiser, learning_rate)

    def gradients(self) -> dict[str, NDArray[Any]]:
        named = self.network.named_parameters()
        return {name: p.grad.cpu().numpy().copy() for name, p in named if p.grad is not None}

    def moments(self) -> dict[str, NDArray[Any]]:
        return moments(self._optimiser)

    def put_moments(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        put_moments(self._optimiser, arrays)

    def loss_scale(self) -> dict[str, Any]:
        return {} if self._scaler is None else dict(self._scaler.state_dict())

    def put_loss_scale(self, state: Mapping[str, Any]) -> None:
        if self._scaler is not None and state:
            self._scaler.load_state_dict(dict(state))

    def _parts(self, data: tuple[Any, ...]) -> Iterator[tuple[float, tuple[Any, ...]]]:
        """Windows that are differentiated together, and their share in the loss: on the CPU a few at a time.

        Gradients add up to those of the whole batch, and what is kept for them stays near the processor.
        Normalisation by the statistics of a batch needs the whole batch.
        """
        size = windows = len(data[0])
        if self._on_cpu and not self._normalises:
            windows = ceil(windows / ceil(windows * self._grid.cells / CELLS_AT_ONCE))
        for first in range(0, size, windows):
            last = min(first + windows, size)
            part = data if windows == size else tuple(d[first:last] for d in data)
            # weights of entries sum up over the whole batch, a mean is over the windows of its part
            yield (1.0 if len(data) == 3 else (last - first) / size), part

    def _differentiated(self, share: float, part: tuple[Any, ...]) -> Any:
        """The loss of some windows, whose gradients are added to what is there."""
        if self._is_recorded(len(part[0]) * self._grid.cells):
            from hyco.kernels.cuda_updates import add_gradients

            weights = [p for p in self.network.parameters() if p.requires_grad]
            return add_gradients((share, self._token), lambda *d: share * self.loss(*d), weights, *part)
        with lowered(self.amp), recomputing(self.recompute):
            loss = share * self.loss(*part)
            (loss if self._scaler is None else self._scaler.scale(loss)).backward()
        return loss.detach()

    def _is_recorded(self, cells: int) -> bool:
        """Whether an update on windows of so many cells in all is replayed on CUDA (`hyco.kernels`)."""
        if self._on_cpu or self.amp or self.recompute or self._normalises:
            return False
        from hyco.kernels.cuda_updates import SMALL

        return cells <= SMALL

    def _descend(self) -> None:
        """Clip the gradients, and step."""
        if self._scaler is not None:
            self._scaler.unscale_(self._optimiser)
        if self.clipping is not None:
            self.gradient_norm = clip_gradients(self._optimiser, self.clipping)
        if self._scaler is None:
            self._optimiser.step()
        else:
            self._scaler.step(self._optimiser)
            self._scaler.update()
