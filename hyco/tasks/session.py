"""The tasks of an experiment, in one session: mode in force, run directory, log."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hyco.config import Config, load_config
from hyco.errors import ConfigError, Interrupted
from hyco.migration.factory import choices, mode_from
from hyco.storage.run_directory import RunDirectory
from hyco.tasks.evaluation import evaluate_models
from hyco.tasks.generation import generate_simulations
from hyco.tasks.interrupts import remembered_interrupts
from hyco.tasks.progress import FILE_ONLY, Progress, Silent
from hyco.tasks.shadowing import shadowing
from hyco.tasks.training import Training

log = logging.getLogger("hyco.run")


def run(
    config: Config | str | Path,
    overrides: Sequence[str] = (),
    *,
    tasks: Sequence[str] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Do the tasks of an experiment in order: generate data, train, evaluate.

    Args:
        config: a Config, a path, or the name of a shipped one.
        overrides: `dotted.key=value`, for a path or name.
        tasks: instead of the configuration's `general.tasks`.
        resume: go on with the training that the output folder holds.
        progress: told how far the work is.

    Returns the summary that `metrics.json` holds; empty when nothing was evaluated.
    Raises InputError for input that cannot be used, before any work; RunError for what fails on the way;
    Interrupted on Ctrl-C, with the state of the last complete epoch saved.
    """
    if not isinstance(config, Config):
        origin, config = str(config), load_config(config, overrides)
    elif overrides:
        raise ConfigError("overrides apply to a configuration file; a Config is complete. Load it with them.")
    else:
        origin = "configuration"
    chosen = config.general.tasks if tasks is None else tuple(tasks)
    summary: dict[str, Any] = {}
    renewed = [task for task in chosen if not (resume and task == "train")]
    with (
        _session(config, origin, progress or Silent()) as (directory, shown),
        shadowing(config, directory.path, renewed, shown) as (shadow, begin),
    ):
        training = Training(config, directory, shown, shadow)
        try:
            with remembered_interrupts() as check:
                training.check = check
                if "generate" in chosen:
                    begin("generate")
                    generate_simulations(config, shown, check, shadow)
                if "train" in chosen:
                    begin("train")
                    training.run(resume=resume)
                if "evaluate" in chosen:
                    begin("evaluate")
                    summary = evaluate_models(config, directory, shown, shadow)
        except KeyboardInterrupt:
            raise _interrupted(config, training) from None
    return summary


def generate(config: Config | str | Path, overrides: Sequence[str] = (), **options: Any) -> dict[str, Any]:
    """Simulate the observations alone; arguments as of `run`."""
    return run(config, overrides, tasks=("generate",), **options)


def train(config: Config | str | Path, overrides: Sequence[str] = (), **options: Any) -> dict[str, Any]:
    """Train on data that are there; arguments as of `run`."""
    return run(config, overrides, tasks=("train",), **options)


def evaluate(config: Config | str | Path, overrides: Sequence[str] = (), **options: Any) -> dict[str, Any]:
    """Evaluate the best checkpoints and write the report; arguments as of `run`."""
    return run(config, overrides, tasks=("evaluate",), **options)


@contextmanager
def _session(config: Config, origin: str, progress: Progress) -> Iterator[tuple[RunDirectory, Progress]]:
    directory = RunDirectory(config.output_dir, config.checkpoint_dir)
    with mode_from(config, origin), directory.logging():
        rows = choices(config)
        for row in rows:
            cells = row.component, row.implementation, row.mode, row.chosen_by
            log.info("%-18s %-10s %-7s %s", *cells, extra=FILE_ONLY)
        progress.begin(rows)
        directory.begin(config.to_yaml(), {"device": config.trainer.device, "modes": [vars(r) for r in rows]})
        try:
            yield directory, progress
        except Exception as error:
            log.error("%s: %s", type(error).__name__, error, extra=FILE_ONLY)
            raise


def _interrupted(config: Config, training: Training) -> Interrupted:
    """Where the state of an interrupted run is."""
    if training.begun:
        where = f"the state of the last complete epoch is in {config.checkpoint_dir}"
        return Interrupted(f"interrupted; {where}", resumable=True)
    return Interrupted(f"interrupted; what was finished stays in {config.data.data_dir}, {config.output_dir}")
