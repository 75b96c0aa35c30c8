"""MLflow: one run in a local store, a SQLite file and a folder of artifacts; no server."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from itertools import islice
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hyco.tracking.writer import Ending, Writer

AT_ONCE = 100
STATUS: Mapping[Ending, str] = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


class MLflowRun(Writer):
    """Writes to the run `run_id` of an experiment; to a new one when there is none of that id.

    MLflow takes nothing back: a repeated step whose value is the one that is there is not written again, and
    one with another value stands beside it, where the later one is the one that counts.
    """

    name = "MLflow"

    def __init__(self, folder: Path, experiment: str, run_name: str, run_id: str | None) -> None:
        # read when mlflow is imported, which happens here: nothing is reported, and nothing printed
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
        from mlflow import MlflowClient

        folder.mkdir(parents=True, exist_ok=True)
        self.client = MlflowClient(tracking_uri=f"sqlite:///{folder.resolve() / 'mlflow.db'}")
        found = self._experiment(experiment, folder.resolve() / "mlflow-artifacts")
        self.run_id = self._run(run_id, found, run_name)
        self._written = self._read() if self.run_id == run_id else {}

    def describe(self, settings: Mapping[str, str], tags: Mapping[str, str], config_yaml: str) -> None:
        """Say what is run: settings become parameters, and where they change later, tags too."""
        from mlflow.entities import Param, RunTag

        known = self.client.get_run(self.run_id).data.params
        changed = {f"changed.{k}": v for k, v in settings.items() if known.get(k, v) != v}
        new = [Param(k, v) for k, v in settings.items() if k not in known]
        marks = [RunTag(k, v) for k, v in {**tags, **changed}.items()]
        for batch in _batches(new):
            self.client.log_batch(self.run_id, params=batch)
        for batch in _batches(marks):
            self.client.log_batch(self.run_id, tags=batch)
        self.client.log_text(self.run_id, config_yaml, "config.yaml")

    def scalars(self, group: str, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        named = {f"{group}/{tag}": value for tag, value in values.items()}
        new = {k: v for k, v in named.items() if self._written.get((k, step)) != v}
        for batch in _batches([Metric(k, v, now, step) for k, v in new.items()]):
            self.client.log_batch(self.run_id, metrics=batch)
        self._written |= {(k, step): v for k, v in new.items()}

    def picture(self, group: str, step: int, tag: str, png: bytes) -> None:
        with TemporaryDirectory(prefix="hyco-picture-") as folder:
            path = Path(folder) / f"{step:06d}.png"
            path.write_bytes(png)
            self.client.log_artifact(self.run_id, str(path), f"{group}/{tag}")

    def close(self, ending: Ending) -> None:
        self.client.set_terminated(self.run_id, STATUS[ending])

    def _experiment(self, name: str, artifacts: Path) -> str:
        """The id of the experiment, made where there is none; another run may be making it just now."""
        from mlflow.exceptions import MlflowException

        known = self.client.get_experiment_by_name(name)
        if known is None:
            try:
                return self.client.create_experiment(name, artifact_location=artifacts.as_uri())
            except MlflowException:
                known = self.client.get_experiment_by_name(name)
                if known is None:
                    raise
        return known.experiment_id

    def _run(self, run_id: str | None, experiment: str, name: str) -> str:
        from mlflow.exceptions import MlflowException

        if run_id is not None:
            try:
                self.client.update_run(run_id, status="RUNNING")
                return run_id
            except MlflowException:  # the store was deleted, or is another one
                pass
        return self.client.create_run(experiment, run_name=name).info.run_id

    def _read(self) -> dict[tuple[str, int], float]:
        """What the run holds already: for each metric and step the last value."""
        written: dict[tuple[str, int], float] = {}
        for key in self.client.get_run(self.run_id).data.metrics:
            history = self.client.get_metric_history(self.run_id, key)
            for metric in sorted(history, key=lambda m: m.timestamp or -inf):
                written[key, metric.step] = metric.value
        return written


def _batches(entries: Iterable[Any]) -> Iterable[list[Any]]:
    """As many at a time as MLflow takes."""
    left = iter(entries)
    while batch := list(islice(left, AT_ONCE)):
        yield batch
