"""Optimisers of legacy mode, whose moments can be taken out and put back as numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hyco.interfaces import Optimizer

BETAS = (0.9, 0.999)
EPSILON = 1e-8
SMALL = 1e-6


def optimiser(network: torch.nn.Module, learning_rate: float, settings: Optimizer) -> torch.optim.Optimizer:
    """The optimiser of all parameters of a network, PyTorch's own.

    adam:   Kingma and Ba (2015); weight decay as L2, inside the gradient.
    adamw:  the same with decoupled decay, Loshchilov and Hutter (2019).
    sgd:    v <- momentum v + g,  w <- w - learning_rate v;  decay as L2.
    """
    parameters, decay = network.parameters(), settings.weight_decay
    if settings.name == "sgd":
        return torch.optim.SGD(parameters, learning_rate, momentum=settings.momentum, weight_decay=decay)
    kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
    return kind(parameters, learning_rate, betas=BETAS, eps=EPSILON, weight_decay=decay)


def set_learning_rate(optimiser: torch.optim.Optimizer, learning_rate: float) -> None:
    """Change the step size; the moments stay."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate


def clip_gradients(optimiser: torch.optim.Optimizer, limit: float) -> torch.Tensor:
    """Scale all gradients so that their common norm is at most `limit`; the norm before, still native.

    |g| = sqrt(sum g^2),   g <- g min(1, limit / (|g| + 1e-6))
    """
    gradients = [p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
    norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
    share = (limit / (norm + SMALL)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(share)
    return norm


def moments(optimiser: torch.optim.Optimizer) -> dict[str, NDArray[Any]]:
    """The optimiser's state per parameter, as `index.name`; what it has not yet is left out."""
    state = optimiser.state_dict()["state"]
    return {
        f"{i}.{name}": t.cpu().numpy().copy()
        for i, entry in state.items()
        for name, t in entry.items()
        if t is not None
    }


def put_moments(optimiser: torch.optim.Optimizer, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Put back what `moments` took out."""
    content = optimiser.state_dict()
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, array in arrays.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = torch.as_tensor(np.array(array))
    optimiser.load_state_dict({**content, "state": state})
