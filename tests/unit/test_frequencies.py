"""Waves, bands and spectra against fields whose wave numbers are known."""

from __future__ import annotations

from dataclasses import replace
from math import pi

import numpy as np
import pytest

from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import BOUNDARIES, Boundary, Grid
from hyco.report.evaluation import Evaluation, SimulationResult
from hyco.report.frequencies import BANDS, Scales, Waves
from hyco.report.frequency_scores import band_errors, spectrum
from hyco.report.spectra import _ticks
from hyco.report.summary import summarise

GRIDS = (
    Grid.of(x=(10.0, 17)),
    Grid.of(x=(10.0, 12), y=(30.0, 9)),
    Grid.of(x=(8.0, 8), y=(5.0, 7), z=(12.0, 6)),
)
BOX = Grid.of(x=(10.0, 64), y=(40.0, 128))  # neither its sides nor its spacings are equal


def wave(grid: Grid, boundary: Boundary, *counts: int) -> np.ndarray:
    """The wave with so many periods along each axis; half periods where it is not periodic."""
    values = np.ones(grid.resolution)
    for x, count, size in zip(grid.coordinates().values(), counts, grid.size, strict=True):
        half = pi * count * x / size
        values = (
            values
            * {"periodic": np.cos(2 * half), "zero-gradient": np.cos(half), "zero": np.sin(half)}[boundary]
        )
    return values


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("grid", GRIDS, ids=lambda g: f"{g.rank}-D")
def test_the_bands_share_the_mean_square_of_a_field(grid: Grid, boundary: Boundary) -> None:
    values = np.random.default_rng(0).standard_normal(grid.resolution) + 0.3
    waves = Waves(grid, boundary)
    assert waves.by_band(waves.coefficients(values)).sum() == pytest.approx(np.mean(values**2), rel=1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("counts", [(3, 0), (2, 5), (0, 20), (1, 60), (31, 2)])
def test_a_wave_is_found_at_its_physical_wave_number(boundary: Boundary, counts: tuple[int, int]) -> None:
    if boundary == "zero":
        counts = (counts[0] + 1, counts[1] + 1)
    factor = 2 * pi if boundary == "periodic" else pi
    number = np.hypot(*(factor * c / s for c, s in zip(counts, BOX.size, strict=True)))
    waves = Waves(BOX, boundary)
    coefficients = waves.coefficients(wave(BOX, boundary, *counts))
    strongest = np.abs(coefficients) > 1e-9
    np.testing.assert_allclose(waves.number[strongest], number, rtol=1e-12)
    band = BANDS[int(np.argmax(waves.by_band(coefficients)))]
    scales = Scales.of(BOX)
    expected = "low" if number <= scales.low else "high" if number > scales.high else "middle"
    assert band == expected
    energies = waves.by_shell(coefficients)
    if number < scales.last - scales.width:
        assert abs(waves.shells[np.argmax(energies)] - number) < scales.width
        assert energies.max() == pytest.approx(np.mean(wave(BOX, boundary, *counts) ** 2))


def test_the_bands_divide_what_the_grid_resolves_in_equal_ratios() -> None:
    scales = Scales.of(BOX)
    assert scales.first == pytest.approx(2 * pi / 40)
    assert scales.last == pytest.approx(pi / (40 / 128))
    ratios = scales.low / scales.first, scales.high / scales.low, scales.last / scales.high
    np.testing.assert_allclose(ratios, ratios[0])


def test_an_elongated_box_has_shells_enough() -> None:
    waves = Waves(Grid.of(x=(1000.0, 256), y=(10.0, 8)))
    assert len(waves.shells) >= 10
    assert np.all(np.diff(waves.shells) > 0)


def evaluation(grid: Grid, truth: np.ndarray, prediction: np.ndarray, *, vector: bool = False) -> Evaluation:
    layout = FieldLayout((FieldSpec("velocity" if vector else "density", vector=vector),), grid.axes)
    result = SimulationResult(0, truth, {"physical": prediction}, layout.components)
    return Evaluation("waves", "heat", "", grid, layout, 0.5, (result,))


def test_errors_are_placed_in_the_band_of_their_wave_number() -> None:
    low, high = wave(BOX, "periodic", 1, 0), wave(BOX, "periodic", 0, 60)
    truth = np.stack([low, low, 2 * low])[np.newaxis]
    given = evaluation(BOX, truth, truth + 0.1 * high)
    errors = band_errors(given, given.simulations[0])
    per_frame = errors["physical"].per_frame()
    np.testing.assert_allclose(per_frame["high"], [0.1, 0.05], rtol=1e-12)
    np.testing.assert_allclose([per_frame["low"], per_frame["middle"]], 0.0, atol=1e-12)
    np.testing.assert_allclose(errors["truth"].per_frame()["low"], 1.0)
    np.testing.assert_allclose(errors["baseline"].per_frame()["low"], [0.0, 0.5], atol=1e-12)


def test_the_shares_of_the_bands_add_up_to_the_nrmse() -> None:
    grid = GRIDS[2]
    truth, other = np.random.default_rng(1).standard_normal((2, 3, 5, *grid.resolution))
    summary = summarise(evaluation(grid, truth, other, vector=True), horizon=2)
    for scores in (summary["models"]["physical"], summary["baseline"]):
        for span in ("horizon", "all_frames"):
            total = np.sqrt(sum(v**2 for v in scores[span]["bands"].values()))
            assert total == pytest.approx(scores[span]["nrmse"], rel=1e-12)
    frames = summary["simulations"][0]["models"]["physical"]["per_frame"]
    total = np.sqrt(np.sum([np.square(frames["bands"][b]) for b in BANDS], axis=0))
    np.testing.assert_allclose(total, frames["nrmse"], rtol=1e-12)
    assert summary["bands"]["low"][1] == summary["bands"]["middle"][0]


def test_the_spectrum_integrates_to_the_energy_of_the_waves_in_it() -> None:
    u, v = wave(BOX, "periodic", 2, 3), wave(BOX, "periodic", 4, 1)
    truth = np.broadcast_to(np.stack([u, v])[:, np.newaxis], (2, 4, *BOX.resolution))
    found = spectrum(evaluation(BOX, truth, 0.5 * truth, vector=True))
    assert found.frames == (1, 2, 3)
    energy = found.energies["truth"] * Scales.of(BOX).width
    np.testing.assert_allclose(energy.sum(1), 0.5 * (np.mean(u**2) + np.mean(v**2)), rtol=1e-12)
    np.testing.assert_allclose(found.energies["physical"], 0.25 * found.energies["truth"], atol=1e-15)
    np.testing.assert_allclose(found.plain()["energy_shares"]["physical"].sum(1), 0.25)


def test_a_prediction_that_is_not_finite_has_no_spectrum_but_a_summary() -> None:
    grid = GRIDS[1]
    truth = np.random.default_rng(2).standard_normal((1, 4, *grid.resolution))
    given = evaluation(grid, truth, truth.copy())
    given.simulations[0].predictions["physical"][:, 2:] = np.nan
    summary = summarise(replace(given), horizon=1)
    frames = summary["simulations"][0]["models"]["physical"]["per_frame"]["bands"]["middle"]
    assert frames == [0.0, None, None]
    assert summary["models"]["physical"]["all_frames"]["bands"]["low"] is None
    assert set(summary["spectrum"]["energy_shares"]["physical"][-1]) == {None}


def test_the_axis_of_wave_numbers_has_few_ticks() -> None:
    assert _ticks(0.07, 0.7) == [0.1, 0.2, 0.5]
    assert _ticks(0.02, 0.9) == [0.02, 0.05, 0.1, 0.2, 0.5]
    assert _ticks(0.02, 30.0) == [0.1, 1.0, 10.0]


def test_a_truth_of_nothing_is_no_error() -> None:
    zero = np.zeros((1, 3, *GRIDS[0].resolution))
    summary = summarise(evaluation(GRIDS[0], zero, zero), horizon=2)
    assert summary["models"]["physical"]["all_frames"]["bands"] == dict.fromkeys(BANDS, 0.0)
