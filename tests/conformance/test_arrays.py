"""Where each side's tensors meet numpy, and where they live."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hyco.errors import ConfigError
from hyco.problem.grid import Grid
from tests.cases import layout_with_static
from tests.sides import arrays_of, module, taken

GRIDS = {
    1: Grid.of(x=(4.0, 5)),
    2: Grid.of(x=(4.0, 5), y=(3.0, 6)),
    3: Grid.of(x=(4.0, 5), y=(3.0, 6), z=(1.0, 7)),
}
ranks = pytest.mark.parametrize("rank", [1, 2, 3])
SHAPES: dict[str, tuple[str, ...]] = {
    "state": ("batch", "field"),
    "trajectory": ("batch", "field", "time"),
    "parameter": (),
}


@ranks
@pytest.mark.parametrize("kind", SHAPES)
def test_arrays_come_back_as_they_went_in(
    side: str, rank: int, kind: str, precision: str, device: str, rng: np.random.Generator
) -> None:
    grid = GRIDS[rank]
    layout = layout_with_static(grid.axes)
    sizes = {
        "batch": 2,
        "time": 3,
        "field": len(layout.components),
        **dict(zip(grid.axes, grid.resolution, strict=True)),
    }
    dims = (*SHAPES[kind], *grid.axes)
    array = rng.standard_normal([sizes[d] for d in dims]).astype(precision)
    arrays = arrays_of(side, layout, precision, device)
    tensor = getattr(arrays, kind)(array)
    found = taken(tensor, arrays, layout)
    assert found.dims == dims
    assert found.values.dtype == precision
    assert np.array_equal(found.values, array)
    assert arrays.place(tensor) is tensor


@pytest.mark.parametrize("value", [0.1, np.array(0.1), 3])
def test_scalar_parameters(side: str, precision: str, value: Any) -> None:
    arrays = arrays_of(side, layout_with_static(("x",)), precision)
    found = arrays.numpy(arrays.parameter(value))
    assert found.shape == ()
    assert found.dtype == precision
    assert found == np.array(value, precision)


def test_the_other_precision_is_converted(side: str, precision: str, rng: np.random.Generator) -> None:
    layout = layout_with_static(("x",))
    wide = rng.standard_normal((2, 3, 5))
    arrays = arrays_of(side, layout, precision)
    assert np.array_equal(arrays.numpy(arrays.state(wide)), wide.astype(precision))
    other = arrays_of(side, layout, {"float32": "float64", "float64": "float32"}[precision])
    assert arrays.numpy(arrays.place(other.state(wide))).dtype == precision


def test_arrays_in_any_memory_order_are_taken(side: str, rng: np.random.Generator) -> None:
    arrays = arrays_of(side, layout_with_static(("x", "y")))
    array = rng.standard_normal((6, 5, 4, 2)).transpose()[:, :, ::-1]
    assert np.array_equal(arrays.numpy(arrays.state(array)), array)


@pytest.mark.parametrize("shape", [(2, 5, 6), (2, 4, 3, 5, 6), (2, 3, 5, 6)])
def test_an_array_that_is_no_state_is_refused(side: str, shape: tuple[int, ...]) -> None:
    arrays = arrays_of(side, layout_with_static(("x", "y")))
    with pytest.raises((ValueError, AssertionError)) as caught:
        arrays.state(np.zeros(shape))
    assert str(shape[0]) in str(caught.value)


def test_a_device_that_is_not_there_is_refused(side: str) -> None:
    compute = module(side, "device").Compute
    with pytest.raises(ConfigError, match=r"trainer\.device: cuda:17 is not there.*cpu or auto"):
        compute("cuda:17")
    assert compute("auto").device in ("cpu", "cuda")


def test_devices_are_bound_when_they_are_chosen(side: str) -> None:
    compute = module(side, "device").Compute("cpu", "float64")
    assert (compute.device, compute.precision) == ("cpu", "float64")
    assert compute == module(side, "device").Compute("cpu", "float64")
