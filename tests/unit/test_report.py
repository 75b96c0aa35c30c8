"""The summary and the report, made from small invented simulations."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hyco.errors import ConfigError, DataError
from hyco.problem.equations import EQUATIONS
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.grid import Grid
from hyco.report.coefficients import scalar_history
from hyco.report.evaluation import Evaluation, ParameterResult, SimulationResult
from hyco.report.gallery import draw_figures
from hyco.report.observed import Observed
from hyco.report.page import summary_lines, write_report
from hyco.report.plots import Scale, plane
from hyco.report.sensors import _amount
from hyco.report.summary import _parameter, summarise
from hyco.storage.parameter_history import Snapshots

GRIDS = {
    1: Grid.of(x=(10.0, 16)),
    2: Grid.of(x=(10.0, 12), y=(6.0, 8)),
    3: Grid.of(x=(8.0, 8), y=(8.0, 8), z=(8.0, 6)),
}
BOTH = ("synthetic", "physical")
ERRORS = {"synthetic": 0.5, "physical": 0.1}


def history() -> list[dict[str, Any]]:
    """A warm-up and two cycles of both models."""
    records: list[dict[str, Any]] = []
    for cycle in range(3):
        phase = {"phase": "cycle" if cycle else "warmup", "cycle": cycle}
        for _ in range(2):
            records.append({"kind": "epoch", "model": "synthetic", **phase, "train_loss": 1.0 / (cycle + 1),
                            "validation_loss": None, "timing": {"seconds": 0.5}})  # fmt: skip
        parameters = {"diffusion_coeff": {"mean": 0.1 * (cycle + 1), "min": 0.0, "max": 1.0}}
        losses = {"initial_loss": 0.2, "train_loss": 0.1, "validation_loss": 0.15}
        records.append({"kind": "epoch", "model": "physical", **phase, **losses, "parameters": parameters,
                        "timing": {"seconds": 2.0}})  # fmt: skip
        records.append({"kind": "cycle", "cycle": cycle, "synthetic_loss": 0.1, "physical_loss": 0.1})
    return records


def simulation(
    grid: Grid, layout: FieldLayout, number: int, frames: int, models: tuple[str, ...]
) -> SimulationResult:
    """Random truth; a prediction is off by a fixed share of it."""
    rng = np.random.default_rng(number)
    truth = rng.standard_normal((len(layout.components), frames, *grid.resolution))
    return SimulationResult(number, truth, {m: (1 + ERRORS[m]) * truth for m in models}, layout.components)


def evaluation(
    rank: int = 1, *, frames: int = 5, models: tuple[str, ...] = BOTH, sims: tuple[int, ...] = (7,)
) -> Evaluation:
    grid = GRIDS[rank]
    layout = EQUATIONS["burgers"].layout(grid)
    truth = 0.1 + np.linspace(0.0, 1.0, grid.cells).reshape(grid.resolution)
    return Evaluation(
        experiment="tiny",
        equation="burgers",
        formula=EQUATIONS["burgers"].formula,
        grid=grid,
        layout=layout,
        dt=0.5,
        simulations=tuple(simulation(grid, layout, s, frames, models) for s in sims),
        parameters=(ParameterResult("diffusion_coeff", "length^2/time", truth, 0.01, 1.1 * truth),),
        history=history(),
        facts={"mode": "hybrid", "seconds": {"train": 1.23456}},
    )


def with_prediction(given: Evaluation, model: str, change: Any) -> Evaluation:
    """The same evaluation where the prediction of one model has been changed."""
    result = given.simulations[0]
    predictions = {**result.predictions, model: change(result.predictions[model].copy())}
    return replace(given, simulations=(replace(result, predictions=predictions),))


def test_summary_holds_the_scores_of_each_model() -> None:
    summary = summarise(evaluation(sims=(7, 8)), horizon=2)
    assert summary["models"]["synthetic"]["horizon"]["steps"] == 2
    assert summary["models"]["synthetic"]["horizon"]["nrmse"] == pytest.approx(0.5)
    assert summary["models"]["physical"]["all_frames"]["relative_l2"] == pytest.approx(0.1)
    assert [s["simulation"] for s in summary["simulations"]] == [7, 8]
    frames = summary["simulations"][1]["models"]["physical"]["per_frame"]
    assert frames["frame"] == [1, 2, 3, 4]
    np.testing.assert_allclose(frames["nrmse"], 0.1)
    baseline = summary["baseline"]["all_frames"]
    assert baseline["ratio_to_baseline"] == 1.0
    ratio = summary["models"]["physical"]["all_frames"]["ratio_to_baseline"]
    assert ratio == pytest.approx(0.1 / baseline["nrmse"])
    parameter = summary["parameters"]["diffusion_coeff"]
    assert parameter["recovered"]["relative_l2"] == pytest.approx(0.1)
    assert parameter["ratio_to_initial"] == pytest.approx(0.1 / parameter["initial"]["relative_l2"])


def test_a_parameter_that_is_known_up_to_a_constant_is_compared_without_its_mean(tmp_path: Path) -> None:
    truth = np.linspace(0.0, 1.0, 24).reshape(6, 4)
    shifted = ParameterResult("potential", "1", truth, 0.7, 5.0 + truth, up_to_constant=True)
    given = replace(evaluation(2), grid=Grid.of(x=(1.0, 6), y=(1.0, 4)), parameters=(shifted,))
    parameter = _parameter(shifted, Snapshots())
    assert parameter["up_to_constant"] is True
    assert parameter["recovered"]["relative_l2"] < 1e-14
    assert parameter["initial"]["relative_l2"] == pytest.approx(1.0)
    scale = Scale.of_parameter(given, shifted)
    assert (scale.label, scale.low, scale.high) == ("potential without its mean", -0.5, 0.5)
    plain = replace(shifted, truth=truth, recovered=5.0 + truth, up_to_constant=False)
    assert _parameter(plain, Snapshots())["recovered"]["relative_l2"] > 5.0


def test_a_horizon_beyond_the_trajectory_is_cut() -> None:
    assert summarise(evaluation(), horizon=20)["models"]["physical"]["horizon"]["steps"] == 4


def test_static_components_are_not_scored() -> None:
    grid = GRIDS[1]
    layout = FieldLayout((FieldSpec("velocity", vector=True, static=True), FieldSpec("density")), grid.axes)
    result = simulation(grid, layout, 0, 4, ("synthetic",))
    result.predictions["synthetic"][0] = 1e6
    given = replace(evaluation(), layout=layout, simulations=(result,))
    assert summarise(given, horizon=3)["components"] == ["density"]
    assert summarise(given, horizon=3)["models"]["synthetic"]["all_frames"]["nrmse"] == pytest.approx(0.5)


def test_summary_of_a_diverged_model_is_strict_json() -> None:
    def diverge(prediction: np.ndarray) -> np.ndarray:
        prediction[:, 3:] = np.nan
        return prediction

    summary = summarise(with_prediction(evaluation(), "synthetic", diverge), horizon=2)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary_lines(summarise(with_prediction(evaluation(), "synthetic", diverge), 4))[0].startswith(
        "Surrogate, nRMSE over 4 steps: not finite (against the 'nothing changes' baseline's 1."
    )
    scores = summary["models"]["synthetic"]
    assert scores["all_frames"]["nrmse"] is None and scores["all_frames"]["finite"] is False
    assert scores["horizon"]["nrmse"] == pytest.approx(0.5) and scores["horizon"]["finite"] is True
    assert scores["correlation_horizon"] == 3
    assert summary["simulations"][0]["models"]["synthetic"]["per_frame"]["nrmse"][2:] == [None, None]


def test_summary_lines_name_model_numbers_and_parameter() -> None:
    summary = summarise(evaluation(), horizon=3)
    surrogate, physical, parameter = summary_lines(summary)
    assert surrogate.startswith("Surrogate, nRMSE over 3 steps: 0.5 (")
    assert physical.startswith("Physical model, nRMSE over 3 steps: 0.1 (")
    assert parameter.startswith("diffusion_coeff, relative L2 error: 0.1 (")


def test_results_that_do_not_fit_are_refused() -> None:
    result = evaluation().simulations[0]
    with pytest.raises(DataError, match=r"simulation 7: .*\(1, 5, 16\).*'physical' of shape \(1, 4, 16\)"):
        replace(result, predictions={"physical": result.truth[:, 1:]})
    with pytest.raises(DataError, match="at least 2 frames"):
        replace(result, truth=result.truth[:, :1], predictions={})
    with pytest.raises(DataError, match="expected predictions by synthetic, physical for every simulation"):
        other = replace(result, simulation=8, predictions={"physical": result.truth})
        replace(evaluation(), simulations=(result, other))
    with pytest.raises(ConfigError, match="test_sim"):
        replace(evaluation(), simulations=())
    with pytest.raises(ConfigError, match="at least, got 0"):
        summarise(evaluation(), horizon=0)


def test_scales_are_centred_for_vectors_and_sequential_for_coefficients() -> None:
    given = evaluation(2)
    scale = Scale.of_state(given, "velocity_y", np.array([-1.0, 3.0]))
    assert (scale.low, scale.high, scale.label) == (-3.0, 3.0, "velocity y (length/time)")
    assert Scale.of_state(given, "velocity_y", np.array([-4.0, 3.0])).high == 4.0
    scale = Scale.of_parameter(given, given.parameters[0])
    assert (scale.low, scale.high) == (pytest.approx(0.1), pytest.approx(1.1))
    assert scale.label == "diffusion coeff (length\u00b2/time)"
    assert scale.extend([np.array([0.05, 0.5])]) == "min"
    assert scale.extend([np.array([0.05, np.nan]), np.array([9.0])]) == "both"
    assert scale.extend([np.array([0.1, 1.1])]) == "neither"
    assert Scale.of_state(given, "velocity_x", np.zeros(3)).high > 0


def test_the_error_scale_covers_the_errors_but_not_a_divergence() -> None:
    scale = Scale("u", "1", -2.0, 2.0, "RdBu_r")
    assert scale.of_errors([np.array([0.1]), np.array([0.3, np.inf, np.nan])]).high == 0.3
    assert scale.of_errors([np.array([1e9])]).high == 4.0
    assert scale.of_errors([np.zeros(2)]).high > 0


def test_the_plane_of_a_box_is_its_middle() -> None:
    grid = GRIDS[3]
    values = np.broadcast_to(np.arange(6), (5, *grid.resolution))
    assert plane(values, grid).shape == (5, 8, 8) and np.all(plane(values, grid) == 3)


def test_history_of_a_scalar_begins_with_the_guess() -> None:
    result = ParameterResult("diffusion_coeff", "1", 0.3, 0.05, 0.31)
    assert scalar_history(history(), result) == pytest.approx([0.05, 0.1, 0.2, 0.3])
    assert scalar_history([], result) == [0.05, 0.31]


class Page(HTMLParser):
    """Collects what a test asks of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    ("rank", "models"), [(1, BOTH), (1, ("physical",)), (2, BOTH), (2, ("synthetic",)), (3, BOTH)]
)
def test_report(tmp_path: Path, rank: int, models: tuple[str, ...]) -> None:
    given = evaluation(rank, models=models, frames=4, sims=(7,) if rank > 1 else (7, 9))
    extra = {
        "modes": [("dataset", "windows", "phiml", "set by <b>me</b>")],
        "environment": {"packages": {"numpy": "2.3"}},
        "config_yaml": "general: {experiment_name: '</code><script>alert(1)</script>'}",
    }
    page = write_report(given, tmp_path / "run", fps=10, dpi=50, horizon=2, extra=extra)

    names = {p.relative_to(tmp_path / "run").as_posix() for p in tmp_path.rglob("*.*") if p.is_file()}
    numbers = [s.simulation for s in given.simulations]
    whole = {1: "space_time", 3: "slices"}.get(rank)
    assert names == {
        "metrics.json", "parameters.npz", "report.html", "figures/error_over_time.png",
        "figures/error_by_frequency.png", "figures/spectra.png", "figures/loss_curves.png",
        "figures/parameters_diffusion_coeff.png", *(f"figures/frames_{n}.png" for n in numbers),
        *(f"figures/{whole}_{n}.png" for n in numbers if whole),
        *(f"animations/sim_{n}.gif" for n in numbers),
    }  # fmt: skip
    assert json.loads((tmp_path / "run/metrics.json").read_text()) == summarise(given, 2)
    text = page.read_text()
    parsed = Page(text)
    assert not parsed.open
    images = [a for tag, a in parsed.tags if tag == "img"]
    assert len(images) == len(names) - 3 and all(a["alt"] for a in images)
    assert all((a["src"] or "").startswith("data:image/") for a in images)
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "<script" not in text and "set by &lt;b&gt;me" in text
    assert "packages.numpy" in text and "seconds.train" in text


