import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from data_prep.implants.calcification import Calcification, Shape, draw_calcification, draw_strand

EIGHT = np.ones((3, 3), bool)
DRAWN = [shape for shape in Shape if shape is not Shape.VASCULAR]  # which follows its vessel


def draw(shape=Shape.ROUND, area_px=20.0, blur_px=0.8, seed=0, angle=None):
    return draw_calcification(shape, area_px, blur_px, np.random.default_rng(seed), angle)


def elongation(mask):
    """Root of the ratio of the mask's second moments; 1 for a disk, the ratio of the axes for an ellipse."""
    variances = np.linalg.eigvalsh(np.cov(np.nonzero(mask)) + np.eye(2) / 12.0)
    return math.sqrt(variances[1] / variances[0])


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from(DRAWN),
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


@pytest.mark.parametrize("shape", DRAWN)
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
        (Shape.RIM, 39.9, Shape.ROUND),
        (Shape.RIM, 40.0, Shape.RIM),
        (Shape.TEACUP, 5.9, Shape.ROUND),
        (Shape.TEACUP, 6.0, Shape.TEACUP),
        (Shape.POPCORN, 1.0, Shape.POPCORN),
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


@pytest.mark.parametrize(("shape", "area_px"), [(Shape.ROUND, 60.0), (Shape.SMUDGE, 2000.0), (Shape.RIM, 600.0)])
def test_signal_fades_out_before_the_patch_ends(shape, area_px):
    signal = draw(shape, area_px, blur_px=2.0).signal
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


@pytest.mark.parametrize("seed", range(8))
def test_a_rim_has_a_hole_in_mask_and_signal_that_is_dimmer_and_not_empty(seed):
    drawn = draw(Shape.RIM, 600.0, seed=seed)
    hole = ndimage.binary_fill_holes(drawn.mask) & ~drawn.mask
    assert hole.sum() > 0.5 * drawn.area_px
    centre = drawn.signal[ndimage.binary_erosion(hole, EIGHT, iterations=4)]
    wall = drawn.signal[drawn.mask].mean()
    # A shell of a tenth to two fifths of its radius has 0.23 to 0.48 of its brightest in the centre.
    assert 0.1 < centre.min() <= centre.mean() < 0.75 * wall


def test_the_smallest_rims_are_closed_too():
    masks = [draw(Shape.RIM, 40.0, seed=seed).mask for seed in range(60)]
    assert all((ndimage.binary_fill_holes(mask) & ~mask).any() for mask in masks)


@pytest.mark.parametrize("seed", range(8))
def test_a_teacup_is_level_or_hollow_above_and_round_below(seed):
    mask = draw(Shape.TEACUP, 400.0, seed=seed, angle=0.0).mask
    columns = np.flatnonzero(mask.any(axis=0))
    top = np.argmax(mask, axis=0)[columns]
    bottom = mask.shape[0] - 1 - np.argmax(mask[::-1], axis=0)[columns]
    middle, ends = columns.size // 2, [2, -3]
    assert all(top[middle] >= top[end] - 1 for end in ends)
    assert all(bottom[middle] > bottom[end] + 2 for end in ends)
    assert columns.size > 1.2 * (np.ptp(np.flatnonzero(mask.any(axis=1))) + 1)


def test_a_smudge_fades_where_a_round_one_ends():
    smudge, sphere = (draw(shape, 400.0, blur_px=0.5, seed=2) for shape in (Shape.SMUDGE, Shape.ROUND))
    steepest = [np.abs(np.diff(drawn.signal, axis=1)).max() for drawn in (smudge, sphere)]
    assert steepest[0] < 0.4 * steepest[1]
    edge = smudge.mask & ~ndimage.binary_erosion(smudge.mask, EIGHT)
    # (1 - 1 / 1.96) ^ 1.5 = 0.34 of the middle, and the middle is uneven.
    assert smudge.signal[edge].mean() == pytest.approx(0.34, abs=0.08)
    outside = ndimage.binary_dilation(smudge.mask, EIGHT) & ~smudge.mask
    assert smudge.signal[outside].min() > 0.1


def test_popcorn_is_lobed():
    from skimage.measure import regionprops

    def solidity(shape):
        masks = [draw(shape, 2000.0, seed=seed).mask for seed in range(10)]
        return [regionprops(mask.astype(int))[0].solidity for mask in masks]

    assert max(solidity(Shape.POPCORN)) < min(solidity(Shape.ROUND))
    assert 0.7 < np.mean(solidity(Shape.POPCORN)) < 0.95


def test_fine_pleomorphic_ones_are_each_of_a_form_of_their_own():
    def spread(shape):
        return np.std([elongation(draw(shape, 40.0, seed=seed).mask) for seed in range(30)])

    assert spread(Shape.SHARD) > 2.0 * spread(Shape.ROUND)


def test_a_strand_lies_on_its_points():
    # Three pixels wide: a half-width of 1.5 about the middle of row 10.
    points = np.array([[10.0, 20.0, 1.5], [10.0, 30.0, 1.5], [10.0, 40.0, 1.5]])
    drawn, (top, left) = draw_strand(points, 0.8, np.random.default_rng(0))
    rows, columns = np.nonzero(drawn.mask)
    assert drawn.shape is Shape.VASCULAR
    assert set(rows + top) == {9, 10, 11}
    assert (columns.min() + left, columns.max() + left) == (19, 41)
    assert drawn.mask[10 - top, 20 - left : 41 - left].all()


def test_a_thin_strand_stays_one_component():
    points = np.array([[0.0, 0.0, 0.3], [7.0, 15.0, 0.3], [4.0, 30.0, 0.3]])
    drawn, _ = draw_strand(points, 0.8, np.random.default_rng(0))
    assert ndimage.label(drawn.mask, EIGHT)[1] == 1
    assert np.ptp(np.nonzero(drawn.mask)[1]) >= 28
