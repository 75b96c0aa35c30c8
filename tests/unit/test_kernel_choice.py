"""Fused kernels: when phiml mode takes them, their threads, and what is kept on disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import hyco
from hyco.errors import ConfigError
from hyco.kernels.autograd import can_run
from hyco.kernels.threads import run
from hyco.phiml.device import Compiled
from hyco.testing.cases import BY_NAME, Case

FUSED, STAGED = BY_NAME["burgers-2d-field-periodic"], BY_NAME["gray_scott-2d-field-periodic"]


class Still(type(FUSED.model("phiml"))):  # type: ignore[misc]
    """An equation of somebody else, by a name of hyco's."""

    mode = "phiml"

    def advance(self, state: object, parameters: object) -> object:
        return state


def still(**options: object) -> Still:
    """In which nothing moves."""
    boundaries = FUSED.boundaries
    return Still(FUSED.grid, FUSED.dt, FUSED.parameters(), boundaries=boundaries, device="cpu", **options)


@pytest.mark.parametrize("case", [FUSED, STAGED])
def test_auto_takes_kernels_where_there_are_any(case: Case) -> None:
    assert case.model("phiml").fused
    assert case.model("phiml", kernels="fused").fused
    assert not case.model("phiml", kernels="phiflow").fused


def test_kernels_that_are_not_there_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"no fused kernels for burgers, only for advection, burgers, gray"):
        still(kernels="fused")


def test_an_equation_of_somebody_else_is_not_taken_for_hycos() -> None:
    model = still()
    assert not model.fused
    frames = model.predict(FUSED.states(1), 2)
    assert np.array_equal(frames[:, :, 2], frames[:, :, 0])


def test_a_trace_keeps_no_result_of_a_kernel_as_a_constant() -> None:
    model = FUSED.model("phiml")
    compiled = Compiled(lambda state: model.rollout(state, 2), model.arrays.compute)
    for seed in (0, 1, 2):
        state = model.arrays.state(FUSED.states(1, seed=seed))
        expected, found = model.rollout(state, 2), compiled(state)
        assert np.allclose(model.arrays.numpy(expected), model.arrays.numpy(found), atol=1e-12)


def test_in_a_trace_of_pytorchs_own_kernels_do_not_run() -> None:
    seen = []

    def asked(x: torch.Tensor) -> torch.Tensor:
        seen.append(can_run())
        return x + 1

    torch.jit.trace(asked, torch.zeros(1), check_trace=False)
    assert seen == [False]
    assert can_run()


def test_tasks_run_on_as_many_threads_as_there_are_and_errors_come_out() -> None:
    barrier, seen = threading.Barrier(2), set()

    def meet() -> None:
        barrier.wait(timeout=20)
        seen.add(threading.get_ident())

    run([meet, meet], 2)
    assert len(seen) == 2

    def fail() -> None:
        raise ValueError("a task failed")

    done: list[int] = []
    with pytest.raises(ValueError, match="a task failed"):
        run([fail, lambda: done.append(1), lambda: done.append(2)], 2)
    run([lambda: done.append(3)], 2)
    assert done[-1] == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_has_threads_of_its_own() -> None:
    code = (
        "import os\nfrom hyco.kernels.threads import run\nrun([lambda: None] * 4, 2)\n"
        "child = os.fork()\nif child == 0:\n    run([lambda: None] * 4, 2)\n    os._exit(7)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


STEP = """
import numpy as np
from hyco.kernels.rollout import Rollout
frames = np.ones((1, 1, 2, 4))
Rollout((4,), (1.0,), 0.1, moved=1, boundary="zero", substeps=1)(frames, coefficient=np.array(0.5))
assert frames[0, 0, 1].tolist() == [0.95, 1.0, 1.0, 0.95], frames
"""


@pytest.mark.parametrize("writable", [True, False])
def test_compiled_loops_are_kept_on_disk_where_that_is_possible(writable: bool, tmp_path: Path) -> None:
    """Beside the package, where it is a user's own; without any folder they still run."""
    source = Path(hyco.__file__).parent
    copy = tmp_path / "copy" / "hyco"
    (copy / "kernels").mkdir(parents=True)
    shutil.copy(source / "__init__.py", copy)
    shutil.copy(source / "errors.py", copy)
    shutil.copytree(source / "migration", copy / "migration", ignore=shutil.ignore_patterns("__pycache__"))
    for file in (source / "kernels").glob("*.py"):
        shutil.copy(file, copy / "kernels")
    if not writable:  # a file where a folder would be made, which stops root too
        (copy / "kernels" / "__pycache__").write_text("")
    (tmp_path / "home").write_text("")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA", "XDG"))}
    env |= {"PYTHONPATH": str(copy.parent), "HOME": str(tmp_path / "home"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", STEP], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    kept = list((copy / "kernels").rglob("loops.advance*.nbi"))
    assert len(kept) == writable
