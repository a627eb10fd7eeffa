"""Predicts one file: a DICOM or 16-bit PNG in, a result folder out."""

import contextlib
import dataclasses
import enum
import errno
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from calcseg_tf.clinical.dicom import DicomOptions, SourceImage, read_source
from calcseg_tf.clinical.results import require_replaceable, write_prediction
from data_prep.dicom.header import STORED_VALUES, ReadOptions
from data_prep.errors import InputError, UnfinishedError
from data_prep.mammogram import Mammogram, read_mammogram

__all__ = [
    "ImageJob",
    "Model",
    "ModelChangedError",
    "Outcome",
    "Settings",
    "Status",
    "describe_other_reading",
    "predict_image",
    "source_record",
]

# What the next image would meet as well: these end a run, other errors of the system cost their image alone.
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO}


class ModelChangedError(UnfinishedError):
    """The model is another than when the run began: what is left would get results of other weights."""

    def __init__(self, what: str, where: object = "") -> None:
        super().__init__(f"{what} changed during the run; --overwrite replaces the results of the model before", where)

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return UnfinishedError, (self.rule, self.where)  # in another process it is only told


class Model(Protocol):
    """What predicts: the network of this process, or one behind a server."""

    def probability(self, intensity: np.ndarray, progress: Callable[[int], None]) -> np.ndarray:
        """Returns float32 [height, width] in [0, 1], the probability that a pixel is part of a calcification.

        Args:
            intensity: float32 [height, width] in [0, 1].
            progress: Called with the number of rows done since the last call; may be left out.

        Raises:
            InputError: The image gets no answer; says why.
            UnfinishedError: No image gets one any more.
        """
        ...


@dataclasses.dataclass(frozen=True)
class ImageJob:
    """One image to predict.

    Attributes:
        path: Its file.
        name: What lists call it: its place below the folder that is predicted.
        result: The folder that receives its result.
    """

    path: pathlib.Path
    name: str
    result: pathlib.Path


@dataclasses.dataclass(frozen=True)
class Settings:
    """What decides a result beside the image.

    Attributes:
        threshold: The operating threshold, in (0, 1).
        model: What made the prediction, ready for JSON; tells these weights from others.
        read_options: How DICOM files are read; as the records were that the model was trained on.
        dicom: What goes into the DICOM results, which DICOM files alone have.
    """

    threshold: float
    model: Mapping[str, Any]
    read_options: ReadOptions = STORED_VALUES
    dicom: DicomOptions = DicomOptions()


class Status(enum.Enum):
    """What became of an image."""

    PREDICTED = "predicted"
    KEPT = "kept"  # its result was there
    FAILED = "failed"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of an image, and its figures.

    Attributes:
        job: The image.
        status: Whether there is a result.
        reason: Why there is none, on one line; "" where there is one.
        count: Calcifications; None without a result.
        megapixels: Of the image; None without a result.
        seconds: Spent on it in this run; None where it was kept.
        notes: What a person should know before relying on it.
    """

    job: ImageJob
    status: Status
    reason: str = ""
    count: int | None = None
    megapixels: float | None = None
    seconds: float | None = None
    notes: tuple[str, ...] = ()


def describe_other_reading(model: Mapping[str, Any], options: ReadOptions) -> str:
    """Returns what to tell where DICOM files are read otherwise than a model's training records were, "" elsewhere.

    Args:
        model: As in `Settings`.
        options: Likewise.
    """
    if model.get("training_data", {}).get("voi_lut") and not options.voi_lut:
        return "the model learned from records made with --voi_lut; without it DICOM files are other images to it"
    return ""


def source_record(sha256: str, settings: Settings) -> dict[str, object]:
    """Returns what statistics.json holds of the file and how it was taken, but for the notes on it, ready for JSON."""
    return {"sha256": sha256, **dataclasses.asdict(settings.read_options), **dataclasses.asdict(settings.dicom)}


def predict_image(
    model: Model,
    job: ImageJob,
    settings: Settings,
    progress: Callable[[float], None] = lambda _: None,
    local_work: contextlib.AbstractContextManager[object] | None = None,
) -> Outcome:
    """Predicts an image and writes its result folder; whatever is wrong with the image is told in what it returns.

    Args:
        model: Predicts.
        job: The image.
        settings: What decides the result.
        progress: Called with the share of the image that was done since the last call; the shares sum to at most 1.
        local_work: Held while the file is read and the result is measured, drawn and written, but not while the model
            predicts; a lock, where several threads predict.

    Raises:
        OSError: The result cannot be written, for a reason that the next image would meet as well.
        UnfinishedError: The model is gone.
    """
    start = time.monotonic()
    guard = local_work or contextlib.nullcontext()
    try:
        with guard:
            require_replaceable(job.result)
            mammogram = read_mammogram(job.path, settings.read_options)
            source = read_source(job.path, mammogram, settings.dicom.show_patient)
            intensity = mammogram.intensity()
        probability = model.probability(intensity, lambda rows: progress(rows / len(intensity)))
        with guard:
            count = _write(job, settings, mammogram, source, intensity, probability)
    except UnfinishedError:
        raise
    except InputError as error:
        return Outcome(job, Status.FAILED, error.rule)
    except OSError as error:
        if error.errno in _OF_THE_DISK:
            raise
        return Outcome(job, Status.FAILED, f"the result cannot be written ({error.strerror or type(error).__name__})")
    except Exception as error:  # of a library or of this program: it costs one image, not the thousands after it
        return Outcome(job, Status.FAILED, _told(error))
    seconds = time.monotonic() - start
    return Outcome(job, Status.PREDICTED, "", count, intensity.size / 1e6, seconds, _notes(mammogram, source))


def _notes(mammogram: Mammogram, source: SourceImage | None) -> tuple[str, ...]:
    return (*mammogram.warnings, *(() if source is None else source.notes))


def _write(
    job: ImageJob,
    settings: Settings,
    mammogram: Mammogram,
    source: SourceImage | None,
    intensity: np.ndarray,
    probability: np.ndarray,
) -> int:
    statistics = write_prediction(
        job.result.parent,
        job.result.name,
        intensity,
        probability,
        settings.threshold,
        mammogram.pixel_spacing_mm,
        mammogram.spacing_source,
        settings.model,
        {**source_record(mammogram.source_sha256, settings), "notes": list(_notes(mammogram, source))},
        source,
        settings.dicom.fractional_segmentation,
    )
    return statistics.count


def _told(error: Exception) -> str:
    """Returns kind and place of an unexpected error: its text may hold what a header held."""
    trace = error.__traceback__
    place = ""
    while trace is not None:
        place = f"{pathlib.PurePath(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return f"unexpected {type(error).__name__} ({place})"
