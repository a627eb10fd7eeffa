"""The data set CBIS-DDSM (Lee et al., Scientific Data 4, 170177, 2017): digitised film with outlined regions.

Its tables (`cbis_tables.py`) name files that no download has under these names: `000000.dcm` became `1-1.dcm`, tools
nest and rename folders, and mask and crop, which share a series, are often the other way round. So files are joined by
Series Instance UID alone, and the mask of an abnormality is whatever file of its series has the size of the full
mammogram and two values.

A region outlines where calcifications are, not the single calcifications: by default it is ignored, and then no pixel
of the data set is a calcification. Outside the regions everything counts as background, though calcifications that were
not worth a row may lie there. Files of series that no row names, all of the mass cases among them, are passed over.
Every pixel spacing is unknown: nothing reliable is published.
"""

import dataclasses
import enum
import pathlib
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from data_prep.datasets.case import Case, Listing, Overrides
from data_prep.datasets.cbis_tables import BadRow, Row, read_tables
from data_prep.datasets.dicom_series import SeriesFile, SeriesIndex, index_series
from data_prep.datasets.files import require_folder, walk_files
from data_prep.errors import InputError
from data_prep.mammogram import read_mammogram
from data_prep.manifest import Rejection
from data_prep.mask import BACKGROUND, CALCIFICATION, IGNORE

__all__ = ["CbisDdsm", "RegionMasks", "Regions"]


class Regions(enum.Enum):
    """What the pixels of an outlined region are; the value is what `--cbis_regions` takes."""

    IGNORE = "ignore"
    CALCIFICATION = "calcification"


@dataclasses.dataclass(frozen=True)
class RegionMasks:
    """The regions of one image, an `Annotation`: the union over its abnormalities.

    Attributes:
        abnormalities: For each, the files of its series, among them the mask.
        regions: What their pixels are.
    """

    abnormalities: tuple[tuple[SeriesFile, ...], ...]
    regions: Regions

    def check(self, size: tuple[int, int]) -> None:
        """See `Annotation.check`."""
        for files in self.abnormalities:
            _of_size(files, size)

    def warnings(self, size: tuple[int, int]) -> tuple[str, ...]:
        """See `Annotation.warnings`: what is wrong with a mask rejects the image."""
        return ()

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        """See `Annotation.mask`."""
        mask = np.full(size, BACKGROUND, np.uint8)
        for files in self.abnormalities:
            _draw(_of_size(files, size), mask, IGNORE if self.regions is Regions.IGNORE else CALCIFICATION)
        return mask


@dataclasses.dataclass(frozen=True)
class CbisDdsm:
    """The calcification cases of CBIS-DDSM.

    Attributes:
        regions: What the pixels of an outlined region are.
    """

    name: ClassVar[str] = "cbis_ddsm"

    regions: Regions = Regions.IGNORE

    def list_cases(self, data_dir: pathlib.Path) -> Listing:
        """See `DataSet.list_cases`; reads the headers of all DICOM files, which alone tell their series."""
        require_folder(data_dir)
        paths = list(walk_files(data_dir))
        tables = read_tables(paths, data_dir)
        wanted = {uid for row in tables.rows for uid in (row.image_series, *row.mask_series)}
        index = index_series(paths, data_dir, wanted)
        images: dict[str, list[Row]] = {}
        names: dict[str, set[str]] = {}
        for row in tables.rows:
            images.setdefault(row.image, []).append(row)
            names.setdefault(row.image_series, set()).add(row.image)
        cases, rejected = [], list(index.rejected)
        located = images.keys() | names.keys()
        rejected.extend(Rejection(bad.place, bad.rule) for bad in tables.bad if not bad.names & located)
        for rows in images.values():
            file = _file(rows, names, index, data_dir)
            try:
                _check_rows(rows, names, tables.bad)
                cases.append(self._case(rows, file, index))
            except InputError as error:
                rejected.append(Rejection(file, error.rule))
        return Listing(tuple(sorted(cases, key=lambda case: case.key)), tuple(sorted(rejected)))

    def recorded(self) -> Mapping[str, object]:
        """See `DataSet.recorded`."""
        return {"cbis_regions": self.regions.value}

    def _case(self, rows: Sequence[Row], file: str, index: SeriesIndex) -> Case:
        first = rows[0]
        images = index.files.get(first.image_series, ())
        if len(images) != 1:
            raise InputError(
                f"{first.place}: the series of image file path must hold one DICOM image; found {len(images) or 'none'}"
            )
        abnormalities = []
        for row in rows:
            files = [file for uid in sorted(row.mask_series) for file in index.files.get(uid, ())]
            if not files:
                raise InputError(
                    f"{row.place}: the series of ROI mask file path must hold the mask; found no DICOM file"
                )
            abnormalities.append(tuple(files))
        return Case(
            key=first.image,
            file=file,
            image=images[0].path,
            annotation=RegionMasks(tuple(abnormalities), self.regions),
            overrides=Overrides(patient=first.patient, laterality=first.laterality, view=first.view),
        )


def _file(rows: Sequence[Row], names: Mapping[str, set[str]], index: SeriesIndex, data_dir: pathlib.Path) -> str:
    """Returns how the image is told to the user: by its file, or by its first row where that is not to be told."""
    series = rows[0].image_series
    files = index.files.get(series, ())
    if not files or names[series] != {rows[0].image} or any(row.image_series != series for row in rows):
        return rows[0].place
    return files[0].path.relative_to(data_dir).as_posix()


def _check_rows(rows: Sequence[Row], names: Mapping[str, set[str]], bad: Sequence[BadRow]) -> None:
    """Checks that the rows of an image are all of its rows, and its alone."""
    series = {row.image_series for row in rows}
    if len(series) > 1:
        raise InputError(f"{rows[0].place}: the rows of one view must name one series; found {len(series)}")
    if len(names[rows[0].image_series]) > 1:
        raise InputError(f"{rows[0].place}: a series is one view of one patient; found it named as several")
    for row in bad:
        if row.names & {rows[0].image, *series}:
            # Without this abnormality its region would pass for background.
            raise InputError(f"{row.place}: {row.rule}")


def _of_size(files: Sequence[SeriesFile], size: tuple[int, int]) -> list[SeriesFile]:
    """Returns the files that can be the mask by their size."""
    fitting = [file for file in files if file.size == size]
    if not fitting:
        found = " and ".join(f"{file.size[0]} x {file.size[1]}" for file in files)
        raise InputError(
            f"a mask must have the size of its image, {size[0]} x {size[1]} (rows x columns); found {found}",
            files[0].path,
        )
    return fitting


def _draw(files: Sequence[SeriesFile], mask: np.ndarray, value: int) -> None:
    """Sets `mask`, uint8 [height, width], to `value` where any of the files that are masks is set.

    Nearly always one file fits by its size; a second one is a crop or the mammogram itself where it has more values.
    """
    masks = 0
    for file in files:
        pixels = read_mammogram(file.path).pixels
        if pixels.shape != mask.shape:
            raise InputError("the file has changed since it was listed", file.path)
        # Not by counting every value, which takes eight bytes a pixel.
        drawn = pixels == pixels.max()
        if not drawn.all() and np.count_nonzero(drawn) == np.count_nonzero(pixels):
            mask[drawn] = value
            masks += 1
    if not masks:
        raise InputError(f"a mask has two values, 0 and another; found {len(np.unique(pixels))} values", file.path)
