"""Every key of the configuration does something: one test walks over all keys of the schema.

Each key has a probe: settings that change it alone, and where its effect must be seen.  A key without a probe
fails, and so does a probe whose key is gone.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import h5py
import numpy as np
import pytest
from PIL import Image

from hyco import tasks
from hyco.config import Config
from hyco.config.architectures import ARCHITECTURES
from hyco.config.loading import parse_config
from hyco.config.observations import SPACE, TIME
from hyco.config.optimisation import BASES, CURRICULA, OPTIMIZERS, RAMPS, SCHEDULES
from hyco.config.section import Section
from hyco.errors import ConfigError, HycoError
from hyco.migration.factory import Factory, choices, mode_from
from hyco.testing import experiments
from hyco.testing.cases import Case
from hyco.testing.experiments import write_data
from tests.experiments import tiny

CHOICES: Mapping[str, Mapping[str, type[Section]]] = {
    "model.synthetic.architecture": ARCHITECTURES,
    "observations.space": SPACE,
    "observations.time": TIME,
    "trainer.synthetic.curriculum": CURRICULA,
    **{
        f"trainer.hybrid.loss_scaling.{model}.{key}": RAMPS
        for model in ("synthetic", "physical")
        for key in ("real_weight", "interaction_weight")
    },
    "trainer.synthetic.optimizer": OPTIMIZERS,
    "trainer.synthetic.scheduler": SCHEDULES,
    "trainer.physical.learnable_parameters.basis": BASES,
}
"""Blocks of which there are several, by a name."""
SAME = {"observations.physical": "observations", "observations.synthetic": "observations"}
"""Blocks that are another one again: of those, only what is special is probed."""
Look = Callable[[Config], Any]


def keys(section: type[Section] = Config, above: str = "") -> Iterator[str]:
    """The dotted paths of all keys below a block; those of a list or map of blocks without the index."""
    for name, field in section.model_fields.items():
        path = f"{above}{name}"
        if path in SAME:
            yield path
        elif path in CHOICES:
            for choice, block in CHOICES[path].items():
                yield from (f"{path}:{choice}.{inner}" for inner in block.model_fields)
            if CHOICES[path] in (CURRICULA, RAMPS):  # it can be left out, or be a number
                yield path
        else:
            blocks = list(_blocks(field.annotation))
            if not blocks:
                assert field.annotation is not Any, f"{path}: this test does not know what it can be"
                yield path
            for block in blocks:
                yield from keys(block, f"{path}.")
            if NoneType in get_args(field.annotation) and blocks:
                yield path


def _blocks(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    elif get_origin(annotation) in (Annotated, Union, UnionType, dict, tuple):
        for part in get_args(annotation):
            yield from _blocks(part)


def digest(value: Any) -> str:
    """A short name of any nested value; arrays by their bytes."""
    if isinstance(value, Mapping):
        return digest([[key, digest(inner)] for key, inner in sorted(value.items(), key=str)])
    if isinstance(value, np.ndarray):
        return hashlib.sha256(value.tobytes()).hexdigest()[:12]
    if isinstance(value, list | tuple):
        return hashlib.sha256("|".join(digest(v) for v in value).encode()).hexdigest()[:12]
    return repr(value)


def trained(config: Config) -> str:
    """What the training did: records without times, and the weights and parameters at its end."""
    write_data(config)
    tasks.run(config, tasks=("train",))
    return digest([_records(config), _states(config)])


def _records(config: Config) -> list[dict[str, Any]]:
    lines = (config.output_dir / "history.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "timing"} for line in lines]


def _states(config: Config) -> dict[str, Any]:
    with mode_from(config):
        factory = Factory(config)
        found = {}
        if config.general.mode != "physical":
            found["synthetic"] = factory.synthetic_model()
        if config.general.mode != "synthetic":
            found["physical"] = factory.physical_model(config.initial_parameters())
        arrays = {}
        for name, model in found.items():
            model.load(config.checkpoint_dir / f"{name}_best{model.suffix}")
        if "synthetic" in found:
            arrays |= found["synthetic"].weights()
        if "physical" in found:
            arrays |= {n: model.arrays.numpy(p) for n, p in found["physical"].parameters.items()}
    return arrays


def learned(config: Config) -> str:
    """The losses and the weights alone, without what records say beside them."""
    trained(config)
    numbers = [r["train_loss"] for r in _records(config) if r["kind"] == "epoch"]
    return digest([numbers, _states(config)])


def generated(config: Config) -> str:
    """The simulated trajectories."""
    tasks.run(config, tasks=("generate",))
    return digest([_frames(path) for path in sorted(config.data.data_dir.glob("*.h5"))])


def _frames(path: Path) -> dict[str, Any]:
    with h5py.File(path) as file:
        return {name: np.asarray(file[name]) for name in file if isinstance(file[name], h5py.Dataset)}


def evaluated(config: Config) -> str:
    """The scores."""
    trained(config)
    return digest(tasks.run(config, tasks=("evaluate",)))


def drawn(config: Config) -> Any:
    """The size of a figure."""
    evaluated(config)
    return Image.open(config.output_dir / "figures" / "error_over_time.png").size


def animated(config: Config) -> Any:
    """The pace of the animations."""
    evaluated(config)
    animation = Image.open(sorted(config.output_dir.glob("animations/sim_*.gif"))[0])
    return animation.info["duration"]


def files(config: Config) -> list[str]:
    """The files that a training leaves, relative to the folder of the test."""
    trained(config)
    return sorted(str(p) for p in config.output_dir.parent.rglob("*") if p.is_file() and "log" not in p.name)


def ran(config: Config) -> list[str]:
    """What is there after the tasks that the configuration names."""
    tasks.run(config)
    return sorted(p.name for p in config.output_dir.iterdir())


def implementations(config: Config) -> list[Any]:
    """Which side implements what."""
    with mode_from(config):
        return [(c.component, c.mode) for c in choices(config)]


def compared(config: Config) -> Any:
    """What shadow mode counted, or how it ended the run."""
    try:
        trained(config)
    except HycoError as error:
        return type(error).__name__
    found = config.output_dir / "shadow.json"
    if not found.exists():
        return "none"
    return digest([_plain(r) for r in _rows(json.loads(found.read_text()))])


def _rows(content: Any) -> list[Any]:
    return [content] if isinstance(content, dict) else list(content)


def _plain(content: Any) -> Any:
    """Counts alone: times differ from run to run."""
    if isinstance(content, dict):
        return {k: _plain(v) for k, v in content.items() if not isinstance(v, float)}
    return [_plain(v) for v in content] if isinstance(content, list) else content


def held(config: Config) -> str:
    """The library in which a trajectory is held."""
    write_data(config)
    with mode_from(config):
        return str(Factory(config).data_manager().load(0).default_backend)


def kept(config: Config) -> bool:
    """Whether a trajectory is still in memory a moment later."""
    write_data(config)
    with mode_from(config):
        manager = Factory(config).data_manager()
    first = manager.load(0)
    time.sleep(0.05)
    return manager.load(0) is first


def first_read(config: Config) -> str:
    """The first trajectory, from files of two variables without coordinates or generated; or why not."""
    for name in ("one.hdf5", "other.hdf5"):
        with h5py.File(name, "w") as file:
            for number, variable in enumerate(("tensor", "flow")):
                file[variable] = np.random.default_rng([len(name), number]).standard_normal((2, 12, 8))
    if config.data.source is None:
        write_data(config)
    try:
        with mode_from(config):
            manager = Factory(config).data_manager()
            return digest(manager.arrays.numpy(manager.load(0)))
    except HycoError as error:
        return str(error)


def fitting(config: Config) -> int:
    """How many trajectories fit into memory."""
    write_data(config)
    with mode_from(config):
        return Factory(config).data_manager().resident(range(config.data.num_simulations))


def pools(config: Config, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many processes make caches."""
    asked: list[int] = []

    class Pool:
        def __init__(self, processes: int, *_: Any, **__: Any) -> None:
            asked.append(processes)
            raise ConfigError("enough seen")

    monkeypatch.setattr("hyco.storage.caching.ProcessPoolExecutor", Pool)
    write_data(config)
    with mode_from(config):
        manager = Factory(config).data_manager()
    with suppress(ConfigError):
        manager.prepare(range(config.data.num_simulations))
    return asked


