"""Steps that are made stage by stage: against plain PyTorch, legacy mode, and central differences."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hyco.kernels import flows, reactions
from hyco.kernels.autograd import staged_rollout
from hyco.kernels.rollout import Rollout
from hyco.kernels.stages import Stages
from hyco.legacy import projection
from hyco.problem.equation import diffusion_limit
from hyco.problem.grid import BOUNDARIES, Boundary, Grid
from hyco.testing import assert_equivalent
from tests.sides import box, implementation

DT, SUBSTEPS, STEPS = 0.7, 3, 3
CELLS = {
    "gray_scott": [(9,), (8, 7), (6, 5, 4), (1,), (1, 5), (5, 1)],
    "navier_stokes": [(12, 10), (9, 11), (1, 5), (5, 1), (2, 3), (1, 1), (2, 2)],
}
FIELDS = {"gray_scott": ("u", "v"), "navier_stokes": ("velocity", "density")}
TYPES = {"float32": torch.float32, "float64": torch.float64}
PAIRS = [*((b, b) for b in BOUNDARIES), *zip(BOUNDARIES, BOUNDARIES[1:] + BOUNDARIES[:1], strict=True)]


def quantities(equation: str) -> tuple[str, str]:
    """How rollouts and gradients are compared."""
    flow = equation == "navier_stokes"
    return ("fused flow", "fused flow gradient") if flow else ("fused steps", "fused gradient")


def models(
    equation: str, grid: Grid, boundaries: tuple[Boundary, Boundary], precision: str = "float64"
) -> tuple[Any, Stages]:
    """The model of legacy mode, and the kernels of the other."""
    facts = {"viscosity": 0.0, "buoyancy_coeff": 0.0}
    if equation == "gray_scott":
        facts = dict.fromkeys(("Du", "Dv", "feed", "kill"), 0.0)
    of = dict(zip(FIELDS[equation], boundaries, strict=True))
    legacy, phiml = (
        implementation(side, "physical_model", equation)(
            grid, DT, facts, boundaries=of, substeps=SUBSTEPS, device="cpu", precision=precision
        )
        for side in ("legacy", "phiml")
    )
    return legacy, phiml.fused_steps.kernel


def values(
    equation: str, grid: Grid, kernel: Stages, kind: str, batch: int = 2, precision: str = "float64"
) -> list[torch.Tensor]:
    """An initial state and parameters, which ask for gradients; departure points are cells away."""
    rng = torch.Generator().manual_seed(0)
    made = []
    for name in kernel.parameters:
        unit = diffusion_limit(grid, DT, SUBSTEPS) if name in ("Du", "Dv", "viscosity") else 0.3
        shape = grid.resolution if kind == "field" else ()
        made.append(unit * torch.rand(shape, generator=rng, dtype=torch.float64))
    components = 2 if equation == "gray_scott" else 3
    state = torch.rand((batch, components, *grid.resolution), generator=rng, dtype=torch.float64)
    if equation == "navier_stokes":
        state[:, :2] = 2.0 * (state[:, :2] - 0.5)
    return [t.to(TYPES[precision]).requires_grad_() for t in (state, *made)]


def plain(legacy: Any, kernel: Stages, state: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
    """The rollout of legacy mode."""
    frames, named = [state], dict(zip(kernel.parameters, parameters, strict=True))
    for _ in range(STEPS):
        frames.append(legacy.advance(frames[-1], named))
    return torch.stack(frames, dim=2)


def fused(kernel: Stages, state: torch.Tensor, *parameters: torch.Tensor, steps: int = STEPS) -> torch.Tensor:
    """The rollout by kernels."""
    return staged_rollout(kernel, state, steps, dict(zip(kernel.parameters, parameters, strict=True)))


def gradients(made: torch.Tensor, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """Those of a sum with random weights, so that every entry of a trajectory counts differently."""
    weights = torch.randn(made.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return list(torch.autograd.grad((made * weights.to(made.dtype)).sum(), inputs))


def equal(expected: list[torch.Tensor], found: list[torch.Tensor], equation: str) -> None:
    """Trajectories, and gradients; those by parameters, which may be sums that cancel, beside the state's."""
    steps, slope = quantities(equation)
    beside = expected[1].detach().abs().max().item()
    for number, (one, other) in enumerate(zip(expected, found, strict=True)):
        a, b = (t.detach().numpy() for t in (one, other))
        assert a.shape == b.shape and a.dtype == b.dtype
        if number > 1 or np.ptp(a) == 0.0:
            a, b = (np.append(values, values.dtype.type(beside)) for values in (a, b))
        assert_equivalent(a, b, slope if number else steps)


