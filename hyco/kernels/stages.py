"""Steps that are made of several kernels, one after the other: rollouts and their gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from hyco.kernels.rollout import Gradients, Rollout

Array = NDArray[Any]
Adjoint = tuple[Array | None, list[Array | None]]


class Stages(ABC):
    """The steps of one equation on one grid.

    Trajectories are contiguous, (batch, component, time, *space); parameters are numbers or have one value
    per cell, in the order of `parameters`; all arrays of a call are of one dtype, float32 or float64.

    Attributes: parameters, their names in the equation.
    """

    parameters: tuple[str, ...]

    @abstractmethod
    def step(self, trajectory: Array, time: int, values: Sequence[Array], threads: int) -> Any:
        """Make the frame after `time`; returns what `undo` needs besides both frames."""

    @abstractmethod
    def undo(
        self,
        trajectory: Array,
        time: int,
        kept: Any,
        after: Array,
        given: Array,
        values: Sequence[Array],
        wants: tuple[bool, ...],
        threads: int,
    ) -> Adjoint:
        """The adjoint of `step`: derivatives of a number by the frame at `time`, and by the parameters.

        Args:
            kept: what `step` returned.
            after: the derivative by the frame after it, (batch, component, *space), contiguous.
            given: the derivative by the frame itself, beside that through the step.
            wants: whether that by the frame, and those by each of the parameters, are wanted.
        """

    def fill(self, trajectory: Array, values: Sequence[Array], *, threads: int = 1) -> list[Any]:
        """Fill a trajectory whose first frame is there; returns what `gradients` needs."""
        return [self.step(trajectory, time, values, threads) for time in range(trajectory.shape[2] - 1)]

    def gradients(
        self,
        trajectory: Array,
        kept: list[Any],
        given: Array,
        values: Sequence[Array],
        wants: tuple[bool, ...],
        *,
        threads: int = 1,
    ) -> Adjoint:
        """Derivatives by the first frame and by the parameters, from those by every frame of a trajectory."""
        adjoint: Array | None = np.ascontiguousarray(given[:, :, -1])
        totals = [np.zeros_like(v) if w else None for v, w in zip(values, wants[1:], strict=True)]
        for time in range(len(kept) - 1, -1, -1):
            wanted = time > 0 or wants[0], *wants[1:]
            here = trajectory, time, kept[time]
            assert adjoint is not None
            adjoint, found = self.undo(*here, adjoint, given[:, :, time], values, wanted, threads)
            for total, more in zip(totals, found, strict=True):
                if total is not None:
                    total += more
        return adjoint, totals


def undo_step(
    kernel: Rollout, initial: Array, after: Array, given: Array | None = None, **options: Any
) -> Gradients:
    """The adjoint of `Rollout.step`.

    Args:
        initial: the state.
        after: the derivative by what moved, (batch, moved component, *space).
        given: that by the state itself, beside that through the step; None: 0.
    """
    shape = *initial.shape[:2], 2, *initial.shape[2:]
    frames = as_strided(initial, shape, (*initial.strides[:2], 0, *initial.strides[2:]))
    by_frame = np.zeros(shape, initial.dtype)
    if given is not None:
        by_frame[:, :, 0] = given
    by_frame[:, : kernel.moved, 1] = after
    return kernel.gradients(frames, by_frame, **options)


def gathered(by_cell: Array, parameter: Array) -> Array:
    """The gradient by a parameter from that by its value in every cell."""
    return by_cell.reshape(parameter.shape) if parameter.ndim else np.asarray(by_cell.sum())
