"""What can go wrong, in the words of the person who has to put it right.

`InputError` and its children are the user's to correct (exit status 2 of the command line); any other
`HycoError` is a failure at run time (exit status 1).  A message says what was expected, what came, and
what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HycoError(Exception):
    """Base of all errors that hyco raises on purpose."""

    exit_status = 1


class RunError(HycoError):
    """The run itself failed: a full disk, a diverged training, a broken worker."""


class InputError(HycoError):
    """The input is wrong, and correcting it is up to the user."""

    exit_status = 2


class ConfigError(InputError):
    """A configuration that cannot be used; the message starts with the file and the path of the key."""


class ExpressionError(ConfigError):
    """A parameter expression outside the whitelist; the message quotes the offending part."""


class ModeError(InputError):
    """An unknown mode, component, or implementation, or a combination that makes no sense."""


class DataError(InputError):
    """Trajectories that are missing, damaged, or not what the configuration describes."""


class CheckpointError(InputError):
    """A checkpoint that is missing, damaged, or does not fit the model that loads it."""


class StorageError(InputError):
    """A file that cannot be written: a full disk, no permission; what stood there before is untouched."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for a near miss, else the sorted list of what is known."""
    options = sorted(known)
    close = difflib.get_close_matches(str(word), options, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(options)}." if options else "None is known here."


class Interrupted(HycoError):
    """The user stopped the run; the message says where its state is.

    `resumable`: a training has begun, and `resume` goes on with it.
    """

    exit_status = 130

    def __init__(self, message: str, *, resumable: bool = False) -> None:
        super().__init__(message)
        self.resumable = resumable


class Stopped(Interrupted):
    """A scheduler or a time limit stopped the run; it is to be started again, which the status says.

    75 is EX_TEMPFAIL of sysexits.h.
    """

    exit_status = 75
