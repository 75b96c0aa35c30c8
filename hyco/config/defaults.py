"""Defaults that depend on other settings: folders by name, simulations by number, frames by length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from hyco.config.run import MAX_SIMULATIONS, Data
from hyco.problem.unknown_equation import NONE

DEFAULT_HORIZON = 20
DEFAULT_ROLLOUT_STEPS = 5


def with_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `settings` in which every setting that follows from others is filled in.

    The experiment is named after the equation, and its folders after the experiment.  The mode is hybrid
    when parameters to recover are listed, else synthetic.  The last simulation is for the test, the one
    before for validation, the others for training.  Windows, evaluation and horizon are cut to what the
    trajectories offer.  Values of a wrong type are left for the schema to refuse.
    """
    complete = dict(settings)
    for name in ("general", "data", "trainer", "evaluation"):
        block = complete.get(name)
        complete[name] = dict(block) if isinstance(block, Mapping) else {} if block is None else block
    if all(isinstance(complete[name], dict) for name in ("general", "data", "trainer", "evaluation")):
        _name_folders(complete)
        _choose_mode(complete)
        _fit_lengths(complete)
        _divide_simulations(complete)
    return complete


def _fill(block: dict[str, Any], key: str, value: Any) -> None:
    if block.get(key) is None:
        block[key] = value


def _name_folders(settings: dict[str, Any]) -> None:
    general, data = settings["general"], settings["data"]
    equation = _inside(settings, "model", "physical", "name")
    _fill(general, "experiment_name", equation if equation not in (None, "", NONE) else "experiment")
    name = general["experiment_name"]
    _fill(general, "output_dir", f"results/{name}")
    _fill(data, "data_dir", f"data/{name}")
    _fill(data, "cache_dir", f"data/cache/{name}")


def _choose_mode(settings: dict[str, Any]) -> None:
    learnable = _inside(settings, "trainer", "physical", "learnable_parameters")
    _fill(settings["general"], "mode", "hybrid" if learnable else "synthetic")


def _inside(settings: Any, *path: str) -> Any:
    for key in path:
        settings = settings.get(key) if isinstance(settings, Mapping) else None
    return settings


def _fit_lengths(settings: dict[str, Any]) -> None:
    evaluation = settings["evaluation"]
    frames = _count(settings["data"], "trajectory_length")
    _fill(settings["trainer"], "rollout_steps", min(DEFAULT_ROLLOUT_STEPS, frames))
    _fill(evaluation, "num_frames", frames)
    compared = evaluation["num_frames"]
    _fill(evaluation, "horizon", min(DEFAULT_HORIZON, compared - 1) if _whole(compared) else DEFAULT_HORIZON)


def _divide_simulations(settings: dict[str, Any]) -> None:
    """Give the simulations that no list names to the lists that are missing: test, validation, training."""
    trainer, evaluation = settings["trainer"], settings["evaluation"]
    number = min(_count(settings["data"], "num_simulations"), MAX_SIMULATIONS)
    given = (trainer.get("train_sim"), trainer.get("val_sim"), evaluation.get("test_sim"))
    named = {i for part in given if isinstance(part, (list, tuple)) for i in part if _whole(i)}
    free = [i for i in range(number) if i not in named]
    reserve = 0 if given[0] is not None else 1
    for block, key in ((evaluation, "test_sim"), (trainer, "val_sim")):
        if block.get(key) is None:
            block[key] = [free.pop()] if len(free) > reserve else []
    _fill(trainer, "train_sim", free)


def _count(data: Mapping[str, Any], key: str) -> int:
    """The setting of that key where it is a whole number, else the default of the schema."""
    value = data.get(key)
    return value if _whole(value) else int(Data.model_fields[key].default)


def _whole(value: Any) -> TypeGuard[int]:
    return type(value) is int