def saved(config: Config) -> list[str]:
    """Which generations of checkpoints are there at the end."""
    trained(config)
    return sorted(p.name for p in config.checkpoint_dir.iterdir() if p.is_dir())


def stepped(config: Config) -> list[int]:
    """How many functions PhiML compiles for a step of the equation."""
    with mode_from(config):
        model = Factory(config).physical_model()
    model.rollout(model.initial_state(1, rng=np.random.default_rng(0)), 2)
    return [model.compiled_step.traces]


def computed_by(config: Config) -> list[str]:
    """What computes a step of the equation."""
    with mode_from(config):
        model = Factory(config).physical_model()
    return [model.arrays.compute.library.name]


def network_calls(config: Config) -> int:
    """How often the network computes in one update."""
    write_data(config)
    with mode_from(config):
        factory = Factory(config)
        trainer: Any = factory.synthetic_trainer(factory.synthetic_model())
        batch = factory.dataset(factory.data_manager(), (0,)).get_batch([0])
    calls: list[int] = []
    trainer.model.network.register_forward_pre_hook(lambda *_: calls.append(1))
    trainer.update(batch)
    return len(calls)


def what_came(config: Config) -> str:
    """What the training did, or why it did not."""
    try:
        return trained(config)
    except HycoError as error:
        return str(error)


