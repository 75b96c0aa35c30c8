"""Tasks that run side by side on threads; compiled loops do not hold the interpreter's lock.

Threads of Python, not of numba: its own are not to be entered by two threads at once, and end the process
when they are.  Which thread runs a task changes no result.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

_pools: dict[int, ThreadPoolExecutor] = {}
_lock = Lock()


def run(tasks: Sequence[Callable[[], Any]], threads: int) -> None:
    """Run all tasks, on that many threads, of which the caller is one; raises what one of them raised."""
    if threads < 2 or len(tasks) < 2:
        for task in tasks:
            task()
        return
    waiting, lock = iter(tasks), Lock()

    def work() -> None:
        while True:
            with lock:
                task = next(waiting, None)
            if task is None:
                return
            task()

    helpers = [_pool(threads - 1).submit(work) for _ in range(min(threads, len(tasks)) - 1)]
    try:
        work()
    finally:
        for helper in helpers:
            helper.exception()  # waits: nothing may still write when the caller goes on
    for helper in helpers:
        helper.result()


def _pool(size: int) -> ThreadPoolExecutor:
    with _lock:
        if size not in _pools:
            _pools[size] = ThreadPoolExecutor(size, "hyco-kernels")
        return _pools[size]


def _forget() -> None:
    """In a forked process none of the threads is there any more."""
    global _lock
    _pools.clear()
    _lock = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
