"""The tables of an evaluation as CSV: every curve, image and component, so that anyone can redo the statistics.

Numbers are written in full and re-read to the same float64; an empty cell is undefined.
"""

import pathlib
from collections.abc import Iterable, Iterator

import numpy as np

from calcseg_tf.evaluation.evaluation_result import PRIMARY, EvaluationResult
from calcseg_tf.evaluation.image_score import ImageResult
from calcseg_tf.evaluation.objects import KINDS
from calcseg_tf.evaluation.pixel_curves import DRAWN_POINTS, Curve, thin
from calcseg_tf.evaluation.protocols import picai
from calcseg_tf.evaluation.strata import diameter_mm
from calcseg_tf.probability_map import FULL_SCALE
from data_prep.tables import write_table

__all__ = ["write_tables"]

_CASE = ("image_id", "patient_id", "laterality", "view")

Row = tuple[object, ...]


def write_tables(result: EvaluationResult, folder: pathlib.Path) -> None:
    """Writes every table into a folder.

    `froc_<protocol>.csv`: one row for each threshold at which something changes as it falls; up to the next lower
    row's nothing does. `pixels.csv`: how many calcification and background pixels have each probability, from which AUC
    and average precision follow. `roc.csv`, `precision_recall.csv`: at most 2,000 points, evenly along the drawn curve,
    both ends included; the threshold `inf` is where nothing is predicted. `bands.csv`: intervals along the curves.
    `images.csv`, `calcifications.csv` (every annotated one), `candidates.csv` (every component predicted at the
    operating threshold), `candidates_picai.csv` (every candidate of that protocol with its score), `strata.csv`.

    Args:
        result: What was evaluated.
        folder: Exists.
    """
    for protocol in result.protocols:
        _write_froc(result, protocol, folder / f"froc_{protocol}.csv")
    _write_pixels(result, folder / "pixels.csv")
    rates, scores = ("false_positive_rate", "true_positive_rate"), ("recall", "precision")
    _write_pixel_curve(result.roc_curve, rates, folder / "roc.csv", logarithmic=True)
    _write_pixel_curve(result.precision_recall_curve, scores, folder / "precision_recall.csv", logarithmic=False)
    _write_bands(result, folder / "bands.csv")
    _write_images(result, folder / "images.csv")
    _write_calcifications(result, folder / "calcifications.csv")
    _write_candidates(result, folder / "candidates.csv")
    if picai.NAME in result.protocols:
        _write_scored_candidates(result, folder / "candidates_picai.csv")
    _write_strata(result, folder / "strata.csv")


def _write_froc(result: EvaluationResult, protocol: str, path: pathlib.Path) -> None:
    curve, sweep = result.froc[protocol], result.sweeps[protocol]
    detected, alarms = sweep.detected, sweep.false_positives
    kept = np.append((np.diff(detected) != 0) | (np.diff(alarms) != 0), True)
    undefined = np.full(len(alarms), np.nan)
    columns = (
        curve.thresholds,
        detected,
        alarms,
        undefined if curve.sensitivity is None else curve.sensitivity,
        curve.false_positives_per_image,
        undefined if curve.false_positives_per_cm2 is None else curve.false_positives_per_cm2,
    )
    header = (
        "threshold", "detected", "false_positives", "sensitivity", "false_positives_per_image",
        "false_positives_per_cm2",
    )  # fmt: skip
    _write_csv(path, header, _rows(*(column[kept] for column in columns)))


def _write_pixels(result: EvaluationResult, path: pathlib.Path) -> None:
    positive, negative = result.pixels
    codes = np.flatnonzero(positive + negative)
    header = ("probability", "calcification_pixels", "background_pixels")
    _write_csv(path, header, _rows(codes / FULL_SCALE, positive[codes], negative[codes]))


def _write_pixel_curve(curve: Curve | None, axes: tuple[str, str], path: pathlib.Path, logarithmic: bool) -> None:
    rows: Iterable[Row] = ()
    if curve is not None:
        kept = thin(curve.x, curve.y, DRAWN_POINTS, logarithmic)
        rows = _rows(curve.thresholds[kept], curve.x[kept], curve.y[kept])
    _write_csv(path, ("threshold", *axes), rows)


def _write_bands(result: EvaluationResult, path: pathlib.Path) -> None:
    _write_csv(path, ("curve", "x", "value", "low", "high"), (
        (name, *row) for name, band in result.bands.items() for row in _rows(band.x, band.value, band.low, band.high)
    ))  # fmt: skip


