"""Which fields make up a state, and in which order their components are stored."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hyco.problem.grid import Boundary


@dataclass(frozen=True)
class FieldSpec:
    """One physical field of the state: its name, whether it is a vector, whether it evolves, its boundary."""

    name: str
    vector: bool = False
    static: bool = False
    boundary: Boundary = "periodic"
    unit: str = "1"

    def components(self, axes: tuple[str, ...]) -> tuple[str, ...]:
        """`velocity_x, velocity_y` for a vector on x, y; the bare name for a scalar."""
        return tuple(f"{self.name}_{a}" for a in axes) if self.vector else (self.name,)


@dataclass(frozen=True)
class FieldLayout:
    """The components of a state in storage order: the fields one after the other, vectors by axis.

    Both modes use this order: legacy along the second dimension of its tensors, phiml as the item names
    of the channel dimension `field`.
    """

    fields: tuple[FieldSpec, ...]
    axes: tuple[str, ...]

    @cached_property
    def components(self) -> tuple[str, ...]:
        """Names of all components, in storage order."""
        return tuple(c for f in self.fields for c in f.components(self.axes))

    @cached_property
    def dynamic(self) -> tuple[str, ...]:
        """Names of the components that evolve."""
        return tuple(c for f in self.fields if not f.static for c in f.components(self.axes))

    @cached_property
    def static(self) -> tuple[str, ...]:
        """Names of the components that are given and stay."""
        return tuple(c for f in self.fields if f.static for c in f.components(self.axes))

    def indices(self, components: tuple[str, ...]) -> tuple[int, ...]:
        """Positions of `components` in storage order."""
        return tuple(self.components.index(c) for c in components)

    def slice_of(self, name: str) -> slice:
        """Where the components of one field stand in storage order."""
        start = 0
        for f in self.fields:
            width = len(f.components(self.axes))
            if f.name == name:
                return slice(start, start + width)
            start += width
        raise KeyError(f"no field {name!r}; there are {', '.join(f.name for f in self.fields)}")

    def field(self, name: str) -> FieldSpec:
        """The field of that name."""
        return next(f for f in self.fields if f.name == name)
