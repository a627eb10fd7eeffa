import pickle
import plistlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.datasets import RoiRules
from data_prep.datasets.inbreast_rois import PlistRois
from data_prep.errors import InputError
from tests.fakes.inbreast import plist_bytes, roi

SIZE = (6, 8)
SQUARE = ((2, 1), (5, 1), (5, 4), (2, 4))  # (x, y): columns 2 to 4 of rows 1 to 3
NOTHING = ["........"] * 6


def annotation(path, *rois, rules=None, **changes):
    path.write_bytes(plist_bytes(rois, **changes))
    return PlistRois(path, rules or RoiRules())


def drawn(rois, size=SIZE):
    shown = {0: ".", 1: "#", 255: "~"}
    return ["".join(shown[pixel] for pixel in row) for row in rois.mask(size).tolist()]


@pytest.fixture
def xml(tmp_path):
    return tmp_path / "20586908.xml"


# What is drawn.


def test_points_are_pixels_and_outlines_are_filled(xml):
    rois = annotation(
        xml,
        roi("Calcification", (0.9, 0.2)),
        roi("Calcification", (7.5, 0.5), (7.5, 2.5)),
        roi("Calcification", *SQUARE),
        roi("Calcification", (0.1, 5.1), (0.3, 5.1), (0.1, 5.3)),
    )
    assert drawn(rois) == [
        "#......#",
        "..###...",
        "..###..#",
        "..###...",
        "........",
        "#.......",
    ]
    assert rois.warnings(SIZE) == ()


def test_a_radius_widens_points_alone(xml):
    rules = RoiRules(point_radius_px=1.0)
    rois = annotation(xml, roi("Calcification", (6.5, 4.5)), roi("Calcification", *SQUARE), rules=rules)
    assert drawn(rois) == [
        "........",
        "..###...",
        "..###...",
        "..###.#.",
        ".....###",
        "......#.",
    ]


@pytest.mark.parametrize("name", ["Cluster", "Calcifications", "CLUSTER", " calcifications "])
def test_outlines_of_many_are_ignored_but_for_calcifications_within(xml, name):
    # The calcification comes first in the file and stays on top.
    rois = annotation(xml, roi("calcification", (3.5, 2.5)), roi(name, *SQUARE), roi("CALCIFICATION", (0, 0)))
    assert drawn(rois) == ["#.......", "..~~~...", "..~#~...", "..~~~...", *NOTHING[4:]]
    assert rois.warnings(SIZE) == ()


@pytest.mark.parametrize(
    "name",
    ["Mass", "mass", "Spiculated Region", "Espiculated Region", "Distortion", "Asymmetry", "Assymetry", "Asimmetry",
     "Unnamed", "", "Point 1", "Point 3"],
)  # fmt: skip
def test_other_names_of_the_release_are_background_without_a_word(xml, name):
    rois = annotation(xml, roi(name, *SQUARE), roi(name, (0, 0)))
    assert drawn(rois) == NOTHING
    assert rois.warnings(SIZE) == ()


def test_unknown_names_are_left_out_and_told_by_number(xml):
    # Not by name: free text might say who the patient is.
    odd = [roi("Musterfrau^Erika", (index, 0)) for index in range(6)]
    rois = annotation(xml, roi("Mass"), roi("Calcifiction", *SQUARE), *odd, roi("Calcification", (0, 5)))
    assert drawn(rois) == [*NOTHING[:5], "#......."]
    assert rois.warnings(SIZE) == (
        "ROIs of an unknown name are left out, by number: 2 (like calcification), 3, 4, 5, 6, and 2 more",
    )


def test_names_decide_as_told(xml):
    rules = RoiRules(("Calcification", "point 1"), ("Mass",))
    rois = annotation(
        xml,
        roi("Point 1", (0, 0)),
        roi("Mass", *SQUARE),
        roi("Cluster", (7, 0)),
        roi("Calcification", (7, 5)),
        rules=rules,
    )
    assert drawn(rois) == ["#.......", "..~~~...", "..~~~...", "..~~~...", "........", ".......#"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"calcification_names": ("Calcificaton",)}, ["--inbreast_calcification_names", "did you mean calcification?"]),
        ({"ignore_names": ("zzz",)}, ["--inbreast_ignore_names", "'zzz'", "point 1"]),
        ({"calcification_names": ()}, ["--inbreast_calcification_names", "at least one"]),
        ({"calcification_names": ("CLUSTER",)}, ["--inbreast_ignore_names", "'cluster'"]),
        ({"point_radius_px": -1.0}, ["--inbreast_point_radius_px", "-1.0"]),
        ({"point_radius_px": 51.0}, ["--inbreast_point_radius_px", "51.0"]),
        ({"point_radius_px": float("nan")}, ["--inbreast_point_radius_px", "nan"]),
    ],
)
def test_rules_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(InputError) as caught:
        RoiRules(**settings)
    assert all(word in str(caught.value) for word in words)


