import csv
import dataclasses
import json
import subprocess
import sys

import numpy as np
import pydicom
import pytest
from scipy import ndimage

from data_prep.command import DISCLAIMER
from data_prep.dicom.description import LOSSY, PERHAPS_LOSSY
from data_prep.errors import InputError
from data_prep.implants.config import ImplantConfig
from data_prep.implants.dicom_file import neutral_names, write_dicom
from data_prep.implants.implanting import implant_folder
from data_prep.mammogram import Laterality, SpacingSource, View, read_mammogram
from data_prep.only_run import only_run_in
from data_prep.png import decode_grey_png, encode_png
from data_prep.split import patient_key
from tests.data_prep.implants.test_placement import breast
from tests.fakes.commands import ROOT

CONFIG = ImplantConfig(seed=3, isolated_per_mammogram=4, clusters_per_mammogram=1)


def write_background(path, patient_id, seed, spacing=0.07, study=None, **fields):
    mammogram, _ = breast(seed=seed, spacing=spacing)
    mammogram = dataclasses.replace(mammogram, laterality=Laterality.LEFT, view=View.CC, **fields)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_dicom(
        path,
        mammogram.pixels,
        mammogram,
        neutral_names(0, patient_id, study or patient_key(patient_id) or str(seed), str(seed), seed + 1),
    )


