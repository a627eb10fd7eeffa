import dataclasses
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from data_prep.command import DISCLAIMER
from data_prep.conversion.pipeline import ConvertConfig, make_plan, write_plan
from data_prep.datasets import Folder
from data_prep.errors import InputError
from data_prep.identity import Identity
from data_prep.manifest import ImageWarning, read_manifest
from data_prep.report import conversion_lines
from data_prep.schema import from_example
from data_prep.split import SplitBy
from data_prep.tfrecord import read_tfrecord
from data_prep.verification import verify_records
from tests.fakes.dicom import fake_uid, write_dicom
from tests.fakes.folder import fake_mask, fake_pixels, write_folder, write_png

REPOSITORY = pathlib.Path(__file__).parents[2]
PATIENTS = ("ID-0001", "ID-0002", "ID-0003", "ID-0004")


def run_convert(*flags):
    command = [sys.executable, "-m", "data_prep.convert", *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=REPOSITORY)


def convert(data_dir, output_dir, **settings):
    return write_plan(make_plan(ConvertConfig(Folder(), data_dir, output_dir, **settings)))


def records(records_dir):
    manifest = read_manifest(records_dir)
    return {
        split: [from_example(data) for path in manifest.shards(split) for data in read_tfrecord(path)]
        for split in ("train", "test")
    }


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("good"), PATIENTS, views=2)


# What goes in comes out.


def test_a_conversion_by_two_workers_gives_the_bytes_of_one(good, tmp_path):
    salt = tmp_path / "salt"
    convert(good, tmp_path / "one", salt_file=salt, examples_per_shard=2)
    flags = (f"--data_dir={good}", f"--salt_file={salt}", "--examples_per_shard=2", "--workers=2")
    ended = run_convert(*flags, f"--output_dir={tmp_path / 'two'}")
    assert ended.returncode == 0, ended.stderr
    assert DISCLAIMER in ended.stdout
    assert re.search(r"^train +6 +3 +\d+$", ended.stdout, re.MULTILINE)
    assert "8/8" in ended.stderr
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two")]
    assert files[0] == files[1]
    assert sorted(files[0]) == [
        "manifest.json",
        "test-00000-of-00001.tfrecord",
        *(f"train-0000{index}-of-00003.tfrecord" for index in range(3)),
    ]


