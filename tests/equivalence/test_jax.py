"""PhiML on JAX: the same physics, networks, updates and trainings as on PyTorch, and what cannot be mixed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import hyco
from hyco.comparison import compare_modes
from hyco.config import Config
from hyco.errors import ConfigError
from hyco.interfaces import Batch, LossWeights, Optimizer
from hyco.learning.amp import lowered
from hyco.migration.factory import Factory
from hyco.migration.registry import use_mode
from hyco.phiml.device import Compute
from hyco.phiml.tensors import NativeArrays
from hyco.problem.grid import Grid
from hyco.testing import assert_equivalent
from hyco.testing.cases import SELECTED, Case
from hyco.testing.experiments import train, write_data
from hyco.testing.mixtures import NEEDED
from tests.cases import layout_with_static, smooth_states
from tests.experiments import tiny
from tests.networks import NETWORKS
from tests.sides import box, implementation, rollout_gradients

BACKENDS = ("torch", "jax")
GRID = Grid.of(x=(4.0, 8), y=(3.0, 12))
LAYOUT = layout_with_static(GRID.axes)
RESOLUTIONS = {1: (8,), 2: (8, 12), 3: (8, 4, 6)}
STEPS = 2


# ------------------------------------------------------------------------------------------------- physics


@pytest.mark.parametrize("case", SELECTED, ids=lambda case: case.name)
def test_physics_and_its_gradients(case: Case) -> None:
    initial, targets = case.states(2), np.stack([case.states(2, seed=n) for n in (1, 2)], axis=2)
    values = {name: np.asarray(v) for name, v in case.parameters().items()}
    legacy, jax = case.model("legacy"), case.model("phiml", backend="jax")
    assert not jax.fused
    assert_equivalent(legacy.predict(initial, 8), jax.predict(initial, 8), "rollout")
    expected, found = (rollout_gradients(m, initial, targets, values) for m in (legacy, jax))
    assert_equivalent(expected[0], found[0], "fit loss")
    assert_equivalent(expected[1], found[1], "fit gradient")
    assert_equivalent(expected[2], found[2], "state gradient")


# ------------------------------------------------------------------------------------------------ networks


def surrogate(backend: str, name: str, grid: Grid = GRID, precision: str = "float64", **options: Any) -> Any:
    """A small surrogate in phiml mode."""
    return implementation("phiml", "synthetic_model", name)(
        layout_with_static(grid.axes),
        grid,
        architecture={**NETWORKS[name].architecture, **options},
        seed=5,
        device="cpu",
        precision=precision,
        backend=backend,
    )


@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch norm"])
@pytest.mark.parametrize("periodic", [False, True], ids=["box", "periodic"])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name: str, rank: int, periodic: bool, batch_norm: bool) -> None:
    grid = box(*RESOLUTIONS[rank])
    modes = {"modes": 2} if name == "fno" else {}
    options = {"periodic": periodic, "batch_norm": batch_norm, **modes}
    torch, jax = (surrogate(backend, name, grid, **options) for backend in BACKENDS)
    order = [n for n, _ in torch.network.named_parameters()]
    assert list(jax.network.names) == order  # under whose numbers the moments of optimisers stand
    for entry, weights in torch.weights().items():
        other = jax.weights()[entry]
        assert (other.dtype, other.shape) == (weights.dtype, weights.shape)
        assert np.array_equal(other, weights)
    states = smooth_states(torch.layout, grid, 2)
    assert_equivalent(torch.predict(states, STEPS), jax.predict(states, STEPS), "network rollout")
    seen = []
    for model in (torch, jax):
        model.training(True)
        seen.append(model.arrays.numpy(model(model.arrays.state(states))))
    assert_equivalent(*seen, "network rollout")
    statistics = [{n: w for n, w in m.weights().items() if "running" in n} for m in (torch, jax)]
    assert bool(statistics[0]) == batch_norm
    if batch_norm:
        assert_equivalent(*statistics, "running statistics")


@pytest.mark.parametrize("activation", ["relu", "tanh", "silu", "gelu", "sigmoid"])
def test_activations(activation: str) -> None:
    torch, jax = (surrogate(backend, "convnet", activation=activation) for backend in BACKENDS)
    states = smooth_states(LAYOUT, GRID, 2)
    assert_equivalent(torch.predict(states, 1), jax.predict(states, 1), "network")


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("start", BACKENDS)
def test_files_of_weights_are_of_no_library(start: str, name: str, tmp_path: Path) -> None:
    model = surrogate(start, name, batch_norm=True)
    rng = np.random.default_rng(2)
    model.assign({n: w + (w.dtype.kind == "f") * rng.random(w.shape) for n, w in model.weights().items()})
    model.save(tmp_path / "model.phiml")
    (other,) = (surrogate(b, name, batch_norm=True) for b in BACKENDS if b != start)
    other.load(tmp_path / "model.phiml")
    states = smooth_states(LAYOUT, GRID, 2)
    assert_equivalent(model.predict(states, 2), other.predict(states, 2), "network")


def test_a_surrogate_that_is_not_there_is_refused() -> None:
    class Own(implementation("phiml", "synthetic_model", "convnet")):  # type: ignore[misc]
        name = "own"

    with pytest.raises(ConfigError, match=r"own is not there in JAX.*convnet.*backend=torch"):
        Own(LAYOUT, GRID, architecture={}, backend="jax")


# ------------------------------------------------------------------------------------------------- updates


def trainer(backend: str, precision: str = "float64", *, batch_norm: bool = False, **options: Any) -> Any:
    """A surrogate's trainer around a small U-Net."""
    model = surrogate(backend, "unet", precision=precision, activation="tanh", batch_norm=batch_norm)
    return implementation("phiml", "synthetic_trainer")(model, schedule=lambda epoch: 0.01, **options)


