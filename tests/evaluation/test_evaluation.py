import subprocess
import sys

import numpy as np
import pytest

from calcseg_tf.evaluation import Evaluation, build_metrics, choose_threshold, summary_table, write_results
from calcseg_tf.evaluation.froc import LOWEST_CODE
from calcseg_tf.evaluation.uncertainty import weigh
from data_prep import mask as mask_values
from data_prep.errors import InputError


def _image(rng: np.random.Generator, shape=(40, 50), calcifications=3) -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros(shape, np.uint8)
    for _ in range(calcifications):
        row, column = rng.integers(0, shape[0] - 2), rng.integers(0, shape[1] - 2)
        mask[row : row + 2, column : column + 2] = 1
        mask[-1, 3 * row % shape[1]] = 1  # and a dot
    mask[: shape[0] // 4, : shape[1] // 4] = 255
    logit = rng.normal(-4, 2, shape) + 5 * (mask == 1)
    return (1 / (1 + np.exp(-logit))).astype(np.float32), mask


_IMAGES = [_image(np.random.default_rng(number), calcifications=number % 4) for number in range(6)]


def _fill(evaluation: Evaluation, order=range(6)) -> Evaluation:
    for number in order:
        evaluation.add(
            *_IMAGES[number],
            f"image{number}",
            f"patient{number // 2}",
            100.0 + number / 7,
            laterality="LR"[number % 2],
            view=("CC", "MLO", "")[number % 3],
            pixel_spacing_mm=(0.07, 0.08),
        )
    return evaluation


def _filled(**settings) -> Evaluation:
    return _fill(Evaluation(**settings))


def test_a_tiny_case_gives_the_figures_drawn():
    # Patient a: found and one false alarm; patient b: missed, and one false alarm on ignored pixels, which is none.
    evaluation = Evaluation(threshold=0.5)
    evaluation.add(np.array([[0.9, 0.0, 0.0, 0.8]], np.float32), np.array([[1, 0, 0, 0]], np.uint8), "1", "a", 200.0)
    evaluation.add(np.array([[0.2, 0.0, 0.0, 0.8]], np.float32), np.array([[1, 0, 0, 255]], np.uint8), "2", "b", 300.0)
    result = evaluation.result()
    assert result.calcifications == 2
    expected = {
        "pixel.roc_auc": 9 / 10,  # 0.9 beats five of five, 0.2 beats four of five
        "pixel.average_precision": 1 / 2 * 1 / 1 + 1 / 2 * 2 / 3,
        "at_threshold.sensitivity": 1 / 2,
        "at_threshold.false_positives_per_image": 1 / 2,
        "at_threshold.false_positives_per_cm2": 1 / 5,
        "at_threshold.dice": 2 / 4,  # TP 1, FP 1, FN 1, TN 4
        "at_threshold.iou": 1 / 3,
        "at_threshold.object_iou": (1 / 1 + 0) / 2,
        "at_threshold.mean_iou_classes": (1 / 3 + 4 / 6) / 2,
        "at_threshold.mean_iou_images": (1 / 2 + 0 / 1) / 2,
    }
    metrics = build_metrics(result)
    for path, value in expected.items():
        assert result.figures[path].value == pytest.approx(value, abs=1e-15), path
        group, name = path.split(".")
        assert metrics[group][name] == result.figures[path].value
    table = [line.split() for line in summary_table(result).splitlines()]
    assert table[0][:6] == ["2", "images,", "2", "patients,", "2", "calcifications;"]
    assert ["pixel", "ROC", "AUC", "0.9000"] in [line[:4] for line in table]
    assert ["false", "alarms", "/", "cm2", "of", "breast", "0.2000"] in [line[:7] for line in table]
    assert ["pixel", "Dice", "0.5000"] in [line[:3] for line in table]


def test_the_order_of_the_images_changes_nothing():
    one = build_metrics(_filled().result(bootstrap_samples=50))
    two = build_metrics(_fill(Evaluation(), [5, 2, 0, 3, 1, 4]).result(bootstrap_samples=50))
    assert one == two


def test_the_number_of_workers_changes_nothing(tmp_path):
    write_results(_filled().result(bootstrap_samples=50), tmp_path / "one", plots=False)
    with Evaluation(workers=2) as evaluation:
        result = _fill(evaluation, [3, 0, 4, 5, 1, 2]).result(bootstrap_samples=50)
    write_results(result, tmp_path / "two", plots=False)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir())
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_a_worker_that_is_ended_is_one_line():
    with Evaluation(workers=2) as evaluation:
        _fill(evaluation, [0, 1, 2])
        for process in list(evaluation._pool._processes.values()):
            process.kill()
        with pytest.raises(InputError, match="worker processes; one was ended"):
            evaluation.result()


