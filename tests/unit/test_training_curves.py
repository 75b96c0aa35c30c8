"""What the report reads from a history, old or new, and that it can be drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hyco.report.records import Course
from hyco.report.training_curves import _rows, draw_training


def history(rounds: int, epochs: int) -> list[dict[str, Any]]:
    """A warm-up and cycles: cycle 1 stops early, 2 diverges, 1 and 3 are reverted for one model each."""
    records: list[dict[str, Any]] = []
    for cycle in range(rounds):
        place = {"phase": "cycle" if cycle else "warmup", "cycle": cycle}
        for epoch in range(cycle * epochs + 1, (cycle + 1) * epochs + 1):
            record = {"kind": "epoch", "model": "synthetic", "epoch": epoch, **place, "train_loss": 1 / epoch,
                      "validation_loss": 2 / epoch, "learning_rate": 0.1**epoch, "rollout_steps": 2 + cycle,
                      "gradient_norm": 1.0, "generated_windows": 7 * bool(cycle),
                      "timing": {"seconds": 0.5}}  # fmt: skip
            records.append(record)
            if cycle == 1 and epoch == cycle * epochs + 2:
                record["stopped_early"] = (cycle + 1) * epochs - epoch
                break
        diverged = cycle == 2
        records.append({"kind": "epoch", "model": "physical", "epoch": cycle + 1, **place,
                        "initial_loss": 1.0, "train_loss": None if diverged else 0.1, "validation_loss": 0.2,
                        "real_loss": 0.04,
                        "interaction_loss": 0.06 if cycle else None, "interaction_scale": 0.5 + cycle,
                        "regularisation": 1e-3, "attempts": 3 if diverged else 1, "failures": int(diverged),
                        "status": "diverged" if diverged else "stopped", "generated_windows": 5 * bool(cycle),
                        "timing": {"seconds": 2.0}})  # fmt: skip
        if cycle:
            reverted = {1: ["physical"], 3: ["synthetic"]}.get(cycle, [])
            records.append({"kind": "cycle", "cycle": cycle, "reverted": reverted})
    return records


OLD = [
    {"kind": "epoch", "model": model, "train_loss": loss, "validation_loss": None}
    for model in ("synthetic", "physical")
    for loss in (1.0, 0.5, 0.25)
]


def test_stages_and_events_are_read_from_the_records() -> None:
    course = Course(history(4, 5), "synthetic")
    assert [(s.name, s.cycle, s.start, s.end) for s in course.stages] == [
        ("warmup", 0, 1, 5), ("cycle", 1, 6, 10), ("cycle", 2, 11, 15), ("cycle", 3, 16, 20),
    ]  # fmt: skip
    assert course.stopped_early.tolist() == [7]
    assert course.reverted.tolist() == [20]
    assert course.diverged.size == 0
    assert course.number.tolist() == [*range(1, 8), *range(11, 21)]
    assert course.seconds == pytest.approx(17 * 0.5)
    solves = Course(history(4, 5), "physical")
    assert solves.diverged.tolist() == [3]
    assert solves.reverted.tolist() == [2]
    assert np.isnan(solves.column("train_loss")[2])


def test_a_phase_that_stops_early_at_the_end_still_ends_where_it_was_to_end() -> None:
    course = Course(history(2, 5), "synthetic")
    assert (course.number[-1], course.last, course.stages[-1].end) == (7, 10, 10)


def test_an_old_history_counts_its_epochs_and_has_no_events() -> None:
    course = Course(OLD, "physical")
    assert course.number.tolist() == [1, 2, 3]
    assert (course.stages, course.seconds) == ([], None)
    assert not course.stopped_early.size and not course.diverged.size and not course.reverted.size


def test_only_rows_with_something_to_tell_are_drawn() -> None:
    def rows(records: list[dict[str, Any]], model: str, **errors: Any) -> list[str]:
        return [label.replace("\n", " ") for label, _ in _rows(Course(records, model), errors)]

    everything = history(4, 5)
    assert rows(everything, "synthetic") == [
        "learning rate", "frames of a window", "gradient norm", "generated windows"
    ]  # fmt: skip
    error = {"solves": [0, 1], "relative_l2": [1.0, 0.5]}
    assert rows(everything, "physical", drag=error) == [
        "weight of interaction", "generated windows", "attempts", "parameter error"
    ]  # fmt: skip
    assert rows(OLD, "synthetic") == rows(OLD, "physical") == []
    calm = [
        r | {"status": "stopped", "attempts": 1} if r.get("model") == "physical" else r for r in everything
    ]
    assert "attempts" not in rows(calm, "physical")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("records", [OLD, OLD[:3], history(1, 3), history(4, 5), history(8, 200)],
                         ids=["old", "one model", "warm-up", "few", "many"])  # fmt: skip
def test_every_history_is_drawn(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    errors = {"drag": {"solves": (0, 1), "relative_l2": [1.0, None]}}
    draw_training(records, tmp_path / "a.png", dpi=40, errors=errors)
    with Image.open(tmp_path / "a.png") as picture:
        assert min(picture.size) > 100
