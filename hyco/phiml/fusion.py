"""Whether stages of a step are made by fused kernels, and what these take and give."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from phiml import math
from phiml.math import Tensor

from hyco.phiml.device import is_tracing

_kernels: ContextVar[bool] = ContextVar("hyco_phiml_kernels", default=False)


@contextmanager
def fused() -> Iterator[None]:
    """Inside, stencils and reactions are made by fused kernels; for tensors of PyTorch on the CPU."""
    token = _kernels.set(True)
    try:
        yield
    finally:
        _kernels.reset(token)


def is_fused(*tensors: Tensor, axes: tuple[str, ...]) -> bool:
    """Whether fused kernels make what becomes of these: values that are there, of no dims but the usual."""
    usual = {"batch", "field", *axes}
    return _kernels.get() and not is_tracing() and all(set(t.shape.names) <= usual for t in tensors)


def native(tensor: Tensor, axes: tuple[str, ...]) -> Any:
    """The library's own tensor (batch, field, *space), where a dim that is not there counts 1."""
    leading = [d for d in ("batch", "field") if d in tensor.shape.names]
    values = tensor.native([*leading, *axes])
    for place, d in enumerate(("batch", "field")):
        if d not in leading:
            values = values.unsqueeze(place)
    return values


def named(values: Any, like: Tensor, axes: tuple[str, ...]) -> Tensor:
    """The named tensor of what `native` may have given, with the dims of another one."""
    if "field" not in like.shape.names:
        values = values.squeeze(1)
    if "batch" not in like.shape.names:
        values = values.squeeze(0)
    leading = [d for d in ("batch", "field") if d in like.shape.names]
    return math.wrap(values, *(like.shape[d] for d in (*leading, *axes)))


def parameter(tensor: Tensor, axes: tuple[str, ...]) -> Any:
    """The library's own tensor of a number or of a field."""
    return tensor.native(list(axes) if tensor.rank else [])