def batch(backend: str, number: int, precision: str = "float64", *, observed: bool = False) -> Batch:
    """The windows of one update; with `observed`, some entries of them."""
    native = NativeArrays(LAYOUT, Compute("cpu", precision, backend))
    frames = [smooth_states(LAYOUT, GRID, 4, seed=10 * number + n) for n in range(3)]
    targets = np.stack(frames[1:], axis=2)
    made = Batch(native.state(frames[0]), native.trajectory(targets), 4)
    if not observed:
        return made
    mask: NDArray[np.bool_] = np.random.default_rng(number).random((4, 2, *GRID.resolution)) < 0.3
    return replace(made, generated=1, observed=mask)


OPTIONS: list[dict[str, Any]] = [
    *({"optimizer": Optimizer(name, 0.1)} for name in ("adam", "adamw", "sgd")),
    {"optimizer": Optimizer("sgd", 0.0, 0.0)},
    {"gradient_clipping": 0.05},
    {"recompute": True},
]


@pytest.mark.parametrize("observed", [False, True], ids=["mean", "weights"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_updates(options: dict[str, Any], observed: bool) -> None:
    learners, losses = [trainer(backend, **options) for backend in BACKENDS], []
    weights = LossWeights(interaction=0.3)
    for backend, learner in zip(BACKENDS, learners, strict=True):
        found = []
        for number in range(4):
            learner.set_learning_rate(0.01 / (number + 1))
            found.append(float(learner.update(batch(backend, number, observed=observed), weights)))
        found.append(float(learner.loss(batch(backend, 7, observed=observed))))
        losses.append(np.array(found))
    torch, jax = learners
    assert_equivalent(*losses, "losses of updates")
    assert_equivalent(torch.gradients(), jax.gradients(), "weight gradient")
    assert_equivalent(torch.weights(), jax.weights(), "updated weights")
    assert_equivalent(torch.moments(), jax.moments(), "adam moments") if torch.moments() else None
    assert list(torch.moments()) == list(jax.moments())
    if "gradient_clipping" in options:
        assert_equivalent(float(torch.gradient_norm), float(jax.gradient_norm), "weight gradient")
    else:
        assert torch.gradient_norm is None and jax.gradient_norm is None


def test_updates_with_normalisation() -> None:
    learners = [trainer(backend, batch_norm=True) for backend in BACKENDS]
    losses = [
        np.array([float(learner.update(batch(backend, n))) for n in range(4)])
        for backend, learner in zip(BACKENDS, learners, strict=True)
    ]
    assert_equivalent(*losses, "losses of a synthetic fit with normalisation")
    # biases in front of a normalisation, and the means that follow them, are but rounding scaled up by Adam
    norms = {n.rpartition(".")[0] for n in learners[0].weights() if n.endswith("running_mean")}
    idle = {f"{layer}.bias" for layer in NETWORKS["unet"].idle(norms)} | {f"{n}.running_mean" for n in norms}
    kept = [{n: w for n, w in learner.weights().items() if n not in idle} for learner in learners]
    assert len(kept[0]) == len(learners[0].weights()) - 2 * len(norms)
    assert_equivalent(*kept, "updated weights")


@pytest.mark.parametrize("backend", BACKENDS)
def test_there_are_no_gradients_before_an_update(backend: str) -> None:
    assert trainer(backend).gradients() == {} == trainer(backend).moments()


@pytest.mark.parametrize("options", OPTIONS[:3], ids=str)
@pytest.mark.parametrize("start", BACKENDS)
def test_a_training_goes_on_in_the_other_library(start: str, options: dict[str, Any], tmp_path: Path) -> None:
    (other,) = (b for b in BACKENDS if b != start)
    first = trainer(start, **options)
    for number in range(3):
        first.update(batch(start, number))
    first.save(tmp_path / "state.phiml")
    second = trainer(other, **options)
    second.load(tmp_path / "state.phiml")
    assert all(np.array_equal(m, second.moments()[name]) for name, m in first.moments().items())
    for number in range(3, 6):
        first.update(batch(start, number))
        second.update(batch(other, number))
    assert_equivalent(first.weights(), second.weights(), "updated weights")


def test_a_restored_training_is_the_same_to_the_last_bit() -> None:
    first, second = (trainer("jax") for _ in range(2))
    for number in range(3):
        first.update(batch("jax", number))
    second.restore(first.state())
    for number in range(3, 6):
        assert float(first.update(batch("jax", number))) == float(second.update(batch("jax", number)))
    for name, weights in first.weights().items():
        assert np.array_equal(weights, second.weights()[name])


def test_bf16_lowers_the_network_alone() -> None:
    full, low = (trainer("jax", "float32", amp=amp) for amp in (None, "bf16"))
    given = batch("jax", 0, "float32")
    losses = [[float(learner.update(given)) for _ in range(30)] for learner in (full, low)]
    assert losses[1][0] != losses[0][0]
    assert abs(losses[1][-1] / losses[0][-1] - 1.0) < 0.02
    assert losses[1][-1] < 0.9 * losses[1][0]
    assert all(w.dtype == np.float32 for n, w in low.weights().items())
    native = low.model.arrays
    with lowered("bf16"):
        made = native.numpy(low.model(given.initial))
    assert made.dtype == np.float32
    assert 0 < np.abs(made - native.numpy(low.model(given.initial))).max() < 0.1


# ------------------------------------------------------------------------------------------ what is refused


def test_what_is_not_there_in_jax_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"fp16 needs .*PyTorch only.*bf16"):
        tiny(tmp_path, ["trainer.backend=jax", "trainer.precision=float32", "trainer.synthetic.amp=fp16"])
    with pytest.raises(ConfigError, match=r"no fused kernels in JAX.*phiflow"):
        tiny(tmp_path, ["trainer.backend=jax", "trainer.kernels=fused"])
    with pytest.raises(ConfigError, match=r"no fused kernels in JAX\. Use auto"):
        SELECTED[3].model("phiml", backend="jax", kernels="fused")


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Config]:
    """A tiny hybrid experiment with its data, for either library."""
    folder = tmp_path_factory.mktemp("jax")
    made = {backend: tiny(folder, [f"trainer.backend={backend}"]) for backend in BACKENDS}
    write_data(made["torch"], noise=0.01)
    return made