def diverging(config: Config) -> str:
    """What comes of fits of a potential, which has no bounds, in steps that overflow."""
    case = Case("inviscid_burgers", (8,), "field", "periodic", 0.5, 1)
    solve = config.trainer.physical.solve.model_dump_json()
    return what_came(
        experiments.tiny(
            Path(),
            case,
            ["general.mode=physical", "trainer.physical.epochs=3", f"trainer.physical.solve={solve}"],
        )
    )


def files_or_pip(config: Config) -> Any:
    """The files that a training leaves, or which package it lacks."""
    try:
        return files(config)
    except ConfigError as error:
        return "pip install" in str(error) and str(error)


def seen_inputs(config: Config) -> Any:
    """How many components the network of a problem with a static field sees."""
    settings = config.model_dump(mode="json")
    settings["model"]["physical"] |= {"name": "advection", "parameters": {"advection_coeff": {"value": 0.5}}}
    settings["model"]["physical"]["boundaries"] = {}
    settings["trainer"]["physical"]["learnable_parameters"] = []
    flow = parse_config(settings)
    with mode_from(flow):
        return {name: w.shape for name, w in Factory(flow).synthetic_model().weights().items()}


@dataclass(frozen=True)
class Probe:
    """Settings that change a key, others that both runs have, and where the effect is seen.

    `refused`: instead, the setting is refused, in words that name the key: there is nothing else it can be.
    `accepted`: without the setting, the others are refused.
    """

    setting: str
    base: tuple[str, ...] = ()
    look: Callable[..., Any] = trained
    refused: bool = False
    accepted: bool = False


SHORT = ("trainer.physical.solve.max_iterations=1",)
PLANE = ("model.physical.domain={x: {size: 8, resolution: 8}, y: {size: 9, resolution: 8}}",)
BOX = (
    "model.physical.domain="
    "{x: {size: 8, resolution: 4}, y: {size: 9, resolution: 4}, z: {size: 9, resolution: 4}}",
)
GUESS = "trainer.physical.learnable_parameters=[{name: diffusion_coeff, initial_guess: 0.25, %s}]"
ALONE = ("general.mode=physical", "trainer.physical.solve.max_iterations=4")
NETWORK = ("general.mode=synthetic", "trainer.synthetic.epochs=4")
ADAM = (*ALONE, "trainer.physical.solve.method=adam")
SHADOW = ("migration.mode=legacy", "migration.shadow.enabled=true", "migration.shadow.every=1", *SHORT)
STRICT = (*SHADOW, "migration.shadow.rtol=0", "migration.shadow.atol=0")
CYCLES = ("trainer.hybrid.cycles=3", *SHORT)
WEIGHTS = "trainer.hybrid.loss_scaling"
EVALUATED = ("general.mode=physical", *SHORT)
FILES = "format: pdebench, path: one.hdf5"
DIVERGING = ("trainer.physical.solve={method: adam, learning_rate: 1.0e+300, retries: 1, max_failures: 9}",)


def architecture(name: str, **changes: Any) -> dict[str, Probe]:
    """The probes of one architecture."""
    plain = {"layers": 2, "filters": 2} if name != "unet" else {"levels": 2, "filters": 2}
    plain |= {"modes": 2} if name == "fno" else {}
    base = f"model.synthetic={json.dumps({'name': name, 'architecture': plain})}"
    path = "model.synthetic.architecture"
    return {
        f"{path}:{name}.{key}": Probe(f"{path}.{key}={json.dumps(value)}", ("general.mode=synthetic", base))
        for key, value in changes.items()
    }


def block(path: str, settings: Mapping[str, str], base: tuple[str, ...] = ()) -> dict[str, Probe]:
    """Probes of `path:choice.key`: which block stands there, and which one instead."""
    probes = {}
    for key, pair in settings.items():
        other, this = pair.split(" -> ")
        probes[f"{path}:{key}"] = Probe(f"{path}={this}", (*base, f"{path}={other}"))
    return probes