EACH = [(equation, cells) for equation, sizes in CELLS.items() for cells in sizes]


@pytest.mark.parametrize(("equation", "cells"), EACH, ids=str)
def test_rollouts_and_gradients_are_legacys(equation: str, cells: tuple[int, ...]) -> None:
    grid = box(*cells)
    for boundaries, kind, precision in product(PAIRS, ("scalar", "field"), TYPES):
        legacy, kernel = models(equation, grid, boundaries, precision)
        inputs = values(equation, grid, kernel, kind, precision=precision)
        one, other = plain(legacy, kernel, *inputs), fused(kernel, *inputs)
        equal([one, *gradients(one, inputs)], [other, *gradients(other, inputs)], equation)


@pytest.mark.parametrize("equation", CELLS)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_gradients_are_those_of_central_differences(equation: str, boundary: Boundary) -> None:
    grid = box(8, 7)
    _, kernel = models(equation, grid, (boundary, boundary))
    inputs = values(equation, grid, kernel, "field")
    with torch.no_grad():
        inputs[0][:, :2] *= 0.3
    found = gradients(fused(kernel, *inputs), inputs)
    weights = torch.randn(
        fused(kernel, *inputs).shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    rng, h = torch.Generator().manual_seed(2), 1e-5
    for which, gradient in enumerate(found):
        direction = 0.02 * torch.randn(gradient.shape, generator=rng, dtype=torch.float64)
        ends = []
        for step in (h, -h):
            moved = [t.detach() + (step * direction if n == which else 0.0) for n, t in enumerate(inputs)]
            ends.append(float((fused(kernel, *moved) * weights).sum()))
        slope = float((gradient * direction).sum())
        assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(slope, rel=2e-6)


@pytest.mark.parametrize("equation", CELLS)
def test_only_the_gradients_that_are_asked_for_are_made(equation: str) -> None:
    grid = box(8, 7)
    _, kernel = models(equation, grid, ("zero", "zero"))
    inputs = values(equation, grid, kernel, "field")
    together = gradients(fused(kernel, *inputs), inputs)
    for number, gradient in enumerate(together):
        alone = [t if n == number else t.detach() for n, t in enumerate(inputs)]
        assert torch.equal(gradients(fused(kernel, *alone), alone[number : number + 1])[0], gradient)
    with torch.no_grad():
        assert not fused(kernel, *inputs).requires_grad


@pytest.mark.parametrize("equation", CELLS)
def test_threads_the_layout_in_memory_and_no_steps_change_no_bit(
    equation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members, planes, and cells are shared out among threads as where grids are large."""
    monkeypatch.setattr("hyco.kernels.rollout.WORTH_A_THREAD", 1)
    monkeypatch.setattr(flows, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(reactions, "TOGETHER", 50)
    grid = box(33, 9)
    _, kernel = models(equation, grid, ("periodic", "zero"))
    for batch in (1, 2, 11):
        inputs, seen = values(equation, grid, kernel, "field", batch), []
        for threads in (1, 2, 3):
            monkeypatch.setattr(torch, "get_num_threads", lambda n=threads: n)
            made = fused(kernel, *inputs)
            seen.append([made, *gradients(made, inputs)])
        turned = [
            t.detach().transpose(-1, -2).contiguous().transpose(-1, -2).requires_grad_() for t in inputs
        ]
        made = fused(kernel, *turned)
        seen.append([made, *gradients(made, turned)])
        for other in seen[1:]:
            assert all(torch.equal(a, b) for a, b in zip(seen[0], other, strict=True))
    made = fused(kernel, *inputs, steps=0)
    assert torch.equal(made[:, :, 0], inputs[0])
    assert torch.equal(torch.autograd.grad(made.sum(), inputs[0])[0], torch.ones_like(inputs[0]))


def test_what_is_not_finite_shows() -> None:
    for equation in CELLS:
        grid = box(8, 7)
        _, kernel = models(equation, grid, ("periodic", "periodic"))
        inputs = values(equation, grid, kernel, "scalar")
        with torch.no_grad():
            inputs[0][0, 0, 3, 3] = float("nan")
        made = fused(kernel, *inputs)
        assert not torch.isfinite(made[0, :, 1:]).all() and torch.isfinite(made[1]).all()
        made.sum().backward()


# ---------------------------------------------------------------------------------------------- the stages


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_step_of_a_view_is_the_first_of_a_rollout(boundary: Boundary) -> None:
    """Of some of the components that lie side by side in memory with others."""
    rng = np.random.default_rng(0)
    block, coefficient = rng.standard_normal((2, 4, 5, 9, 7)), rng.random((9, 7)) * 0.02
    state = block[:, 1:3, 2]
    kernel = Rollout((9, 7), (0.4, 0.3), DT, moved=2, boundary=boundary, wind=0, substeps=SUBSTEPS)
    frames = np.empty((2, 2, 2, 9, 7))
    frames[:, :, 0] = state
    kernel(frames, coefficient=coefficient)
    assert np.array_equal(kernel.step(state, coefficient=coefficient), frames[:, :, 1])


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("cells", [(12, 10), (9, 11), (1, 5), (5, 1), (2, 2)], ids=str)
def test_projections_are_legacys(boundary: Boundary, cells: tuple[int, ...]) -> None:
    """And leave no divergence that central differences see."""
    grid = box(*cells)
    _, kernel = models("navier_stokes", grid, (boundary, boundary))
    assert isinstance(kernel, flows.NavierStokes)
    velocity = np.random.default_rng(0).standard_normal((3, 2, *cells))
    made = np.zeros((3, 2, 1, *cells))
    kernel._project(velocity, made, 0, 1)
    plain = projection.make_incompressible(torch.from_numpy(velocity), grid, boundary).numpy()
    assert_equivalent(plain, made[:, :, 0], "projection")
    again = np.zeros_like(made)
    kernel._project(np.ascontiguousarray(made[:, :, 0]), again, 0, 1)
    assert_equivalent(made, again, "projection")
    force = velocity[:, 0]
    lift = projection.balanced(torch.from_numpy(force), grid, boundary).numpy()
    assert_equivalent(np.append(lift, 1.0), np.append(kernel._balanced(force, 1), 1.0), "projection")


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


def random(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    """Values between 0 and 1."""
    return np.random.default_rng(seed).random(shape)


@pytest.mark.parametrize("substeps", [1, 5])
@pytest.mark.parametrize(("of_feed", "of_kill"), [(1, 1), (713, 1), (1, 713), (713, 713)])
def test_reactions(substeps: int, of_feed: int, of_kill: int) -> None:
    """On more cells than are worked on at once, into one frame of several."""
    state, feed, kill = random(2, 2, 713), random(of_feed, seed=1), random(of_kill, seed=2)
    given = random(2, 2, 713, seed=9)
    frames = np.zeros((2, 2, 3, 713))
    reactions.react(state, feed, kill, 0.8, substeps, frames, 1)
    found = reactions.undo_reaction(state, feed, kill, 0.8, substeps, given)
    tensors = [torch.tensor(t, requires_grad=True) for t in (state, feed, kill)]
    plain = reacted(*tensors, 0.8, substeps)
    assert np.array_equal(plain.detach().numpy(), frames[:, :, 1])
    assert not frames[:, :, ::2].any()
    expected = torch.autograd.grad(plain, tensors, torch.from_numpy(given))
    for one, other in zip(expected, found, strict=True):
        total = other.sum() if one.numel() == 1 else other
        assert_equivalent(np.append(one.numpy(), 0.0), np.append(total, 0.0), "fused gradient")
