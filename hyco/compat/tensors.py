"""torch tensors <-> named PhiML tensors.  Dims are stated, never guessed; gradients flow both ways.

No copy is made where the memory allows: tensors of PhiML's torch backend share theirs, numpy-backed ones
are viewed.  Device and dtype are kept, integers, booleans, complex numbers and float64 too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from phiml import math
from phiml.math import Shape, Tensor, batch, channel, spatial

from hyco.problem.fields import FieldLayout

BATCH = ("batch", "time")
SPATIAL = ("x", "y", "z")


def to_torch(tensor: Tensor, dims: Sequence[str]) -> torch.Tensor:
    """The torch tensor of a named tensor, its dims in the stated order.

    Raises ValueError with both lists when a dim is missing or left over, or named twice.
    """
    present = tensor.shape.names
    if sorted(dims) != sorted(present):
        raise ValueError(
            f"to_torch was told the dims {tuple(dims)}, but the tensor has {tuple(present)}: "
            f"{_differences(dims, present)}. State each of its dims once."
        )
    with math.precision(tensor.dtype.precision):  # otherwise PhiML would round to its own precision
        native = tensor.native(list(dims))
    return native if isinstance(native, torch.Tensor) else _of_numpy(np.asarray(native))


def to_phiml(
    tensor: torch.Tensor, dims: Sequence[str], *, names: Mapping[str, Sequence[str]] | None = None
) -> Tensor:
    """The named tensor of a torch tensor whose dims are stated in order.

    `batch` and `time` become batch dims, `x`, `y`, `z` spatial, all others channel dims; `names` gives the
    item names of channel dims.  Raises ValueError when the number of dims differs or one is named twice,
    and when `names` do not fit them.
    """
    if len(dims) != tensor.ndim or len(set(dims)) != len(dims):
        raise ValueError(
            f"to_phiml was told the dims {tuple(dims)}, but the tensor has {tensor.ndim} dims of sizes "
            f"{tuple(tensor.shape)}. State each of its dims once, in order."
        )
    for dim, items in (names or {}).items():
        _check_names(dim, items, dict(zip(dims, tensor.shape, strict=True)))
    return math.wrap(tensor, *(_dim(d, (names or {}).get(d)) for d in dims))


def from_bvts(tensor: torch.Tensor, layout: FieldLayout) -> Tensor:
    """The named tensor of a state (batch, field, *space) or a trajectory (batch, field, time, *space).

    BVTS: batch, vector, time, space, the order of legacy tensors.  `field` gets the components of the
    layout as item names.  Which of the two it is, the number of dims tells, since batch and field are
    always there.  Raises ValueError for another number of dims or components.
    """
    orders = bvts_dims(layout)
    if tensor.ndim not in orders or tensor.shape[1] != len(layout.components):
        raise ValueError(
            f"from_bvts expected the dims {' or '.join(map(str, orders.values()))} with the "
            f"{len(layout.components)} components {', '.join(layout.components)} along 'field', got "
            f"{tensor.ndim} dims of sizes {tuple(tensor.shape)}."
        )
    return to_phiml(tensor, orders[tensor.ndim], names={"field": layout.components})


def to_bvts(tensor: Tensor, layout: FieldLayout) -> torch.Tensor:
    """The torch tensor (batch, field, *space), or with a dim `time` (batch, field, time, *space).

    Raises ValueError unless the dims are those, and the item names of `field` the components of the
    layout, in its order.
    """
    orders = bvts_dims(layout)
    fitting = [dims for dims in orders.values() if sorted(dims) == sorted(tensor.shape.names)]
    items = tensor.shape.get_item_names("field") if "field" in tensor.shape else None
    if not fitting or items != layout.components:
        components = "no item names" if items is None else f"the components {', '.join(items)}"
        raise ValueError(
            f"to_bvts expected the dims {' or '.join(map(str, orders.values()))} with the components "
            f"{', '.join(layout.components)} along 'field', got {tensor.shape.names} with {components}."
        )
    return to_torch(tensor, fitting[0])


def bvts_dims(layout: FieldLayout) -> dict[int, tuple[str, ...]]:
    """Number of dims -> their order, of states and of trajectories of a layout."""
    orders = (("batch", "field", *layout.axes), ("batch", "field", "time", *layout.axes))
    return {len(dims): dims for dims in orders}


def _of_numpy(array: np.ndarray[Any, Any]) -> torch.Tensor:
    """A view of a numpy array; a copy where PyTorch has no such memory: read-only, or strided backwards."""
    viewable = array.flags.writeable and min(array.strides, default=0) >= 0
    return torch.from_numpy(array if viewable else array.copy())


def _dim(name: str, items: Sequence[str] | None) -> Shape:
    if name in BATCH:
        return batch(name)
    if name in SPATIAL:
        return spatial(name)
    return channel(**{name: ",".join(items)}) if items else channel(name)


def _check_names(dim: str, items: Sequence[str], sizes: Mapping[str, int]) -> None:
    if dim not in sizes or dim in BATCH + SPATIAL:
        raise ValueError(
            f"to_phiml was given item names of {dim!r}, which is no channel dim of {tuple(sizes)}"
        )
    if len(items) != sizes[dim]:
        raise ValueError(
            f"to_phiml was given {len(items)} item names of {dim!r}, which has {sizes[dim]} items"
        )


def _differences(stated: Sequence[str], present: Sequence[str]) -> str:
    missing = [d for d in stated if d not in present]
    left_over = [d for d in present if d not in stated]
    parts = [f"missing {missing}"] * bool(missing) + [f"left over {left_over}"] * bool(left_over)
    return ", ".join(parts) or "one is named twice"
