"""The original's block about training, in hyco's keys."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from hyco.config.moves import Moves, is_number, number, shown
from hyco.config.upgrade_models import parameter_name

GUESS = 0.01
_PHYSICAL, _SYNTHETIC, _HYBRID = "trainer.physical", "trainer.synthetic", "trainer.hybrid"
_WEIGHTS = f"{_HYBRID}.loss_scaling"
_AUGMENTATION = f"{_HYBRID}.augmentation"


def upgrade_training(moves: Moves, *, first: bool) -> None:
    """Data, both trainers, and the alternation."""
    if moves.get("trainer.data_access", "both") != "both":
        moves.refuse(
            "trainer.data_access", "in hyco both models see the data; set it to 'both', or leave it out."
        )
    moves.drop("trainer.data_access", "both models see the data")
    if not moves.has("trainer.val_sim"):
        moves.change("trainer.val_sim", [], "the original validated on nothing")
    if first:
        _upgrade_share(moves)  # counts windows, so before they change
    steps = moves.get("trainer.rollout_steps")
    if type(steps) is int:
        moves.change("trainer.rollout_steps", steps + 1, "hyco counts the initial frame too")
    _upgrade_physical(moves)
    _upgrade_synthetic(moves)
    _upgrade_weights(moves)
    moves.drop(f"{_AUGMENTATION}.cache_dir", "what models generate for each other stays in memory")
    _upgrade_warmup(moves)


def _upgrade_physical(moves: Moves) -> None:
    for key in ("method", "abs_tol", "max_iterations"):
        moves.move(f"{_PHYSICAL}.{key}", f"{_PHYSICAL}.solve.{key}", number(moves.get(f"{_PHYSICAL}.{key}")))
    both = "not followed: both models learn from windows of trainer.rollout_steps"
    moves.drop(f"{_PHYSICAL}.rollout_steps", both)
    halvings = moves.get(f"{_PHYSICAL}.downsample_factor", 0)
    why = "the physical model works on the whole grid"
    if halvings:
        why = f"not followed: {why}, not on one halved {'once' if halvings == 1 else f'{halvings} times'}"
    moves.drop(f"{_PHYSICAL}.downsample_factor", why)
    _upgrade_smoothness(moves)
    _upgrade_learnable(moves)


def _upgrade_smoothness(moves: Moves) -> None:
    """Both weigh a squared gradient beside a mean of squares, but hyco sums over the axes.

    The original took the mean over them, of differences across two cells of a periodic box.
    """
    path = f"{_PHYSICAL}.regularization"
    if not moves.has(path):
        return
    old = moves.block(path)
    kind, weight = old.get("type", "l2_gradient"), number(old.get("weight", 0))
    if weight and kind != "l2_gradient":
        moves.refuse(
            f"{path}.type",
            f"hyco has l2_gradient (trainer.physical.smoothness), not {kind!r}. "
            "Use it, or set the weight to 0.",
        )
    axes = len(moves.block("model.physical.domain")) or 1
    moves.take(path)
    moves.put(f"{_PHYSICAL}.smoothness", weight / axes if is_number(weight) else weight)
    moves.note(
        f"{path}: {shown(old)}",
        f"{_PHYSICAL}.smoothness: {shown(moves.get(f'{_PHYSICAL}.smoothness'))} (summed over the axes, where "
        "the original took the mean, and of neighbouring cells)",
    )


def _upgrade_learnable(moves: Moves) -> None:
    """hyco's name of the parameter; its type is that of the parameter itself."""
    path, name = f"{_PHYSICAL}.learnable_parameters", parameter_name(moves)
    kind = moves.get(f"model.physical.parameters.{name}.type")
    given = moves.get(path)
    if given is None:
        if moves.get("general.mode") != "synthetic":
            guess = [{"name": name, "initial_guess": GUESS}]
            moves.change(path, guess, "the second schema learned the PDE's parameter without being told")
        return
    if not isinstance(given, list) or not all(isinstance(p, Mapping) for p in given):
        return
    made = []
    for i, entry in enumerate(given):
        if entry.get("type", kind) != kind:
            moves.refuse(
                f"{path}.{i}.type",
                f"a parameter is learned as what it is, a {kind}, not as a {entry['type']!r}. "
                "Change model.physical.pde_params.type.",
            )
        made.append({**{k: v for k, v in entry.items() if k != "type"}, "name": name})
    moves.change(path, made)


