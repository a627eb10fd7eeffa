import json
import pathlib

import numpy as np
import pydicom
import pytest

from calcseg_tf.clinical import Region
from calcseg_tf.clinical.follow_up_regions import read_region
from data_prep.errors import InputError
from tests.fakes.annotations import write_presentation_state, write_report
from tests.fakes.dicom import fake_dicom, fake_uid, write_dicom
from tests.fakes.folder import write_png
from tests.fakes.segmentation import write_segmentation

_SIZE = (20, 30)
_PNG = pathlib.Path("exam.png")
_PIXELS = np.arange(600, dtype=np.uint16).reshape(_SIZE)

# (column, row) from the corner of the first pixel: the pixels of rows 2 to 8 and columns 3 to 9.
_SQUARE = ((3, 2), (10, 2), (10, 9), (3, 9), (3, 2))
_WRITERS = {"sr": write_report, "pr": write_presentation_state}


@pytest.fixture
def exam(tmp_path):
    """The file of an exam, and what it holds."""
    return write_dicom(tmp_path / "exam.dcm", _PIXELS), fake_dicom(_PIXELS)


def _other():
    return fake_dicom(_PIXELS, SOPInstanceUID=fake_uid(2, 77))


def test_two_pairs_are_a_rectangle_and_three_a_polygon():
    expected = Region.rectangle(2, 3, 8, 9)
    assert read_region("2,3 8,9", _SIZE, _PNG) == read_region(" 8,3   2,9 ", _SIZE, _PNG) == expected
    assert read_region("1,1 1,9.5 7,4", _SIZE, _PNG) == Region.polygon([(1, 1), (1, 9.5), (7, 4)])


@pytest.mark.parametrize("content", [[[2, 3], [8, 9]], {"corners": [[2, 3], [8, 9]]}])
def test_a_json_file_holds_the_same_pairs(tmp_path, content):
    path = tmp_path / "roi.json"
    path.write_text(json.dumps(content))
    assert read_region(str(path), _SIZE, _PNG) == Region.rectangle(2, 3, 8, 9)


def test_a_dicom_segmentation_marks_its_convex_hull(tmp_path, exam):
    path, image = exam
    drawn = np.zeros(_SIZE, bool)
    drawn[4:7, 5:9] = drawn[12, 20] = True
    region = read_region(str(write_segmentation(tmp_path / "roi.dcm", [drawn], image=image)), _SIZE, path)
    inside = region.contains(np.argwhere(drawn))
    assert inside.all()
    assert region.contains(np.array([(8.0, 12.0), (4.0, 20.0), (12.0, 5.0)])).tolist() == [True, False, False]
    np.testing.assert_array_equal(np.array(region.corners).min(axis=0), (3.5, 4.5))
    np.testing.assert_array_equal(np.array(region.corners).max(axis=0), (12.5, 20.5))


@pytest.mark.parametrize("kind", _WRITERS)
def test_a_closed_outline_of_a_report_or_a_presentation_state_is_a_region(tmp_path, exam, kind):
    path, image = exam
    file = _WRITERS[kind](tmp_path / "roi.dcm", [("POLYLINE", _SQUARE, image)])
    region = read_region(str(file), _SIZE, path)
    assert region.corners == ((1.5, 2.5), (1.5, 9.5), (8.5, 9.5), (8.5, 2.5))
    assert set(region.corners) == set(Region.rectangle(2, 3, 8, 9).corners)


@pytest.mark.parametrize("kind", _WRITERS)
def test_circles_and_ellipses_are_polygons(tmp_path, exam, kind):
    path, image = exam
    circle = _WRITERS[kind](tmp_path / "circle.dcm", [("CIRCLE", ((15.5, 10.5), (15.5, 4.5)), image)])
    corners = np.array(read_region(str(circle), _SIZE, path).corners)
    np.testing.assert_allclose(np.hypot(*(corners - (10, 15)).T), 6)
    axes = ((4.5, 10.5), (24.5, 10.5), (14.5, 5.5), (14.5, 15.5))
    ellipse = _WRITERS[kind](tmp_path / "ellipse.dcm", [("ELLIPSE", axes, image)])
    rows, columns = np.array(read_region(str(ellipse), _SIZE, path).corners).T
    np.testing.assert_allclose(((rows - 10) / 5) ** 2 + ((columns - 14) / 10) ** 2, 1)


@pytest.mark.parametrize("kind", _WRITERS)
def test_what_is_drawn_on_other_images_and_what_is_open_is_passed_over(tmp_path, exam, kind):
    path, image = exam
    elsewhere = [(column + 5, row) for column, row in _SQUARE]
    drawn = [("POLYLINE", elsewhere, _other()), ("POLYLINE", ((1, 1), (9, 9)), image), ("POLYLINE", _SQUARE, image)]
    region = read_region(str(_WRITERS[kind](tmp_path / "roi.dcm", drawn)), _SIZE, path)
    assert set(region.corners) == set(Region.rectangle(2, 3, 8, 9).corners)


