import numpy as np
import pytest

from calcseg_tf.evaluation import Evaluation
from calcseg_tf.evaluation.strata import DIMENSIONS, class_names


def _result(spacing=(0.1, 0.1), views=("CC", "MLO", "")):
    """In each of three images calcifications of 1, 4 and 30 px; those of 30 px are found, and the dot of the first."""
    evaluation = Evaluation(threshold=0.5, protocols=("zamir",))
    for number, view in enumerate(views):
        mask = np.zeros((60, 300), np.uint8)
        mask[5, 5] = mask[40:42, 5:7] = 1
        mask[5:10, 280:286] = 1
        probability = np.zeros(mask.shape)
        probability[5:10, 280:286] = 0.9
        probability[5, 5] = 0.6 if number == 0 else 0.4
        evaluation.add(probability, mask, f"i{number}", f"p{number}", view=view, pixel_spacing_mm=spacing)
    return evaluation.result(50)


def _counts(result, dimension):
    return {each.name: (each.objects, each.detected) for each in result.strata if each.dimension == dimension}


def test_classes_by_area_are_inclusive_and_hold_every_calcification():
    assert _counts(_result(), "area_px") == {
        "1": (3, 1), "2 to 4": (3, 0), "5 to 9": (0, 0), "10 to 24": (0, 0), "25 to 99": (3, 3), "from 100": (0, 0),
    }  # fmt: skip


def test_the_diameter_is_that_of_the_circle_and_needs_a_spacing():
    # 1 px: 0.113 mm; 4 px: 0.226 mm; 30 px: 0.618 mm.
    assert _counts(_result(), "diameter_mm") == {
        "0 to below 0.1": (0, 0), "0.1 to below 0.25": (6, 1), "0.25 to below 0.5": (0, 0), "0.5 to below 1": (3, 3),
        "from 1": (0, 0),
    }  # fmt: skip
    unknown = _result(spacing=None)
    assert set(_counts(unknown, "diameter_mm").values()) == {(0, 0)}
    assert all(unknown.figures[each.path].value is None for each in unknown.strata if each.dimension == "diameter_mm")


def test_views_are_the_terms_that_occur():
    assert _counts(_result(), "view") == {"CC": (3, 2), "MLO": (3, 1), "unknown": (3, 1)}
    assert _counts(_result(views=("XCCL",)), "view") == {"XCCL": (3, 2)}


def test_neighbours_lie_within_ten_mm():
    # The dot and the 4 px are 3.5 mm apart; the third is 27 mm away. At 0.5 mm a pixel all are alone.
    assert _counts(_result(), "neighbours") == {
        "0": (3, 3), "1 to 4": (6, 1), "5 to 9": (0, 0), "10 to 19": (0, 0), "from 20": (0, 0),
    }  # fmt: skip
    assert _counts(_result(spacing=(0.5, 0.5)), "neighbours")["0"] == (9, 4)
    assert _counts(_result(spacing=None), "neighbours")["1 to 4"] == (6, 1)  # 143 px


def test_each_class_has_its_sensitivity_with_an_interval_or_the_reason():
    result = _result()
    for stratum in result.strata:
        figure, interval = result.figures[stratum.path], result.intervals[stratum.path]
        if stratum.objects:
            assert figure.value == pytest.approx(stratum.detected / stratum.objects)
        else:
            assert figure.reason == f"no calcification of class {stratum.name} in the images"
            assert interval.low is None
    interval = result.intervals["strata.area_px.1.sensitivity"]
    assert 0 <= interval.low < 1 / 3 < interval.high <= 1


def test_every_class_without_a_gap():
    for dimension in DIMENSIONS:
        if dimension.edges:
            assert len(class_names(dimension, ())) == len(dimension.edges) - 1
            assert np.isinf(dimension.edges[-1])
