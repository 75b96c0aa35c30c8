"""Quick starts of the command line: no search for garbage while a run loads what it needs.

Loading a framework makes hundreds of thousands of objects that all stay.  Python's collector of cyclic
garbage goes through them again and again meanwhile: about a fifth of the time until the first step.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_paused = False
_frozen = False


@contextmanager
def loading() -> Iterator[None]:
    """Inside, until `loaded` is called, Python looks for no garbage; for a process that is hyco's own.

    Nothing happens where the collector is switched off already.
    """
    global _paused
    if not gc.isenabled():
        yield
        return
    gc.disable()
    _paused = True
    try:
        yield
    finally:
        loaded()
        over()


def loaded() -> None:
    """A run has what it needs: from now on look for garbage again.

    Until it is `over` not among what is there now.  Nothing happens outside of `loading`.
    """
    global _paused, _frozen
    if _paused:
        _paused, _frozen = False, True
        gc.freeze()
        gc.enable()


def over() -> None:
    """A run is over: look for garbage among all, since its models and data need not stay for the next."""
    global _frozen
    if _frozen:
        _frozen = False
        gc.unfreeze()
