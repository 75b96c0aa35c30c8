"""`hyco convert checkpoint` and `hyco convert cache`, as a user types them."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from hyco.config import load_config
from hyco.migration.factory import Factory
from hyco.migration.registry import use_mode
from hyco.storage.hdf5 import simulation_path
from hyco.testing import assert_equivalent
from tests.integration.conftest import SOURCES, Here, Project

ORIGINALS = SOURCES / "tests" / "data" / "hyco-phiflow"
SIDES = {"legacy": ".pth", "phiml": ".phiml"}
CACHES = {"legacy": ".pt", "phiml": ".h5"}
OTHER = {"legacy": "phiml", "phiml": "legacy"}


def losses(history: list[dict[str, Any]]) -> dict[str, float]:
    keys = ("train_loss", "validation_loss", "synthetic_loss", "physical_loss")
    return {f"{i} {k}": r[k] for i, r in enumerate(history) for k in keys if r.get(k) is not None}


@pytest.mark.parametrize("start", SIDES)
def test_a_run_is_switched_over_at_a_checkpoint(start: str, project: Project, hyco_here: Here) -> None:
    """Checkpoints and caches converted, the run goes on in the other mode as it would have in its own."""
    # one iteration, since losses of a perfect fit to perfect data would be rounding alone
    short = ["trainer.synthetic.scheduler=constant", "trainer.physical.solve.max_iterations=1"]
    data = [*short, "data.data_dir=data", "data.cache_dir=cache"]
    both = [*data, "trainer.hybrid.cycles=2", "general.output_dir=whole", "migration.mode=legacy"]
    assert hyco_here("run", "tiny.yaml", "general.tasks=[generate, train]", *both, "-q").status == 0
    here = [*data, "general.output_dir=half", "data.cache_dir=ours"]
    assert hyco_here("train", "tiny.yaml", f"migration.mode={start}", *here, "-q").status == 0
    newest = project.newest("half")
    assert {p.stem for p in newest.iterdir()} == {"hybrid", "physical", "run", "synthetic"}
    kept = list(project.folder.glob("half/checkpoints/*_best.*"))
    kept += [p for p in newest.iterdir() if p.stem in ("synthetic", "physical")]
    assert len(kept) == 4
    for path in kept:
        done = hyco_here("convert", "checkpoint", str(path), str(path.with_suffix(SIDES[OTHER[start]])))
        assert (done.status, done.err) == (0, "")
        assert "output: " in done.out
        assert "not compared" not in done.out
        path.unlink()
    done = hyco_here("convert", "cache", "ours", "ours")
    assert (done.status, done.err) == (0, "")
    there = [*here, "trainer.hybrid.cycles=2", f"migration.mode={OTHER[start]}"]
    assert hyco_here("train", "tiny.yaml", *there, "--resume", "--force", "-q").status == 0
    expected, found = project.history("whole"), project.history("half")
    assert [r["kind"] for r in expected] == [r["kind"] for r in found]
    assert_equivalent(losses(expected), losses(found), "losses of a hybrid run")


# ---------------------------------------------------------------------------------------------- caches


@pytest.fixture
def cached(project: Project, hyco_here: Here) -> Callable[[str], Any]:
    """Data of the tiny experiment; the data manager of a side with a cache folder of its own, filled."""
    assert hyco_here("generate", "tiny.yaml", "data.data_dir=data", "-q").status == 0

    def make(side: str, folder: str, *, fill: bool = False) -> Any:
        config = load_config("tiny.yaml", ["data.data_dir=data", f"data.cache_dir={folder}"])
        with use_mode(side):
            manager = Factory(config).data_manager()
        if fill:
            manager.prepare([0, 1, 2])
        return manager

    return make


@pytest.mark.parametrize("start", SIDES)
@pytest.mark.parametrize("same", [False, True], ids=["another folder", "the same folder"])
def test_converted_caches_are_taken_for_own_ones(
    start: str, same: bool, cached: Callable[..., Any], hyco_here: Here, caplog: pytest.LogCaptureFixture
) -> None:
    ours = cached(start, "ours", fill=True)
    target = "ours" if same else "new/theirs"
    theirs = cached(OTHER[start], target)
    before = {p.name: p.read_bytes() for p in Path("ours").iterdir()}
    assert not any(theirs.is_cached(i) for i in range(3))
    done = hyco_here("convert", "cache", "ours", target)
    assert (done.status, done.err) == (0, "")
    names = [f"sim_00000{i}{CACHES[OTHER[start]]}" for i in range(3)]
    first, second, third = done.out.splitlines()
    assert first == f"ours -> {target}"
    assert second == f"3 caches for {OTHER[start]} mode: {', '.join(names)}"
    assert third == f"{3 * 8 * 16} values, the worst difference of any is 0; fingerprints are kept"
    written = {p.name: p.read_bytes() for p in Path(target).iterdir()}
    assert set(written) - set(before if same else ()) == set(names)
    assert {p.name: p.read_bytes() for p in Path("ours").iterdir() if p.name in before} == before
    assert [theirs.is_cached(i) for i in range(4)] == [True, True, True, False]
    with caplog.at_level(logging.DEBUG, "hyco.data"):
        for i in range(3):
            expected, found = (m.arrays.numpy(m.load(i)) for m in (ours, theirs))
            assert expected.dtype == found.dtype
            assert np.array_equal(expected, found)
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert {p.name: p.read_bytes() for p in Path(target).iterdir()} == written


def test_a_cache_of_data_that_changed_stays_stale(cached: Callable[..., Any], hyco_here: Here) -> None:
    cached("legacy", "ours", fill=True)
    with h5py.File(simulation_path(Path("data"), 1), "r+") as file:
        file.attrs["fingerprint"] = "0" * 16
    assert hyco_here("convert", "cache", "ours", "theirs").status == 0
    theirs = cached("phiml", "theirs")
    assert [theirs.is_cached(i) for i in range(3)] == [True, False, True]


def test_both_kinds_in_one_folder_need_a_choice(cached: Callable[..., Any], hyco_here: Here) -> None:
    cached("legacy", "ours", fill=True)
    cached("phiml", "ours", fill=True)
    assert (
        "Say which to make, with --to legacy or --to phiml"
        in hyco_here("convert", "cache", "ours", "x").error
    )
    assert not Path("x").exists()
    for side, suffix in CACHES.items():
        assert hyco_here("convert", "cache", "ours", side, "--to", side).status == 0
        assert {p.suffix for p in Path(side).iterdir()} == {suffix}


def test_what_is_in_the_way_of_caches(cached: Callable[..., Any], hyco_here: Here) -> None:
    """Nothing, but caches of the same names, which are made anew one after the other."""
    cached("legacy", "ours", fill=True)
    Path("theirs").mkdir()
    Path("theirs/notes.txt").write_text("mine")
    Path("theirs/sim_000001.h5").write_text("old")
    assert hyco_here("convert", "cache", "ours", "theirs").status == 0
    assert Path("theirs/notes.txt").read_text() == "mine"
    assert all(cached("phiml", "theirs").is_cached(i) for i in range(3))


def spoil(path: Path) -> None:
    """Another value, under the checksum of before."""
    content = torch.load(path)
    content["tensor_data"][0, 0, 0] += 1.0
    torch.save(content, path)


def original_cache(path: Path) -> None:
    shutil.copy(ORIGINALS / "v1-burgers" / "cache" / "sim_000000.pt", path)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:100]), "not a readable PyTorch file"),
        (lambda p: p.write_bytes(b""), "not a readable PyTorch file"),
        (spoil, "its checksum does not match"),
        (lambda p: torch.save({"tensor_data": torch.zeros(2), "metadata": {}}, p), "what it was made from"),
        (original_cache, r"sim_000001\.pt: no cache, or a damaged one"),
    ],
    ids=["cut", "empty", "spoiled", "without a source", "of the original"],
)
def test_a_damaged_cache_is_refused_and_none_is_kept(
    damage: Callable[[Path], Any], says: str, cached: Callable[..., Any], hyco_here: Here
) -> None:
    cached("legacy", "ours", fill=True)
    damage(Path("ours/sim_000001.pt"))
    before = {p.name: p.read_bytes() for p in Path("ours").iterdir()}
    failed = hyco_here("convert", "cache", "ours", "theirs")
    assert failed.status == 2
    assert "ours/sim_000001.pt" in failed.error
    assert says.replace("\\", "") in failed.error
    assert {p.name: p.read_bytes() for p in Path("ours").iterdir()} == before
    assert {p.name for p in Path().iterdir()} == {"tiny.yaml", "data", "ours", "results"}


def test_folders_without_caches_are_refused(cached: Callable[..., Any], hyco_here: Here) -> None:
    cached("legacy", "ours", fill=True)
    Path("empty").mkdir()
    before = {p.name: p.read_bytes() for p in Path("data").iterdir()}
    for arguments, says in (
        (["nowhere", "x"], "nowhere: expected a folder of caches, but there is none"),
        (["empty", "x"], "empty: expected caches with names such as"),
        (["ours", "x", "--to", "legacy"], "ours: expected caches for another mode"),
        (["ours", "x", "--to", "phimi"], "--to phimi: no mode that caches are of. Did you mean 'phiml'?"),
        (["data", "x"], "name a folder of caches, not of data"),
    ):
        failed = hyco_here("convert", "cache", *arguments)
        assert failed.status == 2
        assert says in failed.error
        assert not Path("x").exists()
    assert {p.name: p.read_bytes() for p in Path("data").iterdir()} == before


# ----------------------------------------------------------------------------------------- checkpoints


@pytest.fixture
def surrogate(project: Project, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A checkpoint of the tiny experiment's network."""
    monkeypatch.chdir(project.folder)
    with use_mode("legacy"):
        model = Factory(load_config("tiny.yaml")).synthetic_model()
    model.save(Path("net.pth"))
    return model


