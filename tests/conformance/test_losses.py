"""The rollout loss of both sides: a mean over what is observed, and the plain mean where that is all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.interfaces import Batch, LossWeights
from hyco.learning.weighting import entry_weights
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import Grid
from hyco.problem.observations import space_mask
from hyco.problem.windows import Windows
from tests.sides import SIDES, arrays_of, module, scope

GRIDS = {
    1: Grid.of(x=(4.0, 6)),
    2: Grid.of(x=(4.0, 6), y=(3.0, 4)),
    3: Grid.of(x=(4.0, 4), y=(3.0, 3), z=(2.0, 2)),
}
dimensions = pytest.mark.parametrize("grid", GRIDS.values(), ids=lambda g: f"{g.rank}-D")
WHOLE = dict.fromkeys("xyz", (0.0, 1.0))


def layout_of(grid: Grid, kind: str) -> FieldLayout:
    """Fields of 1, 2 or 3 components that evolve, and one that does not."""
    fields = {
        "alone": (FieldSpec("temperature"),),
        "scalar": (FieldSpec("density"), FieldSpec("source", static=True)),
        "vector": (FieldSpec("source", static=True), FieldSpec("velocity", vector=True)),
        "two": (FieldSpec("a"), FieldSpec("source", static=True), FieldSpec("b")),
    }
    return FieldLayout(fields[kind], grid.axes)


class Case:
    """A rollout and its targets, random."""

    def __init__(self, grid: Grid, kind: str, rng: np.random.Generator, generated: int = 0) -> None:
        self.layout, self.grid = layout_of(grid, kind), grid
        shape = (4, len(self.layout.components), 3, *grid.resolution)
        self.rollout, self.targets = rng.standard_normal((2, *shape))
        self.targets = self.targets[:, :, 1:]
        self.generated = generated

    def squares(self) -> NDArray[Any]:
        """Mean over the dynamic components of the squared error, (batch, time, *space)."""
        dynamic = list(self.layout.indices(self.layout.dynamic))
        error = self.rollout[:, dynamic, 1:] - self.targets[:, dynamic]
        return np.asarray(np.mean(error**2, axis=1))

    def loss(self, side: str, observed: Any = None, weights: LossWeights | None = None) -> float:
        """As a trainer of that side would take it."""
        arrays = arrays_of(side, self.layout)
        with scope(arrays):
            targets = arrays.trajectory(self.targets)
            batch = Batch(targets, targets, 4, self.generated, observed)
            entries = entry_weights(batch, weights or LossWeights())
            native = None if entries is None else arrays.entries(entries)
            rollout = arrays.trajectory(self.rollout)
            return float(module(side, "losses").rollout_loss(rollout, targets, self.layout, native))


@dimensions
@pytest.mark.parametrize("kind", ["alone", "scalar", "vector", "two"])
def test_a_mask_that_shows_everything_gives_the_unmasked_loss_to_the_bit(
    grid: Grid, kind: str, side: str, rng: Any
) -> None:
    case = Case(grid, kind, rng)
    plain = case.loss(side)
    rng_ = np.random.default_rng(0)
    for name, settings in (("full", {}), ("range", WHOLE), ("random_points", {"count": grid.cells})):
        mask = space_mask(name, grid, rng_, **settings)
        windows = Windows((9,), 3, observed=(np.ones(9, dtype=bool),), space=mask)
        assert case.loss(side, windows.observed_targets([0, 1, 2, 3], grid.resolution)) == plain
    assert plain == pytest.approx(float(case.squares().mean()), rel=1e-13)


@dimensions
@pytest.mark.parametrize("kind", ["alone", "scalar", "vector", "two"])
@pytest.mark.parametrize("generated", [0, 1, 4])
def test_the_loss_is_a_mean_over_what_is_observed(
    grid: Grid, kind: str, generated: int, side: str, rng: Any
) -> None:
    case = Case(grid, kind, rng, generated)
    observed = rng.random((4, 2, *grid.resolution)) < 0.4
    observed.reshape(4, -1)[:, 0] = True
    squares, real = case.squares(), slice(0, 4 - generated)
    made = slice(4 - generated, 4)
    total = sum(
        weight * (kind_.stop - kind_.start) * squares[kind_][observed[kind_]].mean()
        for kind_, weight in ((real, 0.7), (made, 0.2))
        if kind_.stop > kind_.start
    )
    assert case.loss(side, observed, LossWeights(0.7, 0.2)) == pytest.approx(total / 4, rel=1e-13)


@dimensions
def test_hidden_values_change_nothing(grid: Grid, side: str, rng: Any) -> None:
    case = Case(grid, "two", rng, generated=1)
    observed = rng.random((4, 2, *grid.resolution)) < 0.4
    observed.reshape(4, -1)[:, 0] = True
    before = case.loss(side, observed)
    hidden = np.broadcast_to(~observed[:, np.newaxis], case.targets.shape)
    case.targets = np.where(hidden, 1e6, case.targets)
    assert case.loss(side, observed) == before
    case.targets = np.where(hidden, case.targets, case.targets + 1.0)
    assert case.loss(side, observed) != before


@dimensions
def test_both_sides_agree(grid: Grid, rng: Any) -> None:
    case = Case(grid, "vector", rng, generated=2)
    observed = rng.random((4, 2, *grid.resolution)) < 0.4
    observed.reshape(4, -1)[:, 0] = True
    for weights in (LossWeights(), LossWeights(2.0, 0.3)):
        for mask in (None, observed):
            legacy, phiml = (case.loss(side, mask, weights) for side in SIDES)
            assert legacy == pytest.approx(phiml, rel=1e-14)


@dimensions
def test_entries_have_their_dims(grid: Grid, side: str, precision: str, rng: Any) -> None:
    layout = layout_of(grid, "scalar")
    arrays = arrays_of(side, layout, precision)
    values = rng.standard_normal((3, 2, *grid.resolution))
    native = arrays.entries(values)
    assert np.array_equal(arrays.numpy(native), values.astype(precision))
    assert arrays.numpy(native).dtype == precision
    with pytest.raises(ValueError, match=r"expected .*dims"):
        arrays.entries(values[0])
