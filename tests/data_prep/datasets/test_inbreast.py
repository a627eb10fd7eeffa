import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.conversion import pipeline
from data_prep.datasets import InBreast, Overrides, Subset
from data_prep.errors import InputError
from data_prep.mammogram import Laterality, View
from data_prep.manifest import read_manifest
from data_prep.schema import from_example
from data_prep.tfrecord import read_tfrecord
from data_prep.verification import verify_records
from tests.fakes.commands import assert_one_line_error, run_module
from tests.fakes.inbreast import HEADER, FakeImage, plist_bytes, roi, write_inbreast, write_spreadsheet, write_table

SQUARE = ((2, 1), (5, 1), (5, 4), (2, 4))  # (x, y): columns 2 to 4 of rows 1 to 3
WHOLE = plist_bytes([roi("Calcification", *SQUARE)])

# The tree.

HEX = "6c613a14b80a8591", "036aff49b8ac84f0", "fe7d005dcbbfb46d"
IMAGES = (
    FakeImage("20586908", HEX[0], "R", "CC", (roi("Calcification", *SQUARE), roi("Mass", *SQUARE)), "4a"),
    FakeImage("20586934", HEX[0], "L", "CC", (roi("Calcification", (3, 4)),), "2"),
    FakeImage("20586960", HEX[1], "R", "ML", (roi("Cluster", *SQUARE), roi("Odd", (1, 1))), "5"),
    FakeImage("20586986", HEX[2], "L", "ML", None, "1"),
)


@pytest.fixture
def tree(tmp_path):
    return write_inbreast(tmp_path / "inbreast", IMAGES)


def told(listing):
    return {bad.file: bad.reason for bad in listing.rejected}


def notes(listing):
    return {case.key: case.annotation.notes for case in listing.cases if case.annotation.notes}


def test_patient_side_and_view_come_from_the_name_and_ml_means_mlo(tree):
    listing = InBreast().list_cases(tree)
    assert {case.key: case.overrides for case in listing.cases} == {
        "20586908": Overrides(HEX[0], Laterality.RIGHT, View.CC),
        "20586934": Overrides(HEX[0], Laterality.LEFT, View.CC),
        "20586960": Overrides(HEX[1], Laterality.RIGHT, View.MLO),
        "20586986": Overrides(HEX[2], Laterality.LEFT, View.MLO),
    }
    assert [case.file for case in listing.cases] == [image.file for image in IMAGES]
    assert [case.annotation.path for case in listing.cases] == [
        *(tree / "AllXML" / f"{image.id}.xml" for image in IMAGES[:3]),
        None,
    ]
    assert listing.rejected == ()
    assert notes(listing) == {}
    assert pickle.loads(pickle.dumps(listing)) == listing


def test_stray_files_are_passed_over_or_reported(tree):
    for name in ("Thumbs.db", "._20586908_6c613a14b80a8591_MG_R_CC_ANON.dcm", "notes.txt"):
        (tree / "AllDICOMs" / name).write_text("")
    (tree / "AllXML" / ".DS_Store").write_text("")
    (tree / "AllXML" / "readme.txt").write_text("")
    (tree / "AllDICOMs" / "20586908.dcm").write_text("")
    (tree / "AllDICOMs" / f"20586908_{HEX[0][:-1]}_MG_R_CC_ANON.dcm").write_text("")
    (tree / "AllDICOMs" / "scan").write_bytes(bytes(128) + b"DICM")
    (tree / "AllXML" / "53587663.xml").write_bytes(WHOLE)
    (tree / "AllXML" / "copy of 20586908.xml").write_bytes(WHOLE)
    listing = InBreast().list_cases(tree)
    assert len(listing.cases) == 4
    found = told(listing)
    for name in ("20586908.dcm", f"20586908_{HEX[0][:-1]}_MG_R_CC_ANON.dcm", "scan"):
        assert "must be named <id>_<16 hex digits>_MG_" in found.pop(f"AllDICOMs/{name}")
    for name in ("53587663", "copy of 20586908"):
        assert found.pop(f"AllXML/{name}.xml") == "an annotation needs its image: found none in AllDICOMs"
    assert found == {}


