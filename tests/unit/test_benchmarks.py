"""What the benchmarks' page says follows from the numbers: ratios, targets, notes, roofline, threads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.figures import COST, ROOFLINE, draw
from benchmarks.memory import what_was_done
from benchmarks.notes import NOTES, explained, read_notes
from benchmarks.page import render
from benchmarks.results import CYCLE, Ratio, Results, Timing, memory_ratio, seconds, time_ratio
from benchmarks.roofline import CACHED, COPY, PRODUCT, ROOFS, TRIAD, Roof, Work, flops_per_cell, rollout_work
from benchmarks.roofline import EQUATIONS as WORKS
from benchmarks.sessions import Session, Sessions
from benchmarks.table import preparation, threads, times
from benchmarks.targets import TARGETS, Target, Verdict, detail, evenness, overview
from hyco.problem.equations import EQUATIONS

BY_NAME = {target.name: target for target in TARGETS}
FACTS: dict[str, Any] = {
    "processor": "a processor",
    "cores": 2,
    "threads": 2,
    "device": "cpu",
    "memory_gib": 8.0,
    "system": "Linux",
    "versions": {"torch": "2.13.0"},
    "load_before": 1.9,
    "taken": "2026-01-02T03:04:05",
}


def timing(
    mode: str, median: float, *, spread: float = 0.0, group: str = "physical fit", **more: Any
) -> Timing:
    """A timing whose quartiles are `spread` away from the median."""
    name = more.pop("name", "64x64")
    return replace(Timing(group, name, mode, median, median - spread, median + spread, 5), **more)


def results(*timings: Timing) -> Results:
    """These timings as a session's results."""
    found = Results()
    for one in timings:
        found.add(one)
    return found


def roofs(
    *, copy: float = 4e9, triad: float = 5e9, cached: float = 20e9, product: float = 100e9
) -> list[Timing]:
    """What a machine of these rates takes for a billion bytes or operations."""
    rates = {COPY: (copy, 10**9, 1), TRIAD: (triad, 10**9, 10**8), CACHED: (cached, 10**9, 10**8)}
    rates[PRODUCT] = (product, 10**6, 10**9)
    return [
        timing("machine", 1e9 / rate, group=ROOFS, name=name, bytes=size, flops=flops)
        for name, (rate, size, flops) in rates.items()
    ]


def rollouts(
    mode: str, costs: dict[int, float], *, batch: int = 1, equation: str = "burgers"
) -> list[Timing]:
    """Rollouts that cost so many seconds per cell and step, by cells per axis."""
    found = []
    for n, cost in costs.items():
        work = rollout_work(equation, n, batch, 10)
        line = f"{equation}, 10 steps, batch {batch}"
        facts = {"line": line, "resolution": n, **work.__dict__}
        name = f"{equation}, 10 steps, {n}x{n}, batch {batch}"
        found.append(timing(mode, cost * work.cells, group="rollout", name=name, **facts))
    return found


# -------------------------------------------------------------------------------------------------- ratios


def test_ratios_and_the_cost_of_warming_up() -> None:
    legacy, phiml = (
        timing("legacy", 2.0, spread=0.5),
        timing("phiml", 3.0, spread=1.0, warmup=(9.0, 5.0, 3.0)),
    )
    ratio = time_ratio({"legacy": legacy, "phiml": phiml}, "phiml", "legacy")
    assert ratio is not None
    assert (ratio.value, ratio.low, ratio.high) == (1.5, 2.0 / 2.5, 4.0 / 1.5)
    assert phiml.preparation == 17.0 - 9.0
    assert time_ratio({"legacy": legacy}, "phiml", "legacy") is None


def test_memory_is_judged_by_the_median_peak() -> None:
    modes = {
        m: timing(m, 1.0, peaks=p) for m, p in {"legacy": (90.0, 100.0, 200.0), "phiml": (80.0,)}.items()
    }
    ratio = memory_ratio(modes, "phiml", "legacy")
    assert ratio is not None
    assert (ratio.value, ratio.low, ratio.high) == (0.8, 0.4, 80 / 90)
    assert memory_ratio({m: replace(t, peaks=()) for m, t in modes.items()}, "phiml", "legacy") is None


