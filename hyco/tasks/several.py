"""Several runs of one experiment, by mode of training, by seed or both, and what they say together."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hyco.config import Config
from hyco.config.variations import by_mode, by_seed
from hyco.interfaces import Record
from hyco.migration.factory import forget_compiled
from hyco.migration.loading import over
from hyco.report.parameters_file import NAME, read_parameters
from hyco.report.runs import write_comparison_of_modes, write_seeds_report
from hyco.report.several import entries_of, headlines
from hyco.storage.run_directory import RunDirectory
from hyco.tasks.progress import FILE_ONLY, Progress

log = logging.getLogger("hyco.run")
Run = Callable[[Config, Progress], dict[str, Any]]


class _Following:
    """The progress of one run among several: what is said once for all, and its headlines, are left out."""

    def __init__(self, inner: Progress, first: bool) -> None:
        self.inner, self.first = inner, first

    def begin(self, rows: Any) -> None:
        """The table of modes, for the first run alone."""
        if self.first:
            self.inner.begin(rows)

    def update(self, work: str, done: int, total: int, text: str = "") -> None:
        """As it is."""
        self.inner.update(work, done, total, text)

    def detail(self, work: str, text: str) -> None:
        """As it is."""
        self.inner.detail(work, text)

    def record(self, record: Record) -> None:
        """As it is."""
        self.inner.record(record)

    def say(self, text: str) -> None:
        """Nothing: what all runs say together comes at the end."""


def run_several(
    config: Config, seeds: int | None, tasks: Sequence[str], progress: Progress, run: Run
) -> dict[str, Any]:
    """Do all runs one after the other; their reports, and one about all of them.

    Args:
        config: the experiment; with `general.mode` all it is run physical, synthetic and hybrid.
        seeds: how many, from `general.seed` on; None: that one, in the folder of the experiment itself.
        tasks: of every run; the reports about all are written when it evaluates.
        progress: told how far the work is.
        run: does one of the runs.

    Returns what the `metrics.json` about all runs holds; empty when nothing was evaluated.
    """
    experiments = {config.general.seed: config} if seeds is None else by_seed(config, seeds)
    plans = {
        seed: by_mode(experiment) if config.general.mode == "all" else {config.general.mode: experiment}
        for seed, experiment in experiments.items()
    }
    total, done = sum(map(len, plans.values())), 0
    found: dict[int, dict[str, Any]] = {}
    for seed, plan in plans.items():
        found[seed] = {}
        for mode, one in plan.items():
            log.info("run %d of %d: seed %d, %s, in %s", done + 1, total, seed, mode, one.output_dir)
            found[seed][mode] = run(one, _Following(progress, done == 0))
            over()
            forget_compiled()
            done += 1
            progress.update("runs", done, total)
        if config.general.mode == "all" and "evaluate" in tasks:
            _compare_modes(experiments[seed], plan, found[seed])
    if "evaluate" not in tasks:
        return {}
    folder = config.output_dir
    if seeds is not None:
        records = {s: {m: _history(c) for m, c in plan.items()} for s, plan in plans.items()}
        write_seeds_report(folder, found, histories=records, config_yaml=config.to_yaml())
    modes = plans[config.general.seed]
    by_training = {mode: [summaries[mode] for summaries in found.values()] for mode in modes}
    for line in [*headlines(entries_of(by_training, {})), f"report: {folder / 'report.html'}"]:
        log.info(line, extra=FILE_ONLY)
        progress.say(line)
    summary: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return summary


def _compare_modes(config: Config, plan: Mapping[Any, Config], summaries: Mapping[str, Any]) -> None:
    """The report about one seed in all modes of training."""
    write_comparison_of_modes(
        config.output_dir,
        summaries,
        histories={mode: _history(one) for mode, one in plan.items()},
        parameters={mode: read_parameters(one.output_dir / NAME) for mode, one in plan.items()},
        config_yaml=config.to_yaml(),
    )


def _history(config: Config) -> list[Record]:
    return RunDirectory(config.output_dir, config.checkpoint_dir).read_history()
