"""Caches of trajectories of one mode become caches of the other, which it takes for its own."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np

from hyco.errors import DataError, did_you_mean
from hyco.interfaces import Side
from hyco.migration.registry import Component, resolve, use_mode
from hyco.storage.caching import CacheEntry, CacheFormat

OTHER: dict[Side, Side] = {"legacy": "phiml", "phiml": "legacy"}


@dataclass(frozen=True)
class CacheConversion:
    """What a conversion did: folders, the mode that the results are of, files, and values in all of them."""

    source: Path
    target: Path
    side: Side
    files: tuple[str, ...]
    values: int

    def lines(self) -> list[str]:
        """The same in words."""
        return [
            f"{self.source} -> {self.target}",
            f"{len(self.files)} caches for {self.side} mode: {', '.join(self.files)}",
            f"{self.values} values, the worst difference of any is 0; fingerprints are kept",
        ]


def convert_caches(source: str | Path, target: str | Path, *, to: str | None = None) -> CacheConversion:
    """Convert the caches in a folder, `sim_000000.pt` and on or `.h5`, to those of the other mode.

    What a cache was made from stays on record, so that the other mode's DataManager takes it instead of
    making its own.  Every result is read again and compared to the last bit before any is moved to `target`,
    which may be `source`.

    Args:
        to: `legacy` or `phiml`; by default, the mode whose caches are not in `source`.

    Raises DataError, and leaves `target` as it was, when there are no caches, or one is damaged.
    """
    source, target = Path(source), Path(target)
    side = _wanted(source, to)
    old, new = _format(OTHER[side]), _format(side)
    names = [path.with_suffix(new.suffix).name for path in _caches(source, old)]
    values = 0
    temporary = target.with_name(f".{target.name}.{uuid4().hex[:12]}")
    try:
        for name in names:
            entry = _read(old, (source / name).with_suffix(old.suffix))
            new.write(temporary / name, entry)
            _check_same(source / name, entry, _read(new, temporary / name))
            values += entry.array.size
        _move(temporary, target)
    finally:
        with suppress(OSError):
            shutil.rmtree(temporary)
    return CacheConversion(source, target, side, tuple(names), values)


def _wanted(source: Path, to: str | None) -> Side:
    """The mode to convert to; raises DataError when there is nothing to convert, or too much."""
    if not source.is_dir():
        raise DataError(f"{source}: expected a folder of caches, but there is none. Check the path.")
    if to is not None and to not in OTHER:
        raise DataError(f"--to {to}: no mode that caches are of. {did_you_mean(to, OTHER)}")
    present = [side for side in OTHER if _caches(source, _format(side))]
    sides = [side for side in OTHER if OTHER[side] in present and to in (None, side)]
    if not sides:
        what = "for another mode " if to is not None and present else ""
        raise DataError(
            f"{source}: expected caches {what}with names such as sim_000000.pt (legacy) or sim_000000.h5 "
            "(phiml), found none. Name the cache_dir of a configuration."
        )
    if len(sides) > 1:
        raise DataError(
            f"{source}: has caches of both modes. Say which to make, with --to legacy or --to phiml."
        )
    return sides[0]


def _format(side: Side) -> CacheFormat:
    """How a mode stores its caches."""
    with use_mode(side):
        found: CacheFormat = resolve(Component.DATA_MANAGER).cache_format()
    return found


def _caches(folder: Path, kind: CacheFormat) -> list[Path]:
    return sorted(folder.glob(f"sim_*{kind.suffix}"))


def _read(kind: CacheFormat, path: Path) -> CacheEntry:
    try:
        entry = kind.read(path)
        if not entry.intact:
            raise ValueError("its checksum does not match")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: no cache, or a damaged one: {error}. Nothing was converted; name a folder of caches, "
            "not of data, or delete the file."
        ) from error
    return entry


def _check_same(path: Path, entry: CacheEntry, again: CacheEntry) -> None:
    same = entry.array.dtype == again.array.dtype and np.array_equal(entry.array, again.array, equal_nan=True)
    if not same or (entry.fingerprint, entry.checksum) != (again.fingerprint, again.checksum):
        raise DataError(f"{path}: what was written is not what was read. Nothing was converted.")


def _move(temporary: Path, target: Path) -> None:
    """The results into their place: all at once where there is nothing, else one after the other."""
    if not target.exists():
        os.replace(temporary, target)
        return
    for path in sorted(temporary.iterdir()):
        os.replace(path, target / path.name)
