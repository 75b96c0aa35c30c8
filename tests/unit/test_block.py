"""Blocks of trajectories: windows are the frames they should be, views where that is possible, else new."""

from __future__ import annotations

import gc
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hyco.phiml.block import Block, Buffers, joined, windows
from hyco.phiml.device import Compute
from hyco.phiml.tensors import NativeArrays
from hyco.problem.fields import FieldLayout, FieldSpec

FRAMES = (6, 4, 7)
STEPS = 3
backends = pytest.mark.parametrize("backend", ["numpy", "torch"])
spaces = pytest.mark.parametrize("space", [(5,), (3, 4), (2, 3, 2)], ids=["1-D", "2-D", "3-D"])


def arrays(backend: str, space: tuple[int, ...], precision: str = "float64") -> NativeArrays:
    layout = FieldLayout(
        (FieldSpec("velocity", vector=True), FieldSpec("density")), ("x", "y", "z")[: len(space)]
    )
    return NativeArrays(layout, Compute("cpu", precision, backend))


def trajectories(space: tuple[int, ...]) -> list[NDArray[np.float64]]:
    """Three of different lengths, (field, time, *space)."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal((len(space) + 1, frames, *space)) for frames in FRAMES]


def block_of(backend: str, space: tuple[int, ...], precision: str = "float64") -> Block:
    border = arrays(backend, space, precision)
    return joined(border, (border.trajectory(t[None]) for t in trajectories(space)), FRAMES)


def expected(space: tuple[int, ...], places: list[tuple[int, int]]) -> tuple[NDArray[Any], NDArray[Any]]:
    cut = np.stack([trajectories(space)[t][:, start : start + STEPS] for t, start in places])
    return cut[:, :, 0], cut[:, :, 1:]


def cut(block: Block, places: list[tuple[int, int]], buffers: Buffers | None = None) -> tuple[Any, Any]:
    numbers, starts = np.array(places).T
    return windows([(block, numbers, starts)], STEPS, buffers or Buffers())


def memory(native: Any) -> NDArray[Any]:
    return native if isinstance(native, np.ndarray) else native.numpy()


SHUFFLED = [(2, 4), (0, 1), (1, 0), (2, 0), (2, 4)]
IN_ORDER = {
    "one": [(1, 1)],
    "neighbours": [(0, 0), (0, 1), (0, 2), (0, 3)],
    "every other": [(2, 0), (2, 2), (2, 4)],
    "from two trajectories": [(0, 2), (1, 0)],
}


@backends
@spaces
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_scattered_windows_are_new_and_lie_row_by_row(
    backend: str, space: tuple[int, ...], precision: str
) -> None:
    block = block_of(backend, space, precision)
    found = cut(block, SHUFFLED)
    for native, values in zip(found, expected(space, SHUFFLED), strict=True):
        assert np.array_equal(memory(native), values.astype(precision))
        assert memory(native).dtype == precision
        assert memory(native).flags.c_contiguous
        assert not np.shares_memory(memory(native), memory(block.rows))


@backends
@spaces
@pytest.mark.parametrize("places", IN_ORDER.values(), ids=IN_ORDER)
def test_windows_at_equal_distances_are_views(
    backend: str, space: tuple[int, ...], places: list[tuple[int, int]]
) -> None:
    block = block_of(backend, space)
    for native, values in zip(cut(block, places), expected(space, places), strict=True):
        assert np.array_equal(memory(native), values)
        assert np.shares_memory(memory(native), memory(block.rows))


@backends
@pytest.mark.parametrize("places", [[(0, 2), (0, 1), (0, 0)], [(0, 1), (0, 1)], [(0, 0), (0, 1), (0, 3)]])
def test_others_are_not(backend: str, places: list[tuple[int, int]]) -> None:
    block = block_of(backend, (3, 4))
    for native, values in zip(cut(block, places), expected((3, 4), places), strict=True):
        assert np.array_equal(memory(native), values)
        assert not np.shares_memory(memory(native), memory(block.rows))


@backends
def test_windows_of_several_blocks_stand_in_the_order_asked_for(backend: str) -> None:
    space, border = (3, 4), arrays(backend, (3, 4))
    generated = np.random.default_rng(1).standard_normal((2, 3, 5, *space))
    other = Block.stacked(border.native(border.trajectory(generated), "batch", "field", "time", "x", "y"))
    block, number = block_of(backend, space), np.array
    runs = [
        (block, number([2, 0]), number([1, 3])),
        (other, number([1, 0, 1]), number([2, 0, 0])),
        (block, number([1]), number([0])),
    ]
    initial, targets = windows(runs, STEPS, Buffers())
    real = [
        t[:, s : s + STEPS]
        for t, s in zip((trajectories(space)[i] for i in (2, 0, 1)), (1, 3, 0), strict=True)
    ]
    made = [generated[i][:, s : s + STEPS] for i, s in ((1, 2), (0, 0), (1, 0))]
    whole = np.stack([*real[:2], *made, real[2]])
    assert np.array_equal(memory(initial), whole[:, :, 0])
    assert np.array_equal(memory(targets), whole[:, :, 1:])


@backends
@pytest.mark.parametrize("space", [(5,), (3, 4)], ids=["1-D", "2-D"])
@pytest.mark.parametrize("kind", ["every other frame", "one cell throughout", "frames last in memory"])
def test_trajectories_that_lie_apart_in_memory_are_cut_like_others(
    backend: str, space: tuple[int, ...], kind: str
) -> None:
    values = np.random.default_rng(1).standard_normal((1, 1, 10, *space))
    if kind == "every other frame":
        values = values[:, :, ::2]
    elif kind == "one cell throughout":
        values = np.broadcast_to(values[..., :1], values.shape).view()
        values.flags.writeable = True  # PyTorch warns otherwise
    else:  # in 1-D these are rows of memory in another order
        values = values.swapaxes(2, -1).copy().swapaxes(2, -1)
    block = Block.stacked(values if backend == "numpy" else torch.from_numpy(values))
    numbers, starts = np.zeros(2, int), np.array([0, 1])
    initial, targets = windows([(block, numbers, starts)], STEPS, Buffers())
    whole = np.stack([values[0][:, s : s + STEPS] for s in starts])
    assert np.array_equal(memory(initial), whole[:, :, 0])
    assert np.array_equal(memory(targets), whole[:, :, 1:])


@backends
def test_trajectories_of_a_block_are_views_of_it(backend: str) -> None:
    block = block_of(backend, (3, 4))
    for number, values in enumerate(trajectories((3, 4))):
        native = block.trajectory(number)
        assert np.array_equal(memory(native), values)
        assert np.shares_memory(memory(native), memory(block.rows))


@backends
def test_a_batch_that_is_kept_is_not_overwritten(backend: str) -> None:
    block, buffers = block_of(backend, (3, 4)), Buffers()
    kept = [cut(block, places, buffers) for places in (SHUFFLED, SHUFFLED[::-1], SHUFFLED[1:], SHUFFLED[2:])]
    for found, places in zip(kept, (SHUFFLED, SHUFFLED[::-1], SHUFFLED[1:], SHUFFLED[2:]), strict=True):
        for native, values in zip(found, expected((3, 4), places), strict=True):
            assert np.array_equal(memory(native), values)


@backends
def test_any_part_of_a_batch_keeps_its_memory(backend: str) -> None:
    """A slice of the initial states, or a graph that saved the targets, is enough."""
    block, buffers = block_of(backend, (3, 4)), Buffers(count=1)
    slices = cut(block, SHUFFLED, buffers)[0][1:, :1]
    for _ in range(3):
        cut(block, SHUFFLED[::-1], buffers)
    assert np.array_equal(memory(slices), expected((3, 4), SHUFFLED)[0][1:, :1])


def test_what_autograd_saved_keeps_its_memory() -> None:
    block, buffers = block_of("torch", (3, 4)), Buffers(count=1)
    weight = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    loss = (weight * cut(block, SHUFFLED, buffers)[1]).sum()
    for _ in range(3):
        cut(block, SHUFFLED[1:], buffers)
    loss.backward()
    assert weight.grad is not None
    assert weight.grad.item() == pytest.approx(expected((3, 4), SHUFFLED)[1].sum(), rel=1e-12)


@backends
def test_memory_is_used_again_when_nothing_refers_to_it(backend: str) -> None:
    block, buffers = block_of(backend, (3, 4)), Buffers()
    places: set[int] = set()
    for _ in range(6):
        batch = cut(block, SHUFFLED, buffers)
        places.add(memory(batch[0]).ctypes.data)
        gc.collect()
    assert len(places) == 2  # one batch is made while the last is still there


def test_buffers_are_as_large_as_asked_for() -> None:
    buffers = Buffers(count=2)
    small = buffers.take(10, "float32")
    large = buffers.take(1000, "float64")
    assert (small.nbytes, large.nbytes) == (40, 8000)
    del small
    larger = buffers.take(2000, "float64")
    assert larger.shape == (2000,) and not np.shares_memory(larger, large)
    del larger
    assert buffers.take(5, "float32").shape == (5,)
    assert len(buffers._kept) == 2


def test_threads_share_buffers_but_no_memory() -> None:
    buffers = Buffers()
    free: Any = np.empty(80, np.uint8), lambda: time.sleep(0.05)  # None, as of a batch that is gone
    buffers._kept = [free]
    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(lambda _: buffers.take(10, "float64"), range(2))
    assert not np.shares_memory(one, other)
