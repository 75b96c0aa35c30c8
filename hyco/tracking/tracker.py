"""What a run calls to report elsewhere: one tracker, whatever is switched on."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.config import Config
from hyco.errors import ConfigError, Interrupted, StorageError
from hyco.report.metrics import parameter_error
from hyco.storage.atomic import write_json
from hyco.tracking import pictures
from hyco.tracking.scalars import flat_settings, place_of, record_scalars, summary_scalars
from hyco.tracking.writer import Ending, Writer

log = logging.getLogger("hyco.tracking")
NOTE = "tracking.json"
PACKAGES = {"tensorboard": ("tensorboardX",), "mlflow": ("mlflow", "sqlalchemy", "alembic")}
Value = NDArray[Any] | float


class Tracker:
    """Reports the records, pictures and scores of a run; does nothing without writers.

    A run never ends by what goes wrong here: a writer that fails is named in a warning, and not used again.
    Used in `with`, it is closed with how the block ended.
    """

    def __init__(self, config: Config, writers: list[Writer]) -> None:
        self.config = config
        self.writers = writers

    @property
    def on(self) -> bool:
        """Whether anything is written, so that what nobody reads need not be computed."""
        return bool(self.writers)

    def record(self, record: Mapping[str, Any]) -> None:
        """The numbers of one record of the history, at its epoch, solve or cycle."""
        if self.on:
            group, step = place_of(record)
            values = record_scalars(record)
            self._each(lambda w: w.scalars(group, step, values))

    def parameters(
        self, step: int, values: Mapping[str, Value], truth: Mapping[str, Value] | None = None
    ) -> None:
        """Parameters, () or (*space), after `step` solves: fields as pictures; with `truth` errors too."""
        if not self.on:
            return
        scalars: dict[str, float] = {}
        for name, given in values.items():
            value, true = np.asarray(given, np.float64), (truth or {}).get(name)
            scalars |= self._parameter_scalars(name, value, true)
            if value.ndim:
                draw = partial(pictures.parameter_picture, self.config, name, value, true)
                self._picture("physical", step, f"parameters/{name}", draw)
        finite = {tag: value for tag, value in scalars.items() if np.isfinite(value)}
        self._each(lambda w: w.scalars("physical", step, finite))

    def rollout(
        self,
        step: int,
        truth: NDArray[np.floating],
        predictions: Mapping[str, NDArray[np.floating]],
        *,
        simulation: int,
    ) -> None:
        """Truth and the models' predictions, (field, time, *space) each, as one picture of a few times."""
        if self.on:
            draw = partial(pictures.rollout_picture, self.config, simulation, truth, predictions)
            self._picture("rollouts", step, f"simulation {simulation}", draw)

    def summary(self, metrics: Mapping[str, Any]) -> None:
        """The scores of an evaluation, as `metrics.json` holds them."""
        if self.on:
            values = summary_scalars(metrics)
            self._each(lambda w: w.scalars("evaluation", 0, values))

    def close(self, ending: Ending = "finished") -> None:
        """Finish; nothing is written afterwards."""
        self._each(lambda w: w.close(ending))
        self.writers = []

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stopped = isinstance(error, (Interrupted, KeyboardInterrupt, SystemExit))
        self.close("finished" if error is None else "interrupted" if stopped else "failed")

    def _parameter_scalars(self, name: str, value: NDArray[np.float64], truth: Any) -> dict[str, float]:
        found = {} if value.ndim else {f"parameters/{name}/value": float(value)}
        if truth is not None:
            pair = [value, np.asarray(truth, np.float64)]
            if self.config.equation.parameter(name).up_to_constant:
                pair = [v - v.mean() for v in pair]
            found[f"parameters/{name}/relative_l2_error"] = float(parameter_error(*pair).relative_l2)
        return found

    def _picture(self, group: str, step: int, tag: str, draw: Callable[[], bytes]) -> None:
        """Draw once, for all writers."""
        try:
            png = draw()
        except Exception as error:
            log.warning("tracking: no picture of %s at step %d: %s", tag, step, _short(error))
            return
        self._each(lambda w: w.picture(group, step, tag, png))

    def _each(self, write: Callable[[Writer], None]) -> None:
        for writer in list(self.writers):
            try:
                write(writer)
            except Exception as error:
                self.writers.remove(writer)
                log.warning(
                    "tracking: %s failed and is switched off for the rest of the run: %s",
                    writer.name,
                    _short(error),
                )