def test_the_cycles_of_a_run_become_timings_of_their_own() -> None:
    found = Results()
    stats = {"median": 30.0, "q1": 30.0, "q3": 30.0, "rounds": 1}
    extra = {"group": "training run", "scenario": "shipped", "mode": "phiml", "cycles": [7.0, 5.0, 6.0]}
    found.note(stats, extra)
    cycle = found.timings["hybrid cycle", CYCLE]["phiml"]
    assert (cycle.median, cycle.q1, cycle.q3, cycle.rounds) == (6.0, 5.5, 6.5, 3)
    assert found.timings["training run", "shipped"]["phiml"].median == 30.0


def test_what_a_run_did_is_read_from_its_records(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(
        '{"kind": "epoch", "model": "synthetic", "train_loss": 0.5}\n'
        '{"kind": "epoch", "model": "physical", "evaluations": 7}\n'
        '{"kind": "epoch", "model": "synthetic", "train_loss": 0.25}\n'
        '{"kind": "epoch", "model": "physical", "evaluations": 4}\n'
        '{"kind": "cycle", "timing": {"seconds": 1.5}, "generated_for_synthetic": 48}\n'
    )
    assert what_was_done(path) == {
        "cycles": [1.5],
        "work": {"surrogate loss": 0.25, "generated windows": 48},
        "evaluations": 11,
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [(12.34, "12.3 s"), (0.9996, "1000 ms"), (0.0021, "2.1 ms"), (3e-7, "300 ns"), (0.0, "0")],
)
def test_durations_are_readable(value: float, text: str) -> None:
    assert seconds(value) == text


# ------------------------------------------------------------------------------------------------- targets


@pytest.mark.parametrize(
    ("phiml", "spread", "word", "row"),
    [
        (0.80, 0.0, "met", "| 0.80 | 0.80 to 0.80 | met |"),
        (0.85, 0.0, "met", "| met |"),
        (0.86, 0.0, "missed", "| missed |"),
        (0.90, 0.1, "missed", "| missed, unclear |"),
    ],
)
def test_the_reading_follows_the_numbers(phiml: float, spread: float, word: str, row: str) -> None:
    found = results(timing("legacy", 1.0), timing("phiml", phiml, spread=spread))
    verdict = Verdict.of(BY_NAME["Training time"], found)
    assert verdict.word == word
    text = "\n".join(detail(verdict))
    assert f"Training time: {word}." in text
    assert row in text
    assert f"| {phiml:.2f} |" in overview([verdict])[-1]


def test_a_target_that_is_met_on_average_says_where_it_is_not() -> None:
    found = results(
        timing("legacy", 1.0),
        timing("phiml", 1.0),
        timing("legacy", 1.0, group="hybrid cycle"),
        timing("phiml", 0.25, group="hybrid cycle"),
    )
    verdict = Verdict.of(BY_NAME["Training time"], found)
    text = "\n".join(detail(verdict))
    assert "met on average only" in text
    assert "is 0.50 (geometric mean of 2 scenarios), 41 % below the limit of 0.85" in text
    assert "Of 2, 1 scenario reaches the goal." in text
    assert "| 0.50 | 0.50 to 0.50 | 1.00 | 1 of 2 | met on average only |" in overview([verdict])[-1]


def test_a_speedup_is_judged_from_below_and_nothing_is_read_from_nothing() -> None:
    simulation: Target = BY_NAME["Simulation"]
    assert simulation.met(10.0)
    assert not simulation.met(9.99)
    found = results(timing("phiml", 1.0, group="step"), timing("eager", 5.0, group="step"))
    assert "is 5.00, 50 % below the limit of 10" in detail(Verdict.of(simulation, found))[0]
    nothing = Verdict.of(simulation, results())
    assert detail(nothing) == [f"**Simulation: not measured.** Goal: {simulation.goal}."]
    assert overview([nothing])[-1].endswith("| not measured |")
    assert Verdict.of(BY_NAME["On a GPU: synthetic training"], None).word == "not measured"


def test_the_cost_of_a_cell_is_judged_over_whole_lines() -> None:
    whole = rollouts("phiml", {64: 2e-9, 128: 1e-9, 512: 1.2e-9})
    part = rollouts("phiml", {64: 9e-9, 128: 1e-9}, batch=64)
    other = rollouts("legacy", {64: 9e-9, 512: 1e-9})
    ((name, ratio),) = evenness("phiml", "rollout")(results(*whole, *part, *other))
    assert name == "burgers, 10 steps, batch 1, 64 to 512 cells per axis"
    assert ratio.value == pytest.approx(2.0)
    assert list(evenness("phiml", "rollout")(results(*rollouts("phiml", {64: 1e-9})))) == []


def test_start_up_is_judged_in_seconds_and_by_what_comes_before_the_step() -> None:
    names = "hyco run burgers, before the first step", "hyco run burgers, after the first step"
    found = results(
        *(timing("phiml", t, group="start-up", name=n) for n, t in zip(names, (2.0, 9.0), strict=True))
    )
    verdict = Verdict.of(BY_NAME["Start-up"], found)
    assert (verdict.word, len(verdict.ratios), verdict.ratios[0][1]) == ("met", 1, Ratio(2.0, 2.0, 2.0))
    assert "2.00 s" in overview([verdict])[-1]


def test_every_target_has_a_name_of_its_own_and_scenarios_to_be_judged_by() -> None:
    from benchmarks.scenarios import SCALES, scenarios

    assert len(BY_NAME) == len(TARGETS)
    every = Results()
    for s in scenarios(SCALES["full"]):
        for mode in ("legacy", "phiml", "phiflow", "eager", "bare"):
            facts = {"line": s.line, "resolution": s.resolution, "cells": 1, "peaks": (1.0,)}
            every.add(timing(mode, 1.0, group=s.group, name=s.name, **facts))
    every.add(timing("legacy", 1.0, group="hybrid cycle", name=CYCLE))
    every.add(timing("phiml", 1.0, group="hybrid cycle", name=CYCLE))
    assert [t.name for t in TARGETS if not list(t.measured(every))] == []


# --------------------------------------------------------------------------------------------------- notes


def test_notes_explain_what_is_missed_and_nothing_else() -> None:
    notes = read_notes("For the writer.\n\n## Memory\n\nImports.\n\n## Simulation\n\nStale.\n")
    assert notes == {"Memory": "Imports.", "Simulation": "Stale."}
    missed = Verdict(BY_NAME["Memory"], (), Ratio(1, 1, 1), "missed")
    met = Verdict(BY_NAME["Simulation"], (), Ratio(1, 1, 1), "met")
    bare = Verdict(BY_NAME["Rollouts"], (), Ratio(1, 1, 1), "met on average only")
    assert explained([missed, met, bare], notes) == [
        "**Memory** (missed). Imports.",
        "**Rollouts** (met on average only). No note in `benchmarks/notes.md`.",
    ]


def test_a_note_about_no_target_is_refused() -> None:
    with pytest.raises(ValueError, match="got 'Memroy'"):
        read_notes("## Memroy\n\ntext\n")
    read_notes(NOTES.read_text(encoding="utf-8"))


# ------------------------------------------------------------------------------------------------ roofline


@pytest.mark.parametrize(
    ("name", "flops", "values"), [("burgers", 128, 4), ("heat", 52, 2), ("advection", 19, 6)]
)
def test_the_least_work_of_a_rollout(name: str, flops: int, values: int) -> None:
    assert flops_per_cell(WORKS[name]) == flops
    cells = 16 * 16 * 3 * 5
    expected = Work(cells, 4 * (values * cells + 16 * 16 * 5), flops * cells)
    assert rollout_work(name, 16, 3, 5) == expected
    assert expected.intensity == expected.flops / expected.bytes


def test_gradients_read_state_target_and_adjoint_on_the_way_back() -> None:
    cells = 16 * 16 * 3 * 5
    found = rollout_work("advection", 16, 3, 5, gradients=True)
    assert found.bytes == 4 * ((6 + 3 + 1 + 2) * cells + 4 * 16 * 16 * 5)
    assert found.flops == 3 * 19 * cells


def test_the_work_is_counted_for_the_components_that_equations_have() -> None:
    for name, work in WORKS.items():
        dynamic = [f for f in EQUATIONS[name].fields if not f.static]
        static = [f for f in EQUATIONS[name].fields if f.static]
        assert work.moved == sum(2 if f.vector else 1 for f in dynamic)
        assert work.static == sum(2 if f.vector else 1 for f in static)


def test_a_roof_is_the_lower_of_bandwidth_and_peak() -> None:
    roof = Roof.of(results(*roofs()))
    assert roof is not None
    assert (roof.memory, roof.cache, roof.compute) == pytest.approx((5e9, 20e9, 100e9))
    assert roof.attainable(2.0) == pytest.approx(10e9)
    assert roof.attainable(2.0, cached=True) == pytest.approx(40e9)
    assert roof.attainable(1e3) == pytest.approx(100e9)
    assert Roof.of(results(*roofs()[1:])) is None


# ---------------------------------------------------------------------------------------------------- page


def session(*timings: Timing, **facts: Any) -> Session:
    """A session with these facts, besides the usual ones."""
    return Session(results(*timings), {**FACTS, **facts})


def test_sessions_are_told_apart_by_threads_and_device() -> None:
    one, two, gpu = session(threads=1), session(threads=2), session(threads=2, device="cuda")
    found = Sessions.of([one, gpu, two])
    assert (found.main, found.single, found.cuda) == (two, one, gpu)
    assert Sessions.of([two]) == Sessions(two)
    with pytest.raises(ValueError, match="a session on the CPU"):
        Sessions.of([gpu])


def test_the_page_says_when_the_machine_was_busy_and_what_first_calls_cost() -> None:
    found = timing("legacy", 1.0, warmup=(1.5,)), timing("phiml", 1.0, warmup=(4.0, 1.0))
    busy = "the machine was busy"
    assert busy in render(Sessions(session(*found)), {}, {})
    assert busy not in render(Sessions(session(*found, load_before=0.4)), {}, {})
    assert preparation(results(*found))[-1] == "| physical fit: 64x64 | 1.5 s | 500 ms | 4 s | 3 s | - | - |"
    quick = timing("legacy", 1.0, warmup=(1.05,)), timing("phiml", 1.0, warmup=(1.0,))
    assert len(preparation(results(*quick))) == 2


def test_threads_are_compared_where_both_sessions_have_a_scenario() -> None:
    one = session(timing("legacy", 4.0), timing("phiml", 2.0), timing("phiml", 1.0, name="other"), threads=1)
    two = session(timing("legacy", 2.5), timing("phiml", 1.0), threads=2)
    table = threads(one, two)[1].splitlines()
    assert len(table) == 3
    assert table[-1].endswith("| 0.50 | 0.40 | 1.60 | 2.00 |")


def test_further_columns_stand_behind_those_of_the_modes() -> None:
    modes = {"legacy": 4.0, "phiml": 1.0, "phiflow": 8.0, "eager": 32.0}
    lines = times(results(*(timing(m, t, group="step") for m, t in modes.items())), "step")
    assert lines[0].endswith("| phiml / legacy | phiflow | phiml / phiflow | eager | eager / phiml |")
    assert lines[-1].endswith("| 0.25 | 8 s (0) | 0.12 | 32 s (0) | 32.00 |")


def test_a_gpu_has_a_section_of_its_own_and_its_targets_are_judged_there() -> None:
    slow = [timing("legacy", 1.0), timing("phiml", 1.0)]
    fast = [timing("legacy", 1.0), timing("phiml", 0.05)]
    gpu = session(*fast, device="cuda", accelerator="a GPU")
    page = render(Sessions(session(*slow), cuda=gpu), {}, {})
    assert "- a GPU" in page.partition("## On CUDA")[2]
    row = next(line for line in page.splitlines() if line.startswith("| On a GPU: rollouts"))
    assert "| 0.05 | 0.05 to 0.05 | 0.05 | 1 of 1 | **met** |" in row
    assert "there was no CUDA device" not in page
    assert "there was no CUDA device" in render(Sessions(session(*slow)), {}, {})


def test_pictures_are_drawn_of_what_there_is(tmp_path: Path) -> None:
    everything = [
        one
        for mode in ("legacy", "phiml", "phiflow")
        for equation in WORKS
        for batch in (1, 4)
        for one in rollouts(mode, {64: 1e-8, 128: 2e-8}, batch=batch, equation=equation)
    ]
    assert draw(results(*everything, *roofs()), tmp_path) == [COST, ROOFLINE]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        f"{name}.{kind}" for name in (COST, ROOFLINE) for kind in ("png", "svg")
    )
    first = (tmp_path / f"{COST}.svg").read_bytes()
    draw(results(*everything), tmp_path)
    assert (tmp_path / f"{COST}.svg").read_bytes() == first
    assert draw(results(*rollouts("phiml", {64: 1e-8}), *roofs()), tmp_path, "-cuda") == [f"{ROOFLINE}-cuda"]
    assert draw(results(timing("phiml", 1.0)), tmp_path) == []
