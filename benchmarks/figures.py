"""The pictures of the page: cost of a cell over the size of the grid, and rooflines."""

from __future__ import annotations

from collections.abc import Iterator
from math import atan2, degrees
from pathlib import Path
from typing import Any

from benchmarks.results import Results, Timing
from benchmarks.roofline import EQUATIONS, Roof, bandwidth, speed
from benchmarks.scenarios import MODES, PHIFLOW

COST, ROOFLINE = "benchmarks-cost-of-a-cell", "benchmarks-roofline"
FORMATS = ("svg", "png")
COLOURS = {"legacy": "#d55e00", "phiml": "#0072b2", PHIFLOW: "#009e73"}
NAMES = {"legacy": "legacy (PyTorch)", "phiml": "phiml (fused)", PHIFLOW: "PhiFlow, compiled"}
BATCHES = (("-", "o"), ("--", "s"), ("-.", "D"), (":", "^"))  # line and marker, from the smallest on
SHAPES = {"burgers": "o", "heat": "s", "advection": "^"}
GREY = "#555555"
EDGE = {"markeredgecolor": "white", "markeredgewidth": 0.4}
STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.color": "#e6e6e6",
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "legend.frameon": False,
    "svg.hashsalt": "hyco",  # the same picture from the same numbers, byte by byte
}


def draw(results: Results, folder: Path, suffix: str = "") -> list[str]:
    """Write the pictures that the results allow, and return their names."""
    import matplotlib as mpl

    drawn = []
    with mpl.rc_context(STYLE):
        for name, make in ((COST, cost_of_a_cell), (ROOFLINE, rooflines)):
            figure = make(results)
            if figure is not None:
                folder.mkdir(parents=True, exist_ok=True)
                for kind in FORMATS:
                    metadata = {"Date": None} if kind == "svg" else {"Software": None}
                    figure.savefig(folder / f"{name}{suffix}.{kind}", dpi=200, metadata=metadata)
                drawn.append(f"{name}{suffix}")
    return drawn


