"""TensorBoard and MLflow, read back from an invented training, its resumption included."""

from __future__ import annotations

import json
import logging
import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hyco.config import Config, parse_config
from hyco.errors import ConfigError, StorageError
from hyco.storage.atomic import write_json
from hyco.tracking import Tracker, open_tracker
from hyco.tracking import tracker as tracking
from hyco.tracking.scalars import flat_settings, record_scalars, summary_scalars

DOMAINS = {
    1: {"x": {"size": 16, "resolution": 16}},
    2: {"x": {"size": 16, "resolution": 16}, "y": {"size": 8, "resolution": 8}},
    3: {a: {"size": 8, "resolution": 8} for a in "xyz"},
}
needs_tensorboard = pytest.mark.skipif(find_spec("tensorboardX") is None, reason="tensorboardX is missing")
needs_mlflow = pytest.mark.skipif(
    find_spec("mlflow") is None or find_spec("sqlalchemy") is None or find_spec("alembic") is None,
    reason="mlflow-skinny, sqlalchemy or alembic is missing",
)


def experiment(output: Path, rank: int = 2, /, **tracking_block: Any) -> Config:
    """A hybrid training of a heat equation that nobody runs."""
    return parse_config(
        {
            "general": {"experiment_name": "tiny", "mode": "hybrid", "seed": 3, "output_dir": str(output)},
            "data": {"data_dir": "data", "cache_dir": "cache", "num_simulations": 3, "trajectory_length": 8},
            "model": {
                "physical": {
                    "name": "heat",
                    "domain": DOMAINS[rank],
                    "dt": 0.2,
                    "parameters": {"conductivity": {"type": "field", "value": "0.1 + 0.2*x/size_x"}},
                },
                "synthetic": {"name": "unet", "architecture": {"levels": 2, "filters": 4}},
            },
            "trainer": {
                "rollout_steps": 3,
                "train_sim": [0],
                "physical": {"learnable_parameters": [{"name": "conductivity", "initial_guess": 0.1}]},
            },
            "tracking": tracking_block,
            "evaluation": {
                "test_sim": [2],
                "num_frames": 8,
                "horizon": 4,
                "visualization": {"dpi": 30},
            },
        }
    )


def epoch(number: int, loss: float) -> dict[str, Any]:
    """The record of an epoch of the surrogate."""
    return {
        "kind": "epoch",
        "model": "synthetic",
        "phase": "cycle",
        "epoch": number,
        "cycle": 1,
        "train_loss": loss,
        "validation_loss": None,
        "learning_rate": 1e-3,
        "rollout_steps": 4,
        "best": number == 1,
        "timing": {"seconds": 0.5, "peak_memory_mb": 100.0},
    }


def solve(number: int, loss: float, status: str = "converged") -> dict[str, Any]:
    """The record of a solve."""
    return {
        "kind": "epoch",
        "model": "physical",
        "phase": "cycle",
        "epoch": number,
        "cycle": number,
        "train_loss": loss,
        "validation_loss": float("nan"),
        "iterations": 7,
        "status": status,
        "best": True,
        "parameters": {"conductivity": {"mean": 0.15, "min": 0.1, "max": 0.2}},
    }


CYCLE = {
    "kind": "cycle",
    "cycle": 1,
    "synthetic_loss": 0.25,
    "physical_loss": 0.125,
    "generated_for_synthetic": 12,
    "generated_for_physical": 8,
    "reverted": ["physical"],
}


