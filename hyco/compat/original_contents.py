"""What a checkpoint of the original HYCO-PhiFlow holds, as a checkpoint of hyco would hold it.

A network says little of itself: its grid and the fields that it was trained on are in the configuration
alone, as is the equation that learned parameters are of.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.compat.archives import read_torch
from hyco.compat.original_networks import OriginalNetwork, build_network, continue_training, read_network
from hyco.compat.originals import in_force, read_parameters
from hyco.compat.rebuilding import Content
from hyco.config import Config
from hyco.errors import CheckpointError
from hyco.migration.registry import Component, resolve, use_mode
from hyco.problem.grid import Grid

Found = tuple[Content, tuple[str, ...]]


def original_content(path: Path, config: Config | None, *, training: bool = False) -> Found:
    """The content of a network (`.pth`) or of learned parameters (`.pth`, `.npz`), and notes about it.

    `training`: of a network, the state of its trainer with Adam's moments, which then must be there.
    Raises CheckpointError for any other file, and where `config` is needed or does not fit.
    """
    if _holds_parameters(path):
        return _parameters(path, config, training)
    original = read_network(path)
    if config is None:
        if training:
            raise CheckpointError(f"{path}: going on needs the grid it was trained on. Add --config.")
        note = "the file says nothing of its grid and fields; with --config, outputs are compared too"
        return Content("unet network", original.weights, {}), (note,)
    return _network(original, config, training), ()


def _network(original: OriginalNetwork, config: Config, training: bool) -> Content:
    wide = any(weights.dtype == np.float64 for weights in original.weights.values())
    precision = "float64" if wide else "float32"
    model = build_network(original, config.grid, config.layout, "legacy", precision=precision)
    facts = {"model": model.description}
    if not training:
        return Content("unet network", original.weights, facts)
    with use_mode("legacy"):
        trainer = resolve(Component.SYNTHETIC_TRAINER)(model)
    continue_training(original, trainer)
    state = trainer.state()
    return Content("synthetic training state", state.arrays, {**state.facts, **facts})


def _holds_parameters(path: Path) -> bool:
    if path.suffix == ".npz":
        return True
    content = read_torch(path, error=CheckpointError)
    return isinstance(content, dict) and "learnable_parameters" in content


def _parameters(path: Path, config: Config | None, training: bool) -> Found:
    if training:
        raise CheckpointError(f"{path}: learned parameters have no optimiser to go on with. Omit --training.")
    if config is None:
        raise CheckpointError(f"{path}: learned parameters, but the file does not say of what. Add --config.")
    found = read_parameters(path, config.equation)
    for name, value in found.items():
        if value.shape not in ((), config.grid.resolution):
            raise CheckpointError(
                f"{path}: {name} has one value per cell of a grid {value.shape}, but the configuration's is "
                f"{config.grid.resolution}. HYCO-PhiFlow's downsample_factor halves the grid of its physical "
                f"model; add {_resolution(config.grid, value.shape)} for the grid that this file has."
            )
    physical = config.model.physical
    values = in_force(found, config.equation, config.grid, physical.dt) if path.suffix == ".pth" else found
    with use_mode("legacy"):
        model = resolve(Component.PHYSICAL_MODEL, physical.name)(
            config.grid,
            physical.dt,
            values,
            boundaries=physical.boundaries,
            substeps=physical.substeps,
            device="cpu",
            precision=config.trainer.precision,
        )
    arrays = {name: model.arrays.numpy(value) for name, value in model.parameters.items()}
    content = Content(f"{physical.name} physical model", arrays, {"model": model.description})
    return content, _cut(values, found)


def _cut(values: Mapping[str, NDArray[Any]], found: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
    """What HYCO-PhiFlow did to the values before it used them."""
    number = sum(int(np.sum(values[name] != found[name])) for name in values)
    return (f"{number} values were cut to what HYCO-PhiFlow let act",) if number else ()


def _resolution(grid: Grid, shape: tuple[int, ...]) -> str:
    """The settings that give a grid this resolution."""
    pairs = zip(grid.axes, shape, strict=False)
    return " ".join(f"model.physical.domain.{axis}.resolution={cells}" for axis, cells in pairs)
