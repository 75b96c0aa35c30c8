"""The layers that the surrogates of legacy mode are made of, by the number of axes."""

from __future__ import annotations

from typing import Literal

from torch import nn

CONVOLUTION = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORMALISATION = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
ACTIVATION = {"relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU, "gelu": nn.GELU, "sigmoid": nn.Sigmoid}


def convolution(rank: int, inputs: int, outputs: int, periodic: bool) -> nn.Module:
    """A convolution of 3 cells that keeps the grid: wrapped around the box, or with zeros beyond it."""
    padding: Literal["circular", "zeros"] = "circular" if periodic else "zeros"
    return CONVOLUTION[rank](inputs, outputs, kernel_size=3, padding=1, padding_mode=padding)


def normalisation(rank: int, channels: int, batch_norm: bool) -> nn.Module:
    """Batch normalisation, or nothing."""
    return NORMALISATION[rank](channels) if batch_norm else nn.Identity()