def test_a_checkpoint_is_converted_and_told_of(surrogate: Any, hyco_here: Here) -> None:
    done = hyco_here("convert", "checkpoint", "net.pth", "net.phiml")
    assert (done.status, done.err) == (0, "")
    first, second, third = done.out.splitlines()
    assert first == "net.pth -> net.phiml"
    assert second == f"unet network: {len(surrogate.weights())} tensors, the worst difference of any is 0"
    assert third.startswith("output: ")


def test_what_cannot_be_converted_is_one_line_and_leaves_nothing(surrogate: Any, hyco_here: Here) -> None:
    shutil.copy("net.pth", "swapped.phiml")
    Path("cut.pth").write_bytes(Path("net.pth").read_bytes()[:2000])
    before = {p.name for p in Path().iterdir()}
    for arguments, says in (
        (["none.pth", "x.phiml"], "none.pth: no such checkpoint"),
        (["net.pth", "x.pth"], "net.pth: is a checkpoint of legacy mode already"),
        (["swapped.phiml", "x.pth"], "Rename it to swapped.pth"),
        (["cut.pth", "x.phiml"], "cut.pth"),
        (["net.pth", "x.onnx"], "x.onnx: expected a checkpoint whose name ends in .pth or .phiml"),
        (
            ["net.pth", "x.phiml", "--config", "tiny.yaml"],
            "needs neither --config, nor settings, nor --training",
        ),
        (["net.pth", "tiny.yaml/x.phiml"], "tiny.yaml/x.phiml: cannot be written"),
    ):
        failed = hyco_here("convert", "checkpoint", *arguments)
        assert failed.status == 2, arguments
        assert says in failed.error
        assert {p.name for p in Path().iterdir()} == before


