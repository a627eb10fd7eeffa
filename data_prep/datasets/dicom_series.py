"""DICOM files by their series, whatever they are called and wherever they lie."""

import dataclasses
import pathlib
from collections.abc import Collection, Sequence

from tqdm import tqdm

from data_prep.datasets.files import may_be_dicom
from data_prep.dicom.access import header_text, parse_dicom, read_integer
from data_prep.errors import InputError
from data_prep.manifest import Rejection

__all__ = ["SeriesFile", "SeriesIndex", "index_series"]

_TAGS = ("SeriesInstanceUID", "SOPInstanceUID", "Rows", "Columns")


@dataclasses.dataclass(frozen=True)
class SeriesFile:
    """One image of a series.

    Attributes:
        path: The file.
        size: (Rows, Columns), (0028,0010) and (0028,0011), as the header says.
    """

    path: pathlib.Path
    size: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class SeriesIndex:
    """What a folder holds of the series asked for.

    Attributes:
        files: Series Instance UID (0020,000E) -> its images in order of path; absent where there is none.
        rejected: DICOM files whose header cannot be read, so that nobody knows their series.
    """

    files: dict[str, tuple[SeriesFile, ...]]
    rejected: tuple[Rejection, ...]


def index_series(paths: Sequence[pathlib.Path], data_dir: pathlib.Path, wanted: Collection[str]) -> SeriesIndex:
    """Reads the header of every DICOM file among `paths` once and keeps the images of the series wanted.

    Files with the same SOP Instance UID (0008,0018) are copies of one image, as where a download was unpacked twice:
    the first in order of path stands for all.
    """
    files: dict[str, dict[str, SeriesFile]] = {}
    rejected = []
    for path in tqdm(paths, desc="series", unit="file", delay=2.0):
        if not may_be_dicom(path):
            continue
        try:
            series, instance, size = _header(path)
        except InputError as error:
            rejected.append(Rejection(path.relative_to(data_dir).as_posix(), error.rule))
            continue
        if series in wanted:
            files.setdefault(series, {}).setdefault(instance or str(path), SeriesFile(path, size))
    return SeriesIndex({series: tuple(images.values()) for series, images in files.items()}, tuple(rejected))


def _header(path: pathlib.Path) -> tuple[str, str, tuple[int, int]]:
    """Returns Series Instance UID, SOP Instance UID and size."""
    try:
        with path.open("rb") as file:
            header = parse_dicom(file, only=_TAGS)
        series, instance = header_text(header, "SeriesInstanceUID"), header_text(header, "SOPInstanceUID")
        size = read_integer(header, "Rows", 0), read_integer(header, "Columns", 0)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path) from None
    except InputError as error:
        raise InputError(error.rule, path) from None
    if not series:
        # Type 1 in every composite object (PS3.3 C.7.3.1): the file is cut short.
        raise InputError("a DICOM file needs SeriesInstanceUID (0020,000E); found none", path)
    return series, instance, size
