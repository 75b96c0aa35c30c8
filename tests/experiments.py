"""The tiny Burgers experiments on a line and in the plane that most tests of trainings use."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hyco.config import Config
from hyco.testing import experiments
from hyco.testing.cases import Case

LINE = {"x": {"size": 8, "resolution": 8}}
PLANE = {"x": {"size": 8, "resolution": 8}, "y": {"size": 9, "resolution": 12}}
COEFFICIENT = "0.1 + 0.1*(1 + sin(2*pi*x/size_x))"


def tiny(folder: Path, overrides: Sequence[str] = (), *, domain: Mapping[str, Any] = LINE) -> Config:
    """`hyco.testing.experiments.tiny` for Burgers, whose viscosity is learned from a uniform guess."""
    case = Case("burgers", tuple(axis["resolution"] for axis in domain.values()), "field", "periodic", 0.5, 1)
    flow = [
        f"model.physical.domain={json.dumps(domain)}",
        f"model.physical.parameters.diffusion_coeff.value={COEFFICIENT}",
        "trainer.physical.learnable_parameters=[{name: diffusion_coeff, initial_guess: 0.25}]",
    ]
    return experiments.tiny(folder, case, [*flow, *overrides])
