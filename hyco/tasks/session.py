"""The tasks of an experiment, in one session: mode in force, run directory, log."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from hyco.config import Config, load_config
from hyco.errors import ConfigError, InputError, Interrupted, Stopped
from hyco.migration.factory import check_backend, choices, mode_from
from hyco.storage.run_directory import RunDirectory
from hyco.storage.sources import open_source
from hyco.tasks.evaluation import evaluate_models
from hyco.tasks.generation import generate_simulations
from hyco.tasks.interrupts import CTRL_C, Stops, heard
from hyco.tasks.limits import TimeLimit
from hyco.tasks.progress import FILE_ONLY, Progress, Silent
from hyco.tasks.resuming import find_resumption
from hyco.tasks.several import run_several
from hyco.tasks.shadowing import shadowing
from hyco.tasks.training import Training
from hyco.tracking import check_tracking, open_tracker

log = logging.getLogger("hyco.run")


def run(
    config: Config | str | Path,
    overrides: Sequence[str] = (),
    *,
    tasks: Sequence[str] | None = None,
    resume: bool = False,
    force: bool = False,
    time_limit: TimeLimit | str | float | None = None,
    seeds: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Do the tasks of an experiment in order: generate data, train, evaluate.

    With `general.mode` all, or with several seeds, these are several runs, each in a folder of its own within
    the output folder, and a report about all of them.

    Args:
        config: a Config, a path, or the name of a shipped one.
        overrides: `dotted.key=value`, for a path or name.
        tasks: instead of the configuration's `general.tasks`.
        resume: go on with the training that the output folder holds.
        force: go on although settings that change results are others than before.
        time_limit: seconds, or text such as `23h50m`, after which the run stops by itself, its state saved.
        seeds: do all of it so many times, with the seeds from `general.seed` on.
        progress: told how far the work is.

    Returns the summary that `metrics.json` holds; empty when nothing was evaluated.
    Raises InputError for input that cannot be used, and where another run is at work in the output folder,
    before any work; RunError for what fails on the way; Interrupted on Ctrl-C, and Stopped on SIGTERM,
    SIGUSR1 and at the time limit, with the state saved.
    """
    limit = None if time_limit is None else TimeLimit.of(time_limit)
    if not isinstance(config, Config):
        origin, config = str(config), load_config(config, overrides)
    elif overrides:
        raise ConfigError("overrides apply to a configuration file; a Config is complete. Load it with them.")
    else:
        origin = "configuration"
    if force and not resume:
        raise InputError("--force goes on in spite of other settings, so it needs --resume.")
    if seeds is not None and seeds < 1:
        raise InputError(f"--seeds: expected a number from 1, got {seeds}.")
    chosen = config.general.tasks if tasks is None else tuple(tasks)
    shown, stops = progress or Silent(), Stops(limit)
    finished: list[Path] = []

    def one(part: Config, told: Progress, *, begun_only: bool = False) -> dict[str, Any]:
        goes_on = resume and "train" in chosen and not (begun_only and not _was_begun(part))
        summary = _run(part, origin, chosen, goes_on=goes_on, force=force, stops=stops, shown=told)
        finished.append(part.output_dir)
        return summary

    try:
        with heard(stops):
            if seeds is None and config.general.mode != "all":
                return one(config, shown)
            with RunDirectory(config.output_dir, config.checkpoint_dir).held():
                return run_several(config, seeds, chosen, shown, partial(one, begun_only=True))
    except KeyboardInterrupt:
        raise _stopped(config, None, stops, resumable=bool(finished) and "train" in chosen) from None
    except Interrupted as error:  # of several runs the first ones need not be done again
        error.resumable |= bool(finished) and "train" in chosen
        raise


def _was_begun(config: Config) -> bool:
    """Whether there is a training to go on with."""
    return bool(RunDirectory(config.output_dir, config.checkpoint_dir).generations.paths())


def _run(
    config: Config,
    origin: str,
    chosen: Sequence[str],
    *,
    goes_on: bool,
    force: bool,
    stops: Stops,
    shown: Progress,
) -> dict[str, Any]:
    """One run in one folder."""
    summary: dict[str, Any] = {}
    directory = RunDirectory(config.output_dir, config.checkpoint_dir)
    check_tracking(config)
    if tuple(chosen) == ("generate",) and config.data.source is not None:
        raise InputError(
            f"data.source: the data come from {config.data.source.path}, so there is nothing to generate. "
            "Use `hyco train`, or leave data.source out."
        )
    _check_source(config)
    with _session(config, origin, directory):
        check_backend(config)
        resumption = find_resumption(config, directory, force=force) if goes_on else None
        _begin(config, directory, chosen, shown)
        renewed = [task for task in chosen if not (goes_on and task == "train")]
        with (
            open_tracker(config, directory.path, resume=goes_on or "train" not in chosen) as tracker,
            shadowing(config, directory.path, renewed, shown) as (shadow, begin),
        ):
            training = Training(config, directory, shown, shadow, stops, tracker)
            stops.listen()
            try:
                if "generate" in chosen:
                    begin("generate")
                    generate_simulations(config, shown, stops.check, shadow)
                if "train" in chosen:
                    begin("train")
                    training.run(resumption, force=force)
                if "evaluate" in chosen:
                    begin("evaluate")
                    summary = evaluate_models(config, directory, shown, shadow, tracker)
            except KeyboardInterrupt:
                raise _stopped(config, training, stops) from None
    return summary


def _check_source(config: Config) -> None:
    """Raise DataError for a simulation of any list that is not in the files as it should be."""
    source = open_source(config)
    if source is not None:
        lists = config.trainer.train_sim, config.trainer.val_sim, config.evaluation.test_sim
        source.check(sorted({simulation for some in lists for simulation in some}))


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
def _session(config: Config, origin: str, directory: RunDirectory) -> Iterator[None]:
    """The mode of the configuration, and a folder that is this run's alone, with its log."""
    with directory.held(), mode_from(config, origin), directory.logging():
        try:
            yield
        except Exception as error:
            log.error("%s: %s", type(error).__name__, error, extra=FILE_ONLY)
            raise


def _begin(config: Config, directory: RunDirectory, tasks: Sequence[str], progress: Progress) -> None:
    """Say and write down what is run, and on what."""
    rows = choices(config)
    for row in rows:
        cells = row.component, row.implementation, row.mode, row.chosen_by
        log.info("%-18s %-10s %-7s %s", *cells, extra=FILE_ONLY)
    progress.begin(rows)
    if config.trainer.backend == "jax":
        log.info("phiml mode computes with JAX")
    facts: dict[str, Any] = {"tasks": list(tasks), "modes": [vars(r) for r in rows]}
    facts |= {key: getattr(config.trainer, key) for key in ("device", "backend")}
    directory.begin(config.to_yaml(), facts)


def _stopped(
    config: Config, training: Training | None, stops: Stops, *, resumable: bool = False
) -> Interrupted:
    """Why the run stopped, and where its state is."""
    by_hand = stops.asked in (None, CTRL_C)
    kind, why = (Interrupted, "interrupted") if by_hand else (Stopped, f"stopped by {stops.asked}")
    if training is not None and training.saved is not None:
        return kind(f"{why}; the state is saved in {training.saved}", resumable=True)
    where = (
        f"{config.data.data_dir}, {config.output_dir}" if config.data.source is None else config.output_dir
    )
    return kind(f"{why}; what was finished stays in {where}", resumable=resumable)
