"""What the machine can do: bytes that it moves per second, and operations, with the threads of the session.

Copy a = b moves 2 values, and triad a = b + s c moves 3 (as STREAM counts them), of arrays that are much
larger than the caches, or that fit into the cache next to a core.  The matrix product stands for the
operations: no loop over a grid does as many, so it is a roof and not a goal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.measure import Timed
from benchmarks.roofline import CACHED, COPY, PRODUCT, ROOFS, Work
from benchmarks.scenarios import MACHINE, Scale, Scenario, cases, device

ITEM = 4  # bytes of a float32
CACHE_VALUES = 1 << 16  # of each of three arrays: 768 KiB together


@cases(ROOFS, base=(MACHINE,))
def test_roofs(timed: Timed, scenario: Scenario, size: Scale) -> None:
    run, work = _task(scenario.variant, size)
    timed(run, work=work, warmup=2)


def _task(name: str, size: Scale) -> tuple[Callable[[], Any], Work]:
    if name == PRODUCT:
        n = size.roof_matrix
        left, right = torch.rand(2, n, n, device=device())
        product = torch.empty_like(left)
        return lambda: torch.mm(left, right, out=product), Work(0, 3 * ITEM * n * n, 2 * n**3)
    n = min(CACHE_VALUES, size.roof_values) if name == CACHED else size.roof_values
    a, b, c = torch.rand(3, n, device=device())
    if name == COPY:
        return lambda: a.copy_(b), Work(0, 2 * ITEM * n, 1)
    return lambda: torch.add(b, c, alpha=0.5, out=a), Work(0, 3 * ITEM * n, 2 * n)
