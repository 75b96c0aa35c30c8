"""Kernels for single stages of a step, where the whole step has none: against plain PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hyco.kernels import operators, reactions
from hyco.legacy import stencils
from hyco.problem.grid import BOUNDARIES, Boundary, Grid
from hyco.testing import assert_equivalent

GRID = Grid.of(x=(4.0, 9), y=(3.0, 7))


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    """Values that ask for a gradient."""
    values = np.random.default_rng(seed).random(shape)
    return torch.tensor(values, requires_grad=True)


def results(made: torch.Tensor, *inputs: torch.Tensor) -> dict[str, NDArray[np.float64]]:
    """Values, and gradients of a weighted sum of them by all inputs."""
    given = random(*made.shape, seed=9).detach()
    found = torch.autograd.grad(made, inputs, given)
    return {str(n): t.detach().numpy() for n, t in enumerate((made, *found))}


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("fields", [1, 3])
def test_what_others_carry(boundary: Boundary, fields: int) -> None:
    """A velocity that is no part of what it carries."""
    quantity, velocity = random(2, fields, 9, 7), random(2, 2, 9, 7, seed=1)
    plain = stencils.advect(quantity, velocity, 0.7, GRID, boundary)
    fused = operators.advect(quantity, velocity, 0.7, GRID.spacing, boundary)
    assert torch.equal(plain, fused)
    both = (results(made, quantity, velocity) for made in (plain, fused))
    assert_equivalent(*both, "fused gradient")


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(), (9, 7)])
def test_diffusion_of_several_fields(boundary: Boundary, shape: tuple[int, ...]) -> None:
    quantity, coefficient = random(2, 3, 9, 7), random(*shape, seed=1)
    plain = stencils.diffuse(quantity, coefficient, 0.05, GRID, boundary, substeps=3)
    fused = operators.diffuse(quantity, coefficient, 0.05, GRID.spacing, boundary, substeps=3)
    assert torch.equal(plain, fused)
    both = (results(made, quantity, coefficient) for made in (plain, fused))
    assert_equivalent(*both, "fused gradient")


def reacted(
    state: torch.Tensor, feed: torch.Tensor, kill: torch.Tensor, dt: float, substeps: int
) -> torch.Tensor:
    """The equations of Gray and Scott without diffusion, as they are written."""
    u, v = state[:, :1], state[:, 1:]
    for _ in range(substeps):
        reaction = u * v * v
        change = feed * (1.0 - u) - reaction, reaction - (feed + kill) * v
        u, v = (q + dt / substeps * c for q, c in zip((u, v), change, strict=True))
    return torch.cat([u, v], dim=1)


@pytest.mark.parametrize("substeps", [1, 5])
@pytest.mark.parametrize(("of_feed", "of_kill"), [((), ()), ((23, 31), ()), ((), (23, 31)), ((23, 31),) * 2])
def test_reactions(substeps: int, of_feed: tuple[int, ...], of_kill: tuple[int, ...]) -> None:
    """On more cells than are worked on at once."""
    state, feed, kill = random(2, 2, 23, 31), random(*of_feed, seed=1), random(*of_kill, seed=2)
    plain = reacted(state, feed, kill, 0.8, substeps)
    fused = operators.gray_scott(state, feed, kill, 0.8, substeps=substeps)
    assert torch.equal(plain, fused)
    both = (results(made, state, feed, kill) for made in (plain, fused))
    assert_equivalent(*both, "fused gradient")


def test_threads_change_no_bit_of_a_reaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reactions, "TOGETHER", 100)
    state, given = np.random.default_rng(0).random((2, 3, 2, 1000))
    rates = np.array([0.03]), np.array([0.06])
    one, two = (
        (
            reactions.react(state, *rates, 0.8, 4, threads=threads),
            *reactions.undo_reaction(state, *rates, 0.8, 4, given, threads=threads),
        )
        for threads in (1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
