"""Launches recorded once and replayed as a whole, since one alone takes longer to ask for than to run."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any

import torch
from torch import Tensor

KEPT = 8  # recordings; the one not used for the longest time goes first
WORTH = 1 << 28  # bytes of a result; where there are more, each launch has enough to do

Tensors = tuple[Tensor | None, ...]

_recordings: OrderedDict[Hashable, tuple[Any, Tensors, Tensors]] = OrderedDict()
_lock = Lock()


def replayed(key: Hashable, work: Callable[..., Tensors], *inputs: Tensor | None) -> Tensors:
    """work(*inputs), recorded when a key comes first; keys tell apart whatever changes the launches.

    Nothing in `work` may wait for the device, and it launches the same whatever the values are.  Elsewhere
    than on CUDA, and where somebody else is recording, it simply runs.
    """
    first = next(t for t in inputs if t is not None)
    if not first.is_cuda or torch.cuda.is_current_stream_capturing():
        return work(*inputs)
    with torch.cuda.device(first.device), _lock:
        signs = tuple(None if t is None else (t.shape, t.dtype) for t in inputs)
        key = key, signs, first.device, torch.cuda.current_stream().cuda_stream
        if key not in _recordings:
            _recordings[key] = _record(work, inputs)
        _recordings.move_to_end(key)
        while len(_recordings) > KEPT:
            _recordings.popitem(last=False)
        graph, held, results = _recordings[key]
        for own, given in zip(held, inputs, strict=True):
            if own is not None and given is not None:
                own.copy_(given)
        graph.replay()
        return _copies(results)


def _record(work: Callable[..., Tensors], inputs: Tensors) -> tuple[Any, Tensors, Tensors]:
    """The graph of some work, the tensors that it reads, and those that it leaves its results in."""
    held = _copies(inputs)
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        work(*held)  # kernels are compiled and loaded here: neither can be done while recording
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # other threads may go on: those that load data ask for memory meanwhile
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        results = work(*held)
    return graph, held, results


def _copies(tensors: Tensors) -> Tensors:
    return tuple(None if t is None else t.clone(memory_format=torch.contiguous_format) for t in tensors)
