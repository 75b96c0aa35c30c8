"""The page about a comparison: verdicts, tables and figures, from the plain data of `compare.json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyco.report.comparison_figures import draw_costs, draw_curves, draw_differences
from hyco.report.gallery import Picture
from hyco.report.page import render
from hyco.report.tables import Table
from hyco.storage.atomic import write_json, write_text

Data = Mapping[str, Any]
HEADS = ("compared", "quantity", "worst difference", "relative", "allowed", "of allowed", "verdict", "where")
TIME_HEADS = ("call", "ratio", "calls")
EPOCH_HEADS = ("model", "epoch")
NUMBERS = {"worst difference", "relative", "allowed", "of allowed", "ratio", "calls", "epoch", "difference"}
DPI = 160


@dataclass(frozen=True)
class Card:
    """A headline of the page."""

    what: str
    value: str
    against: str
    bad: bool = False


def write_comparison(data: Data, folder: Path) -> Path:
    """Write compare.json, figures/*.png and compare.html; returns the path of the page.

    Raises StorageError when a file cannot be written.
    """
    write_json(folder / "compare.json", dict(data))
    tables = [t for s in data["sections"] for t in section_tables(s, data["names"])]
    tables += [t for t in (cost_table(data), curve_table(data)) if t.rows]
    text = render(
        "comparison.html",
        title=data["title"],
        names=data["names"],
        precision=data["precision"],
        headlines=_headlines(data),
        galleries=[("Figures", _figures(data, folder / "figures"))],
        tables=tables,
        numbers=NUMBERS | set(data["names"]),
        classes={"where": " place"},
        notes=data["notes"],
        facts=list(_pairs(data["facts"])),
        config_yaml="",
    )
    page = folder / "compare.html"
    write_text(page, text)
    return page


def section_tables(section: Data, names: Sequence[str]) -> list[Table]:
    """The differences of one component, and its times."""
    sides = f": {section['sides'][0]} and {section['sides'][1]}" if section["sides"][0] else ""
    which = f" ({section['implementation']})" if section["implementation"] not in ("", "default") else ""
    title = f"{section['name']}{which}{sides}"
    rows = [finding_row(f) for f in section["findings"]]
    made = [Table(title, HEADS, rows, section["note"])]
    if section["timings"]:
        heads = (TIME_HEADS[0], *names, *TIME_HEADS[1:])
        made.append(Table(f"{section['name']}: times", heads, [_time_row(t) for t in section["timings"]]))
    return made


def finding_row(finding: Data) -> list[str]:
    """The cells of one difference, in the order of `HEADS`."""
    share = finding["share"]
    return [
        finding["what"],
        finding["quantity"],
        _small(finding["error"]),
        _small(finding["relative"]),
        "" if finding["allowed"] is None else _small(finding["allowed"]),
        "" if finding["allowed"] is None else "beyond" if share is None else _small(share),
        finding["verdict"],
        finding["place"],
    ]


def cost_table(data: Data) -> Table:
    """Time and memory of a whole training in a process of its own."""
    rows = []
    costs = data["costs"]
    if costs:
        for key, what, unit in COSTS:
            a, b = costs["reference"][key], costs["candidate"][key]
            rows.append([what, f"{a:.3g} {unit}", f"{b:.3g} {unit}", f"{b / a:.2f}"])
    return Table("A whole training, in a process of its own", ("", *data["names"], "ratio"), rows, COST_NOTE)


COSTS = (
    ("seconds", "time, compilation included", "s"),
    ("memory_mb", "peak memory of the process", "MiB"),
    ("imports_mb", "of it before the training: interpreter and packages", "MiB"),
)
COST_NOTE = (
    "Peak memory is the most that the process held in the memory of the machine, by the kernel's mark; that "
    "of a GPU is not in it."
)


def curve_table(data: Data) -> Table:
    """The losses of every epoch, side by side."""
    rows = []
    for model, pair in data["curves"].items():
        for a, b in zip(pair["reference"], pair["candidate"], strict=False):
            key = "validation_loss" if a.get("validation_loss") is not None else "train_loss"
            x, y = a.get(key), b.get(key)
            if x is not None and y is not None:
                apart = abs(y - x) / abs(x) if x else abs(y)
                rows.append([model, str(a["epoch"]), f"{x:.6e}", f"{y:.6e}", _small(apart)])
    heads = (*EPOCH_HEADS, *data["names"], "difference")
    return Table("Losses, epoch by epoch", heads, rows, "Validation loss where there is one.")


def verdict_line(data: Data) -> str:
    """The whole result in one line."""
    findings = [f for s in data["sections"] for f in s["findings"]]
    judged = [f for f in findings if f["verdict"] != "shown"]
    failed = [s["name"] for s in data["sections"] if not s["passed"]]
    names = f"{data['names'][0]} and {data['names'][1]}"
    shown = len(findings) - len(judged)
    rest = f"; {shown} more are shown, not judged" if shown else ""
    if not failed:
        return f"{names}: the same, all {len(judged)} judged quantities are within their tolerances{rest}"
    count = sum(f["verdict"] == "FAIL" for f in judged)
    first = f"; look at {failed[0]} first" if len(data["sections"]) > 1 else ""
    return (
        f"{names}: NOT the same, {count} of {len(judged)} judged quantities are outside their tolerances, in "
        f"{', '.join(failed)}{first}{rest}"
    )


def _headlines(data: Data) -> list[Card]:
    findings = [f for s in data["sections"] for f in s["findings"]]
    judged = [f for f in findings if f["verdict"] != "shown"]
    failed = sum(f["verdict"] == "FAIL" for f in judged)
    value = f"{failed} of {len(judged)} differ" if failed else f"all {len(judged)} agree"
    cards = [
        Card("Quantities", value, f"{len(findings) - len(judged)} more are shown, not judged", failed > 0)
    ]
    shares = [f for f in judged if f["share"] is not None]
    if shares:
        worst = max(shares, key=lambda f: f["share"])
        against = f"of what is allowed: {worst['what']}, {worst['quantity']}"
        cards.append(Card("Worst difference", _small(worst["share"]), against, worst["share"] > 1))
    if data["costs"]:
        a, b = data["costs"]["reference"], data["costs"]["candidate"]
        for key, what, unit in COSTS[:2]:
            said = f"times {data['names'][0]}: {b[key]:.3g} {unit} and {a[key]:.3g} {unit}"
            cards.append(Card(f"{what[0].upper()}{what[1:]}".split(",")[0], f"{b[key] / a[key]:.2f}", said))
    return cards


def _figures(data: Data, folder: Path) -> list[Picture]:
    made = []
    if any(f["share"] is not None for s in data["sections"] for f in s["findings"]):
        path = folder / "differences.png"
        draw_differences(data, path, dpi=DPI)
        caption = (
            "Every judged quantity: its worst difference in units of what is allowed. Open markers at the "
            "left edge: not a bit differs."
        )
        made.append(Picture(path, caption, "Differences in units of their tolerances, by component"))
    if data["curves"]:
        path = folder / "curves.png"
        draw_curves(data, path, dpi=DPI)
        caption = "Losses of both trainings over each other, and below how far they are apart."
        made.append(Picture(path, caption, "Loss curves of both trainings, and their difference"))
    if data["costs"] or any(s["timings"] for s in data["sections"]):
        path = folder / "costs.png"
        draw_costs(data, path, dpi=DPI)
        caption = (
            f"Time and memory of {data['names'][1]} in units of {data['names'][0]}'s; left of the line it "
            "takes less."
        )
        made.append(Picture(path, caption, "Ratios of times and of memory"))
    return made


def _time_row(timing: Data) -> list[str]:
    a, b = timing["medians"]
    return [timing["call"], _time(a), _time(b), f"{timing['ratio']:.2f}", str(len(timing["reference"]))]


def _time(seconds: float) -> str:
    """`3.2 ms`."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def _small(value: float | None) -> str:
    """Two digits, in powers of ten; what is not finite has none."""
    return "not finite" if value is None else "0" if value == 0 else f"{value:.1e}"


def _pairs(mapping: Data, prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _pairs(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)