@pytest.mark.parametrize(
    "component", ["physical_model", "physical_trainer", "synthetic_model", "synthetic_trainer"]
)
def test_gradients_cannot_cross(configs: dict[str, Config], component: str) -> None:
    config, kind = configs["jax"], component.partition("_")[0]
    others = {c: "phiml" for c in NEEDED["hybrid"] if c != component}
    words = rf"{kind}_model is \w+ and the {kind}_trainer is \w+, and gradients cannot cross"
    with use_mode("hybrid", others), pytest.raises(ConfigError, match=words):
        hyco.train(config)
    assert not config.output_dir.joinpath("history.jsonl").exists()
    with use_mode("hybrid", others), pytest.raises(ConfigError, match=words):
        factory = Factory(config)
        getattr(factory, f"{kind}_trainer")(getattr(factory, f"{kind}_model")())


def test_moves_one_by_one_are_made_in_pytorch(configs: dict[str, Config], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gradients cannot cross"):
        compare_modes(configs["jax"], tmp_path, candidates=["components.synthetic_model=phiml"])
    assert list(tmp_path.iterdir()) == []


def test_legacy_alone_is_not_jax(configs: dict[str, Config]) -> None:
    with use_mode("legacy"), pytest.raises(ConfigError, match="all models and trainers are legacy"):
        hyco.train(configs["jax"])
    assert not configs["jax"].output_dir.joinpath("history.jsonl").exists()


def mixtures() -> Iterator[tuple[str, ...]]:
    """Components of JAX that learn what pure legacy learns; the others are legacy."""
    physics, network = ("physical_model", "physical_trainer"), ("synthetic_model", "synthetic_trainer")
    yield (*physics, *network, "data_manager", "dataset", "hybrid_trainer")
    yield (*physics, *network)
    yield (*physics, "dataset")
    yield (*network, "data_manager", "hybrid_trainer")


@pytest.mark.parametrize("components", list(mixtures()), ids=lambda some: f"{len(some)} of JAX")
def test_mixtures_train_as_pure_legacy_does(configs: dict[str, Config], components: tuple[str, ...]) -> None:
    with use_mode("legacy"):
        expected = train(configs["torch"])
    with use_mode("hybrid", dict.fromkeys(components, "phiml")):
        found = train(configs["jax"])
    assert found.counts() == expected.counts()
    assert_equivalent(expected.losses(), found.losses(), "losses of a hybrid run")
    assert_equivalent(expected.weights, found.weights, "weights of a hybrid run")
    assert_equivalent(expected.parameters, found.parameters, "parameters of a hybrid run")
    assert_equivalent(expected.predictions, found.predictions, "predictions of a hybrid run")


def test_shadow_mode_compares_jax_with_legacy(configs: dict[str, Config]) -> None:
    config = configs["jax"]
    shadow = config.migration.shadow.model_copy(update={"enabled": True, "every": 1})
    migration = config.migration.model_copy(update={"mode": "phiml", "shadow": shadow})
    hyco.train(config.model_copy(update={"migration": migration}))
    found = json.loads((config.output_dir / "shadow.json").read_text())
    assert found["compared"] > 20
    assert (found["mismatches"], found["failures"]) == (0, 0)
