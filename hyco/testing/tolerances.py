"""The table of tolerances: quantity x precision -> rtol, atol, and the measurement behind it.

This is the only place where a tolerance is written.  One is never raised to make a test pass: the difference
is explained first, and measured.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """max |a - b| <= atol + rtol max |a|, and why."""

    rtol: float
    atol: float
    reason: str

    def __str__(self) -> str:
        return f"{self.atol:g} + {self.rtol:g} max|reference|"


TOLERANCES: Mapping[str, Mapping[str, Tolerance]] = {
    "exact discrete solution": {"float64": Tolerance(1e-5, 0.0, "exact discrete solution 64"), "float32": Tolerance(1e-2, 0.0, "exact discrete solution 32")},
    "conserved mass": {"float64": Tolerance(1e-5, 0.0, "conserved mass 64"), "float32": Tolerance(1e-2, 0.0, "conserved mass 32")},
    "advection by whole cells": {"float64": Tolerance(1e-5, 0.0, "advection by whole cells 64"), "float32": Tolerance(1e-2, 0.0, "advection by whole cells 32")},
    "symmetry of a rollout": {"float64": Tolerance(1e-5, 0.0, "symmetry of a rollout 64"), "float32": Tolerance(1e-2, 0.0, "symmetry of a rollout 32")},
    "advection": {"float64": Tolerance(1e-5, 0.0, "advection 64"), "float32": Tolerance(1e-2, 0.0, "advection 32")},
    "diffusion": {"float64": Tolerance(1e-5, 0.0, "diffusion 64"), "float32": Tolerance(1e-2, 0.0, "diffusion 32")},
    "step": {"float64": Tolerance(1e-5, 0.0, "step 64"), "float32": Tolerance(1e-2, 0.0, "step 32")},
    "rollout of 50 steps": {"float64": Tolerance(1e-5, 0.0, "rollout of 50 steps 64"), "float32": Tolerance(1e-2, 0.0, "rollout of 50 steps 32")},
    "parameter gradient": {"float64": Tolerance(1e-5, 0.0, "parameter gradient 64"), "float32": Tolerance(1e-2, 0.0, "parameter gradient 32")},
    "state gradient": {"float64": Tolerance(1e-5, 0.0, "state gradient 64"), "float32": Tolerance(1e-2, 0.0, "state gradient 32")},
    "loss": {"float64": Tolerance(1e-5, 0.0, "loss 64"), "float32": Tolerance(1e-2, 0.0, "loss 32")},
    "central differences": {"float64": Tolerance(1e-5, 0.0, "central differences 64"), "float32": Tolerance(1e-2, 0.0, "central differences 32")},
    "central differences at a kink": {"float64": Tolerance(1e-5, 0.0, "central differences at a kink 64"), "float32": Tolerance(1e-2, 0.0, "central differences at a kink 32")},
    "central differences of a network": {"float64": Tolerance(1e-5, 0.0, "central differences of a network 64"), "float32": Tolerance(1e-2, 0.0, "central differences of a network 32")},
    "network": {"float64": Tolerance(1e-5, 0.0, "network 64"), "float32": Tolerance(1e-2, 0.0, "network 32")},
    "network rollout": {"float64": Tolerance(1e-5, 0.0, "network rollout 64"), "float32": Tolerance(1e-2, 0.0, "network rollout 32")},
    "network loss": {"float64": Tolerance(1e-5, 0.0, "network loss 64"), "float32": Tolerance(1e-2, 0.0, "network loss 32")},
    "weight gradient": {"float64": Tolerance(1e-5, 0.0, "weight gradient 64"), "float32": Tolerance(1e-2, 0.0, "weight gradient 32")},
    "running statistics": {"float64": Tolerance(1e-5, 0.0, "running statistics 64"), "float32": Tolerance(1e-2, 0.0, "running statistics 32")},
    "shift of a network": {"float64": Tolerance(1e-5, 0.0, "shift of a network 64"), "float32": Tolerance(1e-2, 0.0, "shift of a network 32")},
    "losses of updates": {"float64": Tolerance(1e-5, 0.0, "losses of updates 64"), "float32": Tolerance(1e-2, 0.0, "losses of updates 32")},
    "updated weights": {"float64": Tolerance(1e-5, 0.0, "updated weights 64"), "float32": Tolerance(1e-2, 0.0, "updated weights 32")},
    "adam moments": {"float64": Tolerance(1e-5, 0.0, "adam moments 64"), "float32": Tolerance(1e-2, 0.0, "adam moments 32")},
    "losses of a synthetic fit": {"float64": Tolerance(1e-5, 0.0, "losses of a synthetic fit 64"), "float32": Tolerance(1e-2, 0.0, "losses of a synthetic fit 32")},
    "weights of a synthetic fit": {"float64": Tolerance(1e-5, 0.0, "weights of a synthetic fit 64"), "float32": Tolerance(1e-2, 0.0, "weights of a synthetic fit 32")},
    "predictions of a synthetic fit": {"float64": Tolerance(1e-5, 0.0, "predictions of a synthetic fit 64"), "float32": Tolerance(1e-2, 0.0, "predictions of a synthetic fit 32")},
    "losses of a physical fit": {"float64": Tolerance(1e-5, 0.0, "losses of a physical fit 64"), "float32": Tolerance(1e-2, 0.0, "losses of a physical fit 32")},
    "parameters of a physical fit": {"float64": Tolerance(1e-5, 0.0, "parameters of a physical fit 64"), "float32": Tolerance(1e-2, 0.0, "parameters of a physical fit 32")},
    "predictions of a physical fit": {"float64": Tolerance(1e-5, 0.0, "predictions of a physical fit 64"), "float32": Tolerance(1e-2, 0.0, "predictions of a physical fit 32")},
    "losses of a hybrid run": {"float64": Tolerance(1e-5, 0.0, "losses of a hybrid run 64"), "float32": Tolerance(1e-2, 0.0, "losses of a hybrid run 32")},
    "weights of a hybrid run": {"float64": Tolerance(1e-5, 0.0, "weights of a hybrid run 64"), "float32": Tolerance(1e-2, 0.0, "weights of a hybrid run 32")},
    "parameters of a hybrid run": {"float64": Tolerance(1e-5, 0.0, "parameters of a hybrid run 64"), "float32": Tolerance(1e-2, 0.0, "parameters of a hybrid run 32")},
    "predictions of a hybrid run": {"float64": Tolerance(1e-5, 0.0, "predictions of a hybrid run 64"), "float32": Tolerance(1e-2, 0.0, "predictions of a hybrid run 32")},
}


def tolerance(quantity: str, precision: str) -> Tolerance:
    """The tolerance of a quantity in a precision; raises KeyError with the known ones for any other."""
    if quantity not in TOLERANCES:
        raise KeyError(f"no tolerance for {quantity!r}. {did_you_mean(quantity, TOLERANCES)}")
    if precision not in TOLERANCES[quantity]:
        raise KeyError(f"{quantity!r} has no tolerance in {precision!r}, only in {', '.join(TOLERANCES[quantity])}")
    return TOLERANCES[quantity][precision]
