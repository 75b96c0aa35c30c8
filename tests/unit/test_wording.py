"""What records say in words."""

from __future__ import annotations

import pytest

from hyco.report.wording import beside, judged, line, losses, title

EPOCH = {
    "kind": "epoch",
    "model": "synthetic",
    "phase": "warmup",
    "cycle": 0,
    "epoch": 3,
    "train_loss": 1.25e-3,
    "validation_loss": 2.5e-3,
    "learning_rate": 0.003,
    "best": True,
    "rollout_steps": 4,
    "timing": {"seconds": 1.26},
}
SOLVE = {
    "kind": "epoch",
    "model": "physical",
    "phase": "cycle",
    "cycle": 2,
    "epoch": 5,
    "train_loss": 1e-6,
    "validation_loss": None,
    "best": False,
    "iterations": 12,
    "status": "diverged",
    "attempts": 3,
    "timing": {"seconds": 0.5},
}
CYCLE = {
    "kind": "cycle",
    "cycle": 2,
    "synthetic_loss": 0.1,
    "physical_loss": 0.2,
    "generated_for_synthetic": 9,
    "generated_for_physical": 8,
    "reverted": ["physical"],
    "timing": {"seconds": 7.0},
}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            EPOCH,
            "warm-up, surrogate epoch 3: loss 1.25e-03, val 2.50e-03, best so far, learning rate 0.003, "
            "windows of 4 frames, 1.3 s",
        ),
        (SOLVE, "cycle 2, physics solve 5: loss 1.00e-06, 12 iterations, diverged, 3 attempts, 0.5 s"),
        (
            CYCLE,
            "cycle 2: surrogate 1.00e-01, physics 2.00e-01, generated windows seen: surrogate 9, physics 8, "
            "the physics went back to the last accepted one, 7.0 s",
        ),
        (
            EPOCH | {"phase": "training", "stopped_early": 4, "best": False},
            "surrogate epoch 3: loss 1.25e-03, val 2.50e-03, learning rate 0.003, windows of 4 frames, "
            "stopped early, 4 epochs left out, 1.3 s",
        ),
    ],
)
def test_a_record_is_one_line(record: dict[str, object], expected: str) -> None:
    assert line(record) == expected
    assert line(record) == f"{title(record)}: {line(record).partition(': ')[2]}"
    assert losses(record) in line(record)


def test_beside_a_bar_stand_the_losses_the_best_and_what_changes() -> None:
    assert beside(EPOCH, 2e-3) == "loss 1.25e-03, val 2.50e-03, best 2.00e-03, lr 3.0e-03, 4 frames"
    assert beside(SOLVE, None) == "loss 1.00e-06"


def test_the_best_is_judged_on_validation_where_there_is_one() -> None:
    assert judged(EPOCH) == 2.5e-3
    assert judged(SOLVE) == 1e-6
    assert judged(SOLVE | {"train_loss": None}) is None