def test_records_hold_the_pixels_the_mask_and_the_header_of_their_image(good, tmp_path):
    convert(good, tmp_path / "out", public_ids=True)
    found = {record.image_id: record for side in records(tmp_path / "out").values() for record in side}
    assert sorted(found) == sorted(f"case{number}/view{index}" for number in range(4) for index in range(2))
    for number, patient in enumerate(PATIENTS):
        for index in range(2):
            record = found[f"case{number}/view{index}"]
            np.testing.assert_array_equal(record.pixels, fake_pixels(4 * number + index))
            np.testing.assert_array_equal(record.mask, fake_mask(4 * number + index) // 255)
            assert record.calcification_count == 1 + (4 * number + index) % 3
            assert (record.patient_id, record.laterality, record.view) == (patient, "LR"[index], "CC")
            assert record.pixel_spacing_mm == pytest.approx((0.07, 0.07))
            assert record.pixel_spacing_source == "PixelSpacing (0028,0030)"
            assert record.bits_stored == 12


def test_the_manifest_says_what_was_done(good, tmp_path):
    manifest = convert(good, tmp_path / "out", seed=3, train_fraction=0.5).manifest
    sides = records(tmp_path / "out")
    assert manifest.data_set == "folder"
    assert manifest.flags == {
        "dataset": "folder", "split_by": "patient", "train_fraction": 0.5, "seed": 3, "examples_per_shard": 32,
        "strict": False, "public_ids": False, "for_processing": False, "voi_lut": False,
    }  # fmt: skip
    assert manifest.images == {"train": 4, "test": 4}
    assert manifest.patients == {"train": 2, "test": 2}
    for split, side in sides.items():
        assert manifest.calcifications[split] == sum(record.calcification_count for record in side)
        assert manifest.pixels[split] == 4 * 24 * 20
        assert {record.image_id for record in side} == {
            image for image, placement in manifest.split.items() if placement.split == split
        }
    intensity = np.concatenate([record.pixels.ravel() / 4095 for record in sides["train"]])
    assert manifest.intensity_mean == pytest.approx(intensity.mean(), abs=1e-12)
    assert manifest.intensity_standard_deviation == pytest.approx(intensity.std(), abs=1e-12)
    assert str(tmp_path) not in (tmp_path / "out" / "manifest.json").read_text()
    assert set(manifest.versions) == {"python", "calcseg_tf", "tensorflow", "pydicom", "numpy", "pillow"}


def test_pngs_take_patient_side_and_spacing_from_cases_csv(tmp_path):
    rows = ["file,patient,laterality,view,pixel_spacing_mm"]
    for number in range(3):
        write_png(tmp_path / "in" / "images" / f"{number}.png", fake_pixels(number, bits=16))
        write_png(tmp_path / "in" / "masks" / f"{number}.png", fake_mask(number))
        rows.append(f"{number}.png,patient{number},R,MLO,0.05;0.06")
    (tmp_path / "in" / "cases.csv").write_text("\n".join(rows))
    convert(tmp_path / "in", tmp_path / "out", public_ids=True)
    for side in records(tmp_path / "out").values():
        for record in side:
            assert record.patient_id == f"patient{record.image_id}"
            assert (record.laterality, record.view, record.bits_stored) == ("R", "MLO", 16)
            assert record.pixel_spacing_mm == pytest.approx((0.05, 0.06))
            assert record.pixel_spacing_source == "cases.csv"


def test_a_side_named_in_cases_csv_is_its_patients_side(tmp_path):
    write_folder(tmp_path / "in")
    drawn = convert(tmp_path / "in", tmp_path / "drawn", public_ids=True).manifest
    assert "cases.csv" not in drawn.split_rule
    moved = min(place.patient for place in drawn.split.values() if place.split == "test")
    number = int(moved[-4:]) - 1
    table = tmp_path / "in" / "cases.csv"
    table.write_text(f"file,split\ncase{number}/view1.dcm,train\n")
    manifest = convert(tmp_path / "in", tmp_path / "named", public_ids=True).manifest
    sides = {place.split for place in manifest.split.values() if place.patient == moved}
    assert sides == {"train"}
    assert manifest.split_rule.endswith("Where cases.csv names a side, it is that one.")
    table.write_text(f"file,split\ncase{number}/view0.dcm,test\ncase{number}/view1.dcm,train\n")
    with pytest.raises(InputError, match=r"one patient must be on one side; case.*/view1.dcm is named train"):
        convert(tmp_path / "in", tmp_path / "both", public_ids=True)


def test_split_by_image_needs_no_patient_and_says_what_it_is(tmp_path):
    for number in range(4):
        write_png(tmp_path / "in" / f"{number}.png", fake_pixels(number, bits=16))
        write_png(tmp_path / "in" / f"{number}_mask.png", fake_mask(number))
    with pytest.raises(InputError, match=r"cases.csv .*--split_by=image"):
        convert(tmp_path / "in", tmp_path / "out")
    manifest = convert(tmp_path / "in", tmp_path / "out", split_by=SplitBy.IMAGE).manifest
    assert manifest.split_by == "image"
    assert "as in the paper" in manifest.split_rule
    assert manifest.images == {"train": 3, "test": 1}
    assert manifest.patients == {"train": 0, "test": 0}


# Patients never cross the split; names never leave.


@settings(max_examples=25, deadline=None)
@given(
    images=st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 6), st.sampled_from(["_L_CC", "_R_MLO", ""])),
        min_size=2,
        max_size=10,
    ),
    seed=st.integers(0, 5),
    fraction=st.floats(0.1, 0.9),
)
def test_no_patient_and_no_study_is_on_both_sides(tmp_path_factory, images, seed, fraction):
    root = tmp_path_factory.mktemp("split")
    for number, (patient, study, suffix) in enumerate(images):
        write_dicom(
            root / f"{number}.dcm",
            np.zeros((1, 1), np.uint16),
            patient_id=f"P{patient}{suffix}",
            study_uid=fake_uid(study),
        )
        write_png(root / f"{number}.png", np.zeros((1, 1), np.uint8))
    config = ConvertConfig(Folder(), root, root / "out", seed=seed, train_fraction=fraction)
    try:
        plan = make_plan(config)
    except InputError as error:
        told = str(error)
        assert "needs at least 2 patients" in told
        return
    train, test = ([images[int(case.key)] for case in plan.sides[split]] for split in ("train", "test"))
    assert len(train) + len(test) == len(images)
    assert train
    assert test
    for column in (0, 1):
        assert not {image[column] for image in train} & {image[column] for image in test}


