"""The table of tolerances: quantity x precision -> rtol, atol, and the measurement behind it.

This is the only place where a tolerance is written.  Each reason begins with the largest relative error
that was measured, over all cases of the tests that use the row, with PyTorch 2.13, PhiFlow 3.4 and
PhiML 1.16 on an x86 CPU.  The tolerance is about ten times that, in one digit, since other processors add in
another order and other releases fuse other operations; where both sides ran the very same kernels, and
nothing or a last bit was measured, it is a few hundred roundings.  A tolerance is never raised to make a
test pass: the difference is explained first, and measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hyco.errors import did_you_mean


@dataclass(frozen=True)
class Tolerance:
    """max |a - b| <= atol + rtol max |a|, and why."""

    rtol: float
    atol: float
    reason: str

    def __str__(self) -> str:
        return f"{self.atol:g} + {self.rtol:g} max|reference|"


Rows = Mapping[str, Mapping[str, Tolerance]]


def tolerance(quantity: str, precision: str) -> Tolerance:
    """The tolerance of a quantity in a precision; raises KeyError with the known ones for any other."""
    if quantity not in TOLERANCES:
        raise KeyError(f"no tolerance for {quantity!r}. {did_you_mean(quantity, TOLERANCES)}")
    if precision not in TOLERANCES[quantity]:
        known = ", ".join(TOLERANCES[quantity])
        raise KeyError(f"{quantity!r} has no tolerance in {precision!r}, only in {known}")
    return TOLERANCES[quantity][precision]


def _row(
    reason: str, float64: tuple[float, float], float32: tuple[float, float] | None = None
) -> dict[str, Tolerance]:
    """Both precisions of a quantity: (largest measured relative error, rtol)."""
    columns = {"float64": float64} | ({"float32": float32} if float32 else {})
    return {
        precision: Tolerance(rtol, 0.0, f"measured {error:g}: {reason}")
        for precision, (error, rtol) in columns.items()
    }


def _in_bf16(error: float, rtol: float) -> dict[str, Tolerance]:
    """A quantity that networks in bfloat16 make, in a training in float32."""
    reason = "what differs in the last bit of float32 becomes neighbours among numbers of 8 bits, 4e-3 apart"
    return {"float32": Tolerance(rtol, 0.0, f"measured {error:g}: {reason}")}


KERNELS = "both sides run the same convolutions; phiml adds up the borders of a periodic box in another order"
FOURIER = f"{KERNELS}; of Fourier layers, legacy runs fast transforms, phiml products with matrices"

PHYSICS: Rows = {
    "exact discrete solution": _row("rounding of one or a few steps against numpy", (7e-15, 7e-14)),
    "projection": _row(
        "products with orthogonal matrices, against each other and a pseudo-inverse",
        (8e-15, 8e-14),
        (2e-7, 2e-6),
    ),
    "projection by iterations": _row("PhiFlow's conjugate gradients stop at 1e-12", (5e-13, 5e-12)),
    "conserved mass": _row("rounding of fluxes that cancel in pairs", (3e-16, 3e-15)),
    "advection by whole cells": _row(
        "departure points up to 17 cells away, whose last bit interpolates", (8e-15, 8e-14)
    ),
    "symmetry of a rollout": _row(
        "the same sums in another order, which steep flows without diffusion stretch", (5e-15, 5e-14)
    ),
}

MODELS: Rows = {
    "advection": _row("departure points in cells here, in lengths in PhiFlow", (5e-15, 5e-14), (3e-6, 3e-5)),
    "diffusion": _row("the same fluxes; PhiFlow adds them in another order", (5e-16, 5e-15), (0, 1e-6)),
    "step": _row("advection, then diffusion", (3e-15, 3e-14), (2e-6, 2e-5)),
    "rollout of 50 steps": _row("diffusion damps what advection rounds", (4e-15, 4e-14), (2e-6, 2e-5)),
    "rollout of 20 steps without diffusion": _row(
        "steep flows stretch what departure points round, and nothing damps it", (3e-14, 3e-13), (2e-5, 1e-4)
    ),
    "loss": _row("one mean in another order", (6e-16, 6e-15), (3e-7, 3e-6)),
    "parameter gradient": _row("two ways of automatic differentiation", (4e-15, 4e-14), (2e-6, 2e-5)),
    "state gradient": _row("two ways of automatic differentiation", (4e-15, 4e-14), (2e-6, 2e-5)),
    "fused steps": _row("the same operations in the same order", (0, 1e-13), (0, 1e-6)),
    "fused gradient": _row(
        "adjoints by hand, which add in another order, also where a field is alternately equal",
        (4e-14, 4e-13),
        (5e-6, 5e-5),
    ),
    "fused flow": _row(
        "pressure by differences and half of the products with matrices",
        (4e-15, 4e-14),
        (1.3e-6, 1e-5),
    ),
    "fused flow gradient": _row("adjoints by hand, pressure as above", (1e-14, 1e-13), (1.2e-6, 1e-5)),
    "central differences": _row("rounding of a loss, divided by a step of 1e-4", (5e-10, 5e-9)),
    "central differences at a kink": _row(
        "the curvatures left and right of a tie differ, in proportion to the step", (2e-6, 2e-5)
    ),
}

NETWORKS: Rows = {
    "network": _row(FOURIER, (2e-16, 1e-13), (8e-8, 2e-6)),
    "network rollout": _row(FOURIER, (6e-16, 1e-13), (2e-7, 2e-6)),
    "network loss": _row(FOURIER, (2e-16, 1e-13), (2e-7, 2e-6)),
    "weight gradient": _row(
        f"{FOURIER}; by a bias between two normalisations, where most of the sum cancels",
        (1e-14, 1e-12),
        (3e-6, 3e-5),
    ),
    "running statistics": _row(FOURIER, (3e-16, 1e-13), (1e-7, 2e-6)),
    "spectral convolution": _row(
        "the same sums in another order than numpy's transforms", (4e-15, 4e-14), (2e-7, 2e-6)
    ),
    "shift of a network": _row("every cell is computed alike; Fourier layers round", (3e-15, 1e-13)),
    "central differences of a network": _row("rounding of a loss, divided by a step of 1e-6", (1e-10, 1e-9)),
    "losses of updates": _row(KERNELS, (4e-16, 1e-13), (2e-7, 2e-6)),
    "updated weights": _row("Adam on equal gradients", (4e-16, 1e-12), (2e-7, 2e-6)),
    "updated weights with normalisation": _row(
        "biases in front of a normalisation have no gradient but rounding, and Adam scales that up by 1e8",
        (3e-9, 1e-8),
    ),
    "adam moments": _row("averages of equal gradients", (2e-15, 1e-12), (8e-7, 1e-5)),
    "weights of an optimiser": _row("each optimiser on equal gradients, clipped or not", (0, 1e-13)),
    "moments of an optimiser": _row(
        "averages and sums of equal gradients; Adam's steps are counted in float32", (0, 1e-13), (0, 1e-6)
    ),
    "losses in bf16": _in_bf16(3e-3, 3e-2),
    "gradients in bf16": _in_bf16(4e-3, 4e-2),
    "norm of gradients": _row("the same sum of squares; PyTorch's own adds in another order", (0, 1e-13)),
    "clipped gradients": _row("the same gradients times the same share", (0, 1e-13)),
}

TRAININGS: Rows = {
    "losses of a synthetic fit": _row(KERNELS, (5e-16, 1e-13), (3e-7, 3e-6)),
    "losses of a synthetic fit with normalisation": _row(
        "of validation: running means lag behind biases, whose gradients are rounding that Adam scales up",
        (2e-10, 2e-9),
    ),
    "weights of a synthetic fit with normalisation": _row(
        "as of single updates, after many of them; what the network gives hardly depends on such biases",
        (4e-8, 3e-7),
    ),
    "weights of a synthetic fit": _row(KERNELS, (2e-16, 1e-12), (8e-8, 2e-6)),
    "predictions of a synthetic fit": _row(KERNELS, (2e-16, 1e-12), (2e-7, 2e-6)),
    "losses of a physical fit": _row("line searches magnify the rounding of gradients", (6e-14, 6e-13)),
    "parameters of a physical fit": _row(
        "line searches magnify the rounding of gradients", (5e-13, 5e-12), (2e-6, 2e-5)
    ),
    "predictions of a physical fit": _row("as different as the parameters", (6e-14, 6e-13)),
    "losses of a hybrid run": _row(
        "each model learns from the rounding of the other", (2e-13, 2e-12), (5e-6, 1e-4)
    ),
    "weights of a hybrid run": _row(
        "each model learns from the rounding of the other", (2e-16, 1e-12), (7e-7, 1e-5)
    ),
    "parameters of a hybrid run": _row(
        "each model learns from the rounding of the other", (7e-13, 7e-12), (3e-6, 5e-5)
    ),
    "predictions of a hybrid run": _row(
        "each model learns from the rounding of the other", (6e-14, 6e-13), (2e-6, 5e-5)
    ),
    "rollout": _row("8 steps of any equation", (6e-15, 6e-14), (2e-6, 2e-5)),
    "fit loss": _row("a mean of small squares", (8e-15, 8e-14), (2e-6, 2e-5)),
    "fit gradient": _row(
        "near the truth residuals are small, and most of the sums over them cancels",
        (2e-13, 2e-12),
        (4e-6, 4e-5),
    ),
    "resumed training": _row(
        "a fresh trace is optimised at its third call, not at the same batch", (2e-16, 1e-13)
    ),
}

# Of shadow mode, over whole runs: shares of the largest value and of the terms that a value is a sum of
# (`hyco.migration.shadow`).  A good fit leaves little of losses and gradients but rounding.
RUNS: Rows = {
    "stored values": _row("copies of the same numbers", (0, 1e-15), (0, 1e-7)),
    "steps in a run": _row("of one step; departure points are rounded", (2.4e-16, 3e-15), (1.6e-7, 2e-6)),
    "network in a run": _row(FOURIER, (3e-15, 3e-14), (1.5e-6, 2e-5)),
    "fit loss in a run": _row("as different as the states", (3e-16, 3e-15), (1.4e-7, 2e-6)),
    "fit gradient in a run": _row("two ways of differentiation", (3e-15, 3e-14), (1.5e-6, 2e-5)),
    "network loss in a run": _row("as different as the states", (5e-16, 5e-15), (1.4e-7, 2e-6)),
    "weight gradient in a run": _row(FOURIER, (5e-15, 5e-14), (2e-7, 2e-6)),
}

# Of `hyco compare`, over short trainings by the six configurations that ship: two epochs of the surrogate and
# two iterations of the fit per round.  Losses are in units of the terms that they are sums of, as above.  In
# float32, 3e-4 was measured of parameters and 5e-5 of weights: too much to tell a mistake by, so no row.
SMALL = "Adam makes a whole step of what is left of gradients that cancel"
SHORT: Rows = {
    "losses of a short training": _row("the models part by little", (4e-16, 4e-15), (2e-7, 2e-6)),
    "weights of a short training": _row(f"{KERNELS}; {SMALL}", (5e-15, 1e-12)),
    "moments of a short training": _row(f"{KERNELS}; {SMALL}", (4e-15, 1e-12)),
    "parameters of a short training": _row("line searches magnify the rounding of gradients", (9e-14, 9e-13)),
    "synthetic predictions of a short training": _row(KERNELS, (6e-16, 1e-13), (1e-6, 1e-5)),
    "physical predictions of a short training": _row(
        "as different as the parameters, where these matter", (2e-14, 2e-13), (7e-6, 1e-4)
    ),
    "scores of a short training": _row("shares of what predictions are off", (2e-14, 2e-13), (2e-5, 1e-4)),
}

RECORDED = "recorded in float32, by other releases on another processor"
ORIGINALS: Rows = {
    "output of an original network": {"float32": Tolerance(2e-6, 0.0, f"measured 2e-07: {RECORDED}")},
    "frames of the original": {
        "float32": Tolerance(1e-4, 0.0, f"measured 1e-05: {RECORDED}; 12 steep steps stretch the rounding")
    },
    "frames of the original by the same operations": {
        "float32": Tolerance(
            2e-6, 0.0, "measured 2e-07: phiml mode runs PhiFlow's steps, as the original did"
        )
    },
}

TOLERANCES: Rows = {**PHYSICS, **MODELS, **NETWORKS, **TRAININGS, **RUNS, **SHORT, **ORIGINALS}
