"""The two kinds of archive in which HYCO-PhiFlow kept its data: NumPy's `.npz` and PyTorch's `.pt`, `.pth`.

Both are zip files with pickles inside, which `hyco.compat.pickles` reads as data.  A file that is missing,
cut short, of another kind, or that asks for more than data is refused with one line; no file is changed.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.compat.pickles import Refused, read_pickle
from hyco.errors import DataError, InputError

_PICKLE = "/data.pkl"
_NPY: Any = np.lib.format  # whose functions some releases of NumPy annotate, and others not
_NEWER = "Load it once with PyTorch where you trust it, and save it anew"


def read_npz(path: str | Path, *, error: type[InputError] = DataError) -> dict[str, NDArray[Any]]:
    """The arrays of a `.npz` file by name; arrays of objects hold plain data only.

    Raises `error`, with one line, for a file that is no such archive or asks for more than data.
    """
    with _opened(Path(path), "a NumPy archive (.npz)", error) as archive:
        names = archive.namelist()
        strange = [name for name in names if not name.endswith(".npy")]
        if strange or not names:
            raise ValueError(f"it holds {strange[0] if strange else 'nothing'}, and no arrays alone")
        return {name.removesuffix(".npy"): _array(archive.read(name)) for name in names}


def read_torch(path: str | Path, *, error: type[InputError] = DataError) -> Any:
    """What `torch.save` put into a file; its tensors come as numpy arrays.

    Raises `error`, with one line, for a file that is no such archive or asks for more than data.
    """
    with _opened(Path(path), "a PyTorch file (.pt, .pth)", error) as archive:
        pickles = [name for name in archive.namelist() if name.endswith(_PICKLE)]
        if len(pickles) != 1:
            raise ValueError(f"it holds {len(pickles)} files data.pkl instead of one")
        root = pickles[0].removesuffix(_PICKLE)
        order = archive.read(f"{root}/byteorder") if f"{root}/byteorder" in archive.namelist() else b"little"

        def storage(key: str, kind: np.dtype[Any], length: int) -> NDArray[Any]:
            stored = kind.newbyteorder(">" if order == b"big" else "<")
            values = np.frombuffer(archive.read(f"{root}/data/{key}"), stored)
            if values.size != length:
                raise ValueError(f"storage {key} has {values.size} values, {length} are expected")
            return values.astype(kind, copy=False)

        return read_pickle(archive.read(pickles[0]), storage)


@contextmanager
def _opened(path: Path, what: str, error: type[InputError]) -> Iterator[zipfile.ZipFile]:
    """The open archive; whatever is wrong with it becomes one line that names the file."""
    try:
        with path.open("rb") as file:
            if file.read(1) == b"\x80":
                raise ValueError(f"it is a bare pickle, as PyTorch wrote before 1.6. {_NEWER}")
            with zipfile.ZipFile(file) as archive:
                yield archive
    except FileNotFoundError:
        raise error(f"{path}: expected {what}, but there is no such file. Correct the path.") from None
    except Refused as refused:
        raise error(
            f"{path}: refused: {refused}. Only plain values, numpy arrays and torch tensors are read from "
            "such a file; nothing of it was run. Do not load it elsewhere unless you know who wrote it."
        ) from None
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile,
            zlib.error) as damage:  # fmt: skip
        raise error(f"{path}: expected {what}, but it cannot be read as one: {_text(damage)}.") from damage


def _text(damage: Exception) -> str:
    text = " ".join(str(damage.args[0] if isinstance(damage, KeyError) else damage).split())
    return text.rstrip(".") or type(damage).__name__


def _array(data: bytes) -> NDArray[Any]:
    """The array of a `.npy` file."""
    file, npy = BytesIO(data), _NPY
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array in version {version} of NumPy's format")
    shape, _, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(file)
    if dtype != np.dtype(object):
        return npy.read_array(BytesIO(data), allow_pickle=False)
    values = read_pickle(file.read())
    if not isinstance(values, np.ndarray) or values.shape != shape or values.dtype != dtype:
        raise ValueError(f"an array of shape {shape} that holds another one")
    return values
