import numpy as np
import pytest
import sklearn.metrics

from calcseg_tf.evaluation import bootstrap
from calcseg_tf.evaluation.pixel_curves import Figure


def _patients(rng, count):
    """Returns scores and truths of the patients' pixels, and their histograms."""
    pixels = []
    for _ in range(count):
        truth = (rng.random(60) < 0.15).astype(int)
        code = np.clip(rng.normal(400 + 250 * truth, 200), 0, 65535).astype(int) // 40 * 40
        pixels.append((truth, code))
    positive = np.stack([np.bincount(code[truth == 1], minlength=65536) for truth, code in pixels])
    negative = np.stack([np.bincount(code[truth == 0], minlength=65536) for truth, code in pixels])
    return pixels, positive, negative


def test_weights_draw_as_many_patients_as_there_are_and_repeat_by_seed():
    weights = bootstrap.patient_weights(7, 200, seed=5)
    assert weights.shape == (200, 7)
    assert (weights.sum(axis=1) == 7).all()
    np.testing.assert_array_equal(weights, bootstrap.patient_weights(7, 200, seed=5))
    assert (weights != bootstrap.patient_weights(7, 200, seed=6)).any()


def test_resampled_scores_are_scikit_learns_on_the_repeated_pixels():
    pixels, positive, negative = _patients(np.random.default_rng(1), 5)
    weights = bootstrap.patient_weights(5, 40, seed=2)
    scores = bootstrap.resample_pixel_scores(positive, negative, weights)
    for weight, (auc, ap) in zip(weights.astype(int), scores, strict=True):
        truth = np.concatenate([np.tile(pixels[patient][0], weight[patient]) for patient in range(5)])
        code = np.concatenate([np.tile(pixels[patient][1], weight[patient]) for patient in range(5)])
        assert auc == pytest.approx(sklearn.metrics.roc_auc_score(truth, code), abs=1e-12)
        assert ap == pytest.approx(sklearn.metrics.average_precision_score(truth, code), abs=1e-12)


def test_a_resample_without_calcification_pixels_is_undefined():
    positive, negative = np.zeros((2, 65536), int), np.zeros((2, 65536), int)
    positive[0, 9], negative[:, 3] = 1, 1
    scores = bootstrap.resample_pixel_scores(positive, negative, np.array([[2.0, 0.0], [0.0, 2.0]]))
    assert scores[0].tolist() == [1.0, 1.0]
    assert np.isnan(scores[1]).all()


def test_resampled_sensitivities_by_hand():
    # By ascending threshold; patient 0 has two images and three calcifications, patient 1 one image and one.
    result = bootstrap.resample_sensitivities(
        detected=np.array([[3, 2, 1], [1, 1, 0]]),
        false_positives=np.array([[8, 2, 0], [3, 3, 3]]),
        calcifications=np.array([3, 1]),
        images=np.array([2, 1]),
        weights=np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 2.0]]),
        limits=(1.0, 2.0),
    )
    # Both: alarms 11/3, 5/3, 3/3. Patient 0 twice: 4, 1, 0. Patient 1 twice: 3, 3, 3.
    np.testing.assert_allclose(result, [[1 / 4, 3 / 4], [2 / 3, 2 / 3], [np.nan, np.nan]])


def test_the_interval_is_between_percentiles():
    interval = bootstrap.interval(np.linspace(0, 1, 1001), Figure(0.5), patients=9)
    assert (interval.low, interval.high) == pytest.approx((0.025, 0.975), abs=1e-12)
    assert (interval.samples, interval.reason) == (1001, "")


def test_undefined_resamples_are_left_out_and_counted():
    samples = np.append(np.linspace(0, 1, 601), np.full(399, np.nan))
    interval = bootstrap.interval(samples, Figure(0.5), patients=9)
    assert (interval.low, interval.high) == pytest.approx((0.025, 0.975), abs=1e-12)
    assert interval.samples == 601
    interval = bootstrap.interval(np.append(samples, np.full(300, np.nan)), Figure(0.5), patients=9)
    assert interval.low is None
    assert "only 601 of 1300" in interval.reason


def test_one_patient_and_an_undefined_figure_have_no_interval():
    assert "one patient" in bootstrap.interval(np.ones(10), Figure(1.0), patients=1).reason
    assert "undefined: why" in bootstrap.interval(np.ones(10), Figure(None, "why"), patients=5).reason
