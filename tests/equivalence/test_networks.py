"""The networks of both sides: forward, backward, normalisation, periodicity, static fields."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from phiml import nn

from hyco.config.architectures import ARCHITECTURES
from hyco.interfaces import Batch
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import Grid
from hyco.testing import assert_equivalent
from tests.cases import layout_with_static, smooth_states
from tests.networks import NETWORKS
from tests.sides import SIDES, implementation, scope, taken

GRIDS = {
    1: Grid.of(x=(4.0, 16)),
    2: Grid.of(x=(4.0, 8), y=(3.0, 12)),
    3: Grid.of(x=(4.0, 4), y=(3.0, 8), z=(2.0, 12)),
}
names = pytest.mark.parametrize("name", NETWORKS)
ranks = pytest.mark.parametrize("rank", [1, 2, 3])
BATCH = 3


def velocity(grid: Grid) -> FieldLayout:
    """One vector field."""
    return FieldLayout((FieldSpec("velocity", vector=True),), grid.axes)


def network(side: str, name: str, grid: Grid, layout: FieldLayout | None = None, **options: Any) -> Any:
    """A small surrogate of one side."""
    architecture = {**NETWORKS[name].architecture, **options.pop("architecture", {})}
    settings: dict[str, Any] = {"device": "cpu", "precision": "float64", "seed": 7, **options}
    return implementation(side, "synthetic_model", name)(
        layout or velocity(grid), grid, architecture=architecture, **settings
    )


def both(name: str, grid: Grid, layout: FieldLayout | None = None, **options: Any) -> tuple[Any, Any]:
    """A surrogate of each side, with weights that none of them drew."""
    legacy, phiml = (network(side, name, grid, layout, **options) for side in SIDES)
    rng = np.random.default_rng(11)
    weights = {
        name: w + 0.1 * rng.standard_normal(w.shape).astype(w.dtype) if w.dtype.kind == "f" else w
        for name, w in legacy.weights().items()
    }
    weights |= {name: np.abs(w) + 0.5 for name, w in weights.items() if name.endswith("running_var")}
    legacy.assign(weights)
    phiml.assign(weights)
    return legacy, phiml


def stepped(model: Any, states: NDArray[Any], steps: int | None = None) -> Any:
    """A snapshot of one step, or of a rollout."""
    native = model.arrays.state(states)
    result = model(native) if steps is None else model.rollout(native, steps)
    return taken(result, model.arrays, model.layout)


@names
@ranks
@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "normalised"])
@pytest.mark.parametrize("periodic", [False, True], ids=["zeros", "periodic"])
def test_forward(name: str, rank: int, batch_norm: bool, periodic: bool, precision: str, device: str) -> None:
    grid = GRIDS[rank]
    options = {"batch_norm": batch_norm, "periodic": periodic}
    models = both(name, grid, architecture=options, precision=precision, device=device)
    states = smooth_states(velocity(grid), grid, BATCH)
    assert_equivalent(*(stepped(m, states) for m in models), "network")


@names
@pytest.mark.parametrize("activation", ["relu", "tanh", "silu", "gelu", "sigmoid"])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_every_activation_and_depth(name: str, activation: str, depth: int) -> None:
    grid = GRIDS[2]
    options = {"activation": activation, **NETWORKS[name].deeper[depth]}
    models = both(name, grid, architecture=options)
    states = smooth_states(velocity(grid), grid, BATCH)
    assert_equivalent(models[0].weights(), models[1].weights(), "network")
    assert_equivalent(*(stepped(m, states) for m in models), "network")


@names
def test_both_sides_have_as_many_parameters_as_the_layers_need(name: str) -> None:
    for side in SIDES:
        model = network(side, name, GRIDS[2])
        assert sum(w.size for w in model.weights().values()) == NETWORKS[name].parameters
        with scope(model.arrays):
            assert nn.parameter_count(model.network) == NETWORKS[name].parameters


@names
@pytest.mark.parametrize("side", SIDES)
def test_every_key_of_the_architecture_changes_the_network(side: str, name: str) -> None:
    common = {"batch_norm": (False, True), "activation": ("relu", "tanh"), "periodic": (True, False)}
    keys = {**common, **NETWORKS[name].changes}
    assert set(keys) == set(ARCHITECTURES[name].model_fields)
    grid = GRIDS[2]
    states = smooth_states(velocity(grid), grid, BATCH)
    for key, values in keys.items():
        uniform = {**NETWORKS[name].deeper[1]}
        first, second = (
            stepped(network(side, name, grid, architecture={**uniform, key: value}), states).values
            for value in values
        )
        assert np.abs(first - second).max() > 1e-9, key  # a fresh normalisation divides by sqrt(1 + 1e-5)


@names
@pytest.mark.parametrize("side", SIDES)
def test_an_axis_may_have_one_cell(side: str, name: str) -> None:
    """PyTorch wraps an axis of one cell around itself."""
    grid = Grid.of(x=(4.0, 1), y=(3.0, 4))
    model = network(side, name, grid, architecture=NETWORKS[name].deeper[0])
    assert np.all(np.isfinite(stepped(model, smooth_states(velocity(grid), grid, BATCH), 2).values))


@names
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("inputs", ["all", "dynamic"])
def test_static_fields_residuals_and_inputs(name: str, residual: bool, inputs: str) -> None:
    grid = GRIDS[2]
    layout = layout_with_static(grid.axes)
    states = smooth_states(layout, grid, BATCH)
    models = both(name, grid, layout, residual=residual, inputs=inputs)
    rollouts = [stepped(m, states, 4) for m in models]
    assert rollouts[0].names["field"] == ("velocity_x", "velocity_y", "height", "temperature")
    assert_equivalent(*rollouts, "network rollout")
    for rollout in rollouts:
        assert np.array_equal(rollout.values[:, 2], np.repeat(states[:, 2:3], 5, 1))


@names
@pytest.mark.parametrize("side", SIDES)
def test_what_the_network_sees_and_predicts(side: str, name: str) -> None:
    grid = GRIDS[2]
    layout = layout_with_static(grid.axes)
    states = smooth_states(layout, grid, 1)
    raised = states.copy()
    raised[:, 2] += 1.0  # the static height
    for inputs, sees in (("all", True), ("dynamic", False)):
        model = network(side, name, grid, layout, inputs=inputs)
        flat, high = (stepped(model, s).values for s in (states, raised))
        assert np.any(flat[:, [0, 1, 3]] != high[:, [0, 1, 3]]) == sees
    with_change, without = (network(side, name, grid, layout, residual=r) for r in (True, False))
    change = stepped(with_change, states).values - stepped(without, states).values
    assert np.abs(change[:, [0, 1, 3]] - states[:, [0, 1, 3]]).max() < 1e-14


@names
@pytest.mark.parametrize("side", SIDES)
@ranks
def test_shifting_the_input_by_whole_cells_shifts_the_output(side: str, rank: int, name: str) -> None:
    """By whole coarse cells, where the network has any."""
    grid = GRIDS[rank]
    states = smooth_states(velocity(grid), grid, BATCH)
    shift, space = NETWORKS[name].shift[:rank], tuple(range(2, 2 + rank))
    periodic = network(side, name, grid, architecture={"batch_norm": True})
    moved = stepped(periodic, np.roll(states, shift, space)).values
    assert_equivalent(np.roll(stepped(periodic, states).values, shift, space), moved, "shift of a network")
    padded = network(side, name, grid, architecture={"periodic": False})
    moved = stepped(padded, np.roll(states, shift, space)).values
    assert np.abs(np.roll(stepped(padded, states).values, shift, space) - moved).max() > 1e-3


@names
def test_one_seed_gives_both_sides_the_same_weights(name: str, precision: str) -> None:
    options: dict[str, Any] = {"precision": precision, "architecture": {"batch_norm": True}}
    first = [network(s, name, GRIDS[2], **options).weights() for s in SIDES]
    other = network("legacy", name, GRIDS[2], seed=8, **options).weights()
    assert list(first[0]) == list(first[1])
    for entry, weight in first[0].items():
        assert weight.dtype == first[1][entry].dtype
        assert np.array_equal(weight, first[1][entry]), entry
    assert any(not np.array_equal(w, other[entry]) for entry, w in first[0].items())


# ---------------------------------------------------------------------------------------------- backward


def windows(model: Any, steps: int, size: int = BATCH) -> Batch:
    """A batch of windows: smooth states, and others as their targets."""
    initial = smooth_states(model.layout, model.grid, size)
    targets = np.stack(
        [smooth_states(model.layout, model.grid, size, seed=n + 1) for n in range(steps)], axis=2
    )
    return Batch(model.arrays.state(initial), model.arrays.trajectory(targets), size)


def trainer_of(model: Any, **options: Any) -> Any:
    """The surrogate's trainer of the model's own side."""
    return implementation(model.mode, "synthetic_trainer")(model, **options)


def weight_gradients(model: Any) -> dict[str, NDArray[Any]]:
    """What the last update left behind.

    Biases that a later normalisation takes away are left out: their gradients are rounding.
    """
    gradients = {name: p.grad.cpu().numpy() for name, p in model.network.named_parameters()}
    norms = {name.rpartition(".")[0] for name in statistics(model)}
    idle = {f"{layer}.bias" for layer in NETWORKS[model.name].idle(norms)}
    largest = max(np.abs(g).max() for g in gradients.values())
    assert all(np.abs(gradients[name]).max() < 1e-6 * largest for name in idle)
    return {name: g for name, g in gradients.items() if name not in idle}


@names
@ranks
@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "normalised"])
def test_gradients_through_a_rollout(
    name: str, rank: int, batch_norm: bool, precision: str, device: str
) -> None:
    """Of two fields, since a normalisation takes away the scale of a single channel, and its gradient."""
    grid = GRIDS[rank]
    layout = FieldLayout((FieldSpec("velocity", vector=True), FieldSpec("temperature")), grid.axes)
    options = {"architecture": {"batch_norm": batch_norm, "activation": "tanh"}}
    gradients, losses = [], []
    for model in both(name, grid, layout, precision=precision, device=device, **options):
        losses.append(float(trainer_of(model).update(windows(model, 2))))
        gradients.append(weight_gradients(model))
    assert_equivalent(*losses, "network loss", precision=precision)
    assert_equivalent(*gradients, "weight gradient")


@names
def test_gradients_with_static_fields(name: str) -> None:
    grid = GRIDS[2]
    gradients = []
    for model in both(name, grid, layout_with_static(grid.axes)):
        trainer_of(model).update(windows(model, 3))
        gradients.append(weight_gradients(model))
    assert_equivalent(*gradients, "weight gradient")


@names
@pytest.mark.parametrize("side", SIDES)
def test_weight_gradients_are_those_of_central_differences(
    side: str, name: str, rng: np.random.Generator
) -> None:
    model = network(side, name, GRIDS[2], architecture={"activation": "tanh"})
    trainer, batch = trainer_of(model, schedule=lambda epoch: 1e-30), windows(model, 2)
    trainer.update(batch)
    gradients, weights = weight_gradients(model), model.weights()
    directions = {name: rng.standard_normal(w.shape) for name, w in weights.items()}

    def loss(step: float) -> float:
        model.assign({name: w + step * directions[name] for name, w in weights.items()})
        return float(trainer.loss(batch))

    h = 1e-6
    expected = (loss(h) - loss(-h)) / (2 * h)
    found = sum(float(np.sum(gradients[name] * d)) for name, d in directions.items())
    assert_equivalent(expected, found, "central differences of a network")


# ----------------------------------------------------------------------------------------- normalisation


def statistics(model: Any) -> dict[str, NDArray[Any]]:
    """Running means and variances, and how many batches they saw."""
    return {name: w for name, w in model.weights().items() if "running" in name or "tracked" in name}


@names
@ranks
def test_running_statistics_follow_the_batches_of_training_alone(
    name: str, rank: int, precision: str
) -> None:
    found = []
    for model in both(name, GRIDS[rank], architecture={"batch_norm": True}, precision=precision):
        trainer, before = (
            trainer_of(model, schedule=lambda epoch: 1e-30),
            statistics(model),
        )  # the weights stay
        batch = windows(model, 2)
        trainer.loss(batch)
        model.predict(smooth_states(model.layout, model.grid, 2), 2)
        assert before
        assert all(np.array_equal(w, before[entry]) for entry, w in statistics(model).items())
        for size in (BATCH, BATCH, 2):  # the last, smaller batch is compiled anew
            trainer.update(windows(model, 2, size))
        found.append(statistics(model))
        assert all(w == 6 for entry, w in found[-1].items() if "tracked" in entry)  # 3 updates of 2 steps
    assert_equivalent(*found, "running statistics")


@names
@pytest.mark.parametrize("side", SIDES)
def test_training_mode_uses_the_statistics_of_the_batch(side: str, name: str) -> None:
    model = network(side, name, GRIDS[2], architecture={"batch_norm": True})
    states = smooth_states(model.layout, model.grid, BATCH)
    at_rest = stepped(model, states).values
    model.training(True)
    learning = stepped(model, states).values
    model.training(False)
    assert np.abs(learning - at_rest).max() > 1e-3