def test_an_image_or_annotation_that_comes_twice_is_rejected(tree):
    (tree / f"AllDICOMs/20586908_{HEX[1]}_MG_L_CC_ANON.dcm").write_text("")
    (tree / "AllXML" / "20586934.XML").write_bytes(WHOLE)
    listing = InBreast().list_cases(tree)
    assert [case.key for case in listing.cases] == ["20586960", "20586986"]
    assert told(listing) == {
        IMAGES[0].file: "an image has one file; found several of its id",
        f"AllDICOMs/20586908_{HEX[1]}_MG_L_CC_ANON.dcm": "an image has one file; found several of its id",
        IMAGES[1].file: "an image has one annotation; found 2 of its name",
    }


def test_names_may_come_in_any_case(tree):
    (tree / IMAGES[0].file).rename(tree / f"AllDICOMs/20586908_{HEX[0].upper()}_mg_r_mlo_anon.DCM")
    case = InBreast().list_cases(tree).cases[0]
    assert case.overrides == Overrides(HEX[0], Laterality.RIGHT, View.MLO)


@pytest.mark.parametrize("name", ["AllDICOMs", "AllXML"])
def test_a_folder_that_is_missing_is_one_error(tree, name):
    (tree / name).rename(tree / "elsewhere")
    with pytest.raises(InputError, match=f"a folder with AllDICOMs and AllXML; found no {name}"):
        InBreast().list_cases(tree)


def test_the_subset_holds_images_with_an_outlined_calcification(tree):
    listing = InBreast(subset=Subset.OUTLINED).list_cases(tree)
    assert [case.key for case in listing.cases] == ["20586908"]
    assert listing.rejected == ()


def test_the_subset_keeps_an_annotation_that_cannot_be_read_to_be_rejected(tree):
    (tree / "AllXML" / "20586934.xml").write_bytes(b"")
    listing = InBreast(subset=Subset.OUTLINED).list_cases(tree)
    assert [case.key for case in listing.cases] == ["20586908", "20586934"]


# The table.


def test_the_table_is_optional(tree):
    (tree / "INbreast.csv").unlink()
    listing = InBreast().list_cases(tree)
    assert len(listing.cases) == 4
    assert notes(listing) == {}


def test_the_spreadsheet_says_what_the_table_says(tree):
    (tree / "INbreast.csv").unlink()
    write_spreadsheet(tree, [*IMAGES[:3], FakeImage("20586986", "", "L", "CC", bi_rads="4b")])
    listing = InBreast().list_cases(tree)
    assert notes(listing) == {
        "20586986": (
            "view is MLO by the file's name; INbreast.xls differs",
            "taken as normal for want of an annotation, but INbreast.xls has no BI-RADS 1",
        )
    }
    assert listing.rejected == ()


def test_of_two_tables_the_csv_is_taken_and_the_spreadsheet_where_it_lacks_a_row(tree):
    write_table(tree, [IMAGES[0], FakeImage(IMAGES[1].id, "", "L", "ML")])
    write_spreadsheet(tree, [FakeImage(IMAGES[0].id, "", "L", "ML"), IMAGES[2], FakeImage("20587000", "")])
    listing = InBreast().list_cases(tree)
    assert notes(listing) == {
        IMAGES[1].id: ("view is CC by the file's name; INbreast.csv differs",),
        IMAGES[3].id: ("the release's table has no row for it",),
    }
    assert told(listing) == {"INbreast.xls line 4": "an image of the table must be there: found none in AllDICOMs"}


@pytest.mark.parametrize("with_csv", [True, False])
def test_marked_microcalcifications_that_nobody_outlined_are_warned_of(tree, with_csv):
    if not with_csv:
        (tree / "INbreast.csv").unlink()
    write_spreadsheet(tree, IMAGES, marked=[image.id for image in IMAGES])
    warned = "no region of calcifications, but the release's spreadsheet marks microcalcifications"
    found = {case.key for case in InBreast().list_cases(tree).cases if warned in case.annotation.warnings((24, 20))}
    assert found == {IMAGES[3].id}  # calcifications are outlined in the first two, a cluster in the third