def test_a_worker_that_ends_while_another_is_given_work_is_the_same_line(monkeypatch):
    def refuse(*_):
        raise OSError("handle is closed")  # what the pool says where it is torn down meanwhile

    with Evaluation(workers=2) as evaluation:
        monkeypatch.setattr(evaluation._pool, "submit", refuse)
        with pytest.raises(InputError, match="worker processes; one was ended"):
            _fill(evaluation, [0])


def test_codes_and_floats_give_the_same_result():
    rng = np.random.default_rng(1)
    probability, mask = _image(rng)
    as_floats, as_codes = Evaluation(), Evaluation()
    as_floats.add(probability, mask, "1", "a")
    as_codes.add(np.rint(probability * np.float32(65535)).astype(np.uint16), mask, "1", "a")
    one, two = (build_metrics(each.result(0)) for each in (as_floats, as_codes))
    assert one == two


def test_ignored_pixels_enter_no_score():
    rng = np.random.default_rng(2)
    probability, mask = _image(rng)
    results = []
    for value in (0.0, 0.5, 1.0):
        evaluation = Evaluation()
        evaluation.add(np.where(mask == mask_values.IGNORE, np.float32(value), probability), mask, "1", "a", 90.0)
        results.append(build_metrics(evaluation.result(0)))
    assert results[0] == results[1] == results[2]


def test_the_operating_threshold_moves_no_curve():
    low, high = _filled(threshold=0.2).result(50), _filled(threshold=0.7).result(50)
    for protocol in low.protocols:
        for name in ("thresholds", "sensitivity", "false_positives_per_image", "false_positives_per_cm2"):
            np.testing.assert_array_equal(getattr(low.froc[protocol], name), getattr(high.froc[protocol], name))
    unmoved = [path for path in low.intervals if "at_threshold" not in path and "strata" not in path]
    assert all(low.intervals[path] == high.intervals[path] for path in unmoved)


def test_the_figures_at_the_threshold_are_points_of_the_curves():
    for threshold in (0.01, 0.3, 0.6):
        result = _filled(threshold=threshold).result(0)
        step = result.code - LOWEST_CODE
        for protocol, curve in result.froc.items():
            for name in ("sensitivity", "false_positives_per_image", "false_positives_per_cm2"):
                figure = result.figures[f"froc.{protocol}.at_threshold.{name}"].value
                assert figure == pytest.approx(getattr(curve, name)[step], abs=1e-12)
                if protocol == "zamir":
                    assert figure == result.figures[f"at_threshold.{name}"].value


def test_figures_and_bands_are_the_resamples_with_every_patient_once():
    result = _filled().result(20)
    once = weigh(result.counts, result.threshold_figures, np.ones((1, 3)), result._grids)
    assert set(once.figures) == set(result.figures)
    for path, figure in result.figures.items():
        value = np.nan if figure.value is None else figure.value
        np.testing.assert_allclose(once.figures[path][0], value, atol=1e-12, err_msg=path)
    for name, band in result.bands.items():
        np.testing.assert_array_equal(once.curves[name][0], band.value)
        known = np.isfinite(band.low)
        assert known.mean() > 0.3
        assert (band.low[known] <= band.high[known]).all()


