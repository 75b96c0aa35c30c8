"""Pickles are read as data: what is plain comes through, and nothing that a file asks for is ever run."""

from __future__ import annotations

import builtins
import collections
import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyco.compat.archives import read_npz, read_torch
from hyco.compat.pickles import Refused, read_pickle
from hyco.errors import CheckpointError, DataError

ORIGINALS = Path(__file__).parents[1] / "data" / "hyco-phiflow"


class Asks:
    """An object whose pickle calls a function when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.parts


# --- what is plain comes through

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.complex_numbers(allow_nan=False),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(value=PLAIN, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_values_are_read_from_every_protocol(value: Any, protocol: int) -> None:
    assert read_pickle(pickle.dumps(value, protocol)) == value


def test_sets_shared_values_and_ordered_dicts() -> None:
    shared = [1, 2]
    value = {
        "a": shared,
        "b": shared,
        "s": {1, 2},
        "f": frozenset("xy"),
        "o": collections.OrderedDict(z=1, y=2),
    }
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        read = read_pickle(pickle.dumps(value, protocol))
        assert read == value and list(read["o"]) == ["z", "y"]


@pytest.mark.parametrize("kind", ["f4", ">f8", "i8", "u2", "?", "c16", "U5", "S3", "O"])
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_numpy_arrays_and_scalars(kind: str, protocol: int) -> None:
    values = np.array([["1", "0"], ["3", "4"]]).astype(kind if kind != "?" else "i4").astype(kind)
    for array in (values, np.asfortranarray(values), values[:, :0], values[0, 0]):
        read = read_pickle(pickle.dumps(array, protocol))
        assert np.array_equal(read, array) and np.shape(read) == np.shape(array)
        assert kind == "O" or read.dtype == array.dtype


def test_a_dtype_may_stand_alone() -> None:
    assert read_pickle(pickle.dumps([np.dtype("f4")], 4)) == [np.dtype("f4")]


@pytest.mark.parametrize(
    "dtype",
    [torch.float32, torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool, torch.complex64],
)
def test_torch_tensors_come_as_numpy(tmp_path: Path, dtype: torch.dtype) -> None:
    base = torch.arange(24).reshape(4, 6).to(dtype)
    views = {"all": base, "turned": base.T, "part": base[1:, ::2], "one": base[2, 3], "none": base[:0]}
    parameter = torch.nn.Parameter(torch.ones(2))
    torch.save({**views, "parameter": parameter}, tmp_path / "a.pt")
    read = read_torch(tmp_path / "a.pt")
    for name, tensor in views.items():
        assert read[name].dtype == tensor.numpy().dtype and np.array_equal(read[name], tensor.numpy())
    assert np.array_equal(read["parameter"], np.ones(2))


@pytest.mark.parametrize("path", sorted(ORIGINALS.rglob("*.npz"))[::7], ids=lambda p: p.name)
def test_numpy_reads_the_same_numbers(path: Path) -> None:
    read = read_npz(path)
    with np.load(path, allow_pickle=True) as stored:
        assert list(read) == stored.files
        for name in stored.files:
            if "phiml" not in str(stored[name].dtype) and stored[name].dtype != object:
                assert np.array_equal(read[name], stored[name])


@pytest.mark.parametrize("path", sorted(ORIGINALS.rglob("*.p*t*")), ids=lambda p: p.name)
def test_torch_reads_the_same_numbers(path: Path) -> None:
    trusted = torch.load(path, weights_only=False)
    assert _compare(read_torch(path), trusted) > 0


def _compare(read: Any, trusted: Any) -> int:
    """The number of arrays that two nested values have in common."""
    if isinstance(trusted, dict):
        assert list(read) == list(trusted)
        return sum(_compare(read[key], value) for key, value in trusted.items())
    if isinstance(trusted, (list, tuple)):
        assert len(read) == len(trusted) and type(read) is type(trusted)
        return sum(_compare(*pair) for pair in zip(read, trusted, strict=True))
    if isinstance(trusted, torch.Tensor):
        assert np.array_equal(read, trusted.numpy()) and read.dtype == trusted.numpy().dtype
        return 1
    assert read == trusted
    return 0


# --- what asks for more is refused by its name, and nothing of it runs


def hostile(target: Path) -> dict[str, tuple[Any, str]]:
    """Objects whose unpickling would create `target`, and the name under which each is refused."""
    command = f"touch {target}"
    code = f"open({str(target)!r}, 'w').close()"
    return {
        "system": (Asks(os.system, command), f"{os.system.__module__}.system"),
        "open": (Asks(open, str(target), "w"), "io.open"),
        "eval": (Asks(eval, code), "builtins.eval"),
        "exec": (Asks(exec, code), "builtins.exec"),
        "getattr": (Asks(getattr, {"a": 1}, "clear"), "builtins.getattr"),
        "popen": (
            Asks(subprocess.Popen, command, -1, None, None, None, None, None, True, True),
            "subprocess.Popen",
        ),
        "numpy save": (Asks(np.save, str(target), np.ones(2)), "numpy.save"),
        "numpy fromfile": (Asks(np.fromfile, str(target)), "numpy.fromfile"),
        "numpy memmap": (Asks(np.memmap, str(target), "u1", "w+", 0, (8,)), "numpy.memmap"),
        "torch load": (Asks(torch.load, str(target)), "torch.serialization.load"),
        "torch save": (Asks(torch.save, 1, str(target)), "torch.serialization.save"),
        "path": (Asks(Path.touch, target), "Path.touch"),  # in protocol 2, getattr(Path, "touch")
        "deep": ({"a": [1, {"b": (Asks(os.system, command),)}]}, f"{os.system.__module__}.system"),
    }


NAMES = sorted(hostile(Path("x")))


def refused(path: Path, read: Callable[..., Any], name: str, target: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(DataError) as caught:
        read(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: refused: ") and "\n" not in text
    assert name.rpartition(".")[2] in text or (name == "Path.touch" and "builtins.getattr" in text), text
    assert not target.exists()
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", NAMES)
def test_what_a_pt_file_asks_for_is_refused_by_name(tmp_path: Path, name: str) -> None:
    target = tmp_path / "made"
    value, asked = hostile(target)[name]
    torch.save({"model": torch.ones(2), "extra": value}, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", read_torch, asked, target)


@pytest.mark.parametrize("name", NAMES)
def test_what_an_npz_file_asks_for_is_refused_by_name(tmp_path: Path, name: str) -> None:
    target = tmp_path / "made"
    value, asked = hostile(target)[name]
    array = np.empty(1, object)
    array[0] = value
    np.savez(tmp_path / "a.npz", data=np.ones(3), extra=array)
    refused(tmp_path / "a.npz", read_npz, asked, target)


def test_the_hostile_files_do_harm_to_an_ordinary_unpickler(tmp_path: Path) -> None:
    """Else the tests above would show nothing."""
    for name in ("system", "exec", "numpy save", "numpy memmap", "torch save", "path", "deep"):
        target = tmp_path / name.replace(" ", "_")
        target = target.with_suffix(".npy") if name == "numpy save" else target
        pickle.loads(pickle.dumps(hostile(target)[name][0]))
        assert target.exists(), name


def test_the_error_type_is_the_callers(tmp_path: Path) -> None:
    torch.save(Asks(os.system, "true"), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"asks for .*\.system"):
        read_torch(tmp_path / "a.pth", error=CheckpointError)


# --- admitted names, used for what they are not for


def stack_global(module: str, name: str) -> bytes:
    """Protocol 4's way to name something; it may contain dots, which Python follows."""
    return b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, name)) + b"\x93"


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("numpy", "ndarray.tofile"),
        ("numpy", "core.multiarray.fromfile"),
        ("numpy", "os.system"),
        ("numpy._core.multiarray", "fromfile"),
        ("numpy._core.multiarray", "_reconstruct.__globals__"),
        ("collections", "OrderedDict.__init__.__globals__"),
        ("collections", "_sys.modules"),
        ("torch", "load"),
        ("torch", "serialization.os.system"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("torch._utils", "_rebuild_device_tensor_from_numpy"),
        ("phiml.math._shape", "Shape.__init__"),
        ("phiml.math._shape", "Tensor"),
        ("builtins", "__import__"),
        ("builtins", "type"),
        ("builtins", "list"),
        ("hyco.compat.pickles", "read_pickle"),
    ],
)
def test_other_names_of_admitted_modules_are_refused(module: str, name: str) -> None:
    with pytest.raises(Refused, match=name.replace(".", r"\.")):
        read_pickle(b"\x80\x04" + stack_global(module, name) + b".")
    with pytest.raises(Refused, match=name.replace(".", r"\.")):
        read_pickle(b"c" + module.encode() + b"\n" + name.encode() + b"\n.")


