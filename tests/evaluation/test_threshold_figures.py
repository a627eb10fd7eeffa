import numpy as np
import pytest

from calcseg_tf.evaluation.threshold_figures import threshold_figures

_SUMS = {
    "images": 4.0, "area_cm2": 8.0, "tp": 6.0, "fn": 2.0, "fp": 4.0, "tn": 88.0, "image_iou": 1.5,
    "image_iou_count": 3.0, "object_iou": 1.25, "objects": 5.0, "zamir.objects": 5.0, "zamir.detected": 4.0,
    "zamir.false_positives": 6.0, "picai.objects": 5.0, "picai.detected": 2.0, "picai.false_positives": 3.0,
}  # fmt: skip


def _figures(area_reason=""):
    return {figure.path: figure for figure in threshold_figures(("zamir", "picai"), "zamir", area_reason)}


def test_every_figure_is_the_fraction_that_its_sentence_says():
    sums = {name: np.array(value) for name, value in _SUMS.items()}
    values = {path: float(figure.compute(sums)) for path, figure in _figures().items()}
    assert values == pytest.approx({
        "at_threshold.sensitivity": 4 / 5,
        "at_threshold.false_positives_per_image": 6 / 4,
        "at_threshold.false_positives_per_cm2": 6 / 8,
        "at_threshold.dice": 12 / 18,
        "at_threshold.iou": 6 / 12,
        "at_threshold.object_iou": 1.25 / 5,
        "at_threshold.mean_iou_classes": (6 / 12 + 88 / 94) / 2,
        "at_threshold.mean_iou_images": 1.5 / 3,
        "froc.zamir.at_threshold.sensitivity": 4 / 5,
        "froc.zamir.at_threshold.false_positives_per_image": 6 / 4,
        "froc.zamir.at_threshold.false_positives_per_cm2": 6 / 8,
        "froc.picai.at_threshold.sensitivity": 2 / 5,
        "froc.picai.at_threshold.false_positives_per_image": 3 / 4,
        "froc.picai.at_threshold.false_positives_per_cm2": 3 / 8,
    })  # fmt: skip


def test_resamples_go_through_the_same_formulas_one_by_one():
    rng = np.random.default_rng(0)
    samples = {name: rng.integers(0, 4, 50).astype(float) for name in _SUMS}
    for figure in _figures().values():
        each = [float(figure.compute({name: values[index] for name, values in samples.items()})) for index in range(50)]
        np.testing.assert_array_equal(figure.compute(samples), each)


def test_nothing_annotated_and_nothing_predicted_is_undefined_and_a_miss_is_zero():
    empty = {name: np.array(0.0) for name in _SUMS} | {"images": np.array(2.0), "tn": np.array(9.0)}
    missed = empty | {name: np.array(1.0) for name in ("fn", "objects", "zamir.objects", "image_iou_count")}
    figures = _figures()
    for name in ("sensitivity", "dice", "iou", "object_iou", "mean_iou_classes", "mean_iou_images"):
        figure = figures[f"at_threshold.{name}"]
        assert np.isnan(figure.compute(empty)), name
        assert figure.reason
        assert figure.compute(missed) == (0.9 / 2 if name == "mean_iou_classes" else 0.0), name
    assert figures["at_threshold.false_positives_per_image"].compute(empty) == 0.0


def test_without_every_breasts_area_there_is_no_figure_per_cm2():
    figures = _figures("the breast area of 1 of 4 images is unknown")
    figure = figures["at_threshold.false_positives_per_cm2"]
    assert np.isnan(figure.compute({name: np.array([value, value]) for name, value in _SUMS.items()})).all()
    assert figure.reason == "the breast area of 1 of 4 images is unknown"
