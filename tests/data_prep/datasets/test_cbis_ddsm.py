import dataclasses
import pickle
import shutil

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import RLELossless

from data_prep.conversion.pipeline import ConvertConfig, make_plan, write_plan
from data_prep.datasets import CbisDdsm, Overrides, Regions
from data_prep.errors import InputError
from data_prep.mammogram import Laterality, View
from data_prep.manifest import read_manifest
from data_prep.schema import from_example
from data_prep.tfrecord import read_tfrecord
from tests.fakes.cbis_ddsm import Abnormality, Image, Layout, full_path, region, roi_path, write_cbis_ddsm
from tests.fakes.commands import assert_one_line_error, run_module
from tests.fakes.dicom import write_dicom
from tests.fakes.folder import fake_pixels

SIZE = (24, 20)
TRAIN, TEST = "calc_case_description_train_set.csv", "calc_case_description_test_set.csv"


def image(patient="P_00005", *abnormalities, **options):
    pixels = fake_pixels(int(patient[2:]), bits=16)
    return Image(pixels, abnormalities or (Abnormality(region(2, 3, 5, 7)),), patient=patient, **options)


def list_cases(root, regions=Regions.IGNORE):
    return CbisDdsm(regions).list_cases(root)


def only_case(root, regions=Regions.IGNORE):
    listing = list_cases(root, regions)
    assert listing.rejected == ()
    (case,) = listing.cases
    return case


def rejected(root):
    """What `convert` leaves out: in listing, by header, or by pixels; file -> reason."""
    listing = list_cases(root)
    found = {bad.file: bad.reason for bad in listing.rejected}
    for case in listing.cases:
        try:
            case.annotation.check(SIZE)
            case.annotation.mask(SIZE)
        except InputError as error:
            found[case.file] = error.rule
    return found


def edit(root, old, new, table=TRAIN, count=1):
    text = (root / table).read_text()
    assert old in text
    (root / table).write_text(text.replace(old, new, count))


# Masks, by hand.