def test_a_patient_named_in_cases_csv_outweighs_a_study_shared_by_all(tmp_path):
    rows = ["file,patient"]
    for number in range(3):
        write_dicom(tmp_path / f"{number}.dcm", fake_pixels(number), patient_id="removed")
        write_png(tmp_path / f"{number}.png", fake_mask(number))
        rows.append(f"{number}.dcm,p{number}")
    with pytest.raises(InputError, match=r"at least 2 patients.*found 1 \(3 images\).*--split_by=image"):
        make_plan(ConvertConfig(Folder(), tmp_path, tmp_path / "out"))
    (tmp_path / "cases.csv").write_text("\n".join(rows))
    plan = make_plan(ConvertConfig(Folder(), tmp_path, tmp_path / "out"))
    assert sorted(plan.patients.values()) == ["p0", "p1", "p2"]


def test_no_output_byte_holds_a_name_an_id_or_a_uid(tmp_path):
    data_dir = write_folder(tmp_path / "in", PATIENTS)
    for number, patient in enumerate(PATIENTS):  # rejected files whose names tell who they are
        write_dicom(data_dir / patient / f"{fake_uid(8, number)}.dcm", fake_pixels(number), patient_id=patient)
        (data_dir / patient / "Musterfrau_Erika.dcm").write_bytes(b"cut")
    conversion = convert(data_dir, tmp_path / "out", examples_per_shard=2)
    assert len(conversion.manifest.rejected) == len(conversion.rejected) == 8
    assert any(PATIENTS[0] in bad.file for bad in conversion.rejected)
    output = b"".join(path.read_bytes() + path.name.encode() for path in sorted((tmp_path / "out").iterdir()))
    for secret in (*PATIENTS, "Musterfrau", "Erika", fake_uid(), "case0", "view0", str(tmp_path)):
        assert secret.encode() not in output
    assert (tmp_path / "out.salt").read_bytes() not in output
    assert (tmp_path / "out.salt").stat().st_mode & 0o777 == 0o600


def test_ids_depend_on_the_salt_and_on_nothing_else(good, tmp_path):
    first = convert(good, tmp_path / "a", salt_file=tmp_path / "salt").manifest
    again = convert(good, tmp_path / "b", salt_file=tmp_path / "salt", examples_per_shard=3).manifest
    other = convert(good, tmp_path / "c").manifest
    assert first.split == again.split
    assert not set(first.split) & set(other.split)
    assert all(re.fullmatch("[0-9a-f]{16}", name) for name in first.split)


# Warnings.


class FolderWithNotes(Folder):
    """The folder data set with annotations that warn."""

    def list_cases(self, data_dir):
        listing = super().list_cases(data_dir)
        cases = (
            dataclasses.replace(case, annotation=AnnotationWithNotes(case.annotation, (f"points left out: {number}",)))
            for number, case in enumerate(listing.cases, start=1)
        )
        return dataclasses.replace(listing, cases=tuple(cases))