def _write_images(result: EvaluationResult, path: pathlib.Path) -> None:
    header = (
        *_CASE, "height", "width", "pixel_spacing_row_mm", "pixel_spacing_column_mm", "breast_area_mm2",
        "calcifications", "detected", "false_positives", "true_positive_px", "false_negative_px", "false_positive_px",
        "true_negative_px", "iou",
        *(f"{name}_{count}" for name in result.protocols for count in ("objects", "detected", "false_positives")),
    )  # fmt: skip
    _write_csv(path, header, (_image_row(result, image) for image in result.images))


def _image_row(result: EvaluationResult, image: ImageResult) -> Row:
    primary = image.protocols[PRIMARY]
    return (
        *_case_cells(image), image.height, image.width, *(image.case.pixel_spacing_mm or (None, None)),
        image.case.breast_area_mm2, len(image.calcifications), primary.detected, primary.false_positives,
        image.true_positive_px, image.false_negative_px, image.false_positive_px, image.true_negative_px, image.iou,
        *(
            count
            for name in result.protocols
            for each in [image.protocols[name]]
            for count in (each.objects, each.detected, each.false_positives)
        ),
    )  # fmt: skip


def _write_calcifications(result: EvaluationResult, path: pathlib.Path) -> None:
    header = (
        *_CASE, "row", "column", "area_px", "area_mm2", "diameter_mm", "detection_probability", "detected",
        "neighbours", "iou",
    )  # fmt: skip

    def rows() -> Iterator[Row]:
        for image in result.images:
            found, spacing = image.calcifications, image.case.pixel_spacing_mm
            unknown = np.full(len(found), np.nan)
            for row in _rows(
                found.row,
                found.column,
                found.area_px,
                _area_mm2(found.area_px, spacing),
                unknown if spacing is None else diameter_mm(found.area_px, spacing),
                found.detection_code / FULL_SCALE,
                (found.detection_code >= result.code).astype(int),
                found.neighbours,
                found.iou,
            ):
                yield *_case_cells(image), *row

    _write_csv(path, header, rows())


def _write_candidates(result: EvaluationResult, path: pathlib.Path) -> None:
    header = (*_CASE, "row", "column", "area_px", "area_mm2", "max_probability", "kind")

    def rows() -> Iterator[Row]:
        for image in result.images:
            found = image.candidates
            area_mm2 = _area_mm2(found.area_px, image.case.pixel_spacing_mm)
            kinds = np.array(KINDS)[found.kind]
            for row in _rows(found.row, found.column, found.area_px, area_mm2, found.code / FULL_SCALE, kinds):
                yield *_case_cells(image), *row

    _write_csv(path, header, rows())


def _write_scored_candidates(result: EvaluationResult, path: pathlib.Path) -> None:
    header = (*_CASE, "score", "area_px", "iou", "kind")

    def rows() -> Iterator[Row]:
        for image in result.images:
            found = image.scored_candidates
            assert found is not None
            kinds = np.where(found.match >= 0, "hit", np.where(found.is_false_alarm, "false_alarm", "neither"))
            for row in _rows(found.score_code / FULL_SCALE, found.area_px, found.iou, kinds):
                yield *_case_cells(image), *row

    _write_csv(path, header, rows())


def _write_strata(result: EvaluationResult, path: pathlib.Path) -> None:
    header = ("dimension", "class", "calcifications", "detected", "sensitivity", "low", "high")
    _write_csv(path, header, (
        (stratum.dimension, stratum.name, stratum.objects, stratum.detected, result.figures[stratum.path].value,
         result.intervals[stratum.path].low, result.intervals[stratum.path].high)
        for stratum in result.strata
    ))  # fmt: skip


def _case_cells(image: ImageResult) -> Row:
    case = image.case
    return case.image_id, case.patient_id, case.laterality, case.view


def _area_mm2(area_px: np.ndarray, spacing: tuple[float, float] | None) -> np.ndarray:
    return np.full(len(area_px), np.nan) if spacing is None else area_px * (spacing[0] * spacing[1])


def _rows(*columns: np.ndarray) -> Iterator[Row]:
    return zip(*(column.tolist() for column in columns), strict=True)


def _write_csv(path: pathlib.Path, header: tuple[str, ...], rows: Iterable[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        write_table(file, header, rows)
