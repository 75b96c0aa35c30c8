"""What phiml mode is to reach, and the reading of a session against it, made from the numbers alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from math import exp, log

from benchmarks.results import CYCLE, Ratio, Results, Timing, memory_ratio, time_ratio

Measured = Callable[[Results], Iterable[tuple[str, Ratio]]]
PLAN, ISSUE = "the original plan", "the fast mode"
TRAINING = ("synthetic training", "physical fit", "hybrid cycle", "training run")


@dataclass(frozen=True)
class Target:
    """A bound on something measured.

    Args:
        name, goal: in words.
        what: what the number is.
        limit: from above, or with `at_least` from below.
        measured: (scenario, number) of every scenario that it is judged by.
        origin: who asks for it.
        device: on which it is to be reached.
        unit: of the number.
    """

    name: str
    goal: str
    what: str
    limit: float
    measured: Measured
    origin: str = ISSUE
    at_least: bool = False
    device: str = "cpu"
    unit: str = ""

    def met(self, value: float) -> bool:
        """Whether a number is on the right side of the limit."""
        return value >= self.limit if self.at_least else value <= self.limit

    def unclear(self, ratio: Ratio) -> bool:
        """Whether the spread of the rounds reaches over the limit."""
        return ratio.low < self.limit < ratio.high


def pairs(
    numerator: str,
    denominator: str,
    *groups: str,
    only: str = "",
    measure: Callable[[Mapping[str, Timing], str, str], Ratio | None] = time_ratio,
) -> Measured:
    """Ratios of two modes in the scenarios of these groups whose names contain `only`."""

    def measured(results: Results) -> Iterator[tuple[str, Ratio]]:
        for group in groups:
            for name, modes in results.of(group):
                ratio = measure(modes, numerator, denominator)
                if ratio is not None and only in name:
                    yield f"{group}: {name}", ratio

    return measured


def evenness(mode: str, group: str) -> Measured:
    """The cost of a cell on the grid where it is dearest, in units of that where it is cheapest.

    Of every line of scenarios that reaches from the coarsest grid to the finest one of the group.
    """

    def measured(results: Results) -> Iterator[tuple[str, Ratio]]:
        timings = [modes[mode] for _, modes in results.of(group) if mode in modes and modes[mode].cells]
        ends = {t.resolution for t in timings}
        for line, found in groupby(sorted(timings, key=lambda t: t.line), key=lambda t: t.line):
            costs = {t.resolution: t for t in found}
            if len(ends) > 1 and {min(ends), max(ends)} <= set(costs):
                dear, cheap = (f(costs.values(), key=lambda t: t.median / t.cells) for f in (max, min))
                ratios = (
                    above / dear.cells / (below / cheap.cells)
                    for above, below in (
                        (dear.median, cheap.median),
                        (dear.q1, cheap.q3),
                        (dear.q3, cheap.q1),
                    )
                )
                yield f"{line}, {min(ends)} to {max(ends)} cells per axis", Ratio(*ratios)

    return measured


def duration(mode: str, group: str, only: str = "") -> Measured:
    """Seconds of one mode."""

    def measured(results: Results) -> Iterator[tuple[str, Ratio]]:
        for name, modes in results.of(group):
            if mode in modes and only in name:
                found = modes[mode]
                yield f"{group}: {name}", Ratio(found.median, found.q1, found.q3)

    return measured


OF_LEGACY = "phiml / legacy"
TARGETS = (
    Target("Training time", "at most 80 to 85 % of the time of legacy", OF_LEGACY, 0.85,
           pairs("phiml", "legacy", *TRAINING), PLAN),
    Target("Memory", "at most 90 to 95 % of the memory of legacy", OF_LEGACY, 0.95,
           pairs("phiml", "legacy", "training run", measure=memory_ratio), PLAN),
    Target("Data loading", "at most 70 to 80 % of the time of legacy", OF_LEGACY, 0.80,
           pairs("phiml", "legacy", "load", "batches"), PLAN),
    Target("Simulation", "a step at least 10 times as fast as an eager one", "eager / phiml", 10.0,
           pairs("eager", "phiml", "step"), PLAN, at_least=True),
    Target("Rollouts", "at most 0.2 of the time of legacy", OF_LEGACY, 0.2,
           pairs("phiml", "legacy", "rollout")),
    Target("Rollouts against PhiFlow", "at most 0.1 of the time of PhiFlow's operators, compiled",
           "phiml / phiflow", 0.1, pairs("phiml", "phiflow", "rollout")),
    Target("Cost of a cell", "within 1.5 times from the coarsest grid to the finest", "dearest / cheapest",
           1.5, evenness("phiml", "rollout")),
    Target("Forward and backward", "at most 0.25 of the time of legacy", OF_LEGACY, 0.25,
           pairs("phiml", "legacy", "forward and backward")),
    Target("Physical fit", "to the same loss in at most 0.25 of the time of legacy", OF_LEGACY, 0.25,
           pairs("phiml", "legacy", "physical fit")),
    Target("Loading and batches", "at most 0.5 of the time of legacy", OF_LEGACY, 0.5,
           pairs("phiml", "legacy", "load", "batches")),
    Target("Peak memory", "of a hybrid run, at most 0.9 of that of legacy", OF_LEGACY, 0.9,
           pairs("phiml", "legacy", "training run", measure=memory_ratio)),
    Target("Synthetic training", "at most the time of legacy", OF_LEGACY, 1.0,
           pairs("phiml", "legacy", "synthetic training")),
    Target("Synthetic training against the bare network",
           "at most 1.15 of the network's own forward and backward", "phiml / bare", 1.15,
           pairs("phiml", "bare", "synthetic training")),
    Target("Hybrid cycle", "of the shipped burgers configuration, at most 0.7 of the time of legacy",
           OF_LEGACY, 0.7, pairs("phiml", "legacy", "hybrid cycle", only=CYCLE)),
    Target("Start-up", "less than 3 s before the first step of a simulation", "phiml", 3.0,
           duration("phiml", "start-up", "before"), unit=" s"),
    Target("On a GPU: rollouts and fits", "at most 0.1 of the time of legacy", OF_LEGACY, 0.1,
           pairs("phiml", "legacy", "rollout", "physical fit"), device="cuda"),
    Target("On a GPU: synthetic training", "of the shipped configuration, at most 0.5 of the time of legacy",
           OF_LEGACY, 0.5, pairs("phiml", "legacy", "synthetic training", only="shipped"), device="cuda"),
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """How a target stands.

    Attributes: ratios of its scenarios; mean, the geometric one, of them and of their quartiles, None where
    nothing was measured; word: met, met on average only, missed, not measured.
    """

    target: Target
    ratios: tuple[tuple[str, Ratio], ...]
    mean: Ratio | None
    word: str

    @property
    def good(self) -> int:
        """How many scenarios reach the goal."""
        return sum(self.target.met(r.value) for _, r in self.ratios)

    @classmethod
    def of(cls, target: Target, results: Results | None) -> Verdict:
        """On one target; `results` of the device that it is about, None where there is none."""
        ratios = () if results is None else tuple(target.measured(results))
        if not ratios:
            return cls(target, (), None, "not measured")
        mean = Ratio(
            *(geometric_mean([getattr(r, part) for _, r in ratios]) for part in ("value", "low", "high"))
        )
        reached = [target.met(r.value) for _, r in ratios]
        word = "met" if all(reached) else "met on average only" if target.met(mean.value) else "missed"
        return cls(target, ratios, mean, word)


def geometric_mean(values: list[float]) -> float:
    """The mean of ratios, in which twice as slow and twice as fast cancel."""
    return exp(sum(map(log, values)) / len(values))


def overview(verdicts: Iterable[Verdict]) -> list[str]:
    """One row per target, as Markdown."""
    lines = [
        "| target | goal | measured | quartiles | worst | scenarios | |",
        "|---|---|--:|--:|--:|--:|---|",
    ]
    for v in verdicts:
        target, unit = v.target, v.target.unit
        head = f"| {target.name} | {target.goal} |"
        if v.mean is None:
            lines.append(f"{head} | | | | {v.word} |")
            continue
        values = [r.value for _, r in v.ratios]
        worst = min(values) if target.at_least else max(values)
        lines.append(
            f"{head} {v.mean.value:.2f}{unit} | {v.mean.low:.2f} to {v.mean.high:.2f} | {worst:.2f}{unit} | "
            f"{v.good} of {len(values)} | {'**' if v.word == 'met' else ''}{v.word}"
            f"{'**' if v.word == 'met' else ''} |"
        )
    return lines


def detail(verdict: Verdict) -> list[str]:
    """Every scenario of one target, as Markdown."""
    target = verdict.target
    if verdict.mean is None:
        return [f"**{target.name}: not measured.** Goal: {target.goal}."]
    many = f" (geometric mean of {len(verdict.ratios)} scenarios)" if len(verdict.ratios) > 1 else ""
    reached = "1 scenario reaches" if verdict.good == 1 else f"{verdict.good} scenarios reach"
    unclear = sum(target.unclear(r) for _, r in verdict.ratios)
    noise = f"; for {unclear} the spread of the rounds spans the limit" if unclear else ""
    lines = [
        f"**{target.name}: {verdict.word}.** Goal: {target.goal}. {target.what} is "
        f"{verdict.mean.value:.2f}{target.unit}{many}, {_distance(target, verdict.mean.value)}. "
        f"Of {len(verdict.ratios)}, {reached} the goal{noise}.",
        "",
        f"| scenario | {target.what} | quartiles | goal |",
        "|---|--:|--:|---|",
    ]
    for name, ratio in verdict.ratios:
        word = ("met" if target.met(ratio.value) else "missed") + (
            ", unclear" if target.unclear(ratio) else ""
        )
        lines.append(
            f"| {name} | {ratio.value:.2f}{target.unit} | {ratio.low:.2f} to {ratio.high:.2f} | {word} |"
        )
    return lines


def _distance(target: Target, mean: float) -> str:
    """How far a mean is from the limit, in words."""
    share = abs(mean / target.limit - 1.0)
    side = "above" if mean >= target.limit else "below"
    return f"{100 * share:.0f} % {side} the limit of {target.limit:g}{target.unit}"