@pytest.mark.parametrize("rank", [1, 2])
def test_the_animation_shows_every_frame_and_loops(tmp_path: Path, rank: int) -> None:
    write_report(evaluation(rank, frames=4), tmp_path, fps=20, dpi=40, horizon=2)
    with Image.open(tmp_path / "animations/sim_7.gif") as gif:
        assert (gif.n_frames, gif.info["loop"], gif.info["duration"]) == (4, 0, 50)
        shown = []
        for frame in range(4):
            gif.seek(frame)
            shown.append(np.asarray(gif.convert("RGB"), dtype=int))
    changed = [np.mean(np.any(a != b, axis=-1)) for a, b in pairwise(shown)]
    assert min(changed) > 0.01


def snapshots(given: Evaluation) -> Snapshots:
    """The field of the first parameter, closer to the truth after each of the three solves of `history`."""
    truth = np.asarray(given.parameters[0].truth)
    values = np.stack([truth * (1 + 0.5**n) for n in range(4)]).astype(np.float32)
    return Snapshots((0, 1, 2, 3), {"diffusion_coeff": values})


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_fields_are_shown_as_they_were_recovered(tmp_path: Path, rank: int) -> None:
    given = evaluation(rank, frames=3)
    given = replace(given, snapshots=snapshots(given))
    text = write_report(given, tmp_path, fps=10, dpi=40, horizon=2).read_text()
    assert "in the course of the training" in text
    found = json.loads((tmp_path / "metrics.json").read_text())["parameters"]["diffusion_coeff"][
        "after_solves"
    ]
    assert found["solves"] == [0, 1, 2, 3]
    np.testing.assert_allclose(found["relative_l2"], [1.0, 0.5, 0.25, 0.125], rtol=1e-6)
    with Image.open(tmp_path / "animations/parameters_diffusion_coeff.gif") as gif:
        assert gif.n_frames == 4


