"""torch tensors <-> named PhiML tensors.  Dims are stated, never guessed; gradients flow both ways.

No copy is made where the memory allows: tensors of PhiML's torch backend share theirs, numpy-backed ones
are viewed.  Device and dtype are kept, integers, booleans, complex numbers and float64 too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from phiml import math
from phiml.math import Shape, Tensor, batch, channel, spatial

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
    return native if isinstance(native, torch.Tensor) else torch.as_tensor(native)


def to_phiml(
    tensor: torch.Tensor, dims: Sequence[str], *, names: Mapping[str, Sequence[str]] | None = None
) -> Tensor:
    """The named tensor of a torch tensor whose dims are stated in order.

    `batch` and `time` become batch dims, `x`, `y`, `z` spatial, all others channel dims; `names` gives the
    item names of channel dims.  Raises ValueError when the number of dims differs or one is named twice.
    """
    if len(dims) != tensor.ndim or len(set(dims)) != len(dims):
        raise ValueError(
            f"to_phiml was told the dims {tuple(dims)}, but the tensor has {tensor.ndim} dims of sizes "
            f"{tuple(tensor.shape)}. State each of its dims once, in order."
        )
    return math.wrap(tensor, *(_dim(d, (names or {}).get(d)) for d in dims))


def _dim(name: str, items: Sequence[str] | None) -> Shape:
    if name in BATCH:
        return batch(name)
    if name in SPATIAL:
        return spatial(name)
    return channel(**{name: ",".join(items)}) if items else channel(name)


def _differences(stated: Sequence[str], present: Sequence[str]) -> str:
    missing = [d for d in stated if d not in present]
    left_over = [d for d in present if d not in stated]
    parts = [f"missing {missing}"] * bool(missing) + [f"left over {left_over}"] * bool(left_over)
    return ", ".join(parts) or "one is named twice"
