"""The original's blocks about models and fields, in hyco's keys."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.config.moves import Moves, is_number, number, shown
from hyco.errors import ExpressionError
from hyco.problem.equation import substeps_needed
from hyco.problem.equations import EQUATIONS
from hyco.problem.expressions import evaluate
from hyco.problem.grid import AXES, Grid

MODELS = {
    "BurgersModel": "burgers",
    "InviscidBurgersModel": "inviscid_burgers",
    "HeatModel": "heat",
    "AdvectionModel": "advection",
}
SURROGATES = {"UNet": "unet", "ResNet": "resnet", "ConvNet": "convnet"}
FIELDS = {"temp": "temperature", "smoke": "density", "vel": "velocity"}
SUBSTEPS = {"first": 5, "second": 1}
_PHYSICAL, _SYNTHETIC = "model.physical", "model.synthetic"


def upgrade_models(moves: Moves, *, first: bool) -> None:
    """Equation, box, parameter and substeps; surrogate and its architecture."""
    name = moves.get(f"{_PHYSICAL}.name")
    if name not in MODELS and name not in MODELS.values():
        moves.refuse(
            f"{_PHYSICAL}.name",
            f"configurations with the equations {', '.join(MODELS)} can be upgraded, not with {name!r}. "
            "Write the configuration anew, from one that `hyco configs` lists.",
        )
    moves.change(f"{_PHYSICAL}.name", MODELS.get(name, name))
    _upgrade_domain(moves)
    _upgrade_parameter(moves, first=first)
    surrogate = moves.get(f"{_SYNTHETIC}.name")
    if surrogate in SURROGATES:
        moves.change(f"{_SYNTHETIC}.name", SURROGATES[surrogate])
    why = "as the original's networks are"
    moves.change(f"{_SYNTHETIC}.residual", False, f"{why}: they predict the next fields themselves")
    moves.change(f"{_SYNTHETIC}.architecture.periodic", False, f"{why}: padded with zeros")
    if not moves.has(f"{_SYNTHETIC}.architecture.batch_norm"):
        moves.change(f"{_SYNTHETIC}.architecture.batch_norm", True, "the original's default")


def parameter_name(moves: Moves) -> str:
    """hyco's name of the one parameter; the equation is hyco's already."""
    return EQUATIONS[moves.get(f"{_PHYSICAL}.name")].parameters[0].name


def _upgrade_domain(moves: Moves) -> None:
    domain = moves.block(f"{_PHYSICAL}.domain")
    if "dimensions" in domain:
        moves.move(f"{_PHYSICAL}.domain.dimensions", f"{_PHYSICAL}.domain")
        return
    resolution = moves.block(f"{_PHYSICAL}.resolution")
    axes = [a for a in AXES if f"size_{a}" in domain or a in resolution]
    made = {a: {"size": domain.get(f"size_{a}"), "resolution": resolution.get(a)} for a in axes}
    others = {key: value for key, value in domain.items() if key not in {f"size_{a}" for a in axes}}
    moves.take(f"{_PHYSICAL}.resolution")
    moves.put(f"{_PHYSICAL}.domain", {**made, **others})
    moves.note(f"{_PHYSICAL}.domain.size_x ... and .resolution", f"{_PHYSICAL}.domain: {shown(made)}")


def _upgrade_parameter(moves: Moves, *, first: bool) -> None:
    old = moves.block(f"{_PHYSICAL}.pde_params")
    name = parameter_name(moves)
    made = {key: value for key, value in old.items() if key != "name"}
    moves.take(f"{_PHYSICAL}.pde_params")
    moves.put(f"{_PHYSICAL}.parameters", {name: made})
    moves.note(f"{_PHYSICAL}.pde_params: {shown(old)}", f"{_PHYSICAL}.parameters.{name}")
    spec = EQUATIONS[moves.get(f"{_PHYSICAL}.name")].parameter(name)
    if not spec.diffusive:
        return
    grid, dt = _grid(moves), number(moves.get(f"{_PHYSICAL}.dt"))
    values = None if grid is None else _values(made.get("value"), grid)
    substeps = SUBSTEPS["first" if first else "second"]
    if grid is not None and values is not None and is_number(dt) and dt > 0:
        limit = 0.5 * min(grid.spacing) ** 2 / dt
        if first and (values.min() < 0 or values.max() > limit):
            cut = f"minimum(maximum({made['value']}, 0), {limit!r})"
            moves.change(f"{_PHYSICAL}.parameters.{name}.value", cut, "cut as in the original")
            values = np.clip(values, 0.0, limit)
        substeps = max(substeps, substeps_needed(float(values.max()), grid, dt))
    if not moves.has(f"{_PHYSICAL}.substeps"):
        moves.change(f"{_PHYSICAL}.substeps", substeps, "of diffusion, as many as the original made at least")


def _grid(moves: Moves) -> Grid | None:
    """The grid, where the domain is one."""
    domain = moves.block(f"{_PHYSICAL}.domain")
    try:
        axes = {a: (domain[a]["size"], domain[a]["resolution"]) for a in AXES if a in domain}
        return Grid.of(**axes) if len(axes) == len(domain) else None
    except (KeyError, TypeError, ValueError):
        return None


def _values(formula: Any, grid: Grid) -> NDArray[np.float64] | None:
    """The parameter in every cell, where the formula is one."""
    try:
        return evaluate(formula, grid)
    except ExpressionError:
        return None


def upgrade_fields(moves: Moves) -> None:
    """Letters for channels, and lists of static components, are hyco's two lists of fields."""
    _upgrade_static_components(moves)
    fields, scheme, kinds = (moves.get(f"data.{k}") for k in ("fields", "fields_scheme", "fields_type"))
    if not isinstance(scheme, str):
        return
    if not (isinstance(fields, list) and isinstance(kinds, str) and len(kinds) == len(scheme)):
        moves.refuse(
            "data.fields_scheme",
            "expected one letter per channel, as in fields_type, and a list of fields that begin with them; "
            f"got {scheme!r}, {kinds!r} and {fields!r}.",
        )
    lists: dict[str, list[str]] = {"dynamic": [], "static": []}
    for field in fields:
        begin = str(field)[:1].lower()
        letters = {k.upper() for s, k in zip(scheme, kinds, strict=True) if s.lower() == begin}
        if letters not in ({"D"}, {"S"}):
            found = ", ".join(sorted(letters)) or "none"
            moves.refuse("data.fields_type", f"expected D or S for all channels of {field!r}, got {found}.")
        lists["dynamic" if letters == {"D"} else "static"].append(FIELDS.get(str(field), str(field)))
    for key in ("fields", "fields_type", "fields_scheme"):
        moves.take(f"data.{key}")
    moves.put("data.fields_scheme", lists)
    moves.note(
        f"data.fields, fields_scheme: {scheme}, fields_type: {kinds}", f"data.fields_scheme: {shown(lists)}"
    )


def _upgrade_static_components(moves: Moves) -> None:
    """The second schema names the static components; in hyco the equation knows them."""
    given = moves.get(f"{_SYNTHETIC}.static_fields")
    if given is None:
        return
    grid = _grid(moves)
    equation = EQUATIONS[moves.get(f"{_PHYSICAL}.name")]
    known = equation.layout(grid).static if grid is not None else ()
    names = [str(n).replace("vel_", "velocity_", 1) for n in given] if isinstance(given, list) else []
    if grid is not None and sorted(names) != sorted(known):
        moves.refuse(
            f"{_SYNTHETIC}.static_fields",
            f"the static components of {equation.name} are {', '.join(known) or 'none'}, got {shown(given)}.",
        )
    moves.drop(f"{_SYNTHETIC}.static_fields", "the equation says which fields are static")
