"""What is compared beside the calls that shadow mode watches: whole passes, first states, short fits.

Each is a case as `hyco.migration.shadow.cases.Case` describes it; `component` is one, or the whole `Cast`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyco.comparison.cast import Cast
from hyco.comparison.idle import IdlePhysical, IdleSynthetic
from hyco.interfaces import Arrays, Batch
from hyco.migration.factory import Factory
from hyco.migration.shadow.cases import Case, PhysicalRollout, SyntheticRollout
from hyco.migration.shadow.recorder import Part
from hyco.migration.shadow.states import NetworkCall
from hyco.problem.fields import FieldLayout
from hyco.testing.compare import Snapshot

Array = NDArray[Any]
Parts = list[Part]
SEED = 1
BATCHES = 12  # of a pass, at most
UPDATES = 3
ITERATIONS = 2  # of a fit, before rounding decides where to step


class Read(Case):
    """Trajectories from the cache of the disk, by a data manager that has none of them in memory."""

    def given(self, cast: Cast, simulations: Sequence[int]) -> Sequence[int]:
        return simulations

    def repetition(self, cast: Cast, given: Sequence[int]) -> Callable[[], Any]:
        cast.data_manager.prepare(given)

        def read() -> list[Any]:
            manager = cast.new_data_manager()
            return [manager.load(simulation) for simulation in given]

        return read

    def parts(self, cast: Cast, result: list[Any], given: Sequence[int]) -> Parts:
        manager = cast.data_manager
        return [
            _part("stored values", manager.layout, manager.arrays.numpy(t), ("time",), f"simulation {s}")
            for s, t in zip(given, result, strict=True)
        ]


class Pass(Case):
    """One shuffled pass over a dataset, with generated trajectories (field, time, *space) where given."""

    def given(self, dataset: Any, size: int, generated: Array | None = None) -> tuple[int, Array | None]:
        return size, generated

    def repetition(self, dataset: Any, given: tuple[int, Array | None]) -> Callable[[], Any]:
        size, generated = given
        if generated is not None:
            dataset = dataset.with_generated(dataset.arrays.trajectory(generated), alpha=0.5)
        return lambda: list(islice(dataset.batches(size, rng=np.random.default_rng(SEED)), BATCHES))

    def parts(self, dataset: Any, result: list[Batch], given: Any) -> Parts:
        layout, numpy = dataset.layout, dataset.arrays.numpy
        sizes = np.array([[len(result)] * 2, *([b.size, b.generated] for b in result)])
        made = [Part("stored values", "sizes of batches", sizes)]
        for i, batch in enumerate(result):
            made.append(_part("stored values", layout, numpy(batch.initial), (), f"batch {i}, initial"))
            made.append(
                _part("stored values", layout, numpy(batch.targets), ("time",), f"batch {i}, targets")
            )
        return made


class InitialConditions(Case):
    """Random initial conditions of the equation."""

    def given(self, model: Any) -> None:
        return None

    def repetition(self, model: Any, given: None) -> Callable[[], Any]:
        return lambda: model.initial_state(2, rng=np.random.default_rng(SEED))

    def parts(self, model: Any, result: Any, given: None) -> Parts:
        return [_part("stored values", model.layout, model.arrays.numpy(result), ())]


class InitialWeights(Case):
    """The weights of a new surrogate."""

    def given(self, cast: Cast) -> None:
        return None

    def repetition(self, cast: Cast, given: None) -> Callable[[], Any]:
        return lambda: cast.new_synthetic_model().weights()

    def parts(self, cast: Cast, result: dict[str, Array], given: None) -> Parts:
        return [Part("stored values", name, weights) for name, weights in result.items()]


class Updates(Case):
    """The first few updates of a surrogate's trainer: losses, weights, moments of the optimiser."""

    def given(self, cast: Cast) -> None:
        return None

    def repetition(self, cast: Cast, given: None) -> Callable[[], Any]:
        trainer: Any = cast.new_synthetic_trainer()
        rate = cast.config.trainer.synthetic.learning_rate
        batches = [cast.batch(trainer.model.arrays, number) for number in range(UPDATES)]

        def update() -> tuple[list[float], Any]:
            trainer.set_learning_rate(rate)
            return [float(trainer.update(batch)) for batch in batches], trainer

        return update

    def parts(self, cast: Cast, result: tuple[list[float], Any], given: None) -> Parts:
        losses, trainer = result
        return [
            *(_loss(f"update {i}", loss, cast) for i, loss in enumerate(losses)),
            *(Part("weights of a short training", name, w) for name, w in trainer.weights().items()),
            *(Part("moments of a short training", name, m) for name, m in trainer.moments().items()),
        ]


