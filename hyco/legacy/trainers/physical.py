"""The physical model's trainer in legacy mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from hyco import interfaces
from hyco.interfaces import Batch, Dataset, History, Observer, PhysicalModel, Solve, TrainingState
from hyco.learning.descriptions import check_equation
from hyco.learning.fitting import FitLoop
from hyco.learning.inverse import Values
from hyco.learning.training import ignore
from hyco.legacy.checkpoints import SUFFIX, read_checkpoint, write_checkpoint
from hyco.legacy.losses import rollout_loss
from hyco.migration.registry import register

KIND = "physical training state"


@register("physical_trainer", "default", "legacy")
class PhysicalTrainer(interfaces.PhysicalTrainer):
    """Solves the inverse problem by L-BFGS-B on gradients from automatic differentiation.

    Args:
        model: a legacy physical model.
        bounds: learnable parameter -> (least, greatest) value.
        solve: when a solve stops.
        batch_size: windows that are rolled out together.
        window_stride: every how many-th real window takes part.
        interaction_weight: what a generated window counts, where a real one counts 1.
        smoothness: weight of the mean squared gradient of field parameters.
        observe: called with the record of every solve.
        progress: called with (iteration, loss) during a solve.
    """

    mode = "legacy"
    suffix = SUFFIX

    def __init__(
        self,
        model: PhysicalModel,
        *,
        bounds: Mapping[str, tuple[float, float]],
        solve: Solve | None = None,
        batch_size: int = 16,
        window_stride: int = 1,
        interaction_weight: float = 1.0,
        smoothness: float = 0.0,
        observe: Observer = ignore,
        progress: Callable[[int, float], None] | None = None,
    ) -> None:
        self.model = model
        self._loop = FitLoop(
            self,
            model,
            bounds,
            solve=solve or Solve(),
            batch_size=batch_size,
            window_stride=window_stride,
            interaction_weight=interaction_weight,
            smoothness=smoothness,
            observe=observe,
            progress=progress,
        )

    def fit(self, train: Dataset, validation: Dataset | None = None, *, epochs: int) -> History:
        return self._loop.fit(train, validation, epochs)

    def evaluate(self, dataset: Dataset) -> float:
        return self._loop.evaluate(dataset)

    @property
    def epochs_done(self) -> int:
        return self._loop.epoch

    def use_best(self) -> None:
        self._loop.use_best()

    def state(self) -> TrainingState:
        return self._loop.state()

    def restore(self, state: TrainingState) -> None:
        self._loop.restore(state)

    def save(self, path: Path) -> None:
        state = self.state()
        write_checkpoint(path, KIND, state.arrays, {**state.facts, "model": self.model.description})

    def load(self, path: Path) -> None:
        arrays, facts = read_checkpoint(path, KIND)
        check_equation(path, self.model.description, facts)
        self.restore(TrainingState(arrays, facts))

    def loss_and_gradients(self, batch: Batch, values: Values) -> tuple[float, Values]:
        """Mean loss of a batch and its gradients by the learnable parameters."""
        parameters = {n: self.model.arrays.parameter(v).requires_grad_() for n, v in values.items()}
        loss = self._loss(batch, parameters)
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        return float(loss.detach()), {
            n: g.cpu().double().numpy() for n, g in zip(parameters, gradients, strict=True)
        }

    @torch.no_grad()
    def loss(self, batch: Batch) -> torch.Tensor:
        """The loss of a batch with the parameters in force."""
        return self._loss(batch, {})

    def _loss(self, batch: Batch, parameters: Mapping[str, torch.Tensor]) -> torch.Tensor:
        arrays = self.model.arrays
        targets = arrays.place(batch.targets)
        rollout = self.model.rollout(arrays.place(batch.initial), targets.shape[2], parameters)
        return rollout_loss(rollout, targets, self.model.layout)
