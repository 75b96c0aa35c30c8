"""Scores against numbers worked out by hand."""

from __future__ import annotations

import json
from math import inf, isnan, sqrt

import numpy as np
import pytest

from hyco.report.metrics import FrameErrors, frame_errors, parameter_error, ratio, unchanged


def trajectory(*frames: list[float]) -> np.ndarray:
    """A 1-D trajectory of one field; dims (field, time, x)."""
    return np.array([frames], dtype=np.float64)


TRUTH = trajectory([9.0, 9.0], [3.0, 4.0], [0.0, 2.0])
PREDICTION = trajectory([-1.0, 7.0], [3.0, 3.0], [2.0, 2.0])


def test_the_initial_frame_is_not_scored() -> None:
    errors = frame_errors(PREDICTION, TRUTH)
    assert len(errors) == 2
    np.testing.assert_array_equal(errors.squared_error, [1.0, 4.0])
    np.testing.assert_array_equal(errors.squared_truth, [25.0, 4.0])


def test_nrmse_is_pooled_and_relative_l2_is_per_frame() -> None:
    errors = frame_errors(PREDICTION, TRUTH)
    assert errors.nrmse == pytest.approx(sqrt(5.0 / 29.0))
    np.testing.assert_allclose(errors.relative_l2, [0.2, 1.0])
    np.testing.assert_array_equal(errors.max_error, [1.0, 2.0])
    assert errors.first(1).nrmse == pytest.approx(0.2)


def test_pooling_simulations_weighs_them_by_their_energy() -> None:
    errors = frame_errors(PREDICTION, TRUTH)
    exact = frame_errors(10 * TRUTH, 10 * TRUTH)
    assert FrameErrors.pooled([errors, exact]).nrmse == pytest.approx(sqrt(5.0 / (29.0 + 2900.0)))


def test_correlation_does_not_see_scale_or_offset_but_sign() -> None:
    wave = np.sin(np.linspace(0.0, 6.0, 50))
    truth = np.stack([wave] * 4)[None]
    prediction = np.stack([wave, 3 * wave + 5, -wave, np.full(50, 0.1)])[None]
    np.testing.assert_allclose(frame_errors(prediction, truth).correlation, [1.0, -1.0, 0.0], atol=1e-12)


def test_correlation_agrees_with_numpy() -> None:
    rng = np.random.default_rng(0)
    truth, prediction = rng.standard_normal((2, 2, 3, 8, 5))
    expected = [np.corrcoef(truth[:, t].ravel(), prediction[:, t].ravel())[0, 1] for t in (1, 2)]
    np.testing.assert_allclose(frame_errors(prediction, truth).correlation, expected, rtol=1e-12)


def test_correlation_horizon_is_the_first_frame_below_the_level() -> None:
    rng = np.random.default_rng(1)
    truth = rng.standard_normal((1, 6, 400))
    # correlation 1 / sqrt(1 + a^2): 0.995, 0.89, 0.71, 0.89, 0.71
    amounts = np.array([0.0, 0.1, 0.5, 1.0, 0.5, 1.0])
    prediction = truth + amounts[:, None] * rng.standard_normal(truth.shape)
    assert frame_errors(prediction, truth).correlation_horizon == 3
    assert frame_errors(truth, truth).correlation_horizon is None


def test_correlation_with_a_constant_truth_is_undefined_and_loses_nothing() -> None:
    truth = np.full((1, 3, 1000), 0.1)
    assert truth[0, 0].mean() != 0.1  # rounding looks like variation
    errors = frame_errors(truth - np.linspace(0, 1, 1000), truth)
    assert all(isnan(c) for c in errors.correlation)
    assert errors.correlation_horizon is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_prediction_that_is_not_finite_scores_infinity(bad: float) -> None:
    prediction = PREDICTION.copy()
    prediction[0, 2, 1] = bad
    errors = frame_errors(prediction, TRUTH)
    assert errors.finite.tolist() == [True, False]
    assert errors.nrmse == inf and errors.max_error[1] == inf and errors.relative_l2[1] == inf
    assert isnan(errors.correlation[1])
    assert errors.correlation_horizon is not None
    assert errors.first(1).nrmse == pytest.approx(0.2)


def test_huge_predictions_do_not_warn_or_crash() -> None:
    prediction = np.full_like(TRUTH, 1e200)
    with np.errstate(all="raise"):
        assert frame_errors(prediction, TRUTH).nrmse == inf


def test_float32_is_scored_in_float64() -> None:
    truth = np.full((1, 2, 10), 1e30, np.float32)
    assert frame_errors(1.5 * truth, truth).nrmse == pytest.approx(0.5)


def test_zero_truth() -> None:
    zero = np.zeros((1, 3, 4))
    assert frame_errors(zero, zero).nrmse == 0.0
    assert frame_errors(zero + 1.0, zero).nrmse == inf
    assert [ratio(0.0, 0.0), ratio(1.0, 0.0), ratio(1.0, 4.0)] == [0.0, inf, 0.25]


def test_nothing_changes() -> None:
    baseline = unchanged(TRUTH)
    assert baseline.shape == TRUTH.shape
    np.testing.assert_array_equal(baseline[:, 2], TRUTH[:, 0])
    assert frame_errors(baseline, TRUTH).nrmse == pytest.approx(sqrt((36 + 25 + 81 + 49) / 29))


def test_parameter_errors_of_fields_and_scalars() -> None:
    truth = np.array([[3.0, 0.0], [0.0, 4.0]])
    error = parameter_error(truth + np.array([[0.0, 0.5], [0.0, 0.0]]), truth)
    assert (error.relative_l2, error.max_error) == (pytest.approx(0.1), 0.5)
    assert parameter_error(1.0, truth).relative_l2 == pytest.approx(sqrt(4 + 1 + 1 + 9) / 5)
    assert parameter_error(0.9, 1.0).relative_l2 == pytest.approx(0.1)
    assert parameter_error(np.nan, 1.0).relative_l2 == inf
    json.dumps(parameter_error(0.9, 1.0).max_error, allow_nan=False)
