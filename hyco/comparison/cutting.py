"""A small copy of an experiment, with data of its own, and what was cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyco.config import Config
from hyco.config.loading import parse_config
from hyco.storage.hdf5 import read_facts, read_trajectory, simulation_path, write_trajectory
from hyco.tasks.generation import generate_simulations
from hyco.tasks.progress import Progress

TRAINED, FRAMES_BEYOND_A_WINDOW = 2, 7
MOST: Mapping[str, int] = {
    "trainer.batch_size": 8,
    "trainer.synthetic.epochs": 2,
    "trainer.physical.epochs": 1,
    "trainer.physical.window_stride": 3,
    "trainer.physical.solve.max_iterations": 2,
    "trainer.hybrid.cycles": 1,
    "trainer.hybrid.warmup": 1,
    "trainer.hybrid.augmentation.num_trajectories": 2,
}


@dataclass(frozen=True)
class Experiment:
    """What is compared: a configuration whose data are there, whether it was cut, and what to say of that."""

    config: Config
    small: bool
    notes: tuple[str, ...]


def small_experiment(config: Config, folder: Path, progress: Progress) -> Experiment:
    """A copy of the experiment in `folder`: fewer simulations, frames, epochs, cycles and iterations.

    Its data are the first frames of the experiment's own trajectories where these are there, and new ones
    otherwise.  Cells, fields, models, windows and precision are as they are.
    """
    if config.data.source is not None:
        return _of_source(config)
    chosen = _chosen(config)
    there = _data_are_there(config, list(chosen))
    frames = config.data.trajectory_length
    if there:
        frames = min(read_facts(simulation_path(config.data.data_dir, s)).frames for s in chosen)
    shorter = min(frames, config.trainer.rollout_steps + FRAMES_BEYOND_A_WINDOW)
    cut = _cut(config, chosen, shorter)
    small = changed(config, cut | _folders(folder) | {"general.tasks": ["generate", "train"]})
    if there:
        _copy(config, small, chosen)
        origin = f"the first {shorter} frames of the trajectories in {config.data.data_dir}"
    else:
        _generate(small, progress)
        origin = f"new trajectories, since those of {config.data.data_dir} are not all there"
    return Experiment(small, True, (_said(config, cut, origin),))


def _of_source(config: Config) -> Experiment:
    """The small copy of an experiment whose data are in files of somebody else, which stay where they are."""
    assert config.data.source is not None
    shorter = min(config.data.trajectory_length, config.trainer.rollout_steps + FRAMES_BEYOND_A_WINDOW)
    cut = _cut(config, {original: original for original in _chosen(config)}, shorter)
    cut["data.num_simulations"] = config.data.num_simulations
    small = changed(config, cut | {"cache.workers": 0, "general.tasks": ["train"]})
    return Experiment(small, True, (_said(config, cut, f"the first frames in {config.data.source.path}"),))


def _said(config: Config, cut: Mapping[str, Any], origin: str) -> str:
    """What was cut, and what the copy is made from."""
    notes = [f"{key}: {value_of(config, key)} -> {value}" for key, value in cut.items()]
    said = [n for n in notes if n.split(": ", 1)[1].split(" -> ")[0] != n.rsplit(" -> ", 1)[1]]
    return f"a small copy of the experiment (--full compares it as it is), on {origin}: {'; '.join(said)}"


def full_experiment(config: Config, folder: Path, progress: Progress) -> Experiment:
    """The experiment as it is; on data of its own in `folder` where the configured ones are not all there."""
    if config.data.source is not None:
        return Experiment(config, False, (f"the experiment as it is, on {config.data.source.path}",))
    if _data_are_there(config, [*config.trainer.train_sim, *config.trainer.val_sim]):
        return Experiment(config, False, (f"the experiment as it is, on {config.data.data_dir}",))
    whole = changed(config, _folders(folder))
    _generate(whole, progress)
    return Experiment(whole, False, ("the experiment as it is, on new data",))


def changed(config: Config, settings: Mapping[str, Any]) -> Config:
    """The configuration with other values under these dotted keys; checked as any other."""
    mapping = config.model_dump(mode="json")
    for key, value in settings.items():
        *path, last = key.split(".")
        block = mapping
        for name in path:
            block = block[name]
        block[last] = value
    return parse_config(mapping, "hyco compare")


def _chosen(config: Config) -> dict[int, int]:
    """The simulations that the copy has, with their numbers there: to train, to validate, to test."""
    lists = config.trainer.train_sim[:TRAINED], config.trainer.val_sim[:1], config.evaluation.test_sim[:1]
    numbers = dict.fromkeys(n for some in lists for n in some)
    return {original: i for i, original in enumerate(numbers)}


def _cut(config: Config, chosen: Mapping[int, int], frames: int) -> dict[str, Any]:
    """Every key that is less in the copy."""
    trainer, evaluation = config.trainer, config.evaluation
    shown = min(evaluation.num_frames, frames)
    cut: dict[str, Any] = {
        "data.num_simulations": len(chosen),
        "data.trajectory_length": frames,
        "trainer.train_sim": [chosen[s] for s in trainer.train_sim[:TRAINED]],
        "trainer.val_sim": [chosen[s] for s in trainer.val_sim[:1]],
        "evaluation.test_sim": [chosen[s] for s in evaluation.test_sim[:1]],
        "evaluation.num_frames": shown,
        "evaluation.horizon": min(evaluation.horizon, shown - 1),
        "trainer.hybrid.augmentation.trajectory_length": min(
            config.generated_length, trainer.rollout_steps + 2, frames
        ),
    }
    return cut | {key: min(value_of(config, key), most) for key, most in MOST.items()}


def _folders(folder: Path) -> dict[str, Any]:
    data = folder / "data"
    return {"data.data_dir": str(data), "data.cache_dir": str(data / "cache"), "cache.workers": 0}


def _data_are_there(config: Config, simulations: Sequence[int]) -> bool:
    return all(simulation_path(config.data.data_dir, s).exists() for s in simulations)


def _copy(config: Config, small: Config, chosen: Mapping[int, int]) -> None:
    """The first frames of some trajectories, under other numbers."""
    dt, length = config.model.physical.dt, small.data.trajectory_length
    for original, number in chosen.items():
        path = simulation_path(config.data.data_dir, original)
        facts = read_facts(path)
        array = read_trajectory(path, grid=config.grid, layout=config.layout, dt=dt)
        write_trajectory(
            simulation_path(small.data.data_dir, number),
            array[:, :length],
            grid=config.grid,
            layout=config.layout,
            dt=dt,
            equation=facts.equation,
            parameters=config.true_parameters(),
            fingerprint=f"{facts.fingerprint}, the first {length} frames",
            extra={"copied_from": str(path)},
        )


def _generate(config: Config, progress: Progress) -> None:
    ignore: Callable[[], None] = lambda: None  # noqa: E731
    generate_simulations(config, progress, ignore)


def value_of(config: Config, key: str) -> Any:
    """The value under a dotted key, lists as lists."""
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return list(value) if isinstance(value, tuple) else value