COMMON = {"filters": 3, "batch_norm": True, "activation": "tanh", "periodic": False}
PROBES: dict[str, Probe] = {
    "general.experiment_name": Probe(
        "general.experiment_name=other", ("general.output_dir=null",), lambda c: str(c.output_dir)
    ),
    "general.mode": Probe("general.mode=synthetic"),
    "general.tasks": Probe("general.tasks=[generate]", ("general.tasks=[generate, train]", *SHORT), ran),
    "general.seed": Probe("general.seed=4"),
    "general.output_dir": Probe("general.output_dir=elsewhere/results", SHORT, files),
    "general.checkpoint_dir": Probe("general.checkpoint_dir=results/elsewhere", SHORT, files),
    "migration.mode": Probe("migration.mode=phiml", ("migration.mode=legacy",), implementations),
    "migration.components": Probe(
        "migration.components={dataset: phiml}", ("migration.mode=hybrid",), implementations
    ),
    "migration.shadow.enabled": Probe("migration.shadow.enabled=false", SHADOW, compared),
    "migration.shadow.every": Probe("migration.shadow.every=5", SHADOW, compared),
    "migration.shadow.on_mismatch": Probe("migration.shadow.on_mismatch=raise", STRICT, compared),
    "migration.shadow.rtol": Probe("migration.shadow.rtol=1", STRICT, compared),
    "migration.shadow.atol": Probe("migration.shadow.atol=1", STRICT, compared),
    "data.data_dir": Probe(
        "data.data_dir=elsewhere", look=lambda c: (generated(c), Path("elsewhere").exists())
    ),
    "data.cache_dir": Probe(
        "data.cache_dir=elsewhere", SHORT, lambda c: (trained(c), Path("elsewhere").exists())
    ),
    "data.format": Probe("data.format=csv", refused=True),
    "data.fields_scheme": Probe("data.fields_scheme={dynamic: [pressure]}", refused=True),
    "data.fields_scheme.dynamic": Probe("data.fields_scheme={dynamic: [pressure]}", refused=True),
    "data.fields_scheme.static": Probe(
        "data.fields_scheme={dynamic: [velocity], static: [wind]}", refused=True
    ),
    "data.fields_scheme.vectors": Probe(
        "data.fields_scheme={dynamic: [velocity], vectors: [speed]}", refused=True
    ),
    "data.source": Probe(f"data.source={{{FILES}}}", look=first_read),
    "data.source.format": Probe("data.source.format=well", (f"data.source={{{FILES}}}",), first_read),
    "data.source.path": Probe("data.source.path=other.hdf5", (f"data.source={{{FILES}}}",), first_read),
    "data.source.fields": Probe(
        "data.source.fields={velocity: flow}",
        (f"data.source={{{FILES}, fields: {{velocity: tensor}}}}",),
        first_read,
    ),
    "data.source.time_stride": Probe(
        "data.source.time_stride=2",
        (f"data.source={{{FILES}, fields: {{velocity: flow}}}}",),
        first_read,
    ),
    "data.source.space_stride": Probe(
        "data.source.space_stride=2",
        (
            f"data.source={{{FILES}, fields: {{velocity: flow}}}}",
            "model.physical.domain.x.resolution=4",
            "trainer.synthetic.epochs=1",
        ),
        first_read,
    ),
    "data.num_simulations": Probe("data.num_simulations=3", look=generated),
    "data.trajectory_length": Probe("data.trajectory_length=7", look=generated),
    "cache.backend": Probe("cache.backend=numpy", ("migration.mode=phiml",), held),
    "cache.worker_backend": Probe("cache.worker_backend=torch", refused=True),
    "cache.ttl": Probe("cache.ttl=0.01", look=kept),
    "cache.workers": Probe("cache.workers=2", look=pools),
    "cache.memory_limit_mb": Probe(
        "cache.memory_limit_mb=1", ("model.physical.domain={x: {size: 65536, resolution: 65536}}",), fitting
    ),
    "model.physical.name": Probe("model.physical.name=heat", refused=True),  # with fields of Burgers
    "model.physical.domain.size": Probe("model.physical.domain.x.size=9", look=generated),
    "model.physical.domain.resolution": Probe("model.physical.domain.x.resolution=12", look=generated),
    "model.physical.dt": Probe("model.physical.dt=0.4", look=generated),
    "model.physical.substeps": Probe("model.physical.substeps=2", look=generated),
    "model.physical.boundaries": Probe("model.physical.boundaries={velocity: zero}", look=generated),
    "model.physical.parameters.type": Probe(
        "model.physical.parameters.diffusion_coeff={type: scalar, value: 0.2}",
        ("model.physical.parameters.diffusion_coeff={type: field, value: 0.2}",),
        lambda c: {name: np.shape(value) for name, value in c.true_parameters().items()},
    ),
    "model.physical.parameters.value": Probe(
        "model.physical.parameters.diffusion_coeff.value=0.2", look=generated
    ),
    "model.synthetic.name": Probe("model.synthetic={name: resnet, architecture: {layers: 2, filters: 2}}"),
    "model.synthetic.residual": Probe("model.synthetic.residual=false"),
    "model.synthetic.inputs": Probe(
        "model.synthetic.inputs=dynamic", ("general.mode=synthetic",), seen_inputs
    ),
    **architecture("unet", levels=1, **COMMON),
    **architecture("resnet", layers=3, **COMMON),
    **architecture("convnet", layers=3, **COMMON),
    **architecture("fno", layers=3, modes=3, **COMMON),
    **block(
        "observations.space",
        {
            "full.mask": "center -> full",
            "range.mask": "full -> {mask: range, x: [0, 0.5]}",
            "range.x": "{mask: range, x: [0, 0.5]} -> {mask: range, x: [0.5, 1]}",
            "center.mask": "full -> center",
            "center.fraction": "{mask: center, fraction: 0.5} -> {mask: center, fraction: 0.8}",
            "random_points.mask": "full -> {mask: random_points, count: 3}",
            "random_points.count": "{mask: random_points, count: 3} -> {mask: random_points, count: 5}",
            "file.mask": "full -> {mask: file, path: one.npy}",
            "file.path": "{mask: file, path: one.npy} -> {mask: file, path: other.npy}",
        },
        SHORT,
    ),
    **block(
        "observations.space",
        {"range.y": "{mask: range, y: [0, 0.5]} -> {mask: range, y: [0.5, 1]}"},
        (*PLANE, *EVALUATED),
    ),
    **block(
        "observations.space",
        {"range.z": "{mask: range, z: [0, 0.5]} -> {mask: range, z: [0.5, 1]}"},
        (*BOX, *EVALUATED),
    ),
    **block(
        "observations.time",
        {
            "full.mask": "{mask: uniform, stride: 2} -> full",
            "endpoints.mask": "full -> {mask: endpoints, start: 0.5}",
            "endpoints.start": "{mask: endpoints, start: 0.4} -> {mask: endpoints, start: 0.7}",
            "endpoints.end": "{mask: endpoints, start: 0.4} -> {mask: endpoints, start: 0.4, end: 0.7}",
            "uniform.mask": "full -> {mask: uniform, stride: 2}",
            "uniform.stride": "{mask: uniform, stride: 1} -> {mask: uniform, stride: 2}",
            "custom.mask": "full -> {mask: custom, fractions: [0, 0.2, 0.4]}",
            "custom.fractions": "{mask: custom, fractions: [0, 0.2]} -> {mask: custom, fractions: [0, 0.4]}",
        },
        SHORT,
    ),
    "observations.noise.level": Probe("observations.noise.level=0.1", SHORT),
    "observations.noise.snr_db": Probe("observations.noise.snr_db=20", SHORT),
    "observations.starts": Probe("observations.starts=first", SHORT),
    "observations.physical": Probe("observations.physical={noise: {level: 0.1}}", SHORT),
    "observations.synthetic": Probe("observations.synthetic={noise: {level: 0.1}}", SHORT),
    "trainer.device": Probe("trainer.device=cuda:99", ("trainer.device=cpu",), what_came),
    "trainer.precision": Probe("trainer.precision=float32", look=learned),
    "trainer.backend": Probe("trainer.backend=jax", ("migration.mode=phiml",), computed_by),
    "trainer.kernels": Probe("trainer.kernels=phiflow", ("migration.mode=phiml",), stepped),
    "trainer.batch_size": Probe("trainer.batch_size=2", SHORT),
    "trainer.rollout_steps": Probe("trainer.rollout_steps=2", SHORT),
    "trainer.train_sim": Probe("trainer.train_sim=[2]", ("data.num_simulations=3", *SHORT)),
    "trainer.val_sim": Probe("trainer.val_sim=[2]", ("data.num_simulations=3", *SHORT)),
    "trainer.synthetic.epochs": Probe("trainer.synthetic.epochs=2", SHORT),
    "trainer.synthetic.learning_rate": Probe("trainer.synthetic.learning_rate=0.02", SHORT),
    **block(
        "trainer.synthetic.optimizer",
        {
            "adam.name": "sgd -> adam",
            "adamw.name": "adam -> adamw",
            "sgd.name": "adam -> sgd",
            "sgd.momentum": "sgd -> {name: sgd, momentum: 0.5}",
        },
        (*NETWORK, "trainer.synthetic.weight_decay=0.1"),
    ),
    **block(
        "trainer.synthetic.scheduler",
        {
            "cosine.name": "none -> cosine",
            "cosine.final": "cosine -> {name: cosine, final: 0.5}",
            "none.name": "cosine -> none",
            "step.name": "none -> {name: step, every: 2}",
            "step.every": "{name: step, every: 1} -> {name: step, every: 2}",
            "step.factor": "{name: step, every: 1} -> {name: step, every: 1, factor: 0.3}",
            "exponential.name": "none -> exponential",
            "exponential.factor": "exponential -> {name: exponential, factor: 0.5}",
            "one-cycle.name": "cosine -> one-cycle",
            "one-cycle.peak": "one-cycle -> {name: one-cycle, peak: 0.6}",
            "one-cycle.start": "one-cycle -> {name: one-cycle, start: 0.5}",
            "one-cycle.final": "one-cycle -> {name: one-cycle, final: 0.5}",
        },
        NETWORK,
    ),
    "trainer.synthetic.weight_decay": Probe("trainer.synthetic.weight_decay=0.1", NETWORK),
    "trainer.synthetic.gradient_clipping": Probe(
        "trainer.synthetic.gradient_clipping=1.0e-6", (*NETWORK, "trainer.synthetic.optimizer=sgd"), learned
    ),
    "trainer.synthetic.early_stopping": Probe(
        "trainer.synthetic.early_stopping={patience: 1, min_delta: 0.9}", NETWORK
    ),
    "trainer.synthetic.early_stopping.patience": Probe(
        "trainer.synthetic.early_stopping.patience=3",
        (*NETWORK, "trainer.synthetic.early_stopping={patience: 1, min_delta: 0.9}"),
    ),
    "trainer.synthetic.early_stopping.min_delta": Probe(
        "trainer.synthetic.early_stopping.min_delta=0.9",
        (*NETWORK, "trainer.synthetic.early_stopping={patience: 1}"),
    ),
    "trainer.synthetic.curriculum": Probe("trainer.synthetic.curriculum={start: 2}", NETWORK, learned),
    **block(
        "trainer.synthetic.curriculum",
        {
            "linear.strategy": "{strategy: step, every: 3, end: 4} -> {strategy: linear, end: 4}",
            "linear.start": "{start: 2, end: 4} -> {start: 3, end: 4}",
            "linear.end": "{start: 2, end: 3} -> {start: 2, end: 4}",
            "power.strategy": "{start: 2, end: 4} -> {strategy: power, start: 2, end: 4, exponent: 3}",
            "power.start": "{strategy: power, start: 2, end: 4} -> {strategy: power, start: 3, end: 4}",
            "power.end": "{strategy: power, end: 3} -> {strategy: power, end: 4}",
            "power.exponent": "{strategy: power, end: 4, exponent: 0.3} -> {strategy: power, end: 4}",
            "step.strategy": "{start: 2, end: 4} -> {strategy: step, every: 3, end: 4}",
            "step.start": "{strategy: step, end: 4} -> {strategy: step, start: 3, end: 4}",
            "step.end": "{strategy: step, end: 3} -> {strategy: step, end: 4}",
            "step.every": "{strategy: step, end: 4} -> {strategy: step, end: 4, every: 2}",
        },
        NETWORK,
    ),
    "trainer.synthetic.amp": Probe(
        "trainer.synthetic.amp=bf16", ("trainer.precision=float32", *NETWORK), learned
    ),
    "trainer.synthetic.recompute": Probe("trainer.synthetic.recompute=true", NETWORK, network_calls),
    "trainer.synthetic.input_noise.scale": Probe("trainer.synthetic.input_noise.scale=0.1", NETWORK),
    "trainer.physical.epochs": Probe("trainer.physical.epochs=2", ALONE),
    "trainer.physical.window_stride": Probe("trainer.physical.window_stride=2", ALONE),
    "trainer.physical.smoothness": Probe("trainer.physical.smoothness=1.0e-3", ALONE, learned),
    "trainer.physical.total_variation": Probe("trainer.physical.total_variation=1.0e-3", ALONE, learned),
    "trainer.physical.learnable_parameters.name": Probe(
        "trainer.physical.learnable_parameters=[{name: viscosity, initial_guess: 0.2}]", refused=True
    ),
    "trainer.physical.learnable_parameters.initial_guess": Probe(
        "trainer.physical.learnable_parameters=[{name: diffusion_coeff, initial_guess: 0.2}]", ALONE, learned
    ),
    "trainer.physical.learnable_parameters.lower": Probe(GUESS % "lower: 0.249", ALONE, learned),
    "trainer.physical.learnable_parameters.upper": Probe(GUESS % "upper: 0.251", ALONE, learned),
    **{
        f"trainer.physical.learnable_parameters.basis:{key}": Probe(
            GUESS % f"basis: {this}", (*ALONE, GUESS % f"basis: {other}"), learned
        )
        for key, other, this in (
            ("cells.name", "{name: fourier, modes: 2}", "cells"),
            ("fourier.name", "cells", "{name: fourier, modes: 2}"),
            ("fourier.modes", "{name: fourier, modes: 1}", "{name: fourier, modes: 2}"),
            ("gaussians.name", "cells", "{name: gaussians, count: 3}"),
            ("gaussians.count", "{name: gaussians, count: 3}", "{name: gaussians, count: 4}"),
            ("gaussians.width", "{name: gaussians, count: 3}", "{name: gaussians, count: 3, width: 2}"),
        )
    },
    "trainer.physical.solve.method": Probe("trainer.physical.solve.method=adam", ALONE, learned),
    "trainer.physical.solve.abs_tol": Probe("trainer.physical.solve.abs_tol=1.0e+3", ALONE),
    "trainer.physical.solve.rel_tol": Probe("trainer.physical.solve.rel_tol=0.9", ALONE),
    "trainer.physical.solve.max_iterations": Probe("trainer.physical.solve.max_iterations=1", ALONE),
    "trainer.physical.solve.learning_rate": Probe(
        "trainer.physical.solve.learning_rate=0.001", ADAM, learned
    ),
    "trainer.physical.solve.retries": Probe("trainer.physical.solve.retries=0", DIVERGING, diverging),
    "trainer.physical.solve.max_failures": Probe(
        "trainer.physical.solve.max_failures=2", DIVERGING, diverging
    ),
    "trainer.hybrid.cycles": Probe("trainer.hybrid.cycles=2", SHORT),
    "trainer.hybrid.warmup": Probe("trainer.hybrid.warmup=1", SHORT),
    "trainer.hybrid.interaction": Probe("trainer.hybrid.interaction=false", SHORT, learned),
    "trainer.hybrid.updates": Probe("trainer.hybrid.updates=simultaneous", SHORT, learned),
    "trainer.hybrid.reversion": Probe("trainer.hybrid.reversion={tolerance: 0}", CYCLES),
    "trainer.hybrid.reversion.tolerance": Probe(
        "trainer.hybrid.reversion.tolerance=100",
        (*CYCLES, "trainer.hybrid.reversion={tolerance: 0}", "trainer.synthetic.learning_rate=3"),
    ),
    **{
        f"{WEIGHTS}.{model}.{key}": Probe(f"{WEIGHTS}.{model}.{key}={value}", CYCLES, learned)
        for model in ("synthetic", "physical")
        for key, value in (("real_weight", 0.5), ("interaction_weight", 0.5), ("proportional", "true"))
    },
    **{
        f"{WEIGHTS}.{model}.{key}:{probe}": Probe(
            f"{WEIGHTS}.{model}.{key}={this}", (*CYCLES, f"{WEIGHTS}.{model}.{key}={other}"), learned
        )
        for model in ("synthetic", "physical")
        for key in ("real_weight", "interaction_weight")
        for probe, other, this in (
            ("linear.strategy", "{strategy: step, start: 0.1, end: 1}", "{start: 0.1, end: 1}"),
            ("linear.start", "{start: 0.1, end: 1}", "{start: 0.2, end: 1}"),
            ("linear.end", "{start: 0.1, end: 1}", "{start: 0.1, end: 2}"),
            ("power.strategy", "{start: 0.1, end: 1}", "{strategy: power, start: 0.1, end: 1}"),
            ("power.start", "{strategy: power, start: 0.1, end: 1}", "{strategy: power, start: 0.2, end: 1}"),
            ("power.end", "{strategy: power, start: 0.1, end: 1}", "{strategy: power, start: 0.1, end: 2}"),
            (
                "power.exponent",
                "{strategy: power, start: 0.1, end: 1}",
                "{strategy: power, start: 0.1, end: 1, exponent: 3}",
            ),
            ("step.strategy", "{start: 0.1, end: 1}", "{strategy: step, start: 0.1, end: 1}"),
            ("step.start", "{strategy: step, start: 0.1, end: 1}", "{strategy: step, start: 0.2, end: 1}"),
            ("step.end", "{strategy: step, start: 0.1, end: 1}", "{strategy: step, start: 0.1, end: 2}"),
        )
    },
    "trainer.hybrid.augmentation.alpha": Probe("trainer.hybrid.augmentation.alpha=0.5", SHORT),
    "trainer.hybrid.augmentation.num_trajectories": Probe(
        "trainer.hybrid.augmentation.num_trajectories=2", SHORT
    ),
    "trainer.hybrid.augmentation.trajectory_length": Probe(
        "trainer.hybrid.augmentation.trajectory_length=5", SHORT
    ),
    "trainer.hybrid.augmentation.initial_conditions": Probe(
        "trainer.hybrid.augmentation.initial_conditions=data", SHORT, learned
    ),
    "trainer.hybrid.augmentation.points": Probe("trainer.hybrid.augmentation.points=3", SHORT, learned),
    "checkpoint.every.epochs": Probe("checkpoint.every.epochs=2", (*NETWORK, "checkpoint.keep=9"), saved),
    "checkpoint.every.cycles": Probe(
        "checkpoint.every.cycles=2", (*CYCLES, "checkpoint={every: {epochs: null}, keep: 9}"), saved
    ),
    "checkpoint.every.minutes": Probe(
        "checkpoint.every.minutes=1.0e-9", (*NETWORK, "checkpoint={every: {epochs: null}, keep: 99}"), saved
    ),
    "checkpoint.keep": Probe("checkpoint.keep=1", NETWORK, saved),
    "tracking.tensorboard": Probe("tracking.tensorboard=true", SHORT, files_or_pip),
    "tracking.mlflow": Probe("tracking.mlflow=true", SHORT, files_or_pip),
    "tracking.folder": Probe(
        "tracking.folder=results/elsewhere", ("tracking.tensorboard=true", *SHORT), files_or_pip
    ),
    "evaluation.test_sim": Probe(
        "evaluation.test_sim=[2]", ("data.num_simulations=3", *EVALUATED), evaluated
    ),
    "evaluation.on_training_data": Probe(
        "evaluation.on_training_data=true", ("evaluation.test_sim=[0]",), what_came, accepted=True
    ),
    "evaluation.num_frames": Probe("evaluation.num_frames=4", EVALUATED, evaluated),
    "evaluation.horizon": Probe("evaluation.horizon=2", EVALUATED, evaluated),
    "evaluation.visualization.format": Probe("evaluation.visualization.format=mp4", refused=True),
    "evaluation.visualization.fps": Probe("evaluation.visualization.fps=5", EVALUATED, animated),
    "evaluation.visualization.dpi": Probe("evaluation.visualization.dpi=50", EVALUATED, drawn),
}


