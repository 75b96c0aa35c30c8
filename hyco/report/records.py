"""What the records of a training say of one model, by epoch; every key but the losses may be missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Record = Mapping[str, Any]
Array = NDArray[np.float64]


def epochs_of(records: Sequence[Record], model: str) -> list[Record]:
    """The epochs of one model, in order."""
    return [r for r in records if r.get("kind") == "epoch" and r.get("model") == model]


@dataclass(frozen=True)
class Stage:
    """Epochs that belong together, `start` to `end`, both included: the warm-up, or one cycle."""

    name: str
    cycle: int
    start: int
    end: int


class Course:
    """The training of one model, epoch by epoch."""

    def __init__(self, records: Sequence[Record], model: str) -> None:
        self.model = model
        self.epochs = epochs_of(records, model)
        self._cycles = [r for r in records if r.get("kind") == "cycle"]

    def __bool__(self) -> bool:
        return bool(self.epochs)

    @cached_property
    def number(self) -> Array:
        """The number of each epoch; after an early stop some are left out."""
        told = [e.get("epoch") for e in self.epochs]
        counted = np.arange(1, len(told) + 1, dtype=np.float64)
        if any(n is None for n in told):
            return counted
        numbers = np.array(told, np.float64)
        return numbers if np.all(np.diff(numbers) > 0) else counted

    @property
    def last(self) -> float:
        """The last epoch that counts, those included that an early stop left out."""
        return float(self.number[-1]) + float(self.epochs[-1].get("stopped_early") or 0)

    def column(self, key: str) -> Array:
        """The values of one key, NaN where a record has none or it is not finite."""
        values = np.array([np.nan if e.get(key) is None else e[key] for e in self.epochs], np.float64)
        return np.where(np.isfinite(values), values, np.nan)

    def has(self, key: str) -> bool:
        """Whether any epoch has a finite value of that key."""
        return bool(np.any(np.isfinite(self.column(key))))

    def varies(self, key: str) -> bool:
        """Whether a key has different values in different epochs."""
        values = self.column(key)
        return self.has(key) and bool(np.nanmax(values) > np.nanmin(values))

    @cached_property
    def stages(self) -> list[Stage]:
        """Warm-up and cycles, in order; nothing where the training has none."""
        phases = [(e.get("phase"), e.get("cycle") or 0) for e in self.epochs]
        if all(phase != "cycle" for phase, _ in phases):
            return []
        starts = [i for i, phase in enumerate(phases) if i == 0 or phase != phases[i - 1]]
        ends = [int(self.number[i]) - 1 for i in starts[1:]] + [int(self.last)]
        return [
            Stage(str(phases[i][0]), phases[i][1], int(self.number[i]), end)
            for i, end in zip(starts, ends, strict=True)
        ]

    @property
    def stopped_early(self) -> Array:
        """The epochs after which a phase ended before its time."""
        return self.number[[bool(e.get("stopped_early")) for e in self.epochs]]

    @property
    def diverged(self) -> Array:
        """The solves that diverged, however often they were tried."""
        return self.number[[e.get("status") == "diverged" for e in self.epochs]]

    @property
    def reverted(self) -> Array:
        """The last epochs of the cycles after which the model went back to the last accepted one."""
        cycles = {r["cycle"] for r in self._cycles if self.model in (r.get("reverted") or ())}
        return np.array([s.end for s in self.stages if s.name == "cycle" and s.cycle in cycles], np.float64)

    @property
    def seconds(self) -> float | None:
        """The time that the epochs took; None where that is not known."""
        known = [e["timing"]["seconds"] for e in self.epochs if "seconds" in (e.get("timing") or {})]
        return float(sum(known)) if known else None