@dataclasses.dataclass(frozen=True)
class AnnotationWithNotes:
    of: object
    notes: tuple

    def check(self, size):
        self.of.check(size)

    def mask(self, size):
        return self.of.mask(size)

    def warnings(self, size):
        return self.notes if size == (24, 20) else ("another size",)


@pytest.mark.parametrize("workers", [1, 2])
def test_warnings_of_images_and_annotations_are_told_by_kind_and_kept_in_the_manifest(tmp_path, workers):
    data_dir = write_folder(tmp_path / "in", PATIENTS, views=1)
    write_dicom(
        data_dir / "case2" / "view0.dcm", fake_pixels(8), patient_id=PATIENTS[2], study_uid=fake_uid(77, 2),
        BreastImplantPresent="YES",
    )  # fmt: skip
    config = ConvertConfig(
        FolderWithNotes(),
        data_dir,
        tmp_path / "out",
        salt_file=tmp_path / "salt",
        workers=workers,
        examples_per_shard=1,
    )
    conversion = write_plan(make_plan(config))
    assert [(found.image, found.warning) for found in conversion.warnings] == [
        ("case0/view0.dcm", "points left out: 1"),
        ("case1/view0.dcm", "points left out: 2"),
        ("case2/view0.dcm", "breast implant (0028,1300)"),
        ("case2/view0.dcm", "points left out: 3"),
        ("case3/view0.dcm", "points left out: 4"),
    ]
    lines = conversion_lines(conversion)
    start = lines.index("4 images with warnings:")
    assert lines[start + 1 : start + 3] == [
        "  4 x points left out: 1 (case0/view0.dcm, case1/view0.dcm, case2/view0.dcm, ...)",
        "  1 x breast implant (0028,1300) (case2/view0.dcm)",
    ]
    identity = Identity((tmp_path / "salt").read_bytes())
    manifest = read_manifest(tmp_path / "out")
    assert set(manifest.warnings) == {
        ImageWarning(identity.image("case2/view0"), "breast implant (0028,1300)"),
        *(ImageWarning(identity.image(f"case{number}/view0"), f"points left out: {number + 1}") for number in range(4)),
    }
    assert list(manifest.warnings) == sorted(manifest.warnings)
    assert b"case2" not in (tmp_path / "out" / "manifest.json").read_bytes()
    assert verify_records(tmp_path / "out").problems == ()


def test_a_manifest_without_warnings_is_one_of_before_there_were_any(good, tmp_path):
    convert(good, tmp_path / "out")
    assert "warnings" not in json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert read_manifest(tmp_path / "out").warnings == ()
    assert verify_records(tmp_path / "out").problems == ()


