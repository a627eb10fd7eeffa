"""What DICOM results take over from the header: the keys of the study, more on request, and never what is invalid."""

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import RawDataElement

from calcseg_tf.clinical.dicom import read_source
from data_prep.errors import InputError
from data_prep.mammogram import Laterality, View, read_mammogram
from tests.clinical.dicom.making import make
from tests.fakes.checker import entity_errors
from tests.fakes.dicom import fake_dicom, fake_uid, write_dicom
from tests.fakes.full_mammogram import write_full_mammogram
from tests.fakes.patients import Patient, taint
from tests.leaks import find_leaks

_PIXELS = np.arange(30 * 20, dtype=np.uint16).reshape(30, 20)
_HIDDEN = (
    "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
    "ReferringPhysicianName",
)  # fmt: skip


def _results(folder):
    return {path.name: pydicom.dcmread(path) for path in folder.iterdir()}


def _source(path, show_patient=True):
    return read_source(path, read_mammogram(path), show_patient)


def test_results_carry_the_keys_of_the_study_and_nothing_that_shows_who_the_patient_is(tmp_path):
    image = write_full_mammogram(tmp_path / "a.dcm", _PIXELS, 12, IssuerOfPatientID="Musterklinik")
    make(tmp_path / "out", image)
    for made in _results(tmp_path / "out").values():
        assert (made.PatientID, made.IssuerOfPatientID) == ("patient-0001", "Musterklinik")
        assert made.StudyInstanceUID == fake_uid(1)
        assert [made[keyword].value for keyword in _HIDDEN] == [made[keyword].empty_value for keyword in _HIDDEN]
        assert "StudyDescription" not in made
    # Empty values of type 2 are all that differs from the image's study.
    assert entity_errors([image, *(tmp_path / "out").iterdir()]) == []


def test_nothing_else_of_a_tainted_header_gets_into_the_results(tmp_path):
    patient = Patient(0)
    image = write_dicom(tmp_path / "a.dcm", _PIXELS)
    taint(image, patient)
    make(tmp_path / "out", image)
    keys = {patient.id, *(secret for secret in patient.secrets if secret.startswith("1.2.840."))}
    found = find_leaks([tmp_path / "out"], patient.secrets)
    assert {leak.split(": ")[1] for leak in found} == keys
    assert patient.family in str(find_leaks([tmp_path], patient.secrets))  # the search would find it


def test_on_request_results_show_who_the_patient_is(tmp_path):
    image = write_full_mammogram(tmp_path / "a.dcm", _PIXELS, 12)
    make(tmp_path / "out", image, show_patient=True)
    source = pydicom.dcmread(image)
    for made in _results(tmp_path / "out").values():
        assert [str(made[keyword].value) for keyword in _HIDDEN] == [str(source[keyword].value) for keyword in _HIDDEN]
        assert made.PatientName == "Müller^Jürgen"
        assert made.StudyDescription == "Mammographie beidseits"


def test_a_header_without_study_patient_and_uids_gives_valid_results_of_their_own_study(tmp_path):
    image = tmp_path / "a.dcm"
    dataset = fake_dicom(
        _PIXELS, SOPInstanceUID=None, StudyInstanceUID=None, SeriesInstanceUID=None, PatientID=None, PatientName=None
    )
    dataset.preamble = bytes(128)
    dataset.save_as(image)
    make(tmp_path / "out", image)
    make(tmp_path / "again", image)
    studies = {made.StudyInstanceUID for made in _results(tmp_path / "out").values()}
    assert len(studies) == 1
    assert studies == {made.StudyInstanceUID for made in _results(tmp_path / "again").values()}
    assert studies.pop().startswith("2.25.")
    notes = _source(image).notes
    assert [note.split()[0] for note in notes] == ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]


def test_an_instance_uid_of_the_file_meta_group_will_do(tmp_path):
    dataset = pydicom.dcmread(write_dicom(tmp_path / "a.dcm", _PIXELS))
    dataset.file_meta.MediaStorageSOPInstanceUID = fake_uid(77)
    del dataset.SOPInstanceUID
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=False)
    source = _source(tmp_path / "a.dcm")
    assert source.dataset.SOPInstanceUID == fake_uid(77)
    assert source.notes == ()


_HOSTILE = (
    "<script>alert(1)</script>", "x" * 65, "x" * 500, "Ω≈ç√∫˜µ≤", "山田^太郎", "a\\b", "line\nbreak", "\x1b$B;3\x1b(B",
    "\x00", "'; DROP TABLE patients; --", "../../etc/passwd", "  padded  ", "=", "^", "^^^^^^^", "20189999", "99999999",
    "1.2.3.4", "-1", "a" * 64, "ä" * 64, "\u202eright to left", "\ufffd", "NaN", "{}", "%s%n", "👩‍⚕️",
)  # fmt: skip


