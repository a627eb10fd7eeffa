"""A CBIS-DDSM tree as code, in the layouts in which its downloads come, with tables as published.

The tables end the path of the crop with a newline inside its quotes, call the mask 000000.dcm and the crop 000001.dcm,
and keep these names whatever the files are called.
"""

import csv
import dataclasses
import enum
import pathlib
import zlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tests.fakes.dicom import fake_uid, write_dicom

__all__ = ["COLUMNS", "Abnormality", "Image", "Layout", "full_path", "region", "roi_path", "write_cbis_ddsm"]

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

COLUMNS = (
    "patient_id", "breast density", "left or right breast", "image view", "abnormality id", "abnormality type",
    "calc type", "calc distribution", "assessment", "pathology", "subtlety", "image file path",
    "cropped image file path", "ROI mask file path",
)  # fmt: skip


class Layout(enum.Enum):
    """How a download names its files."""

    OLD = "<name>/<StudyUID>/<SeriesUID>/000000.dcm"
    RENAMED = "<name>/<StudyUID>/<SeriesUID>/1-1.dcm"
    DESCRIPTIVE = "CBIS-DDSM/<name>/08-07-2016-DDSM-NA-<study>/1.000000-<description>-<series>/1-1.dcm"


@dataclasses.dataclass(frozen=True, eq=False)
class Abnormality:
    """One outlined region.

    Attributes:
        mask: uint8 [height, width], 0 and 255; None writes no mask.
        crop: uint16 [height, width]; None writes no crop.
        crop_first: The crop is the first file of the series, against what the table says.
        apart: The crop has a series of its own.
    """

    mask: np.ndarray | None
    crop: np.ndarray | None = dataclasses.field(default_factory=lambda: np.full((5, 4), 700, np.uint16))
    crop_first: bool = False
    apart: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Image:
    """One full mammogram, uint16 [height, width], with its rows in a table."""

    pixels: np.ndarray
    abnormalities: Sequence[Abnormality]
    patient: str = "P_00005"
    side: str = "RIGHT"
    view: str = "CC"
    test: bool = False

    @property
    def name(self) -> str:
        """The data set's own name of it."""
        return f"Calc-{'Test' if self.test else 'Training'}_{self.patient}_{self.side}_{self.view}"


def region(top: int, left: int, bottom: int, right: int, size: tuple[int, int] = (24, 20)) -> np.ndarray:
    """A mask whose rectangle, exclusive of bottom and right, is 255."""
    mask = np.zeros(size, np.uint8)
    mask[top:bottom, left:right] = 255
    return mask


def write_cbis_ddsm(
    root: pathlib.Path, images: Sequence[Image], layout: Layout = Layout.OLD, *, density: str = "breast density"
) -> pathlib.Path:
    """Writes both tables, whose second column is called `density`, and the files of the images."""
    root.mkdir(parents=True, exist_ok=True)
    header = [density if column == "breast density" else column for column in COLUMNS]
    for table, test in (("train", False), ("test", True)):
        path = root / f"calc_case_description_{table}_set.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(row.values() for image in images if image.test is test for row in _rows(image))
    for image in images:
        _write_files(root, image, layout)
    return root


def full_path(root: pathlib.Path, image: Image, layout: Layout = Layout.OLD) -> pathlib.Path:
    """The file of the full mammogram."""
    return root / _folder(image.name, image.name, "full mammogram images", layout) / _file_name(0, layout)


def roi_path(root: pathlib.Path, image: Image, number: int, file: int, layout: Layout = Layout.OLD) -> pathlib.Path:
    """The `file`-th file of the series of the `number`-th abnormality, each counted from 0."""
    name = f"{image.name}_{number + 1}"
    return root / _folder(name, name, "ROI mask images", layout) / _file_name(file, layout)


def _rows(image: Image) -> Iterator[Mapping[str, str]]:
    for index, abnormality in enumerate(image.abnormalities):
        name = f"{image.name}_{index + 1}"
        crop = f"{name}_crop" if abnormality.apart else name
        values = (
            image.patient, "3", image.side, image.view, str(index + 1), "calcification", "AMORPHOUS", "CLUSTERED", "3",
            "MALIGNANT", "3", f"{_folder(image.name, image.name, '', Layout.OLD)}/000000.dcm",
            f"{_folder(name, crop, '', Layout.OLD)}/000001.dcm\n", f"{_folder(name, name, '', Layout.OLD)}/000000.dcm",
        )  # fmt: skip
        yield dict(zip(COLUMNS, values, strict=True))


def _write_files(root: pathlib.Path, image: Image, layout: Layout) -> None:
    _write(full_path(root, image, layout), image.pixels, image, image.name, image.name, "full mammogram images")
    for index, abnormality in enumerate(image.abnormalities):
        name = f"{image.name}_{index + 1}"
        parts = [("ROI mask images", abnormality.mask), ("cropped images", abnormality.crop)]
        if abnormality.apart:
            for series, (description, pixels) in zip((name, f"{name}_crop"), parts, strict=True):
                path = root / _folder(name, series, description, layout) / _file_name(0, layout)
                _write(path, pixels, image, name, series, description)
            continue
        for number, (description, pixels) in enumerate(reversed(parts) if abnormality.crop_first else parts):
            _write(roi_path(root, image, index, number, layout), pixels, image, name, name, description)


def _write(
    path: pathlib.Path, pixels: np.ndarray | None, image: Image, name: str, series: str, description: str
) -> None:
    if pixels is None:
        return
    write_dicom(
        path,
        pixels,
        bits_stored=8 * pixels.itemsize,
        patient_id=name,
        study_uid=_uid(1, name),
        PatientName=name,
        SeriesInstanceUID=_uid(2, series),
        SOPInstanceUID=_uid(3, series, description),
        SOPClassUID=SECONDARY_CAPTURE,
        SeriesDescription=description,
        Laterality=image.side[0],
        PatientOrientation=image.view,
    )


def _folder(name: str, series: str, description: str, layout: Layout) -> str:
    study_uid, series_uid = _uid(1, name), _uid(2, series)
    if layout is Layout.DESCRIPTIVE:
        return f"CBIS-DDSM/{name}/08-07-2016-DDSM-NA-{study_uid[-5:]}/1.000000-{description}-{series_uid[-5:]}"
    return f"{name}/{study_uid}/{series_uid}"


def _file_name(number: int, layout: Layout) -> str:
    return f"{number:06d}.dcm" if layout is Layout.OLD else f"1-{number + 1}.dcm"


def _uid(kind: int, *names: str) -> str:
    return fake_uid(kind, zlib.crc32("/".join(names).encode()))
