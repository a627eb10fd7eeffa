import csv
import json

import numpy as np
import pytest
import sklearn.metrics
from PIL import Image

from calcseg_tf.evaluation import Evaluation, write_results
from calcseg_tf.evaluation.bootstrap import patient_weights
from calcseg_tf.evaluation.definitions import definition_of
from data_prep.command import DISCLAIMER
from data_prep.errors import InputError

SWEEPS = ("zamir", "hdogreg", "hdogreg_regions", "hdogreg_dots", "picai")

_FILES = {
    "metrics.json", "roc.csv", "precision_recall.csv", "pixels.csv", "bands.csv", "images.csv", "calcifications.csv",
    "candidates.csv", "candidates_picai.csv", "strata.csv", *(f"froc_{name}.csv" for name in SWEEPS),
}  # fmt: skip
_PLOTS = {
    f"{name}.{ending}"
    for name in (
        "froc_zamir",
        "froc_hdogreg",
        "froc_hdogreg_per_cm2",
        "froc_picai",
        "roc",
        "precision_recall",
        "strata",
    )
    for ending in ("png", "pdf")
}


def _result(healthy: bool = False, area: float | None = 150.0):
    rng = np.random.default_rng(5)
    evaluation = Evaluation(threshold=0.5)
    for number in range(4):
        mask = np.zeros((60, 60), np.uint8)
        if not healthy:
            mask[10 + number : 13 + number, 20:23] = mask[40, 40] = 1
        probability = 1 / (1 + np.exp(-rng.normal(-3, 1.5, mask.shape) - 4 * mask))
        evaluation.add(
            probability.astype(np.float32),
            mask,
            f"i{number}",
            f"p{number % 2}",
            area,
            view="CC",
            pixel_spacing_mm=(0.1, 0.1) if area else None,
        )
    return evaluation.result(bootstrap_samples=30)


def _read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _column(rows, name):
    return np.array([float(row[name]) for row in rows])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "new" / "folder"
    write_results(_result(), folder)
    return folder


def test_every_file_is_there_and_nothing_else(written):
    assert {path.name for path in written.iterdir()} == _FILES | _PLOTS
    for name in (name for name in _PLOTS if name.endswith(".png")):
        with Image.open(written / name) as image:
            assert np.asarray(image.convert("L")).std() > 5


def test_metrics_json_holds_the_contract(tmp_path):
    result = _result()
    returned = write_results(result, tmp_path, {"split": "test"}, plots=False)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics == returned
    assert metrics["images"] == 4
    assert metrics["patients"] == 2
    assert metrics["calcifications"] == 8
    assert set(metrics["pixel"]) >= {"roc_auc", "average_precision"}
    assert set(metrics["froc"]) == set(SWEEPS)
    for curve in metrics["froc"].values():
        lengths = {len(curve[key]) for key in (
            "thresholds", "sensitivity", "false_positives_per_image", "false_positives_per_cm2",
        )}  # fmt: skip
        assert len(lengths) == 1
        assert 2 < max(lengths) <= 200
        assert list(curve["operating_points_per_cm2"]) == ["0.1", "0.25", "0.5", "1"]
    assert list(metrics["operating_points"]) == ["0.5", "1", "2", "5", "10", "20"]
    assert metrics["operating_points"] == metrics["froc"]["zamir"]["operating_points"]
    assert set(metrics["at_threshold"]) == {
        "threshold", "sensitivity", "false_positives_per_image", "false_positives_per_cm2", "dice", "iou", "object_iou",
        "mean_iou_classes", "mean_iou_images",
    }  # fmt: skip
    assert abs(metrics["at_threshold"]["threshold"] - 0.5) < 1 / 65535
    bounds = metrics["rounding"]["pixel.roc_auc"]
    assert bounds["low"] <= metrics["pixel"]["roc_auc"] <= bounds["high"] < bounds["low"] + 1e-4
    assert metrics["context"] == {"split": "test"}
    assert metrics["disclaimer"] == DISCLAIMER
    assert "8-connected" in metrics["definitions"]["calcifications"]
    assert all(text.endswith(".") and "{" not in text for text in metrics["definitions"].values())


