"""Configurations made from one: the runs of `general.mode: all`, and those of several seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hyco.config.loading import parse_config
from hyco.config.schema import Config

MODES = ("physical", "synthetic", "hybrid")


def varied(config: Config, changes: Mapping[str, Any]) -> Config:
    """The configuration with other values at dotted keys, checked as a whole."""
    settings = config.model_dump(mode="json")
    for path, value in changes.items():
        *blocks, key = path.split(".")
        place = settings
        for block in blocks:
            place = place[block]
        place[key] = value
    return parse_config(settings, config.general.experiment_name)


def by_mode(config: Config) -> dict[str, Config]:
    """The runs of `general.mode: all`: physical, synthetic and hybrid, each in a folder of its own.

    All have the same budget: a model that is trained alone has as many epochs, or solves, as the hybrid
    training gives it in its warm-up and its cycles.
    """
    trainer = config.trainer
    rounds = trainer.hybrid.warmup + trainer.hybrid.cycles
    alone = {
        "trainer.synthetic.epochs": rounds * trainer.synthetic.epochs,
        "trainer.physical.epochs": rounds * trainer.physical.epochs,
    }
    return {
        mode: varied(
            config,
            {**_folders(config, mode), "general.mode": mode, **(alone if mode != "hybrid" else {})},
        )
        for mode in MODES
    }


def by_seed(config: Config, count: int) -> dict[int, Config]:
    """The experiment `count` times, from data to report, with the seeds from `general.seed` on."""
    first, data = config.general.seed, config.data
    return {
        seed: varied(
            config,
            {
                **_folders(config, f"seed_{seed}"),
                "general.seed": seed,
                "data.data_dir": str(data.data_dir / f"seed_{seed}"),
                "data.cache_dir": str(data.cache_dir / f"seed_{seed}"),
            },
        )
        for seed in range(first, first + count)
    }


def _folders(config: Config, name: str) -> dict[str, Any]:
    """Where one of the runs puts its results; checkpoints that had a folder of their own keep one."""
    apart, general = config.general.checkpoint_dir, config.general
    return {
        "general.output_dir": str(general.output_dir / name),
        "general.checkpoint_dir": None if apart is None else str(apart / name),
    }
