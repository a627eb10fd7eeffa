"""Files as `torch.save` writes them, of both layouts, without PyTorch."""

import collections
import dataclasses
import io
import pathlib
import pickle
import sys
import types
import zipfile
from collections.abc import Mapping
from unittest import mock

import numpy as np

__all__ = ["View", "legacy_bytes", "write_legacy", "write_zip"]

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGE_NAMES = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "int32": "IntStorage",
}


def _torch_modules() -> dict[str, types.ModuleType]:
    """Stand-ins under which pickle finds the names that PyTorch's files hold."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def rebuild(*_: object) -> None:
        raise AssertionError("only a reader calls this")

    rebuild.__module__ = "torch._utils"
    rebuild.__name__ = rebuild.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = rebuild  # type: ignore[attr-defined]
    for name in _STORAGE_NAMES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    return {"torch": torch, "torch._utils": utils}


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """A tensor as the file describes it: values, and the shape, strides and offset (in values) that it claims."""

    storage: np.ndarray
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0


class _Storage:
    def __init__(self, key: str, values: np.ndarray, kind: type) -> None:
        self.pid = ("storage", kind, key, "cuda:0", values.size)


class _Tensor:
    """Pickles as a tensor over a storage of its own."""

    def __init__(self, key: str, view: View, modules: Mapping[str, types.ModuleType]) -> None:
        self._rebuild = modules["torch._utils"]._rebuild_tensor_v2
        storage = _Storage(key, view.storage, getattr(modules["torch"], _STORAGE_NAMES[view.storage.dtype.name]))
        self._arguments = (storage, view.offset, view.shape, view.strides, False, {})

    def __reduce__(self) -> tuple:
        return self._rebuild, self._arguments


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: object) -> tuple | None:
        return value.pid if isinstance(value, _Storage) else None


def _pickle_state(state: Mapping[str, object], legacy: bool) -> tuple[bytes, dict[str, np.ndarray]]:
    modules, storages, made = _torch_modules(), {}, {}
    tensors = collections.OrderedDict()
    tensors._metadata = collections.OrderedDict(version=1)  # type: ignore[attr-defined]  # as state_dict() leaves it
    for number, (name, value) in enumerate(state.items()):
        if isinstance(value, np.ndarray):
            value = View(value, value.shape, tuple(step // value.itemsize for step in value.strides))
        if isinstance(value, View):
            if value not in made:  # the same view again is the same tensor
                key = str(94_000 + number if legacy else number)
                storages[key] = value.storage
                made[value] = _Tensor(key, value, modules)
            tensors[name] = made[value]
        else:
            tensors[name] = value
    file = io.BytesIO()
    with mock.patch.dict(sys.modules, modules):
        _Pickler(file, 2).dump(tensors)
    return file.getvalue(), storages


def legacy_bytes(state: Mapping[str, object]) -> bytes:
    """A file of the layout before PyTorch 1.6; values that are no arrays are pickled as they are."""
    pickled, storages = _pickle_state(state, legacy=True)
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    parts = [pickle.dumps(LEGACY_MAGIC, 2), pickle.dumps(1001, 2), pickle.dumps(system, 2), pickled]
    keys = sorted(storages)
    parts.append(pickle.dumps(keys, 2))
    for key in keys:
        parts += [storages[key].size.to_bytes(8, "little"), storages[key].tobytes("A")]
    return b"".join(parts)


def write_legacy(path: pathlib.Path, state: Mapping[str, object]) -> pathlib.Path:
    """Writes `legacy_bytes` and returns the path."""
    path.write_bytes(legacy_bytes(state))
    return path


def write_zip(path: pathlib.Path, state: Mapping[str, object]) -> pathlib.Path:
    """Writes the zip layout of PyTorch 1.6 and later and returns the path."""
    pickled, storages = _pickle_state(state, legacy=False)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/data.pkl", pickled)
        for key, values in storages.items():
            archive.writestr(f"weights/data/{key}", values.tobytes("A"))
        archive.writestr("weights/version", "3\n")
    return path
