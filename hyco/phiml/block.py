"""Trajectories in one array, from which a batch of windows is cut by one gather, or is a view."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from phiml.backend import Backend, choose_backend
from phiml.math import Tensor

from hyco.phiml.tensors import NativeArrays

Indices = NDArray[np.int64]


class Buffers:
    """Memory in which batches are made, used again when nothing refers to the batch of before.

    The kernel hands out fresh memory page by page, which takes as long as filling it.  Threads may share
    one of these.

    Args:
        count: buffers that are kept; in a loop over batches, one batch is made while another is in use.
    """

    def __init__(self, count: int = 2) -> None:
        self.count = count
        self._kept: list[tuple[NDArray[np.uint8], weakref.ref[NDArray[Any]]]] = []
        self._lock = threading.Lock()

    def take(self, size: int, dtype: Any) -> NDArray[Any]:
        """An array of `size` values, with anything in them, that shares no memory with any other in use."""
        nbytes = size * np.dtype(dtype).itemsize
        with self._lock:
            free = [memory for memory, user in self._kept if user() is None]
            memory = next((m for m in free if m.nbytes >= nbytes), None)
            if memory is None:
                memory = np.empty(nbytes, np.uint8)
                if len(self._kept) == self.count:  # one that is too small goes, or one that is in use
                    self._forget(free[0] if free else self._kept[0][0])
            else:
                self._forget(memory)
            # views of an array refer to the one that has the memory, and this one, to them, has it
            array = np.frombuffer(memory.data, dtype, size)
            self._kept.append((memory, weakref.ref(array)))
            return array

    def _forget(self, memory: NDArray[np.uint8]) -> None:
        self._kept = [kept for kept in self._kept if kept[0] is not memory]


@dataclass(frozen=True, eq=False)
class Block:
    """The frames of several trajectories, each component of each frame one row of memory.

    Frame t of component c of trajectory i is row firsts[i] + c * stride + t, so that the frames of one
    component lie one after the other, and windows that begin at equal distances are a view of the block.

    Args:
        rows: an array (row, cell) of PhiML's `numpy` or `torch` backend, one row of memory after the other.
        firsts: row of the first frame of the first component of every trajectory.
        stride: rows from one component to the next.
        components: how many there are.
        space: cells per axis.
    """

    rows: Any
    firsts: Indices
    stride: int
    components: int
    space: tuple[int, ...]

    @classmethod
    def stacked(cls, native: Any) -> Block:
        """Trajectories of the same length, (batch, field, time, *space); copied where they lie apart."""
        size, components, stride, *space = native.shape
        firsts = np.arange(size) * (components * stride)
        rows = _library_of(native).in_rows(native).reshape(-1, prod(space))
        return cls(rows, firsts, stride, components, tuple(space))

    def trajectory(self, number: int) -> Any:
        """A view of one trajectory of a block that was `joined`, (field, time, *space)."""
        first, end = [*self.firsts, self.stride][number : number + 2]
        return self.rows.reshape(self.components, self.stride, *self.space)[:, first:end]

    def view(self, begin: Indices, steps: int) -> Any | None:
        """Windows that begin at these rows, (window, field, time, *space), of `steps` frames each.

        A view of the block, not to be written to; None where the windows do not begin at equal distances.
        """
        apart = int(begin[1] - begin[0]) if len(begin) > 1 else 1
        if apart <= 0 or not np.all(np.diff(begin) == apart):
            return None
        cells = prod(self.space)
        within = [prod(self.space[axis + 1 :]) for axis in range(len(self.space))]
        sizes = len(begin), self.components, steps, *self.space
        strides = apart * cells, self.stride * cells, cells, *within
        return self.library.view(self.rows[int(begin[0]) :], sizes, strides)

    def numbers(self, begin: Indices, frames: range) -> Indices:
        """The rows of these frames of windows that begin at these rows, by window, component and frame."""
        if frames not in self._offsets:
            components = self.stride * np.arange(self.components)
            self._offsets[frames] = np.add.outer(components, frames).ravel()
        return np.add.outer(begin, self._offsets[frames]).ravel()

    @cached_property
    def _offsets(self) -> dict[range, Indices]:
        return {}

    @cached_property
    def library(self) -> _Numpy | _Torch:
        """What picks rows and makes views."""
        return _library_of(self.rows)


Run = tuple[Block, Indices, Indices]


def windows(runs: Sequence[Run], steps: int, buffers: Buffers) -> tuple[Any, Any]:
    """Initial states (window, field, *space) and targets (window, field, time, *space) of windows.

    Where all begin at equal distances in one block, as those of a pass in order do, both are views of it, not
    to be written to.  Otherwise they are new, and lie in memory row by row.

    Args:
        runs: blocks, all on one device; for each window the number of its trajectory, and its first frame.
        steps: frames of a window, the initial one included.
    """
    begins = [(block, block.firsts[trajectories] + starts) for block, trajectories, starts in runs]
    block, begin = begins[0]
    whole = block.view(begin, steps) if len(runs) == 1 else None
    if whole is not None:
        return whole[:, :, 0], whole[:, :, 1:]
    picked = [
        [(block.rows, block.numbers(begin, frames)) for block, begin in begins]
        for frames in (range(1), range(1, steps))
    ]
    initial, targets = block.library.gather(picked, buffers)
    sizes = sum(len(begin) for _, begin in begins), block.components
    return initial.reshape(*sizes, *block.space), targets.reshape(*sizes, steps - 1, *block.space)


def joined(arrays: NativeArrays, trajectories: Iterable[Tensor], frames: Sequence[int]) -> Block:
    """Trajectories, batches of one, copied one after the other into a block.

    `frames`: how many each of them has.
    """
    dims = "batch", "field", "time", *arrays.layout.axes
    natives = (arrays.native(tensor, *dims)[0] for tensor in trajectories)
    first = next(natives)
    components, _, *space = first.shape
    with arrays.compute.scope():
        rows = arrays.compute.library.zeros((components * sum(frames), prod(space)))
    block = Block(rows, np.cumsum([0, *frames[:-1]]), sum(frames), components, tuple(space))
    for number, native in enumerate(chain([first], natives)):
        block.trajectory(number)[:] = native
    return block


Picked = Sequence[Sequence[tuple[Any, Indices]]]


class _Numpy:
    """Picks and views rows of numpy arrays."""

    def in_rows(self, native: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(native)

    def gather(self, picked: Picked, buffers: Buffers) -> list[NDArray[Any]]:
        outs = _parts(picked, picked[0][0][0].dtype, buffers)
        for some, out in zip(picked, outs, strict=True):
            for rows, numbers, part in _pieces(some, out):
                rows.take(
                    numbers, axis=0, out=part, mode="clip"
                )  # the default mode would make a copy of `out`
        return outs

    def view(self, rows: NDArray[Any], sizes: Sequence[int], strides: Sequence[int]) -> NDArray[Any]:
        return as_strided(rows, sizes, [rows.itemsize * stride for stride in strides])


class _Torch:
    """Picks and views rows of PyTorch tensors, by as many threads as PyTorch has."""

    def __init__(self, library: Backend) -> None:
        self._torch = library.nn_library().torch

    def in_rows(self, native: Any) -> Any:
        return native.contiguous()

    def gather(self, picked: Picked, buffers: Buffers) -> list[Any]:
        torch, first = self._torch, picked[0][0][0]
        if first.device.type != "cpu":  # where PyTorch itself uses memory again
            return [
                torch.cat([rows.index_select(0, torch.from_numpy(n).to(rows.device)) for rows, n in some])
                for some in picked
            ]
        outs = list(map(torch.from_numpy, _parts(picked, str(first.dtype).removeprefix("torch."), buffers)))
        for some, out in zip(picked, outs, strict=True):
            for rows, numbers, part in _pieces(some, out):
                torch.index_select(rows, 0, torch.from_numpy(numbers), out=part)
        return outs

    def view(self, rows: Any, sizes: Sequence[int], strides: Sequence[int]) -> Any:
        return rows.as_strided(sizes, strides, rows.storage_offset())


def _library_of(native: Any) -> _Numpy | _Torch:
    library = choose_backend(native)
    return _Numpy() if library.name == "numpy" else _Torch(library)


def _parts(picked: Picked, dtype: Any, buffers: Buffers) -> list[NDArray[Any]]:
    """An array for all that is picked for each of several results, one after the other in one buffer."""
    cells = picked[0][0][0].shape[1]
    ends = list(accumulate(sum(len(numbers) for _, numbers in some) for some in picked))
    memory = buffers.take(ends[-1] * cells, dtype).reshape(-1, cells)
    return [memory[first:end] for first, end in zip([0, *ends], ends, strict=False)]


def _pieces(some: Sequence[tuple[Any, Indices]], out: Any) -> Iterator[tuple[Any, Indices, Any]]:
    """What is picked from each of several arrays, and where it goes."""
    first = 0
    for rows, numbers in some:
        yield rows, numbers, out[first : first + len(numbers)]
        first += len(numbers)
