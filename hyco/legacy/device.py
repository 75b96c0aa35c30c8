"""Where legacy mode computes, and in which precision."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hyco.errors import ConfigError


@dataclass(frozen=True)
class Compute:
    """A device (`auto`, `cpu`, `cuda`, `cuda:N`) and a precision (`float32`, `float64`).

    Raises ConfigError when the device is not there.
    """

    device: str = "auto"
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.device == "auto":
            object.__setattr__(self, "device", "cuda" if torch.cuda.is_available() else "cpu")
        elif self.device.startswith("cuda"):
            count = torch.cuda.device_count()
            wanted = int(self.device.partition(":")[2] or 0)
            if wanted >= count:
                raise ConfigError(
                    f"trainer.device: {self.device} is not there: PyTorch sees {count} CUDA devices. "
                    "Use trainer.device=cpu or auto."
                )

    @property
    def torch_device(self) -> torch.device:
        """The device as PyTorch names it."""
        return torch.device(self.device)

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type as PyTorch names it."""
        return {"float32": torch.float32, "float64": torch.float64}[self.precision]

    def place(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor on this device in this precision; itself when it already is."""
        return tensor.to(device=self.torch_device, dtype=self.dtype)


def is_tracing() -> bool:
    """Whether a function is being traced by `torch.jit` right now."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]
