"""Checkpoints from one mode to the other: the same bits, the same outputs, and training that goes on."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from hyco.compat import convert_checkpoint, convert_phiml_to_torch, convert_torch_to_phiml
from hyco.config import Config
from hyco.errors import CheckpointError
from hyco.interfaces import Record
from hyco.legacy.checkpoints import FORMAT, write_checkpoint
from hyco.migration.factory import Factory
from hyco.migration.registry import use_mode
from hyco.testing import assert_equivalent
from hyco.testing.cases import BY_NAME, SELECTED, Case
from hyco.testing.experiments import tiny as tiny_of
from hyco.testing.experiments import write_data
from hyco.testing.mixtures import case_of
from tests.cases import layout_with_static, smooth_states
from tests.experiments import tiny
from tests.networks import NETWORKS
from tests.sides import OTHER, SIDES, box, implementation

SUFFIX = {"legacy": ".pth", "phiml": ".phiml"}
CONVERT = {"legacy": convert_torch_to_phiml, "phiml": convert_phiml_to_torch}
GRID = box(8, 10)
LAYOUT = layout_with_static(GRID.axes)
by_side = pytest.mark.parametrize("start", SIDES)
by_network = pytest.mark.parametrize("name", NETWORKS)


def contents(path: Path) -> tuple[str, dict[str, tuple[str, tuple[int, ...], bytes]], dict[str, Any]]:
    """Kind, bits by name, and facts of a checkpoint."""
    side = {suffix: side for side, suffix in SUFFIX.items()}[path.suffix]
    kind, arrays, facts = import_module(f"hyco.{side}.checkpoints").read_contents(path)
    return kind, {n: (a.dtype.str, a.shape, a.tobytes()) for n, a in arrays.items()}, facts


def there_and_back(path: Path, start: str) -> Path:
    """The converted file, after a check that the way back gives the same bits and facts."""
    before, written = path.read_bytes(), contents(path)
    there = path.with_name(f"there{SUFFIX[OTHER[start]]}")
    back = path.with_name(f"back{SUFFIX[start]}")
    CONVERT[start](path, there)
    CONVERT[OTHER[start]](there, back)
    assert contents(there) == written
    assert contents(back) == written
    assert path.read_bytes() == before
    assert {p.name for p in path.parent.iterdir()} == {path.name, there.name, back.name}
    return there


def surrogate(side: str, name: str = "unet", precision: str = "float64", **changes: Any) -> Any:
    """A small surrogate on a plane."""
    keys = {"residual", "inputs", "seed"} & changes.keys()
    options = {key: changes.pop(key) for key in keys}
    architecture = {**NETWORKS[name].architecture, **changes}
    cls = implementation(side, "synthetic_model", name)
    return cls(LAYOUT, GRID, architecture=architecture, precision=precision, device="cpu", **options)


# ---------------------------------------------------------------------------------------------- models


@by_side
@by_network
@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch norm"])
def test_a_network_is_the_same_on_the_other_side(
    start: str, name: str, batch_norm: bool, precision: str, tmp_path: Path
) -> None:
    options = {"batch_norm": batch_norm, "residual": False, "inputs": "dynamic", "activation": "tanh"}
    model = surrogate(start, name, precision, seed=5, **options)
    rng = np.random.default_rng(0)
    bumped = {n: w + 0.01 * rng.random(w.shape).astype(w.dtype) for n, w in model.weights().items()}
    model.assign(bumped)
    path = tmp_path / f"model{model.suffix}"
    model.save(path)
    there = there_and_back(path, start)
    other = surrogate(OTHER[start], name, precision, **options)
    assert other.description == model.description
    other.load(there)
    for entry, weights in model.weights().items():
        assert np.array_equal(other.weights()[entry], weights)
    states = smooth_states(LAYOUT, GRID, 2)
    assert_equivalent(model.predict(states, 2), other.predict(states, 2), "network", precision=precision)


@by_network
@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch norm"])
def test_both_sides_have_their_parameters_in_one_order(name: str, batch_norm: bool) -> None:
    """Adam's moments stand under the number of their parameter."""
    legacy, phiml = (
        [n for n, _ in surrogate(side, name, batch_norm=batch_norm).network.named_parameters()]
        for side in SIDES
    )
    assert legacy == phiml


