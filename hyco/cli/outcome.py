"""How a command ends: its exit status, and the one line on stderr that says why."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable
from typing import Any

import typer

from hyco.cli.json_lines import write_error
from hyco.errors import HycoError, InputError, Interrupted

# The class of all usage errors: newer versions of typer bring their own click, and export this child alone.
UsageError: Any = typer.BadParameter.__mro__[1]
CORRECTABLE = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EEXIST,
    errno.EFBIG,
    errno.EISDIR,
    errno.ENOENT,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}


def exit_status(action: Callable[[], Any], *, typed: str, debug: bool, json: bool = False) -> int:
    """Do `action`, explain an error in one line (with `debug`, after its traceback), and give the status.

    `typed` is the command as the user wrote it; with `json` the line is a JSON object.
    """
    try:
        result = action()
    except Exception as error:
        status, line = verdict(error, typed)
        text = " ".join(line.split())
        if json:
            write_error(error, status, text, debug=debug)
            return status
        if debug:
            traceback.print_exception(error)
        print(f"hyco: {text}", file=sys.stderr, flush=True)
        return status
    return result if isinstance(result, int) else 0


def verdict(error: Exception, typed: str) -> tuple[int, str]:
    """The exit status of an error, and what to tell the user."""
    if isinstance(error, Interrupted):
        resume = " --resume" if error.resumable and "--resume" not in typed.split() else ""
        return error.exit_status, f"{error}. Go on with: {typed}{resume}"
    if isinstance(error, HycoError):
        return error.exit_status, f"error: {error}"
    if isinstance(error, UsageError):
        path = error.ctx.command_path if error.ctx else "hyco"
        return InputError.exit_status, f"error: {error.format_message()} See `{path} --help`."
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        what = "out of memory. Lower trainer.batch_size, cache.memory_limit_mb, or the resolution"
        return HycoError.exit_status, f"error: {what}; finished checkpoints are untouched."
    if isinstance(error, OSError) and error.filename is not None and error.errno in CORRECTABLE:
        return (
            InputError.exit_status,
            f"error: {error.filename}: {error.strerror}. Correct it, and run again.",
        )
    kind = type(error).__name__
    return (
        HycoError.exit_status,
        f"unexpected error: {kind}: {error}; run again with --debug for the traceback",
    )
