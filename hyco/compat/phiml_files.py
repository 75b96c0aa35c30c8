"""Files of `phiml.math.save` with one tensor: trajectories and parameters of HYCO-PhiFlow's second age."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hyco.compat.archives import read_npz
from hyco.compat.pickles import Record
from hyco.compat.recorded import Recorded, renamed
from hyco.errors import DataError
from hyco.problem.grid import AXES


@dataclass(frozen=True)
class NamedArray:
    """Values with the names of their dims, and of the items along a dim where they have some."""

    values: NDArray[Any]
    dims: tuple[str, ...]
    items: Mapping[str, tuple[str, ...]]

    def ordered(self, *leading: str) -> NDArray[Any]:
        """The values with these dims first and then x, y, z, as far as they are there."""
        order = [d for d in (*leading, *AXES) if d in self.dims]
        return self.values.transpose([self.dims.index(d) for d in order])


def read_phiml(path: str | Path) -> NamedArray:
    """The tensor in a file of `phiml.math.save`; raises DataError for anything but one dense tensor."""
    stored = read_npz(path)
    arrays = [name for name in stored if name not in ("tree", "specs", "paths")]
    try:
        (spec,) = stored["specs"].tolist()
        if len(arrays) != 1 or spec["type"] != "dense":
            raise DataError(
                f"{path}: expected one dense tensor, found {len(arrays)} arrays of a {spec['type']} one."
            )
        values, dims = stored[arrays[0]], tuple(str(name) for name in spec["names"])
        items = {name: names for name, names in _item_names(spec["shape"]) if names}
        found = NamedArray(values, dims, items)
        if values.ndim != len(dims) or any(
            len(names) != values.shape[dims.index(dim)] for dim, names in items.items()
        ):
            raise DataError(f"{path}: its dims {dims} do not fit its values of shape {values.shape}.")
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: expected a tensor of phiml.math.save, but it is none ({type(error).__name__}: {error})."
        ) from error
    return found


def _item_names(shape: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(dim, item names) of every dim that a pickled shape speaks of."""
    if isinstance(shape, Record) and shape.name == "Dim":
        name, _, _, names = shape.content
        yield str(name), tuple(str(n) for n in names or ())
    elif isinstance(shape, Record):
        yield from _item_names(shape.content)
    elif isinstance(shape, dict):
        yield from _item_names(list(shape.values()))
    elif isinstance(shape, (list, tuple)):
        for part in shape:
            yield from _item_names(part)


def read_phiml_trajectory(path: str | Path) -> Recorded:
    """A trajectory of dims (time, x, y, field), whose item names along `field` are its components.

    Such a file knows neither its box nor its time step.
    """
    found = read_phiml(path)
    _check_dims(path, found, {"time", "field"})
    names = found.items.get("field")
    if not names:
        raise DataError(f"{path}: the components along 'field' have no names, so they cannot be told apart.")
    components = found.ordered("field", "time")
    return Recorded(Path(path), {renamed(n): c for n, c in zip(names, components, strict=True)})


def read_phiml_parameters(path: str | Path) -> dict[str, NDArray[Any]]:
    """Parameters by name: a number each, or one value per cell (*space)."""
    found = read_phiml(path)
    _check_dims(path, found, {"field"})
    names = found.items.get("field")
    if not names:
        raise DataError(f"{path}: the parameters along 'field' have no names, so they cannot be told apart.")
    return dict(zip(names, found.ordered("field"), strict=True))


def _check_dims(path: str | Path, found: NamedArray, others: set[str]) -> None:
    """The dims are these and the first axes."""
    axes = [a for a in AXES if a in found.dims]
    if set(found.dims) != others | set(axes) or axes != list(AXES[: len(axes)]):
        raise DataError(
            f"{path}: expected the dims {', '.join(sorted(others))} and x, y, z; found {found.dims}."
        )
