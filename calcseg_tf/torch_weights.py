"""Reads a PyTorch state dict without PyTorch and without executing anything of it.

A `.pth` file is a pickle, which may run code when loaded. This reader lets the unpickler make ordered dicts and float
tensors alone and refuses every other name. Both of PyTorch's layouts are read: the legacy one (a sequence of pickles
followed by the raw storages) and the zip archive that `torch.save` writes since 1.6.
"""

import collections
import dataclasses
import io
import math
import pathlib
import pickle
import zipfile
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from data_prep.errors import InputError

__all__ = ["read_state_dict"]

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_MAX_BYTES = 1 << 30

_STORAGE_DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}


@dataclasses.dataclass
class _Storage:
    dtype: np.dtype
    count: int
    values: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """A view into a storage whose values may not have been read yet."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        values = self.storage.values
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        if values is None or min((1, *self.shape)) < 1 or min((self.offset, *self.strides)) < 0 or last >= len(values):
            raise InputError("a tensor of the file lies outside its storage")
        # Strides of 0 would let a small file ask for any amount of memory.
        if math.prod(self.shape) > len(values):
            raise InputError("a tensor of the file lies outside its storage")
        strides = [step * values.itemsize for step in self.strides]
        return np.array(np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, strides))


def read_state_dict(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads a file written by `torch.save(module.state_dict(), path)`.

    Returns:
        Arrays by name, in the file's order; float32, float64, float16, int64 or int32 as stored.

    Raises:
        InputError: Missing, no state dict of tensors, damaged, or a pickle that names anything else.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError("a state dict may have 1 GiB")
        data = path.read_bytes()
        state = _read_zip(data) if zipfile.is_zipfile(io.BytesIO(data)) else _read_legacy(data)
        if not isinstance(state, dict) or not all(isinstance(value, _Tensor) for value in state.values()):
            raise InputError("the file must hold a state dict: tensors by name")
        # One storage may be named any number of times.
        if sum(math.prod(tensor.shape) * tensor.storage.dtype.itemsize for tensor in state.values()) > _MAX_BYTES:
            raise InputError("a state dict may have 1 GiB")
        return {name: tensor.array() for name, tensor in state.items()}
    except InputError as error:
        raise InputError(error.rule, path) from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", path) from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise InputError(f"not a readable PyTorch file ({type(error).__name__}: {error})", path) from None


_PYTHONS: Any = pickle._Unpickler  # has no types


class _Unpickler(_PYTHONS):
    """Makes ordered dicts and tensors, nothing else.

    It is Python's own in Python: the one in C takes memory for as many memos as a pickle of ten bytes claims to have.
    What state dicts have no use for is left out: a byte array of any size that is claimed, sets, and keys that are no
    text (the hash of a tuple of tuples of tuples may take for ever).
    """

    dispatch: ClassVar = {
        code: method
        for code, method in _PYTHONS.dispatch.items()
        if bytes([code]) not in (pickle.BYTEARRAY8, pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET, pickle.DICT)
    }

    def __init__(self, file: io.BytesIO, storage: Callable[[str, np.dtype, int], _Storage]) -> None:
        super().__init__(file)
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return _ordered_dict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _STORAGE_DTYPES:
            return _STORAGE_DTYPES[name]
        raise InputError(f"a weights file may hold tensors alone; it names {module}.{name}, which was not executed")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _location, count = pid[:5]
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise InputError("a weights file may refer to storages alone")
        if not isinstance(key, str):
            raise InputError("a storage must have a name")
        return self._storage(key, dtype, int(count))

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _put(self.stack[-1], key, value)

    def load_setitems(self) -> None:
        items = self.pop_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            _put(self.stack[-1], key, value)

    def load_build(self) -> None:
        self.stack.pop()  # what a module says of its version: nothing here asks for it

    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.BUILD[0]] = load_build


def _ordered_dict(pairs: Iterable[tuple[object, object]] = ()) -> collections.OrderedDict[str, object]:
    found: collections.OrderedDict[str, object] = collections.OrderedDict()
    for key, value in pairs:
        _put(found, key, value)
    return found


def _put(found: Any, key: object, value: object) -> None:
    if not isinstance(found, dict) or not isinstance(key, str):
        raise InputError("a state dict must have names for keys")
    found[key] = value


def _rebuild_tensor(storage: _Storage, offset: int, shape: tuple, strides: tuple, *_: object) -> _Tensor:
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _read_zip(data: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _MAX_BYTES:
            raise InputError("a state dict may have 1 GiB")
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise InputError("not a PyTorch archive (no data.pkl)")
        folder = pickles[0].removesuffix("data.pkl")
        storages: dict[str, _Storage] = {}

        def storage(key: str, dtype: np.dtype, count: int) -> _Storage:
            if key not in storages:
                values = np.frombuffer(archive.read(f"{folder}data/{key}"), dtype, count)
                storages[key] = _Storage(dtype, count, values)
            return storages[key]

        return _Unpickler(io.BytesIO(archive.read(pickles[0])), storage).load()


def _read_legacy(data: bytes) -> Any:
    file = io.BytesIO(data)
    storages: dict[str, _Storage] = {}

    def storage(key: str, dtype: np.dtype, count: int) -> _Storage:
        return storages.setdefault(key, _Storage(dtype, count))

    def load() -> Any:
        return _Unpickler(file, storage).load()

    if load() != _LEGACY_MAGIC:
        raise InputError("not a PyTorch file")
    _protocol, _system, state, keys = load(), load(), load(), load()
    for key in keys:
        wanted = storages[str(key)]
        count = int.from_bytes(file.read(8), "little")
        if count != wanted.count:
            raise InputError(f"a storage should hold {wanted.count} values; the file says {count}")
        wanted.values = np.frombuffer(file.read(count * wanted.dtype.itemsize), wanted.dtype, count)
    return state
