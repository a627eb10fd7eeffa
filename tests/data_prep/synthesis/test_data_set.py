import csv
import dataclasses
import json
import subprocess
import sys

import numpy as np
import pydicom
import pytest

from data_prep.command import DISCLAIMER
from data_prep.errors import InputError
from data_prep.implants.config import ImplantConfig
from data_prep.implants.implanting import implant_folder
from data_prep.mammogram import read_mammogram
from data_prep.split import patient_key
from data_prep.synthesis.data_set import synthesize_folder
from data_prep.synthesis.dicom_file import write_dicom
from data_prep.synthesis.picture import SynthesisConfig, synthesize_mammogram
from tests.fakes.commands import ROOT

CONFIG = SynthesisConfig(seed=11, field_height_mm=30.0, field_width_mm=28.0)
IMAGES = 6


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    output = tmp_path_factory.mktemp("results") / "synthetic"
    return output, synthesize_folder(output, IMAGES, CONFIG)


def headers(folder):
    return [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]


def test_each_image_is_a_dicom_and_nothing_is_left_over(result):
    output, summary = result
    stems = [f"synthetic-000{number}.dcm" for number in range(1, IMAGES + 1)]
    assert set(contents(output)) == {*stems, "hard_negatives.csv", "synthesize.json"}
    assert (summary.mammograms, summary.patients) == (6, 2)


def test_two_workers_write_the_same_bytes_as_one(result, tmp_path):
    synthesize_folder(tmp_path / "again", IMAGES, CONFIG, workers=2)
    assert contents(tmp_path / "again") == contents(result[0])


def test_fewer_images_are_the_first_of_more(result, tmp_path):
    synthesize_folder(tmp_path / "fewer", 2, CONFIG)
    for name in ("synthetic-0001.dcm", "synthetic-0002.dcm"):
        assert (tmp_path / "fewer" / name).read_bytes() == (result[0] / name).read_bytes()


def test_the_dicom_reads_back_as_the_mammogram_that_was_drawn(result):
    for index in range(IMAGES):
        drawn = synthesize_mammogram(CONFIG, 1 + index // 4, index % 4).mammogram
        read = read_mammogram(result[0] / f"synthetic-000{index + 1}.dcm")
        np.testing.assert_array_equal(read.pixels, drawn.pixels)
        assert read.bits_stored == drawn.bits_stored
        assert read.pixel_spacing_mm == pytest.approx(drawn.pixel_spacing_mm, rel=1e-9)
        assert (read.spacing_source, read.laterality, read.view) == (drawn.spacing_source, drawn.laterality, drawn.view)
        assert read.warnings == ()


@pytest.mark.parametrize(("inverted", "photometric"), [(True, "MONOCHROME1"), (False, "MONOCHROME2")])
def test_either_photometric_interpretation_reads_brighter_for_denser(tmp_path, inverted, photometric):
    drawn = synthesize_mammogram(CONFIG, 1, 0)
    drawn = dataclasses.replace(drawn, technique=dataclasses.replace(drawn.technique, monochrome1=inverted))
    write_dicom(tmp_path / "m.dcm", drawn, 0, 1, 1)
    header = pydicom.dcmread(tmp_path / "m.dcm")
    assert header.PhotometricInterpretation == photometric
    stored = drawn.mammogram.pixels
    np.testing.assert_array_equal(header.pixel_array, drawn.mammogram.full_scale - stored if inverted else stored)
    np.testing.assert_array_equal(read_mammogram(tmp_path / "m.dcm").pixels, stored)


def test_a_patient_has_four_images_and_one_study_and_the_split_knows_them(result):
    found = headers(result[0])
    assert [header.PatientID for header in found] == ["synthetic-11-1"] * 4 + ["synthetic-11-2"] * 2
    assert [patient_key(header.PatientID) for header in found] == [header.PatientID for header in found]
    assert len({header.StudyInstanceUID for header in found}) == 2
    assert len({header.SOPInstanceUID for header in found}) == IMAGES
    assert len({header.SeriesInstanceUID for header in found}) == IMAGES


def test_nobody_is_in_the_header(result):
    for header in headers(result[0]):
        assert not [element for element in header.iterall() if element.tag.is_private]
        named = [element for element in header.iterall() if element.VR in ("DA", "DT", "TM", "PN", "AE", "SH")]
        kept = {element.keyword for element in named if str(element.value)}
        assert kept <= {"CodeValue", "CodingSchemeDesignator"}
        assert header.DerivationDescription.startswith("synthetic: no patient")


def test_the_table_and_the_summary_agree(result):
    output, summary = result
    with (output / "hard_negatives.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    written = json.loads((output / "synthesize.json").read_text())
    counts = {kind: sum(row["kind"] == kind for row in rows) for kind in {row["kind"] for row in rows}}
    assert counts == summary.hard_negatives == written["hard_negatives"]
    assert [entry["hard_negatives"] for entry in written["files"]] == [
        sum(row["file"] == entry["file"] for row in rows) for entry in written["files"]
    ]
    assert written["disclaimer"] == DISCLAIMER
    assert written["note"].startswith("synthetic: no patient")
    assert written["settings"] == {"seed": 11, "field_height_mm": 30.0, "field_width_mm": 28.0, "film_share": 0.25}
    assert {entry["spacing_mm"] for entry in written["files"]} <= {0.05, 0.07, 0.085, 0.1}


def test_implant_takes_them_as_backgrounds(result, tmp_path):
    config = ImplantConfig(seed=1, isolated_per_mammogram=2, clusters_per_mammogram=0)
    summary = implant_folder(result[0], tmp_path / "implanted", config)
    assert summary.rejected == ()
    assert (summary.mammograms, summary.patients) == (6, 2)
    assert summary.calcifications >= 6


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="new or empty; found 1"):
        synthesize_folder(tmp_path, 1, CONFIG)
    assert contents(tmp_path) == {"mine.txt": b"keep"}


def test_what_a_killed_run_left_is_cleared(result, tmp_path):
    (tmp_path / ".synthesize-partial").mkdir()
    (tmp_path / ".synthesize-partial" / "synthetic-0009.dcm").write_bytes(b"half")
    synthesize_folder(tmp_path, IMAGES, CONFIG)
    assert contents(tmp_path) == contents(result[0])


def command(*flags):
    return subprocess.run(
        [sys.executable, "-m", "data_prep.synthesize", *flags],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def test_the_command_says_where_the_results_are(tmp_path):
    ran = command(
        f"--output_dir={tmp_path / 'out'}", "--images=2", "--seed=4", "--workers=1", "--field_height_mm=30",
        "--field_width_mm=28", "--film_share=1",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "2 mammograms of 1 artificial patients: 2 film." in ran.stdout
    assert str(tmp_path / "out") in ran.stdout
    assert ran.stdout.rstrip().endswith(DISCLAIMER)


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--images=0", "flag --images=0: 0 is not an integer in the range [1, 9999]"),
        ("--film_share=1.5", "flag --film_share=1.5: 1.5 is not a number in the range"),
        ("--field_height_mm=5", "flag --field_height_mm=5"),
        ("--workers=0", "flag --workers=0"),
    ],
)
def test_a_flag_out_of_range_gives_one_clear_line(tmp_path, flag, told):
    ran = command(f"--output_dir={tmp_path / 'out'}", flag)
    assert ran.returncode == 1
    (line,) = ran.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert told in line
    assert not (tmp_path / "out").exists()
