import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calcseg_tf.evaluation.components import annotated_objects
from calcseg_tf.evaluation.components import predicted_components as measure
from calcseg_tf.evaluation.objects import (
    FALSE_ALARM,
    HIT,
    IGNORED,
    NEIGHBOUR_PX,
    describe_calcifications,
    describe_candidates,
)
from data_prep.mask import CALCIFICATION, IGNORE
from tests.evaluation import reference

_LEVELS = {".": 0, "1": 100, "2": 200, "3": 300}
_MASK = {".": 0, "x": 1, "?": 255}

_IMAGES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.uint16, shape, elements=st.integers(0, 3)),
        hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 1, 255])),
    )
)


def _codes(*rows):
    return np.array([[_LEVELS[cell] for cell in row] for row in rows], np.uint16)


def _mask(*rows):
    return np.array([[_MASK[cell] for cell in row] for row in rows], np.uint8)


def annotated_calcifications(codes, mask, code, connectivity=8, pixel_spacing_mm=None):
    objects, components = annotated_objects(codes, mask, connectivity), measure(codes, mask, code, connectivity)
    return describe_calcifications(objects, components, pixel_spacing_mm)


def predicted_components(codes, mask, code, connectivity=8):
    return describe_candidates(measure(codes, mask, code, connectivity), codes, mask, code, connectivity)


def test_hand_drawn_calcifications():
    # The first is 4 px, 2 of them predicted by a component of 3 px and 1 by one of 1 px; the second is missed.
    mask = _mask("xxxx.....", ".........", ".......xx")
    codes = _codes("31.2.....", "33.......", "........1")
    found = annotated_calcifications(codes, mask, 200, connectivity=4)
    assert found.row.tolist() == [0.0, 2.0]
    assert found.column.tolist() == [1.5, 7.5]
    assert found.area_px.tolist() == [4, 2]
    assert found.detection_code.tolist() == [300, 100]
    # Predicted at 200: (0,0) with the two below it, 3 px, and (0,3): 2 px shared, 4 + 3 + 1 - 2 in the union.
    assert found.iou.tolist() == [2 / 6, 0.0]


def test_an_object_is_compared_with_the_whole_component_that_touches_it_even_if_that_touches_another():
    found = annotated_calcifications(_codes("33333"), _mask("x...x"), 200)
    assert found.iou.tolist() == [1 / 5, 1 / 5]


def test_hand_drawn_components_are_hits_false_alarms_and_ignored():
    mask = _mask("x....??", "......?", ".......", "..?....")
    codes = _codes("33...22", ".......", "......1", ".13..2.")
    found = predicted_components(codes, mask, 100)
    assert found.kind.tolist() == [HIT, FALSE_ALARM, FALSE_ALARM, IGNORED]
    assert found.area_px.tolist() == [2, 2, 1, 2]
    assert found.code.tolist() == [300, 200, 100, 200]
    assert (found.row.tolist(), found.column.tolist()) == ([0.0, 2.5, 3.0, 0.0], [0.5, 5.5, 1.0, 5.5])
    assert [found.count(kind) for kind in (HIT, FALSE_ALARM, IGNORED)] == [1, 2, 1]


def test_neighbours_are_counted_in_mm_where_the_spacing_is_known_and_in_px_where_not():
    mask = np.zeros((4, 400), np.uint8)
    for column in (0, 100, 201, 350):
        mask[1, column] = 1
    codes = np.zeros(mask.shape, np.uint16)

    def neighbours(spacing):
        return annotated_calcifications(codes, mask, 9, pixel_spacing_mm=spacing).neighbours.tolist()

    assert neighbours((0.1, 0.1)) == [1, 1, 0, 0]  # 10.0 mm counts, 10.1 mm does not
    assert neighbours((0.1, 0.05)) == [1, 2, 2, 1]
    assert NEIGHBOUR_PX == 143
    assert neighbours(None) == [1, 2, 1, 0]


@settings(max_examples=150, deadline=None)
@given(_IMAGES, st.integers(1, 3), st.sampled_from([4, 8]))
def test_both_tables_agree_with_flood_fill(image, code, connectivity):
    codes, mask = image
    truth = reference.components(mask == CALCIFICATION, connectivity)
    predicted = reference.components((codes >= code) & (mask != IGNORE), connectivity)
    whole = reference.components(codes >= code, connectivity)

    objects = annotated_calcifications(codes, mask, code, connectivity)
    expected = []
    for each in truth:
        union = each.union(*(other for other in predicted if other & each))
        covered = sum(len(other & each) for other in predicted)
        place = np.mean(sorted(each), axis=0)
        expected.append((*place, len(each), max(codes[pixel] for pixel in each), covered / len(union)))
    rows = zip(objects.row, objects.column, objects.area_px, objects.detection_code, objects.iou, strict=True)
    np.testing.assert_allclose(sorted(rows), sorted(expected))

    candidates = predicted_components(codes, mask, code, connectivity)
    expected = [(HIT if any(each & one for one in truth) else FALSE_ALARM, each) for each in predicted]
    expected += [(IGNORED, each) for each in whole if all(mask[pixel] == IGNORE for pixel in each)]
    expected = [
        (*np.mean(sorted(each), axis=0), len(each), max(codes[pixel] for pixel in each), kind)
        for kind, each in expected
    ]
    columns = (candidates.row, candidates.column, candidates.area_px, candidates.code, candidates.kind)
    np.testing.assert_allclose(sorted(zip(*columns, strict=True)), sorted(expected))


@pytest.mark.parametrize("value", [0, 65535])
def test_nothing_annotated_gives_no_rows(value):
    codes, mask = np.full((3, 4), value, np.uint16), np.zeros((3, 4), np.uint8)
    assert len(annotated_calcifications(codes, mask, 9)) == 0
    assert len(predicted_components(codes, mask, 9)) == (value > 0)
