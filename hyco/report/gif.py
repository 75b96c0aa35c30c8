"""Moving pictures: what changes is drawn anew for every frame, on what does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hyco.storage.atomic import atomic_write

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure
    from PIL.Image import Image

DPI = 70
GREYS = 16
STEPS = (72, 40)  # of the first colour map and of the second
PAUSE = 1200  # milliseconds on the last frame, before the loop begins again


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, to be drawn by `render`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(drawn)
    return drawn


def render(
    drawn: Figure, artists: Sequence[Artist], advance: Callable[[int], None], frames: int
) -> Iterator[Image]:
    """The frames as images; `advance` puts the artists at a frame, and all else is drawn once."""
    from PIL import Image

    canvas: Any = drawn.canvas
    canvas.draw()
    drawn.set_layout_engine("none")
    for artist in artists:
        artist.set_animated(True)
    canvas.draw()
    background = canvas.copy_from_bbox(drawn.bbox)
    spines = [s for axes in drawn.axes for s in axes.spines.values()]
    for frame in range(frames):
        canvas.restore_region(background)
        advance(frame)
        for artist in [*artists, *spines]:
            drawn.draw_artist(artist)
        yield Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def palette_of(maps: Sequence[str], images: Sequence[Image]) -> Image:
    """The colours of a GIF: steps of two colour maps and greys; without maps, what the last frame needs."""
    import matplotlib
    from PIL import Image

    if not maps:
        return images[-1].quantize(GREYS + sum(STEPS), dither=Image.Dither.NONE)
    named = [*zip(maps, STEPS, strict=True), ("gray", GREYS)]
    steps = [matplotlib.colormaps[name](np.linspace(0, 1, levels)) for name, levels in named]
    palette = Image.new("P", (1, 1))
    palette.putpalette((255 * np.concatenate(steps)[:, :3]).round().astype(np.uint8).ravel().tolist())
    return palette


def write_gif(images: Sequence[Image], palette: Image, path: Path, *, fps: float) -> None:
    """Write a GIF that loops and pauses on its last frame."""
    from PIL import Image

    frames = [i.quantize(palette=palette, dither=Image.Dither.NONE) for i in images]
    durations = [round(1000 / fps)] * (len(frames) - 1) + [PAUSE]
    with atomic_write(path) as temporary:
        frames[0].save(
            temporary, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0
        )