def test_every_command_has_help_with_examples(hyco_here: Here) -> None:
    shown = hyco_here("convert")
    assert (shown.status, shown.err) == (0, "")
    assert shown.out == hyco_here("convert", "--help").out
    for command in ("checkpoint", "cache"):
        assert command in shown.out
        detail = hyco_here("convert", command, "--help")
        assert detail.status == 0
        assert f"hyco convert {command}" in detail.out.partition("Examples:")[2]


# ------------------------------------------------------------------------------ the original's checkpoints


@pytest.mark.parametrize("side", SIDES)
def test_an_original_network_gives_what_was_recorded(side: str, project: Project, hyco_here: Here) -> None:
    folder = ORIGINALS / "v1-burgers"
    source, config = folder / "models" / "burgers_synthetic_model.pth", str(folder / "config.yaml")
    before = source.read_bytes()
    done = hyco_here("convert", "checkpoint", str(source), f"net{SIDES[side]}", "--config", config)
    assert (done.status, done.err) == (0, "")
    assert "one step of both modes is the same to the last bit" in done.out or (
        "the worst difference of one step between the modes" in done.out
    )
    with use_mode(side):
        model = Factory(load_config(config)).synthetic_model()
    model.load(Path(f"net{SIDES[side]}"))
    recorded = np.load(folder / "unet_reference.npz")
    found = model.predict(recorded["x"][:, :, 0], 1)[:, :, 1]
    assert np.max(np.abs(found - recorded["y"][:, :, 0])) < 1e-5
    state = hyco_here(
        "convert", "checkpoint", str(source), f"s{SIDES[side]}", "--config", config, "--training"
    )
    assert state.status == 0
    with use_mode(side):
        trainer = Factory(load_config(config)).synthetic_trainer(model)
    trainer.load(Path(f"s{SIDES[side]}"))
    assert trainer.epochs_done == torch.load(source)["epoch"] + 1
    assert source.read_bytes() == before


