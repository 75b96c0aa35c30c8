"""Runs the equivalence matrix and the mixtures, and keeps the worst difference of every row."""

from __future__ import annotations

import atexit
import importlib
import multiprocessing
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

from hyco.config import Config
from hyco.migration.registry import use_mode
from hyco.problem.equations import EQUATIONS
from hyco.storage.run_directory import environment
from hyco.testing import matrix, mixtures
from hyco.testing.compare import Difference
from hyco.testing.experiments import Outcome, tiny, train, write_data
from hyco.testing.matrix import Cell
from hyco.testing.mixtures import Mixture

NETWORK = ("network", "network rollout", "weights of a hybrid run")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Row:
    """The worst of all comparisons of one quantity for one subject in one precision.

    Args:
        subject: an equation, a surrogate, or `mixtures of` an equation.
        error, allowed: relative to the largest value of the reference.
        backend: what phiml computes with.
        where: the comparison, the entry and the place of the worst difference.
        compared, failed: how many comparisons there were, and were outside the table.
    """

    subject: str
    quantity: str
    precision: str
    backend: str
    error: float
    allowed: float
    where: str
    compared: int
    failed: int


@dataclass(frozen=True)
class Finding:
    """One comparison, before rows are made of it."""

    subject: str
    quantity: str
    precision: str
    backend: str
    name: str
    difference: Difference


BACKENDS = ("torch", "jax")
Work = Callable[[], list[Finding]]


def gather(
    device: str, *, full: bool, jobs: int, progress: Progress = lambda done, of: None
) -> dict[str, Any]:
    """Run the comparisons on a device; facts about the machine, and the rows, as plain data.

    Raises Mismatch when a comparison is not possible at all.
    """
    began = time.perf_counter()
    cells: Sequence[Cell] = matrix.CELLS if full else matrix.SELECTED
    choose = mixtures.mixtures if full else mixtures.selected
    work: list[Work] = [partial(_cell, cell, device) for cell in cells]
    work += [partial(_mixtures, part, device) for e in EQUATIONS for part in _parts(choose(e))]
    findings: list[Finding] = []
    with isolated(jobs) as pool:
        for done, found in enumerate(pool.imap_unordered(_call, work), start=1):
            findings += found
            progress(done, len(work))
    return {
        "device": _describe(device),
        "cells": len(cells),
        "of_cells": len(matrix.CELLS),
        "mixtures": sum(len(choose(e)) for e in EQUATIONS),
        "of_mixtures": sum(len(mixtures.mixtures(e)) for e in EQUATIONS),
        "minutes": round((time.perf_counter() - began) / 60.0, 1),
        "taken": datetime.now(UTC).strftime("%Y-%m-%d"),
        "environment": environment(),
        "rows": [asdict(row) for row in rows(findings)],
    }


def isolated(jobs: int) -> Pool:
    """Processes with one thread each, renewed now and then: PyTorch keeps every trace while one lives.

    (Of the standard library's two kinds of pools the newer one hangs when it renews processes, Python 3.11.)
    """
    context = multiprocessing.get_context("spawn")
    return context.Pool(jobs, initializer=_one_thread, maxtasksperchild=20)


def _call(work: Work) -> list[Finding]:
    return work()


def mixture(one: Mixture, device: str) -> dict[str, Difference]:
    """The differences of one mixture; pure legacy is trained once per process for all of them."""
    return mixtures.compare(one, *_pure_legacy(one.equation, one.training, device))


@lru_cache(maxsize=4)
def _pure_legacy(equation: str, training: str, device: str) -> tuple[Config, Outcome]:
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    case = mixtures.case_of(equation)
    config = tiny(Path(folder), case, [f"general.mode={training}"], device=device)
    write_data(config)
    with use_mode("legacy"):
        return config, train(config)


def rows(findings: Iterable[Finding]) -> list[Row]:
    """The worst of every subject, quantity, precision and backend.

    Worst is what is nearest to, or farthest above, its tolerance.
    """
    groups: dict[tuple[str, str, str, str], list[Finding]] = {}
    for f in findings:
        groups.setdefault((f.subject, f.quantity, f.precision, f.backend), []).append(f)
    result = []
    for (subject, quantity, precision, backend), found in sorted(groups.items()):
        worst = max(found, key=lambda f: (not f.difference.passed, f.difference.relative))
        d = worst.difference
        result.append(
            Row(
                subject,
                quantity,
                precision,
                backend,
                d.relative,
                d.allowed / d.scale if d.scale else d.allowed,
                f"{worst.name}: {d.label}, {d.place}",
                len(found),
                sum(not f.difference.passed for f in found),
            )
        )
    return result


def _cell(cell: Cell, device: str) -> list[Finding]:
    with tempfile.TemporaryDirectory() as folder:
        found = matrix.compare(cell, Path(folder), device, BACKENDS)
    return [
        Finding(_subject(cell, quantity), quantity, cell.precision, backend, cell.name, difference)
        for backend, differences in found.items()
        for quantity, difference in differences.items()
    ]


def _subject(cell: Cell, quantity: str) -> str:
    return cell.surrogate if quantity in NETWORK else cell.case.equation


def _mixtures(part: Sequence[Mixture], device: str) -> list[Finding]:
    return [
        Finding(f"mixtures of {one.equation}", quantity, "float64", "torch", one.name, difference)
        for one in part
        for quantity, difference in mixture(one, device).items()
    ]


def _parts(some: Sequence[Mixture], size: int = 16) -> list[Sequence[Mixture]]:
    """Groups that share a training, so that its reference is made once for each."""
    by_training: dict[str, list[Mixture]] = {}
    for mixture in some:
        by_training.setdefault(mixture.training, []).append(mixture)
    return [group[i : i + size] for group in by_training.values() for i in range(0, len(group), size)]


def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"  # before the frameworks start theirs


def _describe(device: str) -> str:
    """The name of the device, as the framework says it."""
    if device == "cpu":
        return f"CPU, {platform.machine()}"
    compute = importlib.import_module(f"hyco.{'phiml'}.device").Compute(device)
    return str(compute.native_device.name)
