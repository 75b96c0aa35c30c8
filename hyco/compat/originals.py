"""Data of the original HYCO-PhiFlow, of both its ages, as hyco has them: trajectories and learned parameters.

first age    Scene folders, caches `.pt`, parameters `.pth`
second age   trajectories and parameters `.npz`, by `phiml.math.save`
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from hyco.compat.archives import read_torch
from hyco.compat.phiml_files import read_phiml_parameters, read_phiml_trajectory
from hyco.compat.recorded import Recorded, renamed, split_vector
from hyco.compat.scenes import boundary_named, is_scene, read_scene, write_scene
from hyco.config import Config
from hyco.errors import CheckpointError, DataError
from hyco.problem.equation import Equation
from hyco.problem.grid import AXES, Grid
from hyco.storage.fingerprint import fingerprint
from hyco.storage.hdf5 import read_trajectory as read_trajectory_file
from hyco.storage.hdf5 import simulation_path, write_trajectory
from hyco.storage.trajectory_facts import check_finite


def read_trajectory(path: str | Path) -> Recorded:
    """The trajectory in a Scene folder, a cache `.pt`, or a `.npz` file; else raises DataError."""
    path = Path(path)
    if path.suffix == ".pt":
        return read_cache(path)
    if path.suffix == ".npz":
        return read_phiml_trajectory(path)
    return read_scene(path)


def read_cache(path: str | Path) -> Recorded:
    """The trajectory in a cache: {"tensor_data": {field: (vector, time, *space)}, "metadata": ...}."""
    content, path = read_torch(path), Path(path)
    try:
        fields, metadata = content["tensor_data"], content["metadata"]
        made = metadata["generation_params"]
        axes = tuple(a for a in AXES if a in made["resolution"])
        grid = Grid.of(**{a: (made["domain"][f"size_{a}"], made["resolution"][a]) for a in axes})
        components: dict[str, NDArray[Any]] = {}
        boundaries = {}
        for name, values in fields.items():
            facts = metadata["field_metadata"][name]
            boundaries[renamed(name)] = boundary_named(path, str(facts["extrapolation"]))
            if values.shape[2:] != grid.resolution:
                raise DataError(
                    f"{path}: {name} has the shape {values.shape} on a grid of {grid.resolution}."
                )
            vector = "vector" in [str(d) for d in facts["channel_dims"]]
            components |= split_vector(path, name, values if vector else values[0], axes, vector=vector)
        return Recorded(path, components, grid, boundaries, float(made["dt"]))
    except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise DataError(
            f"{path}: expected a cache of HYCO-PhiFlow, but it is none ({type(error).__name__}: {error})."
        ) from error


def read_parameters(path: str | Path, equation: Equation) -> dict[str, NDArray[np.float64]]:
    """The learned parameters of an equation in a `.pth` or `.npz` file: a number each, or an array (*space).

    HYCO-PhiFlow learned one parameter, so that it needs no name, and `diffusion_field` is what hyco calls
    `diffusion_coeff`.  With `trainer.physical.downsample_factor` n, it was learned on a grid halved n times,
    which is the grid that the values then have.  Those of a `.pth` file are as the optimiser left them,
    see `in_force`.

    Raises CheckpointError for a file that holds no such parameters.
    """
    path = Path(path)
    try:
        if path.suffix == ".npz":
            values = list(read_phiml_parameters(path).values())
        else:
            values = list(read_torch(path, error=CheckpointError)["learnable_parameters"])
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: expected learned parameters of HYCO-PhiFlow, but it has no 'learnable_parameters'."
        ) from error
    except DataError as error:
        raise CheckpointError(str(error)) from error
    names = [p.name for p in equation.parameters]
    if len(values) != len(names):
        raise CheckpointError(
            f"{path}: expected the parameters {', '.join(names)} of {equation.name}, found {len(values)}."
        )
    return {name: np.asarray(v, dtype=np.float64) for name, v in zip(names, values, strict=True)}


def in_force(
    values: Mapping[str, NDArray[np.float64]], equation: Equation, grid: Grid, dt: float
) -> dict[str, NDArray[np.float64]]:
    """What the first age's physical model made of learned parameters before it used them.

    Its optimiser had no bounds, and the model cut every diffusion coefficient to between 0 and
    0.5 min(dx)^2 / dt.  The file holds the values before that.
    """
    greatest = 0.5 * min(grid.spacing) ** 2 / dt
    return {
        name: np.clip(value, 0.0, greatest) if equation.parameter(name).diffusive else value
        for name, value in values.items()
    }


def convert_trajectories(source: str | Path, target: str | Path, config: Config) -> list[Path]:
    """Write the trajectories in a folder of Scenes, caches or `.npz` files as `target/sim_000000.h5` and on.

    `config` says what the files do not: equation, parameters, box, time step; one of HYCO-PhiFlow will do.
    What the files do say must agree with it.  Nothing is left in `target` when one of them cannot be read.

    Raises DataError for what cannot be read, or is there already.
    """
    source, target = Path(source), Path(target)
    sources = find_trajectories(source)
    wanted = {simulation_path(target, number): path for number, path in sources.items()}
    for path in wanted:
        if path.exists():
            raise DataError(f"{path}: is there already. Move it away, or choose another folder.")
    temporary = target.with_name(f".{target.name}.{uuid4().hex[:12]}")
    try:
        for path, origin in wanted.items():
            _convert(origin, temporary / path.name, config)
        target.mkdir(parents=True, exist_ok=True)
        for path in wanted:
            os.replace(temporary / path.name, path)
    finally:
        with suppress(OSError):
            shutil.rmtree(temporary)
    return list(wanted)


def convert_scene(source: str | Path, target: str | Path, config: Config) -> None:
    """Write a Scene folder as the trajectory `target` (`.h5`), or a trajectory as the Scene folder `target`.

    Raises DataError for a source that is not of this configuration, or a target that is there already.
    """
    source, target = Path(source), Path(target)
    grid, layout, dt = config.grid, config.layout, config.model.physical.dt
    if source.suffix == ".h5":
        array = read_trajectory_file(source, grid=grid, layout=layout, dt=dt)
        write_scene(target, array, grid=grid, layout=layout, dt=dt, facts={"PDE": config.equation.name})
    elif target.suffix != ".h5":
        raise DataError(f"{target}: expected a trajectory such as sim_000000.h5 to write the Scene to.")
    elif target.exists():
        raise DataError(f"{target}: is there already. Move it away, or choose another file.")
    else:
        _convert(source, target, config)


def find_trajectories(folder: Path) -> dict[int, Path]:
    """The trajectories in a folder by number, all of one kind: `sim_000000/`, `.pt`, or `.npz`."""
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of trajectories, but there is none. Correct the path.")
    found = sorted(folder.iterdir())
    kinds = {
        "Scene folders": [p for p in found if is_scene(p)],
        "caches (.pt)": [p for p in found if p.suffix == ".pt"],
        "trajectories (.npz)": [p for p in found if p.suffix == ".npz"],
    }
    present = [kind for kind, paths in kinds.items() if paths]
    if len(present) != 1:
        what = " and ".join(present) if present else "neither Scene folders, nor .pt, nor .npz files"
        raise DataError(f"{folder}: expected trajectories of one kind, found {what}. Name their own folder.")
    return _numbered(folder, kinds[present[0]])


def _numbered(folder: Path, paths: Sequence[Path]) -> dict[int, Path]:
    numbered: dict[int, Path] = {}
    for path in paths:
        digits = re.search(r"(\d+)$", path.stem)
        number = int(digits[1]) if digits else None
        if number is None or number in numbered:
            raise DataError(
                f"{folder}: expected names such as sim_000000, each number once; found {path.name}."
            )
        numbered[number] = path
    return numbered


def _convert(source: Path, target: Path, config: Config) -> None:
    array = read_trajectory(source).arranged(config.grid, config.layout, config.model.physical.dt)
    if array.dtype.kind != "f":
        raise DataError(f"{source}: expected real values, found {array.dtype}.")
    check_finite(source, array, config.layout)
    write_trajectory(
        target,
        array,
        grid=config.grid,
        layout=config.layout,
        dt=config.model.physical.dt,
        equation=config.equation.name,
        parameters=config.true_parameters(),
        fingerprint=fingerprint({"converted": source.name, "values": array}),
        extra={"converted_from": source.name},
    )
