"""Builds the model of a checkpoint in both modes, from what the file says of it, and compares one step.

The reference is of the mode that the file was converted from and is given its arrays; the candidate is of
the other one, and reads the file that is to be kept, as a run would.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.errors import CheckpointError, ConfigError
from hyco.interfaces import Optimizer, Side
from hyco.learning.bases import basis_of
from hyco.learning.checkpoints import under
from hyco.learning.descriptions import description_in, grid_of, layout_of
from hyco.migration.registry import resolve, use_mode
from hyco.problem.equations import EQUATIONS
from hyco.problem.sampling import smooth_random_field
from hyco.testing.compare import Difference, Snapshot, measure

Named = Mapping[str, NDArray[Any]]
BATCH = 2
SEED = 0


@dataclass(frozen=True)
class Content:
    """What a checkpoint holds, whatever its format: its kind, arrays by name, facts."""

    kind: str
    arrays: Named
    facts: Mapping[str, Any]


class Unsaid(Exception):
    """The file does not say enough of its model to build it; the message says what is missing."""


@dataclass(frozen=True)
class _Family:
    """Kinds of checkpoints that are rebuilt alike.

    `prefix` of the names of the model's own arrays; `trainer` that reads the file, where it is not the model;
    `quantity` of the table by which one step is judged.
    """

    model: str
    quantity: str
    prefix: str = ""
    trainer: str = ""


FAMILIES = {
    "network": _Family("synthetic_model", "network"),
    "physical model": _Family("physical_model", "step"),
    "synthetic training state": _Family("synthetic_model", "network", "weights", "synthetic_trainer"),
    "physical training state": _Family("physical_model", "step", "parameters", "physical_trainer"),
}


def compare_outputs(content: Content, path: Path, side: Side, other: Side) -> Difference:
    """How far apart a step is of the model of `content` on side `other`, and of the file `path` on `side`.

    Raises CheckpointError when the file is not read as what `content` holds, and Unsaid when nothing can be
    built.
    """
    family = _family(path, content.kind)
    description = description_in(path, content.facts)
    if description is None:
        raise Unsaid("the file does not say how its model is built")
    values = under(family.prefix, content.arrays) if family.prefix else content.arrays
    try:
        reference = _model(other, family, description, values)
        # other parameters than the file has, so that it shows whether they are read
        candidate = _model(side, family, description, {n: 0.5 * v for n, v in values.items()})
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise CheckpointError(
            f"{path}: its model cannot be built from what it says ({type(error).__name__}: {error})."
        ) from error
    check_same(path, content.arrays, _read(candidate, path, side, family, content, values))
    if family.model == "synthetic_model":
        reference.assign(values)
    initial = _initial(reference, family)
    before, after = (_snapshot(m, m.predict(initial, 1)) for m in (reference, candidate))
    return measure(before, after, family.quantity, precision=str(description["precision"]))


def check_same(origin: Path, expected: Named, found: Named) -> None:
    """Raise CheckpointError unless both have the same names, and under each the same bits."""
    if expected.keys() != found.keys():
        names = ", ".join(sorted(expected.keys() ^ found.keys()))
        raise CheckpointError(
            f"{origin}: the result was read with other entries than it was written with: {names}."
        )
    for name, array in expected.items():
        if _bits(array) != _bits(found[name]):
            raise CheckpointError(
                f"{origin}: {name} was written as {_words(array)}, and read from the result as "
                f"{_words(found[name])}, which differs{_by(array, found[name])}."
            )


def _family(path: Path, kind: str) -> _Family:
    for ending, family in FAMILIES.items():
        if kind.endswith(ending):
            return family
    raise CheckpointError(f"{path}: a checkpoint of a {kind!r}; expected one of {', '.join(FAMILIES)}.")


def _model(side: Side, family: _Family, description: Mapping[str, Any], values: Named) -> Any:
    """A model as it is described; a physical one with these parameters."""
    with use_mode(side):
        cls = resolve(family.model, description["name"])
    layout, grid = layout_of(description), grid_of(description)
    compute = {"device": "cpu", "precision": description["precision"]}
    if family.model == "synthetic_model":
        chosen = {key: description[key] for key in ("architecture", "residual", "inputs")}
        return cls(layout, grid, **chosen, **compute)
    unknown = [p.name for p in EQUATIONS[description["name"]].parameters if p.name not in values]
    if unknown:
        raise Unsaid(f"the file holds what was learned alone, without {', '.join(unknown)}")
    boundaries = {f.name: f.boundary for f in layout.fields}
    substeps = description["substeps"]
    return cls(grid, description["dt"], values, boundaries=boundaries, substeps=substeps, **compute)


def _read(model: Any, path: Path, side: Side, family: _Family, content: Content, values: Named) -> Named:
    """What a model or its trainer holds after it has read the file."""
    if not family.trainer:
        model.load(path)
        if family.model == "synthetic_model":
            return dict(model.weights())
        return {name: model.arrays.numpy(p) for name, p in model.parameters.items()}
    with use_mode(side):
        cls = resolve(family.trainer)
    if family.model == "physical_model":
        bases = {n: basis_of(model.grid, **of) for n, of in content.facts.get("bases", {}).items()}
        trainer = cls(model, bounds={n: model.bounds(n) for n in values}, bases=bases)
    else:
        trainer = cls(model, optimizer=Optimizer(content.facts.get("optimizer", "adam")))
    trainer.load(path)
    return dict(trainer.state().arrays)


def _initial(model: Any, family: _Family) -> NDArray[Any]:
    rng = np.random.default_rng(SEED)
    if family.model == "physical_model":
        return np.asarray(model.arrays.numpy(model.initial_state(BATCH, rng=rng)))
    return smooth_random_field(model.grid, (BATCH, len(model.layout.components)), rng)


def _snapshot(model: Any, rollout: NDArray[Any]) -> Snapshot:
    names = {"field": model.layout.components}
    return Snapshot(rollout, ("batch", "field", "time", *model.layout.axes), names)


def _bits(array: NDArray[Any]) -> tuple[str, tuple[int, ...], bytes]:
    return array.dtype.str, array.shape, np.ascontiguousarray(array).tobytes()


def _words(array: NDArray[Any]) -> str:
    return f"{array.dtype.name} {array.shape}"


def _by(expected: NDArray[Any], found: NDArray[Any]) -> str:
    if expected.shape != found.shape or expected.dtype.kind not in "fiu":
        return ""
    return f" by up to {np.max(np.abs(expected.astype(float) - found.astype(float)), initial=0.0):.3g}"
