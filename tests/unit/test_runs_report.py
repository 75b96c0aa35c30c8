"""The pages about several runs: modes beside each other, and several seeds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hyco.errors import DataError
from hyco.report.evaluation import Evaluation, ParameterResult
from hyco.report.parameters_file import read_parameters, write_parameters
from hyco.report.runs import write_comparison_of_modes, write_seeds_report
from hyco.report.several import said, spread
from hyco.report.summary import Summary, summarise
from tests.unit.test_report import BOTH, Page, evaluation, history

MODELS = {"physical": ("physical",), "synthetic": ("synthetic",), "hybrid": BOTH}


def trained(mode: str, factor: float = 1.0, *, rank: int = 1, sims: tuple[int, ...] = (7,)) -> Evaluation:
    """An evaluation of one mode, whose errors are `factor` times those of `evaluation`."""
    given = evaluation(rank, models=MODELS[mode], sims=sims)
    simulations = tuple(
        replace(r, predictions={m: r.truth + factor * (p - r.truth) for m, p in r.predictions.items()})
        for r in given.simulations
    )
    parameters: tuple[ParameterResult, ...] = ()
    if mode != "synthetic":
        parameters = tuple(
            replace(p, recovered=p.truth + factor * (np.asarray(p.recovered) - p.truth))
            for p in given.parameters
        )
    return replace(given, simulations=simulations, parameters=parameters)


def summary(mode: str, factor: float = 1.0, **kind: Any) -> Summary:
    return summarise(trained(mode, factor, **kind), horizon=3)


def modes(rank: int = 1) -> dict[str, Summary]:
    factors = {"physical": 2.0, "synthetic": 1.5, "hybrid": 1.0}
    return {mode: summary(mode, factor, rank=rank) for mode, factor in factors.items()}


def self_contained(page: Path) -> str:
    text = page.read_text()
    parsed = Page(text)
    assert not parsed.open
    images = [a for tag, a in parsed.tags if tag == "img"]
    assert images and all((a["src"] or "").startswith("data:image/") and a["alt"] for a in images)
    assert "<script" not in text and 'href="' not in text
    return text


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_modes_stand_beside_each_other(tmp_path: Path, rank: int) -> None:
    found = {}
    for mode, factor in (("physical", 2.0), ("hybrid", 1.0)):
        write_parameters(tmp_path / mode / "parameters.npz", trained(mode, factor, rank=rank).parameters)
        found[mode] = read_parameters(tmp_path / mode / "parameters.npz")
    histories = dict.fromkeys(("physical", "hybrid"), history())
    page = write_comparison_of_modes(
        tmp_path / "all", modes(rank), histories=histories, parameters=found, config_yaml="a: <b>"
    )
    text = self_contained(page)
    assert "0.667 times the 0.75 of the surrogate alone" in text
    assert "0.5 times the 0.2 of the physical model alone" in text
    assert "a: &lt;b&gt;" in text
    figures = {p.name for p in (tmp_path / "all/figures").iterdir()}
    assert figures == {"error_over_time.png", "scores.png", "times.png", "parameters_diffusion_coeff.png"}
    entries = json.loads((tmp_path / "all/metrics.json").read_text())["entries"]
    assert [(e["mode"], e["model"]) for e in entries] == [
        ("synthetic", "synthetic"), ("hybrid", "synthetic"), ("physical", "physical"), ("hybrid", "physical"),
    ]  # fmt: skip
    assert entries[3]["parameters"]["diffusion_coeff"]["recovered"]["median"] == pytest.approx(0.1)
    assert entries[2]["seconds"]["median"] == pytest.approx(6.0)
    assert entries[0]["seconds"]["median"] is None


@pytest.mark.filterwarnings("error")
def test_a_single_mode_without_history_or_fields_has_its_page(tmp_path: Path) -> None:
    text = self_contained(write_comparison_of_modes(tmp_path, {"physical": summary("physical")}))
    assert "Physical model" in text and "alone" not in text


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_seeds_are_summed_up_by_median_and_quartiles(tmp_path: Path, seeds: int) -> None:
    factors = np.linspace(1.0, 2.0, seeds)
    runs = {s: {"hybrid": summary("hybrid", f)} for s, f in enumerate(factors)}
    told = {s: {"hybrid": history()} for s in runs}
    text = self_contained(write_seeds_report(tmp_path, runs, histories=told))
    (entry, _) = json.loads((tmp_path / "metrics.json").read_text())["entries"]
    scores = entry["horizon"]["nrmse"]
    np.testing.assert_allclose(scores["values"], 0.5 * factors)
    assert scores["median"] == pytest.approx(0.5 * np.median(factors))
    assert scores["upper_quartile"] == pytest.approx(0.5 * np.quantile(factors, 0.75))
    assert (scores["min"], scores["max"]) == (pytest.approx(0.5), pytest.approx(0.5 * factors[-1]))
    if seeds > 1:
        assert ("shaded: the quartiles" in text) == (seeds == 5)
        assert ("shaded: the range they span" in text) == (seeds == 3)


@pytest.mark.filterwarnings("error")
def test_seeds_of_all_modes_with_a_run_that_diverged(tmp_path: Path) -> None:
    runs = {s: modes() for s in (3, 4)}
    lost = trained("synthetic")
    lost.simulations[0].predictions["synthetic"][:, 2:] = np.nan
    runs[4] = runs[4] | {"synthetic": summarise(lost, horizon=3)}
    text = self_contained(write_seeds_report(tmp_path, runs))
    assert "0.75 (0.75 to 0.75, 1 not finite)" in text
    assert "Surrogate alone: nRMSE" in text


def test_a_score_is_said_with_its_spread() -> None:
    assert said(np.array([0.25])) == "0.25"
    assert said(np.array([1.0, 2.0, 3.0, 4.0, 5.0])) == "3 (2 to 4)"
    assert said(np.array([np.inf])) == "not finite"
    assert said(np.array([np.nan])) == "\N{EN DASH}"
    assert spread(np.array([np.nan, 2.0]))["not_finite"] == 1


def test_unknown_modes_and_no_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"physical, synthetic, hybrid.*got magic"):
        write_comparison_of_modes(tmp_path, {"magic": summary("hybrid")})
    with pytest.raises(DataError, match="got none"):
        write_seeds_report(tmp_path, {})


def test_the_file_of_parameters_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "parameters.npz"
    assert read_parameters(path) == {}
    scalar = ParameterResult("drag", "1", 0.5, 0.1, 0.4)
    write_parameters(path, [scalar, *trained("physical").parameters])
    found = read_parameters(path)
    assert list(found) == ["drag", "diffusion_coeff"]
    assert (float(found["drag"]["truth"]), found["drag"]["recovered"].shape) == (0.5, ())
    np.testing.assert_array_equal(found["diffusion_coeff"]["truth"], trained("physical").parameters[0].truth)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"parameters\.npz: no file of parameters"):
        read_parameters(path)
