"""What the surrogates of phiml mode call their layers in PhiML."""

from __future__ import annotations

ACTIVATION = {"relu": "ReLU", "tanh": "tanh", "silu": "SiLU", "gelu": "GeLU", "sigmoid": "Sigmoid"}
