"""What a run does before its first step: what it loads, how long that takes, what it need not do again."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from hyco.config import Config, load_config
from hyco.migration.loading import loaded, loading
from hyco.tasks.progress import Progress, Silent
from hyco.tasks.several import run_several
from tests.integration.conftest import Here, Project

FIRST_STEP = """
import gc, json, logging, os, sys, time

before = {}

class Watch(logging.Handler):
    # of the line that is logged when the model is there, and nothing was simulated yet
    def emit(self, record):
        if not record.getMessage().startswith("simulating"):
            return
        from hyco.tasks import generation

        simulate, update = generation._simulate, generation.loaded

        def watched(config, model, simulation):
            predict = model.predict

            def first(*arguments):
                before.update(cpu=time.process_time(), collects=gc.isenabled())
                before.update(modules=sorted(sys.modules))
                return predict(*arguments)

            model.predict = first
            simulate(config, model, simulation)

        def end():
            update()
            print(json.dumps({**before, "collects_after": gc.isenabled(), "total": time.process_time()}))
            sys.stdout.flush()
            os._exit(0)

        generation._simulate, generation.loaded = watched, end

logging.getLogger("hyco.generate").addHandler(Watch())
from hyco.cli import main
main(["run", "tiny.yaml", *sys.argv[1:]])
"""
LIBRARIES = """
import json, sys, time
import numpy, h5py, numexpr, pydantic, rich.progress, typer, yaml, torch
print(json.dumps({"cpu": time.process_time(), "modules": sorted(sys.modules)}))
"""
NOT_YET = {
    *("matplotlib", "PIL", "jinja2", "mlflow", "tensorboardX", "tensorboard", "pandas", "sympy", "jax"),
    *("torch._dynamo", "torch._inductor", "torch.onnx", "torch.utils.tensorboard", "triton"),
    *("scipy.optimize", "scipy.interpolate", "scipy.signal", "scipy.stats"),
    *("hyco.compat", "hyco.comparison", "hyco.testing"),
}
WARM_UP = """
import sys
from hyco.tasks import warming

warming.EXPERIMENTS, warming.PRECISIONS = ("burgers",), ("float32",)
said = []
warming.warm_up(["trainer.device=cpu"], say=said.append)
assert len(said) == 1 and said[0].startswith("burgers in float32: "), said
"""
COMPILED = """
import json
from numba.core import event
from hyco.cli import main

compiled = []

class Listener(event.Listener):
    def on_start(self, event):
        compiled.append(event.data["dispatcher"].py_func.__qualname__)

    def on_end(self, event):
        pass

event.register("numba:compile", Listener())
try:
    main(["train", "tiny.yaml", "migration.mode=phiml", "trainer.precision=float32"])
finally:
    print(json.dumps(compiled))
"""


@dataclass(frozen=True)
class Start:
    """What there was before the first step of a run.

    Attributes: cpu, seconds until then; total, until that step was done; modules; collects, whether Python
    looked for garbage before the first step; collects_after, whether it did when that was done.
    """

    cpu: float
    total: float
    modules: frozenset[str]
    collects: bool
    collects_after: bool


def said_by(project: Project, script: str, *arguments: str, **options: Any) -> dict[str, Any]:
    """The object on the last line that a script writes."""
    done = project.python("-c", script, *arguments, **options)
    assert done.status == 0, done.err
    return dict(json.loads(done.out.splitlines()[-1]))


def start(project: Project, mode: str) -> Start:
    """A run until its first simulation is done; after one that compiles and keeps what it needs."""
    found = said_by(project, FIRST_STEP, f"migration.mode={mode}")
    return Start(**{**found, "modules": frozenset(found["modules"])})


@pytest.mark.parametrize("mode", ["legacy", "phiml"])
def test_the_first_step_waits_for_little_more_than_torch(project: Project, mode: str) -> None:
    start(project, mode)
    starts, libraries = [], []
    for _ in range(3):  # by turns, since other work slows both alike
        starts.append(start(project, mode))
        libraries.append(said_by(project, LIBRARIES))
    alone = {name for found in libraries for name in found["modules"]}

    early = starts[0].modules - alone
    assert not {name for name in early if any(f"{name}.".startswith(f"{n}.") for n in NOT_YET)}
    other = {"hyco.phiml", "hyco.kernels", "phi", "phiml", "numba"} if mode == "legacy" else {"hyco.legacy"}
    assert not early & other
    assert f"hyco.{mode}.physical.burgers" in early

    least = min(float(found["cpu"]) for found in libraries)
    assert min(s.cpu for s in starts) < 2 * least  # measured: 1.2 in legacy mode, 1.4 in phiml mode
    assert min(s.total for s in starts) < 2.5 * least  # and with the step itself 1.2 and 1.7
    assert min(s.total for s in starts) < 15

    assert not any(s.collects for s in starts)
    assert all(s.collects_after for s in starts)


def test_what_a_warm_up_compiled_is_compiled_no_more(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = project.folder / "kept"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(kept))
    monkeypatch.setenv("TMPDIR", str(project.folder))
    done = project.python("-c", WARM_UP)
    assert done.status == 0, done.err
    assert not list(project.folder.glob("hyco-*"))  # where it worked meanwhile
    files = sorted(kept.rglob("*.nbc"))
    assert files

    # another equation's parameters, another grid, another number of axes: the same kernels
    assert project.hyco("generate", "tiny.yaml", "trainer.precision=float32").status == 0
    done = project.python("-c", COMPILED)
    assert done.status == 0, done.err
    assert json.loads(done.out.splitlines()[-1]) == []
    assert sorted(kept.rglob("*.nbc")) == files


def test_a_warm_up_refuses_what_is_no_setting(hyco_here: Here) -> None:
    refused = hyco_here("warmup", "trainer.devise=cuda")
    assert refused.status == 2
    assert "trainer.devise" in refused.error or "'devise'" in refused.error


# ---------------------------------------------------------------------------------------- garbage meanwhile


@pytest.fixture
def collecting() -> Iterator[None]:
    """The collector as it usually is, before and after."""
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    yield
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


@pytest.mark.usefixtures("collecting")
def test_python_looks_for_no_garbage_while_a_run_loads() -> None:
    with loading():
        assert not gc.isenabled()
        with loading():
            pass
        assert not gc.isenabled()
        loaded()
        assert gc.isenabled()
        frozen = gc.get_freeze_count()
        assert frozen > 1000
        gc.disable()
        loaded()  # says nothing new
        assert not gc.isenabled()
        gc.enable()
    loaded()
    assert gc.get_freeze_count() == 0


class Loop:
    """Garbage that only the collector finds, as a trainer and its loop are."""

    def __init__(self) -> None:
        self.me = self


@pytest.mark.usefixtures("collecting")
def test_what_the_first_of_several_runs_held_is_free_before_the_second() -> None:
    with loading():
        models: list[weakref.ref[Loop]] = []

        def run(config: Config, progress: Progress) -> dict[str, Any]:
            gc.collect()
            assert all(model() is None for model in models)
            models.append(weakref.ref(Loop()))
            loaded()
            return {}

        run_several(load_config("burgers"), 3, ("train",), Silent(), run)
        assert len(models) == 3


@pytest.mark.usefixtures("collecting")
def test_a_failed_start_leaves_the_collector_on() -> None:
    with pytest.raises(KeyError), loading():
        raise KeyError


@pytest.mark.usefixtures("collecting")
def test_a_collector_that_is_off_stays_off() -> None:
    gc.disable()
    try:
        with loading():
            loaded()
            assert gc.get_freeze_count() == 0
        assert not gc.isenabled()
    finally:
        gc.enable()
