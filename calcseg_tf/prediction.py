"""Predicts files: DICOM or 16-bit PNG in, one result folder each."""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Sequence

import tqdm

from calcseg_tf.clinical import write_prediction
from calcseg_tf.inference.predictor import Predictor
from calcseg_tf.models import model_name
from data_prep.dicom.header import STORED_VALUES, ReadOptions
from data_prep.errors import InputError
from data_prep.mammogram import is_dicom, read_mammogram

__all__ = ["Failure", "find_images", "predict_files"]


@dataclasses.dataclass(frozen=True)
class Failure:
    """An input that gave no result, and why, on one line."""

    path: pathlib.Path
    reason: str


def find_images(source: pathlib.Path) -> list[pathlib.Path]:
    """Returns the file itself, or the DICOM and PNG files of a folder in order of name.

    Raises:
        InputError: Nothing there, or two files whose results would have the same name.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise InputError("--input must be a DICOM file, a PNG file or a folder of them; found nothing", source)
    files = sorted(path for path in source.iterdir() if path.is_file() and not path.name.startswith("."))
    images = [path for path in files if path.suffix.lower() == ".png" or _may_be_dicom(path)]
    if not images:
        raise InputError("the folder must hold a DICOM or PNG file; found none", source)
    by_stem: dict[str, pathlib.Path] = {}
    for path in images:
        if (other := by_stem.setdefault(path.stem, path)) != path:
            raise InputError(f"results are named by the stem, which {other.name} has too", path)
    return images


def _may_be_dicom(path: pathlib.Path) -> bool:
    try:
        return is_dicom(path)
    except OSError:
        return True  # an unreadable file is named among those without a result


def predict_files(
    predictor: Predictor,
    images: Sequence[pathlib.Path],
    output_dir: pathlib.Path,
    say: Callable[[str], None],
    options: ReadOptions = STORED_VALUES,
) -> list[Failure]:
    """Predicts each image and writes `<output_dir>/<stem>/`; a bad file stops no other.

    Args:
        predictor: The model.
        images: DICOM or PNG files whose stems differ.
        output_dir: Receives a folder an image.
        say: Takes a line an image, and one for each warning of it.
        options: How DICOM files are read; as the records were that the model was trained on.

    Returns:
        The images that gave no result.
    """
    failures = []
    for path in images:
        start = time.monotonic()
        try:
            mammogram = read_mammogram(path, options)
            for warning in mammogram.warnings:
                say(f"{path.name}: note: {warning}")
            intensity = mammogram.intensity()
            with tqdm.tqdm(total=len(intensity), unit="row", desc=path.name, leave=False) as bar:
                probability = predictor.probability(intensity, bar.update)
            statistics = write_prediction(
                output_dir,
                path.stem,
                intensity,
                probability,
                predictor.info.operating_threshold,
                mammogram.pixel_spacing_mm,
                mammogram.spacing_source,
                {
                    "name": model_name(predictor.info.model),
                    "operating_threshold_rule": predictor.info.operating_threshold_rule,
                    "training_data": dict(predictor.info.data),
                },
            )
            say(
                f"{path.name}: {statistics.count} calcifications in {intensity.size / 1e6:.1f} megapixels, "
                f"{time.monotonic() - start:.1f} s -> {output_dir / path.stem}"
            )
        except InputError as error:
            failures.append(Failure(path, str(error)))
    return failures
