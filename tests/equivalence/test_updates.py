"""Losses and optimiser steps of both sides, and moving a training from one side to the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hyco.compat.adapters import adapt
from hyco.errors import CheckpointError, ConfigError
from hyco.interfaces import Batch, LossWeights, Optimizer, TrainingState
from hyco.learning.amp import lowered
from hyco.migration.registry import use_mode
from hyco.problem.grid import Grid
from hyco.testing import assert_equivalent
from hyco.testing.experiments import ARCHITECTURES, train, write_data
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


def trainer(
    side: str, precision: str = "float64", *, batch_norm: bool = False, device: str = "cpu", **options: Any
) -> Any:
    """A surrogate's trainer around a small U-Net."""
    model = implementation(side, "synthetic_model", "unet")(
        LAYOUT,
        GRID,
        architecture={"levels": 2, "filters": 3, "activation": "tanh", "batch_norm": batch_norm},
        seed=5,
        device=device,
        precision=precision,
    )
    return implementation(side, "synthetic_trainer")(model, schedule=lambda epoch: 0.01, **options)


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
        updated(s, steps, precision, optimizer=Optimizer(weight_decay=weight_decay)) for s in SIDES
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
    learner = trainer(side, optimizer=Optimizer(weight_decay=0.1))
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
    plain, decayed = (updated(side, 2, optimizer=Optimizer(weight_decay=d))[0].weights() for d in (0.0, 0.1))
    assert max(np.abs(plain[name] - decayed[name]).max() for name in plain) > 1e-4


def descent_of(learner: Any) -> Any:
    """What has PyTorch's optimiser and scaler within a trainer of either side."""
    return getattr(learner, "_descent", learner)


class Batches:
    """A dataset of three batches of one side, in order."""

    def __init__(self, side: str, precision: str) -> None:
        self.side, self.precision = side, precision

    def batches(self, size: int, **_: Any) -> Iterator[Batch]:
        """The same ones in every epoch."""
        return (batch(self.side, number, self.precision) for number in range(3))

    rollout_steps, generated = 3, 0


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


# ---------------------------------------------------------------------------------- optimisers and clipping

OPTIMIZERS = {
    "adam": Optimizer("adam", weight_decay=0.1),
    "adamw": Optimizer("adamw", weight_decay=0.1),
    "sgd": Optimizer("sgd", weight_decay=0.1, momentum=0.9),
    "sgd without momentum": Optimizer("sgd", momentum=0.0),
}
optimizers = pytest.mark.parametrize("name", OPTIMIZERS)


@optimizers
@pytest.mark.parametrize("clipping", [None, 0.05])
def test_optimisers_agree(name: str, clipping: float | None) -> None:
    found = []
    for side in SIDES:
        learner, norms, losses = trainer(side, optimizer=OPTIMIZERS[name], gradient_clipping=clipping), [], []
        for number in range(6):
            learner.set_learning_rate(0.05 / (number + 1))
            losses.append(float(learner.update(batch(side, number))))
            norms.append(learner.gradient_norm)
        found.append((learner, np.array(losses), norms))
    (legacy, expected, before), (phiml, losses, after) = found
    assert_equivalent(expected, losses, "losses of updates")
    assert_equivalent(legacy.weights(), phiml.weights(), "weights of an optimiser")
    assert legacy.moments().keys() == phiml.moments().keys()
    if legacy.moments():
        assert_equivalent(legacy.moments(), phiml.moments(), "moments of an optimiser")
    if clipping is None:
        assert before == after == [None] * 6
    else:
        norms = [np.array([float(n) for n in ns]) for ns in (before, after)]
        assert norms[0].min() > clipping  # each of them was clipped
        assert_equivalent(*norms, "norm of gradients")


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("limit", [0.05, 1e6])
def test_clipping_is_that_of_pytorch(side: str, limit: float) -> None:
    plain, clipped = trainer(side), trainer(side, gradient_clipping=limit)
    for learner in (plain, clipped):
        learner.update(batch(side, 1))
    norm = torch.nn.utils.clip_grad_norm_(plain.model.network.parameters(), limit)
    assert_equivalent(float(norm), float(clipped.gradient_norm), "norm of gradients")
    assert_equivalent(plain.gradients(), clipped.gradients(), "clipped gradients")
    assert (float(norm) > limit) == (limit < 1)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("decoupled", [False, True])
