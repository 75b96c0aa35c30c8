"""Which variable of a file is which component of a state.

`data.source.fields` gives a field the name of a variable, or, for a vector, one name per axis.  A name may
end in the number of a component, counted from 0: `data.1` is the second one of `data`, `D.0.1` an entry of a
tensor.  A field that is not listed is looked for by its own name, by those of its components
(`velocity_x`), and by what the layout calls them (`Vx`); where a file has one variable alone, its components
are those of the state, in order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from hyco.errors import DataError
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.storage.sources.contents import Contents, Variable

_INDEXED = re.compile(r"(.+?)((?:\.\d+)+)")


class Part(NamedTuple):
    """One component of a state: a variable, and which of its components."""

    variable: Variable
    component: tuple[int, ...]


def parts_of(
    contents: Contents,
    layout: FieldLayout,
    names: Mapping[str, str | tuple[str, ...]],
    usual: Mapping[str, str],
) -> tuple[Part, ...]:
    """The components of a state, in storage order; `usual`: field -> how its components may be called.

    Raises DataError for a field that is not in the file or has another number of components.
    """
    alone = list(contents.variables.values())
    if not names and len(alone) == 1 and layout.fields[0].name not in contents.variables:
        found = _all_of(alone[0])
        if len(found) == len(layout.components):
            return tuple(found)
    return tuple(
        part for spec in layout.fields for part in _field(contents, spec, layout, names.get(spec.name), usual)
    )


def _field(
    contents: Contents,
    spec: FieldSpec,
    layout: FieldLayout,
    name: str | tuple[str, ...] | None,
    usual: Mapping[str, str],
) -> Sequence[Part]:
    components = spec.components(layout.axes)
    if name is None:
        name = _guess(contents, spec, layout, usual)
    if isinstance(name, tuple):
        found = [part for one in name for part in _named(contents, spec.name, one)]
    else:
        found = list(_named(contents, spec.name, name))
    if len(found) != len(components):
        raise DataError(
            f"expected {len(components)} components of the field {spec.name} ({', '.join(components)}), "
            f"found {len(found)} in {name if isinstance(name, str) else ', '.join(name)}. Name them under "
            f"data.source.fields: {spec.name}; `.0`, `.1` ... after a name picks one of its components."
        )
    return found


def _guess(
    contents: Contents, spec: FieldSpec, layout: FieldLayout, usual: Mapping[str, str]
) -> str | tuple[str, ...]:
    """The first of the usual names that is there; else the field's own, which is then missed."""
    called = usual.get(spec.name)
    options = [
        spec.components(layout.axes),
        *([tuple(called.format(axis=axis) for axis in layout.axes)] if called else []),
    ]
    if spec.name in contents.variables:
        return spec.name
    return next((o for o in options if all(n in contents.variables for n in o)), spec.name)


def _named(contents: Contents, field: str, name: str) -> Sequence[Part]:
    """All components of a variable, or the one that the name ends in."""
    known, indexed = contents.variables, _INDEXED.fullmatch(name)
    if name in known:
        return _all_of(known[name])
    if indexed and indexed[1] in known:
        variable = known[indexed[1]]
        index = tuple(int(i) for i in indexed[2][1:].split("."))
        sizes = variable.components
        if len(index) != len(sizes) or any(i >= n for i, n in zip(index, sizes, strict=True)):
            raise DataError(f"expected a component of {indexed[1]}, which has {sizes or 'none'}, got {name}")
        return [Part(variable, index)]
    base = indexed[1] if indexed and indexed[1] in contents.strange else name
    there = ", ".join(sorted(known)) or "none"
    if base in contents.strange:
        raise DataError(
            f"expected {base} as values in time and space on a grid as in model.physical.domain, but it has "
            f"the shape {contents.strange[base]}. Correct the domain (its axes and resolution), or name "
            f"another variable under data.source.fields: {field}. Variables that fit: {there}."
        )
    shapes = ", ".join(f"{n} {shape}" for n, shape in contents.strange.items())
    others = f", and on no grid as in model.physical.domain {shapes}" if shapes else ""
    raise DataError(
        f"expected a variable {name!r} for the field {field}, found {there}{others}. Name the right one "
        f"under data.source.fields: {field}."
    )


def _all_of(variable: Variable) -> list[Part]:
    sizes = variable.components
    return [Part(variable, tuple(int(i) for i in np.unravel_index(n, sizes))) for n in range(prod(sizes))]
