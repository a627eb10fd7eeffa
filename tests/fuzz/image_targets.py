"""Targets that are one file of an image: mammograms and masks."""

import dataclasses
import io
import pathlib
import random
import struct
from collections.abc import Callable, Sequence

import numpy as np
import pydicom

from data_prep.annotation import Annotation, MaskImages
from data_prep.conversion.shards import Job, make_record, rejection
from data_prep.datasets import Case, Overrides
from data_prep.datasets.dicom_series import index_series
from data_prep.datasets.files import may_be_dicom
from data_prep.dicom.header import STORED_VALUES, ReadOptions, read_header, read_identifiers
from data_prep.errors import InputError
from data_prep.png import MAX_PIXELS
from tests.fakes.folder import fake_pixels, write_png
from tests.fuzz.binary_edits import edit_npy, edit_png, edit_tiff
from tests.fuzz.dicom_edits import TOKENS, edit_dicom
from tests.fuzz.image_seeds import (
    SERIES_UID,
    SIZE,
    bomb_png,
    dicom_seeds,
    heavy_dicoms,
    mask_png_seeds,
    npy_seeds,
    odd_dicoms,
    odd_npys,
    odd_pngs,
    odd_segmentations,
    png_seeds,
    seg_seeds,
    tiff_seeds,
)  # fmt: skip
from tests.fuzz.oracle import Ending, WrongEndingError, check_error, check_line, check_record
from tests.fuzz.target import Target

__all__ = ["IMAGE_TARGETS", "read_case"]


@dataclasses.dataclass(frozen=True)
class _Blank:
    """An annotation that fits whatever size an image has."""

    def check(self, size: tuple[int, int]) -> None:
        pass

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        return np.zeros(size, np.uint8)

    def warnings(self, size: tuple[int, int]) -> tuple[str, ...]:
        return ()


def read_case(case: Case, options: ReadOptions = STORED_VALUES) -> Ending:
    """Reads one image with its annotation as a shard's writer does."""
    try:
        record, warnings = make_record(Job(case, "image", "patient", options))
    except InputError as error:
        check_error(error)
        check_line(rejection(case, error).reason)
        return Ending.REJECTION
    check_record(record)
    for told in warnings:
        check_line(told.warning)
    return Ending.RECORD


def _case(image: pathlib.Path, annotation: Annotation) -> Case:
    return Case("image", image.name, image, annotation, Overrides(patient="p"))


def _read_dicom(folder: pathlib.Path, data: bytes, rng: random.Random) -> Ending:
    path = folder / "canary.dcm"
    path.write_bytes(data)
    options = ReadOptions(for_processing=rng.random() < 0.3, voi_lut=rng.random() < 0.3)
    may_be_dicom(path)
    read_identifiers(path)
    for bad in index_series([path], folder, {SERIES_UID}).rejected:
        check_line(bad.reason)
    try:
        read_header(path, options)
        refused = False
    except InputError as error:
        check_error(error)
        refused = True
    ending = read_case(_case(path, _Blank()), options)
    if refused and ending is Ending.RECORD:
        raise WrongEndingError("the header alone is refused, the whole file is read")
    return ending


def _read_png(folder: pathlib.Path, data: bytes, _: random.Random) -> Ending:
    path = folder / "canary.png"
    path.write_bytes(data)
    return read_case(_case(path, _Blank()))


def _read_mask(suffix: str) -> Callable[[pathlib.Path, bytes, random.Random], Ending]:
    def attempt(folder: pathlib.Path, data: bytes, _: random.Random) -> Ending:
        path = folder / f"image_mask{suffix}"
        path.write_bytes(data)
        annotation = MaskImages(path, image=folder / "image.png")
        try:
            annotation.check(SIZE)
        except InputError as error:
            check_error(error)
            return Ending.REJECTION
        return read_case(_case(folder / "image.png", annotation))

    return attempt


def _write_image(folder: pathlib.Path) -> None:
    write_png(folder / "image.png", fake_pixels(0, bits=16))


def _dicom_pixels(data: bytes) -> int:
    dataset = pydicom.dcmread(io.BytesIO(data), force=True, stop_before_pixels=True, specific_tags=["Rows", "Columns"])
    return _allowed(int(dataset.Rows), int(dataset.Columns))


def _png_pixels(data: bytes) -> int:
    return _allowed(*struct.unpack_from(">II", data, 16))


def _allowed(rows: int, columns: int) -> int:
    return rows * columns if rows * columns <= MAX_PIXELS else 0


def _nothing(folder: pathlib.Path) -> None:
    pass


IMAGE_TARGETS: Sequence[Target] = (
    Target(
        name="dicom",
        make_seeds=lambda: [*dicom_seeds()],
        prepare=_nothing,
        attempt=_read_dicom,
        edits=(edit_dicom,),
        tokens=TOKENS,
        make_odd=lambda: [*odd_dicoms()],
        make_heavy=lambda: [*heavy_dicoms()],
        claimed_pixels=_dicom_pixels,
    ),
    Target(
        name="png",
        make_seeds=lambda: [*png_seeds()],
        prepare=_nothing,
        attempt=_read_png,
        edits=(edit_png,),
        make_odd=lambda: [*odd_pngs()],
        make_heavy=lambda: [bomb_png()],
        claimed_pixels=_png_pixels,
    ),
    Target(
        name="mask_png",
        make_seeds=lambda: [*mask_png_seeds()],
        prepare=_write_image,
        attempt=_read_mask(".png"),
        edits=(edit_png,),
        make_odd=lambda: [*odd_pngs()],
    ),
    Target(
        name="mask_tiff",
        make_seeds=lambda: [*tiff_seeds()],
        prepare=_write_image,
        attempt=_read_mask(".tif"),
        edits=(edit_tiff,),
    ),
    Target(
        name="mask_npy",
        make_seeds=lambda: [*npy_seeds()],
        prepare=_write_image,
        attempt=_read_mask(".npy"),
        edits=(edit_npy,),
        make_odd=lambda: [*odd_npys()],
    ),
    Target(
        name="mask_seg",
        make_seeds=lambda: [*seg_seeds()],
        prepare=_write_image,
        attempt=_read_mask(".dcm"),
        edits=(edit_dicom,),
        tokens=TOKENS,
        make_odd=lambda: [*odd_segmentations()],
    ),
)
