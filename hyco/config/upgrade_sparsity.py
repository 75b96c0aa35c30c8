"""The original's block about what is observed of the data, in hyco's keys.

Frames: those of the original, to which it gave the same names.  Cells: it counted cells where hyco asks where
their centres are, which is the same for shares that fall on the faces between cells.
"""

from __future__ import annotations

from typing import Any

from hyco.config.moves import Moves, number, shown
from hyco.problem.grid import AXES

_TIME, _SPACE = "sparsity.temporal", "sparsity.spatial"
_DEFAULTS = {
    "start_fraction": 0.1, "end_fraction": 0.1, "uniform_stride": 1, "custom_fractions": [],
    "center_fraction": 0.5, "num_random_points": 100,
}  # fmt: skip
_MODES: dict[str, dict[str, dict[str, str]]] = {
    _TIME: {
        "full": {},
        "endpoints": {"start": "start_fraction", "end": "end_fraction"},
        "uniform": {"stride": "uniform_stride"},
        "custom": {"fractions": "custom_fractions"},
    },
    _SPACE: {
        "full": {},
        "range": {axis: f"{axis}_range" for axis in AXES},
        "center": {"fraction": "center_fraction"},
        "random_points": {"count": "num_random_points"},
    },
}
_WHY = {
    _TIME: "windows keep the true times; what is hidden of them is not compared",
    _SPACE: "cells by their centres",
}
_POINTS = "drawn from general.seed, other points than the original's random_seed gave"


def upgrade_sparsity(moves: Moves) -> None:
    """Masks that are switched on; everything else of the block means nothing."""
    for path, target in ((_TIME, "observations.time"), (_SPACE, "observations.space")):
        block = moves.block(path)
        if not block.get("enabled"):
            continue
        mode = block.get("mode", "full")
        if mode not in _MODES[path]:
            moves.refuse(f"{path}.mode", f"expected one of {', '.join(_MODES[path])}, got {mode!r}.")
        made: dict[str, Any] = {"mask": mode}
        for new, old in _MODES[path][mode].items():
            value = block.get(old, _DEFAULTS.get(old))
            if value is not None:
                made[new] = number(value)
        moves.take(path)
        moves.put(target, made)
        why = _POINTS if mode == "random_points" else _WHY[path]
        moves.note(f"{path}: {shown(block)}", f"{target}: {shown(made)} ({why})")
    moves.drop("sparsity", "what is left of it is switched off")
