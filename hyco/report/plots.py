"""What all pictures share: style, colours, scales, labels, and how a field is drawn.

matplotlib is imported inside the functions, and only its object-oriented side is used, so that drawing
needs no display and leaves no figures behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid
from hyco.report.evaluation import Evaluation, ParameterResult
from hyco.storage.atomic import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart with any colour vision, and by line style without colour
LINES: dict[str, dict[str, Any]] = {
    "truth": {"color": "#000000", "linestyle": "-", "linewidth": 1.8},
    "synthetic": {"color": "#0072B2", "linestyle": "-", "linewidth": 1.8},
    "physical": {"color": "#D55E00", "linestyle": (0, (5, 1.5)), "linewidth": 1.8},
    "baseline": {"color": "#7A7A7A", "linestyle": (0, (1, 1.2)), "linewidth": 1.8},
}
SOFT = "#5A5A5A"  # of notes and of what stands in the background
DIVERGING, SEQUENTIAL, ERROR = "RdBu_r", "viridis", "magma_r"
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10.0,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "figure.titlesize": 11.5,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "image.origin": "lower",
    "image.interpolation": "nearest",
    "text.usetex": False,
}


@contextmanager
def figure(path: Path, *, width: float, height: float, dpi: int) -> Iterator[Figure]:
    """A new figure (sizes in inches) that is written to `path` as a PNG when the block ends."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        drawn = Figure(figsize=(width, height), layout="constrained")
        yield drawn
        with atomic_write(path) as temporary:
            drawn.savefig(temporary, format="png", dpi=dpi)


@dataclass(frozen=True)
class Scale:
    """The name, the unit, the limits and the colours by which all pictures of one quantity are read."""

    name: str
    unit: str
    low: float
    high: float
    colours: str

    @classmethod
    def of_state(cls, evaluation: Evaluation, component: str, truth: NDArray[np.floating]) -> Scale:
        """The scale of a component: centred on zero for vectors and for what has both signs."""
        low, high = float(truth.min()), float(truth.max())
        spec = next(f for f in evaluation.layout.fields if component in f.components(evaluation.layout.axes))
        unit = evaluation.unit(spec.unit)
        if spec.vector or (low < 0 < high):
            reach = max(-low, high) or 1.0
            return cls(component, unit, -reach, reach, DIVERGING)
        return cls(component, unit, *_apart(low, high), SEQUENTIAL)

    @classmethod
    def of_parameter(cls, evaluation: Evaluation, result: ParameterResult) -> Scale:
        """The scale of a coefficient: what the truth spans (and the initial guess, if that is constant)."""
        whole = np.asarray(result.truth, np.float64)
        truth = plane(whole, evaluation.grid) if whole.ndim else whole
        values = truth if np.ptp(truth) else np.append(truth, np.ravel(result.initial))
        low, high = float(values.min()), float(values.max())
        unit = evaluation.unit(result.unit)
        if result.up_to_constant:
            reach = max(-low, high) or 1.0
            return cls(f"{result.name} without its mean", unit, -reach, reach, DIVERGING)
        return cls(result.name, unit, *_apart(low, high), SEQUENTIAL)

    def of_errors(self, errors: list[NDArray[np.floating]]) -> Scale:
        """The scale of absolute errors: up to the largest one, at most to what the quantity itself spans."""
        finite = [e[np.isfinite(e)] for e in errors]
        largest = max((float(e.max()) for e in finite if e.size), default=0.0)
        return Scale("|error|", self.unit, 0.0, min(largest, self.high - self.low) or 1e-12, ERROR)

    @property
    def label(self) -> str:
        """`velocity x (length/time)`; a unit of 1 is left out."""
        words = self.name.replace("_", " ")
        return words if self.unit in ("", "1") else f"{words} ({superscripts(self.unit)})"

    def extend(self, arrays: Iterable[NDArray[np.floating]]) -> str:
        """Which ends of the colour bar need an arrow, because values lie beyond them."""
        slack = 1e-6 * (self.high - self.low)
        below = above = False
        for array in arrays:
            below |= bool(np.any(array < self.low - slack))
            above |= bool(np.any(array > self.high + slack))
        return ("neither", "min", "max", "both")[below + 2 * above]


