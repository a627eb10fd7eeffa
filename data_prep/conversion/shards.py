"""Shards: what goes into one, what came of it, and the TFRecord file itself, which is whole or absent."""

import dataclasses
import hashlib
import pathlib
import re

import numpy as np

from data_prep.annotation import count_calcifications
from data_prep.datasets.case import Case
from data_prep.dicom.header import STORED_VALUES, ReadOptions
from data_prep.errors import InputError
from data_prep.mammogram import SpacingSource, read_mammogram
from data_prep.manifest import ImageWarning, Rejection, ShardInfo
from data_prep.schema import Record

__all__ = [
    "SHARD",
    "ImageFacts",
    "Job",
    "ShardResult",
    "ShardTask",
    "describe_record",
    "file_sha256",
    "make_record",
    "rejection",
    "shard_name",
]

SHARD = re.compile(r"(?:train|test)-\d{5}-of-\d{5}\.tfrecord")

_BLOCK_PX = 1 << 16  # as float64 they fit the cache; their squares sum up to less than 2^53


@dataclasses.dataclass(frozen=True)
class Job:
    """One image to convert, with the names that it leaves under."""

    case: Case
    image_id: str
    patient_id: str
    read_options: ReadOptions = STORED_VALUES


@dataclasses.dataclass(frozen=True)
class ShardTask:
    """One shard to write.

    Attributes:
        path: Its final name.
        split: "train" or "test".
        jobs: Its images in order.
        strict: Stop at the first bad file instead of leaving it out.
    """

    path: pathlib.Path
    split: str
    jobs: tuple[Job, ...]
    strict: bool = False


@dataclasses.dataclass(frozen=True)
class ImageFacts:
    """What the manifest sums up over images.

    Attributes:
        image_id: `image/id`.
        patient_id: `patient/id`.
        pixels: Height times width.
        calcifications: 8-connected components of the calcification pixels.
        intensity_sum: Sum of intensities in [0, 1] over all pixels.
        intensity_sum_of_squares: Sum of their squares.
    """

    image_id: str
    patient_id: str
    pixels: int
    calcifications: int
    intensity_sum: float
    intensity_sum_of_squares: float


@dataclasses.dataclass(frozen=True)
class ShardResult:
    """A shard as written."""

    info: ShardInfo
    facts: tuple[ImageFacts, ...]
    rejected: tuple[Rejection, ...]
    warnings: tuple[ImageWarning, ...] = ()


def shard_name(split: str, index: int, count: int) -> str:
    """Returns a shard's file name, such as "train-00000-of-00002.tfrecord"."""
    return f"{split}-{index:05d}-of-{count:05d}.tfrecord"


def file_sha256(path: pathlib.Path) -> str:
    """Returns the hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_record(job: Job) -> tuple[Record, tuple[ImageWarning, ...]]:
    """Reads one image with its annotation; returns the record and what both warn of.

    Raises:
        InputError: The image or its annotation cannot be used; `where` is the file.
    """
    case, overrides = job.case, job.case.overrides
    mammogram = read_mammogram(case.image, job.read_options)
    size = mammogram.pixels.shape[0], mammogram.pixels.shape[1]
    mask = case.annotation.mask(size)
    spacing, source = mammogram.pixel_spacing_mm, mammogram.spacing_source
    if overrides.pixel_spacing_mm is not None:
        spacing, source = overrides.pixel_spacing_mm, SpacingSource.CASES_CSV
    record = Record(
        pixels=mammogram.pixels,
        bits_stored=mammogram.bits_stored,
        mask=mask,
        image_id=job.image_id,
        patient_id=job.patient_id,
        laterality=(overrides.laterality or mammogram.laterality).value,
        view=(overrides.view or mammogram.view).value,
        pixel_spacing_mm=spacing,
        pixel_spacing_source=source.value,
        calcification_count=count_calcifications(mask),
        source_sha256=mammogram.source_sha256,
    )
    found = (*mammogram.warnings, *case.annotation.warnings(size))
    return record, tuple(ImageWarning(job.image_id, warning) for warning in found)


def describe_record(record: Record) -> ImageFacts:
    """Sums a record up; the sums are exact integers of stored values until the last division."""
    full_scale = (1 << record.bits_stored) - 1
    total = squares = 0
    pixels = record.pixels.ravel()
    for start in range(0, pixels.size, _BLOCK_PX):
        # Whole numbers below 2^53 are exact in float64 in whatever order they are summed.
        block = pixels[start : start + _BLOCK_PX].astype(np.float64)
        total += int(block.sum())
        squares += int(np.einsum("i,i->", block, block))  # BLAS would take the cores of the other workers
    return ImageFacts(
        image_id=record.image_id,
        patient_id=record.patient_id,
        pixels=int(record.pixels.size),
        calcifications=record.calcification_count,
        intensity_sum=total / full_scale,
        intensity_sum_of_squares=squares / full_scale**2,
    )


def rejection(case: Case, error: InputError) -> Rejection:
    """Returns why a case is left out; tells its mask's file by "<stem>", for the reason must not repeat a name."""
    if not error.where or pathlib.Path(error.where) == case.image:
        return Rejection(case.file, error.rule)
    other, stem = pathlib.Path(error.where).name, case.key.rpartition("/")[2]
    role = f"<stem>{other.removeprefix(stem)}" if other.startswith(stem) else "its annotation"
    return Rejection(case.file, f"{role}: {error.rule}")
