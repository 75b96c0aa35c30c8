"""Two mixtures of modes on one experiment: every component, then a whole training of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hyco.comparison.cast import Cast
from hyco.comparison.components import ROUNDS, WARM, compare_components
from hyco.comparison.cutting import Experiment, changed, full_experiment, small_experiment
from hyco.comparison.findings import Comparison, Section, failure
from hyco.comparison.mixtures import Mixture, mixtures
from hyco.comparison.processes import Cost, train_in_process
from hyco.comparison.run_outputs import RunOutputs
from hyco.comparison.runs import Curves, compare_outputs, curves
from hyco.config import Config
from hyco.errors import RunError
from hyco.migration.factory import check_backend, computes
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
    for mixture in pair:
        with mixture.in_force():
            check_backend(_as(config, mixture, folder))
    with pair[0].in_force():
        experiment = (full_experiment if full else small_experiment)(config, folder, shown)
    sections = _components(experiment.config, pair, shown)
    notes = [*experiment.notes, *_notes(experiment)]
    costs: dict[str, Cost] = {}
    found: Curves = {}
    if training:
        section, costs, found, more = _trainings(experiment.config, pair, folder, shown)
        sections.append(section)
        notes += more
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


def _trainings(
    config: Config, pair: tuple[Mixture, Mixture], folder: Path, progress: Progress
) -> tuple[Section, dict[str, Cost], Curves, list[str]]:
    """Train in both mixtures, and compare what comes out; a candidate that fails is a finding."""
    costs, runs = {}, []
    for number, (mixture, who) in enumerate(zip(pair, WHO, strict=True), start=1):
        try:
            costs[who] = train_in_process(_as(config, mixture, folder / who))
        except RunError as error:
            if who == "reference":
                raise
            return Section("training", findings=[failure("the training", str(error))]), {}, {}, []
        progress.update("trainings", number, len(WHO), f"{mixture.name}: {costs[who]['seconds']:.3g} s")
        runs.append(RunOutputs(folder / who))
    section, notes = compare_outputs(runs[0], runs[1])
    return section, costs, curves(runs[0], runs[1]), notes


def _as(config: Config, mixture: Mixture, folder: Path) -> Config:
    """The experiment as a run of one mixture, with results of its own."""
    with mixture.in_force():
        backend = config.trainer.backend if computes(config, "phiml") else "torch"
    return changed(
        config,
        {
            "trainer.backend": backend,
            "general.output_dir": str(folder),
            "general.checkpoint_dir": None,
            "migration": {**mixture.migration(), "shadow": {"enabled": False}},
        },
    )


def _notes(experiment: Experiment) -> list[str]:
    least, most = ROUNDS
    return [
        f"components compute from the same input, cold, and again after {WARM} to {WARM + most} calls; the "
        "worse of both counts",
        f"times: medians of {least} to {most} calls after {WARM} that warm up, both sides in turn, results "
        "taken to numpy included",
    ]
