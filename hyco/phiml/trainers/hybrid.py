"""The hybrid trainer in phiml mode."""

from __future__ import annotations

from typing import Literal, cast

import numpy as np
from phiml.math import Tensor

from hyco import interfaces
from hyco.interfaces import Dataset, History, Observer, PhysicalTrainer, Plan, SyntheticTrainer
from hyco.learning.cooperation import Generator, cooperate
from hyco.learning.training import ignore
from hyco.migration.registry import register
from hyco.phiml.checkpoints import SUFFIX
from hyco.phiml.device import frozen
from hyco.phiml.tensors import NativeArrays
from hyco.problem.sampling import stream


@register("hybrid_trainer", "default", "phiml")
class HybridTrainer(interfaces.HybridTrainer):
    """Lets a surrogate and a physical model teach each other; see `hyco.learning.cooperation`.

    Args:
        synthetic, physical: phiml trainers of the two models.
        plan: what each round trains and generates.
        initial_conditions: `random` ones of the equation, or the `data`'s.
        seed: of the initial conditions.
        observe: called with the record of every cycle.
    """

    mode = "phiml"
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

    def fit(self, train: Dataset, validation: Dataset | None = None, *, cycles: int) -> History:
        def states(cycle: int, count: int) -> Tensor:
            rng = stream(self._seed, "cooperation", cycle)
            return self._initial_conditions(train, count, rng)

        generator = Generator(states, self._roll_out_physical, self._roll_out_synthetic)
        return cooperate(
            self.synthetic,
            self.physical,
            train,
            validation,
            generator,
            self.plan,
            cycles=cycles,
            observe=self._observe,
        )

    def _initial_conditions(self, train: Dataset, count: int, rng: np.random.Generator) -> Tensor:
        if self._random:
            return self.physical.model.initial_state(count, rng=rng)
        windows = rng.choice(len(train), count, replace=count > len(train))
        return train.get_batch(windows.tolist()).initial

    def _roll_out_physical(self, states: Tensor, steps: int) -> Tensor:
        model = self.physical.model
        return cast(NativeArrays, model.arrays).compute.detached(model.rollout(states, steps))

    def _roll_out_synthetic(self, states: Tensor, steps: int) -> Tensor:
        model = self.synthetic.model
        model.training(False)
        with frozen(model.network):
            return model.rollout(states, steps)
