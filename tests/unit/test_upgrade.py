"""Configurations of the original load as they are, with every change noted; what would mislead is refused."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from hyco.compat.configs import convert_config
from hyco.config import Config, load_config, parse_config, shipped_configs
from hyco.config.optimisation import LinearCurriculum, PowerCurriculum, StepCurriculum
from hyco.config.upgrade import is_original, table, upgrade
from hyco.config.yaml_text import parse_yaml
from hyco.errors import ConfigError
from hyco.problem.equations import EQUATIONS
from hyco.problem.expressions import evaluate

ORIGINALS = Path(__file__).parents[1] / "data" / "hyco-phiflow"
FILES = {"first": ORIGINALS / "v1-burgers/config.yaml", "second": ORIGINALS / "v2-burgers-2d/config.yaml"}

WEIGHTS = "trainer__hybrid__loss_scaling"


def old(schema: str, **changes: Any) -> dict[str, Any]:
    """The settings of an original file, with changes at dotted paths (`__` for the dot; None removes)."""
    settings = parse_yaml(FILES[schema].read_text(), "old.yaml")
    for path, value in changes.items():
        *parts, key = path.split("__")
        block = settings
        for part in parts:
            block = block.setdefault(part, {})
        if value is None:
            block.pop(key, None)
        else:
            block[key] = value
    return dict(settings)


def upgraded(schema: str, **changes: Any) -> Config:
    return parse_config(upgrade(old(schema, **changes), "old.yaml")[0], "old.yaml")


def notes(schema: str, **changes: Any) -> str:
    return table(upgrade(old(schema, **changes), "old.yaml")[1])


def refusal(schema: str, **changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(upgrade(old(schema, **changes), "old.yaml")[0], "old.yaml")
    text = str(caught.value)
    assert text.startswith("old.yaml: ") and "\n" not in text
    return text


# --- what the two files mean


def test_the_first_schema() -> None:
    config = load_config(FILES["first"])
    physical, synthetic, trainer = config.model.physical, config.model.synthetic, config.trainer
    assert (physical.name, physical.dt, physical.substeps) == ("burgers", 0.5, 5)
    assert config.grid.size == (100.0, 100.0) and config.grid.resolution == (32, 32)
    values = config.true_parameters()["diffusion_coeff"]
    assert np.array_equal(values, evaluate("0.05*(x/size_x + y/size_y)**3", config.grid))
    assert synthetic.name == "unet" and not synthetic.residual and synthetic.inputs == "all"
    assert synthetic.architecture.model_dump() == {
        "levels": 2, "filters": 8, "batch_norm": True, "activation": "relu", "periodic": False,
    }  # fmt: skip
    assert config.data.fields_scheme is not None and config.data.fields_scheme.dynamic == ("velocity",)
    assert trainer.rollout_steps == 5 and trainer.batch_size == 8
    assert (trainer.train_sim, trainer.val_sim, config.evaluation.test_sim) == ((0, 1), (), (0,))
    solve = trainer.physical.solve
    assert (solve.method, solve.abs_tol, solve.rel_tol, solve.max_iterations) == ("L-BFGS-B", 1e-4, 1e-6, 5)
    assert config.observed() is None and trainer.synthetic.curriculum is None
    assert config.learnable == ("diffusion_coeff",)
    assert config.initial_parameters()["diffusion_coeff"].min() == 0.01  # type: ignore[union-attr]
    assert trainer.hybrid.augmentation.alpha == 1.0 and trainer.hybrid.augmentation.num_trajectories == 1
    assert config.evaluation.on_training_data


def test_the_second_schema() -> None:
    config = load_config(FILES["second"])
    physical, trainer = config.model.physical, config.trainer
    assert (physical.name, physical.dt, physical.substeps) == ("burgers", 0.1, 1)
    assert config.grid.resolution == (64, 64)
    x, y = np.meshgrid(config.grid.centres("x"), config.grid.centres("y"), indexing="ij")
    expected = np.sin(np.pi * x / 100) ** 2 * np.sin(np.pi * y / 100) ** 2
    assert np.allclose(config.true_parameters()["diffusion_coeff"], expected)
    assert config.model.synthetic.architecture.model_dump() == {
        "levels": 4, "filters": 8, "batch_norm": False, "activation": "relu", "periodic": False,
    }  # fmt: skip
    assert trainer.rollout_steps == 6 and trainer.physical.solve.abs_tol == 1e-12
    assert trainer.physical.smoothness == 0.5e-12 and trainer.physical.total_variation == 0.0
    assert trainer.hybrid.loss_scaling.model_dump() == {
        "synthetic": {"real_weight": 1.0, "interaction_weight": 1.0, "proportional": False},
        "physical": {"real_weight": 1.0, "interaction_weight": 0.001, "proportional": False},
    }
    assert trainer.synthetic.curriculum == PowerCurriculum(start=2, end=5, exponent=2.0)
    assert config.observed() is None
    assert config.learnable == ("diffusion_coeff",)
    augmentation = trainer.hybrid.augmentation
    assert (augmentation.alpha, augmentation.num_trajectories, augmentation.trajectory_length) == (0.2, 6, 10)
    assert config.evaluation.num_frames == 20 and config.evaluation.on_training_data


@pytest.mark.parametrize("schema", FILES)
def test_every_key_of_the_file_is_kept_or_noted(schema: str) -> None:
    """No key disappears in silence: it means the same as before, or a note names it."""
    before = old(schema)
    after, changes = upgrade(before, "old.yaml")
    told = " ".join(note.old for note in changes)
    for path, value in leaves(before):
        kept = at(after, path) == value
        named = any(".".join(path[:n]) in told for n in range(2, len(path) + 1))
        named = named or any(part in told for part in path if len(part) > 7)
        assert kept or named, f"{'.'.join(path)} has gone in silence"


@pytest.mark.parametrize("schema", FILES)
def test_every_new_value_is_noted(schema: str) -> None:
    before = old(schema)
    after, changes = upgrade(before, "old.yaml")
    told = " ".join(f"{note.old} {note.new}" for note in changes)
    for path, value in leaves(after):
        if at(before, path) != value:
            assert path[-1] in told or path[-2] in told, f"{'.'.join(path)} is new, and no note says so"


def leaves(block: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if isinstance(block, Mapping) and block:
        return [leaf for key, inner in block.items() for leaf in leaves(inner, (*path, str(key)))]
    return [(path, block)]


def at(block: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        block = block.get(key) if isinstance(block, Mapping) else None
    return block


@pytest.mark.parametrize("schema", FILES)
def test_upgrading_changes_nothing_but_its_result(schema: str) -> None:
    settings = old(schema)
    before = copy.deepcopy(settings)
    upgrade(settings)
    assert settings == before


@pytest.mark.parametrize("schema", FILES)
def test_what_was_upgraded_is_no_original_any_more(schema: str) -> None:
    assert is_original(old(schema))
    assert not is_original(upgrade(old(schema))[0])


def test_the_shipped_configurations_are_no_originals() -> None:
    for path in shipped_configs().values():
        assert not is_original(parse_yaml(path.read_text(), "shipped"))


# --- how it is told


@pytest.mark.parametrize("schema", FILES)
def test_loading_logs_every_change_once(schema: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "hyco.config"):
        load_config(FILES[schema])
    assert len(caplog.records) == 1
    text = caplog.text
    assert "upgraded in memory" in text and "model.physical.name: BurgersModel -> burgers" in text
    assert table(upgrade(old(schema))[1]) in text
    caplog.clear()
    with caplog.at_level(logging.INFO, "hyco.config"):
        load_config("burgers")
    assert not caplog.records


def test_overrides_are_in_the_new_keys() -> None:
    config = load_config(FILES["first"], ["model.physical.domain.x.resolution=16", "trainer.rollout_steps=3"])
    assert config.grid.resolution == (16, 32) and config.trainer.rollout_steps == 3


def test_what_changed_its_meaning_is_said() -> None:
    first, second = notes("first"), notes("second")
    assert "trainer.rollout_steps: 4 -> 5 (hyco counts the initial frame too)" in first
    assert "model.synthetic.architecture.batch_norm, not given -> true (the original's default)" in first
    assert "num_trajectories: 1 (it was the share of generated windows" in first
    assert "diffusion_field" in second and "-> model.physical.parameters.diffusion_coeff" in second
    assert "downsample_factor: 1 -> not followed: the physical model works on the whole grid" in second
    assert (
        "rollout_scheduler: {start: 1, end: 4, strategy: exponential, exponent: 2} -> trainer.synthetic."
        in second
    )
    assert (
        "curriculum: {start: 2, end: 5, strategy: power, exponent: 2} (hyco counts the initial frame"
        in second
    )
    assert "loss_scaling.physical: {real_weight: 1, interaction_weight: 0.001} -> of one window" in second
    assert "loss_scaling.synthetic" not in second
    assert "sparsity -> what is left of it is switched off" in second
    assert "evaluation.num_frames: 100 -> 20" in second
    assert "evaluation.on_training_data, not given -> true" in second
    assert len(second.splitlines()) <= 30


# --- single rules


def test_numbers_that_a_reader_took_for_text() -> None:
    """PyYAML alone reads 1e-12 as text."""
    settings = yaml.safe_load(FILES["second"].read_text())
    assert settings["trainer"]["physical"]["abs_tol"] == "1e-12"
    config = parse_config(upgrade(settings)[0])
    assert config.trainer.physical.solve.abs_tol == 1e-12 and config.trainer.physical.smoothness == 0.5e-12


def test_the_coefficient_is_cut_where_the_original_cut_it() -> None:
    """At 0.5 dx^2 / dt, and at 0, in the first schema."""
    config = upgraded("first", model__physical__pde_params__value="40*x/size_x - 5")
    values, limit = config.true_parameters()["diffusion_coeff"], 0.5 * 3.125**2 / 0.5
    expected = np.clip(evaluate("40*x/size_x - 5", config.grid), 0.0, limit)
    assert np.array_equal(values, expected) and expected.max() == limit and expected.min() == 0.0
    assert "cut as in the original" in notes("first", model__physical__pde_params__value="40*x/size_x - 5")
    assert "cut as in the original" not in notes("first")


def test_the_second_schema_takes_as_many_substeps_as_are_stable() -> None:
    config = upgraded("second", model__physical__pde_params__value="20")
    assert config.model.physical.substeps == 4


@pytest.mark.parametrize(
    ("name", "equation"),
    [("HeatModel", "heat"), ("AdvectionModel", "advection"), ("InviscidBurgersModel", "inviscid_burgers")],
)
def test_other_equations(name: str, equation: str) -> None:
    kind = "scalar" if equation == "advection" else "field"
    value = "0.2" if kind == "scalar" else "0.1*x"
    config = upgraded(
        "second",
        model__physical__name=name,
        model__physical__pde_params={"name": "anything", "type": kind, "value": value},
    )
    assert config.equation is EQUATIONS[equation]
    assert tuple(config.true_parameters()) == tuple(p.name for p in EQUATIONS[equation].parameters)


def test_letters_of_dynamic_and_static_channels() -> None:
    config = upgraded(
        "first",
        model__physical__name="AdvectionModel",
        model__physical__pde_params={"name": "advection_coeff", "type": "scalar", "value": 1.0},
        data__fields=["density", "velocity"],
        data__fields_scheme="dvv",
        data__fields_type="DSS",
        trainer__physical__learnable_parameters=[
            {"name": "advection_coeff", "type": "scalar", "initial_guess": 2}
        ],
    )
    scheme = config.data.fields_scheme
    assert scheme is not None and (scheme.dynamic, scheme.static) == (("density",), ("velocity",))


def test_a_list_of_static_components_must_be_the_equations() -> None:
    advection = {
        "model__physical__name": "AdvectionModel",
        "model__physical__pde_params": {"name": "advection_coeff", "type": "scalar", "value": "0.2"},
    }
    assert upgraded("second", **advection, model__synthetic__static_fields=["vel_x", "vel_y"])
    assert "static components of advection are velocity_x, velocity_y" in refusal(
        "second", **advection, model__synthetic__static_fields=["density"]
    )


def test_synthetic_training_learns_no_parameter() -> None:
    assert upgraded("second", general__mode="synthetic").learnable == ()


def test_the_share_of_generated_windows_becomes_a_number_of_trajectories() -> None:
    for alpha, number in ((0.0, 1), (0.2, 1), (0.5, 1), (1.0, 2), (3.2, 7)):
        hybrid = upgraded("first", trainer__hybrid__augmentation={"alpha": alpha}).trainer.hybrid
        assert (hybrid.augmentation.alpha, hybrid.augmentation.num_trajectories) == (1.0, number), alpha


def test_epochs_of_warm_up_become_rounds() -> None:
    for epochs, warmup, rounds in ((2, 1, 1), (2, 5, 3), (1, 4, 4), (5, 0, 0)):
        config = upgraded("first", trainer__synthetic__epochs=epochs, trainer__hybrid__warmup=warmup)
        assert config.trainer.hybrid.warmup == rounds


def test_simulations_that_do_not_overlap_need_no_permission() -> None:
    config = upgraded("second", trainer__train_sim=[0, 1], evaluation__test_sim=[2, 3])
    assert not config.evaluation.on_training_data and config.trainer.val_sim == ()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sparsity__temporal": {"enabled": True, "mode": "gaps"}}, "temporal.mode: expected one of"),
        ({"sparsity__spatial": {"enabled": True, "mode": 3}}, "sparsity.spatial.mode: expected one of"),
        ({"sparsity__spatial": {"enabled": True, "mode": "range", "x_range": [0.5, 0.2]}},
         "expected [least, greatest] with least < greatest"),
        ({"sparsity__temporal": {"enabled": True, "mode": "custom"}}, "observations.time"),
        ({f"{WEIGHTS}__physical__real_weight": -1.0}, "loss_scaling.physical.real_weight"),
        ({"trainer__synthetic__rollout_scheduler__strategy": "cosine"},
         "rollout_scheduler.strategy: expected one of linear, exponential, step, got 'cosine'"),
        ({"trainer__synthetic__rollout_scheduler__length": 3}, "unknown key 'length'"),
        ({"trainer__synthetic__rollout_scheduler__end": 40},
         "trainer.synthetic.curriculum.end: a window of 41 frames"),
        ({"trainer__data_access": "synthetic_only"}, "trainer.data_access: in hyco both models see the data"),
        ({"trainer__physical__regularization__type": "laplacian"}, "hyco has l2_gradient"),
        ({"model__physical__name": "SmokePlumeModel"}, "not with 'SmokePlumeModel'"),
        ({"model__physical__modulation": {"enabled": True}}, "unknown key 'modulation'"),
        ({"trainer__synthetic__epoch": 3}, "unknown key 'epoch'. Did you mean 'epochs'"),
        ({"model__physical__pde_params__value": "__import__('os')"}, "is not allowed"),
        ({"model__physical__domain__dimensions": 3}, "model.physical.domain"),
        ({"trainer__rollout_steps": "five"}, "trainer.rollout_steps: expected a whole number"),
        ({"evaluation__test_sim": "all"}, "evaluation.test_sim: expected a list"),
    ],
)  # fmt: skip
def test_what_would_change_results_is_refused(changes: dict[str, Any], expected: str) -> None:
    assert expected in refusal("second", **changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"data__fields_type": "DS"}, "expected D or S for all channels of 'velocity', got D, S"),
        ({"data__fields_type": "D"}, "expected one letter per channel"),
        ({"trainer__physical__learnable_parameters": [{"name": "d", "type": "scalar", "initial_guess": 1}]},
         "a parameter is learned as what it is, a field, not as a 'scalar'"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(changes: dict[str, Any], expected: str) -> None:
    assert expected in refusal("first", **changes)


def test_a_weight_of_nothing_needs_no_regulariser() -> None:
    config = upgraded("second", trainer__physical__regularization={"type": "laplacian", "weight": 0})
    assert config.trainer.physical.smoothness == config.trainer.physical.total_variation == 0.0


def test_total_variation() -> None:
    physical = upgraded("second", trainer__physical__regularization={"type": "tv", "weight": "1e-3"})
    assert (physical.trainer.physical.smoothness, physical.trainer.physical.total_variation) == (0.0, 5e-4)


@pytest.mark.parametrize(
    ("old_strategy", "curriculum"),
    [
        ({"start": 1, "end": 4, "strategy": "linear"}, LinearCurriculum(start=2, end=5)),
        ({"start": 2, "end": 3, "strategy": "exponential", "exponent": "3.5"},
         PowerCurriculum(start=3, end=4, exponent=3.5)),
        ({"start": 1, "end": 4, "strategy": "step", "exponent": 2.0},
         StepCurriculum(start=2, end=5)),
        ({"start": 3}, LinearCurriculum(start=4)),
    ],
)  # fmt: skip
def test_curricula(old_strategy: dict[str, Any], curriculum: Any) -> None:
    config = upgraded("second", trainer__synthetic__rollout_scheduler=old_strategy)
    assert config.trainer.synthetic.curriculum == curriculum


def test_loss_weights_stay_where_they_are() -> None:
    weights = {"real_weight": "2e0", "interaction_weight": 0.5, "proportional": True}
    made = upgraded("second", trainer__hybrid__loss_scaling__synthetic=weights).trainer.hybrid.loss_scaling
    assert made.synthetic.model_dump() == {**weights, "real_weight": 2.0}
    assert made.physical.interaction_weight == 0.001


# --- sparse observations


@pytest.mark.parametrize(
    ("temporal", "time", "frames"),
    [
        ({"mode": "endpoints"}, {"mask": "endpoints", "start": 0.1, "end": 0.1}, [0, 1, 18, 19]),
        ({"mode": "endpoints", "start_fraction": 0.2, "end_fraction": 0.01, "uniform_stride": 7},
         {"mask": "endpoints", "start": 0.2, "end": 0.01}, [0, 1, 2, 3, 19]),
        ({"mode": "uniform", "uniform_stride": 4}, {"mask": "uniform", "stride": 4}, [0, 4, 8, 12, 16]),
        ({"mode": "custom", "custom_fractions": [0.0, 0.1, 1.0]},
         {"mask": "custom", "fractions": (0.0, 0.1, 1.0)}, [0, 2, 19]),
    ],
)  # fmt: skip
def test_sparsity_in_time(temporal: dict[str, Any], time: dict[str, Any], frames: list[int]) -> None:
    """The frames are those that the original saw of 20."""
    settings = {
        "sparsity__temporal": {"enabled": True, **temporal},
        "trainer__synthetic__rollout_scheduler": None,
    }
    config = upgraded("second", **settings)
    assert config.observations.time.model_dump() == time
    observed = config.observed()
    assert observed is not None and observed.physical.space is None
    for model in (observed.physical, observed.synthetic):
        assert np.flatnonzero(model.frames(20)).tolist() == frames
    assert "windows keep the true times" in notes("second", **settings)
    assert "sparsity" not in upgrade(old("second", **settings))[0]


@pytest.mark.parametrize(
    ("spatial", "space", "box"),
    [
        ({"mode": "range", "x_range": [0.0, 0.5], "y_range": None},
         {"mask": "range", "x": (0.0, 0.5), "y": (0.0, 1.0), "z": (0.0, 1.0)}, (slice(0, 32), slice(None))),
        ({"mode": "range", "x_range": [0.25, 0.5], "y_range": [0.5, 1.0]},
         {"mask": "range", "x": (0.25, 0.5), "y": (0.5, 1.0), "z": (0.0, 1.0)},
         (slice(16, 32), slice(32, 64))),
        ({"mode": "center", "center_fraction": 0.25}, {"mask": "center", "fraction": 0.25},
         (slice(24, 40),) * 2),
        ({"mode": "center"}, {"mask": "center", "fraction": 0.5}, (slice(16, 48),) * 2),
    ],
)  # fmt: skip
def test_sparsity_in_space(spatial: dict[str, Any], space: dict[str, Any], box: tuple[slice, slice]) -> None:
    """The cells are those that the original saw of 64 x 64."""
    config = upgraded("second", sparsity__spatial={"enabled": True, **spatial})
    assert config.observations.space.model_dump() == space
    expected = np.zeros((64, 64), dtype=bool)
    expected[box] = True
    observed = config.observed()
    assert observed is not None and observed.physical.times is None
    assert np.array_equal(observed.physical.space, expected)  # type: ignore[arg-type]


def test_random_points_are_others_and_that_is_said() -> None:
    settings = {"sparsity__spatial": {"enabled": True, "mode": "random_points", "num_random_points": 30}}
    observed = upgraded("second", **settings).observed()
    assert observed is not None and observed.physical.space is not None
    assert observed.physical.space.sum() == 30
    assert "drawn from general.seed" in notes("second", **settings)


def test_sparsity_that_shows_everything() -> None:
    settings = {f"sparsity__{kind}": {"enabled": True, "mode": "full"} for kind in ("temporal", "spatial")}
    assert upgraded("second", **settings).observed() is None
    assert upgraded("second", sparsity=None).observed() is None


# --- the permission to judge on training data


def test_training_data_are_refused_as_test_data_unless_it_is_said() -> None:
    settings = upgrade(old("first"))[0]
    del settings["evaluation"]["on_training_data"]
    with pytest.raises(ConfigError, match=r"evaluation\.test_sim: simulation 0 is in trainer\.train_sim too"):
        parse_config(settings)
    settings["trainer"]["val_sim"] = [0]
    settings["evaluation"]["on_training_data"] = True
    with pytest.raises(ConfigError, match=r"trainer\.val_sim: simulation 0 is in trainer\.train_sim too"):
        parse_config(settings)


# --- written


@pytest.mark.parametrize("schema", FILES)
def test_the_written_file_means_the_same_and_loads_without_notes(
    schema: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = FILES[schema].read_bytes()
    written = convert_config(FILES[schema], tmp_path / "new.yaml")
    text = (tmp_path / "new.yaml").read_text()
    for line in table(written).splitlines():
        assert f"#{line}\n" in text
    caplog.clear()
    with caplog.at_level(logging.INFO, "hyco.config"):
        assert load_config(tmp_path / "new.yaml") == load_config(FILES[schema])
    assert [r for r in caplog.records if "new.yaml" in r.getMessage()] == []
    assert FILES[schema].read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["new.yaml"]


def test_a_file_that_cannot_be_converted_leaves_nothing(tmp_path: Path) -> None:
    new, target = tmp_path / "mine.yaml", tmp_path / "new.yaml"
    convert_config(FILES["first"], new)
    with pytest.raises(ConfigError, match="hyco's keys already"):
        convert_config(new, target)
    with pytest.raises(ConfigError, match="is there already"):
        convert_config(FILES["first"], new)
    bad = tmp_path / "bad.yaml"
    bad.write_text(FILES["second"].read_text().replace("l2_gradient", "laplacian"))
    with pytest.raises(ConfigError, match="not 'laplacian'"):
        convert_config(bad, target)
    assert not target.exists()
