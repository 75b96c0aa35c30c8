"""What of a record, of scores and of a configuration is written: numbers by tag, and text by name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

NOT_MEASURED = {"kind", "model", "epoch", "cycle", "phase"}
LOSS = "_loss"
NAME_LIMIT, TEXT_LIMIT = 250, 500


def place_of(record: Mapping[str, Any]) -> tuple[str, int]:
    """The group and the step that a record of the history belongs to."""
    if record["kind"] == "cycle":
        return "cycles", int(record["cycle"])
    return str(record["model"]), int(record["epoch"])


def record_scalars(record: Mapping[str, Any]) -> dict[str, float]:
    """Every finite number of a record by tag: `loss/train`, `learning_rate`, `parameters/nu/mean` ...

    What is None, not finite, or no number is left out; `status` becomes `diverged`, 0 or 1, and `reverted`
    the number of models that went back.
    """
    measured = {k: v for k, v in record.items() if k not in NOT_MEASURED}
    if "status" in measured:
        measured["diverged"] = measured.pop("status") == "diverged"
    if "reverted" in measured:
        measured["reverted"] = len(measured["reverted"])
    if "generated_for_synthetic" in measured:
        measured["generated_for"] = {
            name: measured.pop(f"generated_for_{name}", None) for name in ("synthetic", "physical")
        }
    return {_loss_first(tag): value for tag, value in _numbers(measured)}


def summary_scalars(summary: Mapping[str, Any]) -> dict[str, float]:
    """The scores over all test simulations, of the models, the baseline and the parameters, by tag."""
    chosen = {k: summary.get(k, {}) for k in ("models", "baseline", "parameters")}
    return dict(_numbers(chosen))


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Settings by dotted name, as short text; lists and empty blocks as JSON."""
    found: dict[str, str] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            found |= flat_settings(value, f"{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            found[shortened(name, NAME_LIMIT)] = shortened(text, TEXT_LIMIT)
    return found


def shortened(text: str, limit: int) -> str:
    """The text, or its beginning and three dots."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _numbers(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        tag = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{tag}/")
        elif isinstance(value, (bool, int, float)) and isfinite(value):
            yield tag, float(value)


def _loss_first(tag: str) -> str:
    """`loss/train` for `train_loss`, so that losses stand side by side."""
    return f"loss/{tag.removesuffix(LOSS)}" if tag.endswith(LOSS) and "/" not in tag else tag
