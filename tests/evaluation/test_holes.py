import numpy as np
import pytest
from skimage.morphology import remove_small_holes

from calcseg_tf.evaluation.froc import LOWEST_CODE
from calcseg_tf.evaluation.holes import fill_small_holes
from tests.evaluation import reference
from tests.evaluation.drawing import codes_of


def test_a_hole_is_filled_up_to_its_rim():
    ring = codes_of(".......", ".33333.", ".31.13.", ".33333.", ".......")
    filled = fill_small_holes(ring, LOWEST_CODE, hole_px=4)
    assert (filled[2] == [0, 3000, 3000, 3000, 3000, 3000, 0]).all()
    np.testing.assert_array_equal(np.delete(filled, 2, axis=0), np.delete(ring, 2, axis=0))


def test_a_hole_of_the_limit_stays_open():
    ring = codes_of("......", ".3333.", ".31.3.", ".3333.", "......")
    assert fill_small_holes(ring, LOWEST_CODE, hole_px=3)[2].tolist() == [0, 3000, 3000, 3000, 3000, 0]
    # Of one pixel at 1000, where it is filled; of two above.
    assert fill_small_holes(ring, LOWEST_CODE, hole_px=2)[2].tolist() == [0, 3000, 1000, 1000, 3000, 0]
    assert fill_small_holes(ring, LOWEST_CODE, hole_px=1)[2].tolist() == ring[2].tolist()


def test_a_gap_at_a_corner_closes_the_hole():
    ring = codes_of("......", "..33..", ".3..3.", "..33..", "......")
    assert fill_small_holes(ring, LOWEST_CODE, hole_px=3)[2].tolist() == [0, 3000, 3000, 3000, 3000, 0]


@pytest.mark.parametrize("hole_px", [1, 4, 12, 64])
def test_filling_agrees_with_scikit_image_at_every_code(hole_px):
    for codes, _ in reference.random_cases(seed=30 + hole_px, count=200, most=16):
        filled = fill_small_holes(codes, LOWEST_CODE, hole_px)
        for code in np.unique(np.append(codes[codes >= LOWEST_CODE], [LOWEST_CODE, 65535])):
            expected = remove_small_holes(codes >= code, max_size=hole_px - 1)
            np.testing.assert_array_equal(filled >= code, expected)
