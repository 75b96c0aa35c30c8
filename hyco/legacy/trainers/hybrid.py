"""The hybrid trainer in legacy mode."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from hyco import interfaces
from hyco.interfaces import (
    Dataset,
    History,
    Observer,
    PhysicalTrainer,
    Plan,
    SyntheticTrainer,
    TrainingState,
)
from hyco.learning.cooperation import Generator, cooperate
from hyco.learning.memory import Memory, Weights, teaching
from hyco.learning.training import ignore
from hyco.legacy.checkpoints import SUFFIX
from hyco.migration.registry import register
from hyco.problem.sampling import random_cells, stream


@register("hybrid_trainer", "default", "legacy")
class HybridTrainer(interfaces.HybridTrainer):
    """Lets a surrogate and a physical model teach each other; see `hyco.learning.cooperation`.

    Args:
        synthetic, physical: legacy trainers of the two models.
        plan: what each round trains and generates.
        initial_conditions: `random` ones of the equation, or the `data`'s.
        seed: of the initial conditions.
        observe: called with the record of every cycle.
    """

    mode = "legacy"
    suffix = SUFFIX

    def __init__(
        self,
        synthetic: SyntheticTrainer,
        physical: PhysicalTrainer,
        *,
        plan: Plan,
        initial_conditions: Literal["random", "data"] = "random",
        seed: int = 0,
        observe: Observer = ignore,
    ) -> None:
        self.synthetic = synthetic
        self.physical = physical
        self.plan = plan
        self._random = initial_conditions == "random"
        self._seed = seed
        self._observe = observe
        self._memory = Memory()

    def fit(self, train: Dataset, validation: Dataset | None = None, *, cycles: int) -> History:
        observed = train.seen_by("physical")

        def states(cycle: int, count: int) -> torch.Tensor:
            rng = stream(self._seed, "cooperation", cycle)
            return self._initial_conditions(observed, count, rng)

        def points(cycle: int, count: int) -> NDArray[np.bool_]:
            return random_cells(train.grid, count, stream(self._seed, "cooperation", cycle, 1))

        generator = Generator(states, self._roll_out_physical, self._roll_out_synthetic, points)
        return cooperate(
            self.synthetic,
            self.physical,
            train,
            validation,
            generator,
            self.plan,
            cycles=cycles,
            memory=self._memory,
            observe=self._observe,
        )

    def state(self) -> TrainingState:
        return self._memory.state()

    def restore(self, state: TrainingState) -> None:
        self._memory.restore(state)

    def _initial_conditions(self, train: Dataset, count: int, rng: np.random.Generator) -> torch.Tensor:
        if self._random:
            return self.physical.model.initial_state(count, rng=rng)
        windows = rng.choice(len(train), count, replace=count > len(train))
        return train.get_batch(windows.tolist()).initial

    @torch.no_grad()
    def _roll_out_physical(self, states: torch.Tensor, steps: int) -> torch.Tensor:
        return self.physical.model.rollout(states, steps)

    @torch.no_grad()
    def _roll_out_synthetic(self, states: torch.Tensor, steps: int, weights: Weights | None) -> torch.Tensor:
        model = self.synthetic.model
        model.training(False)
        with teaching(model, weights):
            return model.rollout(states, steps)
