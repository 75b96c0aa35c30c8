"""What was measured, by group, scenario and mode, and the ratios of the modes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

CYCLE = "shipped burgers, within the training run"


@dataclass(frozen=True)
class Timing:
    """Seconds of one scenario in one mode: median and quartiles of the rounds, and each call before them.

    `peaks` and `imports` are MiB of every round's process, where the scenario is a process.  `line` is the
    name but for the grid, `cells` is cells times steps, `bytes` and `flops` are what the scenario must do at
    least (`benchmarks.roofline`), and `evaluations` is how often a fit asked for the loss; 0 where that was
    not said.
    """

    group: str
    scenario: str
    mode: str
    median: float
    q1: float
    q3: float
    rounds: int
    warmup: tuple[float, ...] = ()
    peaks: tuple[float, ...] = ()
    imports: tuple[float, ...] = ()
    line: str = ""
    resolution: int = 0
    cells: int = 0
    bytes: int = 0
    flops: int = 0
    evaluations: int = 0

    @classmethod
    def of(cls, stats: Mapping[str, Any], extra: Mapping[str, Any]) -> Timing:
        """From pytest-benchmark's statistics, and from what the benchmark noted beside them."""
        series: dict[str, Any] = {name: tuple(extra.get(name, ())) for name in ("warmup", "peaks", "imports")}
        figures: dict[str, Any] = {name: stats[name] for name in ("median", "q1", "q3", "rounds")}
        facts = {
            n: extra[n]
            for n in ("line", "resolution", "cells", "bytes", "flops", "evaluations")
            if n in extra
        }
        return cls(extra["group"], extra["scenario"], extra["mode"], **figures, **series, **facts)

    @classmethod
    def of_parts(cls, group: str, scenario: str, mode: str, durations: Sequence[float]) -> Timing:
        """Of what a measurement says of its own parts."""
        q1, _, q3 = quantiles(durations, method="inclusive") if len(durations) > 1 else 3 * [durations[0]]
        return cls(group, scenario, mode, median(durations), q1, q3, len(durations))

    @property
    def preparation(self) -> float:
        """Seconds that the warm-up took beyond as many warm calls: what tracing and compiling cost."""
        return max(0.0, sum(self.warmup) - len(self.warmup) * self.median)


@dataclass(frozen=True)
class Ratio:
    """How many times as much one takes as the other, and how far the quartiles let that be."""

    value: float
    low: float
    high: float


@dataclass
class Results:
    """All timings of a session, in the order in which they were taken."""

    timings: dict[tuple[str, str], dict[str, Timing]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> tuple[Results, dict[str, Any]]:
        """(results, facts of the machine) from pytest-benchmark's JSON; ValueError when it is another's."""
        content = json.loads(path.read_text(encoding="utf-8"))
        try:
            facts = {**content["machine_info"]["hyco"], "taken": content["datetime"]}
            results = cls()
            for entry in content["benchmarks"]:
                results.note(entry["stats"], entry["extra_info"])
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{path}: expected the JSON of `pytest benchmarks --benchmark-only --benchmark-json`, "
                f"but {error} is missing. Run that again."
            ) from error
        return results, facts

    def note(self, stats: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
        """Keep what pytest-benchmark found, and the cycles of a run as timings of their own."""
        timing = Timing.of(stats, extra)
        self.add(timing)
        if extra.get("cycles"):
            self.add(Timing.of_parts("hybrid cycle", CYCLE, timing.mode, extra["cycles"]))

    def add(self, timing: Timing) -> None:
        """Keep one more."""
        self.timings.setdefault((timing.group, timing.scenario), {})[timing.mode] = timing

    def groups(self) -> list[str]:
        """Their names, in order."""
        return list(dict.fromkeys(group for group, _ in self.timings))

    def of(self, group: str) -> Iterator[tuple[str, dict[str, Timing]]]:
        """(scenario, timings by mode) of one group."""
        return ((name, modes) for (g, name), modes in self.timings.items() if g == group)


def time_ratio(modes: Mapping[str, Timing], numerator: str, denominator: str) -> Ratio | None:
    """Of medians; None when one of the two was not timed."""
    if numerator not in modes or denominator not in modes:
        return None
    above, below = modes[numerator], modes[denominator]
    return Ratio(above.median / below.median, above.q1 / below.q3, above.q3 / below.q1)


def memory_ratio(modes: Mapping[str, Timing], numerator: str, denominator: str) -> Ratio | None:
    """Of median peaks; None when one of the two was not measured."""
    if not all(mode in modes and modes[mode].peaks for mode in (numerator, denominator)):
        return None
    above, below = modes[numerator].peaks, modes[denominator].peaks
    return Ratio(median(above) / median(below), min(above) / max(below), max(above) / min(below))


def ratio_lines(results: Results) -> list[str]:
    """One line of text per scenario that both modes were timed in."""
    lines = []
    for (group, name), modes in results.timings.items():
        ratio = time_ratio(modes, "phiml", "legacy")
        if ratio is None:
            continue
        legacy, phiml = (seconds(modes[mode].median) for mode in ("legacy", "phiml"))
        line = f"{group + ': ' + name:<76} {legacy:>9} {phiml:>9}"
        line += f"  x {ratio.value:6.2f}  ({ratio.low:.2f} to {ratio.high:.2f})"
        for other in (mode for mode in modes if mode not in ("legacy", "phiml")):
            line += f"   phiml / {other} {modes['phiml'].median / modes[other].median:.2f}"
        lines.append(line)
    if lines:
        lines.insert(0, f"{'':<76} {'legacy':>9} {'phiml':>9}  phiml / legacy (quartiles)")
    return lines


def seconds(value: float) -> str:
    """A duration in three figures."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if value * factor >= 1.0:
            return (
                f"{value * factor:.3g} {unit}" if value * factor < 999.5 else f"{value * factor:.0f} {unit}"
            )
    return f"{value * 1e9:.3g} ns" if value else "0"
