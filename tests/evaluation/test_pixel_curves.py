import numpy as np
import pytest
import sklearn.metrics
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calcseg_tf.evaluation import pixel_curves
from calcseg_tf.evaluation.pixel_curves import Figure
from data_prep.mask import IGNORE

_IMAGES = st.integers(2, 60).flatmap(
    lambda size: st.tuples(
        hnp.arrays(np.uint16, (1, size), elements=st.integers(0, 65535) | st.sampled_from([0, 1, 7, 65535])),
        hnp.arrays(np.uint8, (1, size), elements=st.sampled_from([0, 0, 1, 255])),
    )
)


def _histograms(codes, mask):
    return pixel_curves.pixel_histograms(np.array([codes], np.uint16), np.array([mask], np.uint8))


def test_histograms_leave_ignored_pixels_out():
    positive, negative = _histograms([5, 5, 9, 0, 5], [1, 0, 1, 255, 0])
    assert (positive[5], positive[9], positive.sum()) == (1, 1, 2)
    assert (negative[5], negative[0], negative.sum()) == (2, 0, 2)
    assert positive.shape == negative.shape == (65536,)


def test_hand_computed_auc_and_average_precision():
    # Scores 4+ 3- 2+ 2- 1-: pairs won 3 + (1 + 1/2) of 6; precision 1/1 at recall 1/2, then 2/4 at recall 1.
    histograms = _histograms([4, 3, 2, 2, 1], [1, 0, 1, 0, 0])
    assert pixel_curves.roc_auc(*histograms).value == pytest.approx(4.5 / 6, abs=1e-15)
    assert pixel_curves.average_precision(*histograms).value == pytest.approx(1 / 2 + 1 / 2 * 2 / 4, abs=1e-15)


@settings(max_examples=80, deadline=None)
@given(_IMAGES)
def test_scores_agree_with_scikit_learn_on_the_raw_pixels(image):
    codes, mask = image
    kept = mask != IGNORE
    truth, score = mask[kept] == 1, codes[kept] / 65535
    assume(truth.any() and not truth.all())
    histograms = pixel_curves.pixel_histograms(codes, mask)
    assert abs(pixel_curves.roc_auc(*histograms).value - sklearn.metrics.roc_auc_score(truth, score)) < 1e-9
    expected = sklearn.metrics.average_precision_score(truth, score)
    assert abs(pixel_curves.average_precision(*histograms).value - expected) < 1e-9
    curve = pixel_curves.precision_recall_curve(*histograms)
    precision, recall, thresholds = sklearn.metrics.precision_recall_curve(truth, score)
    np.testing.assert_allclose(curve.y, precision, atol=1e-12)
    np.testing.assert_allclose(curve.x, recall, atol=1e-12)
    np.testing.assert_allclose(curve.thresholds[:-1], thresholds, atol=1e-12)


def test_scores_agree_with_scikit_learn_on_a_large_image():
    rng = np.random.default_rng(3)
    mask = (rng.random((300, 400)) < 0.01).astype(np.uint8)
    codes = (65535 / (1 + np.exp(-rng.normal(-3, 2, mask.shape) - 4 * mask))).astype(np.uint16)
    histograms = pixel_curves.pixel_histograms(codes, mask)
    truth, score = mask.ravel(), codes.ravel() / 65535
    assert abs(pixel_curves.roc_auc(*histograms).value - sklearn.metrics.roc_auc_score(truth, score)) < 1e-9
    expected = sklearn.metrics.average_precision_score(truth, score)
    assert abs(pixel_curves.average_precision(*histograms).value - expected) < 1e-9
    curve = pixel_curves.roc_curve(*histograms)
    assert abs(sklearn.metrics.auc(curve.x, curve.y) - sklearn.metrics.roc_auc_score(truth, score)) < 1e-9
    assert np.isinf(curve.thresholds[0])


def test_a_missing_class_leaves_scores_undefined_with_the_reason():
    healthy, solid = _histograms([3, 1], [0, 0]), _histograms([3, 1], [1, 1])
    assert pixel_curves.roc_auc(*healthy) == Figure(None, "no calcification pixel in the images")
    assert pixel_curves.average_precision(*healthy) == Figure(None, "no calcification pixel in the images")
    assert pixel_curves.roc_auc(*solid) == Figure(None, "no background pixel in the images")
    assert pixel_curves.average_precision(*solid) == Figure(1.0)
    assert pixel_curves.roc_curve(*healthy) is None
    assert pixel_curves.precision_recall_curve(*healthy) is None


def test_a_figure_has_a_value_or_a_reason():
    with pytest.raises(ValueError, match="not both"):
        Figure(None)
    with pytest.raises(ValueError, match="not both"):
        Figure(0.5, "reason")


def test_thinning_keeps_both_ends_and_spreads_the_points():
    x = np.linspace(0, 1, 10001)
    kept = pixel_curves.thin(x, x**3, 50, logarithmic=False)
    assert (kept[0], kept[-1]) == (0, 10000)
    assert 45 <= len(kept) <= 50
    assert np.hypot(np.diff(x[kept]), np.diff(x[kept] ** 3)).max() < 2 * 1.6 / 49
    assert pixel_curves.thin(x[:7], x[:7], 50, logarithmic=False).tolist() == list(range(7))


def test_thinning_copes_with_a_curve_that_stands_still():
    for logarithmic in (False, True):
        kept = pixel_curves.thin(np.zeros(100), np.zeros(100), 10, logarithmic)
        assert (kept[0], kept[-1]) == (0, 99)


def test_thinning_spreads_the_points_over_the_decades_of_a_logarithmic_axis():
    x = np.append(0.0, np.linspace(1e-4, 1.0, 10000))  # nine tenths of them in the last of the four decades
    kept = pixel_curves.thin(x, np.zeros(len(x)), 40, logarithmic=True)
    decades = np.histogram(x[kept], [-1.0, 5e-5, 1e-3, 1e-2, 1e-1, 2.0])[0]
    assert decades[0] == 1  # 0, drawn at half of the smallest
    assert decades[2:].tolist() == pytest.approx([9, 9, 9], abs=1)
    assert (kept[0], kept[-1]) == (0, 10000)
