import json

import numpy as np
import pytest

from calcseg_tf.clinical import Region
from calcseg_tf.clinical.follow_up_regions import read_region
from data_prep.errors import InputError
from tests.fakes.segmentation import write_segmentation

_SIZE = (20, 30)


def test_two_pairs_are_a_rectangle_and_three_a_polygon():
    expected = Region.rectangle(2, 3, 8, 9)
    assert read_region("2,3 8,9", _SIZE) == read_region(" 8,3   2,9 ", _SIZE) == expected
    assert read_region("1,1 1,9.5 7,4", _SIZE) == Region.polygon([(1, 1), (1, 9.5), (7, 4)])


@pytest.mark.parametrize("content", [[[2, 3], [8, 9]], {"corners": [[2, 3], [8, 9]]}])
def test_a_json_file_holds_the_same_pairs(tmp_path, content):
    path = tmp_path / "roi.json"
    path.write_text(json.dumps(content))
    assert read_region(str(path), _SIZE) == Region.rectangle(2, 3, 8, 9)


def test_a_dicom_segmentation_marks_its_convex_hull(tmp_path):
    drawn = np.zeros(_SIZE, bool)
    drawn[4:7, 5:9] = drawn[12, 20] = True
    region = read_region(str(write_segmentation(tmp_path / "roi.dcm", [drawn])), _SIZE)
    inside = region.contains(np.argwhere(drawn))
    assert inside.all()
    assert region.contains(np.array([(8.0, 12.0), (4.0, 20.0), (12.0, 5.0)])).tolist() == [True, False, False]
    np.testing.assert_array_equal(np.array(region.corners).min(axis=0), (3.5, 4.5))
    np.testing.assert_array_equal(np.array(region.corners).max(axis=0), (12.5, 20.5))


@pytest.mark.parametrize(
    ("told", "rule"),
    [
        ("", "a region is 'row,column"),
        ("here", "a region is 'row,column"),
        ("1,2 nan,4", "a region is 'row,column"),
        ("4,4", "at least 3 corners; found 1"),
        ("4,4 4,4", "more than one pixel in its image; found 1"),
        ("19,29 40,40", "more than one pixel in its image; found 1"),
        ("1,1 1,5 1,9", "has an area"),
        ("1.5,2 8,9", "whole pixels"),
        ("20,0 25,9", "overlap its image of 20 rows and 30 columns"),
        ("nowhere.json", "cannot be read"),
        ("nowhere.dcm", "cannot be read"),
    ],
)
def test_what_is_no_region_is_refused(told, rule):
    with pytest.raises(InputError) as error:
        read_region(told, _SIZE)
    assert rule in error.value.rule


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"corners": 3}', "[[1, 2], [3]]", "[[1, true], [2, 3]]",
                                  "[[1, NaN], [2, 3]]", '[["1", 2], [3, 4]]', "\x00"])  # fmt: skip
def test_a_json_file_of_something_else_is_refused(tmp_path, text):
    path = tmp_path / "roi.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"roi\.json"):
        read_region(str(path), _SIZE)


def test_a_segmentation_of_another_size_or_without_pixels_is_refused(tmp_path):
    drawn = np.zeros(_SIZE, bool)
    path = write_segmentation(tmp_path / "roi.dcm", [drawn])
    with pytest.raises(InputError, match="has pixels drawn; found none"):
        read_region(str(path), _SIZE)
    with pytest.raises(InputError, match=r"size of its image, 20 x 31 .* found 20 x 30"):
        read_region(str(path), (20, 31))
