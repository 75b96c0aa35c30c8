"""Optimisers of phiml mode, whose moments can be taken out and put back as numpy."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from phiml import nn
from phiml.backend import choose_backend

from hyco.interfaces import Optimizer

BETAS = (0.9, 0.999)
EPSILON = 1e-8
SMALL = 1e-6


def optimiser(network: Any, learning_rate: float, settings: Optimizer) -> Any:
    """The optimiser of all parameters of a network, PyTorch's own, which PhiML makes.

    adam:   Kingma and Ba (2015); weight decay as L2, inside the gradient.
    adamw:  the same with decoupled decay, Loshchilov and Hutter (2019).
    sgd:    v <- momentum v + g,  w <- w - learning_rate v;  decay as L2.

    A step updates all weights by one loop (`fused`), not by several operations per weight.
    """
    decay = settings.weight_decay
    if settings.name == "sgd":
        made = nn.sgd(network, learning_rate, momentum=settings.momentum)
    else:
        made = nn.adam(network, learning_rate, betas=BETAS, epsilon=EPSILON)
    if settings.name == "adamw":  # PhiML has none (1.16.1); it stands beside the Adam that PhiML made
        family = sys.modules[type(made).__module__.rpartition(".")[0]]
        made = family.AdamW(network.parameters(), learning_rate, betas=BETAS, eps=EPSILON)
    for group in made.param_groups:  # what PhiML's optimisers do not take, and the native ones do
        group.update(weight_decay=decay, fused=True)
    return made


def set_learning_rate(optimiser: Any, learning_rate: float) -> None:
    """Change the step size; the moments stay."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate


def clip_gradients(optimiser: Any, limit: float) -> Any:
    """Scale all gradients so that their common norm is at most `limit`; the norm before, still native.

    |g| = sqrt(sum g^2),   g <- g min(1, limit / (|g| + 1e-6))
    """
    gradients = [p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
    library = choose_backend(*gradients)
    norm = library.stack([g.square().sum() for g in gradients], 0).sum().sqrt()
    share = (limit / (norm + SMALL)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(share)
    return norm


def moments(optimiser: Any) -> dict[str, NDArray[Any]]:
    """The optimiser's state per parameter, as `index.name`; what it has not yet is left out."""
    state = optimiser.state_dict()["state"]
    return {
        f"{i}.{name}": t.cpu().numpy().copy()
        for i, entry in state.items()
        for name, t in entry.items()
        if t is not None
    }


def put_moments(optimiser: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Put back what `moments` took out."""
    content = optimiser.state_dict()
    example = optimiser.param_groups[0]["params"][0]
    state: dict[int, dict[str, Any]] = {}
    for key, array in arrays.items():
        index, _, name = key.partition(".")
        tensor = example.new_tensor(np.array(array), device="cpu")
        # PyTorch counts Adam's steps in float32, whatever the type of the weights
        state.setdefault(int(index), {})[name] = tensor.float() if array.dtype == np.float32 else tensor
    optimiser.load_state_dict({**content, "state": state})
