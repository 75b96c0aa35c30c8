"""In which precision the network of a surrogate computes while it is trained (automatic mixed precision).

Only the network computes in fewer bits: its weights, what goes in, what comes out, physics and losses stay in
the precision of the training.  bf16 has the range of float32 and 8 significant bits; fp16 has 11, and numbers
up to 65504, so that gradients are scaled on their way back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

from hyco.errors import ConfigError

Amp = Literal["bf16", "fp16"]
_in_force: ContextVar[Amp | None] = ContextVar("hyco_network_precision", default=None)


def network_precision() -> Amp | None:
    """What networks compute in here, whatever their mode; None: in the precision of the training."""
    return _in_force.get()


@contextmanager
def lowered(amp: Amp | None) -> Iterator[None]:
    """Inside, networks compute in `amp`."""
    token = _in_force.set(amp)
    try:
        yield
    finally:
        _in_force.reset(token)


def check_amp(amp: str | None, device: str, precision: str, backend: str = "torch") -> None:
    """Raise ConfigError where networks cannot compute in `amp`.

    Args:
        device: of the training, `cpu`, `cuda`, `cuda:N`.
        precision: of the training.
        backend: of phiml mode, `torch` or `jax`.
    """
    if amp is None:
        return
    if amp not in ("bf16", "fp16"):
        raise ConfigError(f"trainer.synthetic.amp: expected bf16, fp16 or null, got {amp!r}.")
    if precision != "float32":
        raise ConfigError(
            f"trainer.synthetic.amp: {amp} lowers float32, but trainer.precision is {precision}. "
            "Set trainer.precision to float32, or remove trainer.synthetic.amp."
        )
    if amp == "fp16" and device == "cpu":
        raise ConfigError(
            "trainer.synthetic.amp: fp16 needs a CUDA device, and the training is on the CPU. "
            "Use bf16 there, or set trainer.device to cuda."
        )
    if amp == "fp16" and backend == "jax":
        raise ConfigError(
            "trainer.synthetic.amp: fp16 needs gradients that are scaled, which is there in PyTorch only. "
            "Use bf16, or set trainer.backend to torch."
        )