@by_side
@pytest.mark.parametrize("case", SELECTED, ids=lambda case: case.name)
def test_a_physical_model_is_the_same_on_the_other_side(
    start: str, case: Case, precision: str, tmp_path: Path
) -> None:
    model, other = case.model(start, precision), case.model(OTHER[start], precision)
    model.assign({name: 0.37 * np.asarray(v) for name, v in case.parameters().items()})
    path = tmp_path / f"model{model.suffix}"
    model.save(path)
    other.load(there_and_back(path, start))
    assert other.description == model.description
    for name, value in model.parameters.items():
        assert np.array_equal(model.arrays.numpy(value), other.arrays.numpy(other.parameters[name])), name


# ------------------------------------------------------------------------------------------- trainings


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """An experiment on a line, with data that no coefficient explains to the last digit."""
    overrides = [
        "trainer.synthetic.epochs=4",
        "trainer.physical.solve.max_iterations=3",
    ]
    config = tiny(tmp_path_factory.mktemp("conversions"), overrides)
    write_data(config, noise=0.02)
    return config


@pytest.fixture(scope="module")
def reaction(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """An experiment with four parameters to learn, not in the order of the alphabet."""
    folder = tmp_path_factory.mktemp("reaction")
    case = case_of("gray_scott")
    guesses = [
        f"{{name: {n}, initial_guess: '{case.formula(n, 0.7)}'}}" for n in ("kill", "Du", "feed", "Dv")
    ]
    overrides = [
        "trainer.physical.solve.max_iterations=3",
        f"trainer.physical.learnable_parameters=[{', '.join(guesses)}]",
    ]
    config = tiny_of(folder, case, overrides)
    write_data(config, noise=0.02)
    return config


class Stage:
    """A trainer of one side with its datasets."""

    def __init__(self, config: Config, kind: str, side: str) -> None:
        records: list[Record] = []
        factory = Factory(config, observe=records.append)
        with use_mode(side):
            make: Callable[[], Any] = {
                "synthetic": lambda: factory.synthetic_trainer(factory.synthetic_model()),
                "physical": lambda: factory.physical_trainer(
                    factory.physical_model(config.initial_parameters())
                ),
            }[kind]
            self.trainer = make()
            manager = factory.data_manager()
            self.train, self.validation = (factory.dataset(manager, s) for s in ((0,), (1,)))

    def fit(self, epochs: int) -> list[Record]:
        """Train on."""
        return self.trainer.fit(self.train, self.validation, epochs=epochs).records

    def learned(self) -> dict[str, Any]:
        """The state that counts: weights or parameters, and the best of them."""
        state = self.trainer.state()
        return {n: a for n, a in state.arrays.items() if not n.startswith("moments")}


def losses(records: list[Record]) -> dict[str, float]:
    keys = ("train_loss", "validation_loss", "initial_loss")
    return {f"{r['epoch']} {key}": r[key] for r in records for key in keys if key in r}


@by_side
@pytest.mark.parametrize("kind", ["synthetic", "physical"])
def test_training_goes_on_where_it_was(config: Config, kind: str, start: str, tmp_path: Path) -> None:
    whole, half, rest = (Stage(config, kind, side) for side in ("legacy", start, OTHER[start]))
    expected = whole.fit(4)
    half.fit(2)
    path = tmp_path / f"last{SUFFIX[start]}"
    half.trainer.save(path)
    rest.trainer.load(there_and_back(path, start))
    assert rest.trainer.epochs_done == 2
    found = rest.fit(2)
    assert [r["epoch"] for r in found] == [3, 4]
    assert_equivalent(losses(expected[2:]), losses(found), f"losses of a {kind} fit")
    what = {"synthetic": "weights of a synthetic fit", "physical": "parameters of a physical fit"}[kind]
    assert_equivalent(whole.learned(), rest.learned(), what)


@by_side
def test_moments_come_along(config: Config, start: str, tmp_path: Path) -> None:
    config = tiny(config.data.data_dir.parent, ["model.synthetic.architecture.batch_norm=true"])
    half, rest = Stage(config, "synthetic", start), Stage(config, "synthetic", OTHER[start])
    half.fit(1)
    path = tmp_path / f"last{SUFFIX[start]}"
    half.trainer.save(path)
    rest.trainer.load(there_and_back(path, start))
    before, after = half.trainer.state(), rest.trainer.state()
    assert before.arrays.keys() == after.arrays.keys()
    assert any(name.startswith("moments.") and np.any(a) for name, a in before.arrays.items())
    for name, array in before.arrays.items():
        assert array.dtype == after.arrays[name].dtype, name
        assert np.array_equal(array, after.arrays[name]), name
    assert before.facts == after.facts


@by_side
@pytest.mark.parametrize("basis", ["{name: fourier, modes: 2}", "{name: gaussians, count: 3, width: 0.8}"])
def test_coefficients_come_along(config: Config, basis: str, start: str, tmp_path: Path) -> None:
    learnable = f"[{{name: diffusion_coeff, initial_guess: 0.25, basis: {basis}}}]"
    config = tiny(config.data.data_dir.parent, [f"trainer.physical.learnable_parameters={learnable}"])
    half, rest = Stage(config, "physical", start), Stage(config, "physical", OTHER[start])
    half.fit(1)
    path = tmp_path / f"last{SUFFIX[start]}"
    half.trainer.save(path)
    rest.trainer.load(there_and_back(path, start))
    before, after = half.trainer.state(), rest.trainer.state()
    assert before.facts == after.facts
    assert "coefficients.diffusion_coeff" in before.arrays
    assert list(before.arrays) == list(after.arrays)
    assert all(np.array_equal(a, after.arrays[name]) for name, a in before.arrays.items())


@by_side
def test_many_parameters_go_on_in_their_order(reaction: Config, start: str, tmp_path: Path) -> None:
    """Sums over all parameters round by their order, which a file does not keep; hence the same bits."""
    half, rest, direct = (Stage(reaction, "physical", side) for side in (start, OTHER[start], OTHER[start]))
    half.fit(1)
    path = tmp_path / f"last{SUFFIX[start]}"
    half.trainer.save(path)
    rest.trainer.load(there_and_back(path, start))
    direct.trainer.restore(half.trainer.state())
    assert list(rest.trainer.state().arrays) == list(half.trainer.state().arrays)
    rest.fit(1)
    direct.fit(1)
    assert len(rest.learned()) == 8
    assert all(np.array_equal(a, direct.learned()[name]) for name, a in rest.learned().items())


def test_what_was_learned_alone_is_kept_without_a_comparison_of_outputs(
    reaction: Config, tmp_path: Path
) -> None:
    with use_mode("legacy"):
        factory = Factory(reaction)
        model = factory.physical_model()
    trainer = implementation("legacy", "physical_trainer")(model, bounds={"feed": model.bounds("feed")})
    trainer.save(tmp_path / "last.pth")
    done = convert_checkpoint(tmp_path / "last.pth", tmp_path / "last.phiml")
    assert done.output is None
    assert "without Du, Dv, kill" in done.unsaid
    assert contents(tmp_path / "last.phiml") == contents(tmp_path / "last.pth")


# ------------------------------------------------------------------------------- what a conversion says


@by_side
def test_a_conversion_says_what_it_did(start: str, tmp_path: Path) -> None:
    model = surrogate(start, "fno")
    path, target = tmp_path / f"a{SUFFIX[start]}", tmp_path / "new folder" / f"b{SUFFIX[OTHER[start]]}"
    model.save(path)
    done = convert_checkpoint(path, target)
    assert (done.kind, done.tensors) == ("fno network", len(model.weights()))
    assert done.output is not None
    assert done.output.passed
    assert 0.0 < done.output.allowed < 1e-11
    first, second, third = done.lines()
    assert first == f"{path} -> {target}"
    assert second == f"fno network: {len(model.weights())} tensors, the worst difference of any is 0"
    assert third.startswith("output: ")
    assert "between the modes is" in third or "same to the last bit" in third


def test_older_files_that_say_nothing_of_their_model_are_converted_and_loaded(tmp_path: Path) -> None:
    model, other = surrogate("legacy"), surrogate("phiml", seed=3, residual=False)
    write_checkpoint(tmp_path / "old.pth", "unet network", model.weights(), {})
    done = convert_checkpoint(tmp_path / "old.pth", tmp_path / "new.phiml")
    assert done.output is None
    assert done.lines()[-1] == "output: not compared, since the file does not say how its model is built"
    other.load(tmp_path / "new.phiml")
    assert all(np.array_equal(w, other.weights()[n]) for n, w in model.weights().items())
    case = BY_NAME["heat-1d-field-zero"]
    values = {n: np.asarray(v) for n, v in case.parameters().items()}
    write_checkpoint(tmp_path / "older.pth", "heat physical model", values, {})
    case.model("legacy").load(tmp_path / "older.pth")


def spoiled(side: str, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any]) -> None:
    """Let a side write other arrays than it is given."""
    module = import_module(f"hyco.{side}.checkpoints")
    write = module.write_checkpoint

    def wrong(path: Path, kind: str, arrays: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        write(path, kind, change(dict(arrays)), facts)

    monkeypatch.setattr(module, "write_checkpoint", wrong)


def last_bit(arrays: dict[str, Any]) -> dict[str, Any]:
    name, array = next((n, a) for n, a in arrays.items() if a.dtype.kind == "f")
    return {**arrays, name: np.nextafter(array, np.inf)}


CHANGES = {
    "the last bit": (last_bit, "which differs by up to"),
    "a dtype": (lambda a: {n: v.astype(np.float32) for n, v in a.items()}, "read from the result as float32"),
    "a name": (lambda a: dict(list(a.items())[1:]), "other entries than it was written with"),
}


@by_side
@pytest.mark.parametrize("what", CHANGES)
def test_a_result_with_other_tensors_is_not_kept(
    start: str, what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    change, says = CHANGES[what]
    path, target = tmp_path / f"a{SUFFIX[start]}", tmp_path / f"b{SUFFIX[OTHER[start]]}"
    surrogate(start).save(path)
    target.write_bytes(b"what stood there before")
    spoiled(OTHER[start], monkeypatch, change)
    with pytest.raises(CheckpointError, match=says) as caught:
        convert_checkpoint(path, target)
    assert str(path) in str(caught.value)
    assert target.read_bytes() == b"what stood there before"
    assert {p.name for p in tmp_path.iterdir()} == {path.name, target.name}


@by_side
@pytest.mark.parametrize("kind", ["network", "physical model"])
def test_a_result_with_another_output_is_not_kept(
    start: str, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    case = BY_NAME["burgers-1d-scalar-zero"]
    model = surrogate(start) if kind == "network" else case.model(start)
    path, target = tmp_path / f"a{SUFFIX[start]}", tmp_path / f"b{SUFFIX[OTHER[start]]}"
    model.save(path)
    component = "synthetic_model" if kind == "network" else "physical_model"
    other = implementation(OTHER[start], component, model.name)
    predict = other.predict
    monkeypatch.setattr(other, "predict", lambda *args: predict(*args) * (1 + 1e-10))
    with pytest.raises(CheckpointError, match=r"compute different things.* allowed .*Nothing was converted"):
        convert_checkpoint(path, target)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@by_side
@pytest.mark.parametrize(
    ("owner", "method", "says"),
    [
        ("synthetic_trainer", "put_moments", "other entries than it was written with: moments.0.exp_avg"),
        ("synthetic_model", "load", "conv.*, which differs by up to"),
        ("physical_model", "load", "diffusion_coeff was written as float64 .*, which differs by up to"),
    ],
)
def test_a_result_that_is_read_as_something_else_is_not_kept(
    start: str,
    owner: str,
    method: str,
    says: str,
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Were a component of the other mode to read no moments, or nothing at all, that would show."""
    stage = Stage(config, owner.partition("_")[0], start)
    stage.fit(1)
    saved = stage.trainer if owner.endswith("trainer") else stage.trainer.model
    path = tmp_path / f"a{SUFFIX[start]}"
    saved.save(path)
    name = "default" if owner.endswith("trainer") else saved.name
    monkeypatch.setattr(implementation(OTHER[start], owner, name), method, lambda self, given: None)
    with pytest.raises(CheckpointError, match=says):
        convert_checkpoint(path, tmp_path / f"b{SUFFIX[OTHER[start]]}")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"model": {"name": "unet"}}, "says of its model is damaged"),
        ({"model": "a unet"}, "says of its model is damaged"),
        (
            {"model": {"grid": {"axes": ["x"], "size": [-1.0], "resolution": [4]}}},
            "says of its model is damaged",
        ),
        ({"model": {"name": "transformer"}}, "has no synthetic_model 'transformer'"),
        ({"model": {"architecture": {"depth": 3}}}, "cannot be built from what it says"),
        ({"model": {"architecture": {"filters": 7}}}, "does not fit this model"),
        ({"model": {"precision": "float16"}}, "cannot be built from what it says"),
        ({"model": {"name": "convnet"}}, "expected a checkpoint of a convnet network|cannot be built"),
    ],
)
def test_a_file_that_describes_something_else_is_refused(
    facts: dict[str, Any], says: str, tmp_path: Path
) -> None:
    model = surrogate("legacy")
    said = facts["model"]
    if isinstance(said, dict) and said != {"name": "unet"}:
        changed = {**model.description["architecture"], **said.get("architecture", {})}
        said = {**model.description, **said, "architecture": changed}
    write_checkpoint(tmp_path / "a.pth", "unet network", model.weights(), {"model": said})
    with pytest.raises((CheckpointError), match=says):
        convert_checkpoint(tmp_path / "a.pth", tmp_path / "a.phiml")
    assert [p.name for p in tmp_path.iterdir()] == ["a.pth"]


# ------------------------------------------------------------------------- damaged, swapped and hostile


class Hostile:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def swap(path: Path) -> None:
    """A checkpoint of the other format under this name."""
    other = path.with_suffix(SUFFIX["legacy" if path.suffix == ".phiml" else "phiml"])
    surrogate("legacy" if other.suffix == ".pth" else "phiml").save(other)
    other.rename(path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "cut .pth": (".pth", cut, r"bad\.pth"),
    "cut .phiml": (".phiml", cut, "not a readable safetensors file"),
    "empty .pth": (".pth", lambda p: p.write_bytes(b""), r"bad\.pth"),
    "empty .phiml": (".phiml", lambda p: p.write_bytes(b""), "not a readable safetensors file"),
    "text as .phiml": (".phiml", lambda p: p.write_text("hello " * 50), "not a readable safetensors file"),
    "swapped .pth": (".pth", swap, r"holds a \.phiml checkpoint. Rename it to bad\.phiml"),
    "swapped .phiml": (".phiml", swap, r"holds a \.pth checkpoint. Rename it to bad\.pth"),
    "foreign .phiml": (
        ".phiml",
        lambda p: p.write_bytes(save({"a": np.zeros(2)})),
        "found another safetensors file",
    ),
    "facts that are no JSON": (
        ".phiml",
        lambda p: p.write_bytes(save({"a": np.zeros(2)}, {"format": FORMAT, "kind": "x", "facts": "{"})),
        "a checkpoint without its kind or facts",
    ),
    "no arrays": (
        ".pth",
        lambda p: torch.save({"format": FORMAT, "kind": "x"}, p),
        "without its kind, arrays",
    ),
    "another version": (
        ".pth",
        lambda p: torch.save({"format": "hyco-9"}, p),
        "expected a checkpoint of format",
    ),
    "numbers as arrays": (
        ".pth",
        lambda p: torch.save({"format": FORMAT, "kind": "x", "arrays": {"a": 1}, "facts": {}}, p),
        "without its kind, arrays or facts",
    ),
    "another kind": (
        ".pth",
        lambda p: write_checkpoint(p, "recipe", {"a": np.zeros(2)}, {}),
        "a checkpoint of a 'recipe'; expected one of network, physical model",
    ),
    "what safetensors cannot hold": (
        ".pth",
        lambda p: write_checkpoint(p, "unet network", {"a": np.zeros(2, complex)}, {}),
        "complex128",
    ),
    "another model's weights": (
        ".pth",
        lambda p: write_checkpoint(
            p, "unet network", {"a": np.zeros(2)}, {"model": surrogate("legacy").description}
        ),
        r"bad\.pth: does not fit this model: missing inc",
    ),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_damaged_swapped_and_foreign_files_are_refused(what: str, tmp_path: Path) -> None:
    suffix, damage, says = DAMAGES[what]
    path = tmp_path / f"bad{suffix}"
    surrogate("legacy" if suffix == ".pth" else "phiml").save(path)
    damage(path)
    before = path.read_bytes()
    target = tmp_path / f"good{'.phiml' if suffix == '.pth' else '.pth'}"
    with pytest.raises(CheckpointError, match=says):
        convert_checkpoint(path, target)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_hostile_file_is_refused_and_nothing_of_it_runs(tmp_path: Path) -> None:
    trap, path = tmp_path / "trap", tmp_path / "bad.pth"
    torch.save({"format": FORMAT, "kind": "unet network", "arrays": {}, "facts": {"a": Hostile(trap)}}, path)
    with pytest.raises(CheckpointError, match="system"):
        convert_checkpoint(path, tmp_path / "good.phiml")
    assert [p.name for p in tmp_path.iterdir()] == ["bad.pth"]
    torch.load(path, weights_only=False)  # the trap is one
    assert trap.exists()


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        ("a.pth", "b.pth", "is a checkpoint of legacy mode already"),
        ("a.phiml", "b.phiml", "is a checkpoint of phiml mode already"),
        (
            "a.pth",
            "b.safetensors",
            r"b\.safetensors: expected a checkpoint whose name ends in \.pth or \.phiml",
        ),
        ("a.txt", "b.pth", r"a\.txt: expected a checkpoint whose name ends in \.pth or \.phiml or \.npz"),
        ("none.pth", "b.phiml", "no such checkpoint"),
        (".", "b.phiml", "expected a checkpoint whose name"),
        ("a.pth", "a.pth", "would replace what it is made from"),
    ],
)
def test_names_that_make_no_sense_are_refused(source: str, target: str, says: str, tmp_path: Path) -> None:
    surrogate("legacy").save(tmp_path / "a.pth")
    surrogate("phiml").save(tmp_path / "a.phiml")
    with pytest.raises(CheckpointError, match=says):
        convert_checkpoint(tmp_path / source, tmp_path / target)
    with pytest.raises(CheckpointError, match=r"name ends in \.phiml"):
        convert_torch_to_phiml(tmp_path / "a.pth", tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match=r"name ends in \.phiml"):
        convert_phiml_to_torch(tmp_path / "a.pth", tmp_path / "b.pth")
    assert {p.name for p in tmp_path.iterdir()} == {"a.pth", "a.phiml"}


# ------------------------------------------------------------------------- what a load now knows better


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"periodic": False}, "periodic: expected False, found True"),
        ({"residual": False}, "residual: expected False, found True"),
        ({"activation": "tanh"}, "activation: expected 'tanh', found 'relu'"),
    ],
)
def test_weights_of_a_network_that_computes_something_else_are_refused(
    side: str, changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    saved, model = surrogate(side, seed=1), surrogate(side, **changes)
    path, before = tmp_path / f"a{SUFFIX[side]}", model.weights()
    saved.save(path)
    with pytest.raises(CheckpointError, match=f"these weights are of another network: {says}"):
        model.load(path)
    trainers = [implementation(side, "synthetic_trainer")(m) for m in (saved, model)]
    trainers[0].save(path)
    with pytest.raises(CheckpointError, match=f"another network: {says}"):
        trainers[1].load(path)
    assert all(np.array_equal(w, before[n]) for n, w in model.weights().items())


@pytest.mark.parametrize("side", SIDES)
def test_parameters_of_another_discretisation_are_taken_and_said(
    side: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    case = BY_NAME["heat-1d-scalar-periodic"]
    path = tmp_path / f"a{SUFFIX[side]}"
    case.model(side).save(path)
    with caplog.at_level(logging.WARNING, "hyco"):
        case.model(side).load(path)
        assert not caplog.records
        case.model(side, substeps=5, boundaries={"temperature": "zero"}).load(path)
    (record,) = caplog.records
    assert "substeps: expected 5, found 2" in record.getMessage()
    assert "boundary of temperature: expected 'zero', found 'periodic'" in record.getMessage()


@pytest.mark.parametrize("side", SIDES)
def test_a_training_state_of_another_equation_is_refused(side: str, tmp_path: Path) -> None:
    heat, burgers = (BY_NAME[f"{name}-1d-scalar-periodic"].model(side) for name in ("heat", "burgers"))
    trainer = implementation(side, "physical_trainer")
    path = tmp_path / f"a{SUFFIX[side]}"
    trainer(heat, bounds={n: heat.bounds(n) for n in heat.parameters}).save(path)
    with pytest.raises(CheckpointError, match="expected parameters of burgers, found those of heat"):
        trainer(burgers, bounds={n: burgers.bounds(n) for n in burgers.parameters}).load(path)


@by_network
def test_a_description_has_every_key_of_the_architecture(name: str) -> None:
    legacy, phiml = (surrogate(side, name) for side in SIDES)
    assert legacy.description == phiml.description
    expected = {"batch_norm", "activation", "periodic", *NETWORKS[name].changes}
    assert set(legacy.description["architecture"]) == expected
