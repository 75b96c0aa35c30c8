"""The equations that hyco knows, one file each; a file in this folder with an `EQUATION` is one of them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from hyco.problem.equation import Equation

EQUATIONS: Mapping[str, Equation] = {
    equation.name: equation
    for equation in (import_module(f"{__name__}.{module.name}").EQUATION for module in iter_modules(__path__))
}
