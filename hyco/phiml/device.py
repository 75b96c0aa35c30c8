"""Where phiml mode computes, in which precision, and by which compiled functions.

This is the only place that chooses PhiML's backend.  PhiML keeps backend, precision and default device in
process-wide stacks, so everything that computes runs inside `Compute.scope`, which puts them in place and
takes them off again.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from phiml import math
from phiml.backend import Backend, ComputeDevice
from phiml.backend._backend import get_backend

from hyco.errors import ConfigError

_tracing: ContextVar[bool] = ContextVar("hyco_phiml_tracing", default=False)


@dataclass(frozen=True)
class Compute:
    """A device (`auto`, `cpu`, `cuda`, `cuda:N`) and a precision (`float32`, `float64`).

    `backend` is the library that PhiML computes with, `torch` or `jax`; `numpy` is for data that is held, not
    computed with.  Raises ConfigError when the device is not there.
    """

    device: str = "auto"
    precision: str = "float32"
    backend: str = "torch"

    def __post_init__(self) -> None:
        gpus = self.library.list_devices("GPU")
        if self.device == "auto":
            object.__setattr__(self, "device", "cuda" if gpus else "cpu")
        elif self.device.startswith("cuda") and self.backend != "numpy":
            wanted = int(self.device.partition(":")[2] or 0)
            if wanted >= len(gpus):
                cuda = " (or install JAX for it: pip install 'jax[cuda12]')" if self.backend == "jax" else ""
                raise ConfigError(
                    f"trainer.device: {self.device} is not there: PhiML sees {len(gpus)} CUDA devices. "
                    f"Use trainer.device=cpu or auto{cuda}."
                )

    @property
    def library(self) -> Backend:
        """PhiML's backend object."""
        return _library(self.backend)

    @property
    def native_device(self) -> ComputeDevice:
        """The device as PhiML names it."""
        return _native_device(self.backend, self.device)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Inside, PhiML computes with this backend, on this device, in this precision."""
        library = self.library
        before = library.get_default_device()
        library.set_default_device(self.native_device)
        try:
            with library, math.precision(int(self.precision.removeprefix("float"))):
                yield
        finally:
            library.set_default_device(before)

    def place(self, tensor: math.Tensor) -> math.Tensor:
        """The tensor on this device in this precision; itself when it already is."""
        with self.scope():
            if not self._has(tensor):
                tensor = self._moved(math.convert(tensor, self.library))
            return math.to_float(tensor)

    def _has(self, tensor: math.Tensor) -> bool:
        """Whether a tensor is of this library and on this device; what JAX traces will be where it runs."""
        if tensor.default_backend is not self.library:
            return False
        return (self.backend == "jax" and not tensor.available) or tensor.device is self.native_device

    def _moved(self, tensor: math.Tensor) -> math.Tensor:
        """The tensor on this device; from main memory to CUDA it is copied while the program goes on."""
        if (
            not self.device.startswith("cuda")
            or self.backend != "torch"
            or tensor.device.device_type != "CPU"
        ):
            return math.to_device(tensor, self.native_device)
        native = tensor.native(tensor.shape).pin_memory()
        return math.wrap(native.to(self.device, non_blocking=True), *tensor.shape)

    def detached(self, tensor: math.Tensor) -> math.Tensor:
        """The tensor without its history, in full precision: outside of `scope` PhiML rounds to float32."""
        with self.scope():
            return math.stop_gradient(tensor)

    def native(self, scalar: math.Tensor) -> Any:
        """The library's own scalar without its history, in full precision."""
        with self.scope():
            return math.stop_gradient(scalar).native()


# PhiML looks both up among all that it knows each time, which a small step would notice
_library = functools.cache(get_backend)


@functools.cache
def _native_device(backend: str, device: str) -> ComputeDevice:
    library = _library(backend)
    if device == "cpu" or backend == "numpy":
        return library.list_devices("CPU")[0]
    return library.list_devices("GPU")[int(device.partition(":")[2] or 0)]


def is_tracing() -> bool:
    """Whether a function is being traced right now: tensors have no values yet."""
    return _tracing.get()


@contextmanager
def tracing() -> Iterator[None]:
    """Inside, a function is being traced."""
    token = _tracing.set(True)
    try:
        yield
    finally:
        _tracing.reset(token)


@contextmanager
def frozen(network: Any) -> Iterator[None]:
    """Inside, no computation is kept for differentiating by a network's weights, which saves memory."""
    learnable = [p for p in network.parameters() if p.requires_grad]
    for parameter in learnable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learnable:
            parameter.requires_grad_(True)


