"""numpy <-> named tensors: `batch`, `time`, the axes, and `field` with the components as item names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from phiml import math
from phiml.math import Tensor, batch, channel, spatial

from hyco.interfaces import Arrays
from hyco.phiml.device import Compute, is_tracing
from hyco.problem.fields import FieldLayout


class NativeArrays(Arrays):
    """Named tensors of one layout on one device in one precision."""

    def __init__(self, layout: FieldLayout, compute: Compute) -> None:
        self.layout = layout
        self.compute = compute
        dims = [batch("batch"), channel(field=",".join(layout.components)), batch("time")]
        self._dims = {d.name: d for d in [*dims, *(spatial(a) for a in layout.axes)]}

    @property
    def held(self) -> NativeArrays:
        """The border of data that are held: JAX's arrays cannot be written into, so that numpy holds them."""
        if self.compute.backend != "jax":
            return self
        return NativeArrays(self.layout, replace(self.compute, backend="numpy"))

    def state(self, array: NDArray[Any]) -> Tensor:
        return self.wrap(array, "batch", "field", *self.layout.axes)

    def trajectory(self, array: NDArray[Any]) -> Tensor:
        return self.wrap(array, "batch", "field", "time", *self.layout.axes)

    def parameter(self, array: NDArray[Any] | float) -> Tensor:
        array = np.asarray(array)
        return self.wrap(array, *(self.layout.axes if array.ndim else ()))

    def entries(self, array: NDArray[Any]) -> Tensor:
        return self.wrap(np.asarray(array), "batch", "time", *self.layout.axes)

    def place(self, tensor: Tensor) -> Tensor:
        """Also brings the dims into one order, so that a compiled function sees one shape, not several."""
        tensor = self.compute.place(tensor)
        order = self._order(tensor)
        if tensor.shape.names == order:
            return tensor
        with self.compute.scope():
            return math.wrap(tensor.native(order), *(tensor.shape[d] for d in order))

    def numpy(self, tensor: Tensor) -> NDArray[Any]:
        with self.compute.scope():
            return np.asarray(math.stop_gradient(tensor).numpy(self._order(tensor)))

    @property
    def tracing(self) -> bool:
        return is_tracing()

    def wrap(self, native: Any, *dims: str) -> Tensor:
        """The named tensor of an array, numpy or native, whose dims are stated in order."""
        if len(native.shape) != len(dims):
            raise ValueError(f"expected the dims {dims}, got an array of shape {tuple(native.shape)}")
        return self.place(math.wrap(native, *(self._dims[d] for d in dims)))

    def native(self, tensor: Tensor, *dims: str) -> Any:
        """The library's own tensor, dims in the stated order, in full precision."""
        with self.compute.scope():
            return tensor.native(list(dims))

    def stack(self, frames: Sequence[Tensor]) -> Tensor:
        """States one after the other in time."""
        with self.compute.scope():
            return self.place(math.stack(list(frames), batch("time")))

    def _order(self, tensor: Tensor) -> tuple[str, ...]:
        names = tensor.shape.names
        order = tuple(d for d in self._dims if d in names)
        if len(order) < len(names):
            raise ValueError(f"expected dims among {', '.join(self._dims)}; got {tensor.shape}")
        return order
