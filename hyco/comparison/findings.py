"""What a comparison found: differences with their verdicts, times, curves; and the same as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import inf, isfinite
from statistics import median
from typing import Any

import numpy as np

from hyco.migration.shadow.recorder import Part
from hyco.report.summary import strict_json
from hyco.testing.compare import Mismatch, measure
from hyco.testing.tolerances import TOLERANCES, Tolerance


@dataclass(frozen=True)
class Finding:
    """The worst difference of one quantity.

    Args:
        what: the call that it comes from, in words.
        quantity: the row of the table of tolerances; what the numbers are, where there is no row.
        error, place: max |candidate - reference|, and where that is.
        scale: what `allowed` is a share of: max |reference|, and the terms that cancelled in it.
        allowed: by the table; None where nothing is judged.
        note: why it is not judged, or what went wrong.
    """

    what: str
    quantity: str
    error: float
    place: str
    scale: float
    allowed: float | None
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether the error is allowed; what is not judged passes."""
        return self.allowed is None or self.error <= self.allowed

    @property
    def verdict(self) -> str:
        """pass, FAIL, or shown."""
        return "shown" if self.allowed is None else "pass" if self.passed else "FAIL"

    @property
    def relative(self) -> float:
        """The error as a share of the scale."""
        return self.error / self.scale if self.scale else self.error

    @property
    def share(self) -> float | None:
        """The error in units of what is allowed."""
        if self.allowed is None:
            return None
        return self.error / self.allowed if self.allowed else inf if self.error else 0.0


@dataclass(frozen=True)
class Timing:
    """Seconds of repeated calls, warm, both sides in turn."""

    call: str
    reference: Sequence[float]
    candidate: Sequence[float]

    @property
    def medians(self) -> tuple[float, float]:
        """Of the reference, and of the candidate."""
        return median(self.reference), median(self.candidate)

    @property
    def ratio(self) -> float:
        """Time of the candidate as a share of the reference's."""
        reference, candidate = self.medians
        return candidate / reference


@dataclass(frozen=True)
class Section:
    """One component, or the whole training: which implementation of which sides, and what was found."""

    name: str
    implementation: str = ""
    sides: tuple[str, str] = ("", "")
    findings: Sequence[Finding] = ()
    timings: Sequence[Timing] = ()
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing is outside its tolerance."""
        return all(f.passed for f in self.findings)

    @property
    def worst(self) -> Finding | None:
        """The judged finding that is nearest to its tolerance, or farthest above."""
        judged = [f for f in self.findings if f.share is not None]
        return max(judged, key=lambda f: f.share or 0.0, default=None)


@dataclass(frozen=True)
class Comparison:
    """All of it.

    Args:
        title: what was compared with what; names: of the reference and the candidate.
        precision: the column of the table.
        notes: what the reader must know: how a configuration was cut, what is not judged and why.
        curves: model -> `reference`, `candidate` -> records of its epochs.
        costs: of a training in a process of its own: seconds and MiB, for reference and candidate.
        facts: versions, machine.
    """

    title: str
    names: tuple[str, str]
    precision: str
    sections: Sequence[Section]
    notes: Sequence[str] = ()
    curves: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]] = field(default_factory=dict)
    costs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether nothing is outside its tolerance."""
        return all(s.passed for s in self.sections)

    def plain(self) -> dict[str, Any]:
        """Everything as JSON can write it."""
        sections = [
            {
                **asdict(section),
                "passed": section.passed,
                "findings": [
                    {**asdict(f), "relative": f.relative, "share": f.share, "verdict": f.verdict}
                    for f in section.findings
                ],
                "timings": [{**asdict(t), "medians": t.medians, "ratio": t.ratio} for t in section.timings],
            }
            for section in self.sections
        ]
        whole = {k: getattr(self, k) for k in ("title", "names", "precision", "notes", "curves", "costs")}
        plain: dict[str, Any] = strict_json(
            {**whole, "passed": self.passed, "sections": sections, "facts": self.facts}
        )
        return plain


def judge(
    what: str, reference: Sequence[Part], candidate: Sequence[Part], precision: str, *, shown: str = ""
) -> list[Finding]:
    """The worst difference of every quantity among the parts of two results.

    `shown`: why nothing of this is judged.  What is not of a kind is a finding too, and fails.
    """
    expected, found = ({(p.quantity, p.name): p for p in parts} for parts in (reference, candidate))
    if expected.keys() != found.keys():
        strange = sorted(f"{name} ({quantity})" for quantity, name in expected.keys() ^ found.keys())
        return [failure(what, f"only one side has {', '.join(strange)}")]
    return worst(_finding(what, part, found[key], precision, shown) for key, part in expected.items())


def worst(findings: Iterable[Finding]) -> list[Finding]:
    """Of all findings of the same call and quantity, the one with the largest share of what is allowed."""
    kept: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        known = kept.get((finding.what, finding.quantity))
        if known is None or _badness(finding) > _badness(known):
            kept[finding.what, finding.quantity] = finding
    return list(kept.values())


def failure(what: str, why: str) -> Finding:
    """A comparison that could not even be made."""
    return Finding(what, "comparable results", inf, why, 0.0, 0.0, note=why)


def _finding(what: str, part: Part, candidate: Part, precision: str, shown: str) -> Finding:
    exact = np.asarray(getattr(part.values, "values", part.values)).dtype.kind != "f"
    row = TOLERANCES.get(part.quantity, {}).get(precision)
    tolerated = row or Tolerance(0.0, 0.0, "")
    if part.magnitude:
        tolerated = Tolerance(tolerated.rtol, tolerated.atol + tolerated.rtol * part.magnitude, "")
    try:
        d = measure(part.values, candidate.values, part.quantity, tolerated=tolerated, informative=False)
    except Mismatch as error:
        return failure(what, str(error))
    place = (f"{part.name}: {d.place}" if part.name else d.place) if d.error else ""
    why = shown or ("" if row or exact else f"the table has no row for this in {precision}")
    if why and isfinite(d.error):
        return Finding(what, part.quantity, d.error, place, d.scale + part.magnitude, None, why)
    return Finding(what, part.quantity, d.error, place, d.scale + part.magnitude, d.allowed)


def _badness(finding: Finding) -> float:
    return finding.relative if finding.share is None else finding.share
