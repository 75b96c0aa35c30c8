"""All pictures of a report: drawn, captioned, and described for those who do not see them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hyco.report.animation import draw_animation
from hyco.report.coefficients import draw_parameter
from hyco.report.curves import draw_error_over_time, draw_loss_curves, epochs_of
from hyco.report.evaluation import MODELS, Evaluation, ParameterResult, SimulationResult, Summary
from hyco.report.frames import draw_frames
from hyco.report.plots import plane_note, shown_component


@dataclass(frozen=True)
class Picture:
    """An image file with the words that go with it."""

    path: Path
    caption: str
    alt: str

    @property
    def uri(self) -> str:
        """The image itself as a data URI."""
        kind = {".png": "image/png", ".gif": "image/gif"}[self.path.suffix]
        return f"data:{kind};base64,{base64.b64encode(self.path.read_bytes()).decode()}"


def draw_figures(evaluation: Evaluation, summary: Summary, folder: Path, *, dpi: int) -> Iterator[Picture]:
    """Draw the figures of a report, in the order in which they are to be read."""
    yield _over_time(evaluation, summary, folder, dpi)
    for parameter in evaluation.parameters:
        yield _parameter(evaluation, parameter, folder, dpi)
    for simulation in evaluation.simulations:
        yield _frames(evaluation, simulation, folder, dpi)
    if any(epochs_of(evaluation.history, model) for model in MODELS):
        yield _losses(evaluation, folder, dpi)


def draw_animations(evaluation: Evaluation, folder: Path, *, fps: int) -> Iterator[Picture]:
    """Draw the animation of every test simulation."""
    for result in evaluation.simulations:
        path = folder / f"sim_{result.simulation}.gif"
        draw_animation(evaluation, result, path, fps=fps)
        caption = f"Test simulation {result.simulation}, all {result.frames} frames{plane_note(evaluation)}."
        alt = f"Animation of truth, predictions and errors of test simulation {result.simulation}"
        yield Picture(path, caption, alt)


def _over_time(evaluation: Evaluation, summary: Summary, folder: Path, dpi: int) -> Picture:
    path = folder / "error_over_time.png"
    draw_error_over_time(evaluation, summary, path, dpi=dpi)
    several = len(evaluation.simulations) > 1
    spread = "Median of the test simulations; shaded: the range they span. " if several else ""
    caption = (
        f"Error of the rollouts over time. {spread}Left: nRMSE of each frame, beside that of the prediction "
        "that nothing changes. Right: correlation with the truth, and the level of 0.8."
    )
    return Picture(path, caption, "Curves of nRMSE and correlation over time")


def _parameter(evaluation: Evaluation, result: ParameterResult, folder: Path, dpi: int) -> Picture:
    path = folder / f"parameters_{result.name}.png"
    draw_parameter(evaluation, result, path, dpi=dpi)
    name = result.name.replace("_", " ")
    caption = f"{name}: true value, initial guess and what was recovered{plane_note(evaluation)}."
    return Picture(path, caption, f"True, initial and recovered {name}")


def _frames(evaluation: Evaluation, result: SimulationResult, folder: Path, dpi: int) -> Picture:
    path = folder / f"frames_{result.simulation}.png"
    draw_frames(evaluation, result, path, dpi=dpi)
    component = shown_component(evaluation.layout).replace("_", " ")
    caption = (
        f"Test simulation {result.simulation}: {component}{plane_note(evaluation)}, rolled out from the "
        "first frame. Truth and predictions share one scale, and all errors another."
    )
    alt = f"Truth, predictions and errors of test simulation {result.simulation} at several times"
    return Picture(path, caption, alt)


def _losses(evaluation: Evaluation, folder: Path, dpi: int) -> Picture:
    path = folder / "loss_curves.png"
    draw_loss_curves(evaluation.history, path, dpi=dpi)
    caption = "Losses of the training."
    if any(record.get("phase") == "cycle" for record in evaluation.history):
        caption += " In the cycles each model also learns from what the other one generates."
    return Picture(path, caption, "Curves of training and validation loss")
