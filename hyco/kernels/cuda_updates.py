"""Gradients of a loss by the weights of a network, recorded once on CUDA and replayed as a whole.

The many small kernels of a small network take less time to run than to ask for.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

from hyco.kernels import cuda_graph

SMALL = 1 << 17  # cells of all windows of an update, beyond which kernels have enough to do
AGREEMENT = 1e-3  # of the largest value; a replay that does not see new values differs by all of it

_trusted: dict[Hashable, bool] = {}


def add_gradients(
    key: Hashable, loss_of: Callable[..., Tensor], weights: Sequence[Tensor], *inputs: Tensor
) -> Tensor:
    """The loss, whose gradients are added to those that the weights have.

    The first replay for a key is held against the same without a recording; where they differ, or anything
    fails, a warning says so and nothing is recorded for that key any more.

    Args:
        key: tells apart whatever changes the launches but the shapes of the inputs.
        loss_of: the loss of the inputs; it must not wait for the device.
        weights: what to differentiate by; they stay where they are in memory.
    """

    def work(*given: Tensor | None) -> tuple[Tensor | None, ...]:
        with torch.enable_grad():
            loss = loss_of(*given)
            return loss.detach(), *torch.autograd.grad(loss, weights, allow_unused=True)

    shapes = tuple(t.shape for t in inputs)
    key = key, shapes, tuple(w.data_ptr() for w in weights)
    if key not in _trusted:
        _trusted[key] = _agrees(key, work, inputs)
    found = cuda_graph.replayed(key, work, *inputs) if _trusted[key] else work(*inputs)
    for weight, gradient in zip(weights, found[1:], strict=True):
        if gradient is not None:
            weight.grad = gradient if weight.grad is None else weight.grad + gradient
    loss = found[0]
    assert loss is not None
    return loss


def _agrees(
    key: Hashable, work: Callable[..., tuple[Tensor | None, ...]], inputs: tuple[Tensor, ...]
) -> bool:
    """Whether a recording gives what its work gives, with other inputs than it was recorded with."""
    try:
        cuda_graph.replayed(key, work, *(torch.zeros_like(t) for t in inputs))
        replayed, plain = cuda_graph.replayed(key, work, *inputs), work(*inputs)
        for found, expected in zip(replayed, plain, strict=True):
            if found is not None and expected is not None:
                error = float((found - expected).abs().max())
                if not error <= AGREEMENT * float(expected.abs().max()):
                    raise ArithmeticError(f"a replay differs by {error:.1e}")
    except Exception as error:  # whatever it is, there is a slower way that works
        reason = str(error).strip().partition("\n")[0] or "no reason given"
        warnings.warn(
            f"updates of the network are not recorded on CUDA: {type(error).__name__}: {reason}. They are "
            "launched kernel by kernel.",
            stacklevel=3,
        )
        return False
    return True