def test_decay_is_in_the_gradient_or_beside_it(side: str, decoupled: bool) -> None:
    """One step by hand: Adam's first step is the sign of the gradient, whatever its size."""
    learner = trainer(side, optimizer=Optimizer("adamw" if decoupled else "adam", weight_decay=0.1))
    weights = {name: p.detach().numpy().copy() for name, p in learner.model.network.named_parameters()}
    learner.set_learning_rate(0.02)
    learner.update(batch(side, 1))
    for name, gradient in learner.gradients().items():
        slope = gradient if decoupled else gradient + 0.1 * weights[name]
        shrunk = weights[name] * (1 - 0.02 * 0.1) if decoupled else weights[name]
        weights[name] = shrunk - 0.02 * slope / (np.abs(slope) + 1e-8)
    assert_equivalent(weights, learner.weights(), "updated weights")


@pytest.mark.parametrize("side", SIDES)
def test_momentum_keeps_its_speed(side: str) -> None:
    learner = trainer(side, optimizer=Optimizer("sgd", momentum=0.7, weight_decay=0.1))
    weights = {name: p.detach().numpy().copy() for name, p in learner.model.network.named_parameters()}
    speed = {name: np.zeros_like(w) for name, w in weights.items()}
    for number, rate in ((1, 0.02), (2, 0.005)):
        learner.set_learning_rate(rate)
        learner.update(batch(side, number))
        for name, gradient in learner.gradients().items():
            speed[name] = 0.7 * speed[name] + gradient + 0.1 * weights[name]
            weights[name] = weights[name] - rate * speed[name]
    assert_equivalent(weights, learner.weights(), "updated weights")


@optimizers
@pytest.mark.parametrize("side", SIDES)
def test_every_optimiser_goes_on_on_either_side(side: str, name: str) -> None:
    """Restored on its own side, to the last bit; on the other one, to rounding; never in another one."""
    options: dict[str, Any] = {"optimizer": OPTIMIZERS[name], "gradient_clipping": 0.05}
    whole = trainer(side, **options)
    for number in range(2):
        whole.update(batch(side, number))
    state: TrainingState = whole.state()
    assert state.facts["optimizer"] == OPTIMIZERS[name].name
    same, moved = trainer(side, **options), trainer(OTHER[side], **options)
    for learner in (same, moved):
        learner.restore(state)
    for number in (2, 3):
        for learner in (whole, same, moved):
            learner.update(batch(learner.mode, number))
    assert all(np.array_equal(w, same.weights()[n]) for n, w in whole.weights().items())
    assert all(np.array_equal(m, same.moments()[n]) for n, m in whole.moments().items())
    assert_equivalent(whole.weights(), moved.weights(), "weights of an optimiser")
    other = trainer(side, optimizer=Optimizer("adam" if "sgd" in name else "sgd"))
    with pytest.raises(CheckpointError, match="moments are of the optimiser"):
        other.restore(state)


# ------------------------------------------------------------------------------------------ weights of losses


def some_observed(number: int, rng: np.random.Generator) -> Any:
    """Which entries of a batch of four windows of two frames are observed, and the batches of both sides."""
    observed = rng.random((4, 2, *GRID.resolution)) < 0.3
    return {side: replace(batch(side, number), generated=1, observed=observed) for side in SIDES}


def test_weighted_updates_agree_and_are_sums_of_their_parts(rng: np.random.Generator) -> None:
    """The loss by hand, from a rollout of the untrained surrogate."""
    weights = LossWeights(2.0, 0.25)
    batches = some_observed(1, rng)
    learners = {side: trainer(side) for side in SIDES}
    first = learners["legacy"]
    arrays_, given = first.model.arrays, batches["legacy"]
    first.model.training(True)
    with torch.no_grad():
        rollout = arrays_.numpy(first.model.rollout(given.initial, 2))
    error = np.mean((rollout[:, [0, 1, 3], 1:] - arrays_.numpy(given.targets)[:, [0, 1, 3]]) ** 2, axis=1)
    real, generated = (np.mean(error[k][given.observed[k]]) for k in (slice(3), slice(3, None)))
    losses = {side: float(learners[side].update(batches[side], weights)) for side in SIDES}
    expected = (2.0 * 3 * real + 0.25 * 1 * generated) / 4
    for side in SIDES:
        assert_equivalent(expected, losses[side], "loss")
    assert_equivalent(*(learners[s].gradients() for s in SIDES), "weight gradient")
    judged = [float(learners[side].loss(batches[side])) for side in SIDES]
    assert_equivalent(*judged, "network loss")


