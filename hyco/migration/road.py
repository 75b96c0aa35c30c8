"""The road from legacy to phiml: one component at a time, in orders that prove each step alone."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hyco.config import Config
from hyco.errors import ModeError, did_you_mean
from hyco.migration.factory import choices

MODELS = ("synthetic_model", "physical_model")
TRAINERS = ("synthetic_trainer", "physical_trainer", "hybrid_trainer")
ORDERS: Mapping[str, tuple[str, ...]] = {
    "models": (*MODELS, *TRAINERS, "dataset", "data_manager"),
    "forward": ("data_manager", "dataset", *MODELS, *TRAINERS),
}
# What a component writes, which one of the other side cannot read; {last} is the folder of the newest state
CHECKPOINTS = {
    "synthetic_model": "synthetic_best",
    "physical_model": "physical_best",
    "synthetic_trainer": "{last}/synthetic",
    "physical_trainer": "{last}/physical",
}


@dataclass(frozen=True)
class Step:
    """The next component to move.

    Args:
        component: which one.
        number, of: which step it is among those that this configuration needs.
        components: the map of sides after it; what it does not list is legacy.
        checkpoint: the file, without its ending, that a run which goes on has to convert; or None.  `{last}`
            in it stands for the folder of the newest state.
    """

    component: str
    number: int
    of: int
    components: Mapping[str, str]
    checkpoint: str | None

    @property
    def block(self) -> str:
        """The `migration:` of a configuration once the step is made."""
        if self.number == self.of:
            return "migration: {mode: phiml}"
        listed = ", ".join(f"{name}: {side}" for name, side in self.components.items())
        return f"migration: {{mode: hybrid, components: {{{listed}}}}}"

    def command(self, config: str, overrides: Sequence[str] = ()) -> str:
        """The command that proves that the step changes nothing."""
        words = ["hyco", "compare", config, *overrides]
        return shlex.join([*words, "--candidate", f"components.{self.component}=phiml"])


def next_step(config: Config, order: str = "models") -> Step | None:
    """The first component in this order that is legacy as things stand; None when there is none left.

    `order`: models first, then trainers, then data; or `forward`, the way of the data.  Raises ModeError for
    any other.
    """
    if order not in ORDERS:
        raise ModeError(f"unknown order {order!r}. {did_you_mean(order, ORDERS)}")
    sides = {row.component: row.mode for row in choices(config)}
    road = [component for component in ORDERS[order] if component in sides]
    left = [component for component in road if sides[component] == "legacy"]
    if not left:
        return None
    moved = {c: "phiml" for c in road if sides[c] == "phiml"} | {left[0]: "phiml"}
    number = len(road) - len(left) + 1
    return Step(left[0], number, len(road), moved, CHECKPOINTS.get(left[0]))


def maps(config: Config, order: str = "models") -> list[dict[str, str]]:
    """The map of components after every step of the road, from the first to the last."""
    needed = {row.component for row in choices(config)}
    road = [component for component in ORDERS[order] if component in needed]
    return [dict.fromkeys(road[: i + 1], "phiml") for i in range(len(road))]


def conversion(checkpoint: Path, side: str) -> str:
    """The command that makes a checkpoint (without its ending) one of `side`."""
    endings = {"legacy": ".pth", "phiml": ".phiml"}
    other = "legacy" if side == "phiml" else "phiml"
    source, target = (f"{checkpoint}{endings[s]}" for s in (other, side))
    return shlex.join(["hyco", "convert", "checkpoint", source, target])
