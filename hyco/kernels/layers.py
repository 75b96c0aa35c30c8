"""Layers of networks that are faster than PyTorch's own, and keep less.

PyTorch (2.13) makes circular padding of several copies, differentiates each of them on its own and on the
whole padded array, and keeps the padded array until then: about a quarter of the time of training a small
U-Net, and of its memory.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

CONVOLUTION = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
LAYERS = torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d


def wrapping(network: torch.nn.Module) -> torch.nn.Module:
    """The network itself, whose circular convolutions are now those of this file; weights and names stay.

    Those that may compute something else, or name their padding (`same`), stay PyTorch's own.
    """
    for module in network.modules():
        if type(module) in LAYERS and _is_circular(cast(Any, module)):
            module.forward = partial(_convolved, module)
        elif type(module) is torch.nn.MaxPool2d and _halves(module):
            cast(Any, module).forward = partial(_pooled, module)
    return network


def doubled(coarse: Tensor, upsample: Callable[[Tensor], Tensor]) -> Tensor:
    """Values (batch, channels, *space) of a periodic box on cells of half the size, by linear interpolation.

    `upsample`: the same in a box that ends, which sees one coarse cell beyond each end here.
    """
    if _is_plain(coarse):
        return _Double.apply(coarse)
    rank = coarse.ndim - 2
    return upsample(wrap(coarse, (1,) * rank))[(slice(None), slice(None), *(slice(2, -2),) * rank)]


def wrap(values: Tensor, widths: tuple[int, ...]) -> Tensor:
    """Values (..., *space) of a periodic box, with `widths` more cells at both ends of each axis."""
    return _Wrap.apply(values, widths)


def again(function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """What a function gives, of which nothing is kept: gradients call it a second time."""
    return cast(Tensor, checkpoint(function, values, use_reentrant=False, preserve_rng_state=False))


def _is_circular(module: Any) -> bool:
    return module.padding_mode == "circular" and not isinstance(module.padding, str) and any(module.padding)


def _halves(module: torch.nn.MaxPool2d) -> bool:
    """Whether it takes the greatest of every 2x2 values, and nothing else."""
    plain = module.padding in (0, (0, 0)) and module.dilation in (1, (1, 1)) and not module.return_indices
    return plain and module.kernel_size in (2, (2, 2)) and module.stride in (2, (2, 2))


def _is_plain(values: Tensor) -> bool:
    """Whether the loops of `hyco.kernels.resampling` take these: planes on the CPU, of full precision."""
    known = values.ndim == 4 and values.device.type == "cpu"
    return known and values.dtype in (torch.float32, torch.float64)


def _pooled(module: torch.nn.MaxPool2d, values: Tensor) -> Tensor:
    even = values.shape[-1] % 2 == 0 and values.shape[-2] % 2 == 0
    if even and _is_plain(values):
        return _Maximum.apply(values)
    return functional.max_pool2d(values, 2)


def _planes(values: Tensor) -> Any:
    return values.detach().reshape(-1, *values.shape[-2:]).contiguous().numpy()


def _like(planes: Any, values: Tensor) -> Tensor:
    return torch.from_numpy(planes).reshape(*values.shape[:2], *planes.shape[1:])


class _Maximum(torch.autograd.Function):
    """The greatest of every 2x2 values; keeps a byte for each."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        from hyco.kernels.resampling import maxima

        found, places = maxima(_planes(values), threads=torch.get_num_threads())
        ctx.save_for_backward(torch.from_numpy(places))
        return _like(found, values)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> Tensor:
        from hyco.kernels.resampling import back_to_maxima

        (places,) = ctx.saved_tensors
        made = back_to_maxima(_planes(given), places.numpy(), threads=torch.get_num_threads())
        return _like(made, given)


class _Double(torch.autograd.Function):
    """Twice the resolution of a periodic plane; keeps nothing."""

    @staticmethod
    def forward(ctx: Any, coarse: Tensor) -> Tensor:
        from hyco.kernels.resampling import double

        return _like(double(_planes(coarse), threads=torch.get_num_threads()), coarse)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> Tensor:
        from hyco.kernels.resampling import undo_double

        return _like(undo_double(_planes(given), threads=torch.get_num_threads()), given)


def _convolved(module: Any, values: Tensor) -> Tensor:
    """The convolution of values (batch, channels, *space) in a periodic box."""
    rank = len(module.padding)
    if torch.is_autocast_enabled(values.device.type):  # which then knows how to differentiate what it lowered
        wide = wrap(values, module.padding)
        plain = module.stride, 0, module.dilation, module.groups
        return CONVOLUTION[rank](wide, module.weight, module.bias, *plain)
    options = module.stride, (0,) * rank, module.dilation, False, (0,) * rank, module.groups
    return _Convolution.apply(values, module.weight, module.bias, module.padding, options)


class _Wrap(torch.autograd.Function):
    """The borders of the gradient are added where their values came from, axis by axis."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, widths: tuple[int, ...]) -> Tensor:
        ctx.widths = widths
        return _padded(values, widths)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, None]:
        return _folded(given.clone(), ctx.widths), None


class _Convolution(torch.autograd.Function):
    """Pads once more for the gradients instead of keeping what was padded."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Any, widths: Any, options: Any) -> Tensor:
        ctx.save_for_backward(values, weight)
        ctx.widths, ctx.options, ctx.biases = widths, options, None if bias is None else list(bias.shape)
        return torch.convolution(_padded(values, widths), weight, bias, *options)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Any, ...]:
        values, weight = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad[:3])
        padded = _padded(values, ctx.widths)
        by_padded, by_weight, by_bias = torch.ops.aten.convolution_backward(
            given, padded, weight, ctx.biases, *ctx.options, wanted
        )
        by_values = _folded(by_padded, ctx.widths) if wanted[0] else None
        return by_values, by_weight, by_bias, None, None


def _padded(values: Tensor, widths: tuple[int, ...]) -> Tensor:
    both = [width for width in reversed(widths) for _ in range(2)]
    return functional.pad(values, both, mode="circular")


def _folded(rows: Tensor, widths: tuple[int, ...]) -> Tensor:
    """The adjoint of `_padded`; writes into `rows`."""
    for axis, width in enumerate(widths, -len(widths)):
        n = rows.shape[axis] - 2 * width
        inner = rows.narrow(axis, width, n)
        if width:
            inner.narrow(axis, n - width, width).add_(rows.narrow(axis, 0, width))
            inner.narrow(axis, 0, width).add_(rows.narrow(axis, width + n, width))
        rows = inner
    return rows