def test_every_key_has_a_probe_and_every_probe_its_key() -> None:
    assert sorted(keys()) == sorted(PROBES)


@pytest.mark.parametrize("key", PROBES)
def test_a_key_has_an_effect_or_is_refused(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = PROBES[key]
    if probe.refused:
        with pytest.raises(ConfigError, match=r"\.".join(key.partition(":")[0].split(".")[:2])):
            tiny(tmp_path, [*probe.base, probe.setting])
        return
    if probe.accepted:
        with pytest.raises(ConfigError):
            tiny(tmp_path, probe.base)
        tiny(tmp_path, [*probe.base, probe.setting])
        return
    seen = []
    for name, settings in (("without", probe.base), ("with", (*probe.base, probe.setting))):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        np.save("one.npy", np.eye(8, dtype=bool)[2])
        np.save("other.npy", np.eye(8, dtype=bool)[5])
        config = tiny(Path(), settings)
        seen.append(probe.look(config, monkeypatch) if probe.look is pools else probe.look(config))
    assert seen[0] != seen[1], f"{probe.setting} changes nothing"


@pytest.mark.parametrize("look", [trained, generated])
def test_without_a_change_nothing_changes(look: Look, tmp_path: Path) -> None:
    assert look(tiny(tmp_path / "one", SHORT)) == look(tiny(tmp_path / "other", SHORT))
