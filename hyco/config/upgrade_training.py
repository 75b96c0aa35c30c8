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
_REGULARISERS = {"l2_gradient": "smoothness", "tv": "total_variation"}
_STRATEGIES = {"linear": "linear", "exponential": "power", "step": "step"}


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
    _upgrade_regularisation(moves)
    _upgrade_learnable(moves)


def _upgrade_regularisation(moves: Moves) -> None:
    """Both weigh a gradient beside a mean of squares, but hyco sums over the axes.

    The original took the mean over them, of differences across two cells of a periodic box.
    """
    path = f"{_PHYSICAL}.regularization"
    if not moves.has(path):
        return
    old = moves.block(path)
    kind, weight = old.get("type", "l2_gradient"), number(old.get("weight", 0))
    if weight and kind not in _REGULARISERS:
        moves.refuse(
            f"{path}.type",
            f"hyco has l2_gradient (trainer.physical.smoothness) and tv (trainer.physical.total_variation), "
            f"not {kind!r}. Use one of them, or set the weight to 0.",
        )
    axes = len(moves.block("model.physical.domain")) or 1
    moves.take(path)
    new = f"{_PHYSICAL}.{_REGULARISERS.get(kind, 'smoothness')}"
    moves.put(new, weight / axes if is_number(weight) else weight)
    moves.note(
        f"{path}: {shown(old)}",
        f"{new}: {shown(moves.get(new))} (summed over the axes, where the original took the mean, and of "
        "neighbouring cells)",
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
    _upgrade_curriculum(moves)
    moves.drop(f"{_SYNTHETIC}.rollout_steps", "not followed: windows of trainer.rollout_steps throughout")


def _upgrade_curriculum(moves: Moves) -> None:
    """The same curriculum in windows, which have the initial frame too.

    What the original called exponential is a power of the share of the epochs.
    """
    path, target = f"{_SYNTHETIC}.rollout_scheduler", f"{_SYNTHETIC}.curriculum"
    if not moves.has(path):
        return
    old = moves.block(path)
    made = {key: value for key, value in old.items() if key != "exponent"}
    for key in ("start", "end"):
        if type(made.get(key)) is int:
            made[key] += 1
    strategy = str(made.get("strategy", "linear"))
    if strategy not in _STRATEGIES:
        moves.refuse(f"{path}.strategy", f"expected one of {', '.join(_STRATEGIES)}, got {strategy!r}.")
    made["strategy"] = _STRATEGIES[strategy]
    if strategy == "exponential" and "exponent" in old:
        made["exponent"] = number(old["exponent"])
    moves.take(path)
    moves.put(target, made)
    why = "hyco counts the initial frame too, and the epochs of the whole run"
    moves.note(f"{path}: {shown(old)}", f"{target}: {shown(made)} ({why})")


def _upgrade_weights(moves: Moves) -> None:
    """Both weigh real data and interaction, but hyco by window: each counts what its weight says.

    The original weighed the mean over all real windows, and that over all generated ones.
    """
    for model in ("synthetic", "physical"):
        path = f"{_WEIGHTS}.{model}"
        for key in ("real_weight", "interaction_weight"):
            if moves.has(f"{path}.{key}"):
                moves.put(f"{path}.{key}", number(moves.get(f"{path}.{key}")))
        weights = {key: moves.get(f"{path}.{key}", 1.0) for key in ("real_weight", "interaction_weight")}
        if any(weight != 1.0 for weight in weights.values()):
            moves.note(f"{path}: {shown(weights)}", "of one window; the original weighed the mean of all")


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
