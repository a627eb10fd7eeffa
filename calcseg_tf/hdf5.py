"""What a file of weights in HDF5 may hold: arrays of its own, of a size that memory has."""

import math
import pathlib

import h5py

from data_prep.errors import InputError

__all__ = ["check_weights_file"]

_MAX_BYTES = 1 << 30  # as of a PyTorch file


def check_weights_file(path: pathlib.Path) -> None:
    """Checks a file before Keras reads it.

    HDF5 can name other files as the place of its data, whose bytes would be taken for weights, and a few bytes can
    claim an array of any size.

    Raises:
        InputError: A link, an array kept elsewhere, or more than 1 GiB; `where` is the file.
        OSError: Not an HDF5 file, or it cannot be read.
    """
    claimed, seen = 0, set()
    with h5py.File(path) as file:
        groups = [file]
        while groups:
            group = groups.pop()
            if (place := h5py.h5o.get_info(group.id).addr) in seen:
                continue
            seen.add(place)
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise InputError("a file of weights holds its own arrays alone; found a link", path)
                if isinstance(found := group[name], h5py.Group):
                    groups.append(found)
                elif isinstance(found, h5py.Dataset):
                    if found.external or found.is_virtual:
                        raise InputError("a file of weights holds its own arrays alone; found one kept elsewhere", path)
                    if found.dtype.kind not in "biuf":
                        raise InputError("a file of weights holds arrays of numbers alone; found others", path)
                    chunk = math.prod(found.chunks or ()) * found.dtype.itemsize  # unpacked whole for one value
                    claimed += max(found.nbytes, chunk)
                    if claimed > _MAX_BYTES:
                        raise InputError(f"a file of weights holds at most {_MAX_BYTES} bytes; found more", path)
