"""What entries and batches count: against the definition of the loss, written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.interfaces import Batch, LossWeights
from hyco.learning.weighting import entry_weights, observed_count

PLAIN = LossWeights()
SHAPES = [(3, 5), (2, 4, 3), (2, 3, 2, 4)]  # time and space, 1-D to 3-D


def batch(
    rng: Any, size: int, generated: int, shape: tuple[int, ...], share: float | None, field: int = 2
) -> Batch:
    """Random targets, a share of whose entries is observed, at least one of every window; None: all."""
    observed = None
    if share is not None:
        observed = rng.random((size, *shape)) < share
        observed.reshape(size, -1)[:, 0] = True
    targets = rng.standard_normal((size, field, *shape))
    return Batch(targets[:, :, 0], targets, size, generated, observed)


def mean_over_observed(squares: NDArray[Any], batch: Batch, windows: slice) -> float:
    """Mean of the entries (window, time, *space) that are observed, one after the other."""
    values = []
    for w in range(*windows.indices(batch.size)):
        for place in np.ndindex(squares.shape[1:]):
            if batch.observed is None or batch.observed[(w, *place)]:
                values.append(squares[(w, *place)])
    return float(np.mean(values))


def defined(squares: NDArray[Any], batch: Batch, weights: LossWeights) -> float:
    """(R n_r L_r + I n_g L_g) / (n_r + n_g)"""
    real = batch.size - batch.generated
    total = 0.0
    if real:
        total += weights.real * real * mean_over_observed(squares, batch, slice(0, real))
    if batch.generated:
        total += weights.interaction * batch.generated * mean_over_observed(squares, batch, slice(real, None))
    return total / batch.size


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{len(s) - 1}-D")
@pytest.mark.parametrize("share", [None, 0.3])
@pytest.mark.parametrize(("size", "generated"), [(4, 0), (4, 1), (5, 3), (3, 3), (1, 0)])
@pytest.mark.parametrize(
    "weights", [PLAIN, LossWeights(2.0, 0.25), LossWeights(0.0, 1.0), LossWeights(1.0, 3.0)]
)
def test_the_weighted_sum_is_the_loss(
    rng: Any, shape: tuple[int, ...], share: float | None, size: int, generated: int, weights: LossWeights
) -> None:
    made = batch(rng, size, generated, shape, share)
    error = rng.standard_normal(made.targets.shape)
    squares = np.mean(error**2, axis=1)
    found = entry_weights(made, weights)
    loss = np.mean(error**2) if found is None else np.sum(found * squares)
    assert loss == pytest.approx(defined(squares, made, weights), rel=1e-13)
    assert found is None or (found.shape == (size, *shape) and found.dtype == np.float64)


@pytest.mark.parametrize(
    ("generated", "weights", "plain"),
    [
        (0, PLAIN, True),
        (2, PLAIN, True),
        (4, PLAIN, True),
        (0, LossWeights(1.0, 0.5), True),  # there is nothing that it would weigh
        (4, LossWeights(0.5, 1.0), True),
        (2, LossWeights(1.0, 0.5), False),
        (0, LossWeights(0.5, 1.0), False),
        (4, LossWeights(1.0, 0.5), False),
    ],
)
def test_a_plain_mean_needs_no_weights(rng: Any, generated: int, weights: LossWeights, plain: bool) -> None:
    made = batch(rng, 4, generated, (2, 5), None)
    assert (entry_weights(made, weights) is None) == plain


def test_what_is_not_observed_weighs_nothing(rng: Any) -> None:
    made = batch(rng, 5, 2, (3, 4), 0.4)
    found = entry_weights(made, LossWeights(1.5, 0.5))
    assert found is not None and made.observed is not None
    assert np.all(found[~made.observed] == 0.0) and np.all(found[made.observed] > 0.0)


def test_windows_of_one_kind_weigh_alike_by_entry_and_kinds_by_window(rng: Any) -> None:
    """A real window of which little is observed does not count as much as one of which much is."""
    observed = np.zeros((3, 1, 4), dtype=bool)
    observed[0, 0, :1], observed[1, 0, :3], observed[2] = True, True, True
    found = entry_weights(Batch(None, np.zeros((3, 1, 1, 4)), 3, 1, observed), PLAIN)
    assert found is not None
    assert found.sum(axis=(1, 2)) == pytest.approx([2 / 3 * 1 / 4, 2 / 3 * 3 / 4, 1 / 3])


def test_nothing_observed_of_a_kind_is_no_division_by_nothing() -> None:
    observed = np.zeros((2, 1, 4), dtype=bool)
    observed[1] = True
    found = entry_weights(Batch(None, np.zeros((2, 1, 1, 4)), 2, 1, observed), PLAIN)
    assert found is not None and found.sum() == 0.5


@pytest.mark.parametrize("shares", [(None, None), (0.2, 0.7), (None, 0.4)])
def test_means_over_batches_are_means_over_what_is_observed(rng: Any, shares: tuple[Any, Any]) -> None:
    batches = [batch(rng, size, 0, (3, 4), share) for size, share in zip((5, 2), shares, strict=True)]
    squares = [np.mean(rng.standard_normal(b.targets.shape) ** 2, axis=1) for b in batches]
    counts = [observed_count(b) for b in batches]
    losses = [mean_over_observed(s, b, slice(None)) for s, b in zip(squares, batches, strict=True)]
    whole = Batch(None, np.concatenate([b.targets for b in batches]), 7, 0, np.concatenate([
        np.ones(b.targets[:, 0].shape, dtype=bool) if b.observed is None else b.observed for b in batches
    ]))  # fmt: skip
    expected = mean_over_observed(np.concatenate(squares), whole, slice(None))
    assert np.dot(losses, counts) / sum(counts) == pytest.approx(expected, rel=1e-13)


def test_an_unmasked_batch_counts_its_windows() -> None:
    made = observed_count(Batch(None, None, 7))
    assert made == 7 and isinstance(made, int)
    observed = np.zeros((2, 2, 8), dtype=bool)
    observed[0] = True
    observed[1, 0, :4] = True
    assert observed_count(Batch(None, None, 2, 0, observed)) == 1.25