# What does not fit is told.


def test_points_outside_are_left_out_or_cut_and_counted(xml):
    rois = annotation(
        xml,
        roi("Calcification", (8.0, 0.5)),
        roi("Calcification", (-0.5, 3.0), (1.5, 3.5)),
        roi("Calcification", (6, -2), (10, -2), (10, 2), (6, 2)),
        roi("Mass", (99, 99)),
    )
    assert drawn(rois) == ["......##", "......##", "........", ".#......", *NOTHING[4:]]
    assert rois.warnings(SIZE) == ("points outside the frame, spots left out and outlines cut: 5",)


def test_a_region_without_points_is_left_out_and_counted(xml):
    no_list = roi("Calcification", Point_px=None)
    rois = annotation(xml, roi("Calcification"), no_list, roi("Cluster"), roi("Mass"), roi("Calcification", (1, 1)))
    assert drawn(rois) == [NOTHING[0], ".#......", *NOTHING[2:]]
    assert rois.warnings(SIZE) == ("ROIs without a point are left out: 3",)


def test_the_list_of_points_wins_over_their_number(xml):
    rois = annotation(
        xml,
        roi("Calcification", *SQUARE, NumberOfPoints=1),
        roi("Calcification", (0, 0), NumberOfPoints=None),
        roi("Mass", (0, 0), NumberOfPoints=9),
    )
    assert drawn(rois) == ["#.......", "..###...", "..###...", "..###...", *NOTHING[4:]]
    assert rois.warnings(SIZE) == ("NumberOfPoints differs from the points of a ROI, which are taken: 2",)


@pytest.mark.parametrize(("stated", "told"), [(5, "5"), ("two", "no whole number"), (None, "no whole number")])
def test_the_list_of_rois_wins_over_their_number(xml, stated, told):
    rois = annotation(xml, roi("Calcification", (0, 0)), NumberOfROIs=stated)
    assert drawn(rois)[0] == "#......."
    assert rois.warnings(SIZE) == (f"NumberOfROIs is {told}, found 1: the list is taken",)


def test_the_first_of_several_images_counts(xml):
    images = [{"NumberOfROIs": 1, "ROIs": [roi("Calcification", (column, 0))]} for column in range(3)]
    xml.write_bytes(plistlib.dumps({"Images": images}))
    assert drawn(PlistRois(xml))[0] == "#......."
    assert PlistRois(xml).warnings(SIZE) == ("the first of 3 Images is taken",)


@pytest.mark.parametrize("images", [[], [{"NumberOfROIs": 0, "ROIs": []}]])
def test_an_annotation_may_hold_nothing(xml, images):
    xml.write_bytes(plistlib.dumps({"Images": images}))
    assert drawn(PlistRois(xml)) == NOTHING
    assert PlistRois(xml).warnings(SIZE) == ()


def test_an_image_without_annotation_is_background():
    rois = PlistRois(None, notes=("a note",))
    rois.check(SIZE)
    assert drawn(rois) == NOTHING
    assert rois.warnings(SIZE) == ("a note",)


@pytest.mark.parametrize(
    ("rois", "outlined"),
    [
        ([roi("Calcification", *SQUARE)], True),
        ([roi("Calcification", (0, 0)), roi("calcification", *SQUARE[:3])], True),
        ([roi("Calcification", (0, 0)), roi("Calcification", (0, 0), (1, 1)), roi("Cluster", *SQUARE)], False),
        ([roi("Mass", *SQUARE)], False),
    ],
)
def test_an_outlined_calcification_has_three_points(xml, rois, outlined):
    assert annotation(xml, *rois).has_outlined_calcification() is outlined


# Bad input.

LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE plist [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<plist version="1.0"><dict><key>Images</key><string>&b;</string></dict></plist>"""

WHOLE = plist_bytes([roi("Calcification", *SQUARE)])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a whole XML property list"),
        (WHOLE[: len(WHOLE) // 2], "not a whole XML property list (ExpatError)"),
        (b"<html><body>404</body></html>", "must hold Images"),
        (LAUGHS, "not a whole XML property list (InvalidFileException)"),
        (plistlib.dumps({"Images": []}, fmt=plistlib.FMT_BINARY), "not a whole XML property list"),
        (WHOLE.replace(b"Calcification", b"Calcifica\xe7\xe3o"), "not a whole XML property list"),
        (b" " * 8_000_001, "at most 8000000 bytes"),
        (plistlib.dumps(["Images"]), "must hold Images"),
        (plistlib.dumps({"images": []}), "must hold Images"),
        (plistlib.dumps({"Images": {"ROIs": []}}), "must hold Images"),
        (plistlib.dumps({"Images": [[]]}), "must hold Images"),
        (plistlib.dumps({"Images": [{}]}), "must hold ROIs"),
        (plist_bytes([], ROIs={}), "must hold ROIs"),
        (plist_bytes([], ROIs=["Calcification"]), "must hold ROIs"),
        (plist_bytes([roi("Calcification", Name=None)]), "must have a Name"),
        (plist_bytes([roi("Calcification", Name=7)]), "must have a Name"),
        (plist_bytes([roi("Mass"), roi("Calcification", (0, 0), Point_px=None)]), "ROI 2 must hold Point_px, a list"),
        (plist_bytes([roi("Cluster", Point_px="(0, 0)")]), "ROI 1 must hold Point_px, a list; found a str"),
        *(
            (plist_bytes([roi("Mass"), roi("Calcification", Point_px=["(1, 1)", point])]), "found another in ROI 2")
            for point in (
                "", "(1, )", "(1)", "(1, 2, 3)", "1, 2", "(a, b)", "(nan, 1)", "(1, nan)", "(inf, 0)", "(0, -inf)",
                "(1e300, 0)", "(0, 65536)", "(-65536, 0)", "(" + "1" * 10_000 + ", 1)", 7, ["(1, 1)"], b"(1, 1)",
            )
        ),
    ],
)  # fmt: skip
def test_damaged_annotations_are_refused_in_one_line(xml, data, words):
    xml.write_bytes(data)
    for call in (PlistRois(xml).check, PlistRois(xml).mask, PlistRois(xml).warnings):
        with pytest.raises(InputError) as caught:
            call(SIZE)
        assert words in caught.value.rule
        assert caught.value.where == str(xml)
        assert len(caught.value.rule.splitlines()) == 1
        assert len(caught.value.rule) < 160
    assert pickle.loads(pickle.dumps(caught.value)).rule == caught.value.rule


def test_regions_that_are_not_drawn_need_no_points(xml):
    rois = annotation(xml, roi("Mass", Point_px=["(nan, nan)"]), roi("Odd", Point_px=7), roi("Calcification", (0, 0)))
    assert drawn(rois)[0] == "#......."


def test_outlines_that_would_take_minutes_are_refused(xml):
    corners = [f"({65_000 * (index % 2)}, {index % 4_000})" for index in range(30_000)]
    rois = annotation(xml, roi("Cluster", Point_px=corners))
    with pytest.raises(InputError, match="at most 100000000 steps to draw"):
        rois.check((4084, 3328))


def test_an_annotation_that_is_gone_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"none\.xml: cannot be read \(No such file"):
        PlistRois(tmp_path / "none.xml").check(SIZE)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_mutation_is_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "mutated.xml"
    content = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content) - 1))
        end = start + data.draw(st.integers(0, 30))
        content[start:end] = data.draw(st.binary(max_size=8) | st.sampled_from([b"9" * 20, b"-", b"e", b"nan", b"<"]))
    path.write_bytes(content)
    error = None
    try:
        mask = PlistRois(path).mask(SIZE)
        warnings = PlistRois(path).warnings(SIZE)
    except InputError as refused:
        error = refused
    if error is None:
        assert set(np.unique(mask)) <= {0, 1, 255}
        assert all(len(warning.splitlines()) == 1 for warning in warnings)
    else:
        assert error.where == str(path)
        assert len(error.rule.splitlines()) == 1