class Fit(Case):
    """The first iterations of the inverse problem: losses, and the parameters that come out."""

    def given(self, cast: Cast) -> None:
        return None

    def repetition(self, cast: Cast, given: None) -> Callable[[], Any]:
        short = Cast(_with_iterations(cast, ITERATIONS), cast.mixture)
        trainer = short.new_physical_trainer()
        data = cast.made(lambda: cast.factory.adapt(cast.dataset, trainer.mode))
        return lambda: (trainer.fit(data, epochs=1).records[0], trainer.state().arrays)

    def parts(self, cast: Cast, result: tuple[dict[str, Any], Any], given: None) -> Parts:
        record, arrays = result
        return [
            Part("steps of a fit", "", np.array([record["iterations"], record["evaluations"]])),
            *(_loss(key, record[key], cast) for key in ("initial_loss", "train_loss")),
            *(
                Part("parameters of a short training", name.removeprefix("parameters."), values)
                for name, values in arrays.items()
                if name.startswith("parameters")
            ),
        ]


class Given(NamedTuple):
    """What both models generate in the first cycle for the trainer of the other one, cut into windows."""

    for_synthetic: Array
    for_physical: Array


class Generation(Case):
    """The first cycle of a hybrid training, in which the trainers only look at what they are given."""

    def given(self, cast: Cast) -> None:
        return None

    def repetition(self, cast: Cast, given: None) -> Callable[[], Any]:
        return lambda: cast.made(lambda: _generate(cast, cast.factory))

    def parts(self, cast: Cast, result: Given, given: None) -> Parts:
        physical, synthetic = cast.physical_model, cast.synthetic_model
        call = NetworkCall(result.for_synthetic, {}, False, cast.config.generated_length - 1)
        taught = physical.arrays.trajectory(result.for_synthetic)
        return [
            *_named(PhysicalRollout().parts(physical, taught, call), "for the surrogate"),
            *_named(SyntheticRollout().parts(synthetic, result.for_physical, call), "for the physical model"),
        ]


def _generate(cast: Cast, factory: Factory) -> Given:
    """Let a hybrid trainer lead idle trainers through one cycle."""
    side = cast.mixture.sides["hybrid_trainer"]
    synthetic = IdleSynthetic(factory.adapt(cast.synthetic_model, side), side)  # type: ignore[arg-type]
    physical = IdlePhysical(factory.adapt(cast.physical_model, side), side)  # type: ignore[arg-type]
    trainer = factory.hybrid_trainer(synthetic, physical)
    trainer.fit(factory.adapt(cast.dataset, trainer.mode), cycles=1)
    return Given(synthetic.seen[-1], physical.seen[-1])


def _named(parts: Parts, name: str) -> Parts:
    return [replace(part, name=name) for part in parts]


def _with_iterations(cast: Cast, iterations: int) -> Any:
    """The configuration with so many iterations per fit."""
    physical = cast.config.trainer.physical
    fewer = physical.model_copy(
        update={"solve": physical.solve.model_copy(update={"max_iterations": iterations})}
    )
    trainer = cast.config.trainer.model_copy(update={"physical": fewer})
    return cast.config.model_copy(update={"trainer": trainer})


def _loss(name: str, loss: float, cast: Cast) -> Part:
    return loss_part(name, loss, float(np.max(np.abs(cast.states()))))


def loss_part(name: str, loss: float, size: float) -> Part:
    """A loss, the mean of (u - t)^2, where u is as large as `size`.

    Roundings r size of u change it by up to 2 sqrt(loss) r size, however good the fit.
    """
    return Part("losses of a short training", name, np.float64(loss), 2.0 * sqrt(max(loss, 0.0)) * size)


def _part(quantity: str, layout: FieldLayout, values: Array, extra: tuple[str, ...], name: str = "") -> Part:
    """A state or trajectory, its dims and components with their names."""
    dims = ("batch", "field", *extra, *layout.axes)
    return Part(quantity, name, Snapshot(values, dims, {"field": tuple(layout.components)}))


def trajectories(cast: Cast) -> Array:
    """A few trajectories (batch, field, time, *space) for passes with generated windows."""
    steps = cast.config.generated_length - 1
    model = cast.physical_model if cast.config.has_equation else cast.synthetic_model
    return model.predict(cast.states()[:2], steps)


def arrays_of(component: Any) -> Arrays:
    """The numpy border of a model, or of a trainer's model."""
    return (getattr(component, "model", None) or component).arrays
