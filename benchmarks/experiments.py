"""The experiments behind the scenarios."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.scenarios import BARE, PHIFLOW, WINDOW_STEPS, Scale, Scenario, device
from hyco import Config, load_config
from hyco.config import parse_config

TRAIN, VALIDATION = [0, 1], [2]

# Time step and diffusivity go with the width of a cell, so that CFL and diffusion numbers are the same on
# every grid, and with them the work on a cell.  {h}: that width in units of that of 64 cells.
EQUATIONS: dict[str, dict[str, Any]] = {
    "burgers": {
        "dt": 0.5,
        "parameters": {"diffusion_coeff": "0.05*{h}*(x/size_x + y/size_y)**3"},
        "guesses": {"diffusion_coeff": 0.01},
    },
    "heat": {
        "dt": 2.0,
        "parameters": {
            "conductivity": "{h}*(0.3 + 0.5*exp(-((x/size_x - 0.35)**2 + (y/size_y - 0.6)**2)/0.06))"
        },
        "guesses": {"conductivity": 0.3},
    },
    "advection": {
        "dt": 1.0,
        "parameters": {"advection_coeff": "1 + 0.5*sin(2*pi*x/size_x)*cos(2*pi*y/size_y)"},
        "guesses": {"advection_coeff": 0.8},
    },
}


def side(mode: str) -> str:
    """The mode of hyco behind a column."""
    return "legacy" if mode in ("legacy", BARE) else "phiml"


def experiment(
    folder: Path,
    resolution: int,
    *,
    equation: str = "burgers",
    frames: int = 8,
    batch: int = 16,
    mode: str = "legacy",
    **trainer: Any,
) -> Config:
    """An experiment in `folder`; equal arguments share their data.

    `trainer` overrides blocks of that name.
    """
    home = folder / f"{equation}-{resolution}-{frames}"
    axis, width = {"size": 100, "resolution": resolution}, 64 / resolution
    facts = EQUATIONS[equation]
    fields = {n: {"type": "field", "value": v.format(h=width)} for n, v in facts["parameters"].items()}
    guesses = [
        {"name": n, "initial_guess": v * (1.0 if equation == "advection" else width)}
        for n, v in facts["guesses"].items()
    ]
    return parse_config(
        {
            "general": {"mode": "hybrid", "tasks": ["train"], "output_dir": str(home / f"results-{mode}")},
            "migration": {"mode": side(mode)},
            "data": {
                "data_dir": str(home / "data"),
                "cache_dir": str(home / f"cache-{side(mode)}"),
                "num_simulations": 3,
                "trajectory_length": frames,
            },
            "cache": {"ttl": None},
            "model": {
                "physical": {
                    "name": equation,
                    "domain": {"x": axis, "y": axis},
                    "dt": facts["dt"] * width,
                    "substeps": 5,
                    "parameters": fields,
                },
                "synthetic": {"name": "unet", "architecture": {"levels": 3, "filters": 16}},
            },
            "trainer": {
                "device": device(),
                "kernels": "phiflow" if mode == PHIFLOW else "auto",
                "batch_size": batch,
                "rollout_steps": WINDOW_STEPS + 1,
                "train_sim": TRAIN,
                "val_sim": VALIDATION,
                "synthetic": {"epochs": 1},
                "physical": {
                    "window_stride": 4,
                    "learnable_parameters": guesses,
                    "solve": {"abs_tol": 0.0, "rel_tol": 0.0, "max_iterations": 100},
                },
                "hybrid": {
                    "cycles": 1,
                    "warmup": 0,
                    "augmentation": {"num_trajectories": 1, "trajectory_length": 8},
                },
                **trainer,
            },
        },
        "benchmarks",
    )


def shipped(folder: Path, scenario: Scenario, *, mode: str, size: Scale) -> Config:
    """The burgers configuration that ships, in `folder`; where it keeps its files is its own.

    On another grid it is another problem for the same network.
    """
    home, part = folder / f"shipped-{scenario.resolution}", side(mode)
    domain = "model.physical.domain"
    overrides = [
        "general.tasks=[train]",
        f"general.output_dir={home / f'results-{part}'}",
        f"migration.mode={part}",
        f"data.data_dir={home / 'data'}",
        f"data.cache_dir={home / f'cache-{part}'}",
        f"trainer.device={device()}",
        *(f"{domain}.{axis}.resolution={scenario.resolution}" for axis in "xy"),
        f"trainer.batch_size={scenario.batch}",
        *size.shipped,
    ]
    return load_config("burgers", overrides)