@contextmanager
def _as_recorded(module: Any) -> Iterator[None]:
    """Inside, TorchScript runs a trace as it was recorded.

    Otherwise it watches the first calls and optimises what comes after: the same arguments then give results
    that differ by rounding from one call to the next, so that a run which was resumed would not repeat one
    which was not.  On the CPU the optimisation gains nothing.

    `module`: that of PhiML's backend, which brings PyTorch along; nothing happens for another backend.
    """
    switch = getattr(getattr(module, "torch", None), "jit", None)
    if switch is None:
        yield
        return
    with switch.optimized_execution(False):
        yield


def forget_compiled() -> None:
    """Free what was compiled in this process, which PyTorch and JAX would keep until its end.

    To be called between experiments: a `Compiled` function of before must not be called any more.
    """
    jax = getattr(sys.modules.get("phiml.backend.jax._jax_backend"), "jax", None)
    if jax is not None:
        jax.clear_caches()
    torch = getattr(sys.modules.get("phiml.backend.torch._torch_backend"), "torch", None)
    if torch is not None:
        torch.jit._state._jit_caching_layer.clear()  # scripted functions would else be found, and be gone
        torch.jit._state._python_cu.drop_all_functions()


class Compiled:
    """A function of named tensors, compiled by PhiML when it first sees arguments of a shape.

    Called while another function is being traced it becomes a part of that trace, since PhiML's traces
    do not nest.  With `gradient_of`, calls return (value, gradient by that argument).

    Args:
        function: of named tensors (or dicts of them), without side effects.
        compute: where it runs.
        gradient_of: name of the argument to differentiate by.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        compute: Compute,
        *,
        gradient_of: str | None = None,
    ) -> None:
        self.function = function
        self.compute = compute

        @functools.wraps(function)
        def traced(*args: Any, **kwargs: Any) -> Any:
            with tracing():
                return function(*args, **kwargs)

        target = math.gradient(traced, gradient_of, get_output=True) if gradient_of else traced
        self._target = target
        self._jits: dict[tuple[bool, ...], Any] = {}

    def __call__(self, *args: Any) -> Any:
        if _tracing.get():
            return self.function(*args)
        with self.compute.scope():
            natives = [_native(leaf) for arg in args for leaf in _leaves(arg)]
            if not all(map(_is_in_rows, natives)):
                args = tuple(_in_rows(arg) for arg in args)
            return self._run(self._jit_for(natives), args)

    def _run(self, jit: Any, args: tuple[Any, ...]) -> Any:
        """Call a compilation; one that raises is forgotten, and leaves nothing behind.

        PhiML keeps a list of what it is tracing, from which it does not take a function that raised (1.16.1),
        and compiles nothing more while the list is not empty.
        """
        module = sys.modules[type(self.compute.library).__module__]
        traced = getattr(module, "CURRENT_JIT_CALLS", [])
        before = len(traced)
        try:
            with _as_recorded(module):
                return jit(*args)
        except BaseException:
            del traced[before:]
            self._jits = {pattern: known for pattern, known in self._jits.items() if known is not jit}
            raise

    @property
    def traces(self) -> int:
        """How many times the function was compiled: once per combination of shapes seen."""
        return sum(len((jit.grad_jit or jit).traces) for jit in self._jits.values())

    def _jit_for(self, natives: Sequence[Any]) -> Any:
        """A compilation for every pattern of arguments that have a gradient to carry.

        TorchScript optimises a trace for the arguments of its first calls.  When those carry no gradient it
        may drop, without a word, that by the arguments of later calls (PyTorch 2.13, of a stack).
        """
        pattern = tuple(bool(getattr(native, "requires_grad", False)) for native in natives)
        if pattern not in self._jits:
            self._jits[pattern] = math.jit_compile(self._target)
        return self._jits[pattern]


def _leaves(argument: Any) -> list[Any]:
    return list(argument.values()) if isinstance(argument, Mapping) else [argument]


def _native(tensor: math.Tensor) -> Any:
    return tensor.native(tensor.shape)


def _is_in_rows(native: Any) -> bool:
    """Whether values lie row by row in memory, as those of any library but PyTorch do for its traces."""
    return bool(getattr(native, "is_contiguous", lambda: True)())


def _in_rows(argument: Any) -> Any:
    """The argument with its values row by row in memory.

    While PhiML traces, it looks at the layout to decide how to reshape, so that a trace fails with arguments
    of another layout (1.16.1: it pads one axis of a batch in 3-D by `view`).
    """
    if isinstance(argument, Mapping):
        return {name: _in_rows(tensor) for name, tensor in argument.items()}
    native = _native(argument)
    return argument if _is_in_rows(native) else math.wrap(native.contiguous(), *argument.shape)
