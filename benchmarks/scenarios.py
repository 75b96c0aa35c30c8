"""What is timed: one frozen dataclass per scenario, the same for every mode."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from benchmarks.roofline import CACHED, COPY, PRODUCT, ROOFS, TRIAD

VARIABLE = "HYCO_BENCHMARKS"
DEVICE = "HYCO_BENCHMARKS_DEVICE"
MODES = ("legacy", "phiml")
PHIFLOW = "phiflow"  # phiml mode with PhiFlow's own operators, compiled
EAGER = "eager"  # the same for a single step, not compiled
BARE = "bare"  # a network's own forward and backward in plain PyTorch
MACHINE = "machine"  # neither mode
ROLLOUT_STEPS = 10
WINDOW_STEPS = 4  # predicted frames of a training window
HOST_ONLY = ("import", "start-up", "load")  # says the same whatever is computed on


@dataclass(frozen=True)
class Scale:
    """How large the problems are and how often they are timed.

    Args:
        resolutions: cells per axis of every scenario.
        large: of steps, rollouts and gradients, besides.
        batches: states or windows at once, of steps, rollouts and gradients.
        most_cells, most_gradient_cells: of a rollout, and of a gradient, whose every step is kept in memory.
        frames: of the trajectories on disk.
        warmup: calls before the clock counts.
        rounds: least number of timed calls.
        seconds: calls are repeated for about this long, if that makes more of them.
        roof_values, roof_matrix: of the arrays, and rows of the matrices, that show what the machine can do.
        shipped: what is changed in the shipped configuration.
    """

    resolutions: tuple[int, ...] = (64, 128)
    large: tuple[int, ...] = (256, 512)
    batches: tuple[int, ...] = (1, 4, 16, 64)
    most_cells: int = 1 << 20
    most_gradient_cells: int = 1 << 18
    frames: int = 64
    warmup: int = 4
    rounds: int = 5
    seconds: float = 0.5
    roof_values: int = 1 << 25
    roof_matrix: int = 2048
    shipped: tuple[str, ...] = ()


_TINY = (
    "data.num_simulations=3",
    "data.trajectory_length=12",
    "trainer.train_sim=[0, 1]",
    "trainer.val_sim=[2]",
    "trainer.synthetic.epochs=1",
    "trainer.physical.window_stride=4",
    "trainer.physical.solve.max_iterations=3",
    "trainer.hybrid.cycles=1",
)
SCALES = {
    "full": Scale(),
    "smoke": Scale(
        (16,),
        (),
        (1, 4),
        frames=12,
        warmup=1,
        rounds=2,
        seconds=0.0,
        roof_values=1 << 16,
        roof_matrix=64,
        shipped=_TINY,
    ),
}


@dataclass(frozen=True)
class Scenario:
    """One thing to time.

    Args:
        group: what is done.
        variant: in which circumstances.
        resolution: cells per axis; 0 where there is no grid.
        batch: states or windows at once; 0 where there is no batch.
        equation: whose.
        key: timed with a single thread, too.
    """

    group: str
    variant: str = ""
    resolution: int = 0
    batch: int = 0
    equation: str = "burgers"
    key: bool = False

    @property
    def name(self) -> str:
        """What tells it from the others of its group."""
        grid = f"{self.resolution}x{self.resolution}" if self.resolution else ""
        return ", ".join(part for part in (self.variant, grid, self._batch) if part)

    @property
    def line(self) -> str:
        """The name but for the grid: what a curve over the size of the grid is called."""
        return ", ".join(part for part in (self.variant, self._batch) if part)

    @property
    def _batch(self) -> str:
        return f"batch {self.batch}" if self.batch else ""


def scale() -> Scale:
    """The scale that the environment asks for: `HYCO_BENCHMARKS=smoke`, or the full one."""
    name = os.environ.get(VARIABLE, "full")
    if name not in SCALES:
        raise pytest.UsageError(f"{VARIABLE}={name}: expected one of {', '.join(SCALES)}.")
    return SCALES[name]


def device() -> str:
    """The device that the environment asks for, `cpu` unless it does."""
    return os.environ.get(DEVICE, "cpu")


def scenarios(size: Scale) -> Iterator[Scenario]:
    """All of them, group by group."""
    base, finest = size.resolutions, (*size.resolutions, *size.large)
    few = size.batches[1]
    yield Scenario("import", "the package")
    yield Scenario("import", "ready to compute")
    yield Scenario("start-up", "hyco run burgers, before the first step")
    yield Scenario("start-up", "hyco run burgers, after the first step")
    for variant in ("cold, from HDF5", "warm, from the cache", "in memory"):
        yield from (Scenario("load", variant, n) for n in base)
    yield from (Scenario("batches", "one shuffled epoch", n, 16) for n in base)
    yield from (Scenario("step", "", n, batch) for n in finest for batch in size.batches[:2])
    yield from (Scenario(ROOFS, what, key=True) for what in (COPY, TRIAD, CACHED, PRODUCT))
    yield from _rollouts(size, finest, few)
    yield from _gradients(size, finest, few)
    yield from (
        Scenario("physical fit", f"{e}, to the same loss", n, 8, e, key=(e, n) == ("burgers", base[0]))
        for e, sizes in (("burgers", base), ("heat", base[:1]), ("advection", base[:1]))
        for n in sizes
    )
    yield Scenario("synthetic training", "shipped burgers, an update", base[0], 16, key=True)
    yield Scenario("synthetic training", "shipped burgers, an epoch of one simulation", base[0], 16)
    yield from (Scenario("synthetic training", "an update", n, 4) for n in base[1:])
    yield from (Scenario("hybrid cycle", "12 windows", n, 8) for n in base[:1])
    yield Scenario("training run", "shipped burgers, fresh process", base[0], 16)


def _rollouts(size: Scale, resolutions: tuple[int, ...], few: int) -> Iterator[Scenario]:
    for equation, batches in (
        ("burgers", size.batches),
        ("heat", size.batches[:2]),
        ("advection", size.batches[:2]),
    ):
        for n, batch in ((n, b) for n in resolutions for b in batches if n * n * b <= size.most_cells):
            key = equation == "burgers" and batch == few and n in (resolutions[0], 256)
            yield Scenario("rollout", f"{equation}, {ROLLOUT_STEPS} steps", n, batch, equation, key)


def _gradients(size: Scale, resolutions: tuple[int, ...], few: int) -> Iterator[Scenario]:
    for n in resolutions:
        for batch in (b for b in size.batches if n * n * b <= size.most_gradient_cells):
            yield Scenario("forward and backward", "burgers", n, batch, key=batch == few and n <= 128)
    for equation in ("heat", "advection"):
        yield Scenario("forward and backward", equation, size.resolutions[-1], few, equation)


def cases(group: str, *extra_modes: str, base: tuple[str, ...] = MODES) -> pytest.MarkDecorator:
    """Parametrise a benchmark by the scenarios of its group, and each of them, back to back, by the modes."""
    host_only = group in HOST_ONLY and device() != "cpu"
    skipped = [pytest.mark.skip(f"{group} is the same whatever is computed on")] if host_only else []
    return pytest.mark.parametrize(
        ("scenario", "mode"),
        [
            pytest.param(
                s, mode, id=f"{s.name}-{mode}", marks=[*skipped, *([pytest.mark.key] if s.key else [])]
            )
            for s in scenarios(scale())
            if s.group == group
            for mode in (*base, *extra_modes)
        ],
    )
