"""Layouts and states of no particular equation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import Grid
from hyco.problem.sampling import smooth_random_field


def layout_with_static(axes: tuple[str, ...]) -> FieldLayout:
    """A velocity and a temperature that evolve, with a static height between them."""
    fields = (FieldSpec("velocity", vector=True), FieldSpec("height", static=True), FieldSpec("temperature"))
    return FieldLayout(fields, axes)


def smooth_states(layout: FieldLayout, grid: Grid, batch: int, seed: int = 0) -> NDArray[np.float64]:
    """Smooth random states (batch, field, *space) of any layout."""
    rng = np.random.default_rng(seed)
    return smooth_random_field(grid, (batch, len(layout.components)), rng, modes=2)
