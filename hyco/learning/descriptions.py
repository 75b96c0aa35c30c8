"""What a checkpoint says of its model: plain facts from which either mode can build it again.

They stand under `model` among the facts of a checkpoint, of a model's as of a trainer's.  A file without
them was written before hyco did, and is loaded unchecked.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hyco.errors import CheckpointError
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import Grid

log = logging.getLogger("hyco.checkpoints")
Description = dict[str, Any]


def describe_surrogate(
    name: str,
    layout: FieldLayout,
    grid: Grid,
    *,
    architecture: Mapping[str, Any],
    residual: bool,
    inputs: str,
    precision: str,
) -> Description:
    """The facts of a surrogate; `architecture` complete, see `completed`."""
    return {
        "name": name,
        "architecture": {key: _plain(value) for key, value in architecture.items()},
        "residual": residual,
        "inputs": inputs,
        "layout": _layout(layout),
        "grid": _grid(grid),
        "precision": precision,
    }


def describe_equation(
    name: str, layout: FieldLayout, grid: Grid, *, dt: float, substeps: int, precision: str
) -> Description:
    """The facts of a physical model; its parameters are the arrays of the checkpoint."""
    return {
        "name": name,
        "dt": float(dt),
        "substeps": int(substeps),
        "layout": _layout(layout),
        "grid": _grid(grid),
        "precision": precision,
    }


def completed(build: Callable[..., Any], architecture: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of an architecture, with the defaults of `build` for those not given."""
    options = inspect.signature(build).parameters.values()
    defaults = {p.name: p.default for p in options if p.kind is p.KEYWORD_ONLY}
    return {**defaults, **architecture}


def grid_of(description: Mapping[str, Any]) -> Grid:
    """The grid of a model; KeyError, TypeError or ValueError when the facts are none."""
    facts = description["grid"]
    return Grid(tuple(facts["axes"]), tuple(facts["size"]), tuple(facts["resolution"]))


def layout_of(description: Mapping[str, Any]) -> FieldLayout:
    """The fields of a model; KeyError or TypeError when the facts are none."""
    facts = description["layout"]
    return FieldLayout(tuple(FieldSpec(**f) for f in facts["fields"]), tuple(facts["axes"]))


def description_in(origin: Path | str, facts: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the facts of a checkpoint say of its model; None for a file that says nothing.

    Raises CheckpointError when what they say is no description.
    """
    found = facts.get("model")
    if found is None:
        return None
    try:
        grid_of(found), layout_of(found), str(found["name"]), str(found["precision"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{origin}: what it says of its model is damaged ({type(error).__name__}: {error}). "
            "Use another checkpoint, or train again."
        ) from error
    return found


def check_surrogate(origin: Path | str, expected: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Raise CheckpointError when weights were trained for a network that computes something else with them.

    Shapes do not show that: whether the output is a change (`residual`), what the network sees (`inputs`),
    its activation, its boundary (`periodic`), and which components there are.  Another grid is allowed.
    """
    found = description_in(origin, facts)
    if found is not None:
        differences = _differences(_meaning(expected), _meaning(found))
        if differences:
            raise CheckpointError(
                f"{origin}: these weights are of another network: {'; '.join(differences)}. "
                "Nothing was loaded; use the configuration it was trained with."
            )


def check_equation(origin: Path | str, expected: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Raise CheckpointError for the parameters of another equation; warn of another discretisation.

    Parameters keep their meaning when the box, the step or the boundaries differ, so that is only said.
    """
    found = description_in(origin, facts)
    if found is None:
        return
    if found["name"] != expected["name"]:
        raise CheckpointError(
            f"{origin}: expected parameters of {expected['name']}, found those of {found['name']}. "
            "Nothing was loaded; use the configuration it was trained with."
        )
    differences = _differences(_discretisation(expected), _discretisation(found))
    if differences:
        log.warning("%s: the parameters were fitted with another model: %s", origin, "; ".join(differences))


def _meaning(description: Mapping[str, Any]) -> dict[str, Any]:
    layout, architecture = layout_of(description), description.get("architecture", {})
    return {
        "name": description["name"],
        "residual": description.get("residual"),
        "inputs": description.get("inputs"),
        "activation": architecture.get("activation"),
        "periodic": architecture.get("periodic"),
        "dynamic components": list(layout.dynamic),
        "static components": list(layout.static),
    }


def _discretisation(description: Mapping[str, Any]) -> dict[str, Any]:
    boundaries = {f"boundary of {f.name}": f.boundary for f in layout_of(description).fields}
    keys = ("dt", "substeps")
    return {key: description.get(key) for key in keys} | dict(description["grid"]) | boundaries


def _differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    return [
        f"{key}: expected {value!r}, found {found.get(key)!r}"
        for key, value in expected.items()
        if found.get(key) != value
    ]


def _layout(layout: FieldLayout) -> dict[str, Any]:
    return {"axes": list(layout.axes), "fields": [asdict(f) for f in layout.fields]}


def _grid(grid: Grid) -> dict[str, Any]:
    return {key: list(value) for key, value in asdict(grid).items()}


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
