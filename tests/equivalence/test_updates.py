"""Losses and optimiser steps of both sides, and moving a training from one side to the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.interfaces import Batch, TrainingState
from hyco.migration.registry import use_mode
from hyco.problem.grid import Grid
from hyco.testing import assert_equivalent
from hyco.testing.experiments import train, write_data
from tests.cases import layout_with_static, smooth_states
from tests.experiments import tiny
from tests.sides import OTHER, SIDES, arrays_of, implementation, module, scope

GRID = Grid.of(x=(4.0, 8), y=(3.0, 12))
LAYOUT = layout_with_static(GRID.axes)
STEPS = 3


def arrays(seed: int, frames: int) -> NDArray[np.float64]:
    """Trajectories (batch, field, time, *space) of independent smooth frames."""
    return np.stack([smooth_states(LAYOUT, GRID, 4, seed=seed + n) for n in range(frames)], axis=2)


@pytest.mark.parametrize("side", SIDES)
def test_the_loss_is_the_mean_square_over_predicted_frames_and_dynamic_fields(
    side: str, precision: str
) -> None:
    rollout, targets = arrays(0, STEPS + 1), arrays(10, STEPS)
    native = arrays_of(side, LAYOUT, precision)
    with scope(native):
        loss = module(side, "losses").rollout_loss(
            native.trajectory(rollout), native.trajectory(targets), LAYOUT
        )
    found = float(native.numpy(loss))
    expected = float(np.mean((rollout[:, [0, 1, 3], 1:] - targets[:, [0, 1, 3]]) ** 2))
    assert_equivalent(expected, found, "loss", precision=precision)


def test_a_perfect_rollout_has_no_loss() -> None:
    rollout = arrays(0, STEPS + 1)
    for side in SIDES:
        native = arrays_of(side, LAYOUT)
        both = native.trajectory(rollout), native.trajectory(rollout[:, :, 1:])
        assert float(native.numpy(module(side, "losses").rollout_loss(*both, LAYOUT))) == 0.0


# ------------------------------------------------------------------------------------------------- updates


def trainer(side: str, precision: str = "float64", *, batch_norm: bool = False, **options: Any) -> Any:
    """A surrogate's trainer around a small U-Net."""
    model = implementation(side, "synthetic_model", "unet")(
        LAYOUT,
        GRID,
        architecture={"levels": 2, "filters": 3, "activation": "tanh", "batch_norm": batch_norm},
        seed=5,
        device="cpu",
        precision=precision,
    )
    return implementation(side, "synthetic_trainer")(model, **{"learning_rate": 0.01, **options})


def batch(side: str, number: int, precision: str = "float64") -> Batch:
    """The windows of one update."""
    native = arrays_of(side, LAYOUT, precision)
    initial = np.ascontiguousarray(arrays(20 * number, 1)[:, :, 0])
    return Batch(native.state(initial), native.trajectory(arrays(20 * number + 5, 2)), 4)


def updated(side: str, steps: int, precision: str = "float64", **options: Any) -> tuple[Any, list[float]]:
    """A trainer after some updates, and the losses before each."""
    learner = trainer(side, precision, **options)
    losses = []
    for number in range(steps):
        learner.set_learning_rate(0.01 / (number + 1))
        losses.append(float(learner.update(batch(side, number, precision))))
    return learner, losses


@pytest.mark.parametrize("steps", [1, 6])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam(steps: int, weight_decay: float, precision: str) -> None:
    (legacy, expected), (phiml, found) = (
        updated(s, steps, precision, weight_decay=weight_decay) for s in SIDES
    )
    assert_equivalent(np.array(expected), np.array(found), "losses of updates", precision=precision)
    assert_equivalent(legacy.weights(), phiml.weights(), "updated weights")
    assert_equivalent(legacy.moments(), phiml.moments(), "adam moments")


def test_adam_with_normalisation() -> None:
    (legacy, expected), (phiml, found) = (updated(s, 6, batch_norm=True) for s in SIDES)
    assert_equivalent(np.array(expected), np.array(found), "losses of updates")
    assert_equivalent(legacy.weights(), phiml.weights(), "updated weights with normalisation")


@pytest.mark.parametrize("side", SIDES)
def test_adam_is_that_of_its_inventors(side: str) -> None:
    """Two steps by hand from the gradients that the updates leave behind; the rate changes in between."""
    learner = trainer(side, weight_decay=0.1)
    weights = {name: p.detach().numpy().copy() for name, p in learner.model.network.named_parameters()}
    first = {name: np.zeros_like(w) for name, w in weights.items()}
    second = {name: np.zeros_like(w) for name, w in weights.items()}
    for step, rate in ((1, 0.02), (2, 0.005)):
        learner.set_learning_rate(rate)
        learner.update(batch(side, step))
        for name, p in learner.model.network.named_parameters():
            gradient = p.grad.numpy() + 0.1 * weights[name]
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.999 * second[name] + 0.001 * gradient**2
            unbiased = first[name] / (1 - 0.9**step), second[name] / (1 - 0.999**step)
            weights[name] = weights[name] - rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
    assert_equivalent(weights, learner.weights(), "updated weights")