@pytest.mark.parametrize("density", ["breast density", "breast_density"])
@pytest.mark.parametrize("layout", Layout)
def test_several_abnormalities_are_one_mask_whatever_files_are_called_and_in_which_order(tmp_path, layout, density):
    drawn = image(
        "P_00005",
        Abnormality(region(2, 3, 5, 7)),
        Abnormality(region(4, 6, 8, 9), crop_first=True),
        Abnormality(region(20, 15, 24, 20), apart=True),
    )
    write_cbis_ddsm(tmp_path, [drawn], layout, density=density)
    mask = only_case(tmp_path).annotation.mask(SIZE)
    assert mask.dtype == np.uint8
    # 3 x 4 and 4 x 3 pixels that share one, and 4 x 5 in the corner.
    assert dict(zip(*np.unique(mask, return_counts=True), strict=True)) == {0: 480 - 43, 255: 43}
    assert np.argwhere(mask[:12])[[0, -1]].tolist() == [[2, 3], [7, 8]]
    np.testing.assert_array_equal(mask[20:, 15:], np.full((4, 5), 255))
    foreground = only_case(tmp_path, Regions.CALCIFICATION).annotation.mask(SIZE)
    np.testing.assert_array_equal(foreground, mask // 255)


def test_a_case_has_the_names_of_the_data_set_and_the_tables_patient_side_and_view(tmp_path):
    images = [image("P_00038", side="LEFT", view="MLO", test=True), image("P_00005")]
    write_cbis_ddsm(tmp_path, images, Layout.RENAMED)
    first, second = list_cases(tmp_path).cases
    assert (first.key, second.key) == ("Calc-Test_P_00038_LEFT_MLO", "Calc-Training_P_00005_RIGHT_CC")
    assert first.overrides == Overrides("P_00038", Laterality.LEFT, View.MLO)
    assert second.overrides == Overrides("P_00005", Laterality.RIGHT, View.CC)
    assert first.image == full_path(tmp_path, images[0], Layout.RENAMED)
    assert first.file == first.image.relative_to(tmp_path).as_posix()


def test_folders_may_be_nested_and_renamed_and_paths_written_with_backslashes(tmp_path):
    drawn = image()
    write_cbis_ddsm(tmp_path / "in", [drawn])
    (tmp_path / "in" / drawn.name).rename(tmp_path / "in" / "000")
    shutil.move(tmp_path / "in", tmp_path / "out" / "deep" / "er")
    table = tmp_path / "out" / "deep" / "er" / TRAIN
    table.write_text(table.read_text().replace("/", "\\"))
    assert only_case(tmp_path / "out").annotation.mask(SIZE).sum() == 12 * 255


def test_a_mask_may_be_compressed(tmp_path):
    drawn = image()
    write_cbis_ddsm(tmp_path, [drawn])
    path = roi_path(tmp_path, drawn, 0, 0)
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    dataset.save_as(path)
    np.testing.assert_array_equal(only_case(tmp_path).annotation.mask(SIZE), region(2, 3, 5, 7))


@pytest.mark.parametrize("crop_first", [False, True])
def test_of_two_files_of_the_images_size_the_one_with_two_values_is_the_mask(tmp_path, crop_first):
    crop = fake_pixels(3, bits=16)
    write_cbis_ddsm(tmp_path, [image("P_00005", Abnormality(region(2, 3, 5, 7), crop, crop_first=crop_first))])
    np.testing.assert_array_equal(only_case(tmp_path).annotation.mask(SIZE), region(2, 3, 5, 7))


def test_a_mask_without_its_crop_is_enough_and_so_is_one_table(tmp_path):
    write_cbis_ddsm(tmp_path, [image("P_00005", Abnormality(region(0, 0, 1, 1), crop=None))])
    (tmp_path / TEST).unlink()
    assert only_case(tmp_path).annotation.mask(SIZE).sum() == 255


def test_a_download_unpacked_twice_is_one_download(tmp_path):
    drawn = image()
    write_cbis_ddsm(tmp_path, [drawn], Layout.OLD)
    write_cbis_ddsm(tmp_path, [drawn], Layout.RENAMED)
    assert only_case(tmp_path).image == full_path(tmp_path, drawn, Layout.OLD)


def test_series_that_no_row_names_are_passed_over(tmp_path):
    drawn = image()
    write_cbis_ddsm(tmp_path, [drawn])
    write_cbis_ddsm(tmp_path / "mass", [image("P_00777")])
    for table in (TRAIN, TEST):
        (tmp_path / "mass" / table).unlink()
    (tmp_path / "mass" / "mass_case_description_train_set.csv").write_text("patient_id\nP_00777\n")
    assert only_case(tmp_path).key == drawn.name


def test_the_annotation_travels_to_other_processes_and_warns_of_nothing(tmp_path):
    write_cbis_ddsm(tmp_path, [image()])
    annotation = only_case(tmp_path).annotation
    assert pickle.loads(pickle.dumps(annotation)) == annotation
    assert annotation.warnings(SIZE) == ()


rectangles = st.tuples(st.integers(0, 23), st.integers(0, 19), st.integers(1, 24), st.integers(1, 20)).filter(
    lambda r: r[0] < r[2] and r[1] < r[3]
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(rectangles, st.booleans(), st.booleans()), min_size=1, max_size=4), st.sampled_from(Layout))
def test_the_mask_is_the_union_of_all_regions(tmp_path_factory, drawn, layout):
    root = tmp_path_factory.mktemp("cbis")
    masks = [region(*rectangle) for rectangle, _, _ in drawn]
    parts = [
        Abnormality(mask, crop_first=first, apart=apart) for mask, (_, first, apart) in zip(masks, drawn, strict=True)
    ]
    write_cbis_ddsm(root, [image("P_00001", *parts)], layout)
    np.testing.assert_array_equal(only_case(root).annotation.mask(SIZE), np.max(masks, axis=0))


# What cannot be used is rejected by name; the rest goes on.


def broken(root, **parts):
    """Writes a good image and one whose second abnormality is as told; returns the second's file."""
    second = image("P_00002", Abnormality(region(2, 3, 5, 7)), dataclasses.replace(Abnormality(None), **parts))
    write_cbis_ddsm(root, [image("P_00001"), second])
    return full_path(root, second).relative_to(root).as_posix()


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        (
            {"mask": region(2, 3, 5, 7, (26, 21))},
            "a mask must have the size of its image, 24 x 20 (rows x columns); found 26 x 21 and 5 x 4",
        ),
        ({"mask": None}, "a mask must have the size of its image, 24 x 20 (rows x columns); found 5 x 4"),
        ({"mask": np.zeros(SIZE, np.uint8)}, "a mask has two values, 0 and another; found 1 values"),
        ({"mask": np.full(SIZE, 255, np.uint8)}, "a mask has two values, 0 and another; found 1 values"),
        ({"mask": np.arange(480, dtype=np.uint8).reshape(SIZE) % 3}, "0 and another; found 3 values"),
        ({"mask": region(2, 3, 5, 7) // 255 + np.uint8(1)}, "a mask has two values, 0 and another; found 2 values"),
        ({"mask": None, "crop": None}, f"{TRAIN} line 6: the series of ROI mask file path must hold the mask"),
    ],
)
def test_an_image_with_one_bad_mask_is_rejected_and_not_half_annotated(tmp_path, parts, reason):
    file = broken(tmp_path, **parts)
    found = rejected(tmp_path)
    assert list(found) == [file]
    assert reason in found[file]


