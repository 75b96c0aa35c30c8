"""The report: scores, figures and animations in a directory, and one self-contained page about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from hyco.report.evaluation import MODELS, Evaluation
from hyco.report.gallery import draw_animations, draw_figures, remove_others
from hyco.report.parameters_file import NAME, write_parameters
from hyco.report.summary import Summary, number, summarise
from hyco.report.tables import tables
from hyco.storage.atomic import write_json, write_text


@dataclass(frozen=True)
class Headline:
    """A number that the reader wants first, and what it is to be compared with."""

    what: str
    value: str
    against: str


def write_report(
    evaluation: Evaluation,
    directory: Path,
    *,
    fps: int,
    dpi: int,
    horizon: int,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write metrics.json, parameters.npz, figures, animations and report.html; returns the page's path.

    Pictures of an earlier report that this one does not have are removed.

    Args:
        fps: frames per second of the animations; dpi: resolution of the figures.
        horizon: the number of steps for which the headline is given.
        extra: `modes`, rows (component, implementation, mode, chosen by); `environment`, a mapping;
            `config_yaml`, the resolved configuration as text.  Each may be missing.

    Raises StorageError when a file cannot be written, ConfigError for a horizon below 1.
    """
    extra = extra or {}
    summary = summarise(evaluation, horizon)
    write_json(directory / "metrics.json", summary)
    if evaluation.parameters:
        write_parameters(directory / NAME, evaluation.parameters)
    else:
        (directory / NAME).unlink(missing_ok=True)  # of an earlier training
    figures = list(draw_figures(evaluation, summary, directory / "figures", dpi=dpi))
    animations = list(draw_animations(evaluation, directory / "animations", fps=fps))
    remove_others(figures, directory / "figures")
    remove_others(animations, directory / "animations")
    text = render(
        "run.html",
        title=evaluation.experiment,
        evaluation=evaluation,
        headlines=headlines(summary),
        galleries=[("Figures", figures), ("Animations", animations)],
        tables=tables(evaluation, summary, extra),
        config_yaml=extra.get("config_yaml", ""),
    )
    page = directory / "report.html"
    write_text(page, text)
    return page


def headlines(summary: Summary) -> list[Headline]:
    """One per model, over the horizon, and one per recovered parameter."""
    steps = summary["baseline"]["horizon"]["steps"]
    made = []
    for model, entry in summary["models"].items():
        scores = entry["horizon"]
        against = _times(scores["ratio_to_baseline"], "'nothing changes' baseline", scores["baseline_nrmse"])
        made.append(Headline(f"{MODELS[model]}, nRMSE over {steps} steps", number(scores["nrmse"]), against))
    for name, entry in summary["parameters"].items():
        against = _times(entry["ratio_to_initial"], "initial guess", entry["initial"]["relative_l2"])
        recovered = number(entry["recovered"]["relative_l2"])
        made.append(Headline(f"{name}, relative L2 error", recovered, against))
    return made


def summary_lines(summary: Summary) -> list[str]:
    """What a run prints at its end: the headlines, one per line."""
    return [f"{h.what}: {h.value} ({h.against})" for h in headlines(summary)]


def _times(share: float | None, reference: str, value: float | None) -> str:
    """`0.3 times the initial guess's 0.9`."""
    return f"{'against' if share is None else number(share) + ' times'} the {reference}'s {number(value)}"


def render(template: str, **content: Any) -> str:
    """One of the pages beside this file, filled in; it carries its style, and needs no other file."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    here = files("hyco.report")
    environment = Environment(
        autoescape=True,
        loader=FunctionLoader(lambda name: here.joinpath(name).read_text(encoding="utf-8")),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    style = here.joinpath("style.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(style=style, **content)
