"""What every physical model promises, plain and behind an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hyco.errors import CheckpointError, ConfigError
from hyco.migration.registry import implementations
from hyco.testing.cases import BY_NAME, CASES, Case
from tests.sides import OTHER, SIDES, Seen, registered, taken

CASES_OF = {case.equation: [c for c in CASES if c.equation == case.equation] for case in CASES}
models = pytest.mark.parametrize("seen", registered("physical_model"), ids=str)
STEPS = 3


def case_of(seen: Seen) -> Case:
    """A case in the plane with coefficient fields."""
    return BY_NAME[f"{seen.name}-2d-field-periodic"]


def first(seen: Seen) -> str:
    """The equation's first parameter."""
    return case_of(seen).facts.parameters[0].name


def build(seen: Seen, precision: str = "float64", **changes: Any) -> Any:
    return seen.adapted(case_of(seen).model(seen.side, precision, **changes), precision)


def numpy_of(model: Any, tensor: Any) -> Any:
    return taken(tensor, model.arrays, model.layout).values


def states(model: Any, seen: Seen, batch: int = 2) -> Any:
    return model.arrays.state(case_of(seen).states(batch))


def test_every_equation_that_is_registered_has_cases_here() -> None:
    assert set(implementations("physical_model")) == set(CASES_OF)


@models
def test_it_says_what_it_is(seen: Seen) -> None:
    model, case = build(seen), case_of(seen)
    assert model.mode == seen.through
    assert model.name == seen.name
    assert model.grid == case.grid
    assert model.layout == case.layout
    assert model.dt == case.dt
    assert model.suffix == {"legacy": ".pth", "phiml": ".phiml"}[seen.side]


@models
def test_states_have_the_dims_and_names_of_the_layout(seen: Seen) -> None:
    model, case = build(seen), case_of(seen)
    initial = model.initial_state(3, rng=np.random.default_rng(0))
    state = taken(initial, model.arrays, model.layout)
    assert state.dims == ("batch", "field", "x", "y")
    assert state.names == {"field": case.layout.components}
    components = len(case.layout.components)
    assert state.values.shape == (3, components, *case.grid.resolution)
    step = taken(model.step(initial), model.arrays, model.layout)
    assert (step.dims, step.names, step.values.shape) == (state.dims, state.names, state.values.shape)
    rollout = taken(model.rollout(initial, STEPS), model.arrays, model.layout)
    assert rollout.dims == ("batch", "field", "time", "x", "y")
    assert rollout.names == state.names
    assert rollout.values.shape == (3, components, STEPS + 1, *case.grid.resolution)


