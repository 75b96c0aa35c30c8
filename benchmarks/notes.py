"""What a person wrote about missed targets (`notes.md`), for the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.targets import TARGETS, Verdict

NOTES = Path(__file__).with_name("notes.md")


def read_notes(text: str) -> dict[str, str]:
    """Notes by the name of their target; ValueError for a heading that no target has.

    What stands before the first heading is for the person who writes them.
    """
    known = {target.name for target in TARGETS}
    notes: dict[str, str] = {}
    for part in ("\n" + text).split("\n## ")[1:]:
        name, _, body = part.partition("\n")
        if name.strip() not in known:
            raise ValueError(
                f"notes: expected headings that name targets ({', '.join(sorted(known))}); "
                f"got {name.strip()!r}."
            )
        if body.strip():
            notes[name.strip()] = body.strip()
    return notes


def explained(verdicts: Iterable[Verdict], notes: Mapping[str, str]) -> list[str]:
    """A paragraph for every target that is not met everywhere; what is met needs none."""
    parts = []
    for verdict in verdicts:
        if verdict.word in ("missed", "met on average only"):
            note = notes.get(verdict.target.name, "No note in `benchmarks/notes.md`.")
            parts.append(f"**{verdict.target.name}** ({verdict.word}). {note}")
    return parts
