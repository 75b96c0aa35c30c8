"""Optimisers of phiml mode, whose moments can be taken out and put back as numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from phiml import nn

BETAS = (0.9, 0.999)
EPSILON = 1e-8


def adam(network: Any, learning_rate: float, weight_decay: float = 0.0) -> Any:
    """Adam over all parameters of a network.  Source: Kingma and Ba (2015)."""
    optimiser = nn.adam(network, learning_rate, betas=BETAS, epsilon=EPSILON)
    for group in optimiser.param_groups:  # PhiML's Adam takes no decay, its native optimiser does
        group["weight_decay"] = weight_decay
    return optimiser


def set_learning_rate(optimiser: Any, learning_rate: float) -> None:
    """Change the step size; the moments stay."""
    nn.set_learning_rate(optimiser, learning_rate)


def moments(optimiser: Any) -> dict[str, NDArray[Any]]:
    """The optimiser's state per parameter, as `index.name`."""
    state = optimiser.state_dict()["state"]
    return {f"{i}.{name}": t.cpu().numpy().copy() for i, entry in state.items() for name, t in entry.items()}


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
