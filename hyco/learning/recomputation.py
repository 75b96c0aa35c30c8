"""Whether the rollout of a surrogate keeps what its network computed, or gradients compute it again.

Kept, it takes memory in proportion to the length of the rollout; recomputed, only the states do, for about a
third more time.  Results are the same to the last bit.
Source: Chen, Xu, Zhang, Guestrin (2016), "Training deep nets with sublinear memory cost".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from hyco.errors import ConfigError

_in_force: ContextVar[bool] = ContextVar("hyco_recomputation", default=False)


def recomputes() -> bool:
    """Whether rollouts recompute here, whatever their mode."""
    return _in_force.get()


@contextmanager
def recomputing(on: bool) -> Iterator[None]:
    """Inside, rollouts recompute, if `on`."""
    token = _in_force.set(on)
    try:
        yield
    finally:
        _in_force.reset(token)


def normalises(names: Iterable[str]) -> bool:
    """Whether a network with buffers of these names normalises by the statistics of what it is shown."""
    return any(name.endswith("running_mean") for name in names)


def check_recomputation(on: bool, names: Iterable[str]) -> None:
    """Raise ConfigError for a network that would count every state twice; `names`: of its buffers."""
    if on and normalises(names):
        raise ConfigError(
            "trainer.synthetic.recompute: batch normalisation would count every state twice. "
            "Set model.synthetic.architecture.batch_norm to false, or remove trainer.synthetic.recompute."
        )