# Bad input.


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--data_dir=none"], "none: no such folder"),
        (["--data_dir=empty"], "empty: no mammogram found: DICOM or 16-bit PNG, with a mask beside it"),
        (["--data_dir=photos"], "with a mask beside it or in masks/; found 2 .jpg, 1 .txt"),
        (["--data_dir=data.zip"], "data.zip: a data set is a folder; found a file: unpack an archive first"),
        (["--data_dir=one"], "needs at least 2 patients, one for each side; found 1 (2 images): use --split_by=image"),
        (["--data_dir=bad"], "bad: no usable mammogram; 1 rejected, the first a.dcm: not a DICOM file"),
        (["--data_dir=one", "--dataset=foldr"], "did you mean folder?"),
        (["--data_dir=one", "--data_set=folder"], "Unknown command line flag 'data_set'. Did you mean: dataset"),
        (["--data_dir=one", "--split_by=patients"], "--split_by=patients: value should be one of <patient|image>"),
        (["--data_dir=one", "--train_fraction=1"], "--train_fraction: must be greater than 0 and less than 1"),
        (["--data_dir=one", "--workers=0"], "--workers: must be at least 1"),
        (["--data_dir=one", "--public_ids", "--salt_file=x"], "--salt_file or --public_ids, not both"),
        (["--data_dir=one", "--salt_file=out/salt"], "must lie outside the folder of records"),
        ([], "--data_dir must be given"),
    ],
)  # fmt: skip
def test_a_users_error_is_one_line_with_status_1_and_leaves_nothing(tmp_path, flags, words):
    (tmp_path / "empty").mkdir()
    write_folder(tmp_path / "one", PATIENTS[:1])
    write_png((tmp_path / "bad" / "a.png"), fake_mask(0))
    (tmp_path / "bad" / "a.dcm").write_bytes(b"no DICOM")
    (tmp_path / "photos").mkdir()
    for name in ("photos/a.jpg", "photos/b.JPG", "photos/notes.txt", "data.zip"):
        (tmp_path / name).write_bytes(b"none that is read")
    before = sorted(tmp_path.iterdir())
    command = [sys.executable, "-m", "data_prep.convert", "--output_dir=out", *flags]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=tmp_path, env={"PYTHONPATH": str(REPOSITORY)}
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1
    assert words in ended.stderr
    assert sorted(tmp_path.iterdir()) == before


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Four good patients and one file for each way to be bad."""
    root = write_folder(tmp_path_factory.mktemp("mixed"), PATIENTS)
    bad = root / "bad"
    write_dicom(bad / "no_mask.dcm", fake_pixels(0))
    write_dicom(bad / "mask_size.dcm", fake_pixels(0))
    write_png(bad / "mask_size.png", fake_mask(0, 30, 30))
    whole = write_dicom(bad / "cut_pixels.dcm", fake_pixels(0), patient_id="ID-0005", study_uid=fake_uid(5))
    whole.write_bytes(whole.read_bytes()[:-50])
    (bad / "cut_header.dcm").write_bytes(whole.read_bytes()[:200])
    for name, source in (
        ("sr", "reportsi.dcm"),
        ("ct", "CT_small.dcm"),
        ("rt", "rtplan.dcm"),
        ("rgb", "SC_rgb_rle.dcm"),
    ):
        (bad / f"{name}.dcm").write_bytes(pathlib.Path(str(get_testdata_file(source))).read_bytes())
    write_dicom(bad / "colour.dcm", fake_pixels(0), SamplesPerPixel=3, PhotometricInterpretation="RGB")
    write_png(bad / "shallow.png", np.zeros((4, 4), np.uint8))
    write_png(bad / "shallow_mask.png", np.zeros((4, 4), np.uint8))
    write_png(bad / "colourful.png", np.zeros((4, 4, 3), np.uint8))
    write_png(bad / "colourful_mask.png", np.zeros((4, 4), np.uint8))
    write_dicom(bad / "nobody.dcm", fake_pixels(0), patient_id="")
    for name in ("cut_pixels", "cut_header", "sr", "ct", "rt", "rgb", "colour", "nobody"):
        write_png(bad / f"{name}.png", fake_mask(0))
    return root


REASONS = {
    "bad/no_mask.dcm": "found no <stem>.png or <stem>_mask.png",
    "bad/mask_size.dcm": "<stem>.png: a mask must have the size of its image, 24 x 20 (rows x columns); found 30 x 30",
    "bad/cut_pixels.dcm": "PixelData (7FE0,0010) cannot be decoded",
    "bad/cut_header.dcm": "not a mammogram",
    "bad/sr.dcm": "Modality (0008,0060) must be MG; found SR",
    "bad/ct.dcm": "must be MG; found CT",
    "bad/rt.dcm": "must be MG; found RTPLAN",
    "bad/rgb.dcm": "must be MG; found OT",
    "bad/colour.dcm": "one channel; found SamplesPerPixel (0028,0002) 3",
    "bad/shallow.png": "16 bits",
    "bad/colourful.png": "one grey channel; found mode RGB",
    "bad/nobody.dcm": "PatientID (0010,0020) is empty: name the patient in cases.csv",
}


def test_bad_files_are_listed_with_their_reasons_and_the_good_ones_go_on(mixed, tmp_path):
    (mixed / "cases.csv").write_text("file,patient\nbad/shallow.png,p8\nbad/colourful.png,p9\n")
    ended = run_convert(f"--data_dir={mixed}", f"--output_dir={tmp_path / 'out'}", "--workers=1", "--public_ids")
    assert ended.returncode == 0, ended.stderr
    manifest = read_manifest(tmp_path / "out")
    assert sum(manifest.images.values()) == 8
    found = {bad.file: bad.reason for bad in manifest.rejected}
    assert found.keys() == REASONS.keys()
    for name, reason in REASONS.items():
        assert reason in found[name]
        assert f"{name}: " in ended.stdout
    assert "Traceback" not in ended.stderr


def test_strict_stops_at_a_bad_header_before_any_work_and_at_bad_pixels_without_a_trace(tmp_path):
    data_dir = write_folder(tmp_path / "in", PATIENTS)
    path = data_dir / "case0" / "view0.dcm"
    whole = path.read_bytes()
    path.write_bytes(b"x")
    ended = run_convert(f"--data_dir={data_dir}", f"--output_dir={tmp_path / 'out'}", "--strict")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"error: {path}: not a DICOM file")
    path.write_bytes(whole[:-50])
    with pytest.raises(InputError, match="cannot be decoded") as caught:
        convert(data_dir, tmp_path / "out", strict=True, workers=2, examples_per_shard=2)
    assert caught.value.where == str(path)
    assert not (tmp_path / "out").exists()
    (data_dir / "case1" / "view0.png").unlink()
    with pytest.raises(InputError, match="needs a mask") as caught:
        convert(data_dir, tmp_path / "out", strict=True)
    assert caught.value.where == str(data_dir / "case1" / "view0.dcm")


def test_a_split_without_a_readable_image_is_an_error_that_leaves_nothing(tmp_path):
    data_dir = write_folder(tmp_path / "in", PATIENTS[:2], views=1)
    for number in range(2):
        path = data_dir / f"case{number}" / "view0.dcm"
        path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match="train split is empty: no usable mammogram; 2 rejected"):
        convert(data_dir, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_train_pixels_of_one_value_are_an_error(tmp_path):
    for number in range(2):
        write_dicom(tmp_path / f"{number}.dcm", np.full((4, 4), 7, np.uint16), patient_id=f"p-{number}",
                    study_uid=fake_uid(number))  # fmt: skip
        write_png(tmp_path / f"{number}.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(InputError, match="one intensity alone"):
        convert(tmp_path, tmp_path / "out")


# The output folder.


def test_a_finished_folder_and_a_folder_of_other_files_are_refused(good, tmp_path):
    convert(good, tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(InputError, match="already converted"):
        convert(good, tmp_path / "out")
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "train-00000-of-00001.tfrecord").write_text("precious")
    with pytest.raises(InputError, match="must be new or empty"):
        convert(good, tmp_path / "other")
    assert (tmp_path / "other" / "train-00000-of-00001.tfrecord").read_text() == "precious"
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="must be a folder"):
        convert(good, tmp_path / "file")


def test_a_short_salt_is_refused(good, tmp_path):
    (tmp_path / "salt").write_bytes(b"short")
    with pytest.raises(InputError, match="at least 16 bytes; found 5"):
        convert(good, tmp_path / "out", salt_file=tmp_path / "salt")
    assert not (tmp_path / "out").exists()


def test_the_manifest_is_plain_json(good, tmp_path):
    convert(good, tmp_path / "out")
    document = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert list(document)[:2] == ["schema_version", "disclaimer"]
    assert document["counts"]["train"]["images"] == 6