def test_an_image_that_is_not_there_is_rejected_by_its_row(tmp_path):
    gone = image("P_00002")
    write_cbis_ddsm(tmp_path, [image("P_00001"), gone])
    full_path(tmp_path, gone).unlink()
    place = f"{TRAIN} line 4"
    assert rejected(tmp_path) == {
        place: f"{place}: the series of image file path must hold one DICOM image; found none"
    }


def test_a_series_with_two_mammograms_is_rejected(tmp_path):
    drawn = image()
    write_cbis_ddsm(tmp_path, [drawn])
    path = full_path(tmp_path, drawn)
    series = str(pydicom.dcmread(path).SeriesInstanceUID)
    write_dicom(path.with_name("000001.dcm"), fake_pixels(9, bits=16), bits_stored=16, SeriesInstanceUID=series)
    (reason,) = rejected(tmp_path).values()
    assert reason == f"{TRAIN} line 2: the series of image file path must hold one DICOM image; found 2"


def test_rows_that_disagree_on_who_owns_a_series_are_rejected(tmp_path):
    first, second, third = image("P_00001"), image("P_00002"), image("P_00003")
    write_cbis_ddsm(tmp_path, [first, second, third])
    series = [str(pydicom.dcmread(full_path(tmp_path, one)).SeriesInstanceUID) for one in (first, second)]
    edit(tmp_path, series[1], series[0])
    rule = "a series is one view of one patient; found it named as several"
    places = [f"{TRAIN} line 2", f"{TRAIN} line 4"]
    assert rejected(tmp_path) == {place: f"{place}: {rule}" for place in places}
    assert [case.overrides.patient for case in list_cases(tmp_path).cases] == ["P_00003"]


def test_rows_of_one_view_that_name_two_series_are_rejected(tmp_path):
    two = image("P_00001", Abnormality(region(0, 0, 2, 2)), Abnormality(region(5, 5, 7, 7)))
    write_cbis_ddsm(tmp_path, [two, image("P_00002"), image("P_00003")])
    series = [
        str(pydicom.dcmread(full_path(tmp_path, one)).SeriesInstanceUID) for one in (two, image("P_00003"))
    ]  # fmt: skip
    edit(tmp_path, series[0], series[1])
    assert rejected(tmp_path) == {
        f"{TRAIN} line 2": f"{TRAIN} line 2: the rows of one view must name one series; found 2",
        f"{TRAIN} line 8": f"{TRAIN} line 8: a series is one view of one patient; found it named as several",
    }
    assert [case.overrides.patient for case in list_cases(tmp_path).cases] == ["P_00002"]


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("P_00002,3,RIGHT", "P_00002,3,RIHGT", "left or right breast must be one of LEFT, RIGHT"),
        ("P_00002,3,RIGHT", "P_00002,3,", "left or right breast must be one of LEFT, RIGHT"),
        ("P_00002,3,RIGHT,CC", "P_00002,3,RIGHT,XX", "image view must be one of CC, MLO"),
        ("P_00002,3", "2,3", "patient id must be P_ and digits"),
        ("P_00002,3", "P_00002,3,3", "a row has 14 cells; found 15"),
        ("P_00002,3", "P_00002", "a row has 14 cells; found 13"),
        ("calcification", "mass", "abnormality type must be calcification"),
        ('000001.dcm\n"', '000001.dcm\nP_00009/000000.dcm"', "cropped image file path must be one path"),
    ],
)
@pytest.mark.parametrize("row", [0, 1])
def test_a_bad_row_rejects_its_image_and_no_other(tmp_path, old, new, rule, row):
    parts = Abnormality(region(0, 0, 2, 2)), Abnormality(region(5, 5, 7, 7))
    second = image("P_00002", *parts)
    write_cbis_ddsm(tmp_path, [image("P_00001"), second, image("P_00003")])
    table = (tmp_path / TRAIN).read_text()
    starts = [index for index in range(len(table)) if table.startswith("\nP_00002,", index)]
    head, tail = table[: starts[row]], table[starts[row] :]
    assert old in tail
    (tmp_path / TRAIN).write_text(head + tail.replace(old, new, 1))
    file, place = full_path(tmp_path, second).relative_to(tmp_path).as_posix(), f"{TRAIN} line {4 + 2 * row}"
    found = rejected(tmp_path)
    assert list(found) == [file]
    assert found[file].startswith(f"{place}: {rule}")
    assert "P_0" not in found[file]
    assert [case.overrides.patient for case in list_cases(tmp_path).cases] == ["P_00001", "P_00003"]


