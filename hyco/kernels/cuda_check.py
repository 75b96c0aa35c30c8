"""Whether the kernels for CUDA do here what they should, found out before they are used.

Devices, drivers and releases of Triton are more than tests can cover; so a tiny rollout and its gradients are
made by the kernels and by the same formulas in plain PyTorch, and compared.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from hyco.kernels.cuda import rollout

if TYPE_CHECKING:
    from hyco.kernels.rollout import Rollout

CELLS, SPACING, DT = (7, 6, 5), (0.5, 0.8, 1.0), 0.7
BATCH, STEPS = 3, 2
ROUNDINGS = 1e4  # of the largest value; a wrong cell or weight differs by a million of them, in float32 too


def verified(kernel: Rollout, device: str | torch.device, dtype: torch.dtype) -> bool:
    """Whether rollouts of this kind, on a small grid, and their gradients are right on a device.

    Found out once for each kind (rank, boundary, what moves, carries and diffuses), device and dtype.  Warns
    and returns False where results differ, or where anything fails: Triton missing, a compiler, a driver.
    """
    rank = len(kernel.resolution)
    small = replace(kernel, resolution=CELLS[:rank], spacing=SPACING[:rank], dt=DT)
    return _agrees(small, str(device), dtype)


@cache
def _agrees(kernel: Rollout, device: str, dtype: torch.dtype) -> bool:
    try:
        import_module("triton")
        # the second round replays what the first one recorded, with other values
        for seed, field in ((0, True), (1, True), (2, False)):
            state, factor, coefficient = inputs = _inputs(kernel, device, dtype, seed, field)
            with torch.enable_grad():
                fused = rollout(kernel, state, STEPS, factor=factor, coefficient=coefficient)
                plain = _plain_rollout(kernel, *inputs)
                found, expected = _with_gradients(fused, inputs), _with_gradients(plain, inputs)
            worst = max(_difference(a, b) for a, b in zip(expected, found, strict=True))
            if not worst <= ROUNDINGS * torch.finfo(dtype).eps:
                raise ArithmeticError(f"they differ from plain PyTorch by {worst:.1e} of the largest value")
    except Exception as error:  # whatever it is, there is a slower way that works
        reason = str(error).strip().partition("\n")[0] or "no reason given"
        warnings.warn(
            f"the fused kernels are not used on {device} in {dtype}: {type(error).__name__}: {reason}. "
            f"PhiFlow's operations are used instead; trainer.kernels=phiflow leaves out this check.",
            stacklevel=3,
        )
        return False
    return True


def _inputs(
    kernel: Rollout, device: str, dtype: torch.dtype, seed: int, field: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """A state, whose departure points are a few cells away; a factor and a coefficient, if there are any."""
    rng = torch.Generator().manual_seed(seed)
    rank = len(kernel.resolution)
    components = max(kernel.moved, 0 if kernel.wind is None else kernel.wind + rank)

    def of(values: Tensor) -> Tensor:
        return values.to(device, dtype, copy=True).requires_grad_()

    initial = of(torch.randn((BATCH, components, *kernel.resolution), generator=rng, device="cpu"))
    parameter = torch.rand(kernel.resolution if field else (), generator=rng, device="cpu")
    if field:
        parameter.view(-1)[::2] = 0.5  # ties among neighbours, and none
    stable = min(kernel.spacing) ** 2 * max(kernel.substeps, 1) / kernel.dt / (2 * rank)
    factor = of(parameter) if kernel.scaled else None
    return initial, factor, of(parameter * stable) if kernel.substeps else None


def _with_gradients(trajectory: Tensor, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    weights = torch.linspace(-1.0, 1.0, trajectory.numel()).to(trajectory).reshape(trajectory.shape)
    by = [t for t in inputs if t is not None]
    return [trajectory.detach(), *torch.autograd.grad((trajectory * weights).sum(), by)]


def _difference(expected: Tensor, found: Tensor) -> float:
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return float("inf")
    return float((expected - found).abs().max() / expected.abs().max())


# -------------------------------------------------------------------------------------------- plain PyTorch


def _plain_rollout(
    kernel: Rollout, initial: Tensor, factor: Tensor | None, coefficient: Tensor | None
) -> Tensor:
    frames = [initial]
    for _ in range(STEPS):
        moved = frames[-1][:, : kernel.moved]
        if kernel.wind is not None:
            wind = frames[-1][:, kernel.wind :]
            moved = _advected(kernel, moved, wind if factor is None else factor * wind)
        if coefficient is not None:
            for _ in range(kernel.substeps):
                moved = _diffused(kernel, moved, coefficient)
        frames.append(torch.cat([moved, frames[-1][:, kernel.moved :]], dim=1))
    return torch.stack(frames, dim=2)


def _advected(kernel: Rollout, moved: Tensor, wind: Tensor) -> Tensor:
    """Sums over all cells with the weight that each of them has at each departure point."""
    weights = torch.ones_like(moved[:, 0]).flatten(1).unsqueeze(-1)
    for axis, (cells, width) in enumerate(zip(kernel.resolution, kernel.spacing, strict=True)):
        shape = [-1 if a == axis else 1 for a in range(len(kernel.resolution))]
        own = torch.arange(cells).to(wind).reshape(shape)
        point = (own - wind[:, axis] * (kernel.dt / width)).flatten(1)
        below = point.detach().floor()
        along = torch.zeros_like(point).unsqueeze(-1)
        for cell, share in ((below, 1.0 - (point - below)), (below + 1.0, point - below)):
            number = cell.long()
            place = number % cells if kernel.boundary == "periodic" else number.clamp(0, cells - 1)
            if kernel.boundary == "zero":
                share = share * (place == number)
            along = along + share.unsqueeze(-1) * one_hot(place, cells)
        weights = (weights.unsqueeze(-1) * along.unsqueeze(-2)).flatten(2)
    return (weights.unsqueeze(1) * moved.flatten(2).unsqueeze(2)).sum(-1).reshape(moved.shape)


def _diffused(kernel: Rollout, moved: Tensor, coefficient: Tensor) -> Tensor:
    """One substep."""
    change = torch.zeros_like(moved)
    for axis, (cells, width) in enumerate(zip(kernel.resolution, kernel.spacing, strict=True)):
        for step in (1, -1):
            number = torch.arange(cells, device=moved.device) + step
            place = number % cells if kernel.boundary == "periodic" else number.clamp(0, cells - 1)
            beside = moved.index_select(axis + 2, place)
            if kernel.boundary == "zero":
                outside = (place != number).reshape([-1 if a == axis else 1 for a in range(moved.ndim - 2)])
                beside = beside.masked_fill(outside, 0.0)
            face = coefficient
            if coefficient.ndim:
                face = torch.minimum(coefficient, coefficient.index_select(axis, place))
            change = change + face * (beside - moved) * (kernel.dt / kernel.substeps / width**2)
    return moved + change