def cost_of_a_cell(results: Results) -> Any:
    """Nanoseconds per cell and step over cells per axis, by equation; None without several grids."""
    timings = list(_of(results, "rollout"))
    if len({t.resolution for _, _, t in timings}) < 2:
        return None
    figure, axes = _figure(len(EQUATIONS), 2.75, sharey=True)
    batches = sorted({_batch(t) for _, _, t in timings})
    for panel, equation in zip(axes, EQUATIONS, strict=True):
        for mode, colour in COLOURS.items():
            for (dashes, marker), batch in zip(BATCHES, batches, strict=False):
                found = [t for e, m, t in timings if (e, m, _batch(t)) == (equation, mode, batch)]
                _curve(panel, found, colour, dashes, marker)
        panel.set(xscale="log", yscale="log", title=equation, xlabel="cells per axis")
        _label_sizes(panel, {t.resolution for _, _, t in timings})
        _plain_numbers(panel)
    axes[0].set_ylabel("time per cell and step [ns]")
    handles = [_handle(c, "-", "", NAMES[m]) for m, c in COLOURS.items()]
    handles += [_handle(GREY, d, m, f"batch {b}") for (d, m), b in zip(BATCHES, batches, strict=False)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def rooflines(results: Results) -> Any:
    """Operations per second over operations per byte, and bytes per second over the size of the grid."""
    roof = Roof.of(results)
    timings = {group: list(_of(results, group)) for group in ("rollout", "forward and backward")}
    if roof is None or not timings["rollout"]:
        return None
    figure, axes = _figure(3, 3.0)
    batches = sorted({_batch(t) for _, _, t in timings["rollout"]})
    batch = batches[min(1, len(batches) - 1)]  # which all of them have on every grid
    titles = (f"rollouts, batch {batch}", f"loss and gradient, batch {batch}")
    for panel, (found, title) in zip(axes, zip(timings.values(), titles, strict=True), strict=False):
        _roofs(panel, roof)
        sizes = sorted({t.resolution for _, _, t in found})
        shown = (row for row in found if _batch(row[2]) == batch)
        for equation, mode, timing in sorted(shown, key=lambda row: -row[2].resolution):  # small ones on top
            area = 9.0 * (1 + sizes.index(timing.resolution))
            panel.scatter(
                timing.flops / timing.bytes, speed(timing) / 1e9, s=area, marker=SHAPES[equation],
                color=COLOURS[mode], edgecolor="white", linewidth=0.4, zorder=3,
            )  # fmt: skip
        panel.set(title=title, xlabel="least operations per byte", ylim=(0.05, 3e-9 * roof.compute))
        _plain_numbers(panel)
    axes[0].set_ylabel("achieved [Gflop/s]")
    _bandwidths(axes[2], timings["rollout"], roof, batch)
    handles = [_handle(c, "-", "", NAMES[m]) for m, c in COLOURS.items()]
    handles += [_handle(GREY, "", s, e) for e, s in SHAPES.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _bandwidths(panel: Any, timings: list[tuple[str, str, Timing]], roof: Roof, batch: int) -> None:
    """Of every equation, over the size of the grid."""
    for equation, shape in SHAPES.items():
        for mode, colour in COLOURS.items():
            found = sorted(
                (t.resolution, bandwidth(t) / 1e9)
                for e, m, t in timings
                if (e, m, _batch(t)) == (equation, mode, batch)
            )
            xs, ys = zip(*found, strict=True) if found else ((), ())
            panel.plot(xs, ys, color=colour, marker=shape, **EDGE)
    for height, dashes, text in ((roof.memory, "-", "memory"), (roof.cache, "--", "cache")):
        panel.axhline(height / 1e9, color=GREY, linestyle=dashes, linewidth=0.8)
        panel.annotate(
            f"{text}, {height / 1e9:.0f} GB/s", (0.02, height / 1e9), xycoords=("axes fraction", "data"),
            xytext=(0, 2), textcoords="offset points", fontsize=6.5, color=GREY,
        )  # fmt: skip
    panel.set(
        xscale="log", yscale="log", title=f"rollouts, batch {batch}", xlabel="cells per axis",
        ylabel="achieved [GB/s]", ylim=(None, 2.5e-9 * roof.cache),
    )  # fmt: skip
    _label_sizes(panel, {t.resolution for _, _, t in timings})
    _plain_numbers(panel)


def _roofs(panel: Any, roof: Roof) -> None:
    """Both bandwidths up to the peak, with their names along them."""
    low, high = 0.3, 30.0
    for speed_of, cached, dashes, text in (
        (roof.memory, False, "-", "memory"), (roof.cache, True, "--", "cache"),
    ):  # fmt: skip
        knee = roof.compute / speed_of
        xs = sorted({low, min(max(knee, low), high), high})
        panel.plot(
            xs, [roof.attainable(x, cached=cached) / 1e9 for x in xs],
            color=GREY, linestyle=dashes, linewidth=0.8, zorder=1,
        )  # fmt: skip
        at = low * 1.1
        height = roof.attainable(at, cached=cached) / 1e9
        panel.text(
            at, 1.15 * height, text, fontsize=6.5, color=GREY, va="bottom", rotation_mode="anchor",
            rotation=degrees(atan2(height, at)), transform_rotates_text=True,
        )  # fmt: skip
    panel.annotate(
        f"matrix product, {roof.compute / 1e9:.0f} Gflop/s", (high, roof.compute / 1e9), xytext=(0, 3),
        textcoords="offset points", fontsize=6.5, color=GREY, ha="right",
    )  # fmt: skip
    panel.set(xscale="log", yscale="log", xlim=(low, high))


def _of(results: Results, group: str) -> Iterator[tuple[str, str, Timing]]:
    """(equation, mode, timing) of a group."""
    for name, modes in results.of(group):
        for mode, timing in modes.items():
            if timing.cells and mode in (*MODES, PHIFLOW):
                yield name.split(",")[0], mode, timing


def _batch(timing: Timing) -> int:
    return int(timing.line.rpartition("batch ")[2])


def _curve(panel: Any, timings: list[Timing], colour: str, dashes: str, marker: str) -> None:
    if not timings:
        return
    found = sorted(timings, key=lambda t: t.resolution)
    costs = [(1e9 * t.q1 / t.cells, 1e9 * t.median / t.cells, 1e9 * t.q3 / t.cells) for t in found]
    spread = [[mid - low for low, mid, _ in costs], [high - mid for _, mid, high in costs]]
    panel.errorbar(
        [t.resolution for t in found], [mid for _, mid, _ in costs], yerr=spread,
        color=colour, linestyle=dashes, marker=marker, elinewidth=0.6, **EDGE,
    )  # fmt: skip


def _figure(columns: int, height: float, **more: Any) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, height), layout="constrained")
    return figure, figure.subplots(1, columns, **more)


def _handle(colour: str, dashes: str, marker: str, label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, linestyle=dashes, marker=marker, label=label)


def _label_sizes(panel: Any, sizes: set[int]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    panel.xaxis.set_major_locator(FixedLocator(sorted(sizes)))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")


def _plain_numbers(panel: Any) -> None:
    """0.1, 1, 10 for powers of ten, upwards, and to the right where the sizes do not stand."""
    for axis in (panel.xaxis, panel.yaxis):
        if axis.get_scale() == "log" and axis.get_major_locator().__class__.__name__ == "LogLocator":
            axis.set_major_formatter(lambda value, _: f"{value:g}")
