"""What is timed: one frozen dataclass per scenario, the same for every mode, and the experiment behind it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hyco import Config
from hyco.config import parse_config

VARIABLE = "HYCO_BENCHMARKS"
MODES = ("legacy", "phiml")
EAGER = "eager"  # phiml's own step, not compiled
TRAIN, VALIDATION = [0, 1], [2]
ROLLOUT_STEPS = 20


@dataclass(frozen=True)
class Scale:
    """How large the problems are and how often they are timed.

    Args:
        resolutions: cells per axis of every scenario.
        large: of steps and rollouts, besides.
        frames: of the trajectories on disk.
        batch: windows or states of a large batch.
        warmup: calls before the clock counts.
        rounds: least number of timed calls.
        seconds: calls are repeated for about this long, if that makes more of them.
    """

    resolutions: tuple[int, ...] = (64, 128)
    large: tuple[int, ...] = (256,)
    frames: int = 64
    batch: int = 16
    warmup: int = 4
    rounds: int = 5
    seconds: float = 1.0


SCALES = {
    "full": Scale(),
    "smoke": Scale((16,), (), frames=12, batch=4, warmup=1, rounds=2, seconds=0.0),
}


@dataclass(frozen=True)
class Scenario:
    """One thing to time.

    Args:
        group: what is done.
        variant: in which circumstances.
        resolution: cells per axis; 0 where there is no grid.
        batch: states or windows at once; 0 where there is no batch.
    """

    group: str
    variant: str = ""
    resolution: int = 0
    batch: int = 0

    @property
    def name(self) -> str:
        """What tells it from the others of its group."""
        grid = f"{self.resolution}x{self.resolution}" if self.resolution else ""
        batch = f"batch {self.batch}" if self.batch else ""
        return ", ".join(part for part in (self.variant, grid, batch) if part)


def scale() -> Scale:
    """The scale that the environment asks for: `HYCO_BENCHMARKS=smoke`, or the full one."""
    name = os.environ.get(VARIABLE, "full")
    if name not in SCALES:
        raise pytest.UsageError(f"{VARIABLE}={name}: expected one of {', '.join(SCALES)}.")
    return SCALES[name]


def scenarios(size: Scale) -> Iterator[Scenario]:
    """All of them, group by group."""
    base, every = size.resolutions, size.resolutions + size.large
    yield Scenario("import", "the package")
    yield Scenario("import", "ready to compute")
    for variant in ("cold, from HDF5", "warm, from the cache", "in memory"):
        yield from (Scenario("load", variant, n) for n in base)
    yield from (Scenario("batches", "one shuffled epoch", n, size.batch) for n in base)
    yield from (Scenario("step", "", n, batch) for n in every for batch in (1, size.batch))
    yield from (Scenario("rollout", f"{ROLLOUT_STEPS} steps", n, max(1, size.batch // 4)) for n in every)
    yield from (Scenario("gradient", "", n, size.batch) for n in base)
    # A batch shrinks as the grid grows, so that an update works on as many cells at every resolution.
    batches = {n: max(1, size.batch * base[0] ** 2 // n**2) for n in base}
    yield from (Scenario("synthetic training step", "", n, batches[n]) for n in base)
    yield from (Scenario("physical fit", "5 iterations", n, max(1, size.batch // 2)) for n in base)
    yield from (Scenario("hybrid cycle", "12 windows", n, max(1, batches[n] // 2)) for n in base)
    yield Scenario("training run", "fresh process", base[0], size.batch)


def cases(group: str, *extra_modes: str) -> pytest.MarkDecorator:
    """Parametrise a benchmark by the scenarios of its group, and each of them, back to back, by the modes."""
    chosen = [s for s in scenarios(scale()) if s.group == group]
    pairs = [(s, mode) for s in chosen for mode in (*MODES, *extra_modes)]
    return pytest.mark.parametrize(
        ("scenario", "mode"), [pytest.param(s, m, id=f"{s.name}-{m}") for s, m in pairs]
    )


def experiment(
    folder: Path,
    resolution: int,
    *,
    frames: int = 8,
    batch: int = 16,
    mode: str | None = None,
    **trainer: Any,
) -> Config:
    """A Burgers experiment in `folder`; equal arguments share their data.

    The box has the same size at every resolution, and its viscosity is stable at the finest.  The solve has
    no tolerances, so that both modes do as many iterations.  `trainer` overrides blocks of that name.
    """
    home = folder / f"{resolution}-{frames}"
    axis = {"size": 100, "resolution": resolution}
    return parse_config(
        {
            "general": {"mode": "hybrid", "tasks": ["train"], "output_dir": str(home / f"results-{mode}")},
            "migration": {"mode": mode},
            "data": {
                "data_dir": str(home / "data"),
                "cache_dir": str(home / f"cache-{mode}"),
                "num_simulations": 3,
                "trajectory_length": frames,
            },
            "cache": {"ttl": None},
            "model": {
                "physical": {
                    "name": "burgers",
                    "domain": {"x": axis, "y": axis},
                    "dt": 0.5,
                    "substeps": 5,
                    "parameters": {
                        "diffusion_coeff": {"type": "field", "value": "0.02*(x/size_x + y/size_y)**3"}
                    },
                },
                "synthetic": {"name": "unet", "architecture": {"levels": 3, "filters": 16}},
            },
            "trainer": {
                "device": "cpu",
                "batch_size": batch,
                "rollout_steps": 5,
                "train_sim": TRAIN,
                "val_sim": VALIDATION,
                "synthetic": {"epochs": 1},
                "physical": physical_block(iterations=5),
                "hybrid": hybrid_block(),
                **trainer,
            },
        },
        "benchmarks",
    )


def physical_block(*, iterations: int, window_stride: int = 1) -> dict[str, Any]:
    """`trainer.physical` with a fixed number of iterations."""
    return {
        "window_stride": window_stride,
        "learnable_parameters": [{"name": "diffusion_coeff", "initial_guess": 0.01}],
        "solve": {"abs_tol": 0.0, "rel_tol": 0.0, "max_iterations": iterations},
    }


def hybrid_block(*, warmup: int = 0, num_trajectories: int = 1) -> dict[str, Any]:
    """`trainer.hybrid` with one cycle."""
    augmentation = {"num_trajectories": num_trajectories, "trajectory_length": 8}
    return {"cycles": 1, "warmup": warmup, "augmentation": augmentation}
