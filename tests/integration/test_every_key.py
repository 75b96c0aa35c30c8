"""Every key of the configuration does something: one test walks over all keys of the schema.

Each key has a probe: settings that change it alone, and where its effect must be seen.  A key without a probe
fails, and so does a probe whose key is gone.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
import pytest
import yaml
from PIL import Image

from hyco import tasks
from hyco.config import Config
from hyco.config.architectures import ARCHITECTURES
from hyco.config.observations import SPACE, TIME
from hyco.config.optimisation import BASES, OPTIMIZERS, SCHEDULES
from hyco.config.section import Section
from hyco.errors import ConfigError, HycoError
from hyco.migration.factory import Factory, choices, mode_from
from hyco.problem.grid import AXES
from hyco.testing.experiments import write_data
from tests.experiments import tiny

CHOICES: Mapping[str, Mapping[str, type[Section]]] = {
    "model.synthetic.architecture": ARCHITECTURES,
    "observations.space": SPACE,
    "observations.time": TIME,
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
    import h5py

    with h5py.File(path) as file:
        return {name: np.asarray(file[name]) for name in file if isinstance(file[name], h5py.Dataset)}


def evaluated(config: Config) -> str:
    """The scores."""
    trained(config)
    return digest(tasks.run(config, tasks=("evaluate",)))


def animated(config: Config) -> Any:
    """Size and pace of the animations."""
    evaluated(config)
    animation = Image.open(sorted(config.output_dir.glob("animations/*.gif"))[0])
    return animation.size, animation.info["duration"]


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
    try:
        manager.prepare(range(config.data.num_simulations))
    except ConfigError:
        pass
    return asked


def saved(config: Config) -> list[str]:
    """Which generations of checkpoints are there at the end."""
    trained(config)
    return sorted(p.name for p in config.checkpoint_dir.iterdir() if p.is_dir())


def often(config: Config) -> int:
    """How often the state was saved."""
    trained(config)
    return max(int(p.name.rpartition("-")[2]) for p in config.checkpoint_dir.iterdir() if p.is_dir())


@dataclass(frozen=True)
class Probe:
    """Settings that change a key, others that both runs have, and where the effect is seen.

    `refused`: instead, the setting is refused, in words that name the key: there is nothing else it can be.
    """

    setting: str
    base: tuple[str, ...] = ()
    look: Callable[..., Any] = trained
    refused: bool = False


SHORT = ("trainer.physical.solve.max_iterations=1",)
PLANE = ("model.physical.domain={x: {size: 8, resolution: 8}, y: {size: 9, resolution: 8}}",)
BOX = (
    "model.physical.domain={x: {size: 8, resolution: 4}, y: {size: 9, resolution: 4}, z: {size: 9, resolution: 4}}",
)
LONG = ("trainer.synthetic.epochs=4", "general.mode=synthetic")
GUESS = "trainer.physical.learnable_parameters=[{name: diffusion_coeff, initial_guess: 0.25, %s}]"
ALONE = ("general.mode=physical", "trainer.physical.solve.max_iterations=4")
SHADOW = ("migration.mode=legacy", "migration.shadow.enabled=true", "migration.shadow.every=1", *SHORT)
STRICT = (*SHADOW, "migration.shadow.rtol=0", "migration.shadow.atol=0", "trainer.precision=float32")
EVALUATED = ("general.mode=physical", *SHORT)


def architecture(name: str, **changes: Any) -> dict[str, Probe]:
    """The probes of one architecture."""
    plain = {"layers": 2, "filters": 2} if name != "unet" else {"levels": 2, "filters": 2}
    plain |= {"modes": 2} if name == "fno" else {}
    base = (
        "general.mode=synthetic",
        f"model.synthetic.name={name}",
        f"model.synthetic.architecture={json.dumps(plain)}",
    )
    return {
        f"model.synthetic.architecture:{name}.{key}": Probe(
            f"model.synthetic.architecture.{key}={json.dumps(v)}", base
        )
        for key, v in changes.items()
    }


COMMON = {"filters": 3, "batch_norm": True, "activation": "tanh", "periodic": False}
PROBES: dict[str, Probe] = {
    "general.experiment_name": Probe(
        "general.experiment_name=other", ("general.output_dir=null",), lambda c: c.output_dir
    ),
    "general.mode": Probe("general.mode=synthetic"),
    "general.tasks": Probe("general.tasks=[generate]", ("general.tasks=[generate, train]", *SHORT), ran),
    "general.seed": Probe("general.seed=4"),
    "general.output_dir": Probe(
        "general.output_dir=elsewhere/results", look=lambda c: (files(c), c.output_dir)
    ),
    "general.checkpoint_dir": Probe(
        "general.checkpoint_dir=elsewhere",
        look=lambda c: (files(c), c.checkpoint_dir.exists())[1] and str(c.checkpoint_dir),
    ),
    "migration.mode": Probe("migration.mode=phiml", ("migration.mode=legacy",), implementations),
    "migration.components": Probe(
        "migration.components={dataset: phiml}", ("migration.mode=hybrid",), implementations
    ),
    "migration.shadow.enabled": Probe("migration.shadow.enabled=false", SHADOW, compared),
    "migration.shadow.every": Probe("migration.shadow.every=5", SHADOW, compared),
    "migration.shadow.on_mismatch": Probe("migration.shadow.on_mismatch=raise", STRICT, compared),
    "migration.shadow.rtol": Probe("migration.shadow.rtol=1", STRICT, compared),
    "migration.shadow.atol": Probe("migration.shadow.atol=1", STRICT, compared),
    "data.data_dir": Probe("data.data_dir=elsewhere", look=lambda c: (generated(c), str(c.data.data_dir))),
    "data.cache_dir": Probe(
        "data.cache_dir=elsewhere", look=lambda c: (trained(c), len(list(Path().glob("elsewhere/*"))))
    ),
    "data.format": Probe("data.format=csv", refused=True),
    "data.fields_scheme.dynamic": Probe("data.fields_scheme={dynamic: [pressure]}", refused=True),
    "data.fields_scheme.static": Probe(
        "data.fields_scheme={dynamic: [velocity], static: [wind]}", refused=True
    ),
    "data.fields_scheme": Probe("data.fields_scheme={dynamic: [pressure]}", refused=True),
    "data.num_simulations": Probe("data.num_simulations=3", look=generated),
    "data.trajectory_length": Probe("data.trajectory_length=7", look=generated),
    "cache.backend": Probe("cache.backend=numpy", ("migration.mode=phiml",), held),
    "cache.worker_backend": Probe("cache.worker_backend=torch", refused=True),
    "cache.ttl": Probe("cache.ttl=0.01", look=kept),
    "cache.workers": Probe("cache.workers=2", look=pools),
    "cache.memory_limit_mb": Probe(
        "cache.memory_limit_mb=1",
        (
            "model.physical.domain={x: {size: 65536, resolution: 65536}}",
            "model.synthetic.architecture.levels=1",
        ),
        fitting,
    ),
    "model.physical.name": Probe("model.physical.name=inviscid_burgers", refused=True),
    "model.physical.domain.size": Probe("model.physical.domain.x.size=9", look=generated),
    "model.physical.domain.resolution": Probe("model.physical.domain.x.resolution=12", look=generated),
    "model.physical.dt": Probe("model.physical.dt=0.4", look=generated),
    "model.physical.substeps": Probe("model.physical.substeps=2", look=generated),
    "model.physical.boundaries": Probe("model.physical.boundaries={velocity: zero}", look=generated),
    "model.physical.parameters.type": Probe(
        "model.physical.parameters.diffusion_coeff={type: scalar, value: 0.2}",
        look=lambda c: {k: np.shape(v) for k, v in c.true_parameters().items()},
    ),
    "model.physical.parameters.value": Probe(
        "model.physical.parameters.diffusion_coeff.value=0.2", look=generated
    ),
    "model.synthetic.name": Probe("model.synthetic={name: resnet, architecture: {layers: 2, filters: 2}}"),
    "model.synthetic.residual": Probe("model.synthetic.residual=false"),
    "model.synthetic.inputs": Probe(
        "model.synthetic.inputs=dynamic", (), lambda c: c.model.synthetic.inputs
    ),  # replaced below
    **architecture("unet", levels=1, **COMMON),
    **architecture("resnet", layers=3, **COMMON),
    **architecture("convnet", layers=3, **COMMON),
    **architecture("fno", layers=3, modes=3, **COMMON),
    "observations.space:full.mask": Probe("observations.space=full", ("observations.space={mask: center}",)),
    "observations.space:range.mask": Probe(
        "observations.space.mask=range",
        ("observations.space.x=[0, 0.5]", "observations.space.mask=range"),
        refused=False,
    ),
    "observations.starts": Probe("observations.starts=first"),
    "observations.physical": Probe("observations.physical={noise: {level: 0.1}}"),
    "observations.synthetic": Probe("observations.synthetic={noise: {level: 0.1}}"),
    "observations.noise.level": Probe("observations.noise.level=0.1"),
    "observations.noise.snr_db": Probe("observations.noise.snr_db=20"),
}
