import csv
import json

import numpy as np
import pytest
import sklearn.metrics
from PIL import Image

from calcseg_tf.evaluation import Evaluation, write_results
from data_prep.command import DISCLAIMER
from data_prep.errors import InputError

_FILES = {
    "metrics.json", "froc.csv", "roc.csv", "precision_recall.csv", "images.csv", "froc.png", "froc.pdf", "roc.png",
    "roc.pdf", "precision_recall.png", "precision_recall.pdf",
}  # fmt: skip


def _result(healthy: bool = False, area: float | None = 150.0):
    rng = np.random.default_rng(5)
    evaluation = Evaluation(extra_thresholds=[0.5])
    for number in range(4):
        mask = np.zeros((60, 60), np.uint8)
        if not healthy:
            mask[10 + number : 13 + number, 20:23] = mask[40, 40] = 1
        probability = 1 / (1 + np.exp(-rng.normal(-3, 1.5, mask.shape) - 4 * mask))
        evaluation.add(probability.astype(np.float32), mask, f"i{number}", f"p{number % 2}", area)
    return evaluation.result(bootstrap_samples=30)


def _read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _column(rows, name):
    return np.array([float(row[name]) for row in rows])


def test_every_file_is_there_and_nothing_else(tmp_path):
    write_results(_result(), tmp_path / "new" / "folder", 0.5)
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == _FILES
    for name in ("froc", "roc", "precision_recall"):
        with Image.open(tmp_path / "new" / "folder" / f"{name}.png") as image:
            assert np.asarray(image.convert("L")).std() > 5


def test_metrics_json_holds_the_contract(tmp_path):
    result = _result()
    returned = write_results(result, tmp_path, 0.5, {"split": "test"}, plots=False)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics == returned
    assert metrics["images"] == 4
    assert metrics["patients"] == 2
    assert metrics["calcifications"] == 8
    assert set(metrics["pixel"]) >= {"roc_auc", "average_precision"}
    curve = metrics["froc"]["zamir"]
    lengths = {len(curve[key]) for key in (
        "thresholds", "sensitivity", "false_positives_per_image", "false_positives_per_cm2",
    )}  # fmt: skip
    assert lengths == {99}
    assert list(metrics["operating_points"]) == ["0.5", "1", "2", "5", "10", "20"]
    assert set(metrics["at_threshold"]) == {
        "threshold", "sensitivity", "false_positives_per_image", "false_positives_per_cm2", "dice", "iou",
    }  # fmt: skip
    assert abs(metrics["at_threshold"]["threshold"] - 0.5) < 1 / 65535
    assert metrics["confidence_intervals"]["pixel.average_precision"]["samples"] == 30
    assert metrics["context"] == {"split": "test"}
    assert metrics["disclaimer"] == DISCLAIMER
    assert metrics["undefined"] == {}
    assert all(text.endswith(".") and "{" not in text for text in metrics["definitions"].values())
    assert "8-connected" in metrics["definitions"]["calcifications"]


def test_tables_are_read_back_to_the_same_numbers(tmp_path):
    result = _result()
    write_results(result, tmp_path, 0.5, plots=False)
    froc = _read(tmp_path / "froc.csv")
    for name in ("sensitivity", "false_positives_per_image", "false_positives_per_cm2"):
        np.testing.assert_array_equal(_column(froc, name), getattr(result.froc, name))
    np.testing.assert_array_equal(_column(froc, "threshold"), result.froc.thresholds)
    roc = _read(tmp_path / "roc.csv")
    x, y = _column(roc, "false_positive_rate"), _column(roc, "true_positive_rate")
    assert (x[0], y[0], x[-1], y[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert len(roc) <= 2000
    assert sklearn.metrics.auc(x, y) == pytest.approx(result.roc_auc.value, abs=1e-3)
    curve = _read(tmp_path / "precision_recall.csv")
    recall, precision = _column(curve, "recall"), _column(curve, "precision")
    assert (recall[-1], precision[-1]) == (0.0, 1.0)
    assert -np.sum(np.diff(recall) * precision[:-1]) == pytest.approx(result.average_precision.value, abs=1e-2)
    images = _read(tmp_path / "images.csv")
    assert [row["image_id"] for row in images] == ["i0", "i2", "i1", "i3"]
    at = result.at_threshold(0.5)
    assert sum(int(row["detected"]) for row in images) == at.sensitivity.value * 8
    assert sum(int(row["false_positives"]) for row in images) == at.false_positives_per_image.value * 4
    assert [float(row["breast_area_mm2"]) for row in images] == [150.0] * 4


def test_undefined_cells_are_empty_and_figures_are_still_drawn(tmp_path):
    write_results(_result(healthy=True, area=None), tmp_path, 0.5)
    assert {row["sensitivity"] for row in _read(tmp_path / "froc.csv")} == {""}
    assert {row["false_positives_per_cm2"] for row in _read(tmp_path / "froc.csv")} == {""}
    assert {row["breast_area_mm2"] for row in _read(tmp_path / "images.csv")} == {""}
    assert _read(tmp_path / "roc.csv") == []
    assert (tmp_path / "precision_recall.csv").read_text() == "threshold,recall,precision\n"
    assert {path.name for path in tmp_path.iterdir()} == _FILES


def test_the_same_result_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_results(_result(), tmp_path / name, 0.5)
    for name in _FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_an_older_evaluation_is_replaced_and_a_failed_one_leaves_it_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    write_results(_result(healthy=True), tmp_path, 0.5, plots=False)
    write_results(_result(), tmp_path, 0.5, plots=False)
    before = (tmp_path / "metrics.json").read_bytes()
    assert json.loads(before)["calcifications"] == 8
    with pytest.raises(ValueError, match="JSON"):
        write_results(_result(healthy=True), tmp_path, 0.5, {"bad": float("nan")}, plots=False)
    assert (tmp_path / "metrics.json").read_bytes() == before
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        write_results(_result(), tmp_path / "file", 0.5)