def fields(config: Config, seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A truth and two predictions, (field, time, *space)."""
    shape = (len(config.layout.components), 8, *config.grid.resolution)
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal(shape)
    return truth, {"synthetic": truth + 0.1, "physical": truth - 0.1}


# -- what is written, as numbers ---------------------------------------------------------------------------


def test_a_record_becomes_its_finite_numbers() -> None:
    assert record_scalars(epoch(2, 0.5)) == {
        "loss/train": 0.5,
        "learning_rate": 1e-3,
        "rollout_steps": 4.0,
        "best": 0.0,
        "timing/seconds": 0.5,
        "timing/peak_memory_mb": 100.0,
    }
    found = record_scalars(solve(1, 0.5, "diverged"))
    assert found["diverged"] == 1.0 and "loss/validation" not in found
    assert {k: v for k, v in found.items() if k.startswith("parameters")} == {
        "parameters/conductivity/mean": 0.15,
        "parameters/conductivity/min": 0.1,
        "parameters/conductivity/max": 0.2,
    }
    assert record_scalars(CYCLE) == {
        "loss/synthetic": 0.25,
        "loss/physical": 0.125,
        "generated_for/synthetic": 12.0,
        "generated_for/physical": 8.0,
        "reverted": 1.0,
    }


def test_only_the_overall_scores_are_written() -> None:
    scores = {"horizon": {"nrmse": 0.2, "ratio_to_baseline": None, "finite": True}}
    found = summary_scalars({"dt": 0.1, "models": {"synthetic": scores}, "simulations": [{"simulation": 2}]})
    assert found == {"models/synthetic/horizon/nrmse": 0.2, "models/synthetic/horizon/finite": 1.0}


def test_settings_are_flat_and_short(tmp_path: Path) -> None:
    flat = flat_settings(experiment(tmp_path).model_dump(mode="json"))
    assert flat["trainer.train_sim"] == "[0]" and flat["general.mode"] == "hybrid"
    assert flat["trainer.hybrid.reversion"] == "null"
    long = flat_settings({"a" * 300: "b" * 900})
    assert [(len(k), len(v)) for k, v in long.items()] == [(250, 500)]


# -- what is switched off, missing or broken ---------------------------------------------------------------


def test_without_tracking_nothing_is_written(tmp_path: Path) -> None:
    config = experiment(tmp_path)
    with open_tracker(config, tmp_path) as tracker:
        assert not tracker.on
        tracker.record(epoch(1, 0.5))
        tracker.parameters(1, {"conductivity": np.zeros(config.grid.resolution)})
        tracker.rollout(1, *fields(config), simulation=2)
        tracker.summary({})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "package"), [("tensorboard", "tensorboardX"), ("mlflow", "mlflow"), ("mlflow", "alembic")]
)
def test_a_missing_package_is_named_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, package: str
) -> None:
    monkeypatch.setattr(tracking, "_installed", lambda name: name != package)
    with pytest.raises(
        ConfigError, match=rf"tracking\.{key}: needs {package}.*pip install \"hyco\[{key}\]\""
    ):
        open_tracker(experiment(tmp_path, **{key: True}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "surely_no_package").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_spec("surely_no_package") is not None
    assert not tracking._installed("surely_no_package")
    assert tracking._installed("numpy")


def test_a_writer_that_fails_is_named_and_the_run_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        name = "Broken"
        calls = 0

        def scalars(self, *given: Any) -> None:
            self.calls += 1
            raise OSError(28, "No space left on device")

    writer = Broken()
    tracker = Tracker(experiment(tmp_path), [writer])  # type: ignore[list-item]
    with caplog.at_level(logging.WARNING, logger="hyco.tracking"):
        tracker.record(epoch(1, 0.5))
        tracker.record(epoch(2, 0.5))
    assert writer.calls == 1 and not tracker.on
    assert [r.getMessage() for r in caplog.records] == [
        "tracking: Broken failed and is switched off for the rest of the run: "
        "[Errno 28] No space left on device"
    ]


@needs_tensorboard
def test_a_folder_that_cannot_be_written_is_said_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    config = experiment(tmp_path, tensorboard=True, folder=str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"tracking: .*file cannot be written to.*tracking\.folder"):
        open_tracker(config, tmp_path)


def test_tracking_loads_no_framework_and_nothing_that_is_off() -> None:
    code = (
        "import json, sys, hyco.tracking\n"
        "print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "phiml", "phi", "jax", "matplotlib", "mlflow", "tensorboardX", "tensorboard"}
    assert not heavy & set(json.loads(done.stdout))


# -- TensorBoard -------------------------------------------------------------------------------------------


def events(folder: Path) -> Iterator[Any]:
    """The events of the files in a folder, in the order in which TensorBoard reads them."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    for path in sorted(folder.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            assert struct.unpack("<I", data[8:12])[0] == masked_crc32c(data[:8])
            body = data[12 : 12 + length]
            assert struct.unpack("<I", data[12 + length : 16 + length])[0] == masked_crc32c(body)
            yield Event.FromString(body)
            data = data[16 + length :]


def shown(folder: Path) -> dict[str, dict[int, Any]]:
    """What TensorBoard shows of a folder, by tag and step: a start of a session takes later steps back."""
    found: dict[str, dict[int, Any]] = {}
    for event in events(folder):
        if event.HasField("session_log"):
            found = {t: {s: v for s, v in values.items() if s < event.step} for t, values in found.items()}
        for entry in event.summary.value:
            picture = entry.HasField("image")
            value = entry.image.encoded_image_string if picture else entry.simple_value
            assert event.step not in found.get(entry.tag, {}), "a step was written twice"
            found.setdefault(entry.tag, {})[event.step] = value
    return {tag: values for tag, values in found.items() if values}


@needs_tensorboard
def test_tensorboard_shows_what_was_recorded(tmp_path: Path) -> None:
    config = experiment(tmp_path, tensorboard=True)
    with open_tracker(config, tmp_path) as tracker:
        for number in range(1, 4):
            tracker.record(epoch(number, 1.0 / number))
        tracker.record(solve(1, 0.5))
        tracker.record(CYCLE)
        tracker.summary({"models": {"synthetic": {"horizon": {"nrmse": 0.25}}}})
    runs = tmp_path / "tracking/tensorboard/tiny-hybrid-3"
    assert sorted(p.name for p in runs.iterdir()) == ["cycles", "evaluation", "physical", "synthetic"]
    assert shown(runs / "synthetic")["loss/train"] == {
        n: pytest.approx(1.0 / n, rel=2e-7)
        for n in range(1, 4)  # float32
    }
    assert shown(runs / "physical")["parameters/conductivity/max"][1] == pytest.approx(0.2)
    assert shown(runs / "cycles")["generated_for/physical"] == {1: 8.0}
    assert shown(runs / "evaluation") == {"models/synthetic/horizon/nrmse": {0: 0.25}}


@needs_tensorboard
def test_every_event_is_on_disk_at_once(tmp_path: Path) -> None:
    """A process that is killed loses no event: nothing is closed here, and nothing is waited for."""
    tracker = open_tracker(experiment(tmp_path, tensorboard=True), tmp_path)
    tracker.record(epoch(1, 0.5))
    assert shown(tmp_path / "tracking/tensorboard/tiny-hybrid-3/synthetic")["loss/train"] == {1: 0.5}


@needs_tensorboard
def test_a_resumed_run_replaces_the_steps_it_repeats(tmp_path: Path) -> None:
    config, runs = experiment(tmp_path, tensorboard=True), tmp_path / "tracking/tensorboard/tiny-hybrid-3"
    with open_tracker(config, tmp_path, resume=False) as tracker:
        for number in range(1, 6):
            tracker.record(epoch(number, 1.0))
        tracker.record(solve(1, 1.0))
    with open_tracker(config, tmp_path) as tracker:
        for number in range(3, 8):
            tracker.record(epoch(number, 2.0))
        tracker.record(solve(2, 2.0))
    assert shown(runs / "synthetic")["loss/train"] == {1: 1.0, 2: 1.0, **dict.fromkeys(range(3, 8), 2.0)}
    assert shown(runs / "physical")["loss/train"] == {1: 1.0, 2: 2.0}
    with open_tracker(config, tmp_path, resume=False) as tracker:
        tracker.record(epoch(1, 3.0))
    assert shown(runs / "synthetic")["loss/train"] == {1: 3.0}
    assert shown(runs / "physical") == {}


@needs_tensorboard
def test_tensorboard_itself_reads_it_so(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    config, runs = experiment(tmp_path, tensorboard=True), tmp_path / "tracking/tensorboard/tiny-hybrid-3"
    for steps, loss in ((range(1, 6), 1.0), (range(4, 8), 2.0)):
        with open_tracker(config, tmp_path) as tracker:
            for number in steps:
                tracker.record(epoch(number, loss))
                if number in (1, 4):
                    tracker.rollout(number, *fields(config), simulation=2)
    read = reader.EventAccumulator(str(runs / "synthetic")).Reload()
    found = [(e.step, e.value) for e in read.Scalars("loss/train")]
    assert found == [(n, 1.0 if n < 4 else 2.0) for n in range(1, 8)]
    pictures = reader.EventAccumulator(str(runs / "rollouts"), {"images": 0}).Reload().Images("simulation 2")
    assert [p.step for p in pictures] == [1, 4]
    image = Image.open(BytesIO(pictures[0].encoded_image_string))
    assert image.size == (pictures[0].width, pictures[0].height) and image.mode == "RGBA"


@needs_tensorboard
def test_runs_that_share_a_folder_keep_apart(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        config = experiment(tmp_path / name, tensorboard=True, folder=str(shared))
        for _ in range(2):
            with open_tracker(config, tmp_path / name) as tracker:
                tracker.record(epoch(1, 1.0 if name == "a" else 2.0))
    found = sorted(p.name for p in (shared / "tensorboard").iterdir())
    assert found == ["tiny-hybrid-3", "tiny-hybrid-3-run2"]
    losses = [shown(shared / "tensorboard" / n / "synthetic")["loss/train"] for n in found]
    assert losses == [{1: 1.0}, {1: 2.0}]


# -- pictures ----------------------------------------------------------------------------------------------


@needs_tensorboard
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_fields_and_rollouts_are_pictures(tmp_path: Path, rank: int) -> None:
    config = experiment(tmp_path, rank, tensorboard=True)
    truth = config.true_parameters()["conductivity"]
    assert isinstance(truth, np.ndarray)
    with open_tracker(config, tmp_path) as tracker:
        tracker.parameters(1, {"conductivity": truth}, {"conductivity": truth})
        tracker.parameters(2, {"conductivity": 2.0 * truth}, {"conductivity": truth})
        tracker.parameters(3, {"conductivity": np.full_like(truth, np.nan)}, {"conductivity": truth})
        tracker.parameters(4, {"conductivity": truth})
        tracker.rollout(1, *fields(config), simulation=2)
        assert tracker.on
    runs = tmp_path / "tracking/tensorboard/tiny-hybrid-3"
    found = shown(runs / "physical")
    assert found["parameters/conductivity/relative_l2_error"] == {1: 0.0, 2: 1.0}
    images = {s: np.asarray(Image.open(BytesIO(png))) for s, png in found["parameters/conductivity"].items()}
    assert list(images) == [1, 2, 3, 4]
    assert not np.array_equal(images[1], images[2]) and np.ptp(images[1]) > 0
    rollout = Image.open(BytesIO(shown(runs / "rollouts")["simulation 2"][1]))
    assert min(rollout.size) > 100


@needs_tensorboard
def test_scalar_parameters_are_numbers(tmp_path: Path) -> None:
    config = experiment(tmp_path, tensorboard=True)
    with open_tracker(config, tmp_path) as tracker:
        tracker.parameters(5, {"conductivity": 0.3}, {"conductivity": 0.2})
    found = shown(tmp_path / "tracking/tensorboard/tiny-hybrid-3/physical")
    assert found == {
        "parameters/conductivity/value": {5: pytest.approx(0.3)},
        "parameters/conductivity/relative_l2_error": {5: pytest.approx(0.5)},
    }


def test_what_cannot_be_drawn_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = Tracker(experiment(tmp_path), [object()])  # type: ignore[list-item]
    with caplog.at_level(logging.WARNING, logger="hyco.tracking"):
        tracker.rollout(1, np.zeros((1, 1, 2, 2)), {}, simulation=2)
    assert [r.getMessage()[:52] for r in caplog.records] == [
        "tracking: no picture of simulation 2 at step 1: simu"
    ]
    assert tracker.on


# -- MLflow ------------------------------------------------------------------------------------------------


@needs_mlflow
def test_mlflow_holds_one_run_through_interruption_and_resumption(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    facts = {"git_revision": "abc123", "packages": {"hyco": "9.9"}, "device": "cpu"}
    modes = [{"component": "dataset", "implementation": "dataset", "mode": "phiml", "chosen_by": "me"}]
    write_json(tmp_path / "environment.json", {**facts, "modes": modes})
    config = experiment(tmp_path, mlflow=True)
    client = MlflowClient(f"sqlite:///{tmp_path / 'tracking/mlflow.db'}")

    with pytest.raises(KeyboardInterrupt), open_tracker(config, tmp_path, resume=False) as tracker:
        for number in range(1, 4):
            tracker.record(epoch(number, 1.0 / number))
        raise KeyboardInterrupt
    run = json.loads((tmp_path / "tracking.json").read_text())["mlflow"]
    assert client.get_run(run).info.status == "KILLED"

    changed = config.model_copy(
        update={"trainer": config.trainer.model_copy(update={"batch_size": 5})}, deep=True
    )
    with open_tracker(changed, tmp_path) as tracker:
        assert client.get_run(run).info.status == "RUNNING"
        tracker.record(epoch(2, 0.5))  # as before
        tracker.record(epoch(3, 0.75))  # not as before
        tracker.record(epoch(4, 0.1))
        tracker.record(CYCLE)
        tracker.parameters(1, {"conductivity": config.true_parameters()["conductivity"]})
        tracker.rollout(1, *fields(config), simulation=2)
        tracker.summary({"models": {"synthetic": {"horizon": {"nrmse": 0.25}}}})
        assert tracker.on
    assert json.loads((tmp_path / "tracking.json").read_text())["mlflow"] == run

    found = client.get_run(run)
    assert found.info.status == "FINISHED" and found.info.run_name == "tiny-hybrid-3"
    history = [(m.step, m.value) for m in client.get_metric_history(run, "synthetic/loss/train")]
    assert sorted(history) == [(1, 1.0), (2, 0.5), (3, 1.0 / 3), (3, 0.75), (4, 0.1)]
    assert found.data.metrics["cycles/loss/physical"] == 0.125
    assert found.data.metrics["evaluation/models/synthetic/horizon/nrmse"] == 0.25
    assert found.data.params["general.mode"] == "hybrid" and found.data.params["trainer.batch_size"] == "16"
    tags = found.data.tags
    assert tags["changed.trainer.batch_size"] == "5" and tags["git_revision"] == "abc123"
    assert tags["mode"] == "hybrid" and tags["mode.dataset"] == "phiml" and tags["hyco_version"] == "9.9"
    artifacts = Path(client.download_artifacts(run, ""))
    names = sorted(str(p.relative_to(artifacts)) for p in artifacts.rglob("*") if p.is_file())
    pictures = ["physical/parameters/conductivity/000001.png", "rollouts/simulation 2/000001.png"]
    assert names == ["config.yaml", *pictures]
    assert "batch_size: 5" in (artifacts / "config.yaml").read_text()

    with open_tracker(config, tmp_path, resume=False) as tracker:
        tracker.record(epoch(1, 1.0))
    anew = json.loads((tmp_path / "tracking.json").read_text())["mlflow"]
    assert anew != run and len(client.search_runs(["1"])) == 2


@needs_mlflow
def test_mlflow_prints_nothing_and_a_lost_store_is_made_anew(tmp_path: Path) -> None:
    """In a folder with a blank in its name, in a process of its own, since others may have set up logging."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.unit.test_tracking import *\n"
        "folder = Path(sys.argv[1])\n"
        "with open_tracker(experiment(folder, mlflow=True), folder) as tracker:\n"
        "    tracker.record(epoch(1, 0.5)); assert tracker.on\n"
        "print(json.loads((folder / 'tracking.json').read_text())['mlflow'])\n"
    )

    def run() -> str:
        command = [sys.executable, "-c", code, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
        assert done.returncode == 0 and done.stderr == "", done.stderr
        assert len(done.stdout.splitlines()) == 1
        return done.stdout

    first = run()
    (folder / "tracking/mlflow.db").unlink()
    assert run() != first
