"""The tasks of an experiment, in one session: mode in force, run directory, log."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hyco.config import Config, load_config
from hyco.errors import ConfigError, Interrupted
from hyco.tasks.evaluation import evaluate_models
from hyco.tasks.generation import generate_simulations
from hyco.migration.factory import choices, mode_from
from hyco.tasks.progress import Progress, Silent
from hyco.storage.run_directory import RunDirectory
from hyco.tasks.training import Training

log = logging.getLogger("hyco.run")
TASKS = ("generate", "train", "evaluate")


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
    with _session(config, origin, progress or Silent()) as (directory, shown):
        if "generate" in chosen:
            generate_simulations(config, shown)
        if "train" in chosen:
            Training(config, directory, shown).run(resume=resume)
        if "evaluate" in chosen:
            summary = evaluate_models(config, directory, shown)
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
            log.info("%-18s %-10s %-7s %s", row.component, row.implementation, row.mode, row.chosen_by)
        directory.begin(config.to_yaml(), {"device": config.trainer.device, "modes": [vars(r) for r in rows]})
        try:
            yield directory, progress
        except KeyboardInterrupt:
            message = f"interrupted; the state of the last complete epoch is in {directory.checkpoints}"
            log.warning(message)
            raise Interrupted(message) from None
        except Exception as error:
            log.error("%s: %s", type(error).__name__, error)
            raise
