"""The tables of the page, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from benchmarks.results import Results, Timing, seconds, time_ratio
from benchmarks.roofline import ROOFS, Roof, bandwidth, speed
from benchmarks.scenarios import EAGER, MACHINE, MODES, PHIFLOW
from benchmarks.sessions import Session
from benchmarks.wording import THREADS

WORTH_TELLING = 0.1  # seconds


def groups(results: Results) -> list[str]:
    """The tables of all groups."""
    parts = []
    for group in results.groups():
        if group != ROOFS:
            parts += [f"### {group.capitalize()}", "\n".join(times(results, group))]
    return parts


def times(results: Results, group: str) -> list[str]:
    """The table of one group."""
    rows = list(results.of(group))
    extra = list(dict.fromkeys(mode for _, modes in rows for mode in modes if mode not in MODES))
    ratios = [("eager", "phiml") if mode == EAGER else ("phiml", mode) for mode in extra]
    head = ["scenario", *MODES, "phiml / legacy"]
    for mode, pair in zip(extra, ratios, strict=True):
        head += [mode, " / ".join(pair)]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    for name, modes in rows:
        cells = [name, *(_time(modes.get(mode)) for mode in MODES), _ratio(modes, "phiml", "legacy")]
        for mode, pair in zip(extra, ratios, strict=True):
            cells += [_time(modes.get(mode)), _ratio(modes, *pair)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def roofline(results: Results) -> list[list[str]]:
    """What the machine does, and what every mode achieves of it."""
    roof = Roof.of(results)
    if roof is None:
        return []
    lines = ["| the machine | |", "|---|--:|"]
    for name, modes in results.of(ROOFS):
        timing = modes[MACHINE]
        value = bandwidth(timing) if timing.flops <= timing.bytes else speed(timing)
        unit = "GB/s" if timing.flops <= timing.bytes else "Gflop/s"
        lines.append(f"| {name} | {value / 1e9:.3g} {unit} |")
    modes_shown = (*MODES, PHIFLOW)
    head = [
        "scenario",
        "flop/byte",
        *(f"{m}, GB/s" for m in modes_shown),
        "phiml, Gflop/s",
        "phiml, of the memory's",
    ]
    table = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    for group in results.groups():
        for name, modes in results.of(group):
            if "phiml" not in modes or not modes["phiml"].cells:
                continue
            timing = modes["phiml"]
            rates = [f"{bandwidth(modes[m]) / 1e9:.3g}" if m in modes else "-" for m in modes_shown]
            share = 100 * bandwidth(timing) / roof.memory
            cells = [f"{group}: {name}", f"{timing.flops / timing.bytes:.2g}", *rates]
            table.append("| " + " | ".join([*cells, f"{speed(timing) / 1e9:.3g}", f"{share:.0f} %"]) + " |")
    return [lines, table]


def threads(one: Session, many: Session) -> list[str]:
    """Key scenarios with one thread and with all of them."""
    few, all_of = one.facts["threads"], many.facts["threads"]
    names = [f"{n} thread" + ("s" if n > 1 else "") for n in (few, all_of)]
    head = ["scenario", *(f"{mode}, {name}" for mode in MODES for name in names)]
    head += [f"phiml / legacy, {name}" for name in names] + [f"{mode}, speedup" for mode in MODES]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    for (group, name), single in one.results.timings.items():
        full = many.results.timings.get((group, name), {})
        if not all(mode in found for mode in MODES for found in (single, full)):
            continue
        cells = [_time(found[mode]) for mode in MODES for found in (single, full)]
        cells += [_ratio(found, "phiml", "legacy") for found in (single, full)]
        cells += [f"{single[mode].median / full[mode].median:.2f}" for mode in MODES]
        lines.append(f"| {group}: {name} | " + " | ".join(cells) + " |")
    return [THREADS.format(one=names[0], many=names[1]), "\n".join(lines)]


def memory(results: Results) -> list[str]:
    """Peaks of whole training runs, each in a process of its own."""
    head = ["scenario", "mode", "after imports", "peak", "peak beyond imports", "evaluations of the fits"]
    lines = ["| " + " | ".join(head) + " |", "|---|---" + "|--:" * (len(head) - 2) + "|"]
    for name, modes in results.of("training run"):
        for mode, timing in modes.items():
            if timing.peaks:
                start, peak = median(timing.imports), median(timing.peaks)
                lines.append(
                    f"| {name} | {mode} | {start:.0f} MiB | {peak:.0f} MiB | {peak - start:.0f} MiB "
                    f"| {timing.evaluations} |"
                )
    return lines


def preparation(results: Results) -> list[str]:
    """First calls, and what warming up cost, by scenario."""
    shown = (*MODES, PHIFLOW)
    head = ["scenario", *(f"{mode}, {what}" for mode in shown for what in ("first call", "warming up"))]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    for group in results.groups():
        for name, modes in results.of(group):
            found = {mode: modes[mode] for mode in shown if mode in modes and modes[mode].warmup}
            costs = [c for t in found.values() for c in (t.warmup[0] - t.median, t.preparation)]
            if group not in ("import", "start-up") and max(costs, default=0.0) >= WORTH_TELLING:
                cells = [
                    f"{seconds(found[m].warmup[0])} | {seconds(found[m].preparation)}"
                    if m in found
                    else "- | -"
                    for m in shown
                ]
                lines.append(f"| {group}: {name} | " + " | ".join(cells) + " |")
    return lines


def _time(timing: Timing | None) -> str:
    if timing is None:
        return "-"
    return f"{seconds(timing.median)} ({seconds(timing.q3 - timing.q1)})"


def _ratio(modes: Mapping[str, Timing], numerator: str, denominator: str) -> str:
    ratio = time_ratio(modes, numerator, denominator)
    return "-" if ratio is None else f"{ratio.value:.2f}"
