import numpy as np
import pytest
from PIL import Image

from calcseg_tf.clinical.overlay import write_overlay
from calcseg_tf.clinical.statistics import measure
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


def test_many_clusters_widen_the_picture_not_its_windows(tmp_path):
    shapes = []
    for count in (1, 7):
        probability = np.zeros((260, 60 * 7), np.float32)
        for number in range(count):
            probability[100:110:2, 20 + 60 * number] = 0.9
        shapes.append(_draw(tmp_path, probability, (0.4, 0.4)).shape)
    assert shapes[0][0] == shapes[1][0]
    assert shapes[1][1] > shapes[0][1] + 1400  # two more columns of windows, each shown twice


def test_hulls_are_drawn_around_clusters_alone(tmp_path):
    probability = np.zeros((300, 300), np.float32)
    probability[100:201:100, 100:201:100] = 0.9
    without = _draw(tmp_path, probability, (0.05, 0.05))
    probability[150, 150] = 0.9  # the fifth makes a cluster
    around = _draw(tmp_path, probability, (0.05, 0.05))
    # The hull's upper edge, row 99.5 from column 110 to 190, on a mammogram of 8 inches at 170 dpi from (136, 42) on.
    scale = 8 * 170 / 300
    edge = (
        slice(round(136 + 98 * scale), round(136 + 102 * scale)),
        slice(round(42 + 110 * scale), round(42 + 190 * scale)),
    )
    assert (without[edge].min(axis=2) > 240).sum() == 0
    assert (around[edge].min(axis=2) > 240).sum() > 100
