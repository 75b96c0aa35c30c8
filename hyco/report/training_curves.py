"""How the training went: losses, what steered them, and what befell them, by epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hyco.report.evaluation import MODELS
from hyco.report.plots import LINES, SOFT, figure
from hyco.report.records import Course, Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

# what a row below the losses is about: the label of its axis, and what draws it
Row = tuple[str, Callable[["Axes", Course], None]]
UNITS = {"synthetic": "epoch", "physical": "solve of the inverse problem"}
TERMS = {  # of the loss of a solve
    "real_loss": ("real data", "#009E73", (0, (1, 1))),
    "interaction_loss": ("generated data", "#CC79A7", (0, (3, 1, 1, 1))),
    "regularisation": ("regularisation", "#7A7A7A", (0, (5, 2))),
}
FEW = 30  # epochs that are marked one by one
NAMED = 6  # cycles that are named; where there are more, only their numbers stand above the panel


def draw_training(
    records: Sequence[Record],
    path: Path,
    *,
    dpi: int,
    errors: Mapping[str, Mapping[str, Sequence[Any]]] | None = None,
) -> None:
    """Write losses, schedules and events of each trained model; warm-up and cycles are marked.

    `errors`: by parameter, `solves` and the `relative_l2` error after them.
    """
    courses = [c for c in (Course(records, m) for m in MODELS) if c]
    rows = [_rows(course, errors or {}) for course in courses]
    height = 4.2 + 1.15 * max(len(r) for r in rows)
    with figure(path, width=5.0 * len(courses), height=height, dpi=dpi) as drawn:
        parts = drawn.subfigures(1, len(courses), squeeze=False)[0]
        for part, course, below in zip(parts, courses, rows, strict=True):
            _draw(part, course, below)


def _draw(part: SubFigure, course: Course, rows: Sequence[Row]) -> None:
    panels = part.subplots(
        1 + len(rows), 1, sharex=True, squeeze=False, height_ratios=[2.6] + [1] * len(rows)
    )
    first, *others = panels[:, 0]
    _losses(first, course)
    for panel, (label, draw) in zip(others, rows, strict=True):
        draw(panel, course)
        panel.set_ylabel(label)
    for panel in panels[:, 0]:
        _mark_stages(panel, course, named=panel is first)
        panel.grid(alpha=0.25)
    _events(first, course)
    first.set_xlim(0.5, course.last + 0.5)
    last = panels[-1, 0]
    last.locator_params(axis="x", integer=True)
    last.set_xlabel(UNITS[course.model])
    first.set_title(MODELS[course.model], pad=20)
    part.align_ylabels(panels[:, 0])
    handles, labels = first.get_legend_handles_labels()
    part.legend(handles, labels, loc="outside lower center", ncols=3)


def _losses(panel: Axes, course: Course) -> None:
    """Training and validation loss; of a solve, the loss that it began with and the terms of the last one."""
    x, style = course.number, LINES[course.model]
    markers: dict[str, Any] = {"marker": "o", "markersize": 4.5} if len(x) <= FEW else {}
    train, validation, initial = (course.column(f"{k}_loss") for k in ("train", "validation", "initial"))
    if course.has("initial_loss"):
        panel.vlines(x, train, initial, color=style["color"], linewidth=0.9, alpha=0.6)
        panel.plot(x, initial, "o", color=style["color"], markerfacecolor="white", label="before the solve")
    panel.plot(x, train, color=style["color"], linewidth=1.8, label="training", **markers)
    if course.has("validation_loss"):
        panel.plot(x, validation, color="#000000", linestyle=(0, (4, 1.5)), linewidth=1.4,
                   label="validation", **markers)  # fmt: skip
    for key, (name, colour, dashes) in TERMS.items():
        values = course.column(key)
        if course.has("interaction_loss") and np.nanmax([*values, 0.0]) > 0:
            panel.plot(x, values, color=colour, linestyle=dashes, linewidth=1.4, label=name, **markers)
    if np.nanmax([*train, *validation, *initial, 0.0]) > 0:
        panel.set_yscale("log", nonpositive="mask")
    panel.set_ylabel("loss (mean squared error)")


def _events(panel: Axes, course: Course) -> None:
    """Early stops, solves that diverged and reversions, as marks along the top of the panel."""
    place: dict[str, Any] = {"transform": panel.get_xaxis_transform(), "linestyle": "none", "clip_on": False}
    black: dict[str, Any] = {"color": "#000000", "markersize": 7, "zorder": 5, **place}
    for epochs, marker, name in (
        (course.stopped_early, "|", "stopped early"),
        (course.diverged, "x", "diverged"),
        (course.reverted, "<", "reverted"),
    ):
        if epochs.size:
            panel.plot(
                epochs, np.full(len(epochs), 0.955), marker=marker, markeredgewidth=1.8, label=name, **black
            )


def _rows(course: Course, errors: Mapping[str, Mapping[str, Sequence[Any]]]) -> list[Row]:
    """The panels below the losses: those with something to tell."""
    rows: list[Row] = []
    if course.has("learning_rate"):
        rows.append(("learning\nrate", lambda p, c: _steps(p, c, "learning_rate", logarithmic=True)))
    if course.varies("rollout_steps"):
        rows.append(("frames of\na window", lambda p, c: _steps(p, c, "rollout_steps", integer=True)))
    if course.has("gradient_norm"):
        rows.append(("gradient\nnorm", lambda p, c: _steps(p, c, "gradient_norm", logarithmic=True)))
    if course.varies("interaction_scale"):
        rows.append(
            ("weight of\ninteraction", lambda p, c: _steps(p, c, "interaction_scale", logarithmic=True))
        )
    if course.has("generated_windows") and np.nanmax(course.column("generated_windows")) > 0:
        rows.append(("generated\nwindows", lambda p, c: _bars(p, c, "generated_windows")))
    if course.has("attempts") and (np.nanmax(course.column("attempts")) > 1 or course.diverged.size):
        rows.append(("attempts", _attempts))
    if course.model == "physical" and any(e["solves"] for e in errors.values()):
        rows.append(("parameter\nerror", lambda p, c: _parameter_errors(p, c, errors)))
    return rows


def _steps(
    panel: Axes, course: Course, key: str, *, logarithmic: bool = False, integer: bool = False
) -> None:
    """A setting that holds for an epoch."""
    values = course.column(key)
    panel.step(course.number, values, where="mid", color=LINES[course.model]["color"], linewidth=1.6)
    positive = values[np.isfinite(values) & (values > 0)]
    if logarithmic and positive.size and positive.max() > 10 * positive.min():
        panel.set_yscale("log", nonpositive="mask")
    else:
        panel.set_ylim(0, 1.15 * np.nanmax([*values, 1e-30]))
    if integer:
        panel.locator_params(axis="y", integer=True, nbins=4)


def _bars(panel: Axes, course: Course, key: str) -> None:
    """A number per epoch, as bars; as an area where they are many."""
    values = np.nan_to_num(course.column(key))
    colour = LINES[course.model]["color"]
    if len(values) <= FEW:
        panel.bar(course.number, values, width=0.7, color=colour, alpha=0.75)
    else:
        panel.fill_between(course.number, values, step="mid", color=colour, alpha=0.6, linewidth=0)
    panel.set_ylim(0, 1.15 * max(values.max(), 1))
    panel.locator_params(axis="y", integer=True, nbins=4)


def _attempts(panel: Axes, course: Course) -> None:
    """How often a solve was tried; what failed is drawn in orange, hatched."""
    attempts = np.nan_to_num(course.column("attempts"))
    failed = np.where(np.isin(course.number, course.diverged), attempts, np.maximum(attempts - 1, 0))
    panel.bar(
        course.number, attempts - failed, width=0.7, bottom=failed, color="#0072B2", alpha=0.75, label="kept"
    )
    panel.bar(
        course.number, failed, width=0.7, color="#E69F00", hatch="////", edgecolor="white", label="diverged"
    )
    panel.set_ylim(0, 1.75 * max(attempts.max(), 1))
    panel.locator_params(axis="y", integer=True, nbins=4)
    panel.legend(loc="upper center", ncols=2, fontsize=8, borderaxespad=0.2)


def _parameter_errors(panel: Axes, course: Course, errors: Mapping[str, Mapping[str, Sequence[Any]]]) -> None:
    """The relative L2 error of every parameter after each solve that was kept; 0 is the initial guess."""
    for number, (name, error) in enumerate(errors.items()):
        values = np.array(error["relative_l2"], np.float64)
        style = ["-", (0, (4, 1.5)), (0, (1, 1.2)), "-."][number % 4]
        colour = ["#D55E00", "#0072B2", "#009E73", "#CC79A7"][number % 4]
        marker: dict[str, Any] = {"marker": "o", "markersize": 4} if len(values) <= FEW else {}
        panel.plot(
            error["solves"], values, color=colour, linestyle=style, label=name.replace("_", " "), **marker
        )
        if np.nanmax([*values, 0.0]) > 10 * np.nanmin([*values[values > 0], np.inf]):
            panel.set_yscale("log", nonpositive="mask")
    panel.legend(loc="best", fontsize=8, borderaxespad=0.2)


def _mark_stages(panel: Axes, course: Course, *, named: bool) -> None:
    """Shade the warm-up, draw a line where a cycle begins, and name both above the panel."""
    stages = course.stages
    crowded = len(stages) > NAMED
    place: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 8.5, "color": SOFT,
                             "transform": panel.get_xaxis_transform()}  # fmt: skip
    every = -(-len(stages) // 14)
    for number, stage in enumerate(stages):
        if stage.name != "cycle":
            label = "warm-up" if crowded and number == 0 else None
            span = stage.start - 0.5, stage.end + 0.5
            panel.axvspan(*span, color="#000000", alpha=0.07, linewidth=0, label=label)
        if number:
            label = "a cycle begins" if crowded and number == 1 else None
            panel.axvline(stage.start - 0.5, color="#7A7A7A", linestyle=":", linewidth=1.0, label=label)
        text = f"cycle {stage.cycle}" if stage.name == "cycle" else "warm-up"
        if crowded:
            text = str(stage.cycle) if stage.name == "cycle" and number % every == 0 else ""
        if named and text:
            panel.text((stage.start + stage.end) / 2, 1.02, text, **place)
