import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from data_prep.implants.calcification import Calcification, Shape, draw_calcification

EIGHT = np.ones((3, 3), bool)


def draw(shape=Shape.ROUND, area_px=20.0, blur_px=0.8, seed=0, angle=None):
    return draw_calcification(shape, area_px, blur_px, np.random.default_rng(seed), angle)


def elongation(mask):
    """Root of the ratio of the mask's second moments; 1 for a disk, the ratio of the axes for an ellipse."""
    variances = np.linalg.eigvalsh(np.cov(np.nonzero(mask)) + np.eye(2) / 12.0)
    return math.sqrt(variances[1] / variances[0])


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from(list(Shape)),
    area=st.floats(0.5, 300.0),
    blur=st.floats(0.0, 2.0),
    seed=st.integers(0, 2**32),
)
def test_any_calcification_is_one_component_of_the_area_asked(shape, area, blur, seed):
    drawn = draw(shape, area, blur, seed)
    assert ndimage.label(drawn.mask, EIGHT)[1] == 1
    assert drawn.area_px >= 1
    assert 0.0 <= drawn.coverage.min() <= drawn.coverage.max() <= 1.0
    assert drawn.coverage.sum() == pytest.approx(area, rel=0.05, abs=0.3)
    assert not drawn.coverage[~drawn.mask].max() > 0.5
    for edge in (drawn.mask[:3], drawn.mask[-3:], drawn.mask[:, :3], drawn.mask[:, -3:]):
        assert not edge.any()
    assert drawn.signal.dtype == np.float32
    assert drawn.signal.min() >= 0.0
    assert drawn.signal.max() == 1.0


@pytest.mark.parametrize("shape", Shape)
def test_mask_area_follows_the_area_asked(shape):
    masks = [draw(shape, 200.0, seed=seed).area_px for seed in range(10)]
    assert np.mean(masks) == pytest.approx(200.0, rel=0.03)


def test_shapes_differ_in_elongation_as_their_names_say():
    means = {
        shape: np.mean([elongation(draw(shape, 300.0, seed=seed).mask) for seed in range(20)])
        for shape in (Shape.ROUND, Shape.IRREGULAR, Shape.ELONGATED)
    }
    assert 1.0 <= means[Shape.ROUND] < 1.4
    assert means[Shape.ROUND] < means[Shape.IRREGULAR] < means[Shape.ELONGATED]
    assert means[Shape.ELONGATED] > 2.5


def test_a_branching_shape_fills_less_of_its_hull_than_a_round_one():
    from skimage.measure import regionprops

    def solidity(shape):
        masks = [draw(shape, 300.0, seed=seed).mask for seed in range(10)]
        return np.mean([regionprops(mask.astype(int))[0].solidity for mask in masks])

    assert solidity(Shape.ROUND) > 0.93
    assert solidity(Shape.BRANCHING) < 0.8


@pytest.mark.parametrize(
    ("shape", "area_px", "shown"),
    [
        (Shape.ROUND, 1.0, Shape.ROUND),
        (Shape.IRREGULAR, 1.0, Shape.IRREGULAR),
        (Shape.ELONGATED, 7.9, Shape.ROUND),
        (Shape.ELONGATED, 8.0, Shape.ELONGATED),
        (Shape.BRANCHING, 19.9, Shape.IRREGULAR),
        (Shape.BRANCHING, 20.0, Shape.BRANCHING),
    ],
)
def test_shapes_too_small_to_show_become_simpler(shape, area_px, shown):
    assert shape.at_area(area_px) is shown
    assert draw(shape, area_px).shape is shown


@pytest.mark.parametrize(("angle", "longer"), [(0.0, 1), (math.pi / 2.0, 0)])
def test_angle_turns_the_long_axis_from_columns_to_rows(angle, longer):
    mask = draw(Shape.ELONGATED, 200.0, angle=angle).mask
    extents = [np.ptp(positions) for positions in np.nonzero(mask)]
    assert extents[longer] > 1.5 * extents[1 - longer]


def test_blur_keeps_the_mask_and_softens_the_signal():
    sharp, soft = draw(area_px=60.0, blur_px=0.0), draw(area_px=60.0, blur_px=1.5)
    rows, columns = np.nonzero(sharp.mask)
    soft_rows, soft_columns = np.nonzero(soft.mask)
    np.testing.assert_array_equal(rows - rows.min(), soft_rows - soft_rows.min())
    np.testing.assert_array_equal(columns - columns.min(), soft_columns - soft_columns.min())
    assert sharp.signal[~sharp.mask].max() < 0.6
    steepest = [np.abs(np.diff(drawn.signal, axis=1)).max() for drawn in (sharp, soft)]
    assert steepest[1] < 0.6 * steepest[0]


def test_blur_fades_out_before_the_patch_ends():
    signal = draw(area_px=60.0, blur_px=2.0).signal
    for edge in (signal[0], signal[-1], signal[:, 0], signal[:, -1]):
        assert edge.max() < 0.002


def test_thickness_is_a_dome_and_no_flat_disk():
    drawn = draw(area_px=700.0, blur_px=0.5, seed=3)
    depth = ndimage.distance_transform_edt(drawn.mask)
    rim, middle = drawn.signal[drawn.mask & (depth <= 2)].mean(), drawn.signal[depth > 0.7 * depth.max()].mean()
    assert rim < 0.8 * middle


def test_same_generator_same_calcification_and_another_differs():
    first, second, other = draw(Shape.IRREGULAR, 80.0), draw(Shape.IRREGULAR, 80.0), draw(Shape.IRREGULAR, 80.0, seed=1)
    np.testing.assert_array_equal(first.signal, second.signal)
    np.testing.assert_array_equal(first.mask, second.mask)
    assert first.signal.shape != other.signal.shape or not np.array_equal(first.signal, other.signal)


def test_a_mask_in_two_pieces_is_refused():
    mask = np.zeros((7, 9), bool)
    mask[3, 3] = mask[3, 5] = True
    with pytest.raises(ValueError, match="one 8-connected component"):
        Calcification(Shape.ROUND, mask.astype(np.float32), mask, mask.astype(np.float32))


def test_patches_of_different_sizes_are_refused():
    mask = np.zeros((7, 7), bool)
    mask[3, 3] = True
    with pytest.raises(ValueError, match="share one patch"):
        Calcification(Shape.ROUND, np.zeros((7, 8), np.float32), mask, np.zeros((7, 7), np.float32))
