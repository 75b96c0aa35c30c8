"""What is compared of trainers: losses and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyco.interfaces import Arrays, Batch, LossWeights
from hyco.migration.shadow.recorder import Part
from hyco.migration.shadow.states import Array, Case, Parts, copy_of, largest, parameters_of


class Learning(NamedTuple):
    """Numpy copies of what a trainer is given: a batch, the parameters or weights of its model, values.

    `weights`: the `LossWeights` of the call, where it was given some.
    """

    initial: Array
    targets: Array
    size: int
    generated: int
    model: dict[str, Array]
    values: Mapping[str, Array]
    observed: NDArray[np.bool_] | None = None
    weights: tuple[LossWeights | None, ...] = ()

    @classmethod
    def of(
        cls,
        arrays: Arrays,
        batch: Batch,
        model: dict[str, Array],
        values: Mapping[str, Array] | None = None,
        weights: tuple[LossWeights | None, ...] = (),
    ) -> Learning:
        """Copies."""
        tensors = copy_of(arrays, batch.initial), copy_of(arrays, batch.targets)
        copies = {name: np.array(value) for name, value in (values or {}).items()}
        observed = None if batch.observed is None else np.array(batch.observed)
        return cls(*tensors, batch.size, batch.generated, model, copies, observed, weights)

    def put(self, component: Any) -> Batch:
        """Give another trainer's model the same parameters or weights; the batch as that trainer has it."""
        arrays = component.model.arrays
        component.model.assign(self.model)
        tensors = arrays.state(self.initial), arrays.trajectory(self.targets)
        return Batch(*tensors, self.size, self.generated, self.observed)

    @property
    def magnitude(self) -> float:
        """The largest value of the trajectories."""
        return max(largest(self.initial), largest(self.targets))


class PhysicalLoss(Case):
    """`PhysicalTrainer.loss`."""

    def given(self, component: Any, batch: Batch) -> Learning:
        return Learning.of(component.model.arrays, batch, parameters_of(component.model))

    def repetition(self, component: Any, given: Learning) -> Callable[[], Any]:
        batch = given.put(component)
        return lambda: component.loss(batch)

    def parts(self, component: Any, result: Any, given: Learning) -> Parts:
        return [Part("fit loss in a run", "", np.float64(float(result)))]


class LossAndGradients(Case):
    """`PhysicalTrainer.loss_and_gradients`."""

    def given(
        self, component: Any, batch: Batch, values: Mapping[str, Array], *weights: LossWeights | None
    ) -> Learning:
        return Learning.of(component.model.arrays, batch, parameters_of(component.model), values, weights)

    def repetition(self, component: Any, given: Learning) -> Callable[[], Any]:
        batch = given.put(component)
        return lambda: component.loss_and_gradients(batch, given.values, *given.weights)

    def parts(self, component: Any, result: Any, given: Learning) -> Parts:
        loss, gradients = result
        slopes = [Part("fit gradient in a run", name, gradient) for name, gradient in gradients.items()]
        return [Part("fit loss in a run", "", np.float64(loss)), *slopes]


class SyntheticLoss(Case):
    """`SyntheticTrainer.loss`."""

    def given(self, component: Any, batch: Batch) -> Learning:
        return Learning.of(component.model.arrays, batch, component.model.weights())

    def repetition(self, component: Any, given: Learning) -> Callable[[], Any]:
        batch = given.put(component)
        return lambda: component.loss(batch)

    def parts(self, component: Any, result: Any, given: Learning) -> Parts:
        return [Part("network loss in a run", "", np.float64(float(result)))]


class Update(Case):
    """`SyntheticTrainer.update`: the loss, and its gradients by the weights, both before the update.

    All gradients are judged by the largest of all weights: those of biases in front of a normalisation are
    nothing but rounding.
    """

    def given(self, component: Any, batch: Batch, *weights: LossWeights | None) -> Learning:
        return Learning.of(component.model.arrays, batch, component.model.weights(), weights=weights)

    def repetition(self, component: Any, given: Learning) -> Callable[[], Any]:
        batch = given.put(component)
        return lambda: component.update(batch, *given.weights)

    def parts(self, component: Any, result: Any, given: Learning) -> Parts:
        gradients = component.gradients()
        top = max(map(largest, gradients.values()), default=0.0)
        slopes = [Part("weight gradient in a run", name, g, top) for name, g in gradients.items()]
        return [Part("network loss in a run", "", np.float64(float(result))), *slopes]