def test_an_image_that_is_named_by_its_place_in_the_tree_counts(tmp_path, exam):
    path, image = exam
    file = write_report(tmp_path / "roi.dcm", [("POLYLINE", _SQUARE, image)])
    report = pydicom.dcmread(file)
    groups = report.ContentSequence[-1].ContentSequence[0].ContentSequence
    outline = next(item for item in groups if item.ValueType == "SCOORD")
    library = outline.ContentSequence[0]
    report.ContentSequence.append(library)
    named = pydicom.Dataset()
    named.RelationshipType = "SELECTED FROM"
    named.ReferencedContentItemIdentifier = [1, len(report.ContentSequence)]
    outline.ContentSequence = [named]
    report.save_as(file)
    assert len(read_region(str(file), _SIZE, path).corners) == 4
    named.ReferencedContentItemIdentifier = [1, 99]
    report.save_as(file)
    with pytest.raises(InputError, match="must name its image"):
        read_region(str(file), _SIZE, path)


@pytest.mark.parametrize("kind", [*_WRITERS, "seg"])
def test_what_was_drawn_on_another_image_is_refused(tmp_path, exam, kind):
    path, _ = exam
    file = tmp_path / "roi.dcm"
    if kind == "seg":
        write_segmentation(file, [np.ones(_SIZE, bool)], image=_other())
    else:
        _WRITERS[kind](file, [("POLYLINE", _SQUARE, _other())])
    with pytest.raises(InputError, match="drawn on another image") as error:
        read_region(str(file), _SIZE, path)
    assert error.value.where == str(file)
    assert _other().SOPInstanceUID not in str(error.value)
    with pytest.raises(InputError, match="this one has none"):
        read_region(str(file), _SIZE, write_png(tmp_path / "exam.png", _PIXELS))


@pytest.mark.parametrize("kind", _WRITERS)
def test_none_and_several_outlines_are_refused(tmp_path, exam, kind):
    path, image = exam
    line = _WRITERS[kind](tmp_path / "line.dcm", [("POLYLINE", ((1, 1), (9, 9)), image)])
    with pytest.raises(InputError, match="must hold a closed outline; found none"):
        read_region(str(line), _SIZE, path)
    two = _WRITERS[kind](tmp_path / "two.dcm", [("POLYLINE", _SQUARE, image)] * 2)
    with pytest.raises(InputError, match="one closed outline of its image; found 2"):
        read_region(str(two), _SIZE, path)


def test_other_dicom_files_and_other_units_are_refused(tmp_path, exam):
    path, image = exam
    with pytest.raises(InputError, match="SR or PR; found MG"):
        read_region(str(path), _SIZE, path)
    shares = [(column / 30, row / 20) for column, row in _SQUARE]
    file = write_presentation_state(tmp_path / "roi.dcm", [("POLYLINE", shares, image)], "DISPLAY")
    with pytest.raises(InputError, match="PIXEL; found DISPLAY"):
        read_region(str(file), _SIZE, path)
    report = pydicom.dcmread(write_report(tmp_path / "roi.dcm", [("POLYLINE", _SQUARE, image)]))
    outline = next(i for i in report.ContentSequence[-1].ContentSequence[0].ContentSequence if i.ValueType == "SCOORD")
    for damaged, rule in (([1.0] * 5, "pairs of numbers"), ([1.0, float("nan")] * 4, "pairs of numbers")):
        outline.GraphicData = damaged
        report.save_as(tmp_path / "roi.dcm")
        with pytest.raises(InputError, match=rule):
            read_region(str(tmp_path / "roi.dcm"), _SIZE, path)


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
        read_region(told, _SIZE, _PNG)
    assert rule in error.value.rule


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"corners": 3}', "[[1, 2], [3]]", "[[1, true], [2, 3]]",
                                  "[[1, NaN], [2, 3]]", '[["1", 2], [3, 4]]', "\x00"])  # fmt: skip
def test_a_json_file_of_something_else_is_refused(tmp_path, text):
    path = tmp_path / "roi.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"roi\.json"):
        read_region(str(path), _SIZE, _PNG)


def test_a_segmentation_of_another_size_or_without_pixels_is_refused(tmp_path, exam):
    path, image = exam
    file = write_segmentation(tmp_path / "roi.dcm", [np.zeros(_SIZE, bool)], image=image)
    with pytest.raises(InputError, match="has pixels drawn; found none"):
        read_region(str(file), _SIZE, path)
    with pytest.raises(InputError, match=r"size of its image, 20 x 31 .* found 20 x 30"):
        read_region(str(file), (20, 31), path)
