"""The outputs of a training as parts to compare: losses of its records, models, predictions, scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.comparison.cases import loss_part
from hyco.comparison.run_outputs import numbers
from hyco.config import Config
from hyco.interfaces import SyntheticModel
from hyco.migration.shadow.recorder import Part
from hyco.testing.compare import Snapshot

Record = Mapping[str, Any]
LOSSES = ("train_loss", "validation_loss", "initial_loss", "synthetic_loss", "physical_loss")
COUNTS = ("iterations", "evaluations", "windows", "generated_windows")


def place_of(record: Record) -> str:
    """`synthetic epoch 3`, `cycle 1`."""
    if record.get("kind") == "cycle":
        return f"cycle {record['cycle']}"
    return f"{record.get('model')} epoch {record.get('epoch')}"


def is_first(record: Record) -> bool:
    """Whether a record is of the first epoch of a model."""
    return record.get("kind") == "epoch" and record.get("epoch") == 1


def parts_of_records(records: Sequence[Record], size: float) -> list[Part]:
    """Every loss of some records, and the counts of their fits; states are as large as `size`."""
    made = []
    for record in records:
        made += _losses(record, LOSSES, size)
        counts = [record[key] for key in COUNTS if key in record]
        if counts:
            made.append(Part("steps of a fit", place_of(record), np.array(counts)))
    return made


def parts_of_beginnings(records: Sequence[Record], size: float) -> list[Part]:
    """The losses that come before any line search: a surrogate's epochs, and what a fit begins with."""
    keys = {"synthetic": ("train_loss", "validation_loss"), "physical": ("initial_loss",)}
    return [part for r in records for part in _losses(r, keys[r["model"]], size)]


def parts_of_values(model: Any, config: Config) -> list[Part]:
    """The weights of a surrogate, or the learned parameters of an equation."""
    if isinstance(model, SyntheticModel):
        return [Part("weights of a short training", name, w) for name, w in model.weights().items()]
    return [
        Part("parameters of a short training", name, model.arrays.numpy(p))
        for name, p in model.parameters.items()
        if name in config.learnable
    ]


def part_of_predictions(name: str, model: Any, initial: NDArray[Any], steps: int) -> Part:
    """A rollout from some initial states."""
    dims = ("batch", "field", "time", *model.layout.axes)
    rollout = Snapshot(model.predict(initial, steps), dims, {"field": tuple(model.layout.components)})
    return Part(f"{name} predictions of a short training", "", rollout)


def parts_of_scores(metrics: Record, size: float) -> list[Part]:
    """Every score; they are shares of the truth, or (maximal errors) in its units."""
    return [
        Part(
            "scores of a short training", path, np.float64(value), size if path.endswith("max_error") else 1.0
        )
        for path, value in numbers(metrics)
    ]


def _losses(record: Record, keys: Sequence[str], size: float) -> list[Part]:
    place = place_of(record)
    return [loss_part(f"{place}, {k}", record[k], size) for k in keys if record.get(k) is not None]
