"""DICOM results as `predict` gives them: beside the other files, kept with them, and alone in knowing the patient."""

import csv
import json
import re

import numpy as np
import pydicom
import pytest

from calcseg_tf.bulk import BulkConfig, predict_bulk
from calcseg_tf.clinical.dicom import DicomOptions
from data_prep.errors import InputError
from tests.bulk.brightness import Brightness, in_threads
from tests.fakes.checker import object_errors
from tests.fakes.dicom import write_dicom
from tests.fakes.folder import write_png
from tests.fakes.patients import Patient, taint
from tests.leaks import find_leaks

_PATIENT = Patient(1)
_DICOM = {"report.dcm", "segmentation.dcm"}


@pytest.fixture
def archive(tmp_path):
    """A tainted mammogram with three specks, and a PNG."""
    pixels = np.full((20, 16), 400, np.uint16)
    pixels[4:6, 4:6] = pixels[12:15, 8] = pixels[18, 2] = 4095
    path = write_dicom(tmp_path / "in" / "a.dcm", pixels, PixelSpacing=[0.05, 0.05])
    taint(path, _PATIENT)
    write_png(tmp_path / "in" / "z.png", np.zeros((9, 8), np.uint16))
    return tmp_path / "in"


def _predict(archive, out, *flags, overwrite=False):
    said = []
    config = BulkConfig(str(archive), out, overwrite=overwrite, dicom=DicomOptions(*flags))
    predict_bulk(config, in_threads(Brightness()), said.append).tell(said.append)
    return said


def test_a_dicom_mammogram_has_dicom_results_and_a_png_has_none(archive, tmp_path):
    said = _predict(archive, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out" / "a").glob("*.dcm")} == _DICOM
    assert list((tmp_path / "out" / "z").glob("*.dcm")) == []
    assert any("no DICOM results for 1 PNG" in line for line in said)
    for name in _DICOM:
        assert object_errors(tmp_path / "out" / "a" / name) == []
    sizes = json.loads((tmp_path / "out" / "a" / "statistics.json").read_text())["files"]
    assert sizes.keys() > _DICOM


def test_dicom_results_hold_the_figures_of_the_other_files(archive, tmp_path):
    _predict(archive, tmp_path / "out")
    result = tmp_path / "out" / "a"
    statistics = json.loads((result / "statistics.json").read_text())
    dump = str(pydicom.dcmread(result / "report.dcm"))
    assert f"'{statistics['mean_area_mm2']:.10g}'" in dump
    assert int(pydicom.dcmread(result / "segmentation.dcm").pixel_array.sum()) == 8
    with (result / "calcifications.csv").open(newline="") as file:
        areas = [float(row["area_mm2"]) for row in csv.DictReader(file)]
    assert len(areas) == statistics["count"] == 3
    for area in areas:
        assert f"'{area:.10g}'" in dump
    assert set(re.findall(r"calcification \d+", dump)) == {f"calcification {number}" for number in (1, 2, 3)}


@pytest.mark.parametrize("show_patient", [False, True])
def test_what_tells_the_patient_is_in_dicom_results_alone(archive, tmp_path, show_patient):
    said = _predict(archive, tmp_path / "out", show_patient)
    keys = {_PATIENT.id, *(secret for secret in _PATIENT.secrets if secret.startswith("1.2.840."))}
    told = {_PATIENT.family, _PATIENT.given, _PATIENT.birth, _PATIENT.study, _PATIENT.accession, "Trockenbeere",
            "Federweisser", "Ottokar"}  # fmt: skip
    found = find_leaks([tmp_path / "out"], _PATIENT.secrets)
    assert {leak.split(": ")[0].rsplit("/", 1)[1] for leak in found} == _DICOM
    assert {leak.split(": ")[1] for leak in found} == keys | (told if show_patient else set())
    assert [secret for secret in _PATIENT.secrets if secret in "\n".join(said)] == []


def test_results_that_tell_more_or_less_of_the_patient_are_other_results(archive, tmp_path):
    _predict(archive, tmp_path / "out")
    assert "2 of 2 images have their result already" in _predict(archive, tmp_path / "out")
    with pytest.raises(InputError, match="show_patient was false, now true"):
        _predict(archive, tmp_path / "out", True)
    _predict(archive, tmp_path / "out", True, overwrite=True)
    assert pydicom.dcmread(tmp_path / "out" / "a" / "report.dcm").PatientID == _PATIENT.id


def test_probabilities_are_written_on_request(archive, tmp_path):
    _predict(archive, tmp_path / "out", False, True)
    names = {path.name for path in (tmp_path / "out" / "a").glob("*.dcm")}
    assert names == {*_DICOM, "segmentation_fractional.dcm"}


def test_what_could_not_be_taken_over_is_noted(archive, tmp_path):
    dataset = pydicom.dcmread(archive / "a.dcm")
    del dataset.StudyInstanceUID
    dataset.save_as(archive / "a.dcm")
    said = _predict(archive, tmp_path / "out")
    assert any("StudyInstanceUID is missing or no UID" in line for line in said)