def test_a_bad_row_whose_image_nobody_knows_is_rejected_by_its_line(tmp_path):
    write_cbis_ddsm(tmp_path, [image("P_00001")])
    with (tmp_path / TRAIN).open("a") as file:
        file.write("\nP_00002,3,RIGHT,CC,1,calcification,,,,,,a/000000.dcm,b/000000.dcm,c/000000.dcm\n")
    place = f"{TRAIN} line 5"
    assert rejected(tmp_path) == {
        place: "image file path must be one path, <name>/<StudyInstanceUID>/<SeriesInstanceUID>/<file>"
    }


def test_damaged_dicom_files_are_rejected_and_the_rest_goes_on(tmp_path):
    images = [image(f"P_0000{number}") for number in range(1, 5)]
    write_cbis_ddsm(tmp_path, images)
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / "noise.dcm").write_bytes(bytes(range(256)) * 4)
    (tmp_path / "notes.txt").write_text("no DICOM, passed over")
    full, mask = full_path(tmp_path, images[0]), roi_path(tmp_path, images[1], 0, 0)
    full.write_bytes(full.read_bytes()[:300])
    mask.write_bytes(mask.read_bytes()[:300])
    pixels = roi_path(tmp_path, images[2], 0, 0)
    pixels.write_bytes(pixels.read_bytes()[:-100])
    found = rejected(tmp_path)
    assert found.keys() == {
        "empty.dcm",
        "noise.dcm",
        full.relative_to(tmp_path).as_posix(),
        mask.relative_to(tmp_path).as_posix(),
        f"{TRAIN} line 2",
        *(full_path(tmp_path, one).relative_to(tmp_path).as_posix() for one in images[1:3]),
    }
    assert all("\n" not in reason and str(tmp_path) not in reason for reason in found.values())
    assert "PixelData" in found[full_path(tmp_path, images[2]).relative_to(tmp_path).as_posix()]


def test_the_listing_is_in_order_of_name(tmp_path):
    write_cbis_ddsm(tmp_path, [image("P_00009"), image("P_00001", test=True), image("P_00003")])
    keys = [case.key for case in list_cases(tmp_path).cases]
    assert keys == sorted(keys)
    assert len(keys) == 3


# A table that is none is one clear line.


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "needs the column 'patient id' once; found it 0 times"),
        ("patient_id,left or right breast,image veiw\n", "'image view' once; found it 0 times; is it 'image veiw'?"),
        ("patient_id,patient id\n", "needs the column 'patient id' once; found it 2 times"),
        ('patient_id,"left', "not a table of comma-separated values in UTF-8 (unexpected end of data)"),
    ],
)
def test_a_table_that_breaks_the_rules_is_one_clear_line(tmp_path, text, rule):
    write_cbis_ddsm(tmp_path, [image()])
    (tmp_path / TRAIN).write_text(text)
    with pytest.raises(InputError) as caught:
        list_cases(tmp_path)
    assert rule in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / TRAIN))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("AMORPHOUS", "A" * 200_000, "field larger than field limit"),
        ("AMORPHOUS", '"AMORPHOUS', "not a table of comma-separated values"),
        ("AMORPHOUS", "AMORPH" * 12_000_000, "a table has at most 67108864 bytes; found 72000"),
    ],
)
def test_a_table_damaged_in_its_form_is_one_clear_line(tmp_path, old, new, rule):
    write_cbis_ddsm(tmp_path, [image()])
    edit(tmp_path, old, new)
    with pytest.raises(InputError, match=rule):
        list_cases(tmp_path)


def test_a_table_must_be_utf_8_and_there_once(tmp_path):
    write_cbis_ddsm(tmp_path, [image()])
    (tmp_path / "copy").mkdir()
    shutil.copy(tmp_path / TRAIN, tmp_path / "copy" / TRAIN)
    with pytest.raises(InputError, match="a table must be there once; found another"):
        list_cases(tmp_path)
    (tmp_path / "copy" / TRAIN).unlink()
    (tmp_path / TRAIN).write_bytes((tmp_path / TRAIN).read_bytes() + "Müller".encode("latin-1"))
    with pytest.raises(InputError, match="UTF-8"):
        list_cases(tmp_path)


