"""What every surrogate promises, plain and behind an adapter."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from hyco.config.architectures import ARCHITECTURES
from hyco.errors import CheckpointError, ConfigError
from hyco.migration.registry import implementations
from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid
from tests.cases import layout_with_static, smooth_states
from tests.networks import NETWORKS
from tests.sides import SIDES, Seen, implementation, registered, taken

GRID = Grid.of(x=(4.0, 8), y=(3.0, 12))
LAYOUT = layout_with_static(GRID.axes)
models = pytest.mark.parametrize("seen", registered("synthetic_model"), ids=str)
names = pytest.mark.parametrize("name", implementations("synthetic_model"))
STEPS = 3


def plain(side: str, name: str, grid: Grid = GRID, layout: FieldLayout = LAYOUT, **options: Any) -> Any:
    settings: dict[str, Any] = {
        "device": "cpu",
        "precision": "float64",
        **options,
        "architecture": {**NETWORKS[name].architecture, **options.get("architecture", {})},
    }
    return implementation(side, "synthetic_model", name)(layout, grid, **settings)


def build(seen: Seen, precision: str = "float64", **options: Any) -> Any:
    return seen.adapted(plain(seen.side, seen.name, precision=precision, **options), precision)


def states(batch: int = 2) -> NDArray[np.float64]:
    return smooth_states(LAYOUT, GRID, batch)


def numpy_of(model: Any, tensor: Any) -> NDArray[Any]:
    return taken(tensor, model.arrays, model.layout).values


def test_every_network_that_is_registered_is_configured_and_tested() -> None:
    registered_names = implementations("synthetic_model")
    assert registered_names == sorted(ARCHITECTURES) == sorted(NETWORKS)


@pytest.mark.parametrize("side", SIDES)
@names
def test_a_configuration_knows_the_keys_of_the_network_and_their_defaults(side: str, name: str) -> None:
    build = inspect.signature(implementation(side, "synthetic_model", name).build)
    keys = {p.name: p.default for p in build.parameters.values() if p.kind is p.KEYWORD_ONLY}
    assert keys == ARCHITECTURES[name]().model_dump()
    assert list(keys) == list(ARCHITECTURES[name].model_fields)


@models
def test_it_says_what_it_is(seen: Seen) -> None:
    model = build(seen)
    assert (model.mode, model.name, model.grid, model.layout) == (seen.through, seen.name, GRID, LAYOUT)
    assert model.suffix == {"legacy": ".pth", "phiml": ".phiml"}[seen.side]


@models
def test_a_step_and_a_rollout_have_the_dims_and_names_of_the_layout(seen: Seen, precision: str) -> None:
    model = build(seen, precision)
    initial = model.arrays.state(states())
    step = taken(model(initial), model.arrays, model.layout)
    rollout = taken(model.rollout(initial, STEPS), model.arrays, model.layout)
    assert step.dims == ("batch", "field", "x", "y")
    assert step.values.shape == (2, 4, 8, 12)
    assert rollout.dims == ("batch", "field", "time", "x", "y")
    assert rollout.values.shape == (
        2,
        4,
        STEPS + 1,
        8,
        12,
    )
    assert step.names == rollout.names == {"field": LAYOUT.components}
    assert step.values.dtype == rollout.values.dtype == precision


@models
def test_a_rollout_is_its_initial_state_and_one_step_after_the_other(seen: Seen) -> None:
    model = build(seen)
    state = model.arrays.state(states())
    rollout = numpy_of(model, model.rollout(state, STEPS))
    assert np.array_equal(rollout[:, :, 0], states())
    for frame in range(1, STEPS + 1):
        state = model(state)
        assert np.abs(rollout[:, :, frame] - numpy_of(model, state)).max() < 1e-14
    assert np.array_equal(rollout, model.predict(states(), STEPS))
    assert np.abs(np.diff(rollout[:, [0, 1, 3]], axis=2)).min(axis=(0, 1, 3, 4)).max() > 0.0


@models
def test_static_fields_pass_through_bit_for_bit(seen: Seen, precision: str) -> None:
    model = build(seen, precision)
    rollout = model.predict(states(), STEPS)
    assert np.array_equal(rollout[:, 2], np.repeat(states()[:, 2:3], STEPS + 1, 1).astype(precision))


@models
def test_a_step_leaves_its_input_alone(seen: Seen) -> None:
    model = build(seen)
    state = model.arrays.state(states())
    model(state)
    model.rollout(state, 2)
    assert np.array_equal(numpy_of(model, state), states())


@models
def test_weights_come_out_as_copies_and_go_in_whole(seen: Seen) -> None:
    first, second = build(seen, seed=1), build(seen, seed=2)
    weights = first.weights()
    before = first.predict(states(), 1)
    assert not np.array_equal(second.predict(states(), 1), before)
    second.assign(weights)
    assert np.array_equal(second.predict(states(), 1), before)
    for array in weights.values():
        array += 1.0
    assert np.array_equal(first.predict(states(), 1), before)
    assert np.array_equal(second.predict(states(), 1), before)


@models
def test_one_seed_makes_one_network(seen: Seen) -> None:
    first, again, other = (build(seen, seed=s).weights() for s in (3, 3, 4))
    assert all(np.array_equal(first[n], again[n]) for n in first)
    assert any(not np.array_equal(first[n], other[n]) for n in first)


def misfits(weights: dict[str, NDArray[Any]]) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Weights with one entry missing, one too many, one misshapen, one not finite; and what must be said."""
    first, second, third = list(weights)[:3]
    bad = {name: w for name, w in weights.items() if name != first}
    bad["extra.weight"] = np.zeros(2)
    bad[second] = np.zeros((5, 5))
    bad[third] = np.full_like(weights[third], np.inf)
    shape = weights[second].shape
    says = [f"missing {first}", "unexpected extra.weight", f"{second}: expected shape {shape}, found (5, 5)"]
    return bad, [*says, f"{third}: not finite"]