def check_tracking(config: Config) -> None:
    """Raise ConfigError when a package is missing that what is switched on needs; before any work."""
    for key, packages in PACKAGES.items():
        missing = [p for p in packages if getattr(config.tracking, key) and not _installed(p)]
        if missing:
            raise ConfigError(
                f"tracking.{key}: needs {', '.join(missing)}, which is not installed. Install it by "
                f'`pip install "hyco[{key}]"`, or set tracking.{key}=false.'
            )


def open_tracker(config: Config, folder: Path, *, resume: bool = True) -> Tracker:
    """The tracker of the run in `folder`.

    It goes on with what that run has written before, whose places `tracking.json` in the folder remembers;
    `resume` false begins anew: earlier event files of this run are removed, and MLflow gets a new run.
    Raises ConfigError for a missing package, StorageError where nothing can be written.
    """
    check_tracking(config)
    settings, writers = config.tracking, list[Writer]()
    if not (settings.tensorboard or settings.mlflow):
        return Tracker(config, [])
    base = settings.folder or folder / "tracking"
    note = _read_note(folder, settings.folder)
    name = f"{config.general.experiment_name}-{config.general.mode}-{config.general.seed}"
    try:
        if settings.tensorboard:
            from hyco.tracking.event_files import EventFiles

            known = note.get("tensorboard")
            note["tensorboard"] = place = str(known or _claimed(base / "tensorboard", name))
            writers.append(EventFiles(base / "tensorboard" / place, anew=not resume))
        if settings.mlflow:
            from hyco.tracking.mlflow_store import MLflowRun

            run = MLflowRun(
                base, config.general.experiment_name, name, note.get("mlflow") if resume else None
            )
            note["mlflow"] = run.run_id
            run.describe(
                flat_settings(config.model_dump(mode="json")), _tags(config, folder), config.to_yaml()
            )
            writers.append(run)
    except Exception as error:
        raise StorageError(
            f"tracking: {base} cannot be written to: {_short(error)}. Correct tracking.folder, or switch "
            "tracking.tensorboard and tracking.mlflow off."
        ) from error
    write_json(folder / NOTE, note)
    return Tracker(config, writers)


def _installed(package: str) -> bool:
    """Whether it can be imported; a folder of that name in the working directory does not count."""
    spec = find_spec(package)
    return spec is not None and spec.origin is not None


def _read_note(folder: Path, base: Path | None) -> dict[str, Any]:
    """Where the run has reported before, as long as that was in the same base folder."""
    fresh = {"folder": None if base is None else str(base)}
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return fresh
    return note if isinstance(note, dict) and note.get("folder") == fresh["folder"] else fresh


def _claimed(folder: Path, name: str) -> str:
    """A name in a folder that several runs may share, which no other run has."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        candidate = name if number == 1 else f"{name}-run{number}"
        try:
            (folder / candidate).mkdir()
        except FileExistsError:
            number += 1
        else:
            return candidate


def _tags(config: Config, folder: Path) -> dict[str, str]:
    """The mode, the machine's facts and the revision, from what the run has written down of itself."""
    try:
        facts = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        facts = {}
    found = {
        "mode": config.general.mode,
        "migration_mode": config.migration.mode,
        "seed": config.general.seed,
        "output_dir": folder.resolve(),
        "device": facts.get("device"),
        "hyco_version": facts.get("packages", {}).get("hyco"),
        "git_revision": facts.get("git_revision"),
        "mlflow.source.git.commit": facts.get("git_revision"),
    }
    modes = {f"mode.{row['component']}": row["mode"] for row in facts.get("modes", ())}
    return {k: str(v) for k, v in {**found, **modes}.items() if v is not None}


def _short(error: Exception) -> str:
    """The first line of an error, with its kind when it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
