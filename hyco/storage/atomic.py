"""Files that are written whole or not at all: a killed process or a full disk leaves the old file."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from hyco.errors import HycoError, StorageError

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}(\.\w+)?")
_PROBE = bytes(1 << 16)
_ADVICE = {
    errno.ENOSPC: "Make room on the disk",
    errno.EDQUOT: "Make room within the quota",
    errno.EFBIG: "Raise the limit on file sizes",
    errno.EACCES: "Correct the permissions",
    errno.EPERM: "Correct the permissions",
    errno.EROFS: "Choose a directory on a writable disk",
    errno.ENOTDIR: "Choose a path whose parents are directories",
    errno.EEXIST: "Choose a path whose parents are directories",
    errno.EISDIR: "Choose a path that is no directory",
}


@contextmanager
def atomic_write(path: str | Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary path beside `path`, which takes its place when the block ends without an error.

    The temporary keeps the suffix of `path`, since some writers choose their format by it.  Its content
    is on the disk before it takes the place of the old file.  Any error, an interrupt included, removes
    it and leaves the old file.

    `durable=False`, for what can be made again and carries a checksum, does not wait for the disk: other
    processes find the whole file or none, but a loss of power may leave a part of it.

    Raises StorageError when the file cannot be written.  A library that writes by itself may report a
    full disk as any error; one that crashes on it (HDF5) is given memory to write to, and `write_bytes`
    the result.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem}.{uuid4().hex[:12]}{target.suffix}")
    try:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            if durable:
                _sync(temporary)
            os.replace(temporary, target)
        except HycoError:
            raise
        except Exception as error:
            reason = _reason(error, temporary, target)
            if reason is None:
                raise
            raise StorageError(_message(reason, temporary, target)) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
    if durable:
        _sync_directory(target.parent)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder beside `path`, which takes that name when the block ends without an error.

    Files in it are to be written by `atomic_write`, which puts them on the disk.  Any error, an interrupt
    included, removes it.  Raises StorageError when it cannot be written, or when there is a `path` already.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{uuid4().hex[:12]}")
    try:
        try:
            temporary.mkdir(parents=True)
            yield temporary
            _sync_directory(temporary)
            os.rename(temporary, target)
        except StorageError as error:  # about a file in it, by a name that the user never sees
            raise StorageError(str(error).replace(str(temporary), str(target))) from error
        except OSError as error:
            reason = _reason(error, temporary, target)
            if reason is None:
                raise
            raise StorageError(_message(reason, temporary, target)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _sync_directory(target.parent)


def remove_leftovers(folder: Path) -> list[Path]:
    """Remove what processes that were killed left half-written in a folder; what was removed.

    To be called where nobody else writes.
    """
    found = [p for p in folder.iterdir() if _TEMPORARY.fullmatch(p.name)] if folder.is_dir() else []
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
    return found


def remove_folder(path: Path) -> None:
    """Remove a folder and all that is in it: at once for others, whatever happens meanwhile."""
    hidden = path.with_name(f".{path.name}.{uuid4().hex[:12]}")
    os.rename(path, hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def write_bytes(path: str | Path, data: bytes | memoryview, *, durable: bool = True) -> None:
    """Write a binary file atomically; `durable`: see `atomic_write`."""
    with atomic_write(path, durable=durable) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 file atomically, newlines as they are."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, obj: Any) -> None:
    """Write strict JSON atomically; numpy numbers and arrays, and paths, are turned into plain values.

    Raises ValueError for a NaN or an infinity, which JSON does not have, before anything is written.
    """
    write_text(path, json.dumps(obj, indent=2, allow_nan=False, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    """The JSON value of what json does not know: arrays and numpy scalars by `tolist`, paths by name."""
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"JSON takes numbers, text, lists and mappings, not {type(value).__name__}: {value!r}")


def _reason(error: Exception, temporary: Path, target: Path) -> OSError | None:
    """Why the file could not be written, or None when the error is about something else."""
    if isinstance(error, OSError):
        about = error.filename
        ours = {temporary, target, *target.parents}
        return error if about is None or Path(os.fsdecode(about)) in ours else None
    return _probe(temporary)


def _probe(temporary: Path) -> OSError | None:
    """The error of adding a little to the file: torch, for one, does not say that the disk is full."""
    if not temporary.is_file():
        return None
    try:
        with temporary.open("ab") as file:
            file.write(_PROBE)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None


def _message(reason: OSError, temporary: Path, target: Path) -> str:
    """One line: which file, why, how far it came, what to do, and what is left."""
    facts = []
    with suppress(OSError):
        facts.append(f"after {_amount(temporary.stat().st_size)}")
    with suppress(OSError):
        facts.append(f"{_amount(shutil.disk_usage(target.parent).free)} free")
    came = f" ({', '.join(facts)})" if facts else ""
    advice = _ADVICE.get(reason.errno or 0, "Check the disk")
    left = "the previous file is untouched" if target.exists() else "nothing was left behind"
    why = os.strerror(reason.errno) if reason.errno else str(reason)
    return (
        f"{target}: cannot be written: {why}{came}. "
        f"{advice}, or choose another directory, and run again; {left}."
    )


def _amount(size: int) -> str:
    """A number of bytes, as a person says it."""
    power, unit = next((p, u) for p, u in ((30, "GiB"), (20, "MiB"), (0, "bytes")) if size >> p or not p)
    return f"{size / 2**power:.1f} {unit}" if power else f"{size} {unit}"


def _sync(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    """Wait until the new name is on the disk, where directories can be synced at all."""
    if os.name != "posix":
        return
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
