import numpy as np
import pytest
from PIL import Image

from calcseg_tf.clinical.overlay import choose_boxes, write_overlay
from calcseg_tf.clinical.statistics import measure
from calcseg_tf.drawing import Box
from data_prep.mammogram import SpacingSource


def _draw(folder, probability, spacing=(0.07, 0.07), threshold=0.5) -> np.ndarray:
    """Returns the picture, uint8 [height, width, 3]."""
    intensity = np.linspace(0, 1, probability.size, dtype=np.float32).reshape(probability.shape)
    source = SpacingSource.FLAG if spacing else SpacingSource.UNKNOWN
    codes = np.rint(probability * np.float32(65535)).astype(np.uint16)
    statistics = measure(codes, intensity, threshold, spacing, source)
    write_overlay(folder / "overlay.png", intensity, codes, statistics, "case")
    with Image.open(folder / "overlay.png") as image:
        return np.asarray(image.convert("RGB"))


def _red(picture: np.ndarray) -> np.ndarray:
    red, green, blue = (picture[..., channel].astype(int) for channel in range(3))
    return (red > 180) & (green < 110) & (blue < 110)


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((1, 1), None), ((16, 16), (0.07, 0.07)), ((40, 300), None), ((300, 40), (0.05, 0.1)), ((500, 700), (0.1, 0.05))],
)
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_any_shape_is_drawn_with_and_without_finds(tmp_path, shape, spacing, level):
    probability = np.zeros(shape, np.float32)
    probability[shape[0] // 2, shape[1] // 2] = level
    picture = _draw(tmp_path, probability, spacing)
    assert picture.shape[0] > 900
    assert 900 < picture.shape[1] < 3200
    # The colour bar alone has few red pixels; a find adds more of them.
    assert (_red(picture[:, : picture.shape[1] * 3 // 4]).sum() > 0) == (level == 1.0)


def test_a_single_pixel_of_a_large_mammogram_stays_visible(tmp_path):
    probability = np.zeros((3000, 2400), np.float32)
    probability[2000, 1001] = 1.0
    picture = _draw(tmp_path, probability)
    left = _red(picture[:, : int(picture.shape[1] * 0.45)])
    assert left.sum() >= 4


def test_a_low_probability_leaves_the_mammogram_as_it_is(tmp_path):
    picture = _draw(tmp_path, np.full((200, 200), 0.05, np.float32))[150:-150, 60 : 60 + 800].astype(int)
    assert np.ptp(picture, axis=2).max() <= 2


def test_the_densest_windows_come_first_and_do_not_overlap():
    probability = np.zeros((200, 200), np.float32)
    probability[20:40:4, 20:40:4] = 0.8  # 25 finds
    probability[150, 150:170:4] = 0.8  # 5 finds
    probability[100, 20] = 0.9
    probability[101, 190] = 0.7
    statistics = measure(probability, probability, 0.5, None, SpacingSource.UNKNOWN)
    boxes = choose_boxes(statistics, (200, 200), (30, 30))
    assert len(boxes) == 3
    counts = [int((box.of(probability) > 0).sum()) for box in boxes]
    assert counts == [25, 5, 1]
    assert boxes[2].of(probability).max() == np.float32(0.9)
    assert not any(one.overlaps(two) for one in boxes for two in boxes if one is not two)


def test_windows_stay_inside_the_image():
    probability = np.zeros((50, 60), np.float32)
    probability[0, 0] = probability[49, 59] = 1.0
    statistics = measure(probability, probability, 0.5, None, SpacingSource.UNKNOWN)
    assert choose_boxes(statistics, (50, 60), (20, 20)) == [Box(0, 0, 20, 20), Box(30, 40, 50, 60)]
    assert choose_boxes(statistics, (50, 60), (50, 60)) == [Box(0, 0, 50, 60)]


def test_no_find_gives_no_window():
    statistics = measure(np.zeros((9, 9), np.float32), np.zeros((9, 9), np.float32), 0.5, None, SpacingSource.UNKNOWN)
    assert choose_boxes(statistics, (9, 9), (3, 3)) == []