def test_a_threshold_below_what_is_counted_is_refused():
    with pytest.raises(InputError, match=r"at least 0\.0025, below which nothing is counted; found 0\.001"):
        Evaluation(threshold=0.001)
    assert Evaluation(threshold=0.0025)


def test_the_chosen_threshold_keeps_the_limit_and_is_the_operating_point():
    result = _filled().result(0)
    threshold = choose_threshold(result, 5.0)
    assert threshold == result.operating_point(5.0).threshold
    curve = result.froc["zamir"]
    step = curve.thresholds.tolist().index(threshold)
    assert curve.false_positives_per_image[step] <= 5.0 < curve.false_positives_per_image[step - 1]
    assert choose_threshold(result, 1e9) == curve.thresholds[0]


def test_a_chosen_threshold_lies_below_full_scale():
    evaluation = Evaluation()
    evaluation.add(np.array([[65534, 0, 65535]], np.uint16), np.array([[0, 0, 1]], np.uint8), "1", "a")
    with pytest.raises(InputError, match=r"within 0; found 1 at the highest, 0\.99998"):
        choose_threshold(evaluation.result(), 0.0)


def test_no_threshold_within_the_limit_is_said():
    evaluation = Evaluation()
    evaluation.add(np.array([[1.0, 0.0, 1.0]], np.float32), np.zeros((1, 3), np.uint8), "1", "a")
    with pytest.raises(InputError, match="within 1; found 2 at the highest"):
        choose_threshold(evaluation.result(), 1.0)


def test_a_healthy_set_leaves_what_it_cannot_say_undefined_with_reasons():
    evaluation = Evaluation()
    for patient in "ab":
        evaluation.add(np.full((4, 4), 0.2, np.float32), np.zeros((4, 4), np.uint8), patient, patient)
    result = evaluation.result(20)
    metrics = build_metrics(result)
    assert metrics["pixel"]["roc_auc"] is None
    assert metrics["pixel"]["average_precision"] is None
    assert metrics["rounding"]["pixel.roc_auc"] == {"low": None, "high": None}
    assert metrics["at_threshold"]["sensitivity"] is None
    assert metrics["at_threshold"]["dice"] is None
    assert metrics["at_threshold"]["object_iou"] is None
    assert metrics["at_threshold"]["mean_iou_images"] is None
    assert metrics["strata"]["area_px"]["1"] == {"calcifications": 0, "detected": 0, "sensitivity": None}
    for protocol in result.protocols:
        assert metrics["froc"][protocol]["sensitivity"] is None
        assert metrics["froc"][protocol]["false_positives_per_cm2"] is None
    assert metrics["froc"]["zamir"]["false_positives_per_image"][0] == 1.0
    assert metrics["operating_points"]["1"] == {
        "threshold": None, "sensitivity": None, "false_positives_per_image": None, "predicted_share": None,
    }  # fmt: skip
    assert metrics["confidence_intervals"]["pixel.roc_auc"] == {"low": None, "high": None, "samples": 0}
    for path in ("pixel.roc_auc", "pixel.average_precision", "rounding.pixel.roc_auc", "at_threshold.dice"):
        assert "no calcification" in metrics["undefined"][path]
    assert "no annotated object" in metrics["undefined"]["froc.zamir.sensitivity"]
    for path in ("froc.zamir.false_positives_per_cm2", "at_threshold.false_positives_per_cm2"):
        assert metrics["undefined"][path] == "the breast area of 2 of 2 images is unknown"
    assert "n/a" in summary_table(result)
    assert np.isnan(result.bands["froc.zamir"].value).all()


