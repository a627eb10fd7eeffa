import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from calcseg_tf.evaluation import bootstrap
from calcseg_tf.evaluation.bootstrap import Exposure
from calcseg_tf.evaluation.froc import SweepCounts, admissible, partial_auc
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
    return pixels, np.stack([positive, negative], axis=1)


@pytest.mark.parametrize(("patients", "told"), [(1, False), (2, True), (9, True), (10, False), (50, False)])
def test_intervals_over_few_patients_are_cautioned_against(patients, told):
    assert bool(bootstrap.few_patients(patients)) is told


def test_weights_draw_as_many_patients_as_there_are_and_repeat_by_seed():
    weights = bootstrap.patient_weights(7, 200, seed=5)
    assert weights.shape == (200, 7)
    assert (weights.sum(axis=1) == 7).all()
    np.testing.assert_array_equal(weights, bootstrap.patient_weights(7, 200, seed=5))
    assert (weights != bootstrap.patient_weights(7, 200, seed=6)).any()


_EVERYWHERE = np.linspace(0.05, 1.0, 20)


def test_resampled_scores_are_scikit_learns_on_the_repeated_pixels():
    pixels, histograms = _patients(np.random.default_rng(1), 5)
    weights = bootstrap.patient_weights(5, 40, seed=2)
    scores = bootstrap.resample_pixel_scores(histograms, weights, _EVERYWHERE, _EVERYWHERE)
    for sample, weight in enumerate(weights.astype(int)):
        truth = np.concatenate([np.tile(pixels[patient][0], weight[patient]) for patient in range(5)])
        code = np.concatenate([np.tile(pixels[patient][1], weight[patient]) for patient in range(5)])
        assert scores.roc_auc[sample] == pytest.approx(sklearn.metrics.roc_auc_score(truth, code), abs=1e-12)
        average = sklearn.metrics.average_precision_score(truth, code)
        assert scores.average_precision[sample] == pytest.approx(average, abs=1e-12)
        false, true, _ = sklearn.metrics.roc_curve(truth, code, drop_intermediate=False)
        highest = [true[false <= rate + 1e-12].max() for rate in _EVERYWHERE]
        np.testing.assert_allclose(scores.true_positive_rate[sample], highest, atol=1e-12)
        precision, recall, _ = sklearn.metrics.precision_recall_curve(truth, code)
        first = [precision[np.flatnonzero(recall >= wanted - 1e-12)[-1]] for wanted in _EVERYWHERE]
        np.testing.assert_allclose(scores.precision[sample], first, atol=1e-12)


def test_a_resample_without_calcification_pixels_is_undefined():
    histograms = np.zeros((2, 2, 65536), int)
    histograms[0, 0, 9], histograms[:, 1, 3] = 1, 1
    scores = bootstrap.resample_pixel_scores(histograms, np.array([[2.0, 0.0], [0.0, 2.0]]), _EVERYWHERE, _EVERYWHERE)
    for values in (scores.roc_auc, scores.average_precision, scores.true_positive_rate, scores.precision):
        assert (values[0] == 1.0).all()
        assert np.isnan(values[1]).all()


def test_resampled_sensitivities_by_hand():
    # By ascending threshold; patient 0 has two images and three calcifications, patient 1 one image and one.
    (per_image, _), (per_cm2, _) = bootstrap.resample_sensitivities(
        counts=[
            SweepCounts(3, np.array([3, 2, 1]), np.array([8, 2, 0])),
            SweepCounts(1, np.array([1, 1, 0]), np.array([3, 3, 3])),
        ],
        exposures=[
            Exposure(np.array([2, 1]), np.array([1.0, 2.0])),
            Exposure(np.array([10.0, 1.0]), np.array([0.4, 0.5])),
        ],
        weights=np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 2.0]]),
    )
    # Both: alarms 11/3, 5/3, 3/3. Patient 0 twice: 4, 1, 0. Patient 1 twice: 3, 3, 3.
    np.testing.assert_allclose(per_image, [[1 / 4, 3 / 4], [2 / 3, 2 / 3], [np.nan, np.nan]])
    # Both: 11/11, 5/11, 3/11 per cm2. Patient 0 twice: 0.8, 0.2, 0. Patient 1 twice: 3, 3, 3.
    np.testing.assert_allclose(per_cm2, [[1 / 4, 3 / 4], [2 / 3, 2 / 3], [np.nan, np.nan]])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 30))
def test_resampled_sensitivities_are_those_of_the_pooled_curve(seed, patients, thresholds):
    rng = np.random.default_rng(seed)
    objects, images = rng.integers(0, 5, patients), rng.integers(1, 4, patients)
    detected, alarms = rng.integers(0, 5, (2, patients, thresholds)) // rng.integers(1, 4)
    detected[:] = -np.sort(-detected)  # more is found as the threshold falls
    limits = np.array([0.0, 0.25, 1 / 3, 1.0, 2.0, 3.5])
    weights = bootstrap.patient_weights(patients, 5, seed % 1000)
    counts = [SweepCounts(*row) for row in zip(objects, detected, alarms, strict=True)]
    exposure = Exposure(images, limits, area_limit=2.0)
    ((found, areas),) = bootstrap.resample_sensitivities(counts, [exposure], weights)
    for sample, weight in enumerate(weights):
        total = weight @ objects
        for column, limit in enumerate(limits):
            allowed = admissible(weight @ alarms / (weight @ images), limit)
            expected = np.nan if total == 0 or not allowed.any() else (weight @ detected)[allowed.argmax()] / total
            np.testing.assert_allclose(found[sample, column], expected)
        if total:
            area = partial_auc(weight @ alarms / (weight @ images), weight @ detected / total, 2.0)
            np.testing.assert_allclose(areas[sample], area / 2.0, atol=1e-12)


def test_counts_too_large_for_float32_stay_exact():
    # 2^24 + 1 false alarms are one too many; float32 would not see it.
    counts = SweepCounts(2, np.array([2, 1]), np.array([2**24 + 1, 2**24]))
    ((found, _),) = bootstrap.resample_sensitivities(
        [counts], [Exposure(np.ones(1), np.array([2.0**24]))], np.ones((1, 1))
    )
    assert found.tolist() == [[0.5]]


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


def test_a_band_holds_an_interval_at_every_point_or_nothing():
    samples = np.stack([np.linspace(0, 1, 1001), np.full(1001, np.nan), np.full(1001, 0.5)], axis=1)
    band = bootstrap.band(np.arange(3.0), np.array([0.4, 0.3, np.nan]), samples, patients=9)
    np.testing.assert_allclose(band.low, [0.025, np.nan, np.nan], atol=1e-12)
    np.testing.assert_allclose(band.high, [0.975, np.nan, np.nan], atol=1e-12)
    assert band.reason == ""
    one = bootstrap.band(np.arange(3.0), np.array([0.4, 0.3, 0.2]), samples, patients=1)
    assert np.isnan(one.low).all()
    assert "one patient" in one.reason
