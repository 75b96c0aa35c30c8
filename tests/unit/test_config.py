"""Configurations: what is filled in, what reads back, and what is refused with which line."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from hyco.config import Config, load_config, parse_config, shipped_configs
from hyco.config.architectures import ARCHITECTURES
from hyco.errors import ConfigError, ExpressionError
from hyco.problem.equation import diffusion_limit
from hyco.problem.equations import EQUATIONS

SMALL: dict[str, Any] = {
    "model": {
        "physical": {
            "name": "burgers",
            "domain": {"x": {"size": 10, "resolution": 16}, "y": {"size": 20, "resolution": 8}},
            "dt": 0.1,
            "parameters": {"diffusion_coeff": {"type": "field", "value": "0.1*x/size_x"}},
        }
    }
}
HYBRID = (
    "general.mode=hybrid",
    "trainer.physical.learnable_parameters=[{name: diffusion_coeff, initial_guess: 0.02}]",
)
GUESS = "trainer.physical.learnable_parameters.0"
WEIGHTS = "trainer.hybrid.loss_scaling"
SCALAR = "model.physical.parameters.diffusion_coeff={type: scalar, value: 0.1}"


def small(*overrides: str) -> Config:
    return parse_config(SMALL, overrides=overrides)


def refusal(*overrides: str, settings: dict[str, Any] = SMALL) -> str:
    """The one line with which a configuration is refused."""
    with pytest.raises(ConfigError) as caught:
        parse_config(settings, "my.yaml", overrides)
    text = str(caught.value)
    assert "\n" not in text
    return text


# --- defaults and what follows from a configuration


def test_a_short_configuration_is_completed() -> None:
    config = small()
    assert config.general.experiment_name == "burgers"
    assert config.general.mode == "synthetic"
    assert config.output_dir == Path("results/burgers")
    assert config.checkpoint_dir == Path("results/burgers/checkpoints")
    assert config.data.data_dir == Path("data/burgers")
    assert config.data.cache_dir == Path("data/cache/burgers")
    assert config.migration.mode is None
    assert config.trainer.train_sim == (0, 1, 2, 3, 4, 5)
    assert config.trainer.val_sim == (6,)
    assert config.evaluation.test_sim == (7,)
    assert (config.trainer.rollout_steps, config.evaluation.num_frames, config.evaluation.horizon) == (
        5,
        64,
        20,
    )


def test_folders_follow_the_name_and_checkpoints_the_results() -> None:
    config = small("general.experiment_name=night", "general.output_dir=/tmp/out")
    assert config.data.data_dir == Path("data/night")
    assert config.checkpoint_dir == Path("/tmp/out/checkpoints")
    assert small("general.checkpoint_dir=kept").checkpoint_dir == Path("kept")


def test_parameters_to_recover_make_it_a_hybrid_training() -> None:
    assert small(HYBRID[1]).general.mode == "hybrid"


@pytest.mark.parametrize(
    ("overrides", "train", "val", "test"),
    [
        (["data.num_simulations=1", "general.tasks=[train]"], (0,), (), ()),
        (["data.num_simulations=2"], (0,), (), (1,)),
        (["data.num_simulations=3"], (0,), (1,), (2,)),
        (["trainer.train_sim=[7, 6]"], (7, 6), (4,), (5,)),
        (["trainer.val_sim=[]", "data.num_simulations=3"], (0, 1), (), (2,)),
        (["evaluation.test_sim=[0]", "data.num_simulations=3"], (1,), (2,), (0,)),
    ],
)
def test_simulations_that_no_list_names_are_divided(
    overrides: list[str], train: tuple[int, ...], val: tuple[int, ...], test: tuple[int, ...]
) -> None:
    config = small(*overrides)
    assert (config.trainer.train_sim, config.trainer.val_sim, config.evaluation.test_sim) == (
        train,
        val,
        test,
    )


def test_lengths_that_are_not_given_fit_short_trajectories() -> None:
    config = small("data.trajectory_length=4")
    assert (config.trainer.rollout_steps, config.evaluation.num_frames, config.evaluation.horizon) == (
        4,
        4,
        3,
    )
    assert small("evaluation.num_frames=10").evaluation.horizon == 9


def test_grid_equation_and_layout() -> None:
    config = small("model.physical.boundaries={velocity: zero-gradient}")
    assert config.grid.size == (10.0, 20.0)
    assert config.grid.resolution == (16, 8)
    assert config.equation is EQUATIONS["burgers"]
    assert config.layout.components == ("velocity_x", "velocity_y")
    assert config.layout.field("velocity").boundary == "zero-gradient"


def test_axes_come_in_their_order_whatever_the_order_in_the_file() -> None:
    settings = copy.deepcopy(SMALL)
    domain = settings["model"]["physical"]["domain"]
    settings["model"]["physical"]["domain"] = {"y": domain["y"], "x": domain["x"]}
    assert parse_config(settings).grid == small().grid


def test_parameters_true_and_initial() -> None:
    config = small(*HYBRID)
    truth, start = config.true_parameters()["diffusion_coeff"], config.initial_parameters()["diffusion_coeff"]
    np.testing.assert_allclose(truth, np.broadcast_to(0.1 * config.grid.coordinates()["x"] / 10.0, (16, 8)))
    np.testing.assert_array_equal(start, np.full((16, 8), 0.02))
    assert config.learnable == ("diffusion_coeff",)
    assert small().initial_parameters()["diffusion_coeff"] == pytest.approx(truth)


def test_a_scalar_parameter_has_a_scalar_guess() -> None:
    scalar = "model.physical.parameters.diffusion_coeff={type: scalar, value: size_x/100}"
    config = small(*HYBRID, scalar)
    assert config.true_parameters() == {"diffusion_coeff": 0.1}
    assert config.initial_parameters() == {"diffusion_coeff": 0.02}
    assert "a scalar has no axes" in refusal(*HYBRID, scalar, f"{GUESS}.initial_guess=0.01*x")


def test_bounds_are_the_explicit_ones_or_those_of_the_equation() -> None:
    config = small(*HYBRID, f"{GUESS}.upper=0.5")
    assert config.parameter_bounds("diffusion_coeff") == (0.0, 0.5)
    assert small().parameter_bounds("diffusion_coeff") == (0.0, diffusion_limit(config.grid, 0.1, 5))


def test_generated_trajectories_are_as_long_as_the_data_unless_told() -> None:
    assert small(*HYBRID).generated_length == 64
    assert small(*HYBRID, "trainer.hybrid.augmentation.trajectory_length=10").generated_length == 10


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_surrogate_has_an_architecture_with_defaults_of_its_own(name: str) -> None:
    axes = "model.physical.domain={x: {size: 10, resolution: 32}, y: {size: 20, resolution: 32}}"
    for config in (
        small(axes, f"model.synthetic={{name: {name}}}"),
        small(axes, f"model.synthetic={{name: {name}, architecture: null}}"),
        small(axes, f"model.synthetic={{architecture: {{activation: tanh, filters: 5}}, name: {name}}}"),
    ):
        architecture = config.model.synthetic.architecture
        assert type(architecture) is ARCHITECTURES[name]
        assert parse_config(yaml.safe_load(config.to_yaml())) == config
        assert pickle.loads(pickle.dumps(config)) == config
        assert set(config.model_dump()["model"]["synthetic"]["architecture"]) == set(
            ARCHITECTURES[name].model_fields
        )
    assert architecture.model_dump()["filters"] == 5
    assert architecture.model_dump()["activation"] == "tanh"


@pytest.mark.parametrize("name", ["resnet", "convnet"])
def test_keys_of_another_surrogate_are_refused(name: str) -> None:
    chosen, block = f"model.synthetic.name={name}", "model.synthetic.architecture"
    text = refusal(chosen, f"{block}.levels=2")
    assert text == (
        f"override '{block}.levels=2': {block}: unknown key 'levels'. "
        f"The {name} knows layers, filters, batch_norm, activation, periodic."
    )
    assert f"{block}.layers: expected 1 or more, got 0" in refusal(chosen, f"{block}.layers=0")
    assert f"{block}.layers: expected a whole number, got 2.0" in refusal(chosen, f"{block}.layers=2.0")
    assert small(chosen, f"{block}={{layers: 2, filters: [3, 4]}}").model.synthetic.name == name


def test_noise_is_off_unless_told() -> None:
    assert small().trainer.synthetic.input_noise.scale == 0.0
    assert small("trainer.synthetic.input_noise=").trainer.synthetic.input_noise.scale == 0.0
    config = small("trainer.synthetic.input_noise={scale: 0.02}")
    assert config.trainer.synthetic.input_noise.scale == 0.02
    assert parse_config(yaml.safe_load(config.to_yaml())) == config


def test_a_configuration_is_frozen_and_travels_to_workers() -> None:
    config = small(*HYBRID)
    with pytest.raises(ValidationError):
        config.general.seed = 3  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(config)) == config


# --- YAML


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-12", 1e-12),
        ("1E5", 1e5),
        (".5e3", 500.0),
        ("1.e-3", 1e-3),
        ("+3", 3.0),
        ("2.5", 2.5),
        ("010", 10.0),
    ],
)
def test_numbers_are_numbers(text: str, value: float) -> None:
    assert small(f"trainer.synthetic.learning_rate={text}").trainer.synthetic.learning_rate == value


def test_nothing_but_true_and_false_is_a_truth_value() -> None:
    assert small("model.synthetic.residual=false").model.synthetic.residual is False
    assert "model.synthetic.residual: expected true or false, got the text 'yes'" in refusal(
        "model.synthetic.residual=yes"
    )


@pytest.mark.parametrize("value", ["1e-3", "yes", "on", "010", "1:30", "~", "null", "0.1", "text: text", ""])
def test_written_text_reads_back(value: str, tmp_path: Path) -> None:
    """Texts that look like something else in some version of YAML stay texts."""
    from hyco.config.yaml_text import ConfigDumper, parse_yaml

    written = yaml.dump({"value": value}, Dumper=ConfigDumper)
    assert parse_yaml(written, "x") == {"value": value}


def test_a_resolved_configuration_reads_back_equal(tmp_path: Path) -> None:
    config = small(
        *HYBRID,
        "trainer.physical.solve.abs_tol=1e-12",
        "model.synthetic.architecture={levels: 2, filters: [4, 8]}",
        'model.physical.parameters.diffusion_coeff.value="1e-3"',
        "migration={mode: hybrid, components: {physical_model/burgers: phiml}}",
    )
    assert config.model.physical.parameters["diffusion_coeff"].value == "1e-3"
    path = tmp_path / "config.yaml"
    path.write_text(config.to_yaml())
    assert load_config(path) == config
    assert load_config(path, ["general.seed=1"]) != config


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("general:\n  seed: 1\n  seed: 2\n", 3, "'seed' stands here twice"),
        ("general:\n  tasks: [train\nmodel: {}\n", 3, "not valid YAML"),
        ("a: 1\nb: !!python/object/apply:os.system ['true']\n", 2, "constructor"),
        ("a: &a [*a]\n", 1, "recursive"),
        ("{[1]: 2}: 3", 1, "one word"),
    ],
)
def test_bad_yaml_is_located(text: str, line: int, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert f"{path}:{line}: " in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"- 1\n", b"\xff\xfe\x00", b"a: \x01"])
def test_a_file_that_holds_no_configuration_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad\.yaml: "):
        load_config(path)


# --- files and shipped configurations


def test_the_shipped_burgers_configuration() -> None:
    assert "burgers" in shipped_configs()
    config = load_config("burgers")
    assert load_config("burgers.yaml") == config
    assert config.general.mode == "hybrid"
    assert config.migration.mode == "phiml"
    assert config.grid.resolution == (64, 64)
    assert config.trainer.train_sim == (0, 1, 2, 3, 4, 5)
    assert config.learnable == ("diffusion_coeff",)
    x, y = config.grid.coordinates().values()
    np.testing.assert_allclose(config.true_parameters()["diffusion_coeff"], 0.05 * (x / 100 + y / 100) ** 3)


def test_every_shipped_configuration_is_valid_and_reads_back() -> None:
    for name in shipped_configs():
        config = load_config(name)
        assert parse_config(yaml.safe_load(config.to_yaml())) == config


def test_an_unknown_configuration_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"burgurs: neither a file .*\(.*burgers.*Did you mean 'burgers'\?"):
        load_config("burgurs")
    with pytest.raises(ConfigError, match=r"nowhere/x\.yaml: neither a file nor a shipped"):
        load_config("nowhere/x.yaml")


# --- overrides


def test_overrides_read_values_as_yaml() -> None:
    config = small(
        *HYBRID,
        "trainer.synthetic.epochs=2",
        "trainer.train_sim=[0, 1]",
        "cache.ttl=null",
        f"{GUESS}.initial_guess=0.03",
        "model.physical.parameters.diffusion_coeff.value=where(x >= 5, 0.1, 0.2)",
    )
    assert config.trainer.synthetic.epochs == 2
    assert config.trainer.train_sim == (0, 1)
    assert config.cache.ttl is None
    assert config.trainer.physical.learnable_parameters[0].initial_guess == 0.03
    assert np.unique(config.true_parameters()["diffusion_coeff"]).tolist() == [0.1, 0.2]


def test_overrides_leave_the_given_mapping_alone() -> None:
    before = copy.deepcopy(SMALL)
    small("model.physical.dt=0.05")
    assert before == SMALL


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("trainer.synthetic.epochs", "expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("trainer..epochs=3", "expected KEY=VALUE"),
        ("trainer.synthetic.epoch=3", "trainer.synthetic: unknown key 'epoch'. Did you mean 'epochs'?"),
        ("trainr.batch_size=3", "unknown key 'trainr'. Did you mean 'trainer'?"),
        ("trainr=3", "unknown key 'trainr'. Did you mean 'trainer'?"),
        ("trainer.synthetic.epochs=many", "trainer.synthetic.epochs: expected a whole number, got the text"),
        ("trainer.synthetic.epochs=[1", "not valid YAML"),
        ("model.physical.dt.unit=3", "model.physical.dt is 0.1, which has no 'unit' inside"),
        (f"{GUESS}.initial_guess=0.1", "no entry 0"),
    ],
)
def test_a_wrong_override_is_refused_by_its_text(override: str, reason: str) -> None:
    text = refusal(override)
    assert text.startswith(f"override {override!r}")
    assert reason in text


def test_an_entry_that_a_list_lacks_cannot_be_overridden() -> None:
    assert "is a list of 1; no entry '1'" in refusal(*HYBRID, GUESS.replace(".0", ".1") + ".lower=0")


# --- types and values


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("trainer.batch_size=true", "expected a whole number, got the truth value true"),
        ("trainer.batch_size=2.0", "expected a whole number, got 2.0"),
        ("trainer.batch_size=0", "expected 1 or more, got 0"),
        ("trainer.batch_size=", "expected a whole number, got nothing"),
        ("trainer.rollout_steps=1", "expected 2 or more, got 1"),
        ("trainer.train_sim=3", "expected a list, got 3"),
        ("trainer.train_sim=[0, -1]", "trainer.train_sim.1: expected 0 or more"),
        ("trainer.device=gpu", "unknown device 'gpu'; expected auto, cpu, cuda or cuda:N"),
        ("trainer.precision=float46", "unknown value 'float46'. Did you mean 'float64'?"),
        ("trainer.synthetic=3", "trainer.synthetic: expected a block of keys, got 3"),
        ("trainer.synthetic.learning_rate=.inf", "expected a finite number"),
        ("trainer.hybrid.augmentation.alpha=0", "expected above 0"),
        ("trainer.hybrid.augmentation.alpha=1.5", "expected 1.0 or less"),
        (
            "trainer.hybrid.augmentation.trajectorys=3",
            "unknown key 'trajectorys'. Did you mean 'num_trajectories'",
        ),
        ("general.mode=hybird", "unknown value 'hybird'. Did you mean 'hybrid'?"),
        ("general.tasks=[]", "at least 1 entry"),
        ("general.tasks=[train, tran]", "general.tasks.1: unknown value 'tran'"),
        ("observations.space={mask: range, x: [0, 0.5, 1]}", "expected at most 2 entries, got the list"),
        ("general.experiment_name=a/b", "names a folder"),
        ("general.output_dir=5", "expected the path of a folder, got 5"),
        ("migration.mode=torch", "unknown value 'torch'. Known: hybrid, legacy, phiml."),
        ("migration.components={phisical_model: phiml}", "Did you mean 'physical_model'?"),
        ("migration.components={physical_model/: phiml}", "unknown component"),
        ("data.format=scene", "scenes cannot be read or written in this version; use 'hdf5'"),
        ("data.num_simulations=1000000000", "expected 1000000 or less"),
        ("model.physical.domain={x: {size: 1, resolution: 8}, z: {size: 1, resolution: 8}}", "got 'x', 'z'"),
        ("model.physical.domain.x.size=0", "model.physical.domain.x.size: expected above 0"),
        ("model.physical.boundaries={velocity: open}", "unknown value 'open'"),
        ("model.physical.parameters.diffusion_coeff.value=true", "expected a number or an expression"),
        ("model.synthetic.name=unett", "Did you mean 'unet'?"),
        ("model.synthetic.architecture.filters=[8, true]", "expected a whole number from 1, or a list"),
        ("model.synthetic.architecture.activation=rellu", "Did you mean 'relu'?"),
        ("model.synthetic.architecture=3", "architecture: expected a block of keys, got 3"),
        ("model.synthetic.architecture.filter=3", "unknown key 'filter'. The unet knows levels, filters"),
        ("model.synthetic.architecture.layers=3", "unknown key 'layers'. The unet knows levels, filters"),
        ("model.synthetic.name=resnett", "name: unknown value 'resnett'. Did you mean 'resnet'?"),
        ("model.synthetic.name=3", "model.synthetic.name: expected text, got 3"),
        ("trainer.synthetic.input_noise.scale=-0.1", "input_noise.scale: expected 0.0 or more, got -0.1"),
        ("migration.shadow.every=0", "migration.shadow.every: expected 1 or more, got 0"),
        ("migration.shadow.rtol=-0.1", "migration.shadow.rtol: expected 0.0 or more, got -0.1"),
        ("migration.shadow.on_mismatch=stop", "migration.shadow.on_mismatch: unknown value 'stop'"),
        ("trainer.synthetic.input_noise=0.1", "input_noise: expected a block of keys, got 0.1"),
    ],
)
def test_wrong_values_are_refused_with_path_and_expectation(override: str, reason: str) -> None:
    text = refusal(override)
    assert override.split("=")[0] in text
    assert reason in text


def test_a_message_starts_with_the_file_and_counts_the_other_problems() -> None:
    settings = SMALL | {"trainer": {"batch_size": "big", "val_sim": 6}, "evaluation": {"horizon": 1.5}}
    assert refusal(settings=settings) == (
        "my.yaml: trainer.batch_size: expected a whole number, got the text 'big'. (2 more problems)"
    )


def test_a_required_key_is_named() -> None:
    settings = copy.deepcopy(SMALL)
    del settings["model"]["physical"]["dt"]
    assert refusal(settings=settings) == "my.yaml: model.physical.dt: this key is required."


# --- checks of the whole


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (
            ["migration={mode: phiml, components: {dataset: legacy}}"],
            "migration.components: only mode hybrid",
        ),
        (["migration.components={dataset: legacy}"], "migration.components: only mode hybrid"),
        (["model.physical.name=burger"], "unknown equation 'burger'. Did you mean 'burgers'?"),
        (["model.physical.boundaries={density: periodic}"], "boundaries: unknown field 'density'"),
        (["data.fields_scheme={dynamic: [density]}"], "data.fields_scheme.dynamic: the dynamic fields"),
        (["data.fields_scheme={dynamic: [velocity], static: [v]}"], "data.fields_scheme.static: the static"),
        (["model.physical.parameters={}"], "burgers needs 'diffusion_coeff'"),
        (["model.physical.parameters.nu={value: 1}"], "parameters: unknown parameter 'nu'"),
        (
            ["model.physical.name=inviscid_burgers", "model.physical.parameters={potential: {value: 1}}"],
            "parameters.potential.type: potential of inviscid_burgers must be a field, got 'scalar'",
        ),
        (
            ["model.physical.parameters.diffusion_coeff.value=-0.1"],
            "must be 0 or more, its least value is -0.1",
        ),
        (["general.mode=physical"], "learnable_parameters: general.mode physical needs at least one"),
        ([HYBRID[1], f"{GUESS}.name=diffusion"], f"{GUESS}.name: unknown parameter 'diffusion'. Did you"),
        (
            [HYBRID[1], f"{GUESS}.initial_guess=-1"],
            f"{GUESS}.initial_guess: diffusion_coeff must be 0 or more",
        ),
        ([HYBRID[1], f"{GUESS}.initial_guess=0.2", f"{GUESS}.upper=0.1"], "outside of its bounds 0 to 0.1"),
        ([HYBRID[1], f"{GUESS}.lower=0.2", f"{GUESS}.upper=0.1"], "must be below"),
        ([HYBRID[1], f"{GUESS}.lower=-0.2"], f"{GUESS}.lower: diffusion_coeff must be 0 or more"),
        (
            [HYBRID[1], f"{GUESS}.basis=fourier", SCALAR],
            f"{GUESS}.basis: diffusion_coeff is a scalar, one number, which has no basis 'fourier'",
        ),
        (
            [HYBRID[1], f"{GUESS}.basis={{name: fourier, modes: 4}}"],
            f"{GUESS}.basis.modes: 4 make 9 functions along each axis, and y has 8 cells. Use at most 3,",
        ),
        (
            [HYBRID[1], f"{GUESS}.basis={{name: gaussians, count: 9}}"],
            f"{GUESS}.basis.count: 9 make 9 functions along each axis, and y has 8 cells. Use at most 8,",
        ),
        (
            ["trainer.physical.solve.learning_rate=0.1"],
            "trainer.physical.solve.learning_rate: L-BFGS-B finds the lengths of its steps by itself",
        ),
        (
            ["trainer.train_sim=[0, 8]"],
            "trainer.train_sim: there is no simulation 8; data.num_simulations is 8",
        ),
        (["trainer.val_sim=[9]"], "trainer.val_sim: there is no simulation 9"),
        (["evaluation.test_sim=[8]"], "evaluation.test_sim: there is no simulation 8"),
        (["trainer.train_sim=[0, 1, 0]"], "trainer.train_sim: simulation 0 is listed twice"),
        (
            ["trainer.train_sim=[0]", "trainer.val_sim=[0]"],
            "trainer.val_sim: simulation 0 is in trainer.train_sim",
        ),
        (
            ["trainer.train_sim=[7]", "evaluation.test_sim=[7]"],
            "evaluation.test_sim: simulation 7 is in trainer",
        ),
        (["trainer.train_sim=[]"], "trainer.train_sim: the task train needs"),
        (["data.num_simulations=1"], "evaluation.test_sim: the task evaluate needs"),
        (
            ["trainer.rollout_steps=12", "data.trajectory_length=5"],
            "a window of 12 frames needs trajectories",
        ),
        ([HYBRID[1], "trainer.hybrid.augmentation.trajectory_length=4"], "4 frames hold no window of"),
        (
            [HYBRID[1], "trainer.hybrid.augmentation.points=129"],
            "trainer.hybrid.augmentation.points: 129 points are more than the 128 cells of the grid",
        ),
        (
            [HYBRID[1], f"{WEIGHTS}.synthetic={{real_weight: 0, interaction_weight: 0}}"],
            "loss_scaling.synthetic: real_weight and interaction_weight are 0 in cycle 1, so the synthetic",
        ),
        (
            [
                HYBRID[1],
                "trainer.hybrid.cycles=2",
                f"{WEIGHTS}.physical={{real_weight: {{start: 1, end: 0}}, interaction_weight: 0}}",
            ],
            "loss_scaling.physical: real_weight and interaction_weight are 0 in cycle 2, so the physical",
        ),
        (
            [HYBRID[1], "trainer.hybrid.interaction=false", f"{WEIGHTS}.physical.real_weight=0"],
            "loss_scaling.physical: real_weight is 0 in cycle 1, and trainer.hybrid.interaction is off",
        ),
        (["evaluation.num_frames=65"], "evaluation.num_frames: 65 frames are more than a trajectory has"),
        (["evaluation.horizon=64"], "evaluation.horizon: 64 steps are more than the 63 steps"),
        (
            ["model.synthetic.architecture.filters=[8, 16]"],
            "3 levels needs 3 filter counts, got [8, 16]",
        ),
        (
            ["model.synthetic={name: resnet, architecture: {layers: 2, filters: [8]}}"],
            "model.synthetic.architecture: a resnet of 2 layers needs 2 filter counts, got [8]",
        ),
        (
            ["model.physical.domain.y.resolution=12", "model.synthetic.architecture.levels=4"],
            "architecture: a U-Net of 4 levels",
        ),
    ],
)
def test_plans_that_cannot_work_are_refused(overrides: list[str], reason: str) -> None:
    text = refusal(*overrides)
    assert text.startswith("my.yaml: ")
    assert reason in text


@pytest.mark.parametrize(
    "overrides",
    [
        [HYBRID[1], "trainer.hybrid.augmentation.points=128"],
        [HYBRID[1], f"{WEIGHTS}.physical.real_weight=0"],
        [HYBRID[1], f"{WEIGHTS}.synthetic.interaction_weight={{start: 0, end: 1}}"],
        [
            HYBRID[1],
            "trainer.hybrid.cycles=1",  # of a single cycle, a ramp has its end
            f"{WEIGHTS}.synthetic={{real_weight: {{start: 0, end: 1}}, interaction_weight: 0}}",
        ],
        [f"{WEIGHTS}.synthetic={{real_weight: 0, interaction_weight: 0}}"],  # no hybrid training
    ],
)
def test_weights_and_points_that_leave_something_are_taken(overrides: list[str]) -> None:
    small(*overrides)


def test_bases_and_learning_rates_that_can_be_are_taken() -> None:
    waves = small(
        HYBRID[1],
        f"{GUESS}.basis={{name: fourier, modes: 3}}",
        "trainer.physical.solve={method: adam, learning_rate: 0.1}",
    )
    assert waves.trainer.physical.learnable_parameters[0].basis.modes == 3
    assert waves.trainer.physical.solve.learning_rate == 0.1
    assert small(HYBRID[1], f"{GUESS}.basis=cells", SCALAR).learnable == ("diffusion_coeff",)


def test_an_equation_of_another_rank_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    on_a_line = {"burgers": replace(EQUATIONS["burgers"], ranks=(1,))}
    monkeypatch.setattr("hyco.config.schema.EQUATIONS", on_a_line)
    assert "model.physical.domain: burgers needs 1 dimensions, not 2" in refusal()


def test_a_parameter_is_learned_once() -> None:
    twice = "[{name: diffusion_coeff, initial_guess: 0.1}, {name: diffusion_coeff, initial_guess: 0.2}]"
    assert "'diffusion_coeff' is listed twice" in refusal(f"trainer.physical.learnable_parameters={twice}")


@pytest.mark.parametrize(
    ("overrides", "path"),
    [
        (
            ["model.physical.parameters.diffusion_coeff.value={}"],
            "model.physical.parameters.diffusion_coeff.value",
        ),
        ([HYBRID[1], GUESS + ".initial_guess={}"], f"{GUESS}.initial_guess"),
        ([HYBRID[1], GUESS + ".upper={}"], f"{GUESS}.upper"),
    ],
)
def test_an_unstable_diffusion_number_is_refused_with_the_substeps_that_do(
    overrides: list[str], path: str
) -> None:
    grid = small().grid
    limit = diffusion_limit(grid, 0.1, 5)
    *others, last = overrides
    assert small(*others, last.format(limit))
    text = refusal(*others, last.format(limit * 7.5 / 5))
    assert path in text
    assert "Set model.physical.substeps to 8" in text
    assert small(*others, last.format(limit * 7.5 / 5), "model.physical.substeps=8")


def test_a_bad_expression_is_reported_with_its_path() -> None:
    with pytest.raises(ExpressionError) as caught:
        small("model.physical.parameters.diffusion_coeff.value=__import__('os').getpid()")
    assert str(caught.value).startswith("<config>: model.physical.parameters.diffusion_coeff.value: ")
    assert "__import__" in str(caught.value)
    assert f"{GUESS}.initial_guess: " in refusal(HYBRID[1], f"{GUESS}.initial_guess=sni(x)")


def test_a_network_that_is_not_trained_need_not_fit_the_grid() -> None:
    assert small(
        "general.mode=physical", HYBRID[1], "model.physical.domain.y.resolution=9"
    ).grid.resolution == (16, 9)


# --- how a surrogate is trained


def test_fewer_bits_than_float32_are_for_trainings_in_float32() -> None:
    assert small("trainer.synthetic.amp=bf16").trainer.synthetic.amp == "bf16"
    text = refusal("trainer.synthetic.amp=bf16", "trainer.precision=float64")
    assert "my.yaml" in text
    assert "trainer.synthetic.amp: bf16 lowers float32, but trainer.precision is float64" in text
    small(*HYBRID, "general.mode=physical", "trainer.synthetic.amp=bf16", "trainer.precision=float64")


def test_networks_in_fewer_bits_have_no_shadow() -> None:
    assert "far above" in refusal("trainer.synthetic.amp=bf16", "migration.shadow.enabled=true")


def test_fp16_is_refused_where_there_is_only_a_cpu() -> None:
    assert "Use bf16 there" in refusal("trainer.synthetic.amp=fp16", "trainer.device=cpu")
    for device in ("auto", "cuda", "cuda:1"):
        assert small("trainer.synthetic.amp=fp16", f"trainer.device={device}").trainer.device == device


def test_a_curriculum_does_not_shrink() -> None:
    text = refusal("trainer.synthetic.curriculum={start: 4, end: 3}")
    assert "begin with 4 frames and end with 3 (trainer.synthetic.curriculum.end)" in text
    steps = small().trainer.rollout_steps
    text = refusal(f"trainer.synthetic.curriculum.start={steps + 1}")
    assert f"end with {steps} (trainer.rollout_steps, since end is null)" in text
    small(f"trainer.synthetic.curriculum.start={steps}")