@models
def test_weights_that_do_not_fit_are_all_named_and_none_is_taken(seen: Seen) -> None:
    model = build(seen)
    before = model.weights()
    bad, says = misfits(before)
    with pytest.raises(CheckpointError) as caught:
        model.assign(bad)
    assert all(text in str(caught.value) for text in says)
    assert all(np.array_equal(before[n], w) for n, w in model.weights().items())


@models
@pytest.mark.parametrize("batch_norm", [False, True])
def test_what_was_saved_is_loaded(seen: Seen, tmp_path: Path, precision: str, batch_norm: bool) -> None:
    options = {"architecture": {"batch_norm": batch_norm}}
    first, second = (build(seen, precision, seed=s, **options) for s in (1, 2))
    path = tmp_path / f"network{first.suffix}"
    first.save(path)
    second.load(path)
    expected, found = first.weights(), second.weights()
    assert list(expected) == list(found)
    assert all(
        expected[n].dtype == found[n].dtype and np.array_equal(expected[n], found[n]) for n in expected
    )
    assert np.array_equal(first.predict(states(), 2), second.predict(states(), 2))


@models
def test_a_checkpoint_of_another_network_is_refused_with_every_entry_named(
    seen: Seen, tmp_path: Path
) -> None:
    model = build(seen)
    larger = build(seen, architecture=NETWORKS[seen.name].larger)
    path = tmp_path / f"network{model.suffix}"
    larger.save(path)
    before = model.weights()
    with pytest.raises(CheckpointError) as caught:
        model.load(path)
    expected, found = before, larger.weights()
    extra = set(found) - set(expected)
    other = {name for name in set(expected) & set(found) if expected[name].shape != found[name].shape}
    assert extra
    assert other
    assert all(f"unexpected {name}" in str(caught.value) for name in extra)
    assert all(f"{name}: expected shape" in str(caught.value) for name in other)
    assert all(np.array_equal(before[n], w) for n, w in model.weights().items())


@models
def test_a_checkpoint_of_something_else_is_refused(seen: Seen, tmp_path: Path) -> None:
    from hyco.testing.cases import BY_NAME

    model = build(seen)
    path = tmp_path / f"physical{model.suffix}"
    BY_NAME["burgers-1d-field-periodic"].model(seen.side).save(path)
    with pytest.raises(
        CheckpointError, match=f"of a {seen.name} network, found one of a burgers physical model"
    ):
        model.load(path)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        model.load(tmp_path / f"none{model.suffix}")


@models
def test_predicting_leaves_training_mode_and_the_network_as_it_was(seen: Seen) -> None:
    model = build(seen, architecture={"batch_norm": True})
    resting = model.predict(states(), 1)
    before = model.weights()
    model.training(True)
    assert np.array_equal(model.predict(states(), 1), resting)
    assert all(np.array_equal(before[n], w) for n, w in model.weights().items())


@pytest.mark.parametrize("side", SIDES)
@names
def test_what_cannot_be_built_is_refused_and_so_it_is_in_a_configuration(side: str, name: str) -> None:
    grid = Grid.of(x=(4.0, 8), y=(3.0, 10))
    for architecture, says in NETWORKS[name].refused:
        with pytest.raises(ConfigError, match=says):
            plain(side, name, grid, architecture=architecture)
        with pytest.raises((ConfigError, ValidationError)):
            ARCHITECTURES[name].model_validate(architecture).check_grid(grid)


@pytest.mark.parametrize("side", SIDES)
@names
def test_a_key_of_another_network_is_refused(side: str, name: str) -> None:
    with pytest.raises(TypeError, match="heads"):
        plain(side, name, architecture={"heads": 2})
