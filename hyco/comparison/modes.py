"""Two mixtures of modes on one experiment: every component, then a whole training of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hyco.comparison.cast import Cast
from hyco.comparison.components import ROUNDS, WARM, compare_components
from hyco.comparison.cutting import Experiment, changed, full_experiment, small_experiment
from hyco.comparison.findings import Comparison, Section
from hyco.comparison.mixtures import Mixture, mixtures
from hyco.comparison.processes import Cost, train_in_process
from hyco.comparison.run_outputs import RunOutputs
from hyco.comparison.runs import Curves, compare_outputs, curves
from hyco.config import Config
from hyco.storage.run_directory import environment
from hyco.tasks.progress import Progress, Silent

WHO = ("reference", "candidate")


def compare_modes(
    config: Config,
    folder: Path,
    *,
    candidates: Sequence[str] = (),
    full: bool = False,
    training: bool = True,
    progress: Progress | None = None,
) -> Comparison:
    """Compare legacy with phiml, or with `candidates` a mixture with the next one.

    Args:
        folder: for the data and the trainings of the comparison, and its results.
        candidates: such as `components.synthetic_model=phiml`, see `mixtures`.
        full: the experiment as it is, not a small copy.
        training: also train both, each in a process of its own.
        progress: told how far the work is.

    Raises InputError for what cannot be compared, and what the reference raises; whatever the candidate
    raises is a finding.
    """
    shown = progress or Silent()
    pair = mixtures(config, candidates)
    with pair[0].in_force():
        experiment = (full_experiment if full else small_experiment)(config, folder, shown)
    sections = _components(experiment.config, pair, shown)
    notes = [*experiment.notes, *_notes(experiment)]
    costs: dict[str, Cost] = {}
    found: Curves = {}
    if training:
        runs = [_trained(experiment.config, m, folder / w, shown) for m, w in zip(pair, WHO, strict=True)]
        costs = {who: cost for who, (_, cost) in zip(WHO, runs, strict=True)}
        reference, candidate = (run for run, _ in runs)
        section, more = compare_outputs(reference, candidate)
        sections.append(section)
        notes += more
        found = curves(reference, candidate)
    return Comparison(
        title=config.general.experiment_name,
        names=(pair[0].name, pair[1].name),
        precision=experiment.config.trainer.precision,
        sections=sections,
        notes=notes,
        curves=found,
        costs=costs,
        facts=environment(),
    )


def _components(config: Config, pair: tuple[Mixture, Mixture], progress: Progress) -> list[Section]:
    casts = [Cast(config, mixture) for mixture in pair]
    total, sections = len(pair[0].sides), []
    for section in compare_components(casts[0], casts[1]):
        sections.append(section)
        verdict = "the same" if section.passed else "outside its tolerance"
        progress.update("components", len(sections), total, f"{section.name}: {verdict}")
    return sections


def _trained(config: Config, mixture: Mixture, folder: Path, progress: Progress) -> tuple[RunOutputs, Cost]:
    number = WHO.index(folder.name)
    cost = train_in_process(
        changed(
            config,
            {
                "general.output_dir": str(folder),
                "general.checkpoint_dir": None,
                "migration": {**mixture.migration(), "shadow": {"enabled": False}},
            },
        )
    )
    progress.update("trainings", number + 1, len(WHO), f"{mixture.name}: {cost['seconds']:.3g} s")
    return RunOutputs(folder), cost


def _notes(experiment: Experiment) -> list[str]:
    least, most = ROUNDS
    return [
        f"components compute from the same input, cold, and again after {WARM} to {WARM + most} calls; the "
        "worse of both counts",
        f"times: medians of {least} to {most} calls after {WARM} that warm up, both sides in turn, results "
        "taken to numpy included",
    ]
