"""The equivalence matrix: equation x dimension x parameter kind x boundary x surrogate x precision.

A cell is one tiny experiment.  Both sides build it from the same configuration and data, and everything
that they compute on the way is compared: steps, rollouts, losses, gradients, and a whole hybrid training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hyco.config import Config
from hyco.migration.factory import Factory
from hyco.migration.registry import use_mode
from hyco.problem.equations import EQUATIONS
from hyco.problem.grid import BOUNDARIES
from hyco.testing.cases import Case, kinds_of, pairwise
from hyco.testing.compare import Comparable, Difference, measure
from hyco.testing.experiments import ARCHITECTURES, tiny, train, write_data

RESOLUTIONS = {1: (16,), 2: (8, 6), 3: (6, 4, 8)}
PRECISIONS = ("float64", "float32")
STEPS = 8
NOISE = 0.01  # so that no parameters explain the data to the last digit
Results = dict[str, Mapping[str, Comparable] | Comparable]


@dataclass(frozen=True)
class Cell:
    """One tiny experiment: a case of the physics with a surrogate, in one precision."""

    case: Case
    surrogate: str
    precision: str

    @property
    def name(self) -> str:
        """`burgers-2d-field-zero-unet-float64`."""
        return f"{self.case.name}-{self.surrogate}-{self.precision}"

    @property
    def settings(self) -> tuple[Any, ...]:
        """What cells differ in."""
        case = self.case
        return (
            case.equation,
            case.rank,
            case.coefficient,
            case.boundary,
            self.surrogate,
            self.precision,
        )


CELLS = tuple(
    Cell(Case(equation.name, RESOLUTIONS[rank], kind, boundary), surrogate, precision)
    for equation in EQUATIONS.values()
    for rank in equation.ranks
    for kind in kinds_of(equation.parameters)
    for boundary in BOUNDARIES
    for surrogate in ARCHITECTURES
    for precision in PRECISIONS
)
SELECTED = tuple(pairwise(CELLS, lambda cell: cell.settings))


def compare(
    cell: Cell, folder: Path, device: str = "cpu", backends: Sequence[str] = ("torch",)
) -> dict[str, dict[str, Difference]]:
    """The largest difference between the sides, for each library that phiml computes with, by quantity.

    `folder` is for data and caches.  Raises Mismatch where the results are not even of a kind.
    """
    options = {"surrogate": cell.surrogate, "precision": cell.precision, "device": device}
    config = tiny(folder, cell.case, **options)
    write_data(config, noise=NOISE)
    with use_mode("legacy"):
        legacy = compute(config)
    found = {}
    for backend in backends:
        with use_mode("phiml"):
            phiml = compute(tiny(folder, cell.case, [f"trainer.backend={backend}"], **options))
        found[backend] = _differences(cell, legacy, phiml)
    return found


def _differences(cell: Cell, legacy: Results, phiml: Results) -> dict[str, Difference]:
    return {
        quantity: measure(legacy[quantity], phiml[quantity], quantity, precision=cell.precision)
        for quantity in legacy
    }


def compute(config: Config) -> Results:
    """Everything that is compared, by the mode in force."""
    factory = Factory(config)
    model, guess = factory.physical_model(), config.initial_parameters()
    trainer: Any = factory.physical_trainer(factory.physical_model(guess))
    dataset = factory.dataset(factory.data_manager(), config.trainer.train_sim)
    batch = dataset.get_batch(range(len(dataset)))
    initial = dataset.arrays.numpy(batch.initial)
    loss, gradients = trainer.loss_and_gradients(batch, {n: np.asarray(v) for n, v in guess.items()})
    network = factory.synthetic_model()
    outcome = train(config)
    return {
        "step": model.predict(initial, 1),
        "rollout": model.predict(initial, STEPS),
        "fit loss": loss,
        "fit gradient": dict(gradients),
        "network": network.predict(initial, 1),
        "network rollout": network.predict(initial, STEPS),
        "losses of a hybrid run": outcome.losses(),
        "weights of a hybrid run": outcome.weights,
        "parameters of a hybrid run": outcome.parameters,
        "predictions of a hybrid run": outcome.predictions,
    }
