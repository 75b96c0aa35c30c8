"""What a run left behind, whatever mode made it: models, histories, scores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.config import Config, load_config
from hyco.errors import DataError
from hyco.interfaces import Side
from hyco.migration.factory import Factory
from hyco.migration.registry import use_mode
from hyco.storage.hdf5 import read_trajectory, simulation_path
from hyco.storage.run_directory import RunDirectory
from hyco.storage.sources import open_source

SUFFIXES: Mapping[str, Side] = {".pth": "legacy", ".phiml": "phiml"}
IGNORED = ("migration.", "general.output_dir", "general.checkpoint_dir", "general.tasks", "data.data_dir",
           "data.cache_dir", "cache.")  # fmt: skip


@dataclass(frozen=True)
class RunOutputs:
    """A run directory; raises ConfigError where there is none."""

    folder: Path

    @cached_property
    def config(self) -> Config:
        """What was run."""
        path = self.folder / "config.yaml"
        if not path.is_file():
            raise DataError(
                f"{self.folder}: expected the results of a run, but there is no config.yaml. Name the "
                "folder that `hyco run` or `hyco train` wrote, such as results/burgers."
            )
        return load_config(path, ["trainer.device=auto"])

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """The records of its training."""
        return RunDirectory(self.folder, self.checkpoints).read_history()

    @cached_property
    def checkpoints(self) -> Path:
        """Where its checkpoints are: in it, or where its configuration puts them."""
        inside = self.folder / "checkpoints"
        return inside if inside.is_dir() else self.config.checkpoint_dir

    @cached_property
    def metrics(self) -> dict[str, Any] | None:
        """Its scores; None when it was not evaluated."""
        path = self.folder / "metrics.json"
        return _read_json(path) if path.is_file() else None

    @cached_property
    def models(self) -> dict[str, Any]:
        """Its best models, each on the side that its checkpoint is of; those without checkpoint are left out.

        Where there is one of each side, since the run was switched over, that of the side which it ended on
        counts.  Raises CheckpointError for one that does not fit.
        """
        found = {}
        for name, component in (("synthetic", "synthetic_model"), ("physical", "physical_model")):
            paths = {side: self.checkpoints / f"{name}_best{s}" for s, side in SUFFIXES.items()}
            there = {side: path for side, path in paths.items() if path.is_file()}
            if there:
                ended = self._sides.get(component, "")
                found[name] = self._model(
                    component, next((p for s, p in there.items() if s == ended), next(iter(there.values())))
                )
        return found

    @cached_property
    def _sides(self) -> dict[str, str]:
        """The side of every component, as the run noted it when it last began."""
        path = self.folder / "environment.json"
        rows = _read_json(path).get("modes", []) if path.is_file() else []
        return {row["component"]: row["mode"] for row in rows}

    def settings(self) -> dict[str, Any]:
        """Every setting that decides what the results are, by its dotted key."""
        flat = dict(_flat(self.config.model_dump(mode="json")))
        return {k: v for k, v in flat.items() if not k.startswith(IGNORED)}

    def initial(self) -> tuple[NDArray[Any], str]:
        """Initial states (batch, field, *space) for predictions, and where they are from."""
        config, states = self.config, []
        simulations, source = config.evaluation.test_sim or config.trainer.val_sim, open_source(self.config)
        if source is not None:
            chosen = simulations or config.trainer.train_sim[:1]
            first = source.windows(chosen, [0] * len(chosen), 1)[:, :, 0]
            return first, f"from the simulations in {source.path}"
        for simulation in simulations:
            path = simulation_path(config.data.data_dir, simulation)
            if path.is_file():
                dt = config.model.physical.dt
                states.append(read_trajectory(path, grid=config.grid, layout=config.layout, dt=dt)[:, 0])
        if states:
            return np.stack(states), f"from the test simulations in {config.data.data_dir}"
        rng = np.random.default_rng(config.general.seed)
        drawn = config.equation.initial_conditions(config.grid, config.layout, 1, rng)
        return drawn, f"from random initial conditions, since {config.data.data_dir} is not there"

    def _model(self, component: str, path: Path) -> Any:
        """The model of a checkpoint."""
        with use_mode("hybrid", {component: SUFFIXES[path.suffix]}, source=str(path)):
            factory = Factory(self.config)
            if component == "synthetic_model":
                model: Any = factory.synthetic_model()
            else:
                model = factory.physical_model(self.config.initial_parameters())
        model.load(path)
        return model


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}). Run or evaluate it again.") from error


def _flat(block: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in block.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def numbers(block: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Every real number of nested mappings and lists, with its path."""
    if isinstance(block, Mapping):
        for key, value in block.items():
            yield from numbers(value, f"{prefix}{'.' if prefix else ''}{key}")
    elif isinstance(block, list):
        for i, value in enumerate(block):
            yield from numbers(value, f"{prefix}[{i}]")
    elif isinstance(block, float):
        yield prefix, block
