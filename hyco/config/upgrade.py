"""Configurations of the original HYCO-PhiFlow, in both of its schemas, as hyco's own.

    first    domain: {size_x, size_y}, resolution: {x, y}, fields, fields_scheme, fields_type
    second   domain: {dimensions: {x: {size, resolution}}}, loss_scaling, sparsity

Every change is noted.  What hyco does not have is refused where it would change results, and noted where
it is switched off; keys that neither of them knows stay, for hyco's own schema to refuse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hyco.config.moves import Moves, Note
from hyco.config.upgrade_models import upgrade_fields, upgrade_models
from hyco.config.upgrade_sparsity import upgrade_sparsity
from hyco.config.upgrade_training import upgrade_training

__all__ = ["Note", "is_original", "table", "upgrade"]

_PLACES = "hyco keeps checkpoints in general.checkpoint_dir, under its own names"


def is_original(settings: Mapping[str, Any]) -> bool:
    """Whether settings are in one of the original's schemas: a key that only they have is enough."""
    moves = Moves(settings, "")
    names = [str(name) for name in moves.block("model.physical.domain")]
    return moves.has("model.physical.pde_params") or any(
        name == "dimensions" or name.startswith("size_") for name in names
    )


def upgrade(settings: Mapping[str, Any], origin: str = "<config>") -> tuple[dict[str, Any], list[Note]]:
    """The same experiment in hyco's keys, and what was changed; `settings` stay as they are.

    Raises ConfigError for what hyco does not have and what would change results.
    """
    moves = Moves(settings, origin)
    first = not moves.has("model.physical.domain.dimensions")
    for model in ("physical", "synthetic"):
        for key in ("model_path", "model_save_name"):
            moves.drop(f"model.{model}.{key}", _PLACES)
    moves.drop("data.dset_name", "the folder data.data_dir says which data these are")
    upgrade_models(moves, first=first)
    upgrade_sparsity(moves)
    upgrade_fields(moves)
    upgrade_training(moves, first=first)
    _upgrade_evaluation(moves)
    return moves.settings, moves.notes


def table(notes: Sequence[Note]) -> str:
    """The notes, one per line; keys with which the same happened share one."""
    grouped: dict[str, list[str]] = {}
    for note in notes:
        grouped.setdefault(note.new, []).append(note.old)
    return "\n".join(f"  {Note(', '.join(old), new)}" for new, old in grouped.items())


def _upgrade_evaluation(moves: Moves) -> None:
    evaluation = moves.block("evaluation")
    for key in evaluation:
        if str(key).startswith(("physical_checkpoint", "synthetic_checkpoint")):
            moves.drop(f"evaluation.{key}", "hyco evaluates the best checkpoints of its own run")
    moves.drop("evaluation.output_dir", "results go to general.output_dir, results/<experiment_name>")
    if moves.get("evaluation.visualization.format") == "mp4":
        moves.change("evaluation.visualization.format", "gif", "hyco writes GIFs")
    frames, length = moves.get("evaluation.num_frames"), moves.get("data.trajectory_length")
    if type(frames) is int and type(length) is int and frames > length:
        moves.change("evaluation.num_frames", length, "a trajectory has no more frames to compare with")
    tested, trained = moves.get("evaluation.test_sim", []), moves.get("trainer.train_sim", [])
    if isinstance(tested, list) and isinstance(trained, list) and any(i in trained for i in tested):
        moves.change("evaluation.on_training_data", True, "test_sim and train_sim overlap")
