"""The fused kernels for CUDA against the plain PyTorch of legacy mode.

On a CUDA device they are run there.  Elsewhere Triton's interpreter runs them on the CPU, in a process of its
own, since what Triton compiles and what it interprets is settled when it is imported; and they are compiled
for devices that are not there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hyco.kernels import cuda, cuda_check, cuda_loops
from hyco.kernels.cuda import rollout
from hyco.kernels.cuda_check import verified
from hyco.kernels.rollout import Rollout
from hyco.legacy import stencils
from hyco.problem.equation import diffusion_limit
from hyco.problem.grid import BOUNDARIES, Boundary, Grid
from hyco.testing import assert_equivalent
from hyco.testing.tolerances import tolerance
from tests.sides import box

DT, STEPS = 1.3, 2
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
NUMBERS = re.compile("batch|groups|_field$|_start$")  # among the arguments of launches; others are memory
CELLS = {1: (9,), 2: (6, 5), 3: (4, 3, 5)}

without_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")


@pytest.fixture
def place(device: str) -> str:
    """The device that kernels are run on."""
    if find_spec("triton") is None:
        pytest.skip("triton is not installed")
    if (device == "cpu") != INTERPRETED:
        pytest.skip("on the CPU Triton's interpreter runs these tests, in a process of its own")
    return device


@dataclass(frozen=True)
class Problem:
    """Random states and parameters of a rollout; departure points are many cells away.

    Of fields of parameters every other value is the same, so that there are ties and none.

    Attributes: parameters, the kinds of the factor and of the coefficient; None: there is none.
    """

    cells: tuple[int, ...]
    boundary: Boundary
    moved: int
    wind: int | None = None
    factor: str | None = None
    coefficient: str | None = None
    substeps: int = 0
    batch: int = 2
    precision: str = "float64"
    device: str = "cpu"

    @property
    def grid(self) -> Grid:
        return box(*self.cells)

    @property
    def components(self) -> int:
        return max(self.moved, 0 if self.wind is None else self.wind + self.grid.rank)

    @property
    def kernel(self) -> Rollout:
        return Rollout(
            self.cells,
            self.grid.spacing,
            DT,
            moved=self.moved,
            boundary=self.boundary,
            wind=self.wind,
            scaled=self.factor is not None,
            substeps=self.substeps,
        )

    def values(self) -> list[torch.Tensor | None]:
        """The initial state, the factor and the coefficient, which ask for gradients."""
        rng = torch.Generator().manual_seed(len(str(self)))

        def of(values: torch.Tensor) -> torch.Tensor:
            return values.to(self.device, getattr(torch, self.precision)).requires_grad_()

        def parameter(kind: str | None, unit: float) -> torch.Tensor | None:
            if kind is None:
                return None
            made = torch.rand(self.cells if kind == "field" else (), generator=rng, dtype=torch.float64)
            if kind == "field":
                made.view(-1)[::2] = made.view(-1)[0].clone()
            return of(made * unit)

        initial = 2.0 * torch.randn((self.batch, self.components, *self.cells), generator=rng)
        limit = diffusion_limit(self.grid, DT, max(self.substeps, 1))
        return [of(initial.double()), parameter(self.factor, 1.0), parameter(self.coefficient, limit)]

    def fused(self, *values: torch.Tensor | None, steps: int = STEPS) -> torch.Tensor:
        initial, factor, coefficient = values
        assert initial is not None
        return rollout(self.kernel, initial, steps, factor=factor, coefficient=coefficient)

    def plain(self, *values: torch.Tensor | None) -> torch.Tensor:
        initial, factor, coefficient = values
        frames, on = [initial], (self.grid, self.boundary)
        for _ in range(STEPS):
            moved, static = frames[-1][:, : self.moved], frames[-1][:, self.moved :]
            if self.wind is not None:
                wind = frames[-1][:, self.wind : self.wind + self.grid.rank]
                moved = stencils.advect(moved, wind if factor is None else factor * wind, DT, *on)
            if self.substeps:
                moved = stencils.diffuse(moved, coefficient, DT, *on, substeps=self.substeps)
            frames.append(torch.cat([moved, static], dim=1))
        return torch.stack(frames, dim=2)


def problems(cells: tuple[int, ...], boundary: Boundary, **others: Any) -> list[Problem]:
    """Every kind of step: with and without a wind of its own or of others, factors, substeps."""
    rank, field, number = len(cells), "field", "number"
    kinds: list[dict[str, Any]] = [
        {"moved": rank, "wind": 0, "coefficient": field, "substeps": 3},
        {"moved": rank, "wind": 0, "factor": field, "coefficient": number, "substeps": 1},
        {"moved": 1, "wind": 1, "factor": number},
        {"moved": 2, "wind": 2, "factor": field, "coefficient": field, "substeps": 1},
        {"moved": 1, "coefficient": field, "substeps": 3},
        {"moved": 1, "coefficient": number, "substeps": 1},
        {"moved": 1},
    ]
    return [Problem(cells, boundary, **kind, **others) for kind in kinds]


def gradients(made: torch.Tensor, values: list[torch.Tensor | None]) -> list[torch.Tensor]:
    """Those of a sum with random weights, so that every entry of a trajectory counts differently."""
    rng = torch.Generator().manual_seed(1)
    weights = torch.randn(made.shape, generator=rng, dtype=torch.float64).to(made)
    return list(torch.autograd.grad((made * weights).sum(), [v for v in values if v is not None]))


def equal(expected: torch.Tensor, found: torch.Tensor, quantity: str) -> None:
    """Equivalent; a single number needs no more than that."""
    a, b = (np.atleast_1d(t.detach().cpu().numpy()) for t in (expected, found))
    assert a.shape == b.shape and a.dtype == b.dtype
    if a.size == 1:
        assert np.allclose(a, b, rtol=tolerance(quantity, str(a.dtype)).rtol, atol=0.0)
    else:
        assert_equivalent(a, b, quantity)


def check(problem: Problem) -> None:
    values = problem.values()
    expected, found = problem.plain(*values), problem.fused(*values)
    equal(expected, found, "fused steps")
    for one, other in zip(*(gradients(made, values) for made in (expected, found)), strict=True):
        equal(one, other, "fused gradient")


@pytest.mark.parametrize("rank", CELLS)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_rollouts_and_gradients_are_legacys(
    rank: int, boundary: Boundary, place: str, precision: str
) -> None:
    chosen = problems(CELLS[rank], boundary, device=place, precision=precision)
    for problem in chosen if precision == "float64" else chosen[1:4]:  # interpreting takes its time
        check(problem)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_any_number_of_programs_groups_and_cells(
    boundary: Boundary, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More members than groups, more cells than a program takes, axes of one or two cells."""
    monkeypatch.setattr(cuda, "BLOCK", 16)
    for cells, batch in (((20,), 9), ((7, 5), 1), ((1,), 2), ((2,), 1), ((1, 5), 1), ((5, 2), 1)):
        check(Problem(cells, boundary, len(cells), 0, "field", "field", 2, batch, device=place))