@pytest.fixture(scope="module")
def backgrounds(tmp_path_factory):
    """Two views of one CBIS-DDSM patient, one of another, two without Patient ID, and three files to reject."""
    folder = tmp_path_factory.mktemp("backgrounds")
    write_background(folder / "Smith^Jane" / "b.dcm", "Mass-Test_P_00173_LEFT_CC", seed=1)
    write_background(folder / "Smith^Jane" / "a.dcm", "Mass-Test_P_00173_RIGHT_MLO", seed=2)
    write_background(folder / "c.dcm", "Mass-Test_P_00020_LEFT_CC", seed=3, spacing=None)
    write_background(folder / "d.dcm", "", seed=4)
    (folder / "e.png").write_bytes(encode_png(breast(seed=5, bits_stored=16)[0].pixels))
    (folder / "f.dcm").write_bytes(b"no dicom")
    (folder / "g.png").write_bytes(encode_png(np.zeros((600, 600), np.uint16)))
    (folder / "h.dcm").write_bytes((folder / "c.dcm").read_bytes())
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture(scope="module")
def result(backgrounds, tmp_path_factory):
    output = tmp_path_factory.mktemp("results") / "implanted"
    return output, implant_folder(backgrounds, output, CONFIG)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def table(folder):
    with (folder / "calcifications.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_mammogram_gives_a_dicom_and_two_masks_and_nothing_is_left_over(result):
    output, summary = result
    stems = [f"implant-000{number}" for number in (1, 2, 3, 4, 5)]
    expected = {f"{stem}{ending}" for stem in stems for ending in (".dcm", ".png", "_ignore.png")}
    assert set(contents(output)) == expected | {"calcifications.csv", "implant.json"}
    assert (summary.mammograms, summary.patients) == (5, 4)


def test_views_of_one_patient_share_patient_and_study_and_the_nameless_are_alone(result):
    output, _ = result
    headers = [pydicom.dcmread(output / f"implant-000{number}.dcm") for number in (1, 2, 3, 4, 5)]
    # Files in order: Smith^Jane/a, Smith^Jane/b, c, d, e; P_00020 sorts before P_00173, and those with no ID come last.
    assert [header.PatientID for header in headers[:3]] == ["patient-2", "patient-2", "patient-1"]
    # g.png, rejected later for want of a breast, has taken one of the numbers 3 to 5.
    nameless = {header.PatientID for header in headers[3:]}
    assert len(nameless) == 2
    assert nameless < {"patient-3", "patient-4", "patient-5"}
    assert len({header.StudyInstanceUID for header in headers}) == 4
    assert headers[0].StudyInstanceUID == headers[1].StudyInstanceUID
    assert len({header.SOPInstanceUID for header in headers}) == 5


def test_images_of_one_study_stay_with_one_patient_whatever_their_patient_ids(tmp_path):
    for seed, patient_id in enumerate(["pseudonym-1", "pseudonym-2", "", "other"]):
        study = "another" if patient_id == "other" else "shared"
        write_background(tmp_path / "in" / f"{seed}.dcm", patient_id, seed, study=study)
    implant_folder(tmp_path / "in", tmp_path / "out", CONFIG)
    headers = [pydicom.dcmread(path) for path in sorted((tmp_path / "out").glob("*.dcm"))]
    patients = [header.PatientID for header in headers]
    assert patients[0] == patients[1] == patients[2] != patients[3]
    assert len({header.StudyInstanceUID for header in headers}) == 2


@pytest.mark.parametrize("told", [(), (LOSSY,), (PERHAPS_LOSSY,)])
def test_a_lossy_background_is_not_called_lossless(tmp_path, told):
    mammogram, _ = breast(seed=1)
    write_dicom(tmp_path / "a.dcm", mammogram.pixels, dataclasses.replace(mammogram, warnings=told),
                neutral_names(0, "p", "s", "1", 1))  # fmt: skip
    assert pydicom.dcmread(tmp_path / "a.dcm").LossyImageCompression == ("01" if told else "00")


@pytest.mark.parametrize("spacing", [0.005, 1.0])
def test_pixels_too_fine_or_too_coarse_cost_their_image_alone(tmp_path, spacing):
    write_background(tmp_path / "in" / "a.dcm", "p", 1, pixel_spacing_mm=(spacing, spacing),
                     spacing_source=SpacingSource.PIXEL_SPACING)  # fmt: skip
    write_background(tmp_path / "in" / "b.dcm", "p", 2)
    summary = implant_folder(tmp_path / "in", tmp_path / "out", CONFIG)
    assert [file.reason for file in summary.rejected] == [f"a pixel spacing must be 0.01 to 0.5 mm; found {spacing:g}"]
    assert summary.mammograms == 1


def test_a_second_run_into_the_same_folder_is_refused(backgrounds, tmp_path):
    with only_run_in(tmp_path, ""), pytest.raises(InputError, match="another run is writing into this folder"):
        implant_folder(backgrounds, tmp_path, CONFIG)
    assert contents(tmp_path) == {}


def test_nothing_that_identifies_comes_out(result):
    output, _ = result
    for name, data in contents(output).items():
        assert b"00173" not in data, name
        assert b"Smith" not in data, name
    header = pydicom.dcmread(output / "implant-0001.dcm")
    assert (header.PatientName, header.StudyDate, header.PatientBirthDate) == ("", "", "")


def test_the_dicom_reads_back_as_a_mammogram_with_its_orientation_and_spacing(result, backgrounds):
    output, _ = result
    read, source = read_mammogram(output / "implant-0002.dcm"), read_mammogram(backgrounds / "Smith^Jane" / "b.dcm")
    assert (read.bits_stored, read.pixel_spacing_mm) == (12, (0.07, 0.07))
    assert (read.laterality, read.view) == (Laterality.LEFT, View.CC)
    difference = read.pixels.astype(int) - source.pixels
    assert difference.min() == 0
    assert 0 < (difference > 0).mean() < 0.05


def test_an_assumed_spacing_is_said_and_never_written_into_the_dicom(result):
    output, _ = result
    assert read_mammogram(output / "implant-0003.dcm").pixel_spacing_mm is None
    entry = json.loads((output / "implant.json").read_text())["files"][2]
    assert entry["pixel_spacing_mm"] == 0.05
    assert entry["pixel_spacing_source"] == "--pixel_spacing_mm"
    assert entry["pixel_spacing_assumed"] is True


def test_masks_hold_0_and_255_and_one_component_a_row_of_the_table(result):
    output, summary = result
    rows = table(output)
    assert len(rows) == summary.calcifications
    for number in (1, 2, 3, 4, 5):
        stem = f"implant-000{number}"
        mask = decode_grey_png((output / f"{stem}.png").read_bytes())
        assert mask.shape == read_mammogram(output / f"{stem}.dcm").pixels.shape
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) == {0, 255}
        ignored = decode_grey_png((output / f"{stem}_ignore.png").read_bytes()) > 0
        assert ignored.any()
        assert not (ignored & (mask > 0)).any()
        # A rim is no wider than the reach of the blur: 2.1 standard deviations to a tenth of a Gaussian, and rounding.
        assert not (ignored & ~ndimage.binary_dilation(mask > 0, np.ones((3, 3)), iterations=4)).any()
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        own = [row for row in rows if row["file"] == stem]
        assert [row["id"] for row in own] == [str(n + 1) for n in range(count)]
        found = zip(
            ndimage.center_of_mass(mask, labels, range(1, count + 1)), np.bincount(labels.ravel())[1:], strict=True
        )
        expected = {(row["row"], row["column"], int(row["area_px"])) for row in own}
        assert {(f"{row:.2f}", f"{column:.2f}", int(area)) for (row, column), area in found} == expected


def test_the_table_states_cluster_shape_and_size(result):
    output, _ = result
    rows = table(output)
    assert {row["cluster"] for row in rows} == {"", "1"}
    assert {row["shape"] for row in rows} <= {"round", "irregular", "elongated", "branching"}
    first = rows[0]
    assert float(first["diameter_mm"]) == pytest.approx(2 * (int(first["area_px"]) / np.pi) ** 0.5 * 0.07, abs=1e-3)
    assert 5.0 <= float(first["signal_to_noise"]) <= 30.0


def test_rejected_files_are_reported_each_with_its_reason(result, backgrounds):
    output, summary = result
    reasons = {file.path.name: file.reason for file in summary.rejected}
    assert set(reasons) == {"f.dcm", "g.png", "h.dcm"}
    assert "not a DICOM file" in reasons["f.dcm"]
    assert "no breast found" in reasons["g.png"]
    assert "same bytes" in reasons["h.dcm"]
    written = json.loads((output / "implant.json").read_text())
    assert [entry["reason"] for entry in written["rejected"]] == [file.reason for file in summary.rejected]
    assert all(len(entry["source_sha256"]) == 64 for entry in written["rejected"])
    assert written["disclaimer"] == DISCLAIMER


