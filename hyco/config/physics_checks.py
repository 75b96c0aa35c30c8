"""Checks of the equation and its parameters: names, ranks, signs, and the stability of explicit steps."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from hyco.config.schema import Config, ParameterValue, guess_path
from hyco.errors import ConfigError, did_you_mean
from hyco.problem.equation import diffusion_limit, substeps_needed
from hyco.problem.equations import EQUATIONS

_PHYSICAL = "model.physical"
_LEARNABLE = "trainer.physical.learnable_parameters"
_ROUNDING = 1e-12


def equation_is_known(config: Config) -> None:
    """The equation is one that hyco has."""
    name = config.model.physical.name
    if config.has_equation and name not in EQUATIONS:
        raise ConfigError(f"{_PHYSICAL}.name: unknown equation {name!r}. {did_you_mean(name, EQUATIONS)}")


def equation_has_this_rank(config: Config) -> None:
    """The equation is defined in as many dimensions as the domain has."""
    equation, rank = config.equation, config.grid.rank
    if rank not in equation.ranks:
        ranks = " or ".join(map(str, equation.ranks))
        raise ConfigError(f"{_PHYSICAL}.domain: {equation.name} needs {ranks} dimensions, not {rank}.")


def fields_are_the_equations(config: Config) -> None:
    """Boundaries and `fields_scheme` name the fields of the equation."""
    known = [f.name for f in config.equation.fields]
    for name in config.model.physical.boundaries:
        _known(name, known, f"{_PHYSICAL}.boundaries", "field")
    scheme = config.data.fields_scheme
    if scheme is None:
        return
    for kind, given in (("dynamic", scheme.dynamic), ("static", scheme.static)):
        expected = sorted(f.name for f in config.equation.fields if f.static == (kind == "static"))
        if sorted(given) != expected:
            raise ConfigError(
                f"data.fields_scheme.{kind}: the {kind} fields of {config.equation.name} are {expected}, "
                f"got {list(given)}. Correct the list, or leave fields_scheme out."
            )
    vectors = sorted(f.name for f in config.equation.fields if f.vector)
    if scheme.vectors and sorted(scheme.vectors) != vectors:
        raise ConfigError(
            f"data.fields_scheme.vectors: the vectors of {config.equation.name} are {vectors}, got "
            f"{list(scheme.vectors)}. Correct the list, or leave it out."
        )


def parameters_are_the_equations(config: Config) -> None:
    """Every parameter of the equation is given, and no other."""
    known, given = [p.name for p in config.equation.parameters], config.model.physical.parameters
    for name in given:
        _known(name, known, f"{_PHYSICAL}.parameters", "parameter")
    for spec in config.equation.parameters:
        if spec.name not in given:
            raise ConfigError(
                f"{_PHYSICAL}.parameters: {config.equation.name} needs {spec.name!r} ({spec.description}, "
                f"in {spec.unit}); add {spec.name}: {{type: scalar, value: ...}}."
            )


def parameters_are_of_a_kind_that_can_be(config: Config) -> None:
    """A parameter of which only the gradient acts is no scalar."""
    for name, parameter in config.model.physical.parameters.items():
        kinds = config.equation.parameter(name).kinds
        if parameter.type not in kinds:
            raise ConfigError(
                f"{_PHYSICAL}.parameters.{name}.type: {name} of {config.equation.name} must be a "
                f"{' or '.join(kinds)}, got {parameter.type!r}."
            )


def learnable_parameters_exist(config: Config) -> None:
    """Learnable parameters are parameters of the equation, each named once."""
    for i, name in enumerate(config.learnable):
        _known(name, config.model.physical.parameters, f"{_LEARNABLE}.{i}.name", "parameter")
        if name in config.learnable[:i]:
            raise ConfigError(f"{_LEARNABLE}.{i}.name: {name!r} is listed twice; keep one entry.")


def something_is_learned(config: Config) -> None:
    """A physical or hybrid training has at least one parameter to recover."""
    mode = config.general.mode
    if mode != "synthetic" and not config.learnable:
        raise ConfigError(
            f"{_LEARNABLE}: general.mode {mode} needs at least one, such as "
            f"[{{name: {config.equation.parameters[0].name}, initial_guess: 0.01}}]; none is listed."
        )


def true_parameters_are_admissible(config: Config) -> None:
    """The true parameters can be evaluated, and explicit steps with them are stable."""
    for name, value in config.true_parameters().items():
        _admissible(config, name, value, f"{_PHYSICAL}.parameters.{name}.value")


def bounds_are_admissible(config: Config) -> None:
    """Explicit bounds are ordered, and leave no unstable or forbidden value to the optimiser."""
    for i, p in enumerate(config.trainer.physical.learnable_parameters):
        for side, bound in (("lower", p.lower), ("upper", p.upper)):
            if bound is not None:
                _admissible(config, p.name, bound, f"{_LEARNABLE}.{i}.{side}")
        lower, upper = config.parameter_bounds(p.name)
        if lower >= upper:
            raise ConfigError(f"{_LEARNABLE}.{i}: lower bound {lower:g} must be below upper bound {upper:g}.")


def guesses_are_admissible(config: Config) -> None:
    """Initial guesses can be evaluated, are stable, and lie within their bounds."""
    guesses = config.initial_parameters()
    for i, name in enumerate(config.learnable):
        _admissible(config, name, guesses[name], guess_path(i))
        lower, upper = config.parameter_bounds(name)
        least, greatest = float(np.min(guesses[name])), float(np.max(guesses[name]))
        if least < lower or greatest > upper * (1.0 + _ROUNDING):
            raise ConfigError(
                f"{guess_path(i)}: ranges from {least:g} to {greatest:g}, outside of its bounds "
                f"{lower:g} to {upper:g}. Start within them, or widen {_LEARNABLE}.{i}.lower or .upper."
            )


def bases_fit(config: Config) -> None:
    """No basis for a parameter that is one number, and none of more functions than the grid has cells."""
    for i, p in enumerate(config.trainer.physical.learnable_parameters):
        path = f"{_LEARNABLE}.{i}.basis"
        if p.basis.name == "cells":
            continue
        if config.model.physical.parameters[p.name].type == "scalar":
            raise ConfigError(
                f"{path}: {p.name} is a scalar, one number, which has no basis {p.basis.name!r}. Leave it "
                f"out, or make it a field: {_PHYSICAL}.parameters.{p.name}.type."
            )
        key = {"fourier": "modes", "gaussians": "count"}[p.basis.name]
        number = getattr(p.basis, key)
        needed = 2 * number + 1 if key == "modes" else number
        axis, cells = min(zip(config.grid.axes, config.grid.resolution, strict=True), key=lambda a: a[1])
        if needed > cells:
            raise ConfigError(
                f"{path}.{key}: {number} make {needed} functions along each axis, and {axis} has {cells} "
                f"cells. Use at most {(cells - 1) // 2 if key == 'modes' else cells}, or a finer grid."
            )


def solve_has_its_keys(config: Config) -> None:
    """A learning rate is Adam's alone."""
    solve = config.trainer.physical.solve
    if solve.learning_rate is not None and solve.method != "adam":
        raise ConfigError(
            f"trainer.physical.solve.learning_rate: {solve.method} finds the lengths of its steps by itself. "
            "Remove it, or set trainer.physical.solve.method to adam."
        )


def _known(name: str, known: Iterable[str], path: str, kind: str) -> None:
    options = list(known)
    if name not in options:
        raise ConfigError(f"{path}: unknown {kind} {name!r}. {did_you_mean(name, options)}")


def _admissible(config: Config, name: str, value: ParameterValue, path: str) -> None:
    """Not below the equation's least value, and within the limit of the explicit diffusion step."""
    spec, physical, grid = config.equation.parameter(name), config.model.physical, config.grid
    least, greatest = float(np.min(value)), float(np.max(value))
    if least < spec.lower:
        raise ConfigError(f"{path}: {name} must be {spec.lower:g} or more, its least value is {least:g}.")
    limit = diffusion_limit(grid, physical.dt, physical.substeps)
    if spec.diffusive and greatest > limit * (1.0 + _ROUNDING):
        needed = substeps_needed(greatest, grid, physical.dt)
        raise ConfigError(
            f"{path}: {name} reaches {greatest:g}, and explicit diffusion with dt {physical.dt:g} in "
            f"{physical.substeps} substeps is stable up to {limit:g}. Set {_PHYSICAL}.substeps to {needed}, "
            "or lower dt or the coefficient."
        )