def superscripts(unit: str) -> str:
    """The unit with its powers raised."""
    return unit.replace("^2", "\N{SUPERSCRIPT TWO}").replace("^3", "\N{SUPERSCRIPT THREE}")


def plane(values: NDArray[np.floating], grid: Grid) -> NDArray[np.floating]:
    """What is drawn of a field (*space): all of it, or the middle slice along z of a 3-D one."""
    return values[..., grid.resolution[2] // 2] if grid.rank == 3 else values


def plane_note(evaluation: Evaluation) -> str:
    """`, middle slice at z = 50.8` for a 3-D grid, else nothing."""
    grid = evaluation.grid
    if grid.rank < 3:
        return ""
    height = grid.centres("z")[grid.resolution[2] // 2]
    return f", middle slice at z = {height:.3g}"


def panel_height(grid: Grid, width: float) -> float:
    """Height of a panel whose axes have the same scale, as long as the box is not too elongated."""
    return width * min(max(grid.size[1] / grid.size[0], 0.3), 2.0)


def pixels(values: NDArray[np.floating], grid: Grid) -> Any:
    """A field (*space) as an image: rows along y, and what is not finite masked."""
    masked: Any = np.ma.masked_invalid  # numpy does not annotate it
    return masked(plane(values, grid).T)


def draw_plane(axes: Axes, values: NDArray[np.floating], grid: Grid, scale: Scale) -> Any:
    """Draw a field (*space) of a 2-D or 3-D grid as an image, cells that are not finite in grey."""
    elongated = not 0.3 <= grid.size[1] / grid.size[0] <= 2.0
    extent = (0.0, grid.size[0], 0.0, grid.size[1])
    aspect: Any = "auto" if elongated else "equal"
    return draw_image(axes, pixels(values, grid), scale, extent=extent, aspect=aspect)


def draw_image(
    axes: Axes,
    rows: NDArray[np.floating],
    scale: Scale,
    *,
    extent: tuple[float, float, float, float],
    aspect: Literal["auto", "equal"],
) -> Any:
    """Draw an array (rows from the bottom up, columns) as an image, what is not finite in grey."""
    import matplotlib

    colours = matplotlib.colormaps[scale.colours].with_extremes(bad="#9E9E9E")
    masked: Any = np.ma.masked_invalid
    return axes.imshow(
        masked(rows), extent=extent, aspect=aspect, cmap=colours, vmin=scale.low, vmax=scale.high
    )


def colour_bar(
    drawn: Figure, panels: Any, scale: Scale, arrays: Iterable[NDArray[Any]], **place: Any
) -> None:
    """The colour bar of some panels, with arrows where the arrays go beyond the scale."""
    from matplotlib.ticker import MaxNLocator

    image = np.ravel(panels)[0].images[0]
    label, ticks = scale.label.replace(" (", "\n(", 1), None
    if "location" in place:  # it lies, and numbers beside each other need more room
        label, ticks = scale.label, MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])
    drawn.colorbar(image, ax=panels, label=label, extend=scale.extend(arrays), ticks=ticks, **place)


def axis_label(axis: str, evaluation: Evaluation) -> str:
    """`x (length)`."""
    return f"{axis} ({evaluation.length_unit})"


def shown_component(layout: FieldLayout) -> str:
    """The component that the pictures show: the first that evolves."""
    return layout.dynamic[0]


def _apart(low: float, high: float) -> tuple[float, float]:
    """The limits, or, where they coincide, limits around them."""
    if high > low:
        return low, high
    margin = 0.5 * abs(low) or 0.5
    return low - margin, high + margin