@pytest.mark.parametrize("hostile", _HOSTILE)
def test_hostile_text_in_any_attribute_leaves_results_valid(tmp_path, hostile):
    keywords = (
        *_HIDDEN, "PatientID", "IssuerOfPatientID", "StudyDescription", "SOPInstanceUID", "StudyInstanceUID",
        "SeriesInstanceUID", "SOPClassUID", "PatientOrientation", "LossyImageCompression",
        "LossyImageCompressionRatio", "LossyImageCompressionMethod", "ImageLaterality", "ViewPosition",
    )  # fmt: skip
    # Without explicit value representations a reader takes those of the dictionary.
    path = write_dicom(tmp_path / "a.dcm", _PIXELS, SpecificCharacterSet="ISO_IR 192", syntax="implicit")
    dataset = pydicom.dcmread(path)
    for keyword in keywords:
        value = hostile.encode() + b" " * (len(hostile.encode()) % 2)
        tag = pydicom.tag.Tag(keyword)
        dataset[tag] = RawDataElement(tag, None, len(value), value, 0, True, True)
    dataset.save_as(path)
    make(tmp_path / "out", path, show_patient=True, fractional=False)
    for made in _results(tmp_path / "out").values():
        assert made.StudyInstanceUID.is_valid
        for keyword in ("PatientID", "PatientName"):
            assert str(made[keyword].value or "") in ("", hostile.strip())  # whole, or left out


def test_a_script_tag_is_a_name_like_any_other(tmp_path):
    """DICOM knows no markup: the text is kept, and whoever shows it must escape it."""
    image = write_dicom(tmp_path / "a.dcm", _PIXELS, PatientName="<script>alert(1)</script>^Eve")
    make(tmp_path / "out", image, show_patient=True)
    assert _results(tmp_path / "out")["report.dcm"].PatientName == "<script>alert(1)</script>^Eve"
    make(tmp_path / "hidden", image)
    assert find_leaks([tmp_path / "hidden"], ["<script>"]) == []


@pytest.mark.parametrize(
    ("keyword", "good", "bad"),
    [
        ("PatientID", "x" * 64, "x" * 65),
        ("PatientBirthDate", "20240229", "20230229"),
        ("PatientSex", "O", "female"),
        ("StudyTime", "235959.999", "250000"),
        ("StudyID", "y" * 16, "y" * 17),
        ("StudyDate", "20171231", "2017-12-31"),
    ],
)
def test_a_value_that_breaks_its_rules_is_left_out_whole_and_said_so(tmp_path, keyword, good, bad):
    for value, expected, notes in ((good, good, 0), (bad, None, 1)):
        path = write_dicom(tmp_path / "a.dcm", _PIXELS)
        dataset = pydicom.dcmread(path)
        with pydicom.config.disable_value_validation():
            setattr(dataset, keyword, value)
            dataset.save_as(path)
        source = _source(path)
        assert source.dataset[keyword].value in (expected, None if expected is None else expected)
        assert len(source.notes) == notes
        assert all(bad not in note for note in source.notes)


@pytest.mark.parametrize("values", [["a", "b"], ["1.2", "1.3"]])
def test_several_values_where_one_belongs_are_none(tmp_path, values):
    path = write_dicom(tmp_path / "a.dcm", _PIXELS)
    dataset = pydicom.dcmread(path)
    dataset.PatientID = values
    dataset.save_as(path)
    assert _source(path).dataset.PatientID is None


def test_a_class_of_no_image_becomes_a_secondary_capture(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", _PIXELS, SOPClassUID="1.2.276.0.7230010.3.1.0.1")
    source = _source(path)
    assert source.dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert "Secondary Capture" in source.notes[0]
    make(tmp_path / "out", path)


def test_lossy_compression_of_the_image_is_told_of_the_segmentation(tmp_path):
    told = {"LossyImageCompressionRatio": "12.5", "LossyImageCompressionMethod": "ISO_10918_1"}
    path = write_dicom(tmp_path / "a.dcm", _PIXELS, LossyImageCompression="01", **told)
    make(tmp_path / "out", path)
    made = _results(tmp_path / "out")["segmentation.dcm"]
    assert (made.LossyImageCompression, made.LossyImageCompressionRatio) == ("01", 12.5)
    untold = write_dicom(tmp_path / "b.dcm", _PIXELS, LossyImageCompression="01")
    make(tmp_path / "untold", untold)
    assert _results(tmp_path / "untold")["segmentation.dcm"].LossyImageCompression == "00"


def test_the_source_knows_side_and_view(tmp_path):
    source = _source(write_full_mammogram(tmp_path / "a.dcm", _PIXELS, 12))
    assert (source.laterality, source.view) == (Laterality.LEFT, View.MLO)


def test_a_file_that_has_gone_is_named(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", _PIXELS)
    mammogram = read_mammogram(path)
    path.unlink()
    with pytest.raises(InputError, match=r"a\.dcm: cannot be read"):
        read_source(path, mammogram, False)
