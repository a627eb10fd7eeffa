import numpy as np
import pytest

from calcseg_tf.clinical.windows import choose_windows
from calcseg_tf.drawing import Box
from tests.clinical.drawing import measured


def _windows(probability, spacing, size):
    return choose_windows(measured(probability, spacing), probability.shape, size)


def _clusters(count: int, level=0.8) -> np.ndarray:
    """Clusters of five specks each, 50 px apart; the last has six."""
    probability = np.zeros((60, 50 * count + 20), np.float32)
    for number in range(count):
        probability[20:30:2, 20 + 50 * number] = level
    probability[30, 20 + 50 * (count - 1)] = level
    return probability


def test_without_clusters_the_strongest_windows_come_first_and_do_not_overlap():
    probability = np.zeros((200, 200), np.float32)
    probability[20:40:4, 20:40:4] = 0.8  # 25 finds
    probability[150, 150:170:4] = 0.8  # 5 finds
    probability[100, 20] = 0.9
    probability[101, 190] = 0.7
    windows = _windows(probability, None, (30, 30))
    assert [(window.label, window.caption) for window in windows] == [("A", ""), ("B", ""), ("C", "")]
    assert [int((window.box.of(probability) > 0).sum()) for window in windows] == [25, 5, 1]
    assert windows[2].box.of(probability).max() == np.float32(0.9)
    boxes = [window.box for window in windows]
    assert not any(one.overlaps(two) for one in boxes for two in boxes if one is not two)


def test_every_cluster_has_a_window_however_faint():
    probability = _clusters(4)
    probability[:, :180] *= 0.7  # three faint ones
    windows = _windows(probability, (0.4, 0.4), (14, 14))
    assert [window.label for window in windows] == ["1", "2", "3", "4"]
    captions = ["5 calcifications, linear"] * 3 + ["6 calcifications, linear"]
    assert [window.caption for window in windows] == captions
    assert [int((window.box.of(probability) > 0).sum()) for window in windows] == [5, 5, 5, 6]


def test_a_cluster_leaves_room_for_two_more_finds():
    probability = _clusters(2)
    probability[5, 5] = 0.9
    windows = _windows(probability, (0.4, 0.4), (14, 14))
    assert [window.label for window in windows] == ["1", "2", "A"]
    assert windows[2].box.of(probability)[7, 7] == 0.0  # moved into the image
    assert windows[2].box == Box(0, 0, 14, 14)


def test_the_twelve_largest_of_more_clusters_are_shown():
    probability = _clusters(14)
    windows = _windows(probability, (0.4, 0.4), (14, 14))
    assert [window.label for window in windows] == [*(str(number) for number in range(1, 12)), "14"]


def test_a_cluster_wider_than_a_window_is_shown_where_it_is_densest():
    probability = np.zeros((120, 120), np.float32)
    probability[60, 10:90:20] = 0.8
    probability[58:64:2, 96:104:2] = 0.8
    (window, *_) = _windows(probability, (0.4, 0.4), (20, 20))
    assert (window.label, int((window.box.of(probability) > 0).sum())) == ("1", 12)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((20, 20), [Box(0, 0, 20, 20), Box(30, 40, 50, 60)]), ((50, 60), [Box(0, 0, 50, 60)])],
)
def test_windows_stay_inside_the_image(size, expected):
    probability = np.zeros((50, 60), np.float32)
    probability[0, 0] = probability[49, 59] = 1.0
    assert [window.box for window in _windows(probability, None, size)] == expected


def test_no_find_gives_no_window():
    assert _windows(np.zeros((9, 9), np.float32), None, (3, 3)) == []
