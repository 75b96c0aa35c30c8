"""Builds the components of a configuration, each on the side that is in force for it.

Where neighbours are of different modes, an adapter stands between them; where they are not, nothing does,
and a run of one mode imports nothing of the other.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from hyco.config import Config
from hyco.errors import ConfigError
from hyco.interfaces import (
    Arrays,
    DataManager,
    Dataset,
    EarlyStopping,
    HybridTrainer,
    LossWeights,
    Observer,
    Optimizer,
    PhysicalModel,
    PhysicalTrainer,
    Plan,
    Side,
    Solve,
    SyntheticModel,
    SyntheticTrainer,
)
from hyco.learning.bases import basis_of
from hyco.learning.schedules import curriculum, learning_rate_schedule, ramp
from hyco.migration.registry import Component, in_use_mode, mode_of, resolve, use_mode

if TYPE_CHECKING:
    from hyco.migration.shadow import Shadow
    from hyco.storage.sources import Source

C = TypeVar("C")
NEEDED = {"torch": ("torch",), "jax": ("jax", "equinox", "optax")}  # packages of what phiml computes with


def ignore(*_: Any) -> None:
    """The observer that observes nothing."""


@dataclass(frozen=True)
class Choice:
    """Which implementation a component gets, and who chose it."""

    component: str
    implementation: str
    mode: str
    chosen_by: str


def check_backend(config: Config) -> None:
    """Raise ConfigError where the modes in force leave the library of `trainer.backend` no way to compute."""
    backend = config.trainer.backend
    modes = {choice.component: choice.mode for choice in choices(config)}
    for model in ("physical_model", "synthetic_model"):
        trainer = model.replace("model", "trainer")
        if trainer in modes:
            _check_gradients(backend, model, modes[model], modes[trainer])
    if config.migration.shadow.enabled and not _is_installed("torch"):
        raise ConfigError(
            "migration.shadow: compares with the other mode, which needs the package 'torch'; it is not "
            "installed. Install it with `pip install torch`, or do not enable the shadow."
        )
    if not computes(config, "phiml"):
        if backend == "jax":
            raise ConfigError(
                "trainer.backend: jax is for phiml mode, but all models and trainers are legacy, which is "
                "PyTorch. Set migration.mode to phiml, or trainer.backend to torch."
            )
        return
    missing = next((package for package in NEEDED[backend] if not _is_installed(package)), None)
    if missing:
        install, other = ("'hyco[jax]'", "torch") if backend == "jax" else ("torch", "jax")
        raise ConfigError(
            f"trainer.backend: {backend} needs the package {missing!r}, which is not installed. "
            f"Install it with `pip install {install}`, or set trainer.backend to {other}."
        )


def _check_gradients(backend: str, model: str, of_model: str, of_trainer: str) -> None:
    """Raise ConfigError where a trainer would differentiate what another library computes.

    PyTorch can only differentiate what it computed itself, and so can JAX.
    """
    if backend == "jax" and of_model != of_trainer:
        raise ConfigError(
            f"trainer.backend: jax is for phiml mode, but the {model} is {of_model} and the "
            f"{model.replace('model', 'trainer')} is {of_trainer}, and gradients cannot cross from one "
            "library to the other. Give both the same mode (migration.components), or set trainer.backend "
            "to torch."
        )


def computes(config: Config, side: Side) -> bool:
    """Whether a model or a trainer is of a side, in the modes in force."""
    return any(c.mode == side and c.component.endswith(("model", "trainer")) for c in choices(config))


def _is_installed(package: str) -> bool:
    """Whether a package could be imported, without doing so."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


@contextmanager
def mode_from(config: Config, origin: str = "configuration") -> Iterator[None]:
    """The mode that the configuration's `migration:` block chooses.

    The mode in force stays when there is no such block, or when the caller is in a `use_mode` block, which
    outranks it.
    """
    migration = config.migration
    chosen: AbstractContextManager[None] = nullcontext()
    if migration.mode is not None and not in_use_mode():
        chosen = use_mode(migration.mode, migration.components or None, source=f"{origin}: migration.mode")
    with chosen:
        yield


def choices(config: Config) -> list[Choice]:
    """The implementation of every component that this configuration needs, in the order of the data's way."""
    named = {"physical_model": config.model.physical.name, "synthetic_model": config.model.synthetic.name}
    wanted = ["data_manager", "dataset"] + ["physical_model"] * config.has_equation
    if config.general.mode != "physical":
        wanted += ["synthetic_model", "synthetic_trainer"]
    if config.general.mode != "synthetic":
        wanted += ["physical_trainer"]
    if config.general.mode == "hybrid":
        wanted += ["hybrid_trainer"]
    rows = []
    for component in wanted:
        implementation = named.get(component, "default")
        side, source = mode_of(component, implementation)
        rows.append(Choice(component, implementation, str(side), source))
    return rows


