"""What an architecture demands of the grid and of its own sizes, apart from how its layers are built."""

from __future__ import annotations

from collections.abc import Sequence

from hyco.errors import ConfigError
from hyco.problem.grid import Grid


def unet_filters(grid: Grid, levels: int, filters: int | Sequence[int]) -> tuple[int, ...]:
    """One filter count per level; raises ConfigError when the levels do not divide the grid."""
    factor = 2 ** (levels - 1)
    for axis, cells in zip(grid.axes, grid.resolution, strict=True):
        if cells % factor:
            raise ConfigError(
                f"a U-Net of {levels} levels halves the grid {levels - 1} times, so every axis must be "
                f"divisible by {factor}, but {axis} has {cells} cells. "
                "Use fewer levels, or another resolution."
            )
    return _one_per("level", "U-Net", levels, filters)


def layer_filters(network: str, layers: int, filters: int | Sequence[int]) -> tuple[int, ...]:
    """One filter count per layer; such a network fits every grid.

    Periodic ones too: a convolution of 3 cells wraps by one cell around each end, and PyTorch's circular
    padding asks for axes of no fewer cells than it adds.
    """
    return _one_per("layer", network, layers, filters)


def _one_per(part: str, network: str, number: int, filters: int | Sequence[int]) -> tuple[int, ...]:
    counts = (filters,) * number if isinstance(filters, int) else tuple(filters)
    if len(counts) != number:
        parts = f"{number} {part}{'s' if number > 1 else ''}"
        needs = f"{number} filter count{'s' if number > 1 else ''}"
        raise ConfigError(f"a {network} of {parts} needs {needs}, got {list(counts)}.")
    return counts