def _upgrade_synthetic(moves: Moves) -> None:
    for key in ("learning_rate", "weight_decay"):
        if moves.has(f"{_SYNTHETIC}.{key}"):
            moves.put(f"{_SYNTHETIC}.{key}", number(moves.get(f"{_SYNTHETIC}.{key}")))
    moves.drop(f"{_SYNTHETIC}.rollout_scheduler", "not followed: windows of trainer.rollout_steps throughout")
    moves.drop(f"{_SYNTHETIC}.rollout_steps", "not followed: windows of trainer.rollout_steps throughout")


def _upgrade_weights(moves: Moves) -> None:
    """A generated window counts `interaction_weight` in the physical fit; everything else must count 1."""
    for model in ("synthetic", "physical"):
        path, block = f"{_WEIGHTS}.{model}", moves.block(f"{_WEIGHTS}.{model}")
        if block.get("proportional"):
            moves.refuse(f"{path}.proportional", "not available in this version; set it to false.")
        if number(block.get("real_weight", 1.0)) != 1.0:
            moves.refuse(f"{path}.real_weight", "a real window counts 1; scale interaction_weight instead.")
    if number(moves.get(f"{_WEIGHTS}.synthetic.interaction_weight", 1.0)) != 1.0:
        moves.refuse(
            f"{_WEIGHTS}.synthetic.interaction_weight",
            "in hyco the surrogate counts a generated window as much as a real one; set it to 1.",
        )
    path = f"{_WEIGHTS}.physical.interaction_weight"
    why = "of one generated window; the original weighed the mean of all"
    moves.move(path, f"{_PHYSICAL}.interaction_weight", number(moves.get(path)), why)
    moves.drop(_WEIGHTS, "everything else in it says 1, or no")


def _upgrade_share(moves: Moves) -> None:
    """The first schema's alpha: so many generated windows per real one, made from whole trajectories."""
    alpha, simulations = moves.get(f"{_AUGMENTATION}.alpha"), moves.get("trainer.train_sim")
    length, steps = moves.get("data.trajectory_length"), moves.get("trainer.rollout_steps")
    if moves.has(f"{_AUGMENTATION}.num_trajectories") or not (
        is_number(alpha) and isinstance(simulations, list) and type(length) is int and type(steps) is int
    ):
        return
    per_trajectory = max(1, length - steps)
    generated = int(alpha * len(simulations) * per_trajectory)
    trajectories = max(1, ceil(generated / per_trajectory))
    moves.put(f"{_AUGMENTATION}.alpha", 1.0)
    moves.put(f"{_AUGMENTATION}.num_trajectories", trajectories)
    moves.note(
        f"{_AUGMENTATION}.alpha: {shown(alpha)}",
        f"alpha: 1, num_trajectories: {trajectories} (it was the share of generated windows; "
        "hyco's alpha is that of real ones)",
    )


def _upgrade_warmup(moves: Moves) -> None:
    """Epochs of the surrogate on data alone are rounds of both models."""
    epochs, warmup = moves.get(f"{_SYNTHETIC}.epochs"), moves.get(f"{_HYBRID}.warmup")
    if type(epochs) is int and type(warmup) is int and epochs > 0 and warmup > 0:
        rounds = ceil(warmup / epochs)
        moves.put(f"{_HYBRID}.warmup", rounds)
        moves.note(
            f"{_HYBRID}.warmup: {warmup}",
            f"{rounds} (rounds of both models; it was epochs of the surrogate, a round has {epochs})",
        )