def test_two_workers_write_the_same_bytes_as_one(result, backgrounds, tmp_path):
    implant_folder(backgrounds, tmp_path / "again", CONFIG, workers=2)
    assert contents(tmp_path / "again") == contents(result[0])


def test_another_file_changes_no_other_pixels(result, backgrounds, tmp_path):
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    (fewer / "d.dcm").write_bytes((backgrounds / "d.dcm").read_bytes())
    implant_folder(fewer, tmp_path / "out", CONFIG)
    alone, among = (
        read_mammogram(path) for path in (tmp_path / "out/implant-0001.dcm", result[0] / "implant-0004.dcm")
    )
    np.testing.assert_array_equal(alone.pixels, among.pixels)


@pytest.mark.parametrize(
    ("source", "keyword"),
    [
        (SpacingSource.PIXEL_SPACING, "PixelSpacing"),
        (SpacingSource.IMAGER, "ImagerPixelSpacing"),
        (SpacingSource.SCANNED, "NominalScannedPixelSpacing"),
    ],
)
def test_a_stated_spacing_comes_back_from_the_attribute_it_came_from(tmp_path, source, keyword):
    path = tmp_path / "background.dcm"
    spacing = (0.07 / 1.07, 0.08 / 1.07)
    write_background(path, "p", 1, pixel_spacing_mm=spacing, spacing_source=source)
    assert keyword in pydicom.dcmread(path)
    read = read_mammogram(path)
    assert read.pixel_spacing_mm == pytest.approx(spacing, rel=1e-9)
    assert read.spacing_source is source


@pytest.mark.parametrize("bits_stored", [8, 10, 12, 16])
def test_any_depth_is_written_losslessly(tmp_path, bits_stored):
    mammogram, _ = breast(height=64, width=48, bits_stored=bits_stored)
    write_dicom(tmp_path / "m.dcm", mammogram.pixels, mammogram, neutral_names(0, "p", "s", "i", 1))
    read = read_mammogram(tmp_path / "m.dcm")
    np.testing.assert_array_equal(read.pixels, mammogram.pixels)
    assert read.bits_stored == bits_stored


def test_a_folder_with_other_files_is_refused_and_left_alone(backgrounds, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="new or empty; found 1"):
        implant_folder(backgrounds, tmp_path, CONFIG)
    assert contents(tmp_path) == {"mine.txt": b"keep"}


def test_what_a_killed_run_left_is_cleared(backgrounds, result, tmp_path):
    (tmp_path / ".implant-partial").mkdir()
    (tmp_path / ".implant-partial" / "implant-0009.dcm").write_bytes(b"half")
    implant_folder(backgrounds, tmp_path, CONFIG)
    assert contents(tmp_path) == contents(result[0])


def test_a_folder_without_mammograms_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="must hold DICOM files or 16-bit PNGs; found none"):
        implant_folder(tmp_path / "in", tmp_path / "out", CONFIG)
    (tmp_path / "in" / "x.dcm").write_bytes(b"no dicom")
    (tmp_path / "in" / "y.png").write_bytes(encode_png(np.zeros((600, 600), np.uint16)))
    with pytest.raises(InputError, match=r"none of 2 files is usable; x\.dcm: not a DICOM file"):
        implant_folder(tmp_path / "in", tmp_path / "out", CONFIG)
    assert not (tmp_path / "out").exists()


def test_a_missing_background_folder_and_results_inside_it_are_refused(backgrounds, tmp_path):
    with pytest.raises(InputError, match="must be a folder of mammograms; found none"):
        implant_folder(tmp_path / "nowhere", tmp_path / "out", CONFIG)
    with pytest.raises(InputError, match="must not lie inside"):
        implant_folder(backgrounds, backgrounds / "out", CONFIG)


def command(*flags):
    return subprocess.run(
        [sys.executable, "-m", "data_prep.implant", *flags],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def test_the_command_says_where_the_results_are_and_what_it_rejected(backgrounds, tmp_path):
    ran = command(
        f"--background_dir={backgrounds}", f"--output_dir={tmp_path / 'out'}", "--seed=3", "--workers=1",
        "--isolated_per_mammogram=2", "--clusters_per_mammogram=0",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "5 mammograms of 4 patients: 10 calcifications" in ran.stdout
    assert str(tmp_path / "out") in ran.stdout
    assert ran.stdout.rstrip().endswith(DISCLAIMER)
    assert "f.dcm: not a DICOM file" in ran.stderr


def test_the_command_fails_with_one_clear_line(tmp_path):
    ran = command(f"--background_dir={tmp_path / 'nowhere'}", f"--output_dir={tmp_path / 'out'}")
    assert ran.returncode == 1
    assert ran.stderr.strip().splitlines() == [
        f"error: {tmp_path / 'nowhere'}: --background_dir must be a folder of mammograms; found none"
    ]
