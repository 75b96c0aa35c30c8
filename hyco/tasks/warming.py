"""Compiling ahead what the first run on a machine would wait for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from tempfile import TemporaryDirectory

from hyco.errors import Interrupted
from hyco.tasks.session import run

EXPERIMENTS = ("burgers", "heat", "advection", "inviscid_burgers", "gray_scott", "navier_stokes")
PRECISIONS = ("float32", "float64")
SMALL = (
    "migration.mode=phiml",
    "general.mode=hybrid",
    "general.tasks=[generate, train]",
    "data.num_simulations=1",
    "data.trajectory_length=4",
    "trainer.train_sim=[0]",
    "trainer.val_sim=[]",
    "evaluation.test_sim=[]",
    "trainer.rollout_steps=3",
    "trainer.synthetic.epochs=1",
    "trainer.physical.epochs=1",
    "trainer.physical.solve.max_iterations=1",
    "trainer.hybrid.warmup=1",
    "trainer.hybrid.cycles=1",
    "trainer.hybrid.augmentation.num_trajectories=1",
    "trainer.hybrid.augmentation.trajectory_length=4",
)


def warm_up(overrides: Sequence[str] = (), *, say: Callable[[str], None] = lambda text: None) -> None:
    """Do a very small experiment of every equation with fused kernels, in both precisions, and throw it away.

    What runs of phiml mode compile on the way is kept where later runs look for it (docs/numerics.md, Fused
    kernels).  Nothing is compiled twice, so that doing this again takes seconds.

    Args:
        overrides: `dotted.key=value`, such as `trainer.device=cuda`, for all of the experiments.
        say: told after each how long it took.

    Raises InputError for overrides that cannot be used, RunError for what fails on the way, Interrupted.
    """
    for name in EXPERIMENTS:
        for precision in PRECISIONS:
            began = time.monotonic()
            with TemporaryDirectory(prefix="hyco-") as folder:
                places = (
                    f"general.output_dir={folder}/results",
                    "general.checkpoint_dir=null",
                    f"data.data_dir={folder}/data",
                    f"data.cache_dir={folder}/cache",
                )
                try:
                    run(name, (*SMALL, f"trainer.precision={precision}", *overrides, *places))
                except Interrupted:
                    raise Interrupted("interrupted; what was compiled until now is kept") from None
            say(f"{name} in {precision}: {time.monotonic() - began:.1f} s")
