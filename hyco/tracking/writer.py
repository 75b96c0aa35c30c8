"""What a place to report to can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal

Ending = Literal["finished", "failed", "interrupted"]


class Writer(ABC):
    """Receives scalars and pictures.

    A `group` has steps of its own: epochs of the surrogate (`synthetic`), solves (`physical`), `cycles`,
    `rollouts`, `evaluation`.  A step that comes again replaces what earlier
    processes wrote from that step on.
    """

    name: str

    @abstractmethod
    def scalars(self, group: str, step: int, values: Mapping[str, float]) -> None:
        """Write finite numbers by tag; they can be read once this returns."""

    @abstractmethod
    def picture(self, group: str, step: int, tag: str, png: bytes) -> None:
        """Write a picture."""

    @abstractmethod
    def close(self, ending: Ending) -> None:
        """Nothing comes any more, for this reason."""
