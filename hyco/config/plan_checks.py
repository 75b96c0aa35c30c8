"""Checks of the plan: modes, which simulations serve for what, lengths, the network on the grid."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

from hyco.config.schema import Config, sensors_path
from hyco.errors import ConfigError
from hyco.problem.observations import Observations, window_starts

_AUGMENTATION = "trainer.hybrid.augmentation"
_CURRICULUM = "trainer.synthetic.curriculum"


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
    """Windows fit into a trajectory."""
    frames = config.data.trajectory_length
    for path, window in _windows(config).items():
        if window > frames:
            raise ConfigError(
                f"{path}: a window of {window} frames needs trajectories of at least {window}; "
                f"data.trajectory_length is {frames}. Lower the one or raise the other."
            )


def generated_windows_fit(config: Config) -> None:
    """A generated trajectory has at least one window: otherwise the models would teach each other nothing."""
    frames = config.generated_length
    for path, window in _windows(config).items():
        if frames < window:
            raise ConfigError(
                f"{_AUGMENTATION}.trajectory_length: generated trajectories of {frames} frames hold no "
                f"window of {path} = {window} frames. Set it to {window} or more."
            )


def points_are_cells(config: Config) -> None:
    """Generated trajectories are compared in no more cells than there are."""
    points, cells = config.trainer.hybrid.augmentation.points, config.grid.cells
    if points is not None and points > cells:
        raise ConfigError(
            f"{_AUGMENTATION}.points: {points} points are more than the {cells} cells of the grid. Lower it; "
            "null compares whole frames."
        )


def weights_leave_something(config: Config) -> None:
    """In no cycle does a model learn from nothing: ramps can only be zero where they begin or end."""
    hybrid = config.trainer.hybrid
    if config.general.mode not in ("hybrid", "all"):
        return
    for model in ("synthetic", "physical"):
        settings = getattr(hybrid.loss_scaling, model)
        used = [settings.real_weight] + [settings.interaction_weight] * hybrid.interaction
        for cycle in (1, hybrid.cycles):
            if not any(_weight(weight, cycle, hybrid.cycles) for weight in used):
                which = "real_weight and interaction_weight are" if hybrid.interaction else "real_weight is"
                why = "" if hybrid.interaction else ", and trainer.hybrid.interaction is off"
                raise ConfigError(
                    f"trainer.hybrid.loss_scaling.{model}: {which} 0 in cycle {cycle}{why}, so the {model} "
                    "model would learn from nothing. Raise one."
                )


def _weight(weight: Any, cycle: int, cycles: int) -> float:
    """A weight, or what a ramp is in the first or the last cycle."""
    if isinstance(weight, float):
        return weight
    value: float = weight.end if cycle == cycles else weight.start
    return value


def observations_leave_windows(config: Config) -> None:
    """Every model that is trained is shown windows: an observed start, and something to compare with."""
    observed = config.observed()
    if observed is None:
        return
    steps, curriculum = config.trainer.rollout_steps, config.trainer.synthetic.curriculum
    if config.general.mode != "synthetic":
        _check_windows(config, observed, "physical", {steps: "trainer.rollout_steps"})
    if config.general.mode != "physical":
        lengths = {steps: "trainer.rollout_steps"}
        if curriculum is not None:
            grown = range(curriculum.start, (curriculum.end or steps) + 1)
            lengths = {**dict.fromkeys(grown, _CURRICULUM), **lengths}
        _check_windows(config, observed, "synthetic", lengths)


def _check_windows(
    config: Config,
    observed: Observations,
    model: Literal["physical", "synthetic"],
    lengths: Mapping[int, str],
) -> None:
    """Refuse lengths of windows, each given by some key, of which a model would be shown none."""
    frames = config.data.trajectory_length
    mask, first = observed.of(model).frames(frames), observed.first_only
    possible = [n for n in range(2, frames + 1) if window_starts(mask, n, first_only=first)]
    for length, key in sorted(lengths.items()):
        if length in possible:
            continue
        begin = "the first frame" if first else "an observed frame"
        remedy = (
            f"Windows of {_ranges(possible)} frames would have one."
            if possible
            else "No other length would do: observe more frames."
        )
        raise ConfigError(
            f"{key}: of the {frames} frames of a trajectory {sensors_path(config, model)}.time shows the "
            f"{model} model {int(mask.sum())}, and no window of {length} frames that begins at {begin} has "
            f"another one to compare with. {remedy}"
        )


def _ranges(numbers: list[int]) -> str:
    """`2 to 3, or 11 to 20`: increasing numbers in short."""
    breaks = [i for i, (a, b) in enumerate(pairwise(numbers), 1) if b > a + 1]
    edges = zip([0, *breaks], [*breaks, len(numbers)], strict=True)
    runs = [numbers[first:end] for first, end in edges]
    return ", or ".join(str(r[0]) if len(r) == 1 else f"{r[0]} to {r[-1]}" for r in runs)


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


def curriculum_grows(config: Config) -> None:
    """The windows of a curriculum become longer, not shorter."""
    curriculum = config.trainer.synthetic.curriculum
    if curriculum is None or config.general.mode == "physical":
        return
    end = curriculum.end or config.trainer.rollout_steps
    if end < curriculum.start:
        said = "trainer.rollout_steps, since end is null" if curriculum.end is None else f"{_CURRICULUM}.end"
        raise ConfigError(
            f"{_CURRICULUM}.start: windows begin with {curriculum.start} frames and end with {end} "
            f"({said}), which is fewer. Lower the start or raise the end."
        )


def amp_lowers_something(config: Config) -> None:
    """Networks in fewer bits than float32 are for trainings in float32, and in fp16 for CUDA."""
    amp, trainer = config.trainer.synthetic.amp, config.trainer
    if amp is None or config.general.mode == "physical":
        return
    if trainer.precision != "float32":
        raise ConfigError(
            f"trainer.synthetic.amp: {amp} lowers float32, but trainer.precision is {trainer.precision}. "
            "Set trainer.precision to float32, or remove trainer.synthetic.amp."
        )
    if config.migration.shadow.enabled:
        raise ConfigError(
            f"migration.shadow: compares the modes to the rounding of {trainer.precision}, which networks in "
            f"{amp} are far above. Remove trainer.synthetic.amp, or do not enable the shadow."
        )
    if amp == "fp16" and trainer.backend == "jax":
        raise ConfigError(
            "trainer.synthetic.amp: fp16 needs gradients that are scaled, which is there in PyTorch only. "
            "Use bf16, or set trainer.backend to torch."
        )
    if amp == "fp16" and trainer.device == "cpu":
        raise ConfigError(
            "trainer.synthetic.amp: fp16 needs a CUDA device, but trainer.device is cpu. "
            "Use bf16 there, or set trainer.device to cuda."
        )


def kernels_are_there(config: Config) -> None:
    """Fused kernels are for PyTorch's tensors."""
    trainer = config.trainer
    if trainer.backend == "jax" and trainer.kernels == "fused":
        raise ConfigError(
            "trainer.kernels: there are no fused kernels in JAX, and trainer.backend is jax. "
            "Set trainer.kernels to auto or phiflow, or trainer.backend to torch."
        )


def _windows(config: Config) -> Mapping[str, int]:
    """Frames of windows, by the key that gives them."""
    curriculum, steps = config.trainer.synthetic.curriculum, config.trainer.rollout_steps
    if curriculum is None or config.general.mode == "physical":
        return {"trainer.rollout_steps": steps}
    ends = {f"{_CURRICULUM}.start": curriculum.start, f"{_CURRICULUM}.end": curriculum.end or steps}
    return {"trainer.rollout_steps": steps, **ends}


def _lists(config: Config) -> Mapping[str, tuple[int, ...]]:
    return {
        "trainer.train_sim": config.trainer.train_sim,
        "trainer.val_sim": config.trainer.val_sim,
        "evaluation.test_sim": config.evaluation.test_sim,
    }