@pytest.mark.parametrize("side", SIDES)
def test_what_is_not_observed_does_not_matter(side: str, rng: np.random.Generator) -> None:
    given = some_observed(1, rng)[side]
    native = arrays_of(side, LAYOUT)
    targets = native.numpy(given.targets).copy()
    hidden = np.broadcast_to(~given.observed[:, np.newaxis], targets.shape)
    targets[hidden] += 7.0
    other = replace(given, targets=native.trajectory(targets))
    one, two = trainer(side), trainer(side)
    assert float(one.loss(given)) == float(two.loss(other))
    assert float(one.update(given)) == float(two.update(other))
    assert all(np.array_equal(w, two.weights()[n]) for n, w in one.weights().items())


@pytest.mark.parametrize("side", SIDES)
def test_weights_of_one_change_nothing(side: str) -> None:
    one, two = trainer(side), trainer(side)
    given = replace(batch(side, 1), generated=2)
    assert float(one.update(given)) == float(two.update(given, LossWeights()))
    assert all(np.array_equal(w, two.weights()[n]) for n, w in one.weights().items())
    assert float(one.update(given, LossWeights(1.0, 0.5))) != float(two.update(given))


# ------------------------------------------------------------------------------ trainers of the other side


def across(side: str, precision: str = "float64", *, batch_norm: bool = False, **options: Any) -> Any:
    """A trainer of one side, around a surrogate of the other one."""
    own = trainer(OTHER[side], precision, batch_norm=batch_norm).model
    model = adapt(own, side, lambda s: arrays_of(s, LAYOUT, precision))
    return implementation(side, "synthetic_trainer")(model, schedule=lambda epoch: 0.01, **options)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("side", SIDES)
def test_a_trainer_fits_a_surrogate_of_the_other_side(side: str, batch_norm: bool) -> None:
    """Statistics of a normalisation change in place between the steps of a rollout, in traces of one too."""
    own, other = trainer(side, batch_norm=batch_norm), across(side, batch_norm=batch_norm)
    for learner in (own, other):
        for number in range(3):
            learner.update(batch(side, number))
            learner.loss(batch(side, number))
    row = "updated weights with normalisation" if batch_norm else "updated weights"
    assert_equivalent(own.weights(), other.weights(), row)
    if batch_norm:
        seen = [w for n, w in other.weights().items() if "tracked" in n]
        assert seen
        assert all(w == 6 for w in seen)  # 3 updates of 2 steps


# --------------------------------------------------------------------------------------- mixed precision


def lowered_outcome(learner: Any, side: str) -> dict[str, Any]:
    """Losses and gradients of a first update, the loss after it, and a prediction from the same weights."""
    weights = learner.weights()
    initial = np.ascontiguousarray(arrays(7, 1)[:, :, 0])
    predicted = learner.model.predict(initial, 2)
    given = batch(side, 1, "float32")
    loss = float(learner.update(given))
    slopes, judged = learner.gradients(), float(learner.loss(given))
    # all together: those of biases in front of a normalisation are nothing but rounding
    gradients = np.concatenate([slopes[name].ravel() for name in sorted(slopes)])
    dtypes = {w.dtype for n, w in learner.weights().items() if "tracked" not in n}
    assert dtypes == {np.dtype(np.float32)}
    assert weights.keys() == learner.weights().keys()
    return {"losses": np.array([loss, judged]), "gradients": gradients, "predicted": predicted}


@pytest.mark.parametrize("batch_norm", [False, True])
def test_bf16_is_the_same_in_every_mixture_and_not_float32(batch_norm: bool) -> None:
    outcomes = {
        (side, kind, amp): lowered_outcome(make(side, "float32", batch_norm=batch_norm, amp=amp), side)
        for side in SIDES
        for kind, make in (("own", trainer), ("across", across))
        for amp in (None, "bf16")
    }
    expected = outcomes["legacy", "own", "bf16"]
    for side, kind in (("phiml", "own"), ("legacy", "across"), ("phiml", "across")):
        found = outcomes[side, kind, "bf16"]
        assert_equivalent(expected["losses"], found["losses"], "losses in bf16", precision="float32")
        assert_equivalent(expected["gradients"], found["gradients"], "gradients in bf16", precision="float32")
    for side in SIDES:
        for kind in ("own", "across"):
            full, low = (outcomes[side, kind, amp] for amp in (None, "bf16"))
            difference = np.abs(full["losses"] / low["losses"] - 1.0)
            assert 1e-6 < difference.max() < 0.05
            assert np.array_equal(full["predicted"], low["predicted"])  # a prediction is never lowered


