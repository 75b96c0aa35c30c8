"""Where a training is within its epoch, and within its phase; as plain facts a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import inf, isfinite
from typing import Any

import numpy as np

from hyco.interfaces import Batch, EarlyStopping

Facts = Mapping[str, Any]


@dataclass
class Phase:
    """Epochs that are trained on the same data, one call of `fit`.

    Attributes: end, the number of epochs done when it is over; best, its least loss so far; waited, how many
    epochs ago that was; interaction_scale, by which `proportional` multiplies the interaction's weight.
    """

    end: int
    best: float = inf
    waited: int = 0
    interaction_scale: float | None = None

    def is_stuck(self, loss: float, stopping: EarlyStopping | None) -> bool:
        """Take note of the loss of an epoch; whether it has not fallen for `stopping.patience` epochs.

        It has fallen when  loss < best (1 - min_delta).
        """
        if stopping is None:
            return False
        if loss < (self.best if self.best == inf else self.best * (1.0 - stopping.min_delta)):
            self.best, self.waited = loss, 0
        else:
            self.waited += 1
        return self.waited >= stopping.patience

    def facts(self) -> dict[str, Any]:
        """Itself, in plain values."""
        return asdict(self)

    @classmethod
    def of(cls, facts: Facts | None) -> Phase | None:
        """What `facts` told; KeyError, TypeError or ValueError when they are something else."""
        if facts is None:
            return None
        scale = facts["interaction_scale"]
        numbers = int(facts["end"]), float(facts["best"]), int(facts["waited"])
        return cls(*numbers, None if scale is None else float(scale))


def _taken(value: Any) -> Any:
    """A value in main memory as a plain number; another one as it is."""
    device = getattr(value, "device", "")  # JAX's have the platform apart from the name
    return float(value) if "cpu" in (str(device), getattr(device, "platform", "")) else value


@dataclass
class Progress:
    """What the updates of an epoch have given so far, in order.

    Losses and norms of gradients on an accelerator stay there until they are asked for: each of them waited
    for alone would make it idle.  Those in main memory are taken at once: some bytes that outlive their batch
    keep the C library from using its memory again, and all of an epoch would cost hundreds of MiB.
    """

    sizes: list[int] = field(default_factory=list)
    generated: int = 0
    norms: list[Any] = field(default_factory=list)
    _losses: list[Any] = field(default_factory=list)

    @property
    def batch(self) -> int:
        """How many updates the epoch has seen."""
        return len(self.sizes)

    def add(self, loss: Any, batch: Batch, norm: Any, *, seen: bool = True) -> None:
        """One more update; `seen`: whether its generated windows count anything."""
        self._losses.append(_taken(loss))
        self.sizes.append(batch.size)
        self.generated += batch.generated if seen else 0
        if norm is not None:
            self.norms.append(_taken(norm))

    def losses(self) -> list[float]:
        """The losses, waited for once."""
        self._losses = [float(loss) for loss in self._losses]
        return list(self._losses)

    def mean_norm(self) -> float:
        """The mean norm of the gradients; of the finite ones, since fp16 leaves out updates with others."""
        norms = [float(norm) for norm in self.norms]
        finite = [norm for norm in norms if isfinite(norm)]
        return float(np.mean(finite or norms))

    def facts(self) -> dict[str, Any]:
        """Itself, in plain values."""
        self.norms = [float(norm) for norm in self.norms]
        return {
            "batch": self.batch,
            "losses": self.losses(),
            "sizes": list(self.sizes),
            "generated": self.generated,
            "gradient_norms": list(self.norms),
        }

    @classmethod
    def of(cls, facts: Facts) -> Progress:
        """What `facts` told, or nothing of an epoch; ValueError when they contradict themselves."""
        losses = [float(v) for v in facts.get("losses", ())]
        sizes = [int(v) for v in facts.get("sizes", ())]
        if not int(facts.get("batch", 0)) == len(losses) == len(sizes):
            raise ValueError(f"{facts.get('batch')} batches with {len(losses)} losses and {len(sizes)} sizes")
        norms: list[Any] = [float(v) for v in facts.get("gradient_norms", ())]
        return cls(sizes, int(facts.get("generated", 0)), norms, list(losses))
