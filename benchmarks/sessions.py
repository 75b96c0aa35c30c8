"""The sessions that a page is made of: all threads, a single one, and a GPU where there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import Results


@dataclass(frozen=True)
class Session:
    """What one run of pytest measured, and on what."""

    results: Results
    facts: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Session:
        """From pytest-benchmark's JSON; ValueError when it is another's."""
        return cls(*Results.read(path))


@dataclass(frozen=True)
class Sessions:
    """Sessions by what they are for.

    Attributes: main, on the CPU with most threads; single, on it with fewer; cuda, on a GPU; None: not there.
    """

    main: Session
    single: Session | None = None
    cuda: Session | None = None

    @classmethod
    def of(cls, sessions: Sequence[Session]) -> Sessions:
        """Sorted by their facts; ValueError when none was on the CPU."""
        host = sorted((s for s in sessions if s.facts["device"] == "cpu"), key=lambda s: -s.facts["threads"])
        if not host:
            raise ValueError("a page needs a session on the CPU; run `python -m benchmarks`.")
        cuda = next((s for s in sessions if s.facts["device"] != "cpu"), None)
        fewer = host[1] if len(host) > 1 and host[1].facts["threads"] < host[0].facts["threads"] else None
        return cls(host[0], fewer, cuda)
