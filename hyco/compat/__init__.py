"""Conversion between the two modes: tensors with their dims stated, and components seen through adapters."""

from hyco.compat.tensors import to_phiml, to_torch

__all__ = ["to_phiml", "to_torch"]
