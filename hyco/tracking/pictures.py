"""The pictures of a run: parameters beside the true ones, and rollouts, drawn as the report draws them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hyco.config import Config
from hyco.report.evaluation import Evaluation, SimulationResult
from hyco.report.frames import draw_frames
from hyco.report.plots import (
    DIVERGING,
    LINES,
    SEQUENTIAL,
    Scale,
    colour_bar,
    draw_plane,
    figure,
    panel_height,
    plane,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Field = NDArray[np.float64]


def parameter_picture(config: Config, name: str, value: Any, truth: Any | None) -> bytes:
    """A field parameter (*space) as a PNG: beside the true one and the difference, where that is known.

    Lines in 1-D, images in 2-D, the middle slice along z in 3-D.  One that is known up to a constant is drawn
    without its mean.
    """
    grid, spec = config.grid, config.equation.parameter(name)
    fields = {"Learned": value} if truth is None else {"True": truth, "Learned": value}
    shown = {k: np.broadcast_to(np.asarray(v, np.float64), grid.resolution) for k, v in fields.items()}
    if spec.up_to_constant:
        shown = {k: v - v.mean() for k, v in shown.items()}
    scale = _scale(name, spec.unit, shown, config)

    def draw(path: Path) -> None:
        panels = len(shown) + (truth is not None)
        height = 3.2 if grid.rank == 1 else panel_height(grid, 2.6) + 1.0
        width = 9.0 if grid.rank == 1 else 3.1 * panels + 0.8
        with figure(path, width=width, height=height, dpi=_dpi(config)) as drawn:
            drawn.suptitle(f"{config.general.experiment_name}: {scale.label}")
            (_lines if grid.rank == 1 else _images)(drawn, shown, scale, config)

    return _png(draw)


def rollout_picture(
    config: Config,
    simulation: int,
    truth: NDArray[np.floating],
    predictions: Mapping[str, NDArray[np.floating]],
) -> bytes:
    """Truth and predictions, (field, time, *space) each, at a few times as a PNG: the report's figure."""
    result = SimulationResult(simulation, truth, predictions, config.layout.components)
    evaluation = Evaluation(
        experiment=config.general.experiment_name,
        equation=config.equation.name,
        formula=config.equation.formula,
        grid=config.grid,
        layout=config.layout,
        dt=config.model.physical.dt,
        simulations=(result,),
    )
    return _png(lambda path: draw_frames(evaluation, result, path, dpi=_dpi(config)))


def _scale(name: str, unit: str, shown: Mapping[str, Field], config: Config) -> Scale:
    """What the truth spans; without one, or when that is constant, what all finite values span."""
    first = plane(next(iter(shown.values())), config.grid)
    values = first if np.ptp(first) > 0 else np.concatenate([v.ravel() for v in shown.values()])
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if low < 0 < high:
        low, high = -max(-low, high), max(-low, high)
        return Scale(name, unit, low, high, DIVERGING)
    margin = 0.0 if high > low else 0.5 * abs(low) or 0.5
    return Scale(name, unit, low - margin, high + margin, SEQUENTIAL)


def _lines(drawn: Figure, shown: Mapping[str, Field], scale: Scale, config: Config) -> None:
    panel = drawn.subplots()
    for title, values in shown.items():
        panel.plot(
            config.grid.centres("x"), values, label=title, **LINES["truth" if title == "True" else "physical"]
        )
    panel.set(xlim=(0.0, config.grid.size[0]), xlabel="x", ylabel=scale.label)
    panel.grid(alpha=0.25)
    panel.legend()


def _images(drawn: Figure, shown: Mapping[str, Field], scale: Scale, config: Config) -> None:
    grid = config.grid
    difference = np.abs(shown["Learned"] - shown["True"]) if "True" in shown else None
    panels = drawn.subplots(1, len(shown) + (difference is not None), squeeze=False)[0]
    for panel, (title, values) in zip(panels, shown.items(), strict=False):
        draw_plane(panel, values, grid, scale)
        panel.set_title(title)
    place: dict[str, Any] = {"location": "bottom", "pad": 0.03}
    seen = [plane(v, grid) for v in shown.values()]
    colour_bar(drawn, panels[: len(shown)], scale, seen, aspect=30, **place)
    if difference is not None:
        wrong = scale.of_errors([plane(difference, grid)])
        draw_plane(panels[-1], difference, grid, wrong)
        panels[-1].set_title("|learned - true|")
        colour_bar(drawn, panels[-1:], wrong, [plane(difference, grid)], aspect=15, **place)


def _dpi(config: Config) -> int:
    return config.evaluation.visualization.dpi


def _png(draw: Callable[[Path], None]) -> bytes:
    """What `draw` writes to a path."""
    with TemporaryDirectory(prefix="hyco-picture-") as folder:
        path = Path(folder) / "picture.png"
        draw(path)
        return path.read_bytes()