NDARRAY, DTYPE = stack_global("numpy", "ndarray"), stack_global("numpy", "dtype")
ORDERED, ENCODE = stack_global("collections", "OrderedDict"), stack_global("_codecs", "encode")
RECORD = stack_global("phiml.math._shape", "Dim")
REBUILD = stack_global("torch._utils", "_rebuild_tensor_v2")


@pytest.mark.parametrize(
    ("instructions", "why"),
    [
        (NDARRAY + b")R", "calls numpy.ndarray"),
        (NDARRAY + b")\x81", "makes a new numpy.ndarray"),
        (ORDERED + b"}" + short("a") + b"K\x01sb", "sets attributes of collections.OrderedDict"),
        (RECORD + b"}b", "sets attributes of phiml.math._shape.Dim"),
        (RECORD + b")R", "calls phiml.math._shape.Dim"),
        (NDARRAY + b"\x85", "holds numpy.ndarray as a value"),
        (b"K\x01)R", "calls a int"),
        (b"]}b", "sets attributes of a list"),
        (ENCODE + short("x") + short("rot13") + b"\x86R", "encodes text as rot13"),
        (DTYPE + short("M8[ns]") + b"\x85R", "numpy array of M8"),
        (DTYPE + short("V8") + b"\x85R", "numpy array of V8"),
        (DTYPE + short("f4") + b"\x85R(K\x03" + short("<") + b"N" + short("a") + b"\x85N]]]tb",
         "structured numpy array"),
        (b"(S'true'\nios\nsystem\n", "asks for os.system"),
        (b"(" + stack_global("collections", "OrderedDict") + b"o", "pickle instruction OBJ"),
        (b"\x82\x01", "pickle instruction EXT1"),
        (ORDERED + b")}\x92", "pickle instruction NEWOBJ_EX"),
        (b"P0\n", "pickle instruction PERSID"),
        (short("anything") + b"Q", "refers to anything outside"),
        (b"]\x94h\x00a", "contains itself"),
    ],
)  # fmt: skip
def test_admitted_names_build_data_and_nothing_else(instructions: bytes, why: str) -> None:
    with pytest.raises(Refused, match=why.replace(".", r"\.")):
        read_pickle(b"\x80\x04" + instructions + b".")


