"""Advection, diffusion, gradients on uniform grids, in plain PyTorch; 1-D to 3-D by the same lines."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from hyco.problem.grid import Boundary, Grid


def advect(quantity: Tensor, velocity: Tensor, dt: float, grid: Grid, boundary: Boundary) -> Tensor:
    """Semi-Lagrangian step of first order: every cell takes the value at its departure point.

        q_new(x) = q(x - v(x) dt),    q multilinear between cell centres

    Args:
        quantity: (batch, field, *space).
        velocity: (batch, axis, *space), in length per time, at the cell centres.
        boundary: of `quantity`: indices wrap (periodic), clamp (zero-gradient), or read 0 outside (zero).

    Source: Courant, Isaacson, Rees (1952).
    """
    lower, weights = _departure_points(velocity, dt, grid)
    batch, fields = quantity.shape[:2]
    flat = quantity.reshape(batch, fields, -1)
    result = torch.zeros_like(quantity)
    for corner in product((0, 1), repeat=grid.rank):
        index = torch.zeros_like(lower[0])
        weight = torch.ones_like(weights[0])
        for axis, offset in enumerate(corner):
            cells = grid.resolution[axis]
            i = lower[axis] + offset
            weight = weight * (weights[axis] if offset else 1.0 - weights[axis])
            if boundary == "periodic":
                i = torch.remainder(i, cells)
            else:
                inside = i.clamp(0, cells - 1)
                if boundary == "zero":
                    weight = weight * (inside == i)
                i = inside
            index = index * cells + i
        gathered = flat.gather(2, index.reshape(batch, 1, -1).expand(batch, fields, -1))
        result = result + weight.unsqueeze(1) * gathered.reshape(quantity.shape)
    return result


def _departure_points(velocity: Tensor, dt: float, grid: Grid) -> tuple[list[Tensor], list[Tensor]]:
    """Per axis: the cell below each departure point, and the weight of the cell above it."""
    lower, weights = [], []
    for axis, (cells, width) in enumerate(zip(grid.resolution, grid.spacing, strict=True)):
        own = torch.arange(cells, dtype=velocity.dtype, device=velocity.device)
        shape = [-1 if a == axis else 1 for a in range(grid.rank)]
        point = own.reshape(shape) - velocity[:, axis] * (dt / width)
        below = torch.floor(point)
        lower.append(below.long())
        weights.append(point - below)
    return lower, weights


def diffuse(
    quantity: Tensor, coefficient: Tensor, dt: float, grid: Grid, boundary: Boundary, *, substeps: int
) -> Tensor:
    """Explicit Euler diffusion in `substeps` equal substeps, in conservative form.

        dq/dt = div(c grad q),    flux on a face = min(c_left, c_right) (q_right - q_left) / dx

    Args:
        quantity: (batch, field, *space).
        coefficient: scalar, or (*space), in length^2 per time; stable up to
            `hyco.problem.equation.diffusion_limit`.
        boundary: periodic faces join both ends; zero-gradient ends let nothing through; zero ends see 0
            one cell outside, through the coefficient of the boundary cell.
    """
    for _ in range(substeps):
        change = torch.zeros_like(quantity)
        for axis, width in enumerate(grid.spacing):
            flux = _fluxes(quantity, coefficient, axis, grid.rank, boundary)
            change = change + torch.diff(flux, dim=axis + 2) * (dt / substeps / width**2)
        quantity = quantity + change
    return quantity


def _fluxes(quantity: Tensor, coefficient: Tensor, axis: int, rank: int, boundary: Boundary) -> Tensor:
    """Fluxes through the cells + 1 faces across one axis, times the cell width."""
    padded = _pad(quantity, axis + 2, boundary)
    difference = torch.diff(padded, dim=axis + 2)
    if coefficient.ndim < rank:
        return coefficient * difference
    cells = coefficient.shape[axis]
    around = _pad(coefficient, axis, "periodic" if boundary == "periodic" else "zero-gradient")
    faces = torch.minimum(around.narrow(axis, 0, cells + 1), around.narrow(axis, 1, cells + 1))
    return faces * difference


def gradient(potential: Tensor, grid: Grid, boundary: Boundary) -> Tensor:
    """Gradient by central differences: (*space) -> (axis, *space).

        (grad p)_a = (p_{i+1} - p_{i-1}) / (2 dx_a)

    Beyond the ends a periodic potential repeats; any other one keeps its last value.
    """
    outside: Boundary = "periodic" if boundary == "periodic" else "zero-gradient"
    slopes = []
    for axis, (cells, width) in enumerate(zip(grid.resolution, grid.spacing, strict=True)):
        around = _pad(potential, axis, outside)
        slopes.append((around.narrow(axis, 2, cells) - around.narrow(axis, 0, cells)) / (2.0 * width))
    return torch.stack(slopes)


def _pad(tensor: Tensor, dim: int, boundary: Boundary) -> Tensor:
    """One more cell at both ends of a dim."""
    first, last = tensor.narrow(dim, 0, 1), tensor.narrow(dim, tensor.shape[dim] - 1, 1)
    if boundary == "periodic":
        first, last = last, first
    elif boundary == "zero":
        first, last = torch.zeros_like(first), torch.zeros_like(last)
    return torch.cat([first, tensor, last], dim)
