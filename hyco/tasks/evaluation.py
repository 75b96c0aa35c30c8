"""The evaluation of one experiment: the best models on unseen simulations, and the report."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hyco.config import Config
from hyco.errors import ConfigError, DataError
from hyco.interfaces import PhysicalModel, SyntheticModel
from hyco.migration.factory import Factory, choices
from hyco.migration.loading import loaded
from hyco.report.evaluation import Evaluation, ParameterResult, SimulationResult
from hyco.report.observed import Observed
from hyco.report.page import summary_lines, write_report
from hyco.report.summary import summarise
from hyco.storage.parameter_history import NAME, ParameterHistory, Snapshots
from hyco.storage.run_directory import RunDirectory, environment
from hyco.tasks.progress import FILE_ONLY, Progress

if TYPE_CHECKING:
    from hyco.migration.shadow import Shadow
    from hyco.tracking import Tracker

log = logging.getLogger("hyco.evaluate")
Model = PhysicalModel | SyntheticModel


def evaluate_models(
    config: Config,
    directory: RunDirectory,
    progress: Progress,
    shadow: Shadow | None = None,
    tracker: Tracker | None = None,
) -> dict[str, Any]:
    """Roll out the best checkpoint of every trained model over the test simulations; the summary.

    Raises CheckpointError when a checkpoint is missing or does not fit, DataError for a trajectory that is
    not what the configuration describes.
    """
    settings = config.evaluation
    if not settings.test_sim:
        raise ConfigError(
            "evaluation.test_sim: evaluating needs at least one simulation, but the list is empty."
        )
    factory = Factory(config, shadow=shadow)
    models = _models(config, factory, directory)
    manager = factory.data_manager()
    manager.prepare(settings.test_sim)
    files = manager.streamed(settings.test_sim)
    results = []
    progress.update("test simulations", 0, len(settings.test_sim))
    for done, simulation in enumerate(settings.test_sim, start=1):
        if files is None:
            truth = manager.arrays.numpy(manager.load(simulation))[:, :, : settings.num_frames]
        else:
            truth = files.windows([simulation], [0], settings.num_frames)
        initial = np.ascontiguousarray(truth[:, :, 0])
        predictions = {n: m.predict(initial, truth.shape[2] - 1)[0] for n, m in models.items()}
        loaded()
        results.append(SimulationResult(simulation, truth[0], predictions, config.layout.components))
        progress.update("test simulations", done, len(settings.test_sim))
    log.info("drawing figures and animations")
    evaluation = Evaluation(
        experiment=config.general.experiment_name,
        equation=config.equation.name,
        formula=config.equation.formula,
        grid=config.grid,
        layout=config.layout,
        dt=config.model.physical.dt,
        simulations=tuple(results),
        parameters=_parameters(config, models),
        history=tuple(directory.read_history()),
        trained_on=_trained_on(config),
        observed=_observed(config),
        snapshots=_snapshots(directory),
    )
    report = write_report(
        evaluation,
        directory.path,
        fps=settings.visualization.fps,
        dpi=settings.visualization.dpi,
        horizon=settings.horizon,
        extra={
            "modes": [(r.component, r.implementation, r.mode, r.chosen_by) for r in choices(config)],
            "environment": environment(),
            "config_yaml": config.to_yaml(),
            "shadow": shadow.summary() if shadow else {},
        },
    )
    summary = summarise(evaluation, settings.horizon)
    if tracker is not None and tracker.on:
        for result in results:
            step = len(evaluation.history)
            tracker.rollout(step, result.truth, result.predictions, simulation=result.simulation)
        tracker.summary(summary)
    for line in [*summary_lines(summary), f"report: {report}"]:
        log.info(line, extra=FILE_ONLY)
        progress.say(line)
    return summary


def _observed(config: Config) -> dict[str, Observed]:
    """What each trained model was shown of the training data."""
    observations, frames = config.observed(), config.data.trajectory_length
    shown: dict[str, Observed] = {}
    if observations is None:
        return shown
    models: tuple[Literal["synthetic", "physical"], ...] = ("synthetic", "physical")
    for model in models:
        if config.general.mode in ("hybrid", model):
            sensors = observations.of(model)
            shown[model] = Observed(sensors.frames(frames), sensors.space, sensors.noise)
    return shown


def _snapshots(directory: RunDirectory) -> Snapshots:
    """The parameters after the solves of the training; none where the file is damaged."""
    try:
        return ParameterHistory(directory.path / NAME).read()
    except DataError as error:
        log.warning("the report shows no evolution of the parameters: %s", error)
        return Snapshots()


def _trained_on(config: Config) -> tuple[int, ...]:
    """The test simulations that the models have learned from, where that is allowed; it is said aloud."""
    seen = tuple(s for s in config.evaluation.test_sim if s in config.trainer.train_sim)
    if seen:
        which = ", ".join(map(str, seen))
        log.warning(
            "evaluation.on_training_data: the models were trained on the test simulations %s; "
            "these scores say nothing of unseen data",
            which,
        )
    return seen


def _models(config: Config, factory: Factory, directory: RunDirectory) -> dict[str, Model]:
    models: dict[str, Model] = {}
    if config.general.mode != "physical":
        models["synthetic"] = factory.synthetic_model()
    if config.general.mode != "synthetic":
        models["physical"] = factory.physical_model(config.initial_parameters())
    for name, model in models.items():
        model.load(directory.checkpoints / f"{name}_best{model.suffix}")
    return models


def _parameters(config: Config, models: dict[str, Model]) -> tuple[ParameterResult, ...]:
    model = models.get("physical")
    if not isinstance(model, PhysicalModel):
        return ()
    truth, initial = config.true_parameters(), config.initial_parameters()
    return tuple(
        ParameterResult(
            name,
            config.equation.parameter(name).unit,
            truth[name],
            initial[name],
            model.arrays.numpy(model.parameters[name]),
            config.equation.parameter(name).up_to_constant,
        )
        for name in config.learnable
    )
