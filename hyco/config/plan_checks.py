"""Checks of the plan: modes, which simulations serve for what, lengths, the network on the grid."""

from __future__ import annotations

from collections.abc import Mapping

from hyco.config.schema import Config
from hyco.errors import ConfigError

_AUGMENTATION = "trainer.hybrid.augmentation"


def components_only_in_hybrid(config: Config) -> None:
    """A map of components chooses sides in hybrid mode only."""
    migration = config.migration
    if migration.components and migration.mode != "hybrid":
        raise ConfigError(
            f"migration.components: only mode hybrid mixes components, migration.mode is {migration.mode}. "
            "Set migration.mode to hybrid, or remove the components."
        )


def simulations_exist(config: Config) -> None:
    """Every simulation number is below `data.num_simulations`."""
    number = config.data.num_simulations
    for path, simulations in _lists(config).items():
        for simulation in simulations:
            if simulation >= number:
                raise ConfigError(
                    f"{path}: there is no simulation {simulation}; data.num_simulations is {number}, "
                    f"so they are 0 to {number - 1}."
                )


def simulations_stand_once(config: Config) -> None:
    """No list names a simulation twice."""
    for path, simulations in _lists(config).items():
        for i, simulation in enumerate(simulations):
            if simulation in simulations[:i]:
                raise ConfigError(f"{path}: simulation {simulation} is listed twice; keep one.")


def training_is_apart(config: Config) -> None:
    """What a model was trained on is no evidence of what it learned."""
    training = set(config.trainer.train_sim)
    others = {"trainer.val_sim": config.trainer.val_sim}
    if not config.evaluation.on_training_data:
        others["evaluation.test_sim"] = config.evaluation.test_sim
    for path, simulations in others.items():
        shared = sorted(training.intersection(simulations))
        if shared:
            raise ConfigError(
                f"{path}: simulation {shared[0]} is in trainer.train_sim too; remove it from one of them."
            )


def tasks_have_simulations(config: Config) -> None:
    """The tasks that need simulations have some."""
    needs = {"train": "trainer.train_sim", "evaluate": "evaluation.test_sim"}
    for task, path in needs.items():
        if task in config.general.tasks and not _lists(config)[path]:
            raise ConfigError(
                f"{path}: the task {task} needs at least one simulation. List one, raise "
                f"data.num_simulations, or leave {task} out of general.tasks."
            )


def windows_fit(config: Config) -> None:
    """A window of `rollout_steps` frames fits into a trajectory."""
    window, frames = config.trainer.rollout_steps, config.data.trajectory_length
    if window > frames:
        raise ConfigError(
            f"trainer.rollout_steps: a window of {window} frames needs trajectories of at least {window}; "
            f"data.trajectory_length is {frames}. Lower the one or raise the other."
        )


def generated_windows_fit(config: Config) -> None:
    """A generated trajectory has at least one window: otherwise the models would teach each other nothing."""
    window, frames = config.trainer.rollout_steps, config.generated_length
    if frames < window:
        raise ConfigError(
            f"{_AUGMENTATION}.trajectory_length: generated trajectories of {frames} frames hold no window of "
            f"trainer.rollout_steps = {window} frames. Set it to {window} or more."
        )


def evaluation_fits(config: Config) -> None:
    """The evaluation compares with frames that exist."""
    frames, length = config.evaluation.num_frames, config.data.trajectory_length
    if frames > length:
        raise ConfigError(
            f"evaluation.num_frames: {frames} frames are more than a trajectory has; "
            f"data.trajectory_length is {length}."
        )
    if config.evaluation.horizon > frames - 1:
        raise ConfigError(
            f"evaluation.horizon: {config.evaluation.horizon} steps are more than the {frames - 1} steps of "
            f"evaluation.num_frames = {frames} frames. Lower it, or leave it out."
        )


def network_fits_grid(config: Config) -> None:
    """The surrogate, where one is trained, can be built for the grid."""
    if config.general.mode == "physical":
        return
    try:
        config.model.synthetic.architecture.check_grid(config.grid)
    except ConfigError as error:
        raise ConfigError(f"model.synthetic.architecture: {error}") from None


def _lists(config: Config) -> Mapping[str, tuple[int, ...]]:
    return {
        "trainer.train_sim": config.trainer.train_sim,
        "trainer.val_sim": config.trainer.val_sim,
        "evaluation.test_sim": config.evaluation.test_sim,
    }
