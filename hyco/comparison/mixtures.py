"""Which side implements each component on either side of a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from hyco.config import Config
from hyco.config.run import COMPONENTS
from hyco.errors import InputError, did_you_mean
from hyco.migration.factory import choices, mode_from
from hyco.migration.registry import SIDES, use_mode

PREFIXES = ("components.", "migration.components.")


@dataclass(frozen=True)
class Mixture:
    """A side for every component that a configuration needs; `name` is what tables call it."""

    name: str
    sides: Mapping[str, str]

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Inside, components are built on these sides."""
        with use_mode("hybrid", dict(self.sides), source="hyco compare"):
            yield

    def migration(self) -> dict[str, object]:
        """The block of a configuration that says the same."""
        found = set(self.sides.values())
        if len(found) == 1:
            return {"mode": found.pop(), "components": {}}
        return {"mode": "hybrid", "components": {c: s for c, s in self.sides.items() if s == "phiml"}}


def mixtures(config: Config, candidates: Sequence[str] = (), origin: str = "") -> tuple[Mixture, Mixture]:
    """The reference and the candidate.

    Without `candidates`, all of legacy and all of phiml.  With some, such as
    `components.synthetic_model=phiml`: the mixture that the configuration has so far (legacy, where it is
    wholly phiml already), and the same with these components on these sides.

    Raises InputError for what is no such text, names no component that the configuration needs, or changes
    nothing.
    """
    if not candidates:
        needed = [row.component for row in choices(config)]
        return Mixture("legacy", dict.fromkeys(needed, "legacy")), Mixture(
            "phiml", dict.fromkeys(needed, "phiml")
        )
    so_far = sides_of(config, origin)
    if set(so_far.values()) == {"phiml"}:
        so_far = dict.fromkeys(so_far, "legacy")
    changes = dict(_change(text, so_far) for text in candidates)
    if all(so_far[c] == side for c, side in changes.items()):
        listed = ", ".join(f"{c} is {side}" for c, side in changes.items())
        raise InputError(f"--candidate changes nothing: {listed} in the reference already.")
    reference = Mixture(_name(so_far, "mixture"), so_far)
    added = ", ".join(c if side == "phiml" else f"{c}={side}" for c, side in changes.items())
    candidate = {**so_far, **changes}
    return reference, Mixture(_name(candidate, f"{reference.name} + {added}"), candidate)


def sides_of(config: Config, origin: str = "configuration") -> dict[str, str]:
    """The side of every component that a configuration needs, as it stands."""
    with mode_from(config, origin):
        return {row.component: row.mode for row in choices(config)}


def _change(text: str, needed: Mapping[str, str]) -> tuple[str, str]:
    name, equals, side = text.partition("=")
    for prefix in PREFIXES:
        name = name.removeprefix(prefix) if name.startswith(prefix) else name
    if not equals:
        raise InputError(
            f"--candidate {text!r}: expected COMPONENT=SIDE, such as components.synthetic_model=phiml."
        )
    if name not in needed:
        unused = f"this configuration needs no {name}; " if name in COMPONENTS else ""
        raise InputError(f"--candidate {text!r}: {unused}unknown component. {did_you_mean(name, needed)}")
    if side not in SIDES:
        raise InputError(f"--candidate {text!r}: unknown side {side!r}. {did_you_mean(side, SIDES)}")
    return name, side


def _name(sides: Mapping[str, str], otherwise: str) -> str:
    """The side that all are of, or another name."""
    found = set(sides.values())
    return found.pop() if len(found) == 1 else otherwise
