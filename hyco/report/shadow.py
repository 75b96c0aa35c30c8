"""What shadow mode found, as lines for the end of a run and as rows of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEADS = ("component", "call", "mode", "compared", "mismatches", "failures", "worst / allowed", "of", "where",
         "speed ratio", "given up")  # fmt: skip


def shadow_lines(summary: Mapping[str, Any]) -> list[str]:
    """One line about all comparisons, and one for every kind of call."""
    made = [
        f"shadow mode: {summary['compared']} calls compared, {summary['mismatches']} mismatches, "
        f"{summary['failures']} failures; {_overhead(summary)}"
    ]
    for call in summary["calls"]:
        worst, ratio = call["worst"], call["speed_ratio"]
        made.append(
            f"shadow mode: {call['component']}.{call['call']}: {call['compared']} compared, "
            f"{call['mismatches']} mismatches, {call['failures']} failures"
            + (f", {_at_worst(worst)}" if worst else "")
            + (f", the other mode {ratio:.2g} times as fast" if ratio else "")
            + (f", given up: {call['given_up']}" if call["given_up"] else "")
        )
    return made


def shadow_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """A row of the report's table for every kind of call."""
    rows = []
    for call in summary["calls"]:
        worst, ratio = call["worst"] or {}, call["speed_ratio"]
        counts = [str(call[key]) for key in ("compared", "mismatches", "failures")]
        rows.append([
            call["component"], call["call"], call["control"], *counts, _share(worst) if worst else "",
            worst.get("quantity") or "", worst.get("place") or "",
            f"{ratio:.2g}" if ratio else "", call["given_up"] or "",
        ])  # fmt: skip
    return rows


def shadow_note(summary: Mapping[str, Any]) -> str:
    """What the columns mean, and what comparing took."""
    return (
        f"Compared with the other mode: of each kind the first call, and one of every {summary['every']}. "
        "Mode: of the component that did the work. Speed ratio: its median time over that of the other mode, "
        f"which is the faster one where this is above 1. Until this page was written {_overhead(summary)}."
    )


def _overhead(summary: Mapping[str, Any]) -> str:
    seconds, share = summary["overhead_seconds"], summary["overhead_per_cent"]
    return f"comparing took {seconds:.3g} s, {share:.3g} % of what the rest of the run took"


def _share(worst: Mapping[str, Any]) -> str:
    return "more" if worst["share"] is None else f"{worst['share']:.2g}"


def _at_worst(worst: Mapping[str, Any]) -> str:
    if not worst["quantity"]:
        return f"not comparable: {worst['place']}"
    if worst["share"] == 0:
        return "no difference"
    share = "more than" if worst["share"] is None else f"{worst['share']:.2g} of"
    return f"at worst {share} what is allowed ({worst['quantity']} at {worst['place']})"