def test_groups_of_members_are_summed_up_apart(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that add to the same memory would disturb each other on a device."""
    seen, summed = [], cuda._of_parameter

    def watched(by: torch.Tensor, parameter: torch.Tensor) -> Any:
        seen.append(by)
        return summed(by, parameter)

    monkeypatch.setattr(cuda, "_of_parameter", watched)
    monkeypatch.setattr(cuda, "WORTH", -1)
    problem = Problem((9,), "periodic", 1, 0, "field", "field", 1, 11, device=place)
    values = problem.values()
    gradients(problem.fused(*values), values)
    assert [len(by) for by in seen] == [cuda.GROUPS, cuda.GROUPS]
    assert all(torch.count_nonzero(row) for by in seen for row in by)


def test_at_a_uniform_coefficient_each_cell_has_half_of_the_gradient(place: str) -> None:
    for boundary in BOUNDARIES:
        problem = Problem((6, 5), boundary, 2, 0, None, "field", 2, device=place)
        state, _, field = problem.values()
        assert field is not None
        uniform = torch.full_like(field, 0.01, requires_grad=True)
        expected, found = (
            torch.autograd.grad(made(state, None, uniform).square().sum(), uniform)[0]
            for made in (problem.plain, problem.fused)
        )
        equal(expected, found, "fused gradient")
        assert torch.count_nonzero(found) == found.numel()


def test_only_the_gradients_that_are_asked_for_are_made(place: str) -> None:
    problem = Problem((6, 5), "zero", 2, 0, "number", "field", 2, device=place)
    values = problem.values()
    together = gradients(problem.fused(*values), values)
    for number, gradient in enumerate(together):
        alone = [v if v is None or n == number else v.detach() for n, v in enumerate(values)]
        (found,) = gradients(problem.fused(*alone), alone[number : number + 1])
        equal(gradient, found, "fused gradient")
    with torch.no_grad():
        assert not problem.fused(*values).requires_grad


def test_the_layout_in_memory_and_no_steps_change_nothing(place: str) -> None:
    problem = Problem((6, 5), "periodic", 2, 0, None, "field", 2, device=place)
    state, _, field = problem.values()
    assert state is not None and field is not None
    strided = state.detach().permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    turned = field.detach().t().contiguous().t()
    assert not strided.is_contiguous() and not turned.is_contiguous()
    assert torch.equal(problem.fused(strided, None, turned), problem.fused(state, None, field))
    made = problem.fused(state, None, field, steps=0)
    assert torch.equal(made[:, :, 0], state)
    assert torch.equal(torch.autograd.grad(made.sum(), state)[0], torch.ones_like(state))


def test_what_is_not_finite_or_absurdly_far_stays_within_memory_and_shows(place: str) -> None:
    for boundary, bad in product(BOUNDARIES, (float("nan"), float("inf"), -float("inf"), 1e300)):
        problem = Problem((6, 5), boundary, 2, 0, None, "number", 1, 1, device=place)
        state, _, number = problem.values()
        assert state is not None
        with torch.no_grad():
            state[0, 0, 3, 3] = bad
        made = problem.fused(state, None, number)
        assert not torch.isfinite(made[:, :, 1:]).all() or bad == 1e300
        made.sum().backward()
    problem = Problem((6, 5), "zero", 1, None, None, "field", 1, 1, device=place)
    state, _, field = problem.values()
    assert field is not None
    with torch.no_grad():
        field[2, 2] = float("nan")
    assert torch.isnan(problem.fused(state, None, field)[0, 0, 1, 2, 2])


def test_departure_points_beyond_what_integers_hold_are_outside(place: str) -> None:
    for boundary, speed in product(("zero-gradient", "zero"), (1e11, -1e11)):
        problem = Problem((6,), boundary, 1, 1, batch=1, device=place)
        state = problem.values()[0]
        assert state is not None
        with torch.no_grad():
            state[0, 1, 3] = speed
        assert torch.equal(problem.plain(state, None, None), problem.fused(state, None, None))


def test_recorded_launches_give_what_launches_give(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if place != "cuda":
        pytest.skip("launches are recorded on CUDA alone")
    problem = Problem((6, 5), "periodic", 2, 0, None, "field", 2, device=place)
    for scale in (1.0, 0.5, 2.0):
        values = [None if v is None else (v.detach() * scale).requires_grad_() for v in problem.values()]
        seen = []
        for worth in (cuda.WORTH, 0):
            with monkeypatch.context() as patch:
                patch.setattr(cuda, "WORTH", worth)
                made = problem.fused(*values)
                seen.append([made, *gradients(made, values)])
        for one, other in zip(*seen, strict=True):
            equal(one, other, "fused gradient")


# ---------------------------------------------------------------------------------------------- the check


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Nothing is known of any device, before and after."""
    cuda_check._agrees.cache_clear()
    yield
    cuda_check._agrees.cache_clear()


@pytest.mark.usefixtures("unchecked")
def test_kernels_are_verified_where_they_are_right(place: str, precision: str) -> None:
    dtype = getattr(torch, precision)
    for problem in problems((300, 20), "zero-gradient")[:4:3]:
        assert verified(problem.kernel, place, dtype)
    kinds = cuda_check._agrees.cache_info().misses
    other = replace(problems((7, 9), "zero-gradient")[0].kernel, dt=0.1)
    assert verified(other, place, dtype) and cuda_check._agrees.cache_info().misses == kinds


@pytest.mark.usefixtures("unchecked")
def test_kernels_that_are_wrong_are_not_used(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong number anywhere: among the frames, or among the gradients alone."""
    kernel = problems((6, 5), "zero")[1].kernel
    advance, undo = cuda._advance, cuda._undo
    assert verified(kernel, place, torch.float32)

    def wrong_frame(*given: Any) -> Any:
        (made,) = advance(*given)
        made[0, 1, -1, 2, 2] += 0.01 * made.abs().max()
        return (made,)

    def wrong_gradient(*given: Any) -> Any:
        by_state, by_factor, by_coefficient = undo(*given)
        return by_state, by_factor, by_coefficient * 1.01

    def fails(*given: Any) -> Any:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(cuda, "WORTH", -1)  # recordings would be of the right ones
    for name, function, reason in (
        ("_advance", wrong_frame, "differ"),
        ("_undo", wrong_gradient, "differ"),
        ("_undo", fails, "no kernel image"),
    ):
        cuda_check._agrees.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(cuda, name, function)
            with pytest.warns(UserWarning, match=reason):
                assert not verified(kernel, place, torch.float32)
            assert not verified(kernel, place, torch.float32)


@pytest.mark.usefixtures("unchecked")
def test_without_triton_they_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    kernel = problems((6,), "zero")[0].kernel
    with pytest.warns(UserWarning, match="ModuleNotFoundError"):
        assert not verified(kernel, "cpu", torch.float32)


# ------------------------------------------------------------------------------------ where there is no CUDA


@without_triton
@pytest.mark.skipif(INTERPRETED, reason="these tests are being interpreted")
def test_triton_interprets_the_tests_above() -> None:
    env = {**os.environ, "TRITON_INTERPRET": "1", "HYCO_TEST_DEVICES": "cpu"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", __file__, "-n", "0", "-q", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        env=env,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


@without_triton
@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled where it is interpreted")
@pytest.mark.parametrize("kind", ["fp32", "fp64"])
@pytest.mark.parametrize("rank", CELLS)
def test_kernels_compile_for_devices_and_contract_nothing(rank: int, kind: str) -> None:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    n0, n1, n2 = (1,) * (3 - rank) + CELLS[rank]
    grid = {"N0": n0, "N1": n1, "N2": n2, "RANK": rank, "MOVED": rank, "BOUNDARY": "zero", "BLOCK": 256}
    chosen = {
        cuda_loops.advect: {"WIND": 0, "FACTOR": "field"},
        cuda_loops.undo_advect: {"WIND": 0, "FACTOR": "field", "WANTED": True},
        cuda_loops.diffuse: {"FIELD": True, "WANTED": True},
    }
    for function, constants in chosen.items():
        constants |= grid
        signature = {
            name: "constexpr" if name in constants else "i32" if NUMBERS.search(name) else f"*{kind}"
            for name in function.arg_names
        }
        made = triton.compile(
            ASTSource(function, signature, constants),
            target=GPUTarget("cuda", 80, 32),
            options={"enable_fp_fusion": False},
        )
        assert made.asm["cubin"] and "fma." not in made.asm["ptx"]
        assert (".f64" in made.asm["ptx"]) == (kind == "fp64")