def test_a_map_that_covers_everything_is_not_told_without_a_caution():
    mask = np.zeros((20, 25), np.uint8)
    mask[3, 4] = 1
    evaluation = Evaluation()
    evaluation.add(np.full(mask.shape, 0.25, np.float32), mask, "1", "a")
    result = evaluation.result(10)
    # The paper's protocol: one component, which touches the one calcification.
    assert build_metrics(result)["operating_points"]["2"] == {
        "threshold": LOWEST_CODE / 65535, "sensitivity": 1.0, "false_positives_per_image": 0.0, "predicted_share": 1.0,
    }  # fmt: skip
    assert "caution: up to 100% of all pixels are predicted at these thresholds" in summary_table(result)
    assert "predicted at these thresholds" not in summary_table(_filled().result(10))


def test_one_patient_has_figures_and_no_intervals():
    evaluation = Evaluation()
    rng = np.random.default_rng(4)
    for number in range(3):
        evaluation.add(*_image(rng), str(number), "a")
    result = evaluation.result(20)
    metrics = build_metrics(result)
    assert 0.5 < metrics["pixel"]["roc_auc"] < 1
    assert all(each["low"] is None for each in metrics["confidence_intervals"].values())
    assert all("one patient" in band.reason and np.isnan(band.low).all() for band in result.bands.values())
    assert "one patient alone cannot be resampled" in summary_table(result)
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
        interval = result.intervals[f"froc.zamir.operating_points.{limit:g}.sensitivity"]
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
    with pytest.raises(InputError, match="workers must be 1 or more; found 0"):
        Evaluation(workers=0)
    for protocols in (("zamir", "froc"), ("picai",), ()):
        with pytest.raises(InputError, match="protocols are of zamir, hdogreg, picai, zamir among them; found"):
            Evaluation(protocols=protocols)
    with pytest.raises(InputError, match="at least one image"):
        evaluation.result()
    with pytest.raises(InputError, match="x1: a mask is uint8"):
        evaluation.add(good[0], good[1][:1], "x1", "a")
    with pytest.raises(InputError, match="x1: a breast's area"):
        evaluation.add(*good, "x1", "a", 0.0)
    for value in (2.0, -0.1, np.nan, np.inf):
        with pytest.raises(InputError, match=r"x1: probabilities lie in \[0, 1\]; found"):
            evaluation.add(good[0] + np.float32(value), good[1], "x1", "a")
    with pytest.raises(InputError, match=r"x1: a mask is uint8 \[2, 2\]; found uint8 \[3, 2\]"):
        evaluation.add(good[0], np.zeros((3, 2), np.uint8), "x1", "a")
    with pytest.raises(InputError, match="x1: a pixel spacing is two positive lengths"):
        evaluation.add(*good, "x1", "a", pixel_spacing_mm=(0.1, 0.0))
    evaluation.add(*good, "x1", "a")
    with pytest.raises(InputError, match="x1: an image is evaluated once"):
        evaluation.add(*good, "x1", "a")
    assert len(evaluation.result().images) == 1


def test_a_result_is_frozen():
    evaluation = _fill(Evaluation(), [0, 1])
    assert build_metrics(evaluation.result(5)) == build_metrics(evaluation.result(5))
    with pytest.raises(ValueError, match="takes no more images"):
        _fill(evaluation, [2])
    with pytest.raises(ValueError, match="read-only"):
        evaluation.result(5).counts.histograms[0][0, 0] = 1


def test_an_image_that_is_ignored_throughout_counts_as_an_image_and_nothing_else():
    evaluation = _fill(Evaluation(), range(6))
    evaluation.add(np.ones((9, 9), np.float32), np.full((9, 9), 255, np.uint8), "ignored", "patient0", 100.0)
    one, two = _filled().result(0), evaluation.result(0)
    for path in ("pixel.roc_auc", "at_threshold.sensitivity", "at_threshold.object_iou", "at_threshold.iou"):
        assert one.figures[path].value == two.figures[path].value
    path = "at_threshold.false_positives_per_image"
    assert two.figures[path].value == pytest.approx(one.figures[path].value * 6 / 7)


def test_the_rooms_need_no_tensorflow():
    code = "import sys, calcseg_tf.evaluation, calcseg_tf.clinical; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
