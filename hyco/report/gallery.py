"""All pictures of a report: drawn, captioned, and described for those who do not see them."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hyco.report.animation import draw_animation
from hyco.report.coefficients import draw_parameter
from hyco.report.curves import draw_band_errors, draw_error_over_time, spread_name
from hyco.report.evaluation import MODELS, Evaluation, ParameterResult, SimulationResult
from hyco.report.frames import draw_frames
from hyco.report.observed import hides
from hyco.report.parameter_evolution import draw_evolution, has_evolution
from hyco.report.plots import plane_note, shown_component
from hyco.report.records import epochs_of
from hyco.report.sensors import draw_observations
from hyco.report.spectra import draw_spectra
from hyco.report.summary import Summary
from hyco.report.training_curves import draw_training
from hyco.report.whole import draw_slices, draw_space_time

_OURS = re.compile(
    r"(observations|error_over_time|error_by_frequency|spectra|loss_curves)\.png"
    r"|(frames|space_time|slices)_\d+\.png|sim_\d+\.gif|parameters_.+\.(png|gif)"
)


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
    if hides(evaluation.observed):
        yield _observations(evaluation, folder, dpi)
    yield _over_time(evaluation, summary, folder, dpi)
    for parameter in evaluation.parameters:
        yield _parameter(evaluation, parameter, folder, dpi)
    for simulation in evaluation.simulations:
        yield _frames(evaluation, simulation, folder, dpi)
        if evaluation.grid.rank != 2:
            yield _whole(evaluation, simulation, folder, dpi)
    yield _bands(evaluation, summary, folder, dpi)
    yield _spectra(evaluation, folder, dpi)
    if any(epochs_of(evaluation.history, model) for model in MODELS):
        yield _training(evaluation, summary, folder, dpi)


def draw_animations(evaluation: Evaluation, folder: Path, *, fps: int) -> Iterator[Picture]:
    """Draw the animation of every test simulation, and of every field that was recovered."""
    for result in evaluation.simulations:
        path = folder / f"sim_{result.simulation}.gif"
        draw_animation(evaluation, result, path, fps=fps)
        caption = f"Test simulation {result.simulation}, all {result.frames} frames{plane_note(evaluation)}."
        alt = f"Animation of truth, predictions and errors of test simulation {result.simulation}"
        yield Picture(path, caption, alt)
    for parameter in evaluation.parameters:
        if has_evolution(evaluation, parameter):
            path = folder / f"parameters_{parameter.name}.gif"
            draw_evolution(evaluation, parameter, path)
            name = parameter.name.replace("_", " ")
            caption = f"{name}, as it was recovered in the course of the training{plane_note(evaluation)}."
            yield Picture(path, caption, f"Animation of the recovered {name} after each solve")


def remove_others(pictures: Sequence[Picture], folder: Path) -> None:
    """Remove the pictures of earlier reports that are not among these, and no other files."""
    drawn = {picture.path.name for picture in pictures}
    for path in folder.glob("*"):
        if _OURS.fullmatch(path.name) and path.name not in drawn:
            path.unlink()


def _observations(evaluation: Evaluation, folder: Path, dpi: int) -> Picture:
    path = folder / "observations.png"
    draw_observations(evaluation, path, dpi=dpi)
    share = "share of the cells along each axis" if evaluation.grid.rank == 3 else "cells"
    caption = (
        f"What was observed of every training simulation, in blue: {share}, and frames. "
        "Noise is a share of the root mean square of each component."
    )
    return Picture(path, caption, "Maps of the observed cells, and marks of the observed frames")


def _over_time(evaluation: Evaluation, summary: Summary, folder: Path, dpi: int) -> Picture:
    path = folder / "error_over_time.png"
    draw_error_over_time(evaluation, summary, path, dpi=dpi)
    caption = (
        "Error of the rollouts over time. Left: nRMSE of each frame, beside that of the prediction that "
        f"nothing changes. Right: correlation with the truth, and the level of 0.8.{_spread(evaluation)}"
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


def _whole(evaluation: Evaluation, result: SimulationResult, folder: Path, dpi: int) -> Picture:
    component = shown_component(evaluation.layout).replace("_", " ")
    if evaluation.grid.rank == 1:
        path = folder / f"space_time_{result.simulation}.png"
        draw_space_time(evaluation, result, path, dpi=dpi)
        caption = f"Test simulation {result.simulation}: {component} in space and time."
        return Picture(path, caption, "Truth, predictions and errors over x and t")
    path = folder / f"slices_{result.simulation}.png"
    draw_slices(evaluation, result, path, dpi=dpi)
    caption = f"Test simulation {result.simulation}: {component} at the last frame, in three planes."
    return Picture(path, caption, "Truth, predictions and errors in three planes")


def _bands(evaluation: Evaluation, summary: Summary, folder: Path, dpi: int) -> Picture:
    path = folder / "error_by_frequency.png"
    draw_band_errors(evaluation, summary, path, dpi=dpi)
    caption = (
        "Error of each frame in three bands of the radial wave number |k|, as a share of the whole truth: "
        "the squares of the three add up to that of the nRMSE. Dotted: the truth in the band; an error above "
        f"it is worse than predicting nothing there.{_spread(evaluation)}"
    )
    return Picture(path, caption, "Curves of the error at low, middle and high wave numbers over time")


def _spectra(evaluation: Evaluation, folder: Path, dpi: int) -> Picture:
    path = folder / "spectra.png"
    draw_spectra(evaluation, path, dpi=dpi)
    several = ", means over the test simulations" if len(evaluation.simulations) > 1 else ""
    caption = f"Energy spectra of truth and predictions at three times{several}; dotted: limits of the bands."
    return Picture(path, caption, "Energy over the wave number, of truth and predictions")


def _training(evaluation: Evaluation, summary: Summary, folder: Path, dpi: int) -> Picture:
    path = folder / "loss_curves.png"
    errors = {name: entry["after_solves"] for name, entry in summary["parameters"].items()}
    draw_training(evaluation.history, path, dpi=dpi, errors=errors)
    caption = "The course of the training: losses, and below them what steered it and what came of it."
    if any(record.get("phase") == "cycle" for record in evaluation.history):
        caption += " In the cycles each model also learns from what the other one generates."
    if any(record.get("interaction_loss") is not None for record in evaluation.history):
        caption += " Real and generated data: the terms of the loss of a solve, before they are weighed."
    return Picture(path, caption, "Curves of training and validation loss, schedules and counts by epoch")


def _spread(evaluation: Evaluation) -> str:
    """What lines and bands over several simulations are."""
    count = len(evaluation.simulations)
    return f" Median of the test simulations; shaded: {spread_name(count)}." if count > 1 else ""
