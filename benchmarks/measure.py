"""One measurement: a first call, calls that warm up, timed rounds, and proof that both modes did the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from math import ceil
from typing import Any

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.roofline import Work
from benchmarks.scenarios import Scale, Scenario, device

AGREEMENT = 0.01  # a guard against unequal work, of the largest value; equivalence has its own tests
SHORTEST = 1e-4  # seconds that a round lasts at least, so that the clock's own cost disappears
MOST_ROUNDS = 300
LONG = (
    2.0  # seconds: of warm calls after which the warm-up ends, and of a call that is timed three times only
)

Outcome = Mapping[str, Any]


class Timed:
    """Times one scenario in one mode, and holds its outcome against that of the mode before.

    Compiled functions are traced by their first call and optimised during the next ones.  None of these
    counts; their times are kept as `warmup` instead.  On a device, which works on while the host goes on, the
    clock starts and stops when it has nothing left to do.

    Args:
        benchmark: the fixture of pytest-benchmark.
        scenario, mode: what is timed.
        outcomes: of the scenarios so far, shared by all measurements of a session.
        size: how often.
    """

    def __init__(
        self,
        benchmark: BenchmarkFixture,
        scenario: Scenario,
        mode: str,
        outcomes: dict[Scenario, dict[str, Outcome]],
        size: Scale,
    ) -> None:
        self.benchmark = benchmark
        self.scenario = scenario
        self.mode = mode
        self.outcomes = outcomes
        self.size = size
        benchmark.group = scenario.group
        benchmark.extra_info.update(
            group=scenario.group,
            scenario=scenario.name,
            mode=mode,
            line=scenario.line,
            resolution=scenario.resolution,
        )

    def __call__(
        self,
        run: Callable[..., Any],
        *,
        setup: Callable[[], Any] | None = None,
        outcome: Callable[[Any], Outcome] | None = None,
        warmup: int | None = None,
        rounds: int | None = None,
        work: Work | None = None,
    ) -> None:
        """Time `run`.

        Args:
            run: what is timed; takes what `setup` made, if there is one.
            setup: makes ready for each call, outside the clock.
            outcome: from what the first call returned, numbers by name in which the modes must agree.
            warmup, rounds: instead of those of the scale.
            work: the least that a call must do.
        """
        if work is not None:
            self.benchmark.extra_info.update(asdict(work))
        run = self._whole(run)
        calls = self.size.warmup if warmup is None else min(warmup, self.size.warmup)
        seconds: list[float] = []
        for number in range(calls):
            if number > 1 and sum(seconds[1:]) > LONG:
                break
            arguments = () if setup is None else (setup(),)
            began = time.perf_counter()
            result = run(*arguments)
            seconds.append(time.perf_counter() - began)
            if number == 0 and outcome is not None:
                self.compare(outcome(result))
        self.benchmark.extra_info["warmup"] = seconds
        expected = seconds[-1] if seconds else SHORTEST
        least = self.size.rounds if expected < LONG else min(3, self.size.rounds)
        self.benchmark.pedantic(  # type: ignore[no-untyped-call]
            run,
            setup=None if setup is None else lambda: ((setup(),), {}),
            rounds=rounds or max(least, min(MOST_ROUNDS, int(self.size.seconds / expected))),
            iterations=1 if setup else max(1, ceil(SHORTEST / expected)),
        )

    @staticmethod
    def _whole(run: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which returns when its device has done all of it."""
        if device() == "cpu":
            return run
        import torch

        def waited(*arguments: Any) -> Any:
            result = run(*arguments)
            torch.cuda.synchronize(device())
            return result

        return waited

    def compare(self, found: Outcome, *, agreement: float = AGREEMENT) -> None:
        """Raise AssertionError where an outcome differs from that of a mode timed before.

        `agreement`: by how much at most, of the largest value.
        """
        known = self.outcomes.setdefault(self.scenario, {})
        for mode, expected in known.items():
            for name, value in expected.items():
                scale, error = np.max(np.abs(value)), np.max(np.abs(np.subtract(found[name], value)))
                assert 0 < scale < np.inf, f"{self.scenario}: {name} of {mode} says nothing: {value}"
                assert error <= agreement * scale, (
                    f"{self.scenario}: {self.mode} and {mode} did different work: {name} differs by "
                    f"{error:g} where its largest value is {scale:g}. Their times cannot be compared."
                )
        known[self.mode] = found
