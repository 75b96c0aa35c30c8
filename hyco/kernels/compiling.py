"""Says when numba compiles the fused kernels, since the first run on a machine waits for it."""

from __future__ import annotations

import logging
from typing import Any

from numba.core import event

log = logging.getLogger("hyco.kernels")


class Notice(event.Listener):  # type: ignore[misc]
    """Logs one line when numba first compiles a function of this package, and where it keeps the result.

    numba tells listeners of what it compiles, not of what it finds on disk.
    """

    def __init__(self) -> None:
        self.said = False

    def on_start(self, event: Any) -> None:
        """Before a function is compiled."""
        dispatcher = event.data["dispatcher"]
        if self.said or not dispatcher.py_func.__module__.startswith(f"{__package__}."):
            return
        self.said = True
        folder = dispatcher.stats.cache_path
        if folder is None:
            log.warning(
                "compiling the fused kernels takes 10 to 20 s in every run, since no folder to keep them in "
                "can be written: set NUMBA_CACHE_DIR to one"
            )
        else:
            log.info("compiling the fused kernels: 10 to 20 s, once on this machine, kept in %s", folder)

    def on_end(self, event: Any) -> None:
        """Nothing."""


def announce() -> None:
    """Say it in this process from now on."""
    event.register("numba:compile", Notice())