def test_originals_that_do_not_say_enough(project: Project, hyco_here: Here) -> None:
    folder = ORIGINALS / "v1-burgers" / "models"
    bare = hyco_here("convert", "checkpoint", str(folder / "burgers_synthetic_model.pth"), "net.phiml")
    assert bare.status == 0
    assert "output: not compared" in bare.out
    assert "with --config, outputs are compared too" in bare.out
    for name, arguments, says in (
        ("burgers_physical_model.pth", [], "does not say of what. Add --config"),
        ("burgers_synthetic_model.pth", ["--training"], "Add --config"),
        ("burgers_physical_model.pth", ["--training"], "Omit --training"),
    ):
        failed = hyco_here("convert", "checkpoint", str(folder / name), "x.phiml", *arguments)
        assert failed.status == 2
        assert says in failed.error
        assert not Path("x.phiml").exists()


@pytest.mark.parametrize("side", SIDES)
def test_original_parameters_are_converted(side: str, project: Project, hyco_here: Here) -> None:
    folder = ORIGINALS / "v1-burgers"
    source, config = folder / "models" / "burgers_physical_model.pth", str(folder / "config.yaml")
    done = hyco_here("convert", "checkpoint", str(source), f"p{SIDES[side]}", "--config", config)
    assert (done.status, done.err) == (0, "")
    assert "values were cut to what HYCO-PhiFlow let act" in done.out
    with use_mode(side):
        model = Factory(load_config(config)).physical_model()
    model.load(Path(f"p{SIDES[side]}"))
    (stored,) = torch.load(source)["learnable_parameters"]
    found = model.arrays.numpy(model.parameters["diffusion_coeff"])
    inside = (found > 0.0) & (found < found.max())
    assert inside.sum() > 100
    assert np.array_equal(found[inside], stored.numpy()[inside])


@pytest.mark.parametrize("side", SIDES)
def test_original_parameters_on_a_halved_grid_need_its_resolution(
    side: str, project: Project, hyco_here: Here
) -> None:
    folder = ORIGINALS / "v2-burgers-2d"
    source = folder / "models" / "burgers_physical_model_2d.npz"
    convert = (
        "convert",
        "checkpoint",
        str(source),
        f"p{SIDES[side]}",
        "--config",
        str(folder / "config.yaml"),
    )
    failed = hyco_here(*convert)
    halved = [f"model.physical.domain.{axis}.resolution=32" for axis in "xy"]
    assert failed.status == 2
    assert f"add {' '.join(halved)}" in failed.error
    assert not Path(f"p{SIDES[side]}").exists()
    assert hyco_here(*convert, *halved).status == 0
    with use_mode(side):
        model = Factory(load_config(folder / "config.yaml", halved)).physical_model()
    model.load(Path(f"p{SIDES[side]}"))
    value = model.arrays.numpy(model.parameters["diffusion_coeff"])
    assert value.shape == (32, 32)
    assert not value.any()  # that short run ended at 0; before, the model had the configuration's values