def test_without_tables_the_nearest_name_is_told(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        list_cases(tmp_path / "none")
    with pytest.raises(InputError, match=f"needs {TRAIN} or {TEST}; found neither$"):
        list_cases(tmp_path)
    (tmp_path / "calc_case_description_train_set (1).csv").write_text("")
    with pytest.raises(InputError, match=r"is it 'calc_case_description_train_set \(1\).csv'\?"):
        list_cases(tmp_path)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_cbis_ddsm(tmp_path_factory.mktemp("tree"), [image("P_00001"), image("P_00002", test=True)])


mutations = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 3), st.binary(min_size=0, max_size=4)), min_size=1, max_size=6
)


def mutate(data: bytes, changes) -> bytes:
    for where, cut, new in changes:
        at = int(where * len(data))
        data = data[:at] + new + data[at + cut :]
    return data


def errors(root):
    """What listing and reading a tree raise as users' errors; anything else is a crash."""
    found = []
    try:
        listing = list_cases(root)
    except InputError as error:
        return [error]
    for case in listing.cases:
        try:
            case.annotation.check(SIZE)
            assert case.annotation.mask(SIZE).shape == SIZE
        except InputError as error:
            found.append(error)
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=mutations)
@pytest.mark.parametrize("which", ["table", "mask", "full"])
def test_a_damaged_file_ends_in_a_listing_or_one_clear_error(tree, which, changes):
    files = {
        "table": tree / TRAIN,
        "mask": roi_path(tree, image("P_00001"), 0, 0),
        "full": full_path(tree, image("P_00001")),
    }
    whole = files[which].read_bytes()
    try:
        files[which].write_bytes(mutate(whole, changes))
        found = errors(tree)
    finally:
        files[which].write_bytes(whole)
    assert all(len(str(error).splitlines()) == 1 for error in found)


# The real command.


def three_patients():
    return [
        image("P_00001", Abnormality(region(2, 3, 5, 7)), Abnormality(region(10, 10, 12, 12), crop_first=True)),
        image("P_00001", view="MLO"),
        image("P_00002", Abnormality(region(0, 0, 24, 1)), side="LEFT", test=True),
        image("P_00003", Abnormality(region(2, 3, 5, 7, (26, 20)))),
    ]


def test_the_command_converts_and_verifies(tmp_path):
    images = three_patients()
    write_cbis_ddsm(tmp_path / "in", images, Layout.DESCRIPTIVE)
    out = tmp_path / "out"
    ended = run_module(
        "data_prep.convert",
        "--flagfile=configs/cbis_ddsm.cfg",
        data_dir=tmp_path / "in",
        output_dir=out,
        cbis_regions="calcification",
        workers=1,
    )
    assert ended.returncode == 0, ended.stderr
    assert "found 26 x 20 and 5 x 4" in ended.stdout
    verified = run_module("data_prep.verify", records_dir=out)
    assert verified.returncode == 0, verified.stderr
    manifest = read_manifest(out)
    assert manifest.flags["cbis_regions"] == "calcification"
    assert len(manifest.rejected) == 1
    shards = [*manifest.shards("train"), *manifest.shards("test")]
    records = [from_example(data) for path in shards for data in read_tfrecord(path)]
    found = {record.image_id: record for record in records}
    assert found.keys() == {one.name for one in images[:3]}
    for one in images[:3]:
        record = found[one.name]
        np.testing.assert_array_equal(record.pixels, one.pixels)
        np.testing.assert_array_equal(record.mask, np.max([part.mask for part in one.abnormalities], axis=0) // 255)
        assert record.calcification_count == len(one.abnormalities)
        assert (record.patient_id, record.laterality, record.view) == (one.patient, one.side[0], one.view)
        assert (record.pixel_spacing_mm, record.bits_stored) == (None, 16)
    assert manifest.split[images[0].name].split == manifest.split[images[1].name].split


def test_without_public_ids_no_name_and_no_uid_leaves(tmp_path):
    images = three_patients()
    write_cbis_ddsm(tmp_path / "in", images)
    edit(tmp_path / "in", "P_00001,3,RIGHT,MLO", "P_00001,3,RIGHT,XXX")
    write_plan(make_plan(ConvertConfig(CbisDdsm(), tmp_path / "in", tmp_path / "out", train_fraction=0.5)))
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert len(read_manifest(tmp_path / "out").rejected) == 2
    for name in ("P_0000", "1.2.826.0.1", str(tmp_path)):
        assert name.encode() not in written


def test_an_option_of_another_data_set_is_one_clear_line(tmp_path):
    ended = run_module("data_prep.convert", data_dir=tmp_path, output_dir=tmp_path / "out", cbis_regions="ignore")
    assert_one_line_error(ended, "--cbis_regions: belongs to --dataset=cbis_ddsm; found --dataset=folder")
