"""Limits that an architecture sets to the grid, apart from how its layers are built."""

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
    per_level = (filters,) * levels if isinstance(filters, int) else tuple(filters)
    if len(per_level) != levels:
        raise ConfigError(f"a U-Net of {levels} levels needs {levels} filter counts, got {list(per_level)}.")
    return per_level
