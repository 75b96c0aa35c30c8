"""Simulated observations: the equation with its true parameters, from seeded initial conditions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from hyco.config import Config
from hyco.errors import RunError
from hyco.interfaces import PhysicalModel
from hyco.migration.factory import Factory
from hyco.migration.loading import loaded
from hyco.problem.sampling import stream
from hyco.storage.fingerprint import fingerprint
from hyco.storage.hdf5 import read_facts, simulation_path, write_trajectory
from hyco.tasks.progress import Progress

if TYPE_CHECKING:
    from hyco.migration.shadow import Shadow

log = logging.getLogger("hyco.generate")


def generate_simulations(
    config: Config, progress: Progress, check: Callable[[], None], shadow: Shadow | None = None
) -> int:
    """Write every simulation that is not there yet as configured; the number written, 0 with a `data.source`.

    A file that this configuration made stays, and so does one that was converted from another project's;
    one that another configuration made is made anew, and said so; one that cannot be read raises DataError.
    `check` is called between simulations.
    """
    source = config.data.source
    if source is not None:
        log.info("the data come from %s (data.source); nothing is generated", source.path)
        return 0
    total = config.data.num_simulations
    todo = [i for i in range(total) if not _is_current(config, i)]
    if not todo:
        log.info("all %d simulations in %s are up to date", total, config.data.data_dir)
        return 0
    progress.update("simulations", total - len(todo), total)
    model = Factory(config, shadow=shadow).physical_model()
    log.info("simulating %d trajectories with %s in %s mode", len(todo), model.name, model.mode)
    for done, simulation in enumerate(todo, start=total - len(todo) + 1):
        _simulate(config, model, simulation)
        loaded()
        progress.update("simulations", done, total)
        check()
    return len(todo)


def _simulate(config: Config, model: PhysicalModel, simulation: int) -> None:
    state = model.initial_state(1, rng=stream(config.general.seed, "simulations", simulation))
    rollout = model.predict(model.arrays.numpy(state), config.data.trajectory_length - 1)[0]
    if not np.all(np.isfinite(rollout)):
        raise RunError(
            f"simulation {simulation} is not finite: {config.equation.name} became unstable. "
            "Use a smaller model.physical.dt or more substeps."
        )
    write_trajectory(
        simulation_path(config.data.data_dir, simulation),
        rollout,
        grid=config.grid,
        layout=config.layout,
        dt=config.model.physical.dt,
        equation=config.equation.name,
        parameters=config.true_parameters(),
        fingerprint=_fingerprint(config, simulation),
        extra={"mode": model.mode, "seed": config.general.seed, "simulation": simulation},
    )


def _is_current(config: Config, simulation: int) -> bool:
    path = simulation_path(config.data.data_dir, simulation)
    if not path.exists():
        return False
    facts = read_facts(path)
    if facts.fingerprint == _fingerprint(config, simulation):
        return True
    if "converted_from" in facts.extra:
        log.info("%s was converted from %s and stays", path, facts.extra["converted_from"])
        return True
    log.warning("%s was made with other settings; simulating it anew", path)
    return False


def _fingerprint(config: Config, simulation: int) -> str:
    """Of everything that decides the values of a trajectory; the two modes agree, so not of the mode."""
    physical = config.model.physical
    return fingerprint(
        {
            "equation": physical.name,
            "grid": config.grid,
            "boundaries": {f.name: f.boundary for f in config.layout.fields},
            "dt": physical.dt,
            "substeps": physical.substeps,
            "parameters": config.true_parameters(),
            "frames": config.data.trajectory_length,
            "precision": config.trainer.precision,
            "seed": config.general.seed,
            "simulation": simulation,
        }
    )