def forget_compiled() -> None:
    """Free what phiml mode compiled for an experiment that is over; nothing, where it was not loaded."""
    device = sys.modules.get("hyco.phiml.device")
    if device is not None:
        gc.collect()
        device.forget_compiled()


@dataclass
class Factory:
    """Makes components from a configuration; each call makes a new one.

    Args:
        config: the experiment.
        observe: called with the records of all trainers.
        progress: called with (iteration, loss) during a physical solve.
        pulse: called after every update of a surrogate; may save its state, or raise to stop.
        shadow: compares the calls of all components with the other mode's.
    """

    config: Config
    observe: Observer = ignore
    progress: Callable[[int, float], None] = ignore
    pulse: Callable[[], None] = ignore
    shadow: Shadow | None = None
    _arrays: dict[Side, Arrays] = field(default_factory=dict)

    def data_manager(self) -> DataManager:
        """Trajectories on disk."""
        config, cache = self.config, self.config.cache
        manager: DataManager = resolve(Component.DATA_MANAGER)(
            config.data.data_dir,
            config.data.cache_dir,
            grid=config.grid,
            layout=config.layout,
            dt=config.model.physical.dt,
            workers=cache.workers,
            memory_limit_mb=cache.memory_limit_mb,
            ttl=cache.ttl,
            backend=self._holding(),
            source=self._source(),
            **self._compute(),
        )
        return self._watched(manager)

    def _source(self) -> Source | None:
        """The files that data come from, instead of being generated."""
        if self.config.data.source is None:
            return None
        from hyco.storage.sources import open_source

        return open_source(self.config)

    def dataset(self, manager: DataManager, simulations: tuple[int, ...]) -> Dataset:
        """Windows of these simulations."""
        cls = resolve(Component.DATASET)
        dataset: Dataset = cls(
            self.adapt(manager, cls.mode),
            simulations,
            rollout_steps=self.config.trainer.rollout_steps,
            observations=self.config.observed(),
        )
        return self._watched(dataset)

    def physical_model(self, parameters: dict[str, Any] | None = None) -> PhysicalModel:
        """The equation, with its true parameters unless others are given."""
        settings = self.config.model.physical
        cls = resolve(Component.PHYSICAL_MODEL, settings.name)
        # plain PyTorch has no kernels to choose from
        kernels = {"kernels": self.config.trainer.kernels} if cls.mode == "phiml" else {}
        model: PhysicalModel = cls(
            self.config.grid,
            settings.dt,
            parameters or self.config.true_parameters(),
            boundaries=settings.boundaries,
            substeps=settings.substeps,
            **kernels,
            **self._compute(cls.mode),
        )
        return self._watched(model)

    def synthetic_model(self) -> SyntheticModel:
        """The surrogate, with its initial weights."""
        settings = self.config.model.synthetic
        cls = resolve(Component.SYNTHETIC_MODEL, settings.name)
        model: SyntheticModel = cls(
            self.config.layout,
            self.config.grid,
            architecture=settings.architecture.model_dump(),
            residual=settings.residual,
            inputs=settings.inputs,
            seed=self.config.general.seed,
            **self._compute(cls.mode),
        )
        return self._watched(model)

    def synthetic_trainer(self, model: SyntheticModel) -> SyntheticTrainer:
        """The surrogate's trainer."""
        config, settings = self.config, self.config.trainer.synthetic
        cls = resolve(Component.SYNTHETIC_TRAINER)
        _check_gradients(config.trainer.backend, "synthetic_model", model.mode, cls.mode)
        hybrid = config.trainer.hybrid
        rounds = hybrid.warmup + hybrid.cycles if config.general.mode == "hybrid" else 1
        stopping = settings.early_stopping
        trainer: SyntheticTrainer = cls(
            self.adapt(model, cls.mode),
            batch_size=config.trainer.batch_size,
            schedule=learning_rate_schedule(
                settings.learning_rate, rounds * settings.epochs, **settings.scheduler.model_dump()
            ),
            optimizer=Optimizer(weight_decay=settings.weight_decay, **settings.optimizer.model_dump()),
            gradient_clipping=settings.gradient_clipping,
            early_stopping=stopping and EarlyStopping(stopping.patience, stopping.min_delta),
            curriculum=self._curriculum(rounds * settings.epochs),
            amp=settings.amp,
            recompute=settings.recompute,
            input_noise=settings.input_noise.scale,
            seed=config.general.seed,
            observe=self.observe,
            pulse=self.pulse,
        )
        return self._watched(trainer)

    def physical_trainer(self, model: PhysicalModel) -> PhysicalTrainer:
        """The physical model's trainer."""
        config, settings = self.config, self.config.trainer.physical
        cls = resolve(Component.PHYSICAL_TRAINER)
        _check_gradients(config.trainer.backend, "physical_model", model.mode, cls.mode)
        solve = settings.solve
        trainer: PhysicalTrainer = cls(
            self.adapt(model, cls.mode),
            bounds={name: config.parameter_bounds(name) for name in config.learnable},
            solve=Solve(**{k: v for k, v in solve.model_dump().items() if v is not None}),
            batch_size=config.trainer.batch_size,
            window_stride=settings.window_stride,
            smoothness=settings.smoothness,
            total_variation=settings.total_variation,
            bases={
                p.name: basis_of(config.grid, **p.basis.model_dump()) for p in settings.learnable_parameters
            },
            observe=self.observe,
            progress=self.progress,
        )
        return self._watched(trainer)

    def hybrid_trainer(self, synthetic: SyntheticTrainer, physical: PhysicalTrainer) -> HybridTrainer:
        """The trainer of both."""
        config, settings = self.config, self.config.trainer.hybrid
        cls = resolve(Component.HYBRID_TRAINER)
        augmentation = settings.augmentation
        plan = Plan(
            warmup=settings.warmup,
            synthetic_epochs=config.trainer.synthetic.epochs,
            physical_epochs=config.trainer.physical.epochs,
            alpha=augmentation.alpha,
            num_trajectories=augmentation.num_trajectories,
            trajectory_length=config.generated_length,
            interaction=settings.interaction,
            simultaneous=settings.updates == "simultaneous",
            reversion=None if settings.reversion is None else settings.reversion.tolerance,
            points=augmentation.points,
            synthetic_weights=self._weights("synthetic"),
            physical_weights=self._weights("physical"),
        )
        return cls(
            self.adapt(synthetic, cls.mode),
            self.adapt(physical, cls.mode),
            plan=plan,
            initial_conditions=augmentation.initial_conditions,
            seed=config.general.seed,
            observe=self.observe,
        )

    def _curriculum(self, total_epochs: int) -> Callable[[int], int] | None:
        """epoch -> frames of a window, where the configuration asks for a curriculum."""
        settings = self.config.trainer.synthetic.curriculum
        if settings is None:
            return None
        values = settings.model_dump()
        values["end"] = values["end"] or self.config.trainer.rollout_steps
        return curriculum(total_epochs, **values)

    def _weights(self, model: Literal["physical", "synthetic"]) -> Callable[[int], LossWeights]:
        """cycle -> loss weights."""
        hybrid = self.config.trainer.hybrid
        settings = getattr(hybrid.loss_scaling, model)
        real, interaction = (
            ramp(hybrid.cycles, weight if isinstance(weight, float) else weight.model_dump())
            for weight in (settings.real_weight, settings.interaction_weight)
        )
        return lambda cycle: LossWeights(real(cycle), interaction(cycle), settings.proportional)

    def adapt(self, component: Any, side: Side) -> Any:
        """A component through the interface of `side`."""
        if component.mode == side:
            return component
        from hyco.compat.adapters import adapt

        return adapt(component, side, self.arrays)

    def arrays(self, side: Side) -> Arrays:
        """The numpy border of a side, on this configuration's device and in its precision."""
        if side not in self._arrays:
            device = importlib.import_module(f"hyco.{side}.device")
            tensors = importlib.import_module(f"hyco.{side}.tensors")
            compute = device.Compute(**self._compute(side))
            self._arrays[side] = tensors.NativeArrays(self.config.layout, compute)
        return self._arrays[side]

    def _watched(self, component: C) -> C:
        return component if self.shadow is None else self.shadow.watch(component)

    def _compute(self, side: Side = "legacy") -> dict[str, str]:
        trainer = self.config.trainer
        backend = {"backend": trainer.backend} if side == "phiml" else {}
        return {"device": trainer.device, "precision": trainer.precision, **backend}

    def _holding(self) -> str:
        """The library that phiml mode holds trajectories in: JAX, whose arrays do not change, holds none."""
        return "numpy" if self.config.trainer.backend == "jax" else self.config.cache.backend
