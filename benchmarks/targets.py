"""What phiml mode is to reach, and the reading of a table against it, made from the numbers alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import exp, log

from benchmarks.results import Ratio, Results, Timing, memory_ratio, time_ratio

Measure = Callable[[Mapping[str, Timing], str, str], Ratio | None]
TRAINING = ("synthetic training step", "physical fit", "hybrid cycle", "training run")


@dataclass(frozen=True)
class Target:
    """A bound on a ratio of two modes, and the groups that it is judged by.

    Args:
        name, goal: in words.
        groups: whose scenarios count.
        numerator, denominator: modes.
        limit: of the ratio; from above, or with `at_least` from below.
        measure: time or memory.
    """

    name: str
    goal: str
    groups: tuple[str, ...]
    numerator: str
    denominator: str
    limit: float
    at_least: bool = False
    measure: Measure = time_ratio

    def ratios(self, results: Results) -> Iterator[tuple[str, Ratio]]:
        """(scenario, ratio) wherever both modes were measured."""
        for group in self.groups:
            for name, modes in results.of(group):
                ratio = self.measure(modes, self.numerator, self.denominator)
                if ratio is not None:
                    yield f"{group}: {name}", ratio

    def met(self, ratio: float) -> bool:
        """Whether a ratio is on the right side of the limit."""
        return ratio >= self.limit if self.at_least else ratio <= self.limit

    def unclear(self, ratio: Ratio) -> bool:
        """Whether the spread of the rounds reaches over the limit."""
        return ratio.low < self.limit < ratio.high


TARGETS = (
    Target(
        "Training time",
        "phiml takes at most 80 to 85 % of the time of legacy",
        TRAINING,
        "phiml",
        "legacy",
        0.85,
    ),
    Target(
        "Memory",
        "phiml takes at most 90 to 95 % of the memory of legacy",
        ("training run",),
        "phiml",
        "legacy",
        0.95,
        measure=memory_ratio,
    ),
    Target(
        "Data loading",
        "phiml takes at most 70 to 80 % of the time of legacy",
        ("load", "batches"),
        "phiml",
        "legacy",
        0.80,
    ),
    Target(
        "Simulation",
        "compiled, phiml is at least 10 times as fast as eager",
        ("step",),
        "eager",
        "phiml",
        10.0,
        at_least=True,
    ),
)


def read(target: Target, results: Results) -> list[str]:
    """The verdict on one target, as Markdown: the mean ratio against the limit, then every scenario."""
    ratios = list(target.ratios(results))
    if not ratios:
        return [f"**{target.name}: not measured.** Goal: {target.goal}."]
    mean = geometric_mean([r.value for _, r in ratios])
    good = sum(target.met(r.value) for _, r in ratios)
    unclear = sum(target.unclear(r) for _, r in ratios)
    word = "met" if good == len(ratios) else "missed" if not target.met(mean) else "met on average only"
    many = f" (geometric mean of {len(ratios)} scenarios)" if len(ratios) > 1 else ""
    reached = "1 scenario reaches" if good == 1 else f"{good} scenarios reach"
    noise = f"; for {unclear} the spread of the rounds spans the limit" if unclear else ""
    lines = [
        f"**{target.name}: {word}.** Goal: {target.goal}. The ratio {target.numerator} / "
        f"{target.denominator} is {mean:.2f}{many}, {_distance(target, mean)}. "
        f"Of {len(ratios)}, {reached} the goal{noise}.",
        "",
        f"| scenario | {target.numerator} / {target.denominator} | quartiles | goal |",
        "|---|--:|--:|---|",
    ]
    for name, ratio in ratios:
        verdict = ("met" if target.met(ratio.value) else "missed") + (
            ", unclear" if target.unclear(ratio) else ""
        )
        lines.append(f"| {name} | {ratio.value:.2f} | {ratio.low:.2f} to {ratio.high:.2f} | {verdict} |")
    return lines


def geometric_mean(values: list[float]) -> float:
    """The mean of ratios, in which twice as slow and twice as fast cancel."""
    return exp(sum(map(log, values)) / len(values))


def _distance(target: Target, mean: float) -> str:
    """How far a mean ratio is from the limit, in words."""
    share = abs(mean / target.limit - 1.0)
    side = "above" if mean >= target.limit else "below"
    return f"{100 * share:.0f} % {side} the limit of {target.limit:g}"