def test_snapshots_of_a_scalar_make_no_animation(tmp_path: Path) -> None:
    scalar = ParameterResult("drag", "1", 0.3, 0.1, 0.29)
    kept = Snapshots((0, 1), {"drag": np.array([0.1, 0.29], np.float32)})
    given = replace(evaluation(frames=3), parameters=(scalar,), snapshots=kept)
    write_report(given, tmp_path, fps=10, dpi=40, horizon=2)
    assert [p.name for p in (tmp_path / "animations").iterdir()] == ["sim_7.gif"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_what_was_observed_is_drawn_where_anything_was_hidden(tmp_path: Path, rank: int) -> None:
    given = evaluation(rank, frames=3)
    frames = np.ones(5, dtype=bool)
    cells = np.zeros(given.grid.resolution, dtype=bool)
    cells.ravel()[:10] = True
    half = Observed(np.arange(5) % 2 == 0, cells, 0.05)
    for name, observed, drawn in (
        ("nothing", {}, False),
        ("all", {m: Observed(frames) for m in BOTH}, False),
        ("noise", {"physical": Observed(frames, noise=0.1)}, True),
        ("both", dict.fromkeys(BOTH, half), True),
        ("one", {"synthetic": half, "physical": Observed(frames)}, True),
    ):
        shown = replace(given, observed=observed)
        first = next(draw_figures(shown, summarise(shown, 2), tmp_path / name, dpi=40))
        assert (first.path.name == "observations.png") == drawn
    with Image.open(tmp_path / "one/observations.png") as one, \
            Image.open(tmp_path / "both/observations.png") as both:  # fmt: skip
        assert one.width > 1.7 * both.width  # a column of its own for each model


def test_the_amounts_of_what_was_observed_are_said() -> None:
    given = evaluation(2)
    cells = np.zeros(given.grid.resolution, dtype=bool)
    cells[:6, :4] = True
    half = Observed(np.arange(5) % 2 == 0, cells, 0.05)
    assert _amount(given, half) == "24 of 96 cells (25 %)\n3 of 5 frames, noise of 5 %"
    assert _amount(given, Observed(np.ones(5, dtype=bool))) == "all cells\nall frames, no noise"


def bad_value(value: float) -> Any:
    def change(prediction: np.ndarray) -> np.ndarray:
        prediction[:, 1:] = value
        return prediction

    return change


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_diverged_model_is_reported(tmp_path: Path, rank: int, value: float) -> None:
    given = with_prediction(evaluation(rank, frames=3), "synthetic", bad_value(value))
    page = write_report(given, tmp_path, fps=10, dpi=40, horizon=2)
    assert "not finite" in page.read_text()


@pytest.mark.filterwarnings("error")
def test_what_another_report_drew_is_removed(tmp_path: Path) -> None:
    write_report(evaluation(1, models=BOTH), tmp_path, fps=10, dpi=40, horizon=2)
    (tmp_path / "figures/mine.png").write_bytes(b"mine")
    given = replace(evaluation(3, models=("synthetic",), sims=(8,)), parameters=())
    text = write_report(given, tmp_path, fps=10, dpi=40, horizon=2).read_text()
    names = {p.name for p in (*(tmp_path / "figures").iterdir(), *(tmp_path / "animations").iterdir())}
    assert {n for n in names if n.startswith(("frames", "sim", "slices", "space", "parameters"))} == {
        "frames_8.png",
        "slices_8.png",
        "sim_8.gif",
    }
    assert {"mine.png", "spectra.png"} <= names
    assert not (tmp_path / "parameters.npz").exists()
    assert text.count("<img") == len(names) - 1


def test_odd_results_are_drawn(tmp_path: Path) -> None:
    given = evaluation(2, frames=2)
    still = replace(given.simulations[0], truth=np.zeros_like(given.simulations[0].truth))
    scalar = ParameterResult("diffusion_coeff", "1", 0.3, 0.3, np.nan)
    field = ParameterResult("drag", "1", np.full((12, 8), 0.3), 0.3, np.full((12, 8), np.nan))
    losses = [{"kind": "epoch", "model": "synthetic", "train_loss": v} for v in (np.nan, np.inf, 0.0)]
    given = replace(given, simulations=(still,), parameters=(scalar, field), history=losses)
    assert "not finite" in write_report(given, tmp_path, fps=10, dpi=40, horizon=2).read_text()


def test_a_failed_report_leaves_the_old_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = write_report(evaluation(frames=3), tmp_path, fps=10, dpi=40, horizon=2)
    before = page.read_bytes()

    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(Exception, match="No space left"):
        write_report(evaluation(frames=4), tmp_path, fps=10, dpi=40, horizon=2)
    assert page.read_bytes() == before


def test_importing_the_report_loads_no_plotting() -> None:
    code = (
        "import sys, hyco.report.page; "
        "print([m for m in ('matplotlib', 'PIL', 'jinja2', 'torch', 'phi', 'phiml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