def test_nothing_is_called_that_python_would_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the imports nor the constructors that a pickle of arrays and tensors names."""
    data = pickle.dumps([np.ones(3), np.float64(2.0), collections.OrderedDict(a=1)], 4)

    def forbidden(*_: Any, **__: Any) -> Any:
        raise AssertionError("called")

    monkeypatch.setattr(np._core.multiarray, "_reconstruct", forbidden)
    monkeypatch.setattr(np._core.multiarray, "scalar", forbidden)
    monkeypatch.setattr(collections, "OrderedDict", forbidden)
    monkeypatch.setattr(builtins, "__import__", forbidden)
    read = read_pickle(data)
    monkeypatch.undo()
    assert np.array_equal(read[0], np.ones(3)) and read[1:] == [2.0, {"a": 1}]


# --- damaged ones


def test_every_cut_of_a_pickle_is_a_clear_error() -> None:
    data = pickle.dumps({"a": np.arange(6.0).reshape(2, 3), "b": ["x", (1, 2)]}, 4)
    for length in range(len(data)):
        with pytest.raises(ValueError):
            read_pickle(data[:length])


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_changed_byte_never_gives_more_than_data(place: int, byte: int) -> None:
    data = bytearray(pickle.dumps({"a": np.arange(6.0), "b": ["x", (1, 2)], "c": np.array(["p", None])}, 4))
    data[place % len(data)] = byte
    try:
        read = read_pickle(bytes(data))
    except ValueError:
        return
    assert _is_plain(read)


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, [*value, *value.values()]))
    if isinstance(value, np.ndarray) and value.dtype == object:
        return all(map(_is_plain, value.ravel().tolist()))
    return value is None or isinstance(
        value, (bool, int, float, complex, str, bytes, bytearray, np.generic, np.ndarray, np.dtype)
    )


def tensor_file(
    path: Path, *, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], length: int = 4
) -> None:
    """A PyTorch file by hand: a tensor that shows a storage of four floats in this way."""

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", length) if isinstance(value, Storage) else None

    arguments = (Storage(), offset, shape, strides, False, collections.OrderedDict())
    buffer = io.BytesIO()
    Pickler(buffer, 2).dump(Asks(torch._utils._rebuild_tensor_v2, *arguments))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", buffer.getvalue())
        archive.writestr("a/data/0", struct.pack("<4f", 1, 2, 3, 4))


def test_a_tensor_shows_its_storage_and_not_what_lies_beyond(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    tensor_file(path, offset=1, shape=(3,), strides=(1,))
    assert read_torch(path).tolist() == [2, 3, 4]
    for wrong in (
        {"offset": 2, "shape": (3,), "strides": (1,)},
        {"offset": 0, "shape": (2, 2), "strides": (3, 1)},
        {"offset": -1, "shape": (2,), "strides": (1,)},
        {"offset": 0, "shape": (2,), "strides": (-1,)},
        {"offset": 0, "shape": (4,), "strides": (1,), "length": 5},
        {"offset": 0, "shape": (1 << 40,), "strides": (0,)},
    ):
        tensor_file(path, **wrong)  # type: ignore[arg-type]
        with pytest.raises(DataError, match=r"a\.pt: "):
            read_torch(path)


def test_cut_swapped_and_missing_files_are_one_clear_line_each(tmp_path: Path) -> None:
    pt, npz = ORIGINALS / "v1-burgers/cache/sim_000000.pt", ORIGINALS / "v2-burgers-2d/data/sim_0000.npz"
    cases: list[tuple[Path, Callable[..., Any], str]] = [
        (tmp_path / "no.pt", read_torch, "no such file"),
        (tmp_path / "no.npz", read_npz, "no such file"),
        (_copy(npz, tmp_path / "swapped.pt"), read_torch, "0 files data.pkl"),
        (_copy(pt, tmp_path / "swapped.npz"), read_npz, "holds sim_000000/data.pkl"),
        (_copy(tmp_path, tmp_path / "text.npz", b"hello"), read_npz, "not a zip file"),
        (_copy(tmp_path, tmp_path / "empty.pt", b""), read_torch, "not a zip file"),
        (_copy(tmp_path, tmp_path / "bare.pt", pickle.dumps({"a": 1}, 2)), read_torch, "bare pickle"),
        (tmp_path, read_npz, "Is a directory"),
    ]
    for source, read in ((pt, read_torch), (npz, read_npz)):
        data = source.read_bytes()
        for share in (0.1, 0.5, 0.99):
            cut = _copy(source, tmp_path / f"cut{share}{source.suffix}", data[: int(share * len(data))])
            cases.append((cut, read, "not a zip file"))
        flipped = bytearray(data)
        flipped[len(data) // 2] ^= 255
        cases.append(
            (_copy(source, tmp_path / f"flipped{source.suffix}", bytes(flipped)), read, "Bad CRC-32")
        )
    for path, read, why in cases:
        with pytest.raises(DataError) as caught:
            read(path)
        text = str(caught.value)
        assert str(path) in text and why in text and "\n" not in text, text


def _copy(source: Path, target: Path, data: bytes | None = None) -> Path:
    target.write_bytes(source.read_bytes() if data is None else data)
    return target


def test_an_array_file_says_its_shape_once(tmp_path: Path) -> None:
    """Header and pickle of an array of objects must agree."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|O", "fortran_order": False, "shape": (3,)})  # type: ignore[no-untyped-call]
    pickle.dump(np.array([None, "a"], object), buffer, 4)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", buffer.getvalue())
    with pytest.raises(DataError, match="shape"):
        read_npz(tmp_path / "a.npz")


def test_a_name_that_would_garble_the_terminal_is_shown_harmlessly() -> None:
    with pytest.raises(Refused) as caught:
        read_pickle(b"\x80\x04" + stack_global("os", "\x1b[2Jsystem") + b".")
    assert "\x1b" not in str(caught.value) and "system" in str(caught.value)


def test_reading_needs_no_unpickler() -> None:
    """The module is read by Python without the one of Python: nothing here could call it."""
    code = "import sys, hyco.compat.pickles; print('pickle' in hyco.compat.pickles.__dict__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
