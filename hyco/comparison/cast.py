"""The components of one mixture, made from a configuration as a run makes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hyco.comparison.mixtures import Mixture
from hyco.config import Config
from hyco.interfaces import (
    Arrays,
    Batch,
    DataManager,
    Dataset,
    PhysicalModel,
    PhysicalTrainer,
    SyntheticModel,
    SyntheticTrainer,
)
from hyco.migration.factory import Factory

T = TypeVar("T")
STATES = 4  # initial states that models are compared on


class Cast:
    """Every component when it is first asked for; `new_...` makes another one, as fresh as at the start."""

    def __init__(self, config: Config, mixture: Mixture) -> None:
        self.config = config
        self.mixture = mixture
        self.factory = Factory(config)

    @cached_property
    def data_manager(self) -> DataManager:
        """Trajectories on disk."""
        return self.new_data_manager()

    @cached_property
    def dataset(self) -> Dataset:
        """The windows to train on."""
        return self.made(lambda: self.factory.dataset(self.data_manager, self.config.trainer.train_sim))

    @cached_property
    def physical_model(self) -> PhysicalModel:
        """The equation, with its true parameters."""
        return self.made(self.factory.physical_model)

    @cached_property
    def synthetic_model(self) -> SyntheticModel:
        """The surrogate, with its initial weights."""
        return self.made(self.factory.synthetic_model)

    @cached_property
    def physical_trainer(self) -> PhysicalTrainer:
        """The trainer of the equation, which starts from the initial guess."""
        return self.new_physical_trainer()

    @cached_property
    def synthetic_trainer(self) -> SyntheticTrainer:
        """The trainer of the surrogate."""
        return self.new_synthetic_trainer()

    def new_data_manager(self) -> DataManager:
        """One that has nothing in memory."""
        return self.made(self.factory.data_manager)

    def new_synthetic_model(self) -> SyntheticModel:
        """A surrogate with its initial weights."""
        return self.made(self.factory.synthetic_model)

    def new_physical_trainer(self) -> PhysicalTrainer:
        """A trainer that has done nothing yet, of a model of its own with the initial guess."""
        guess = self.config.initial_parameters()
        return self.made(lambda: self.factory.physical_trainer(self.factory.physical_model(guess)))

    def new_synthetic_trainer(self) -> SyntheticTrainer:
        """A trainer that has done nothing yet, of a model of its own."""
        return self.made(lambda: self.factory.synthetic_trainer(self.factory.synthetic_model()))

    def made(self, make: Callable[[], T]) -> T:
        """What `make` makes, on the sides of this mixture."""
        with self.mixture.in_force():
            return make()

    def states(self) -> NDArray[Any]:
        """Initial states (batch, field, *space) from the data."""
        chosen = np.linspace(0, len(self.dataset) - 1, min(STATES, len(self.dataset))).astype(int).tolist()
        return self.dataset.arrays.numpy(self.dataset.get_batch(chosen).initial)

    def batch(self, arrays: Arrays, number: int = 0) -> Batch:
        """Some windows in order, as many as an update has, as `arrays` has them."""
        size, count = self.config.trainer.batch_size, len(self.dataset)
        first = number * size % count
        batch = self.dataset.get_batch([i % count for i in range(first, first + min(size, count))])
        numpy = self.dataset.arrays.numpy
        initial, targets = numpy(batch.initial), numpy(batch.targets)
        return Batch(arrays.state(initial), arrays.trajectory(targets), batch.size)
