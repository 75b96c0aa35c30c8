"""The candidates: components of the other side, which learn, remember and cache apart from the run's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from hyco.config import Config
from hyco.interfaces import (
    DataManager,
    Dataset,
    PhysicalModel,
    PhysicalTrainer,
    Side,
    SyntheticModel,
    SyntheticTrainer,
)
from hyco.migration.factory import Factory
from hyco.migration.registry import use_mode

CACHE = "shadow"


class Twins:
    """The components of one side, each made when it is first needed, all of that side alone.

    Their caches are in the folder `shadow` of the configuration's cache folder, and made by this process.
    Models and trainers are one each: their parameters, weights and modes are assigned before every call.
    """

    def __init__(self, config: Config, side: Side) -> None:
        data = config.data.model_copy(update={"cache_dir": config.data.cache_dir / CACHE})
        cache = config.cache.model_copy(update={"workers": 0})
        self.side = side
        self._config = config.model_copy(update={"data": data, "cache": cache})
        self._factory = Factory(self._config)

    @cached_property
    def data_manager(self) -> DataManager:
        """Trajectories."""
        return self._made(self._factory.data_manager)

    def dataset(self, simulations: Sequence[int]) -> Dataset:
        """Windows of these simulations, a new one with every call."""
        return self._made(self._factory.dataset, self.data_manager, tuple(simulations))

    @cached_property
    def physical_model(self) -> PhysicalModel:
        """The equation."""
        return self._made(self._factory.physical_model)

    @cached_property
    def synthetic_model(self) -> SyntheticModel:
        """The surrogate."""
        return self._made(self._factory.synthetic_model)

    @cached_property
    def physical_trainer(self) -> PhysicalTrainer:
        """The trainer of `physical_model`."""
        return self._made(self._factory.physical_trainer, self.physical_model)

    @cached_property
    def synthetic_trainer(self) -> SyntheticTrainer:
        """The trainer of `synthetic_model`."""
        return self._made(self._factory.synthetic_trainer, self.synthetic_model)

    def _made(self, make: Callable[..., Any], *arguments: Any) -> Any:
        with use_mode(self.side, source="shadow mode"):
            return make(*arguments)
