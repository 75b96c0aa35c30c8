"""What all tests share: which devices, precisions and modes they run in, and how torch computes meanwhile.

Environment variables choose, each a comma-separated list:

    HYCO_TEST_DEVICES      cpu, cuda               not set: cpu, and cuda where there is one
    HYCO_TEST_PRECISIONS   float32, float64        not set: both
    HYCO_TEST_MODES        legacy, phiml, hybrid   not set: all; hybrid: the tests in which both sides meet

To demand cuda where there is none is an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

KNOWN = {
    "HYCO_TEST_DEVICES": ("cpu", "cuda"),
    "HYCO_TEST_PRECISIONS": ("float32", "float64"),
    "HYCO_TEST_MODES": ("legacy", "phiml", "hybrid"),
}
BOTH_SIDES = Path(__file__).parent / "equivalence"

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch and numpy start their threads
    # JAX compiles what a test runs once or twice: half the time without what makes it faster
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")


def demanded(variable: str) -> tuple[str, ...]:
    """The values that a variable lists; all known ones when it is not set."""
    given = os.environ.get(variable)
    values = tuple(v.strip() for v in given.split(",")) if given else KNOWN[variable]
    for value in values:
        if value not in KNOWN[variable]:
            raise pytest.UsageError(
                f"{variable}: unknown {value!r}; expected some of {', '.join(KNOWN[variable])}"
            )
    return values


def cuda_is_there() -> bool:
    """Whether PyTorch sees a CUDA device."""
    import torch

    return torch.cuda.is_available()


def pytest_configure(config: pytest.Config) -> None:
    """Refuse unknown values, and a demand for CUDA where there is none."""
    for variable in KNOWN:
        demanded(variable)
    if "cuda" in os.environ.get("HYCO_TEST_DEVICES", "") and not cuda_is_there():
        raise pytest.UsageError("HYCO_TEST_DEVICES demands cuda, but PyTorch sees no CUDA device here")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that asks for a device, a precision or a side in all that are demanded."""
    columns = (("device", "HYCO_TEST_DEVICES"), ("precision", "HYCO_TEST_PRECISIONS"))
    for fixture, variable in columns:
        if fixture in metafunc.fixturenames and not _marked_with(metafunc, fixture):
            metafunc.parametrize(fixture, demanded(variable), indirect=True)
    if "side" in metafunc.fixturenames and not _marked_with(metafunc, "side"):
        metafunc.parametrize("side", ("legacy", "phiml"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of modes that are not demanded."""
    modes = demanded("HYCO_TEST_MODES")
    kept, dropped = [], []
    for item in items:
        (kept if _mode(item) in (None, *modes) else dropped).append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def _mode(item: pytest.Item) -> str | None:
    """The mode that a test is about; None when it is about none, or about all."""
    if BOTH_SIDES in item.path.parents:
        return "hybrid"
    params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    return params["seen"].mode if "seen" in params else params.get("side")


def _marked_with(metafunc: pytest.Metafunc, argument: str) -> bool:
    """Whether a test parametrises that argument itself."""
    names = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    return any(argument in (n.replace(" ", "").split(",") if isinstance(n, str) else n) for n in names)


@pytest.fixture(scope="session", autouse=True)
def reproducible_torch() -> None:
    """One thread per worker, and float32 that is float32 on GPUs too."""
    import torch

    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


@pytest.fixture(scope="module", autouse=True)
def no_traces_left_behind() -> Iterator[None]:
    """PyTorch and JAX keep what they compiled while their process lives, and a suite does so much."""
    yield
    from hyco.migration.factory import forget_compiled

    forget_compiled()


@pytest.fixture(autouse=True)
def no_mode_left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test starts and ends without a mode chosen."""
    from hyco.migration.registry import VARIABLE, reset

    monkeypatch.delenv(VARIABLE, raising=False)
    reset()
    yield
    reset()


@pytest.fixture
def device(request: pytest.FixtureRequest) -> str:
    """`cpu` or `cuda`; skips where there is no such device."""
    if request.param == "cuda" and not cuda_is_there():
        pytest.skip("no CUDA device here; HYCO_TEST_DEVICES=cuda would make this an error")
    return str(request.param)


@pytest.fixture
def precision(request: pytest.FixtureRequest) -> str:
    """`float32` or `float64`."""
    return str(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(20240607)
