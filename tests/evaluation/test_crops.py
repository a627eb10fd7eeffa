import numpy as np

from calcseg_tf.evaluation.crops import ANNOTATION_COLOUR, CROP_PX, PREDICTION_COLOUR, breast_window, draw_crop

ZOOM = 3
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
BLUE, ORANGE = tuple(bytes.fromhex(ANNOTATION_COLOUR[1:])), tuple(bytes.fromhex(PREDICTION_COLOUR[1:]))


def places(picture, colour):
    """Rows and columns of a colour, [top, bottom, left, right] inclusive, and how many pixels it has."""
    rows, columns = np.nonzero((picture == np.array(colour, np.uint8)).all(axis=2))
    return [rows.min(), rows.max(), columns.min(), columns.max()], len(rows)


def drawn(found=(), annotated=(), centre=(100.0, 100.0), shape=(200, 200)):
    intensity, mask, predicted = np.zeros(shape), np.zeros(shape, np.uint8), np.zeros(shape, bool)
    for row, column in annotated:
        intensity[row, column] = 1.0
        mask[row, column] = 1
    for row, column in found:
        predicted[row, column] = True
    return draw_crop(intensity, mask, predicted, centre, (0.0, 1.0))


def test_the_find_lies_in_the_middle_with_the_annotation_around_it():
    picture = drawn(annotated=[(100, 100)])
    assert picture.shape == (CROP_PX * ZOOM, CROP_PX * ZOOM, 3)
    assert picture.dtype == np.uint8
    # The window of 96 px around row 100 begins at row 52: its 48th pixel, x 3.
    assert places(picture, WHITE) == ([144, 146, 144, 146], 9)
    assert places(picture, BLUE) == ([143, 147, 143, 147], 16)


def test_the_prediction_runs_inside_its_pixels_so_that_equal_shapes_show_both():
    picture = drawn(found=[(100, 100)], annotated=[(100, 100)])
    assert places(picture, ORANGE) == ([144, 146, 144, 146], 8)
    assert places(picture, BLUE) == ([143, 147, 143, 147], 16)
    assert places(picture, WHITE) == ([145, 145, 145, 145], 1)


def test_a_find_in_the_corner_stays_in_the_middle_and_what_lies_outside_is_black():
    picture = drawn(annotated=[(0, 199)], centre=(0.0, 199.0))
    assert places(picture, WHITE) == ([144, 146, 144, 146], 9)
    picture = drawn(annotated=[(1, 1)], centre=(1.0, 1.0), shape=(3, 2))
    assert places(picture, WHITE) == ([144, 146, 144, 146], 9)


def test_the_grey_window_is_of_the_breast_alone():
    intensity = np.zeros((200, 160), np.float32)
    intensity[40:160, :100] = np.linspace(0.3, 0.5, 12_000).reshape(120, 100)
    intensity[:6, -6:] = 1.0  # a label
    low, high = breast_window(intensity)
    assert 0.3 <= low < 0.31
    assert 0.49 < high <= 0.5


def test_an_image_of_one_value_has_a_window_too():
    low, high = breast_window(np.full((20, 20), 0.25, np.float32))
    assert low < 0.25 < high
