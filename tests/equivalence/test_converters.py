"""torch tensors <-> named PhiML tensors: values, memory, gradients, and what is refused."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from phiml import math
from phiml.math import batch, channel, spatial

from hyco.compat import to_phiml, to_torch

FLOATS = (torch.float32, torch.float64)
OTHERS = (torch.float16, torch.int32, torch.int64, torch.bool, torch.complex64, torch.complex128)
SIZES = {"batch": 2, "time": 3, "field": 4, "x": 5, "y": 6, "z": 7}
LAYOUTS = {
    "parameter": ("x", "y"),
    "state on a line": ("batch", "field", "x"),
    "state": ("batch", "field", "x", "y"),
    "trajectory on a line": ("batch", "field", "time", "x"),
    "trajectory": ("batch", "field", "time", "x", "y"),
    "state in space": ("batch", "field", "x", "y", "z"),
    "trajectory in space": ("batch", "field", "time", "x", "y", "z"),
}


def numbers(dims: tuple[str, ...], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """All different where the type allows it."""
    shape = [SIZES[d] for d in dims]
    return torch.arange(int(np.prod(shape))).reshape(shape).to(dtype)


@pytest.mark.parametrize("dims", LAYOUTS.values(), ids=LAYOUTS)
def test_there_and_back_is_the_same_memory(dims: tuple[str, ...]) -> None:
    tensor = numbers(dims)
    back = to_torch(to_phiml(tensor, dims), dims)
    assert torch.equal(back, tensor)
    assert back.data_ptr() == tensor.data_ptr()
    assert back.dtype == tensor.dtype


@pytest.mark.parametrize("dims", LAYOUTS.values(), ids=LAYOUTS)
def test_every_order_of_dims_is_a_view_of_the_same_memory(dims: tuple[str, ...]) -> None:
    tensor = numbers(dims)
    named = to_phiml(tensor, dims)
    for order in list(permutations(dims))[:60]:
        turned = to_torch(named, order)
        assert torch.equal(turned, tensor.permute([dims.index(d) for d in order])), order
        assert turned.data_ptr() == tensor.data_ptr(), order


def test_dims_get_their_types_and_fields_their_names() -> None:
    dims = ("x", "field", "time", "y", "batch")
    named = to_phiml(numbers(dims), dims, names={"field": "abcd"})
    assert set(named.shape.batch.names) == {"batch", "time"}
    assert set(named.shape.spatial.names) == {"x", "y"}
    assert named.shape.channel.names == ("field",)
    assert named.shape.get_item_names("field") == ("a", "b", "c", "d")
    last = to_torch(named.field["d"], ("batch", "time", "x", "y"))
    assert torch.equal(last, numbers(dims)[:, 3].permute(3, 1, 0, 2))


@pytest.mark.parametrize("dtype", FLOATS + OTHERS, ids=str)
@pytest.mark.parametrize("global_precision", [32, 64])
def test_dtypes_survive_whatever_precision_phiml_is_in(dtype: torch.dtype, global_precision: int) -> None:
    dims = LAYOUTS["state"]
    tensor = numbers(dims, dtype)
    with math.precision(global_precision):
        back = to_torch(to_phiml(tensor, dims), dims)
    assert back.dtype == dtype
    assert torch.equal(back, tensor)


def test_double_precision_keeps_its_last_bit() -> None:
    tensor = torch.tensor([1.0 + 2**-52, np.pi], dtype=torch.float64)
    assert to_torch(to_phiml(tensor, ("x",)), ("x",)).tolist() == tensor.tolist()


def test_a_scalar_has_no_dims() -> None:
    scalar = torch.tensor(0.1, dtype=torch.float64)
    assert to_torch(to_phiml(scalar, ()), ()).item() == 0.1


def test_numpy_tensors_are_viewed() -> None:
    array = np.arange(6.0).reshape(2, 3)
    native = to_torch(math.wrap(array, batch("batch"), spatial("x")), ("batch", "x"))
    array[1, 2] = -1.0
    assert native[1, 2] == -1.0
    assert native.dtype == torch.float64


def test_a_strided_tensor_is_not_copied_either() -> None:
    whole = numbers(("batch", "x", "y"))
    part = whole[:, 1:4, ::2]
    back = to_torch(to_phiml(part, ("batch", "x", "y")), ("batch", "x", "y"))
    assert torch.equal(back, part)
    assert back.data_ptr() == part.data_ptr()


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_gradients_flow_from_torch_through_phiml_to_torch(dtype: torch.dtype) -> None:
    leaf = numbers(LAYOUTS["state"], dtype).requires_grad_()
    named = to_phiml(leaf, LAYOUTS["state"], names={"field": "abcd"})
    with math.precision(64 if dtype is torch.float64 else 32):
        result = named.field["b"] ** 2 + 3.0 * named.field["c"]
    to_torch(result, ("y", "x", "batch")).sum().backward()
    expected = torch.zeros_like(leaf)
    expected[:, 1], expected[:, 2] = 2 * leaf.detach()[:, 1], 3.0
    assert torch.equal(leaf.grad, expected)


def test_gradients_flow_from_phiml_through_torch_to_phiml() -> None:
    dims = ("batch", "x")

    def loss(named: math.Tensor) -> math.Tensor:
        cubed = to_torch(named, dims) ** 3
        return math.sum(to_phiml(cubed, dims), dims)

    with math.precision(64):
        start = to_phiml(torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64), dims)
        gradient = math.gradient(loss, "named", get_output=False)(start)
    assert to_torch(gradient, dims).tolist() == [[3.0, 12.0, 0.75]]


@pytest.mark.parametrize(
    ("dims", "says"),
    [
        (("batch", "x"), r"left over \['field'\]"),
        (("batch", "field", "x", "y"), r"missing \['y'\]"),
        (("batch", "field", "y"), r"missing \['y'\], left over \['x'\]"),
        (("batch", "field", "x", "x"), r"one is named twice"),
    ],
)
def test_to_torch_refuses_other_dims_and_shows_both_lists(dims: tuple[str, ...], says: str) -> None:
    named = math.wrap(torch.zeros(2, 3, 4), batch("batch"), channel("field"), spatial("x"))
    with pytest.raises(ValueError, match=says) as caught:
        to_torch(named, dims)
    assert str(dims) in str(caught.value)
    assert "('batch', 'field', 'x')" in str(caught.value)


@pytest.mark.parametrize("dims", [("batch", "x"), ("batch", "field", "x", "y"), ("batch", "x", "x")])
def test_to_phiml_refuses_another_number_of_dims_and_shows_both(dims: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(2, 3, 4\)") as caught:
        to_phiml(torch.zeros(2, 3, 4), dims)
    assert str(dims) in str(caught.value)
