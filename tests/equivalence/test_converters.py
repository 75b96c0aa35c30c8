"""torch tensors <-> named PhiML tensors: values, memory, gradients, and what is refused."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from phiml import math
from phiml.math import batch, channel, spatial

from hyco.compat import from_bvts, to_bvts, to_phiml, to_torch
from hyco.problem.fields import FieldLayout, FieldSpec
from tests.cases import layout_with_static

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


def test_numpy_memory_that_torch_cannot_share_is_copied() -> None:
    backwards = np.arange(4.0)[::-1]
    read_only = np.arange(4.0)
    read_only.flags.writeable = False
    for array in (backwards, read_only):
        native = to_torch(math.wrap(array, spatial("x")), ("x",))
        assert native.tolist() == array.tolist()
        native[0] = -1.0  # writing to the tensor leaves the array as it was
        assert array[0] != -1.0


@pytest.mark.parametrize(("value", "dtype"), [(0.1, torch.float64), (3, torch.int64), (True, torch.bool)])
def test_numbers_keep_their_type_and_value(value: float, dtype: torch.dtype) -> None:
    native = to_torch(math.wrap(value), ())
    assert native.dtype == dtype
    assert native.item() == value


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


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128], ids=str)
def test_complex_gradients_flow_too(dtype: torch.dtype) -> None:
    leaf = (numbers(("batch", "x"), dtype) * (1 + 2j)).requires_grad_()
    turned = to_torch(to_phiml(leaf, ("batch", "x")), ("x", "batch"))
    (turned.real + 3.0 * turned.imag)[1].sum().backward()
    expected = torch.zeros_like(leaf)
    expected[:, 1] = 1 + 3j
    assert torch.equal(leaf.grad, expected)


def test_tensors_stay_on_their_device(device: str) -> None:
    tensor = numbers(LAYOUTS["state"], torch.float32).to(device)
    back = to_torch(to_phiml(tensor, LAYOUTS["state"]), ("x", "batch", "y", "field"))
    assert back.device == tensor.device
    assert back.data_ptr() == tensor.data_ptr()


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


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"feld": "ab"}, r"item names of 'feld', which is no channel dim of \('batch', 'field', 'x'\)"),
        ({"x": "abcd"}, "item names of 'x', which is no channel dim"),
        ({"field": "ab"}, "2 item names of 'field', which has 3 items"),
    ],
)
def test_to_phiml_refuses_names_that_do_not_fit(names: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        to_phiml(torch.zeros(2, 3, 4), ("batch", "field", "x"), names=names)


# ------------------------------------------------------------------------------------------------ BVTS

SPACES = [("x",), ("x", "y"), ("x", "y", "z")]


def bvts(layout: FieldLayout, *, time: bool) -> tuple[torch.Tensor, tuple[str, ...]]:
    """A legacy tensor of a layout, and its dims."""
    dims = ("batch", "field", *["time"] * time, *layout.axes)
    shape = [len(layout.components) if d == "field" else SIZES[d] for d in dims]
    return torch.arange(float(np.prod(shape)), dtype=torch.float64).reshape(shape), dims


@pytest.mark.parametrize("time", [False, True], ids=["state", "trajectory"])
@pytest.mark.parametrize("axes", SPACES, ids=len)
def test_legacy_tensors_get_names_and_lose_them_again(axes: tuple[str, ...], time: bool) -> None:
    layout = layout_with_static(axes)
    tensor, dims = bvts(layout, time=time)
    named = from_bvts(tensor, layout)
    assert sorted(named.shape.names) == sorted(dims)
    assert named.shape.get_item_names("field") == layout.components
    for i, component in enumerate(layout.components):
        rest = [d for d in dims if d != "field"]
        assert torch.equal(to_torch(named.field[component], rest), tensor[:, i])
    back = to_bvts(named, layout)
    assert torch.equal(back, tensor)
    assert back.data_ptr() == tensor.data_ptr()
    shuffled = math.wrap(named.native([*reversed(dims)]), *(named.shape[d] for d in reversed(dims)))
    assert torch.equal(to_bvts(shuffled, layout), tensor)


def test_gradients_flow_through_the_legacy_layout() -> None:
    layout = layout_with_static(("x",))
    leaf = bvts(layout, time=True)[0].requires_grad_()
    to_bvts(from_bvts(leaf, layout), layout)[:, 1].sum().backward()
    expected = torch.zeros_like(leaf)
    expected[:, 1] = 1.0
    assert torch.equal(leaf.grad, expected)


@pytest.mark.parametrize("shape", [(2, 4, 5), (2, 4, 3, 5, 6, 7), (2, 3, 5, 6), (2, 5, 3, 5, 6)])
def test_other_dims_or_components_are_no_legacy_tensor(shape: tuple[int, ...]) -> None:
    layout = layout_with_static(("x", "y"))
    with pytest.raises(ValueError, match="from_bvts expected") as caught:
        from_bvts(torch.zeros(shape), layout)
    for part in ("('batch', 'field', 'x', 'y')", "('batch', 'field', 'time', 'x', 'y')", str(shape)):
        assert part in str(caught.value)
    assert "4 components velocity_x, velocity_y, height, temperature" in str(caught.value)


def test_named_tensors_of_another_layout_are_refused() -> None:
    layout = layout_with_static(("x",))
    tensor, dims = bvts(layout, time=False)
    wrong = {
        "without names": to_phiml(tensor, dims),
        "other names": to_phiml(tensor, dims, names={"field": "abc"}),
        "another order": to_phiml(tensor, dims, names={"field": layout.components[::-1]}),
        "other axes": to_phiml(tensor, ("batch", "field", "y"), names={"field": layout.components}),
        "no batch": from_bvts(tensor, layout).batch[0],
        "a dim too many": math.expand(from_bvts(tensor, layout), channel(member=2)),
    }
    for what, named in wrong.items():
        with pytest.raises(
            ValueError, match=r"to_bvts expected the dims \('batch', 'field', 'x'\) or"
        ) as caught:
            to_bvts(named, layout)
        assert "components velocity_x, height, temperature" in str(caught.value), what
    with pytest.raises(ValueError, match="to_bvts expected"):
        to_bvts(from_bvts(tensor, layout), FieldLayout((FieldSpec("velocity", vector=True),), ("x",)))
