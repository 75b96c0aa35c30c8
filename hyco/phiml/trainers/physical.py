"""The physical model's trainer in phiml mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast
from weakref import ref

import numpy as np
from numpy.typing import NDArray
from phiml.math import Tensor

from hyco import interfaces
from hyco.interfaces import (
    Batch,
    Dataset,
    History,
    LossWeights,
    Observer,
    PhysicalModel,
    Solve,
    TrainingState,
)
from hyco.learning.bases import Basis
from hyco.learning.descriptions import check_equation
from hyco.learning.fitting import FitLoop
from hyco.learning.inverse import Values
from hyco.learning.training import ignore
from hyco.learning.weighting import entry_weights
from hyco.migration.registry import register
from hyco.phiml.checkpoints import SUFFIX, read_checkpoint, write_checkpoint
from hyco.phiml.device import Compiled
from hyco.phiml.losses import rollout_loss
from hyco.phiml.physical.base import GridModel
from hyco.phiml.tensors import NativeArrays

KIND = "physical training state"


@register("physical_trainer", "default", "phiml")
class PhysicalTrainer(interfaces.PhysicalTrainer):
    """Solves the inverse problem by L-BFGS-B or Adam on gradients from automatic differentiation.

    Both optimise on the host, in float64 (`hyco.learning.descent`); rollouts and gradients are made on the
    device.

    Args:
        model: a phiml physical model.
        bounds: learnable parameter -> (least, greatest) value.
        solve: how it is done, when a solve stops, what happens when it diverges.
        batch_size: windows that are rolled out together.
        window_stride: every how many-th real window takes part.
        smoothness: weight of the mean squared gradient of field parameters.
        total_variation: weight of their mean absolute gradient.
        bases: learnable parameter -> what is unknown of it; its cells where none is given.
        observe: called with the record of every solve.
        progress: called with (iteration, loss) during a solve.
    """

    mode = "phiml"
    suffix = SUFFIX

    def __init__(
        self,
        model: PhysicalModel,
        *,
        bounds: Mapping[str, tuple[float, float]],
        solve: Solve | None = None,
        batch_size: int = 16,
        window_stride: int = 1,
        smoothness: float = 0.0,
        total_variation: float = 0.0,
        bases: Mapping[str, Basis] | None = None,
        observe: Observer = ignore,
        progress: Callable[[int, float], None] | None = None,
    ) -> None:
        self.model = model
        self._compute = cast(NativeArrays, model.arrays).compute
        self._fused = isinstance(model, GridModel) and model.fused
        self._weights: dict[int, tuple[ref[Batch], NDArray[Any]]] = {}
        self.compiled_loss = Compiled(self._loss, self._compute)
        self.compiled_gradient = Compiled(self._loss, self._compute, gradient_of="parameters")
        self._loop = FitLoop(
            self,
            model,
            bounds,
            solve=solve or Solve(),
            batch_size=batch_size,
            window_stride=window_stride,
            smoothness=smoothness,
            total_variation=total_variation,
            bases=bases,
            observe=observe,
            progress=progress,
        )

    def fit(
        self,
        train: Dataset,
        validation: Dataset | None = None,
        *,
        epochs: int,
        weights: LossWeights | None = None,
    ) -> History:
        return self._loop.fit(train, validation, epochs, weights)

    def evaluate(self, dataset: Dataset) -> float:
        return self._loop.evaluate(dataset)

    @property
    def epochs_done(self) -> int:
        return self._loop.epoch

    @property
    def generated_seen(self) -> int:
        return self._loop.generated_seen

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
        """Mean loss over what is observed of a batch, and its gradients by the learnable parameters."""
        if self._fused:
            return self._fused_loss(batch, values)
        arrays = self.model.arrays
        parameters = {n: arrays.parameter(v) for n, v in values.items()}
        loss, gradients = self.compiled_gradient(parameters, *self._placed(batch))
        return float(self._compute.native(loss)), {
            n: np.asarray(arrays.numpy(g), dtype=np.float64) for n, g in gradients.items()
        }

    def loss(self, batch: Batch) -> Any:
        """The mean loss over what is observed of a batch with the parameters in force."""
        if self._fused:
            return self._fused_loss(batch, {})[0]
        learnable = {n: self.model.parameters[n] for n in self._loop.bounds}
        return self._compute.native(self.compiled_loss(learnable, *self._placed(batch)))

    def _fused_loss(self, batch: Batch, values: Values) -> tuple[float, Values]:
        """Loss and gradients by kernels that are compiled already: nothing is traced."""
        model, weights = cast(GridModel, self.model), self._entry_weights(batch)
        steps = model.fused_steps
        return steps.objective(batch.initial, batch.targets, weights, model.parameters, values)

    def _entry_weights(self, batch: Batch) -> NDArray[Any] | None:
        """Weights of a batch's entries, kept as long as the batch is: fits ask for them again and again."""
        if batch.observed is None:
            return None
        known = self._weights.get(id(batch))
        if known is None or known[0]() is not batch:
            self._weights = {k: v for k, v in self._weights.items() if v[0]() is not None}
            made = entry_weights(batch, LossWeights())
            known = ref(batch), np.asarray(made, self._compute.precision)
            self._weights[id(batch)] = known
        return known[1]

    def _placed(self, batch: Batch) -> tuple[Tensor, ...]:
        arrays = self.model.arrays
        weights = entry_weights(batch, LossWeights())
        placed = () if weights is None else (arrays.entries(weights),)
        return arrays.place(batch.initial), arrays.place(batch.targets), *placed

    def _loss(
        self,
        parameters: Mapping[str, Tensor],
        initial: Tensor,
        targets: Tensor,
        weights: Tensor | None = None,
    ) -> Tensor:
        rollout = self.model.rollout(initial, targets.shape.get_size("time"), parameters)
        return rollout_loss(rollout, targets, self.model.layout, weights)