def _numbers(content, path=""):
    """Yields the path of every number, null where one could stand, and list of numbers."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _numbers(value, f"{path}.{key}" if path else key)
    elif content is None or isinstance(content, int | float | list):
        yield path


def test_every_figure_has_a_sentence_that_defines_it(tmp_path):
    metrics = write_results(_result(), tmp_path, plots=False)
    paths = list(_numbers({key: value for key, value in metrics.items() if key != "context"}))
    assert len(paths) > 200
    assert [path for path in paths if definition_of(path, metrics["definitions"]) is None] == []
    assert definition_of("pixel.no_such_figure", metrics["definitions"]) is None


def test_every_figure_has_an_interval(tmp_path):
    metrics = write_results(_result(), tmp_path, plots=False)
    intervals = metrics["confidence_intervals"]
    figures = {"pixel.roc_auc", "pixel.average_precision"}
    figures |= {f"at_threshold.{name}" for name in metrics["at_threshold"] if name != "threshold"}
    figures |= {f"operating_points.{limit}.sensitivity" for limit in metrics["operating_points"]}
    figures |= {"froc.hdogreg.partial_auc_per_image", "froc.hdogreg.partial_auc_per_cm2"}
    for protocol, found in metrics["froc"].items():
        figures |= {f"froc.{protocol}.at_threshold.{name}" for name in found["at_threshold"]}
        for points in ("operating_points", "operating_points_per_cm2"):
            figures |= {f"froc.{protocol}.{points}.{limit}.sensitivity" for limit in found[points]}
    for dimension, classes in metrics["strata"].items():
        figures |= {f"strata.{dimension}.{name}.sensitivity" for name in classes}
    assert set(intervals) == figures
    assert intervals["pixel.roc_auc"]["samples"] == intervals["pixel.average_precision"]["samples"] == 30
    for path, interval in intervals.items():
        assert (interval["low"] is None) == (f"confidence_intervals.{path}" in metrics["undefined"])


def test_what_is_undefined_is_null_with_a_reason(tmp_path):
    for number, result in enumerate((_result(), _result(area=None), _result(healthy=True))):
        metrics = write_results(result, tmp_path / str(number), plots=False)
        undefined = metrics["undefined"]
        for path in _numbers({key: value for key, value in metrics.items() if key != "context"}):
            value = metrics
            for key in _keys(metrics, path):
                value = value[key]
            is_said = any(path == each or path.startswith(f"{each}.") for each in undefined)
            assert (value is None) <= is_said, path
            assert value is None or path not in undefined, path


def _keys(content, path):
    """Parts a path into keys, some of which hold dots."""
    while path:
        key = max((key for key in content if path == key or path.startswith(f"{key}.")), key=len)
        yield key
        content, path = content[key], path[len(key) + 1 :]


def test_tables_are_read_back_to_the_same_numbers(tmp_path):
    result = _result()
    write_results(result, tmp_path, plots=False)
    for protocol, curve in result.froc.items():
        froc = _read(tmp_path / f"froc_{protocol}.csv")
        thresholds = _column(froc, "threshold")
        assert thresholds[-1] == 1.0
        # The row of a threshold is the lowest that is listed at or above it.
        rows = np.searchsorted(thresholds, curve.thresholds)
        for name in ("sensitivity", "false_positives_per_image", "false_positives_per_cm2"):
            np.testing.assert_array_equal(_column(froc, name)[rows], getattr(curve, name))
    roc = _read(tmp_path / "roc.csv")
    x, y = _column(roc, "false_positive_rate"), _column(roc, "true_positive_rate")
    assert (x[0], y[0], x[-1], y[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert len(roc) <= 2000
    assert sklearn.metrics.auc(x, y) == pytest.approx(result.roc_auc.value, abs=1e-3)
    curve = _read(tmp_path / "precision_recall.csv")
    recall, precision = _column(curve, "recall"), _column(curve, "precision")
    assert (recall[-1], precision[-1]) == (0.0, 1.0)
    assert -np.sum(np.diff(recall) * precision[:-1]) == pytest.approx(result.average_precision.value, abs=1e-2)
    bands = _read(tmp_path / "bands.csv")
    assert {row["curve"] for row in bands} == set(result.bands)
    band = [row for row in bands if row["curve"] == "roc"]
    np.testing.assert_array_equal(_column(band, "x"), result.bands["roc"].x)
    np.testing.assert_array_equal(_column(band, "high"), result.bands["roc"].high)


def test_the_figures_can_be_redone_from_the_tables_alone(tmp_path):
    result = _result()
    metrics = write_results(result, tmp_path, plots=False)
    at, threshold = metrics["at_threshold"], metrics["at_threshold"]["threshold"]
    images, found = _read(tmp_path / "images.csv"), _read(tmp_path / "calcifications.csv")
    candidates = _read(tmp_path / "candidates.csv")
    alarms = [row for row in candidates if row["kind"] == "false_alarm"]
    detected = _column(found, "detection_probability") >= threshold
    assert len(found) == metrics["calcifications"]
    assert detected.tolist() == [row["detected"] == "1" for row in found]
    assert at["sensitivity"] == detected.mean()
    assert at["false_positives_per_image"] == len(alarms) / len(images)
    assert at["false_positives_per_cm2"] == len(alarms) / (_column(images, "breast_area_mm2").sum() / 100)
    assert at["object_iou"] == pytest.approx(_column(found, "iou").mean(), abs=1e-15)
    tp, fn, fp, tn = (_column(images, f"{name}_px") for name in (
        "true_positive", "false_negative", "false_positive", "true_negative",
    ))  # fmt: skip
    assert at["dice"] == 2 * tp.sum() / (2 * tp.sum() + fp.sum() + fn.sum())
    iou = tp.sum() / (tp.sum() + fp.sum() + fn.sum())
    assert at["iou"] == iou
    assert at["mean_iou_classes"] == (iou + tn.sum() / (tn.sum() + fp.sum() + fn.sum())) / 2
    assert at["mean_iou_images"] == pytest.approx((tp / (tp + fp + fn)).mean(), abs=1e-15)

    pixels = _read(tmp_path / "pixels.csv")
    score = np.tile(_column(pixels, "probability"), 2)
    truth = np.repeat([1, 0], len(pixels))
    weight = np.append(_column(pixels, "calcification_pixels"), _column(pixels, "background_pixels"))
    assert metrics["pixel"]["roc_auc"] == pytest.approx(
        sklearn.metrics.roc_auc_score(truth, score, sample_weight=weight), abs=1e-12
    )
    assert metrics["pixel"]["average_precision"] == pytest.approx(
        sklearn.metrics.average_precision_score(truth, score, sample_weight=weight), abs=1e-12
    )

    # Any operating point of the FROC: its threshold from the curve, its sensitivity from the calcifications.
    froc = _read(tmp_path / "froc_zamir.csv")
    for limit, point in metrics["operating_points"].items():
        within = _column(froc, "false_positives_per_image") <= float(limit)
        kept = np.logical_and.accumulate(within[::-1])[::-1]
        assert point["sensitivity"] == _column(froc, "sensitivity")[kept].max()
        assert point["sensitivity"] == (_column(found, "detection_probability") >= point["threshold"]).mean()

    # The protocol picai at every threshold, from its candidates.
    candidates, froc = _read(tmp_path / "candidates_picai.csv"), _read(tmp_path / "froc_picai.csv")
    for kind, column in (("hit", "detected"), ("false_alarm", "false_positives")):
        scores = _column([row for row in candidates if row["kind"] == kind], "score")
        expected = [np.count_nonzero(scores >= threshold) for threshold in _column(froc, "threshold")]
        assert _column(froc, column).tolist() == expected

    # The interval of the sensitivity at the threshold, from patients and seed.
    patients = sorted({row["patient_id"] for row in images})
    member = np.array([[row["patient_id"] == patient for row in found] for patient in patients], float)
    weights = patient_weights(len(patients), metrics["bootstrap"]["samples"], metrics["bootstrap"]["seed"])
    samples = weights @ (member @ detected) / (weights @ member.sum(axis=1))
    interval = metrics["confidence_intervals"]["at_threshold.sensitivity"]
    np.testing.assert_allclose(np.quantile(samples, [0.025, 0.975]), [interval["low"], interval["high"]], atol=1e-12)

    strata = {row["class"]: row for row in _read(tmp_path / "strata.csv") if row["dimension"] == "area_px"}
    for name, low, high in (("1", 1, 1), ("5 to 9", 5, 9)):
        member = (_column(found, "area_px") >= low) & (_column(found, "area_px") <= high)
        assert (int(strata[name]["calcifications"]), int(strata[name]["detected"])) == (
            member.sum(),
            (member & detected).sum(),
        )


def test_the_rows_of_images_and_components_say_whose_they_are_and_where(tmp_path):
    result = _result()
    write_results(result, tmp_path, plots=False)
    images = _read(tmp_path / "images.csv")
    assert [row["image_id"] for row in images] == ["i0", "i2", "i1", "i3"]
    assert {(row["view"], row["height"], row["width"], row["pixel_spacing_row_mm"]) for row in images} == {
        ("CC", "60", "60", "0.1")
    }
    assert [float(row["breast_area_mm2"]) for row in images] == [150.0] * 4
    first, second = (row for row in _read(tmp_path / "calcifications.csv") if row["image_id"] == "i1")
    assert (first["row"], first["column"], first["area_px"], first["patient_id"]) == ("12.0", "21.0", "9", "p1")
    assert float(first["area_mm2"]) == pytest.approx(9 * 0.01)
    assert float(first["diameter_mm"]) == pytest.approx(2 * (0.09 / np.pi) ** 0.5)
    assert (second["row"], second["column"], second["area_px"]) == ("40.0", "40.0", "1")
    assert first["neighbours"] == second["neighbours"] == "1"  # 3.4 mm apart
    alarms = [row["image_id"] for row in _read(tmp_path / "candidates.csv") if row["kind"] == "false_alarm"]
    assert [alarms.count(row["image_id"]) for row in images] == [int(row["false_positives"]) for row in images]


def test_undefined_cells_are_empty(tmp_path):
    write_results(_result(healthy=True, area=None), tmp_path, plots=False)
    for protocol in SWEEPS:
        assert {row["sensitivity"] for row in _read(tmp_path / f"froc_{protocol}.csv")} == {""}
        assert {row["false_positives_per_cm2"] for row in _read(tmp_path / f"froc_{protocol}.csv")} == {""}
    assert {row["breast_area_mm2"] for row in _read(tmp_path / "images.csv")} == {""}
    assert {row["area_mm2"] for row in _read(tmp_path / "candidates.csv")} == {""}
    assert _read(tmp_path / "calcifications.csv") == []
    assert _read(tmp_path / "roc.csv") == []
    assert (tmp_path / "precision_recall.csv").read_text() == "threshold,recall,precision\n"
    assert {path.name for path in tmp_path.iterdir()} == _FILES


def test_the_same_result_gives_the_same_tables(written, tmp_path):  # figures: test_report, of records in another order
    write_results(_result(), tmp_path, plots=False)
    for name in _FILES:
        assert (written / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_an_older_evaluation_is_replaced_and_a_failed_one_leaves_it_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    write_results(_result(healthy=True), tmp_path, plots=False)
    write_results(_result(), tmp_path, plots=False)
    before = (tmp_path / "metrics.json").read_bytes()
    assert json.loads(before)["calcifications"] == 8
    with pytest.raises(ValueError, match="JSON"):
        write_results(_result(healthy=True), tmp_path, {"bad": float("nan")}, plots=False)
    assert (tmp_path / "metrics.json").read_bytes() == before
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        write_results(_result(), tmp_path / "file")