@pytest.mark.parametrize("side", SIDES)
def test_without_decay_there_is_none(side: str) -> None:
    plain, decayed = (updated(side, 2, weight_decay=d)[0].weights() for d in (0.0, 0.1))
    assert max(np.abs(plain[name] - decayed[name]).max() for name in plain) > 1e-4


class Batches:
    """A dataset of three batches of one side, in order."""

    def __init__(self, side: str, precision: str) -> None:
        self.side, self.precision = side, precision

    def batches(self, size: int, **_: Any) -> Iterator[Batch]:
        """The same ones in every epoch."""
        return (batch(self.side, number, self.precision) for number in range(3))


def test_noise_is_the_same_on_both_sides(precision: str) -> None:
    """Six batches of noise; the losses of evaluations are those of undisturbed states."""
    found = {}
    for side in SIDES:
        for scale in (0.0, 0.3):
            learner, data = trainer(side, precision, input_noise=scale), Batches(side, precision)
            before = learner.evaluate(data)
            losses = learner.fit(data, epochs=2).column("train_loss")
            found[side, scale] = np.array(losses), learner.weights(), before, learner.evaluate(data)
    for scale in (0.0, 0.3):
        (losses, weights, _, judged), (others, same, _, alike) = (found[side, scale] for side in SIDES)
        assert_equivalent(losses, others, "losses of updates", precision=precision)
        assert_equivalent(weights, same, "updated weights")
        assert_equivalent(judged, alike, "network loss", precision=precision)
    for side in SIDES:
        quiet, noisy = found[side, 0.0], found[side, 0.3]
        assert quiet[2] == noisy[2]
        assert np.abs(quiet[0] / noisy[0] - 1.0).max() > 1e-3


@pytest.mark.parametrize("side", SIDES)
def test_noise_of_size_zero_is_no_noise(side: str) -> None:
    weights = []
    for options in ({}, {"input_noise": 0.0}):
        learner = trainer(side, **options)
        learner.fit(Batches(side, "float64"), epochs=1)
        weights.append(learner.weights())
    assert all(np.array_equal(w, weights[1][name]) for name, w in weights[0].items())


MIXED = {"dataset": "phiml", "synthetic_model": "legacy", "synthetic_trainer": "phiml"}


def test_configured_noise_is_the_same_in_every_mixture(tmp_path: Path) -> None:
    noise = "trainer.synthetic.input_noise={scale: 0.2}"
    common = ["general.mode=synthetic", "trainer.synthetic.epochs=2"]
    configs = [tiny(tmp_path, [*common, *extra]) for extra in ([], [noise])]
    write_data(configs[0])
    found = []
    for mode, components in (("legacy", None), ("phiml", None), ("hybrid", MIXED)):
        with use_mode(mode, components):
            quiet, noisy = (train(config) for config in configs)
        assert abs(quiet.records[0]["train_loss"] / noisy.records[0]["train_loss"] - 1.0) > 1e-3
        found.append(noisy)
    for other in found[1:]:
        assert_equivalent(found[0].losses(), other.losses(), "losses of a synthetic fit")
        assert_equivalent(found[0].weights, other.weights, "weights of a synthetic fit")


@pytest.mark.parametrize("side", SIDES)
def test_a_training_goes_on_on_the_other_side(side: str, precision: str) -> None:
    """The state of one side, restored on the other one, gives the same next updates."""
    whole, _ = updated(side, 2, precision)
    state: TrainingState = whole.state()
    moved = trainer(OTHER[side], precision)
    moved.restore(state)
    for number in (2, 3):
        for learner in (whole, moved):
            learner.set_learning_rate(0.003)
            learner.update(batch(learner.mode, number, precision))
    assert_equivalent(whole.weights(), moved.weights(), "updated weights")
    assert_equivalent(whole.moments(), moved.moments(), "adam moments")


@pytest.mark.parametrize("side", SIDES)
def test_moments_come_out_and_go_in_unchanged(side: str) -> None:
    learner, _ = updated(side, 3)
    fresh = trainer(side)
    assert fresh.moments() == {}
    fresh.put_moments(learner.moments())
    put, given = fresh.moments(), learner.moments()
    assert list(put) == list(given)
    assert all(np.array_equal(put[n], given[n]) and put[n].dtype == given[n].dtype for n in given)
    assert {name.split(".")[1] for name in given} == {"step", "exp_avg", "exp_avg_sq"}
    given[next(iter(given))] += 1.0
    assert learner.moments()[next(iter(given))] == 3.0  # what came out is a copy
