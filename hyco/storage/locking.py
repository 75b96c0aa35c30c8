"""One process at a time in a folder, by a lock that goes with the process that holds it."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from hyco.errors import InputError, StorageError
from hyco.storage.atomic import write_json

LOCK = "run.lock"
HOLDER = "run.lock.json"


@contextmanager
def locked(*folders: Path) -> Iterator[None]:
    """Inside, no other process has these folders; they are made where they are not there.

    The operating system drops the lock when its holder ends, however that happens; the file `run.lock` stays,
    and means nothing.  `run.lock.json` says who holds it, for the message that others get.
    Raises InputError when another one holds it, before anything is changed.
    """
    with ExitStack() as stack:
        for folder in {f.resolve(): f for f in folders}.values():
            stack.enter_context(_locked(folder))
        yield


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise InputError(
            f"{folder}: in use by {_holder(folder)}. Wait for it, stop it, or choose another "
            "general.output_dir."
        ) from None
    except OSError as error:
        raise StorageError(
            f"{folder}: cannot be written: {error.strerror}. Correct it, or choose another folder."
        ) from error
    try:
        write_json(
            folder / HOLDER,
            {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "started": datetime.now().isoformat(" ", "seconds"),
                "command": sys.argv,
            },
        )
        yield
    finally:
        with suppress(OSError):
            (folder / HOLDER).unlink()
        lock.release()


def _holder(folder: Path) -> str:
    """Who holds the lock, as far as that is known."""
    try:
        facts = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        return f"process {facts['pid']} on {facts['host']}, since {facts['started']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