@pytest.mark.parametrize("name", ["unet", "resnet", "convnet", "fno"])
@pytest.mark.parametrize("side", SIDES)
def test_every_network_computes_in_bf16_and_gives_float32(side: str, name: str) -> None:
    """Without a residual, which would make float32 of the sum in any case."""
    found = []
    for amp in (None, "bf16"):
        model = implementation(side, "synthetic_model", name)(
            LAYOUT,
            GRID,
            architecture={**ARCHITECTURES[name]},
            residual=False,
            seed=5,
            device="cpu",
            precision="float32",
        )
        learner = implementation(side, "synthetic_trainer")(model, amp=amp)
        given = batch(side, 1, "float32")
        with lowered(amp):
            made = model.arrays.numpy(model(given.initial))
        assert made.dtype == np.float32
        losses = [float(learner.update(given)), float(learner.loss(given))]
        found.append((made[:, [0, 1, 3]], np.array(losses)))
    (full, losses), (low, lowered_losses) = found
    assert 1e-4 < np.abs(full - low).max() / np.abs(full).max() < 0.03
    assert np.abs(lowered_losses / losses - 1.0).max() < 0.01


@pytest.mark.parametrize("side", SIDES)
def test_bf16_learns(side: str) -> None:
    full, low = (
        trainer(side, "float32", amp=amp).fit(Batches(side, "float32"), epochs=12).column("train_loss")
        for amp in (None, "bf16")
    )
    assert low[-1] < 0.85 * low[0]
    assert abs(low[-1] / full[-1] - 1.0) < 0.02


@pytest.mark.parametrize("side", SIDES)
def test_precisions_that_cannot_be_are_refused(side: str) -> None:
    with pytest.raises(ConfigError, match=r"fp16 needs a CUDA device.*bf16"):
        trainer(side, "float32", amp="fp16")
    with pytest.raises(ConfigError, match=r"trainer\.precision is float64"):
        trainer(side, "float64", amp="bf16")
    with pytest.raises(ConfigError, match="expected bf16, fp16 or null"):
        trainer(side, "float32", amp="fp8")


@pytest.mark.parametrize("side", SIDES)
def test_scaled_losses_give_the_same_steps_and_overflows_none(side: str) -> None:
    """What fp16 does on CUDA, with PyTorch's scaler for the CPU: a power of two rounds nothing."""
    plain, scaled = (trainer(side, "float32", amp="bf16", gradient_clipping=0.05) for _ in range(2))
    assert plain.state().facts["loss_scale"] == {}
    descent_of(scaled)._scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for number in range(3):
        given = batch(side, number, "float32")
        assert float(plain.update(given)) == float(scaled.update(given))
        assert float(plain.gradient_norm) == float(scaled.gradient_norm)
    before = scaled.weights()
    assert all(np.array_equal(w, before[n]) for n, w in plain.weights().items())
    scaled.put_loss_scale({**scaled.loss_scale(), "scale": 3e38})
    native, given = arrays_of(side, LAYOUT, "float32"), batch(side, 3, "float32")
    far = replace(given, targets=native.trajectory(1e4 * native.numpy(given.targets)))
    assert float(scaled.update(far)) == float(plain.update(far))
    assert all(np.array_equal(w, before[n]) for n, w in scaled.weights().items())  # left out
    fresh = trainer(side, "float32", amp="bf16")
    descent_of(fresh)._scaler = torch.amp.GradScaler("cpu")
    fresh.restore(scaled.state())
    assert fresh.loss_scale() == scaled.loss_scale()
    assert fresh.loss_scale()["scale"] == pytest.approx(1.5e38)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="fp16 needs a CUDA device, and there is none")
@pytest.mark.parametrize("side", SIDES)
def test_fp16_scales_losses_and_goes_on_with_the_scale(side: str) -> None:
    def on_cuda() -> Any:
        return trainer(side, "float32", device="cuda", amp="fp16", gradient_clipping=1e6)

    def given(number: int) -> Batch:
        native = arrays_of(side, LAYOUT, "float32", "cuda")
        return Batch(native.state(arrays(number, 1)[:, :, 0]), native.trajectory(arrays(number + 5, 2)), 4)

    whole, half = on_cuda(), on_cuda()
    full = trainer(side, "float32", device="cuda")
    expected, found = float(full.update(given(0))), float(whole.update(given(0)))
    assert abs(found / expected - 1.0) < 0.01
    top = max(np.abs(g).max() for g in full.gradients().values())
    assert all(np.abs(g - whole.gradients()[n]).max() < 0.05 * top for n, g in full.gradients().items())
    assert whole.state().facts["loss_scale"]["scale"] > 1.0
    whole.put_loss_scale({**whole.loss_scale(), "scale": 128.0})
    half.restore(whole.state())
    assert half.loss_scale() == whole.loss_scale()
    assert half.loss_scale()["scale"] == 128.0
