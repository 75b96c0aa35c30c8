"""Optimisers of legacy mode, whose moments can be taken out and put back as numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

BETAS = (0.9, 0.999)
EPSILON = 1e-8


def adam(network: torch.nn.Module, learning_rate: float, weight_decay: float = 0.0) -> torch.optim.Adam:
    """Adam over all parameters of a network.  Source: Kingma and Ba (2015)."""
    return torch.optim.Adam(
        network.parameters(), learning_rate, betas=BETAS, eps=EPSILON, weight_decay=weight_decay
    )


def set_learning_rate(optimiser: torch.optim.Optimizer, learning_rate: float) -> None:
    """Change the step size; the moments stay."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate


def moments(optimiser: torch.optim.Optimizer) -> dict[str, NDArray[Any]]:
    """The optimiser's state per parameter, as `index.name`."""
    state = optimiser.state_dict()["state"]
    return {f"{i}.{name}": t.cpu().numpy().copy() for i, entry in state.items() for name, t in entry.items()}


def put_moments(optimiser: torch.optim.Optimizer, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Put back what `moments` took out."""
    content = optimiser.state_dict()
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, array in arrays.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = torch.as_tensor(np.array(array))
    optimiser.load_state_dict({**content, "state": state})
