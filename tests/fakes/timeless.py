"""Files without the moments at which they were made, which alone differ when a result is made again."""

import io
import pathlib

import pydicom

__all__ = ["timeless_bytes"]


def timeless_bytes(path: pathlib.Path) -> bytes:
    """Returns the bytes of a file, those of a DICOM object with every date and time emptied."""
    if path.suffix != ".dcm":
        return path.read_bytes()
    dataset = pydicom.dcmread(path)
    for element in dataset.iterall():
        if element.VR in ("DA", "TM", "DT"):
            element.value = ""
    written = io.BytesIO()
    dataset.save_as(written)
    return written.getvalue()