@pytest.mark.parametrize(
    "content", [b"", b"PK\3\4" + bytes(100), b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), b"x" * 99]
)
def test_a_damaged_spreadsheet_is_one_error(tree, content, capfd):
    (tree / "INbreast.xls").write_bytes(content)
    with pytest.raises(InputError, match=r"INbreast\.xls: not a readable spreadsheet of Excel 97 to 2003"):
        InBreast().list_cases(tree)
    assert capfd.readouterr() == ("", "")


def test_files_that_disagree_with_the_table_are_noted(tree):
    other = [
        FakeImage("20586908", HEX[0], "L", "CC", bi_rads="4a"),
        FakeImage("20586934", HEX[0], "L", "ML", bi_rads="2"),
        FakeImage("20586986", HEX[2], "L", "ML", bi_rads="4c"),
        FakeImage("20587000", HEX[2], "L", "ML"),
    ]
    write_table(tree, other)
    listing = InBreast().list_cases(tree)
    assert notes(listing) == {
        "20586908": ("laterality is R by the file's name; INbreast.csv differs",),
        "20586934": ("view is CC by the file's name; INbreast.csv differs",),
        "20586960": ("the release's table has no row for it",),
        "20586986": ("taken as normal for want of an annotation, but INbreast.csv has no BI-RADS 1",),
    }
    assert told(listing) == {"INbreast.csv line 5": "an image of the table must be there: found none in AllDICOMs"}
    assert listing.cases[3].annotation.warnings((24, 20)) == notes(listing)["20586986"]


def test_a_table_saved_from_the_spreadsheet_has_more_columns_and_blanks(tree):
    (tree / "INbreast.csv").write_bytes(
        b"\xef\xbb\xbfPatient ID;Mass ; Micros;View;Laterality;Acquisition date;File Name ;ACR; Bi-Rads \n"
        b"removed;X;X; CC;R ;201001; 20586908;;4a\n"
        b"removed;;X;CC;L;201001;20586934;2;2\n"
        b"removed;;X;MLO;R;201001;20586960;2;5\n"
        b"removed;;;MLO;L;201001;20586986;2;1\n"
        b"\n115;1;3\ntotal;;;;;;;\n"
    )
    listing = InBreast().list_cases(tree)
    assert notes(listing) == {}
    assert listing.rejected == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "found none of them"),
        (HEADER.replace(";", ",").encode(), "separated by semicolons; found none of them"),
        (HEADER.replace("View", "Views").encode(), "found File Name, Laterality, Bi-Rads"),
        (b"\xff\xfe\x00", "must be in UTF-8"),
        (HEADER.encode() + b'\n"removed;', "not a table of cells"),
        (HEADER.encode() + b"\n" + b"x" * 200_000, "not a table of cells"),
        (HEADER.encode() + 2 * b"\nremoved;removed;R;CC;201001;7000000;2;2", "line 3: an image has one row"),
        (b" " * 16_000_001, "at most 16000000 bytes"),
    ],
)
def test_a_damaged_table_is_one_error(tree, content, words):
    (tree / "INbreast.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"INbreast\.csv") as caught:
        InBreast().list_cases(tree)
    assert words in str(caught.value)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet='0123456789;\r\n"\x00 RLCM\u2028', max_size=80))
def test_any_table_is_read_or_refused(tmp_path_factory, text):
    root = tmp_path_factory.getbasetemp() / "tables"
    for name in ("AllDICOMs", "AllXML"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "INbreast.csv").write_bytes(f"{HEADER}\n{text}".encode())
    lines = []
    try:
        lines = [f"{bad.file}{bad.reason}" for bad in InBreast().list_cases(root).rejected]
    except InputError as error:
        lines = [str(error)]
    assert all(len(line.splitlines()) == 1 for line in lines)


# The command.


