"""What a cycle of the cooperation must know of the time before it, so that a run can go on within a cycle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any

from numpy.typing import NDArray

from hyco.errors import CheckpointError
from hyco.interfaces import PhysicalTrainer, SyntheticModel, SyntheticTrainer, TrainingState
from hyco.learning.checkpoints import prefixed, under

Weights = Mapping[str, NDArray[Any]]
BEST = "best."


@dataclass
class Memory:
    """The surrogate as the cycle found it, and the last accepted state of either model.

    Args:
        cycle: the cycle that was begun last.
        weights: of the surrogate when it began; None where nothing needs them.
        accepted: model -> (loss, state) as the last cycle that did not make it worse left it, or as the
            first one found it.
    """

    cycle: int = 0
    weights: Weights | None = None
    accepted: dict[str, tuple[float, TrainingState]] = field(default_factory=dict)

    def begin(self, cycle: int, weights: Callable[[], Weights] | None) -> None:
        """A cycle begins, or goes on after an interruption: then what it found is in memory already."""
        if cycle != self.cycle:
            self.cycle = cycle
            self.weights = None if weights is None else weights()

    def judge(
        self, name: str, trainer: SyntheticTrainer | PhysicalTrainer, loss: float, tolerance: float
    ) -> bool:
        """Accept a model after a cycle, or put the last accepted one back; whether it was put back.

        It is when loss > (1 + tolerance) accepted loss, or not finite.  Weights or parameters go back, and
        the moments of their optimiser; the epochs that were spent, and the best state so far, stay.
        """
        known, state = self.accepted.get(name, (inf, None))
        if state is None or (isfinite(loss) and loss <= (1.0 + tolerance) * known):
            self.accepted[name] = (loss if isfinite(loss) else inf), trainer.state()
            return False
        now = trainer.state()
        best = {key: array for key, array in now.arrays.items() if key.startswith(BEST)}
        earlier = {key: array for key, array in state.arrays.items() if not key.startswith(BEST)}
        trainer.restore(TrainingState({**earlier, **best}, now.facts))
        return True

    def state(self) -> TrainingState:
        """All of it as arrays and facts."""
        arrays = {} if self.weights is None else prefixed("weights", self.weights)
        facts: dict[str, Any] = {"cycle": self.cycle, "accepted": {}}
        for name, (loss, state) in self.accepted.items():
            arrays |= prefixed(f"accepted.{name}", state.arrays)
            facts["accepted"][name] = {"loss": loss, "facts": dict(state.facts)}
        return TrainingState(arrays, facts)

    def restore(self, state: TrainingState) -> None:
        """Go on from what `state` gave; raises CheckpointError when it is something else."""
        try:
            self.cycle = int(state.facts["cycle"])
            self.weights = under("weights", state.arrays) or None
            self.accepted = {
                name: (
                    float(entry["loss"]),
                    TrainingState(under(f"accepted.{name}", state.arrays), dict(entry["facts"])),
                )
                for name, entry in state.facts["accepted"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"state of the cooperation: damaged ({type(error).__name__}: {error}). Use another one."
            ) from error


@contextmanager
def teaching(model: SyntheticModel, weights: Weights | None) -> Iterator[None]:
    """Inside, the surrogate has these weights; None leaves it as it is."""
    if weights is None:
        yield
        return
    own = model.weights()
    model.assign(weights)
    try:
        yield
    finally:
        model.assign(own)
