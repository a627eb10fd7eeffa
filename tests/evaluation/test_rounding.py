import itertools
from fractions import Fraction

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from calcseg_tf.evaluation import pixel_curves
from calcseg_tf.evaluation.rounding import average_precision_bounds, roc_auc_bounds
from calcseg_tf.probability_map import to_codes

# Offsets of less than half a code, ties among them.
_PIXELS = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from([-0.4, -0.1, 0.0, 0.2, 0.45]), st.booleans()), min_size=2, max_size=40
)


def _histograms(codes, truth):
    return np.bincount(codes[truth], minlength=65536), np.bincount(codes[~truth], minlength=65536)


def test_bounds_by_hand():
    # One bin above with one background pixel, then one bin of two calcification pixels and one of background.
    positive, negative = np.array([0, 2, 0]), np.array([0, 1, 1])
    auc, precision = roc_auc_bounds(positive, negative), average_precision_bounds(positive, negative)
    assert (auc.low, auc.high) == (0 / 4, 2 / 4)
    assert precision.low == pytest.approx((1 / 3 + 2 / 4) / 2, abs=1e-15)
    assert precision.high == pytest.approx((2 / 3 + 2 / 3) / 2, abs=1e-15)


def test_the_bound_of_the_auc_is_the_sum_over_bins_around_the_exact_figure():
    rng = np.random.default_rng(1)
    positive, negative = rng.integers(0, 5, 200), rng.integers(0, 50, 200)
    exact = pixel_curves.roc_auc(positive, negative).value
    half = (positive * negative).sum() / (2 * positive.sum() * negative.sum())
    bounds = roc_auc_bounds(positive, negative)
    assert (bounds.low, bounds.high) == pytest.approx((exact - half, exact + half), abs=1e-12)


@settings(max_examples=300, deadline=None)
@given(_PIXELS)
def test_the_figures_of_the_probabilities_lie_within(pixels):
    codes = np.array([code for code, _, _ in pixels])
    score = np.array([(code + offset) / 65535 for code, offset, _ in pixels])
    truth = np.array([is_truth for _, _, is_truth in pixels])
    assume(truth.any() and not truth.all())
    np.testing.assert_array_equal(to_codes(score[None])[0], codes)
    histograms = _histograms(codes, truth)
    auc, precision = roc_auc_bounds(*histograms), average_precision_bounds(*histograms)
    assert auc.low - 1e-12 <= sklearn.metrics.roc_auc_score(truth, score) <= auc.high + 1e-12
    assert precision.low - 1e-12 <= sklearn.metrics.average_precision_score(truth, score) <= precision.high + 1e-12


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 2), st.booleans()), min_size=2, max_size=4))
def test_both_ends_are_reached_by_some_probabilities(pixels):
    codes, truth = np.array([code for code, _ in pixels]), np.array([is_truth for _, is_truth in pixels])
    assume(truth.any() and not truth.all())
    histograms = _histograms(codes, truth)
    scores = [codes + np.array(order) / 20 for order in itertools.permutations(range(len(codes)))]
    scores.append(codes + truth / 4)  # equal calcification pixels first: what ties allow
    areas = [sklearn.metrics.roc_auc_score(truth, score) for score in scores]
    precisions = [sklearn.metrics.average_precision_score(truth, score) for score in scores]
    auc, precision = roc_auc_bounds(*histograms), average_precision_bounds(*histograms)
    assert (min(areas), max(areas)) == pytest.approx((auc.low, auc.high), abs=1e-12)
    assert (min(precisions), max(precisions)) == pytest.approx((precision.low, precision.high), abs=1e-12)


@pytest.mark.parametrize("above", [0, 3, 998, 10**6, 10**9])
def test_the_lower_end_is_the_exact_sum_for_few_and_for_many_pixels(above):
    positive, negative = np.array([0, 700, 0, 5]), np.array([3, 40, above, 0])
    terms = [Fraction(1)] * 5 + [Fraction(5 + j, 5 + j + above + 40) for j in range(1, 701)]
    assert average_precision_bounds(positive, negative).low == pytest.approx(float(sum(terms) / 705), abs=1e-13)


def test_rounding_a_networks_outputs_changes_little():
    rng = np.random.default_rng(3)
    truth = rng.random(120_000) < 0.01
    score = 1 / (1 + np.exp(-rng.normal(-3, 2, truth.shape) - 4 * truth))
    histograms = _histograms(to_codes(score[None])[0], truth)
    auc, precision = roc_auc_bounds(*histograms), average_precision_bounds(*histograms)
    assert auc.low <= sklearn.metrics.roc_auc_score(truth, score) <= auc.high
    assert precision.low <= sklearn.metrics.average_precision_score(truth, score) <= precision.high
    assert auc.high - auc.low < 1e-5
    assert precision.high - precision.low < 1e-3


def test_a_missing_class_leaves_nothing_to_bound():
    none, some = np.zeros(9, int), np.ones(9, int)
    assert roc_auc_bounds(none, some) is None
    assert roc_auc_bounds(some, none) is None
    assert average_precision_bounds(none, some) is None
    assert average_precision_bounds(some, none).low == 1.0
