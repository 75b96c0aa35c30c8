"""The comparator must find what is wrong: in every row of the table, and before it looks at any number."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hyco.testing import TOLERANCES, Mismatch, Snapshot, Tolerance, assert_equivalent, snapshot, tolerance

ROWS = [(quantity, precision) for quantity, row in TOLERANCES.items() for precision in row]
rows = pytest.mark.parametrize(("quantity", "precision"), ROWS)
DIMS = ("batch", "field", "x", "y")
NAMES = {"field": ("velocity_x", "velocity_y")}


def values(precision: str) -> NDArray[Any]:
    """A state on a square box, so that swapping its axes leaves its shape."""
    return np.random.default_rng(0).standard_normal((3, 2, 6, 6)).astype(precision)


def state(array: NDArray[Any], dims: tuple[str, ...] = DIMS, names: Any = None) -> Snapshot:
    return snapshot(array, dims, names=NAMES if names is None else names)


def rejected(quantity: str, reference: Any, candidate: Any, says: str = "") -> str:
    """The message with which a candidate is rejected."""
    with pytest.raises(Mismatch, match=says) as caught:
        assert_equivalent(reference, candidate, quantity)
    return str(caught.value)


# ------------------------------------------------------------------------------- every row of the table


@rows
def test_the_same_is_accepted_and_so_is_less_than_the_tolerance(quantity: str, precision: str) -> None:
    array = values(precision)
    assert_equivalent(state(array), state(array.copy()), quantity)
    near = array.copy()
    near[0, 0, 2, 3] += 0.5 * tolerance(quantity, precision).rtol * np.abs(array).max()
    assert_equivalent(state(array), state(near), quantity)


@rows
@pytest.mark.parametrize("sign", [-10.0, 10.0])
def test_ten_tolerances_of_error_in_one_place_are_rejected(
    quantity: str, precision: str, sign: float
) -> None:
    array = values(precision)
    row = tolerance(quantity, precision)
    far = array.copy()
    far[2, 1, 4, 0] += sign * (row.atol + row.rtol * np.abs(array).max())
    assert "batch=2, field=velocity_y, x=4, y=0" in rejected(quantity, state(array), state(far))


@rows
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_rejected(quantity: str, precision: str, bad: float) -> None:
    array = values(precision)
    broken = array.copy()
    broken[1, 0, 5, 5] = bad
    rejected(quantity, state(array), state(broken), "batch=1, field=velocity_x, x=5, y=5")
    rejected(quantity, state(broken), state(array), "reference is not finite")
    rejected(quantity, state(broken), state(broken), "reference is not finite")


@rows
def test_swapped_fields_and_axes_are_rejected(quantity: str, precision: str) -> None:
    array = values(precision)
    rejected(quantity, state(array), state(array[:, ::-1]), "max")
    rejected(quantity, state(array), state(array, names={"field": NAMES["field"][::-1]}), "names")
    rejected(quantity, state(array), state(array.swapaxes(2, 3)), "max")
    rejected(quantity, state(array), state(array.swapaxes(2, 3), ("batch", "field", "y", "x")), "dims")
    rejected(quantity, state(array), state(array[..., ::-1]), "max")


@rows
def test_another_dtype_is_rejected(quantity: str, precision: str) -> None:
    array = values(precision)
    other = {"float32": "float64", "float64": "float32"}[precision]
    rejected(quantity, state(array), state(array.astype(other)), f"expected dtype {precision}, found {other}")
    rejected(quantity, state(array), state(np.round(array).astype(np.int64)), "dtype")


@rows
@pytest.mark.parametrize("constant", [0.0, 3.0])
def test_a_reference_that_is_the_same_everywhere_is_rejected(
    quantity: str, precision: str, constant: float
) -> None:
    array = np.full_like(values(precision), constant)
    rejected(quantity, state(array), state(array), f"reference is {constant:g} everywhere")


@rows
def test_a_row_has_a_reason_and_is_no_looser_than_it_may_be(quantity: str, precision: str) -> None:
    row = tolerance(quantity, precision)
    measured = float(re.match(r"measured (\S+): \w", row.reason)[1])
    assert row.atol == 0.0
    assert f"{row.rtol:.0e}" == f"{row.rtol:.15e}".replace(".000000000000000", "")  # one digit
    assert measured < row.rtol
    assert row.rtol <= max(30 * measured, 1e-12 if precision == "float64" else 1e-5)
    loosest = {"central differences": 5e-9, "central differences at a kink": 2e-5}
    loosest["weights of a synthetic fit with normalisation"] = 3e-7  # of biases that do next to nothing
    several = "network" in quantity or "normalisation" in quantity
    limit = loosest.get(quantity, 1e-8 if several else 1e-10)
    rounded = 5e-2 if "bf16" in quantity else 1e-4
    assert row.rtol <= (limit if precision == "float64" else rounded)


def test_every_row_is_used_by_a_test() -> None:
    tests = Path(__file__).parents[1]
    sources = "".join(p.read_text() for p in tests.rglob("test_*.py") if p != Path(__file__))
    kinds = ("synthetic fit", "physical fit", "hybrid run")
    named = {q for q in TOLERANCES if f'"{q}"' in sources}
    composed = {
        q for q in TOLERANCES for kind in kinds if q.endswith(f" of a {kind}") and f'"{kind}"' in sources
    }
    assert set(TOLERANCES) == named | composed


# ------------------------------------------------------------------------------------ before any number


def test_other_dims_shapes_and_names_are_rejected() -> None:
    array = values("float64")
    rejected("step", state(array), state(array[:, :, :, :5]), r"shape \(3, 2, 6, 6\), found \(3, 2, 6, 5\)")
    rejected("step", state(array), state(array[:, 0], ("batch", "x", "y"), {}), "dims")
    rejected("step", state(array), state(array, names={}), "names")
    rejected("step", state(array), state(array, names={"field": ("velocity_x", "density")}), "density")
    rejected("step", array, array[:1], "shape")


def test_mappings_are_compared_entry_by_entry() -> None:
    a = {"inc.weight": values("float64")[0, 0], "inc.bias": np.array([1e-3, 2e-3]), "count": np.array(3)}
    assert_equivalent(a, {name: v.copy() for name, v in a.items()}, "step")
    off = {**a, "inc.bias": a["inc.bias"] + 1e-12}
    assert "step of inc.bias" in rejected("step", a, off, "dim 0=0")
    assert "step of count" in rejected("step", a, {**a, "count": np.array(4)}, "allowed 0")
    message = rejected("step", a, {"inc.weight": a["inc.weight"], "extra": np.zeros(2)})
    assert "missing entries ['inc.bias', 'count'], unexpected ones ['extra']" in message


def test_an_entry_may_be_constant_but_not_all_of_them() -> None:
    a = {"weight": np.ones(3), "bias": np.zeros(3)}
    assert_equivalent(a, dict(a), "step")
    rejected(
        "step", {"weight": np.zeros(3), "bias": np.zeros(2)}, {"weight": np.zeros(3), "bias": np.zeros(2)}
    )
    with pytest.raises(Mismatch):
        assert_equivalent(a, {**a, "bias": np.full(3, 1e-300)}, "step")


def test_single_numbers() -> None:
    assert_equivalent(0.25, 0.25 + 1e-17, "loss")
    rejected("loss", 0.25, 0.25 + 1e-12, "the only value")
    rejected("loss", 0.0, 0.0, "0 everywhere")
    rejected("loss", float("nan"), float("nan"), "not finite")
    rejected("loss", 0.25, float("nan"), "nan")


def test_a_column_can_be_chosen_for_numbers_that_were_computed_in_it() -> None:
    assert_equivalent(0.25, 0.25 + 1e-8, "loss", precision="float32")
    rejected("loss", 0.25, 0.25 + 1e-8)


def test_integers_and_booleans_must_be_equal() -> None:
    assert_equivalent(np.array([1, 2, 3]), np.array([1, 2, 3]), "step")
    rejected("step", np.array([1, 2, 3]), np.array([1, 2, 4]), "1 of 3 values are off")
    rejected("step", np.array([True, False]), np.array([True, True]))


def test_the_message_says_what_where_and_by_how_much() -> None:
    array = values("float64")
    off = array.copy()
    off[1, 1, 2, 3] += 0.5
    off[0, 0, 0, 0] += 0.25
    message = rejected("step", state(array), state(off))
    assert message.startswith("step: max |a - b| = 5.000e-01 at batch=1, field=velocity_y, x=2, y=3")
    assert f"{array[1, 1, 2, 3]:.9g}" in message
    assert f"{off[1, 1, 2, 3]:.9g}" in message
    assert "2 of 216 values are off" in message
    assert "3e-14 max|reference|" in message


# -------------------------------------------------------------------------------- the table, the snapshot


def test_an_unknown_row_or_column_is_named() -> None:
    with pytest.raises(KeyError, match="Did you mean 'diffusion'"):
        tolerance("difusion", "float64")
    with pytest.raises(KeyError, match="'conserved mass' has no tolerance in 'float32', only in float64"):
        tolerance("conserved mass", "float32")
    assert isinstance(tolerance("step", "float32"), Tolerance)


def test_a_snapshot_is_a_copy() -> None:
    array = values("float64")
    taken = state(array)
    array[:] = 0.0
    assert np.abs(taken.values).max() > 1.0


@pytest.mark.parametrize(
    ("dims", "names", "says"),
    [
        (("batch", "field", "x"), {}, "one name per dim"),
        (("batch", "field", "x", "x"), {}, "one name per dim"),
        (DIMS, {"feild": ("a", "b")}, "Did you mean 'field'"),
        (DIMS, {"field": ("a", "b", "c")}, "3 names along 'field'"),
    ],
)
def test_a_snapshot_whose_dims_or_names_do_not_fit_is_refused(dims: Any, names: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        snapshot(values("float64"), dims, names=names)


def test_a_snapshot_of_a_native_tensor_goes_through_its_arrays() -> None:
    class Reversed:
        @staticmethod
        def numpy(tensor: list[float]) -> NDArray[Any]:
            return np.array(tensor)[::-1]

    assert snapshot([1.0, 2.0], ("x",), arrays=Reversed()).values.tolist() == [2.0, 1.0]
