import subprocess
import sys

import numpy as np
import pytest

from calcseg_tf.evaluation import Evaluation, build_metrics, choose_threshold, summary_table
from data_prep import mask as mask_values
from data_prep.errors import InputError


def _image(rng: np.random.Generator, shape=(40, 50), calcifications=3) -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros(shape, np.uint8)
    for _ in range(calcifications):
        row, column = rng.integers(0, shape[0] - 2), rng.integers(0, shape[1] - 2)
        mask[row : row + 2, column : column + 2] = 1
    mask[: shape[0] // 4, : shape[1] // 4] = 255
    logit = rng.normal(-4, 2, shape) + 5 * (mask == 1)
    return (1 / (1 + np.exp(-logit))).astype(np.float32), mask


def _filled(order=range(6), **settings) -> Evaluation:
    evaluation = Evaluation(**settings)
    rng = np.random.default_rng(0)
    images = [_image(rng, calcifications=number % 4) for number in range(6)]
    for number in order:
        evaluation.add(*images[number], f"image{number}", f"patient{number // 2}", 100.0 + number)
    return evaluation


def test_a_tiny_case_gives_the_figures_drawn():
    # Patient a: found and one false alarm; patient b: missed, and one false alarm on ignored pixels, which is none.
    evaluation = Evaluation(extra_thresholds=[0.5])
    evaluation.add(np.array([[0.9, 0.0, 0.0, 0.8]], np.float32), np.array([[1, 0, 0, 0]], np.uint8), "1", "a", 200.0)
    evaluation.add(np.array([[0.2, 0.0, 0.0, 0.8]], np.float32), np.array([[1, 0, 0, 255]], np.uint8), "2", "b", 300.0)
    result = evaluation.result()
    at = result.at_threshold(0.5)
    assert result.calcifications == 2
    assert at.sensitivity.value == 1 / 2
    assert at.false_positives_per_image.value == 1 / 2
    assert at.false_positives_per_cm2.value == pytest.approx(1 / 5)
    assert at.dice.value == 2 / 4  # TP 1, FP 1, FN 1
    assert at.iou.value == 1 / 3
    assert result.roc_auc.value == pytest.approx(9 / 10)  # 0.9 beats five of five, 0.2 beats four of five
    assert result.average_precision.value == pytest.approx(1 / 2 * 1 / 1 + 1 / 2 * 2 / 3)
    written = build_metrics(result, 0.5)["at_threshold"]
    assert [written[key] for key in ("sensitivity", "false_positives_per_image", "dice", "iou")] == [
        0.5,
        0.5,
        0.5,
        1 / 3,
    ]
    table = [line.split() for line in summary_table(result, 0.5).splitlines()]
    assert table[0][:7] == ["2", "images", "of", "2", "patients,", "2", "calcifications;"]
    assert ["pixel", "ROC", "AUC", "0.9000"] in [line[:4] for line in table]
    assert table[-5:] == [
        ["at", "threshold", "0.5000:", "sensitivity", "0.5000"],
        ["false", "alarms", "/", "mammogram", "0.5000"],
        ["false", "alarms", "/", "cm2", "of", "breast", "0.2000"],
        ["pixel", "Dice", "0.5000"],
        ["pixel", "IoU", "0.3333"],
    ]


def test_the_order_of_the_images_changes_nothing():
    one = build_metrics(_filled().result(bootstrap_samples=50), _grid_threshold())
    two = build_metrics(_filled(order=[5, 2, 0, 3, 1, 4]).result(bootstrap_samples=50), _grid_threshold())
    assert one == two


def _grid_threshold() -> float:
    return float(_filled(order=[0]).result().froc.thresholds[60])


def test_codes_and_floats_give_the_same_result():
    rng = np.random.default_rng(1)
    probability, mask = _image(rng)
    as_floats, as_codes = Evaluation(), Evaluation()
    as_floats.add(probability, mask, "1", "a")
    as_codes.add(np.rint(probability * np.float32(65535)).astype(np.uint16), mask, "1", "a")
    one, two = (build_metrics(each.result(0), _grid_threshold()) for each in (as_floats, as_codes))
    assert one == two


def test_ignored_pixels_enter_no_score():
    rng = np.random.default_rng(2)
    probability, mask = _image(rng)
    results = []
    for value in (0.0, 0.5, 1.0):
        evaluation = Evaluation()
        evaluation.add(np.where(mask == mask_values.IGNORE, np.float32(value), probability), mask, "1", "a", 90.0)
        results.append(build_metrics(evaluation.result(0), _grid_threshold()))
    assert results[0] == results[1] == results[2]


def test_an_operating_threshold_off_the_grid_moves_no_curve():
    plain, extra = _filled().result(50), _filled(extra_thresholds=[0.4321]).result(50)
    np.testing.assert_array_equal(plain.froc.thresholds, extra.froc.thresholds)
    np.testing.assert_array_equal(plain.froc.false_positives_per_image, extra.froc.false_positives_per_image)
    assert plain.intervals == extra.intervals
    assert extra.at_threshold(0.4321).false_positives_per_image.value >= 0
    with pytest.raises(InputError, match=r"p = 0\.0025 up; found 0\.001"):
        plain.at_threshold(0.001)


def test_the_chosen_threshold_keeps_the_limit_and_is_the_operating_point():
    result = _filled().result(0)
    threshold = choose_threshold(result, 5.0)
    assert threshold == result.operating_point(5.0).threshold
    assert result.at_threshold(threshold).false_positives_per_image.value <= 5.0
    below = result.froc.false_positives_per_image[result.froc.thresholds < threshold]
    assert below[-1] > 5.0
    assert choose_threshold(result, 1e9) == result.froc.thresholds[0]


def test_no_threshold_within_the_limit_is_said():
    evaluation = Evaluation()
    evaluation.add(np.array([[1.0, 0.0, 1.0]], np.float32), np.zeros((1, 3), np.uint8), "1", "a")
    with pytest.raises(InputError, match="within 1; found 2 at the highest"):
        choose_threshold(evaluation.result(), 1.0)


def test_a_healthy_set_leaves_what_it_cannot_say_undefined_with_reasons():
    evaluation = Evaluation()
    for patient in "ab":
        evaluation.add(np.full((4, 4), 0.2, np.float32), np.zeros((4, 4), np.uint8), patient, patient)
    metrics = build_metrics(evaluation.result(20), _grid_threshold())
    assert metrics["pixel"]["roc_auc"] is None
    assert metrics["pixel"]["average_precision"] is None
    assert metrics["froc"]["zamir"]["sensitivity"] is None
    assert metrics["froc"]["zamir"]["false_positives_per_cm2"] is None
    assert metrics["froc"]["zamir"]["false_positives_per_image"][0] == 1.0
    assert metrics["at_threshold"]["sensitivity"] is None
    assert metrics["at_threshold"]["dice"] is None
    assert metrics["operating_points"]["1"] == {
        "threshold": None, "sensitivity": None, "false_positives_per_image": None,
    }  # fmt: skip
    assert metrics["confidence_intervals"]["pixel.roc_auc"] == {"low": None, "high": None, "samples": 0}
    for path in ("pixel.roc_auc", "pixel.average_precision", "froc.zamir.sensitivity", "at_threshold.dice"):
        assert "no calcification" in metrics["undefined"][path]
    assert metrics["undefined"]["froc.zamir.false_positives_per_cm2"] == "the breast area of 2 of 2 images is unknown"
    assert "n/a" in summary_table(evaluation.result(20), _grid_threshold())


def test_one_patient_has_figures_and_no_intervals():
    evaluation = Evaluation()
    rng = np.random.default_rng(4)
    for number in range(3):
        evaluation.add(*_image(rng), str(number), "a")
    metrics = build_metrics(evaluation.result(20), _grid_threshold())
    assert 0.5 < metrics["pixel"]["roc_auc"] < 1
    assert metrics["confidence_intervals"]["pixel.roc_auc"]["low"] is None
    assert "one patient" in metrics["undefined"]["confidence_intervals.pixel.roc_auc"]


def test_intervals_repeat_by_seed_and_hold_the_figure():
    one, two = _filled().result(200, seed=3), _filled().result(200, seed=3)
    assert one.intervals == two.intervals
    assert one.intervals != _filled().result(200, seed=4).intervals
    interval = one.intervals["pixel.roc_auc"]
    assert interval.low <= one.roc_auc.value <= interval.high
    assert interval.samples == 200


def test_equal_patients_leave_no_width():
    image = _image(np.random.default_rng(6))
    evaluation = Evaluation()
    for patient in "abc":
        evaluation.add(*image, patient, patient)
    result = evaluation.result(30)
    for limit in (5.0, 20.0):
        interval = result.intervals[f"operating_points.{limit:g}.sensitivity"]
        assert (interval.low, interval.high) == pytest.approx((result.sensitivity_at(limit).value,) * 2)
    for path, figure in (("pixel.roc_auc", result.roc_auc), ("pixel.average_precision", result.average_precision)):
        assert (result.intervals[path].low, result.intervals[path].high) == pytest.approx((figure.value,) * 2)


def test_connectivity_is_the_callers():
    mask = np.eye(3, dtype=np.uint8)
    for connectivity, count in ((8, 1), (4, 3)):
        evaluation = Evaluation(connectivity=connectivity)
        evaluation.add(np.zeros((3, 3), np.float32), mask, "1", "a")
        assert evaluation.result().calcifications == count


def test_bad_input_is_refused_and_leaves_no_trace():
    evaluation = Evaluation()
    good = np.zeros((2, 2), np.float32), np.zeros((2, 2), np.uint8)
    with pytest.raises(InputError, match="at least one image"):
        evaluation.result()
    with pytest.raises(InputError, match="x1: a mask is uint8"):
        evaluation.add(good[0], good[1][:1], "x1", "a")
    with pytest.raises(InputError, match="x1: a breast's area"):
        evaluation.add(*good, "x1", "a", 0.0)
    with pytest.raises(InputError, match="x1: probabilities"):
        evaluation.add(good[0] + 2, good[1], "x1", "a")
    evaluation.add(*good, "x1", "a")
    with pytest.raises(InputError, match="x1: an image is evaluated once"):
        evaluation.add(*good, "x1", "a")
    assert len(evaluation.result().images) == 1


def test_the_rooms_need_no_tensorflow():
    code = "import sys, calcseg_tf.evaluation, calcseg_tf.clinical; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
