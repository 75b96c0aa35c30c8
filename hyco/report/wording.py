"""What a record of the history says, in words: for the log, for plain lines, beside the bars."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hyco.interfaces import Record

MODELS = {"synthetic": "surrogate", "physical": "physics"}


def title(record: Record) -> str:
    """Whose record it is: `cycle 2`, `warm-up, surrogate epoch 3`, `cycle 2, physics solve 4`."""
    if record["kind"] == "cycle":
        return f"cycle {record['cycle']}"
    unit = "epoch" if record["model"] == "synthetic" else "solve"
    place = {"warmup": "warm-up, ", "cycle": f"cycle {record.get('cycle')}, "}.get(
        record.get("phase", ""), ""
    )
    return f"{place}{MODELS[record['model']]} {unit} {record['epoch']}"


def losses(record: Record) -> str:
    """The losses alone, short enough to stand beside a bar."""
    if record["kind"] == "cycle":
        pairs = [(name, record[f"{key}_loss"]) for key, name in MODELS.items()]
    else:
        pairs = [("loss", record["train_loss"]), ("val", record["validation_loss"])]
    return ", ".join(f"{name} {value:.2e}" for name, value in pairs if value is not None)


def beside(record: Record, best: float | None) -> str:
    """Losses, the best so far, learning rate and window length, short enough to stand beside a bar."""
    parts = [losses(record)]
    if best is not None:
        parts.append(f"best {best:.2e}")
    if "learning_rate" in record:
        parts.append(f"lr {record['learning_rate']:.1e}")
    if "rollout_steps" in record:
        parts.append(f"{record['rollout_steps']} frames")
    return ", ".join(parts)


def judged(record: Record) -> float | None:
    """The loss by which an epoch or a solve is the best so far: on validation, where there is one."""
    loss = record["train_loss"] if record["validation_loss"] is None else record["validation_loss"]
    return None if loss is None else float(loss)


def line(record: Record) -> str:
    """The record in one line."""
    parts = [losses(record), *_details(record), f"{record['timing']['seconds']:.1f} s"]
    return f"{title(record)}: {', '.join(parts)}"


def _details(record: Record) -> Iterator[str]:
    if record["kind"] == "cycle":
        seen = record["generated_for_synthetic"], record["generated_for_physical"]
        yield f"generated windows seen: surrogate {seen[0]}, physics {seen[1]}"
        for name in record.get("reverted", ()):
            yield f"the {MODELS[name]} went back to the last accepted one"
        return
    if record["best"]:
        yield "best so far"
    if record["model"] == "synthetic":
        yield f"learning rate {record['learning_rate']:.2g}"
        if "rollout_steps" in record:
            yield f"windows of {record['rollout_steps']} frames"
        if record.get("stopped_early"):
            yield f"stopped early, {record['stopped_early']} epochs left out"
        return
    yield f"{record['iterations']} iterations"
    yield record["status"]
    if record.get("attempts", 1) > 1:
        yield f"{record['attempts']} attempts"
