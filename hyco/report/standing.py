"""How far a run is, from its records: done of how many, losses, best, time left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, log10
from typing import Any

from hyco.storage.glance import Glance, number_of

RECENT = 10
BARS = {True: "▁▂▃▄▅▆▇█", False: "_.-=+*%#"}
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Standing:
    """How far one model is.

    `done` counts epochs, or solves, that were left out by early stopping too; `total` is None where the
    configuration cannot be read.  `judged`: the losses by which the best is chosen.
    """

    name: str
    records: Sequence[Record]
    total: int | None

    @property
    def last(self) -> Record:
        """The latest record; empty before the first."""
        return self.records[-1] if self.records else {}

    @property
    def done(self) -> int:
        """Epochs, or solves, that are behind it."""
        return int(self.last.get("epoch", 0) + (number_of(self.last, "stopped_early") or 0))

    @property
    def judged(self) -> list[float]:
        """Of every record the validation loss, or without one the training loss."""
        found = (_judged(r) for r in self.records)
        return [loss for loss in found if loss is not None]

    @property
    def best(self) -> tuple[float, int] | None:
        """The least loss and its epoch."""
        pairs = [(loss, int(r["epoch"])) for r in self.records if (loss := _judged(r)) is not None]
        return min(pairs, default=None)

    @property
    def seconds(self) -> float | None:
        """Of an epoch, or a solve, on average of the last ones."""
        return _mean(_seconds(self.records[-RECENT:]))

    @property
    def diverged(self) -> list[int]:
        """The solves that diverged."""
        return [int(r["epoch"]) for r in self.records if r.get("status") == "diverged"]


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    state: running, done, or stopped; phase: what it is about, in words; left: seconds, or None.
    """

    glance: Glance
    models: Sequence[Standing]
    cycles: Sequence[Record]
    state: str
    phase: str
    left: float | None

    @classmethod
    def of(cls, glance: Glance) -> Progress:
        """The progress that the files of a run show."""
        models = [Standing(name, _epochs(glance, name), _total(glance, name)) for name in _trained(glance)]
        cycles = [r for r in glance.history if r["kind"] == "cycle"]
        trained = bool(models) and all(m.total is not None and m.done >= m.total for m in models)
        planned = _whole(glance.setting("trainer.hybrid.cycles"))
        if _mode(glance) == "hybrid" and planned is not None:
            trained &= bool(cycles) and cycles[-1]["cycle"] >= planned
        tasks = glance.setting("general.tasks")
        tasks = tasks if isinstance(tasks, list) else ["train"]
        asked = glance.environment.get("tasks")  # of the latest command, which may be `hyco train` alone
        asked = asked if isinstance(asked, list) else tasks
        complete = ("train" not in tasks or trained) and ("evaluate" not in asked or bool(glance.metrics))
        state = "running" if glance.holder else "done" if complete else "stopped"
        return cls(glance, models, cycles, state, _phase(glance, trained), _left(glance, models, cycles))


def sparkline(values: Sequence[float], width: int = 24, *, unicode: bool = True) -> str:
    """A curve in one line, logarithmic where all is positive; of a long one the last value of each part."""
    finite = [v for v in values if isfinite(v)]
    if not finite:
        return ""
    parts = min(width, len(finite))
    shown = [finite[(i + 1) * len(finite) // parts - 1] for i in range(parts)]
    heights = [log10(v) for v in shown] if min(shown) > 0 else shown
    low, high = min(heights), max(heights)
    bars = BARS[unicode]
    span = high - low or 1.0
    return "".join(bars[min(len(bars) - 1, int((h - low) / span * len(bars)))] for h in heights)


def _mode(glance: Glance) -> str:
    mode = glance.setting("general.mode")
    return mode if isinstance(mode, str) else ""


def _trained(glance: Glance) -> Iterator[str]:
    """The models of the training; where that is not known, those that have records."""
    mode = _mode(glance)
    for name in ("synthetic", "physical"):
        if mode in (name, "hybrid") or (not mode and _epochs(glance, name)):
            yield name


def _epochs(glance: Glance, name: str) -> list[Record]:
    return [r for r in glance.history if r["kind"] == "epoch" and r["model"] == name]


def _total(glance: Glance, name: str) -> int | None:
    per_turn = _whole(glance.setting(f"trainer.{name}.epochs"))
    turns = [_whole(glance.setting(f"trainer.hybrid.{key}")) for key in ("warmup", "cycles")]
    if per_turn is None or _mode(glance) != "hybrid":
        return per_turn
    return None if None in turns else per_turn * sum(t or 0 for t in turns)


def _phase(glance: Glance, trained: bool) -> str:
    if trained:
        return "evaluated" if glance.metrics else "evaluating" if glance.holder else "trained"
    if not glance.history:
        return "preparing" if glance.holder else "not begun"
    last = glance.history[-1]
    cycle, planned = last.get("cycle"), _whole(glance.setting("trainer.hybrid.cycles"))
    if last["kind"] == "epoch" and last.get("phase") != "cycle":
        return {"warmup": "warm-up"}.get(str(last.get("phase")), "training")
    return f"cycle {cycle}" + ("" if planned is None else f" of {planned}")


def _left(glance: Glance, models: Sequence[Standing], cycles: Sequence[Record]) -> float | None:
    """Seconds at the pace of the last epochs and cycles, generation and judgement included."""
    parts = []
    for model in models:
        if model.total is None:
            return None
        rest = max(0, model.total - model.done)
        if rest and model.seconds is None:
            return None
        parts.append(rest * (model.seconds or 0.0))
    planned = _whole(glance.setting("trainer.hybrid.cycles"))
    if cycles and planned is not None:
        extra = [_beside(glance, c) for c in cycles[-RECENT:]]
        parts.append(max(0, planned - int(cycles[-1]["cycle"])) * (_mean(extra) or 0.0))
    return sum(parts) if glance.history else None


def _beside(glance: Glance, cycle: Record) -> float:
    """Seconds of a cycle beside its epochs and solves."""
    mine = [r for r in glance.history if r["kind"] == "epoch" and r.get("cycle") == cycle["cycle"]]
    return max(0.0, sum(_seconds([cycle])) - sum(_seconds(mine)))


def _seconds(records: Sequence[Record]) -> list[float]:
    timings = [r["timing"] for r in records if isinstance(r.get("timing"), Mapping)]
    found = (number_of(t, "seconds") for t in timings)
    return [s for s in found if s is not None and isfinite(s)]


def _judged(record: Record) -> float | None:
    found = (number_of(record, f"{kind}_loss") for kind in ("validation", "train"))
    return next((loss for loss in found if loss is not None and isfinite(loss)), None)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
