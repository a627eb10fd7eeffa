import itertools

import numpy as np
import pytest

from calcseg_tf.evaluation.finds import disputed_images, strongest_false_alarms, worst_misses
from calcseg_tf.evaluation.objects import FALSE_ALARM, HIT, IGNORED, Calcifications, Candidates


def calcifications(*rows):
    """Of (row, column, area, detection code)."""
    row, column, area, code = np.array(rows, float).reshape(-1, 4).T
    count = len(row)
    return Calcifications(row, column, area.astype(int), code.astype(int), np.zeros(count, int), np.zeros(count))


def candidates(*rows):
    """Of (row, column, area, code, kind)."""
    row, column, area, code, kind = np.array(rows, float).reshape(-1, 5).T
    return Candidates(row, column, area.astype(int), code.astype(int), kind.astype(np.uint8))


def places(finds):
    return [(find.image_id, find.row, find.column) for find in finds]


MISSED = {
    "b": calcifications((1, 1, 4, 500), (2, 2, 9, 100), (3, 3, 9, 30000)),
    "a": calcifications((5, 5, 9, 100), (4, 9, 9, 100), (6, 6, 20, 100), (7, 7, 1, 29999)),
    "none": calcifications(),
}


def test_the_worst_misses_come_first_and_what_is_found_is_no_miss():
    finds = worst_misses(MISSED, 30000, most=10)
    # Of equal probability: the larger, then by id and place. 30000 is found at threshold 30000.
    assert places(finds) == [("a", 6, 6), ("a", 4, 9), ("a", 5, 5), ("b", 2, 2), ("b", 1, 1), ("a", 7, 7)]
    assert (finds[0].area_px, finds[0].probability) == (20, 100 / 65535)
    assert worst_misses(MISSED, 30000, most=2) == finds[:2]
    assert worst_misses(MISSED, 50, most=2) == ()
    assert worst_misses({}, 50, most=2) == ()


def test_the_strongest_false_alarms_come_first_and_hits_and_ignored_are_none():
    images = {
        "b": candidates((1, 1, 5, 40000, FALSE_ALARM), (2, 2, 5, 65535, HIT)),
        "a": candidates((3, 3, 5, 65535, IGNORED), (4, 4, 7, 40000, FALSE_ALARM), (5, 5, 1, 65535, FALSE_ALARM)),
    }
    assert places(strongest_false_alarms(images, most=10)) == [("a", 5, 5), ("a", 4, 4), ("b", 1, 1)]


def test_the_order_of_the_images_changes_nothing():
    orders = [dict(order) for order in itertools.permutations(MISSED.items())]
    assert len({worst_misses(order, 30000, 4) for order in orders}) == 1


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        # One model: the most errors, then by id; without error none.
        ([{"c": 3, "a": 3, "b": 5, "d": 0}], ("b", "a", "c")),
        # Two: the largest difference, 9 - 1, 5 - 3 and 2 - 2, though "b" has most errors in all but "a".
        ([{"a": 9, "b": 5, "c": 2, "d": 0}, {"a": 1, "b": 3, "c": 2, "d": 0}], ("a", "b", "c")),
        # Of equal difference, the one with more errors.
        ([{"a": 1, "b": 7}, {"a": 0, "b": 6}], ("b", "a")),
    ],
)
def test_the_images_in_dispute_come_first(errors, expected):
    assert disputed_images(errors, most=10) == expected
    assert disputed_images(errors, most=1) == expected[:1]