@models
def test_initial_states_follow_the_generator(seen: Seen) -> None:
    model = build(seen)
    first, again, other = (
        numpy_of(model, model.initial_state(2, rng=np.random.default_rng(s))) for s in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@models
def test_a_rollout_is_its_initial_state_and_one_step_after_the_other(seen: Seen) -> None:
    model = build(seen)
    state = states(model, seen)
    rollout = numpy_of(model, model.rollout(state, STEPS))
    assert np.array_equal(rollout[:, :, 0], case_of(seen).states(2))
    for frame in range(1, STEPS + 1):
        state = model.step(state)
        assert np.array_equal(rollout[:, :, frame], numpy_of(model, state))
    assert np.array_equal(rollout, model.predict(case_of(seen).states(2), STEPS))


@models
def test_no_steps_give_the_initial_state_alone(seen: Seen) -> None:
    assert np.array_equal(build(seen).predict(case_of(seen).states(2), 0)[:, :, 0], case_of(seen).states(2))


@models
def test_a_step_leaves_its_input_alone(seen: Seen) -> None:
    model = build(seen)
    state = states(model, seen)
    before = numpy_of(model, state).copy()
    model.step(state)
    model.rollout(state, 2)
    assert np.array_equal(numpy_of(model, state), before)


@models
def test_members_of_a_batch_do_not_see_each_other(seen: Seen) -> None:
    model, together = build(seen), case_of(seen).states(3)
    alone = np.concatenate([model.predict(together[i : i + 1], STEPS) for i in range(3)])
    assert np.abs(model.predict(together, STEPS) - alone).max() < 1e-14


@models
def test_computation_is_in_the_precision_asked_for(seen: Seen, precision: str) -> None:
    model = build(seen, precision)
    assert model.predict(case_of(seen).states(1), 1).dtype == precision
    for value in model.parameters.values():
        assert numpy_of(model, value).dtype == precision
    other = {"float32": np.float64, "float64": np.float32}[precision]
    assert model.predict(case_of(seen).states(1).astype(other), 1).dtype == precision


@models
def test_parameters_given_to_a_step_replace_those_in_force_for_that_step(seen: Seen) -> None:
    model, case = build(seen), case_of(seen)
    changed = {name: 0.3 * np.asarray(v) for name, v in case.parameters().items()}
    native = {name: model.arrays.parameter(v) for name, v in changed.items()}
    state = states(model, seen)
    plain, given = numpy_of(model, model.step(state)), numpy_of(model, model.step(state, native))
    assert np.abs(plain - given).max() > 1e-4
    assert np.array_equal(numpy_of(model, model.step(state)), plain)
    assert np.array_equal(numpy_of(model, model.rollout(state, 1, native))[:, :, 1], given)
    model.assign(changed)
    assert np.array_equal(numpy_of(model, model.step(state)), given)


@models
def test_the_parameters_handed_out_are_not_the_models_own(seen: Seen) -> None:
    model = build(seen)
    model.parameters.clear()
    assert set(model.parameters) == set(case_of(seen).parameters())


@models
def test_assigned_values_come_back(seen: Seen) -> None:
    model, case = build(seen), case_of(seen)
    for spec in case.facts.parameters:
        half = 0.5 * np.asarray(case.value(spec.name))
        for value in (half, half.min()) if "scalar" in spec.kinds else (half,):
            model.assign({spec.name: value})
            found = taken(model.parameters[spec.name], model.arrays, model.layout)
            assert found.dims == ("x", "y")[: np.ndim(value)]
            assert np.array_equal(found.values, value)
        assert model.bounds(spec.name) == (spec.lower, case.limit if spec.diffusive else np.inf)


def values_that_cannot_be(name: str) -> list[tuple[str, Any, str]]:
    """Bad values of an equation's parameters, and what is said of them."""
    case = BY_NAME[f"{name}-2d-field-periodic"]
    bad: list[tuple[str, Any, str]] = []
    for spec in case.facts.parameters:
        bad.append((spec.name, np.zeros((3, 3)), r"one value per cell \(12, 10\), got shape \(3, 3\)"))
        bad.append((spec.name, np.full((12, 10), np.nan), "must be finite"))
        if "scalar" not in spec.kinds:
            bad.append((spec.name, 0.1, "must be a field"))
        if np.isfinite(spec.lower):
            bad.append((spec.name, np.full((12, 10), spec.lower - 0.1), "must be at least"))
        if spec.diffusive:
            bad.append((spec.name, 1e3, "unstable.*substeps"))
    longest = max((p.name for p in case.facts.parameters), key=len)
    typo = longest[:-1] + "_"
    return [*bad, (typo, 0.1, f"has no parameter '{typo}'. Did you mean '{longest}'?")]


@models
def test_values_that_cannot_be_are_refused_and_change_nothing(seen: Seen) -> None:
    model = build(seen)
    before = {name: numpy_of(model, p).copy() for name, p in model.parameters.items()}
    for name, value, says in values_that_cannot_be(seen.name):
        with pytest.raises(ConfigError, match=says):
            model.assign({name: value})
    assert all(np.array_equal(numpy_of(model, p), before[name]) for name, p in model.parameters.items())


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", implementations("physical_model"))
def test_a_model_without_its_parameters_is_refused(side: str, name: str) -> None:
    case = CASES_OF[name][0]
    cls = type(case.model(side))
    with pytest.raises(ConfigError, match=f"needs the parameter '{min(case.parameters())}'"):
        cls(case.grid, case.dt, {})
    with pytest.raises(ValueError, match="no field pressure"):
        cls(case.grid, case.dt, case.parameters(), boundaries={"pressure": "zero"})


# ------------------------------------------------------------------------------------------- checkpoints


@models
def test_what_was_saved_is_loaded(seen: Seen, tmp_path: Path, precision: str) -> None:
    saved, loaded, case = build(seen, precision), build(seen, precision), case_of(seen)
    saved.assign({name: 0.37 * np.asarray(v) for name, v in case.parameters().items()})
    path = tmp_path / f"model{saved.suffix}"
    saved.save(path)
    before = path.read_bytes()
    loaded.load(path)
    for name in saved.parameters:
        a, b = (numpy_of(m, m.parameters[name]) for m in (saved, loaded))
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)
    assert np.array_equal(*(m.predict(case.states(1), 2) for m in (saved, loaded)))
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@models
def test_a_checkpoint_of_another_shape_is_refused_by_name(seen: Seen, tmp_path: Path) -> None:
    model, case = build(seen), case_of(seen)
    other = Case(case.equation, (6, 8), "field", case.boundary).model(seen.side)
    path = tmp_path / f"other{model.suffix}"
    other.save(path)
    name = first(seen)
    before = numpy_of(model, model.parameters[name]).copy()
    with pytest.raises(CheckpointError, match=rf"{name}: expected shape \(12, 10\), found \(6, 8\)"):
        model.load(path)
    assert np.array_equal(numpy_of(model, model.parameters[name]), before)


@models
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "text"])
def test_a_damaged_or_missing_checkpoint_is_refused(seen: Seen, tmp_path: Path, damage: str) -> None:
    model = build(seen)
    path = tmp_path / f"model{model.suffix}"
    if damage != "missing":
        model.save(path)
        whole = path.read_bytes()
        path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "text": b"hello " * 50}[damage])
    with pytest.raises(CheckpointError, match=rf"model\{model.suffix}"):
        model.load(path)


@pytest.mark.parametrize("side", SIDES)
def test_a_checkpoint_of_the_other_side_is_refused(side: str, tmp_path: Path) -> None:
    case = CASES[0]
    path = tmp_path / "model"
    case.model(OTHER[side]).save(path)
    with pytest.raises(CheckpointError, match="not a readable"):
        case.model(side).load(path)
