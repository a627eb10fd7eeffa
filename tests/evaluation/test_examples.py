import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from calcseg_tf.drawing import Box
from calcseg_tf.evaluation.examples import Prediction, differing_window, draw_example
from tests.fakes.mammograms import speckled_record

SHAPE = (180, 90)  # a window of a ninth is 20 x 20


def prediction(*places, name="model"):
    codes = np.zeros(SHAPE, np.uint16)
    for row, column in places:
        codes[row, column] = 40000
    return Prediction(name, codes, 30000)


def annotation(*places, ignored=()):
    mask = np.zeros(SHAPE, np.uint8)
    for row, column in places:
        mask[row, column] = 1
    for row, column in ignored:
        mask[row, column] = 255
    return mask


def window(mask, predictions, spacing, breast=None):
    return differing_window(mask, predictions, np.ones(mask.shape, bool) if breast is None else breast, spacing)


def holds(box, row, column):
    return box.top <= row < box.bottom and box.left <= column < box.right


def test_two_models_are_shown_where_they_differ_though_both_err_more_elsewhere():
    both_err = [(10, 10), (10, 12), (10, 14)]
    box = window(annotation(), [prediction(*both_err), prediction(*both_err, (150, 60))], None)
    assert (box.bottom - box.top, box.right - box.left) == (20, 20)
    assert holds(box, 150, 60)


def test_one_model_is_shown_where_it_errs_and_ignored_pixels_are_no_error():
    found = prediction((100, 40), (20, 20), (20, 22), (160, 80))
    assert holds(window(annotation((100, 40), ignored=[(20, 20), (20, 22)]), [found], None), 160, 80)


def test_a_film_border_is_shown_only_where_nothing_differs_in_the_breast():
    breast = np.zeros(SHAPE, bool)
    breast[60:120] = True
    border, inside = [(row, 85) for row in range(170, 180)], (90, 40)
    one, other = prediction(), prediction(*border, inside)
    assert holds(window(annotation(), [one, other], None, breast), *inside)
    assert holds(window(annotation(), [one, prediction(*border)], None, breast), 175, 85)


def test_models_that_agree_are_shown_in_error_or_else_at_the_calcifications():
    both = [prediction((30, 30)), prediction((30, 30))]
    assert holds(window(annotation(), both, None), 30, 30)
    assert holds(window(annotation((30, 30)), both, None), 30, 30)
    empty = window(annotation(), [prediction()], None)
    assert holds(empty, 90, 45)


@pytest.mark.parametrize("place", [(0, 0), (179, 89), (0, 89)])
def test_a_window_stays_inside_and_is_physically_square(place):
    box = window(annotation(place), [prediction()], (0.05, 0.1))
    assert holds(box, *place)
    # 180 rows x 0.05 mm and 90 columns x 0.1 mm are 9 mm each: 1 mm is 20 rows, and 10 columns, of which 12 are least.
    assert (box.bottom - box.top, box.right - box.left) == (20, 12)
    assert min(box.top, box.left) >= 0
    assert (box.bottom <= 180, box.right <= 90) == (True, True)


def test_a_tiny_mammogram_is_its_own_window():
    tiny = Prediction("model", np.zeros((5, 7), np.uint16), 1)
    assert window(np.zeros((5, 7), np.uint8), [tiny], None) == Box(0, 0, 5, 7)


@pytest.mark.parametrize("spacing", [(0.07, 0.07), None])
def test_equal_arguments_give_equal_files_and_hostile_names_are_text(spacing):
    record = dataclasses.replace(speckled_record(1, 120), pixel_spacing_mm=spacing)
    codes = (record.mask == 1).astype(np.uint16) * 50000
    several = [Prediction(name, codes, 1) for name in ("$\\frac{", "a\nb", "<b>", "x" * 300, "\udc80", "é")]
    files = [draw_example(record, several, "id $ $\\broken\0") for _ in range(2)]
    assert files[0] == files[1]
    image = Image.open(io.BytesIO(files[0][0]))
    assert min(image.size) > 800  # nine panels take two rows
    assert files[0][1].startswith(b"%PDF")
