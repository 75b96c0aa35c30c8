"""Whole trainings of both sides, epoch by epoch and solve by solve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.migration.registry import use_mode
from hyco.testing import assert_equivalent
from hyco.testing.experiments import Outcome, train, write_data
from tests.experiments import LINE, PLANE, tiny
from tests.sides import SIDES

LONG = [
    "data.num_simulations=4",
    "trainer.train_sim=[0,1,2]",
    "trainer.val_sim=[3]",
    "evaluation.test_sim=[3]",
    "trainer.batch_size=5",
]


def outcomes(
    folder: Path, overrides: list[str], domain: dict[str, object], noise: float = 0.0
) -> tuple[Outcome, Outcome]:
    """The same experiment in pure legacy and in pure phiml mode."""
    config = tiny(folder, [*LONG, *overrides], domain=domain)
    write_data(config, noise)
    results = []
    for side in SIDES:
        with use_mode(side):
            results.append(train(config))
    return results[0], results[1]


@pytest.mark.parametrize("domain", [LINE, PLANE], ids=["1d", "2d"])
def test_a_synthetic_fit(tmp_path: Path, domain: dict[str, object], precision: str) -> None:
    legacy, phiml = outcomes(
        tmp_path,
        ["general.mode=synthetic", "trainer.synthetic.epochs=6", f"trainer.precision={precision}"],
        domain,
    )
    assert legacy.counts() == phiml.counts()
    assert len(legacy.records) == 6
    losses = [r["train_loss"] for r in legacy.records]
    assert losses[-1] < 0.9 * losses[0]
    assert_equivalent(legacy.losses(), phiml.losses(), "losses of a synthetic fit", precision=precision)
    assert_equivalent(legacy.weights, phiml.weights, "weights of a synthetic fit")
    assert_equivalent(legacy.predictions, phiml.predictions, "predictions of a synthetic fit")


def test_a_synthetic_fit_with_normalisation(tmp_path: Path) -> None:
    overrides = ["general.mode=synthetic", "trainer.synthetic.epochs=4"]
    overrides += ["model.synthetic.architecture.batch_norm=true", "model.synthetic.residual=false"]
    legacy, phiml = outcomes(tmp_path, overrides, PLANE)
    assert_equivalent(legacy.losses(), phiml.losses(), "losses of a synthetic fit with normalisation")
    assert_equivalent(legacy.weights, phiml.weights, "weights of a synthetic fit with normalisation")


PHYSICAL = [
    "general.mode=physical",
    "trainer.physical.solve.abs_tol=0.0",
    "trainer.physical.solve.rel_tol=0.0",
]
GUESS = "trainer.physical.learnable_parameters=[{name: diffusion_coeff, initial_guess: 0.25, basis: %s}]"
KINDS = {
    "field": ["trainer.physical.epochs=2", "trainer.physical.solve.max_iterations=6"],
    "smooth field": ["trainer.physical.smoothness=1e-3", "trainer.physical.solve.max_iterations=10"],
    "scalar": [
        "model.physical.parameters.diffusion_coeff={type: scalar, value: 0.12}",
        "trainer.physical.solve.max_iterations=3",
    ],
    "varied field": ["trainer.physical.total_variation=1e-4", "trainer.physical.solve.max_iterations=10"],
    "waves": [GUESS % "{name: fourier, modes: 2}", "trainer.physical.solve.max_iterations=6"],
    "bumps": [GUESS % "{name: gaussians, count: 4}", "trainer.physical.solve.max_iterations=6"],
    "adam": ["trainer.physical.solve={method: adam, learning_rate: 0.01, max_iterations: 12}"],
    "adam on waves": [
        GUESS % "{name: fourier, modes: 2}",
        "trainer.physical.solve={method: adam, learning_rate: 0.01, max_iterations: 12}",
    ],
    "masked": [
        "observations.space={mask: center, fraction: 0.6}",
        "observations.time={mask: uniform, stride: 2}",
        "observations.noise={level: 0.02}",
        "trainer.physical.solve.max_iterations=6",
    ],
}


@pytest.mark.parametrize("domain", [LINE, PLANE], ids=["1d", "2d"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_physical_fit(tmp_path: Path, domain: dict[str, object], kind: str) -> None:
    """From a uniform coefficient, where every face is a tie; it ends before rounding decides."""
    legacy, phiml = outcomes(tmp_path, [*PHYSICAL, *KINDS[kind]], domain, noise=0.01)
    assert legacy.counts() == phiml.counts()
    assert all(r["status"] == "stopped" for r in legacy.records)
    assert legacy.records[-1]["train_loss"] < 0.9 * legacy.records[0]["initial_loss"]
    assert_equivalent(legacy.losses(), phiml.losses(), "losses of a physical fit")
    assert_equivalent(legacy.parameters, phiml.parameters, "parameters of a physical fit")
    assert_equivalent(legacy.predictions, phiml.predictions, "predictions of a physical fit")


def test_a_physical_fit_in_single_precision(tmp_path: Path) -> None:
    legacy, phiml = outcomes(
        tmp_path, [*PHYSICAL, *KINDS["field"], "trainer.precision=float32"], LINE, noise=0.01
    )
    assert_equivalent(legacy.parameters, phiml.parameters, "parameters of a physical fit")


def faces(coefficient: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the data can tell of a coefficient: the smaller value on both sides of each face of a ring."""
    return np.minimum(coefficient, np.roll(coefficient, 1)) if coefficient.ndim else coefficient


