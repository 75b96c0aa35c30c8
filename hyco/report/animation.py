"""Truth, prediction and error in motion: one GIF per test simulation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hyco.report.evaluation import MODELS, Evaluation, SimulationResult
from hyco.report.frames import View, draw_error_lines, draw_lines
from hyco.report.plots import STYLE, axis_label, draw_plane, panel_height, pixels
from hyco.storage.atomic import atomic_write

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure
    from PIL.Image import Image

DPI = 70
LEVELS = {"value": 72, "error": 40, "grey": 16}
PAUSE = 1200  # milliseconds on the last frame, before the loop begins again

# the artists that change, and what puts them at a frame
Scene = tuple[list[Any], Callable[[int], None]]


def draw_animation(evaluation: Evaluation, result: SimulationResult, path: Path, *, fps: int) -> None:
    """Write the GIF of one simulation, all its frames, looping; colour scales are the same throughout.

    Rows are models; columns truth, prediction and error (for 1-D, one row: values and errors).
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    view = View(evaluation, result)
    rank = evaluation.grid.rank
    row = 2.6 if rank == 1 else panel_height(evaluation.grid, 2.0) + 0.25
    rows = 1 if rank == 1 else len(view.predictions)
    with matplotlib.rc_context(STYLE):
        drawn = Figure(figsize=(7.3, row * rows + 1.15), dpi=DPI, layout="constrained")
        canvas: Any = FigureCanvasAgg(drawn)
        title = drawn.suptitle(_title(view, result, result.frames - 1))
        artists, show = (_lines if rank == 1 else _images)(drawn, view)

        def advance(frame: int) -> None:
            show(frame)
            title.set_text(_title(view, result, frame))

        images = list(_render(canvas, [*artists, title], advance, result.frames))
    _write_gif(images, _palette(view, images), path, fps)


def _title(view: View, result: SimulationResult, frame: int) -> str:
    return f"{view.title(result.simulation)}, {view.time(frame)}"


def _lines(drawn: Figure, view: View) -> Scene:
    left, right = drawn.subplots(1, 2)
    values, errors = draw_lines(left, view, 0), draw_error_lines(right, view, 0)
    left.set_ylabel(view.scale.label)
    right.set_ylabel(view.error_scale.label)
    for panel in (left, right):
        panel.set_xlabel(axis_label("x", view.evaluation))
        panel.grid(alpha=0.25)
    drawn.legend(handles=values, loc="outside lower center", ncols=len(values))
    series = [view.truth, *view.predictions.values(), *view.errors.values()]

    def show(frame: int) -> None:
        for line, array in zip(values + errors, series, strict=True):
            line.set_ydata(array[frame])

    return values + errors, show


def _images(drawn: Figure, view: View) -> Scene:
    panels = drawn.subplots(len(view.predictions), 3, sharex=True, sharey=True, squeeze=False)
    shown = []
    for row, model in zip(panels, view.predictions, strict=True):
        columns = ("Truth", view.truth, view.scale), (MODELS[model], view.predictions[model], view.scale)
        wrong = ("|error|", view.errors[model], view.error_scale)
        for panel, (name, values, scale) in zip(row, (*columns, wrong), strict=True):
            shown.append((draw_plane(panel, values[0], view.grid, scale), values))
            panel.set_title(name)
        row[0].set_ylabel(axis_label("y", view.evaluation))
    for panel in panels[-1]:
        panel.set_xlabel(axis_label("x", view.evaluation))
    place = {"location": "bottom", "pad": 0.02}
    view.colour_bars(drawn, panels[:, :2], panels[:, 2], aspects=(35, 16), **place)

    def show(frame: int) -> None:
        for image, values in shown:
            image.set_data(pixels(values[frame], view.grid))

    return [image for image, _ in shown], show


def _render(
    canvas: Any, artists: list[Artist], advance: Callable[[int], None], frames: int
) -> Iterator[Image]:
    """The frames as images; what does not change is drawn once."""
    from PIL import Image

    canvas.draw()
    canvas.figure.set_layout_engine("none")
    for artist in artists:
        artist.set_animated(True)
    canvas.draw()
    background = canvas.copy_from_bbox(canvas.figure.bbox)
    spines = [s for axes in canvas.figure.axes for s in axes.spines.values()]
    for frame in range(frames):
        canvas.restore_region(background)
        advance(frame)
        for artist in [*artists, *spines]:
            canvas.figure.draw_artist(artist)
        yield Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _palette(view: View, images: list[Image]) -> Image:
    """The colours of a GIF: steps of both colour maps and greys; for lines, what the last frame needs."""
    import matplotlib
    from PIL import Image

    if view.grid.rank == 1:
        return images[-1].quantize(sum(LEVELS.values()), dither=Image.Dither.NONE)
    names = {"value": view.scale.colours, "error": view.error_scale.colours, "grey": "gray"}
    steps = [matplotlib.colormaps[name](np.linspace(0, 1, LEVELS[kind])) for kind, name in names.items()]
    palette = Image.new("P", (1, 1))
    palette.putpalette((255 * np.concatenate(steps)[:, :3]).round().astype(np.uint8).ravel().tolist())
    return palette


def _write_gif(images: list[Image], palette: Image, path: Path, fps: int) -> None:
    """Write a GIF that loops and pauses on its last frame."""
    from PIL import Image

    frames = [i.quantize(palette=palette, dither=Image.Dither.NONE) for i in images]
    durations = [round(1000 / fps)] * (len(frames) - 1) + [PAUSE]
    with atomic_write(path) as temporary:
        frames[0].save(
            temporary, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0
        )