def test_a_conversion_gives_records_as_drawn_and_verifies(tree, tmp_path):
    (tree / "AllXML" / "20586934.xml").write_bytes(WHOLE[:300])
    out = tmp_path / "out"
    ended = run_module(
        "data_prep.convert", "--flagfile=configs/inbreast.cfg", data_dir=tree, output_dir=out, train_fraction=0.5,
        workers=1, inbreast_point_radius_px=1,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    manifest = read_manifest(out)
    assert [(bad.file, bad.reason) for bad in manifest.rejected] == [
        (IMAGES[1].file, "<stem>.xml: not a whole XML property list (ExpatError)")
    ]
    assert [(found.image, found.warning) for found in manifest.warnings] == [
        ("20586960", "ROIs of an unknown name are left out, by number: 2")
    ]
    assert manifest.data_set == "inbreast"
    assert manifest.flags["inbreast_calcification_names"] == ["Calcification"]
    assert manifest.flags["inbreast_ignore_names"] == ["Calcifications", "Cluster"]
    assert (manifest.flags["inbreast_point_radius_px"], manifest.flags["inbreast_subset"]) == (1.0, "all")
    shards = [*manifest.shards("train"), *manifest.shards("test")]
    records = {record.image_id: record for path in shards for record in map(from_example, read_tfrecord(path))}
    assert records.keys() == {"20586908", "20586960", "20586986"}
    for image in (IMAGES[0], IMAGES[2], IMAGES[3]):
        record = records[image.id]
        np.testing.assert_array_equal(record.pixels, image.pixels)
        assert (record.patient_id, record.laterality) == (image.patient, image.laterality)
        assert record.view == ("CC" if image.view == "CC" else "MLO")
        assert record.bits_stored == 14
        assert record.pixel_spacing_mm == pytest.approx((0.07, 0.07))
        expected = np.zeros((24, 20), np.uint8)
        expected[1:4, 2:5] = {"20586908": 1, "20586960": 255, "20586986": 0}[image.id]
        np.testing.assert_array_equal(record.mask, expected)
    assert verify_records(out).problems == ()


def test_no_patient_leaves_where_ids_are_hashed(tree, tmp_path):
    (tree / f"AllDICOMs/20586908_{HEX[1]}_MG_L_CC_ANON.dcm").write_text("")  # twice
    (tree / f"AllDICOMs/20586908_{HEX[2][:-1]}_MG_L_CC_ANON.dcm").write_text("")  # misnamed
    (tree / "AllXML" / "20586934.xml").write_text("")  # damaged
    conversion = pipeline.write_plan(pipeline.make_plan(pipeline.ConvertConfig(InBreast(), tree, tmp_path / "out")))
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()).lower()
    assert len(conversion.manifest.rejected) == 4
    assert not [patient for patient in HEX if patient[:12].encode() in written]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--inbreast_calcification_names=Clusters"], ["--inbreast_calcification_names", "did you mean cluster?"]),
        (["--inbreast_subset=paper"], ["inbreast_subset", "outlined"]),
        (["--dataset=folder", "--inbreast_subset=outlined"], ["--inbreast_subset", "--dataset=inbreast"]),
    ],
)
def test_flags_are_checked(tree, tmp_path, flags, words):
    common = ["--dataset=inbreast", f"--data_dir={tree}", f"--output_dir={tmp_path / 'out'}"]
    assert_one_line_error(run_module("data_prep.convert", *common, *flags), *words)
    assert not (tmp_path / "out").exists()


def test_the_config_of_the_paper_takes_outlined_calcifications(tree, tmp_path):
    flags = {"flagfile": "configs/inbreast_paper.cfg", "data_dir": tree, "output_dir": tmp_path / "out"}
    # Of the four images one: too few to split, which says how many there are.
    assert_one_line_error(run_module("data_prep.convert", **flags), "needs at least 2 patients", "found 1 (1 image)")


def test_defaults_of_the_flags_are_those_of_the_rules():
    assert InBreast().recorded() == {
        "inbreast_calcification_names": ["Calcification"],
        "inbreast_ignore_names": ["Calcifications", "Cluster"],
        "inbreast_point_radius_px": 0.0,
        "inbreast_subset": "all",
    }