@pytest.mark.parametrize("kind", ["field", "scalar"])
@pytest.mark.parametrize("side", SIDES)
def test_a_physical_fit_recovers_the_truth(tmp_path: Path, side: str, kind: str) -> None:
    """From a start whose valley holds the truth: faces that turn from one cell to the other make several."""
    limits = ["trainer.physical.solve.max_iterations=200", "trainer.physical.solve.abs_tol=1e-13"]
    guess = ["trainer.physical.learnable_parameters=[{name: diffusion_coeff, initial_guess: 0.15}]"]
    config = tiny(tmp_path, [*LONG, *PHYSICAL, *KINDS[kind], *limits, *guess])
    write_data(config)
    truth = np.asarray(config.true_parameters()["diffusion_coeff"])
    with use_mode(side):
        found = train(config).parameters["diffusion_coeff"]
    assert np.abs(faces(found) - faces(truth)).max() < 1e-6 * np.abs(0.15 - truth).max()


WAYS = {"L-BFGS-B": "max_iterations: 60", "adam": "learning_rate: 0.01, max_iterations: 600"}


@pytest.mark.parametrize("method", WAYS)
@pytest.mark.parametrize("side", SIDES)
def test_in_the_right_basis_the_whole_coefficient_is_recovered(
    tmp_path: Path, side: str, method: str
) -> None:
    """In waves no face hides a cell: the coefficient itself comes back, not only what its faces see."""
    solve = f"trainer.physical.solve={{method: {method}, abs_tol: 1e-12, rel_tol: 0.0, {WAYS[method]}}}"
    config = tiny(tmp_path, [*LONG, "general.mode=physical", *KINDS["waves"], solve])
    write_data(config)
    truth = np.asarray(config.true_parameters()["diffusion_coeff"])
    with use_mode(side):
        found = train(config)
    assert found.records[-1]["status"] == "converged"
    assert np.abs(found.parameters["diffusion_coeff"] - truth).max() < 1e-8 * truth.max()


HYBRID = [
    "general.mode=hybrid",
    "trainer.hybrid.cycles=2",
    "trainer.hybrid.warmup=1",
    "trainer.hybrid.augmentation.alpha=0.5",
    "trainer.hybrid.augmentation.num_trajectories=2",
    "trainer.synthetic.epochs=2",
    "trainer.physical.solve.max_iterations=6",
]


@pytest.mark.parametrize("start", ["random", "data"])
@pytest.mark.parametrize("domain", [LINE, PLANE], ids=["1d", "2d"])
def test_a_hybrid_run(tmp_path: Path, domain: dict[str, object], start: str) -> None:
    legacy, phiml = outcomes(
        tmp_path, [*HYBRID, f"trainer.hybrid.augmentation.initial_conditions={start}"], domain
    )
    assert legacy.counts() == phiml.counts()
    kinds = [r.get("model", r["kind"]) for r in legacy.records]
    assert kinds == ["synthetic"] * 2 + ["physical"] + (["synthetic"] * 2 + ["physical", "cycle"]) * 2
    assert [r["generated_windows"] for r in legacy.records if "generated_windows" in r] == [0] * 3 + [4] * 6
    assert_equivalent(legacy.losses(), phiml.losses(), "losses of a hybrid run")
    assert_equivalent(legacy.weights, phiml.weights, "weights of a hybrid run")
    assert_equivalent(legacy.parameters, phiml.parameters, "parameters of a hybrid run")
    assert_equivalent(legacy.predictions, phiml.predictions, "predictions of a hybrid run")


def test_a_hybrid_run_with_scaled_terms(tmp_path: Path) -> None:
    weights = "{real_weight: {start: 0.5, end: 1.0}, interaction_weight: 0.02, proportional: true}"
    legacy, phiml = outcomes(
        tmp_path, [*HYBRID, f"trainer.hybrid.loss_scaling={{physical: {weights}}}"], LINE, noise=0.01
    )
    assert legacy.counts() == phiml.counts()
    fits = [r for r in legacy.records if r.get("model") == "physical"]
    assert [r["interaction_loss"] is None for r in fits] == [True, False, False]
    assert all(r["interaction_scale"] not in (1.0, None) for r in fits[1:])
    scales = [
        [r["interaction_scale"] for r in o.records if "interaction_scale" in r] for o in (legacy, phiml)
    ]
    assert_equivalent(*map(np.array, scales), "losses of a hybrid run")
    assert_equivalent(legacy.losses(), phiml.losses(), "losses of a hybrid run")
    assert_equivalent(legacy.parameters, phiml.parameters, "parameters of a hybrid run")
