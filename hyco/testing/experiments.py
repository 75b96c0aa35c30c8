"""Whole experiments on tiny cases, built by the factory as a run builds them, in any mixture of modes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.config import Config, parse_config
from hyco.interfaces import Dataset, Record
from hyco.migration.factory import Factory
from hyco.migration.registry import use_mode
from hyco.problem.sampling import smooth_random_field
from hyco.storage.hdf5 import simulation_path, write_trajectory
from hyco.testing.cases import Case

ARCHITECTURES: Mapping[str, Mapping[str, Any]] = {
    "unet": {"levels": 2, "filters": 2},
    "resnet": {"layers": 2, "filters": 2},
    "convnet": {"layers": 2, "filters": 2},
    "fno": {"layers": 2, "filters": 2, "modes": 2},
}


def tiny(
    folder: Path,
    case: Case,
    overrides: Sequence[str] = (),
    *,
    surrogate: str = "unet",
    precision: str = "float64",
    device: str = "cpu",
) -> Config:
    """A hybrid experiment with two simulations of 6 frames: one trains, the other validates and tests.

    The parameters of the case make the data; all of them that can be are learned, from seven tenths of the
    truth.  Surrogates are the smallest of their kind, periodic where all boundaries of the case are.
    """
    names = [p.name for p in case.facts.parameters]
    domain = {
        axis: {"size": size, "resolution": cells}
        for axis, size, cells in zip(case.grid.axes, case.grid.size, case.grid.resolution, strict=True)
    }
    kinds = {name: "field" if case.is_field(name) else "scalar" for name in names}
    guesses = [{"name": n, "initial_guess": case.formula(n, 0.7)} for n in names]
    architecture = {**ARCHITECTURES[surrogate], "periodic": case.boundary == "periodic"}
    return parse_config(
        {
            "general": {
                "experiment_name": "tiny",
                "mode": "hybrid",
                "output_dir": str(folder / "results"),
                "seed": 3,
            },
            "data": {
                "data_dir": str(folder / "data"),
                "cache_dir": str(folder / "cache"),
                "num_simulations": 2,
                "trajectory_length": 6,
            },
            "cache": {"ttl": None},
            "model": {
                "physical": {
                    "name": case.equation,
                    "domain": domain,
                    "dt": case.dt,
                    "substeps": case.substeps,
                    "boundaries": case.boundaries,
                    "parameters": {n: {"type": kinds[n], "value": case.formula(n)} for n in names},
                },
                "synthetic": {"name": surrogate, "architecture": architecture},
            },
            "trainer": {
                "precision": precision,
                "device": device,
                "batch_size": 4,
                "rollout_steps": 3,
                "train_sim": [0],
                "val_sim": [1],
                "synthetic": {"epochs": 1, "learning_rate": 0.01},
                "physical": {
                    "epochs": 1,
                    "learnable_parameters": guesses,
                    "solve": {"max_iterations": 2},  # before rounding decides where to step
                },
                "hybrid": {
                    # what an untrained surrogate teaches would drive all to 0
                    "loss_scaling": {"physical": {"interaction_weight": 0.01}},
                    "cycles": 1,
                    "warmup": 0,
                    "augmentation": {"num_trajectories": 1, "trajectory_length": 4},
                },
            },
            "evaluation": {"test_sim": [1], "num_frames": 5, "horizon": 3},
        },
        "tiny",
        overrides,
    )


def write_data(config: Config, noise: float = 0.0) -> None:
    """Simulate the experiment's trajectories with the legacy model, whatever mode is in force.

    `noise` is added to every value, so that no coefficient explains the data to the last digit.
    """
    with use_mode("legacy"):
        model = Factory(config).physical_model()
    for number in range(config.data.num_simulations):
        rng = np.random.default_rng([config.general.seed, number])
        waves = smooth_random_field(config.grid, (1, len(config.layout.components)), rng)
        frames = model.predict(0.25 / model.dt * waves, config.data.trajectory_length - 1)[0]
        write_trajectory(
            simulation_path(config.data.data_dir, number),
            frames + noise * np.random.default_rng(number).standard_normal(frames.shape),
            grid=config.grid,
            layout=config.layout,
            dt=model.dt,
            equation=model.name,
            parameters=config.true_parameters(),
            fingerprint="tiny",
        )


@dataclass(frozen=True)
class Outcome:
    """What a training produced: records in order, parameters and weights by name, predictions by model."""

    records: list[Record]
    parameters: dict[str, NDArray[Any]]
    weights: dict[str, NDArray[Any]]
    predictions: dict[str, NDArray[Any]]

    def losses(self) -> dict[str, NDArray[np.float64]]:
        """Every loss in the records, by its place."""
        keys = (
            *("train_loss", "validation_loss", "initial_loss", "synthetic_loss", "physical_loss"),
            *("real_loss", "interaction_loss", "regularisation"),
        )
        found = {
            f"{i} {r.get('model', r['kind'])} {key}": np.array(r[key])
            for i, r in enumerate(self.records)
            for key in keys
            if r.get(key) is not None
        }
        return found

    def counts(self) -> list[dict[str, Any]]:
        """Everything in the records that is no floating-point number, in order."""
        return [{k: v for k, v in r.items() if isinstance(v, int | str)} for r in self.records]


def train(config: Config) -> Outcome:
    """Train what the configuration asks for, in the mode in force, and predict from the validation data."""
    records: list[Record] = []
    factory = Factory(config, observe=records.append)
    manager = factory.data_manager()
    train, validation = (
        factory.dataset(manager, s) for s in (config.trainer.train_sim, config.trainer.val_sim)
    )
    mode = config.general.mode
    synthetic = factory.synthetic_trainer(factory.synthetic_model()) if mode != "physical" else None
    physical = (
        factory.physical_trainer(factory.physical_model(config.initial_parameters()))
        if mode != "synthetic"
        else None
    )
    if synthetic and physical:
        trainer = factory.hybrid_trainer(synthetic, physical)
        _fit(factory, trainer, train, validation, cycles=config.trainer.hybrid.cycles)
    elif synthetic:
        shown = (d.seen_by("synthetic") for d in (train, validation))
        _fit(factory, synthetic, *shown, epochs=config.trainer.synthetic.epochs)
    else:
        shown = (d.seen_by("physical") for d in (train, validation))
        _fit(factory, physical, *shown, epochs=config.trainer.physical.epochs)
    batch = validation.get_batch(range(len(validation)))
    initial = validation.arrays.numpy(batch.initial)
    parameters, weights, predictions = {}, {}, {}
    if synthetic:
        weights = synthetic.model.weights()
        predictions["synthetic"] = synthetic.model.predict(initial, 4)
    if physical:
        model = physical.model
        parameters = {name: model.arrays.numpy(p) for name, p in model.parameters.items()}
        predictions["physical"] = model.predict(initial, 4)
    return Outcome(records, parameters, weights, predictions)


def _fit(factory: Factory, trainer: Any, train: Dataset, validation: Dataset, **length: int) -> None:
    trainer.fit(factory.adapt(train, trainer.mode), factory.adapt(validation, trainer.mode), **length)
