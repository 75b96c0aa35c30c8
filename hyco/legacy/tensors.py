"""numpy <-> torch tensors, dims stated: (batch, field, *space), with `time` after `field` in trajectories."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hyco.interfaces import Arrays
from hyco.legacy.device import Compute, is_tracing
from hyco.problem.fields import FieldLayout


class NativeArrays(Arrays):
    """Legacy tensors of one layout on one device in one precision."""

    def __init__(self, layout: FieldLayout, compute: Compute) -> None:
        self.layout = layout
        self.compute = compute

    def state(self, array: NDArray[Any]) -> torch.Tensor:
        return self._native(array, len(self.layout.axes) + 2)

    def trajectory(self, array: NDArray[Any]) -> torch.Tensor:
        return self._native(array, len(self.layout.axes) + 3)

    def parameter(self, array: NDArray[Any] | float) -> torch.Tensor:
        return self.compute.place(torch.as_tensor(np.asarray(array)))

    def entries(self, array: NDArray[Any]) -> torch.Tensor:
        rank = len(self.layout.axes) + 2
        if array.ndim != rank:
            raise ValueError(f"expected {rank} dims, (batch, time, *space), got shape {array.shape}")
        return self.compute.place(torch.as_tensor(np.ascontiguousarray(array)))

    def place(self, tensor: torch.Tensor) -> torch.Tensor:
        return self.compute.place(tensor)

    def numpy(self, tensor: torch.Tensor) -> NDArray[Any]:
        return tensor.detach().cpu().numpy()

    @property
    def tracing(self) -> bool:
        return is_tracing()

    def _native(self, array: NDArray[Any], rank: int) -> torch.Tensor:
        if array.ndim != rank or array.shape[1] != len(self.layout.components):
            raise ValueError(
                f"expected {rank} dims with {len(self.layout.components)} components in the second, "
                f"got shape {array.shape}"
            )
        return self.compute.place(torch.as_tensor(np.ascontiguousarray(array)))
