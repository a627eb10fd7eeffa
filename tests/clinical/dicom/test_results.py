"""DICOM results of every kind of mammogram pass the checker and are read back pixel by pixel."""

import highdicom
import numpy as np
import pydicom
import pytest

from calcseg_tf.clinical.dicom import read_source
from calcseg_tf.probability_map import threshold_code, to_codes
from data_prep.command import DISCLAIMER
from data_prep.dicom.segmentation import read_segmentation
from data_prep.mammogram import read_mammogram
from tests.clinical.dicom.making import CREATED, drawn, make, specks
from tests.fakes.checker import entity_errors, needs_checker, object_errors
from tests.fakes.dicom import FOR_PRESENTATION, LOSSLESS_SYNTAXES, fake_uid, write_dicom
from tests.fakes.folder import fake_pixels, write_png
from tests.fakes.full_mammogram import write_full_mammogram
from tests.fakes.timeless import timeless_bytes

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def _pixels(bits: int = 12, shape: tuple[int, int] = (24, 37)) -> np.ndarray:
    return np.random.default_rng(bits).integers(0, 1 << bits, shape, np.uint16)


def _frames(path):
    """One frame by pydicom and by highdicom; they must agree."""
    by_pydicom = pydicom.dcmread(path).pixel_array
    by_highdicom = highdicom.seg.segread(path).get_stored_frame(1)
    np.testing.assert_array_equal(by_pydicom.reshape(by_highdicom.shape), by_highdicom)
    return by_highdicom


@needs_checker
def test_the_checker_finds_what_is_wrong(tmp_path):
    path = write_full_mammogram(tmp_path / "a.dcm", _pixels(), 12)
    assert object_errors(path) == []
    dataset = pydicom.dcmread(path)
    del dataset.BodyPartExamined, dataset.PatientOrientation
    dataset.save_as(path)
    assert any("PatientOrientation" in error for error in object_errors(path))


@pytest.mark.parametrize("syntax", LOSSLESS_SYNTAXES)
def test_results_of_every_transfer_syntax_are_native_and_exact(tmp_path, syntax):
    image = write_dicom(tmp_path / "a.dcm", fake_pixels(1, 40, 36), syntax=syntax)
    make(tmp_path, image, fractional=False)
    segmentation = pydicom.dcmread(tmp_path / "segmentation.dcm")
    assert segmentation.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    np.testing.assert_array_equal(_frames(tmp_path / "segmentation.dcm"), specks((40, 36)) >= 0.5)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_a_full_mammogram_of_any_depth_has_results_in_its_study(tmp_path, bits, photometric):
    pixels = _pixels(bits).astype(np.uint8 if bits == 8 else np.uint16)
    image = write_full_mammogram(tmp_path / "a.dcm", pixels, bits, photometric=photometric, PatientName="Doe^Jane")
    assert object_errors(image) == []
    make(tmp_path / "out", image, show_patient=True)
    paths = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in paths] == ["report.dcm", "segmentation.dcm", "segmentation_fractional.dcm"]
    assert entity_errors([image, *paths]) == []
    source = pydicom.dcmread(image)
    for path in paths:
        made = pydicom.dcmread(path)
        assert made.StudyInstanceUID == source.StudyInstanceUID
        assert made.SeriesInstanceUID != source.SeriesInstanceUID
        assert (made.PatientID, made.PatientName, made.StudyDate) == ("patient-0001", "Doe^Jane", "20180314")


@pytest.mark.parametrize("sop_class", [FOR_PRESENTATION, _SECONDARY_CAPTURE, "1.2.840.10008.5.1.4.1.1.13.1.4"])
def test_the_image_may_be_of_any_class(tmp_path, sop_class):
    image = write_dicom(tmp_path / "a.dcm", _pixels(), SOPClassUID=sop_class)
    make(tmp_path, image)
    made = pydicom.dcmread(tmp_path / "segmentation.dcm")
    reference = made.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]
    assert reference.ReferencedSOPClassUID == sop_class


def test_a_pixel_of_the_segmentation_is_that_pixel_of_the_image(tmp_path):
    """Hand-drawn and unlike its mirror images and its transpose."""
    probability = drawn("9....", ".6...", ".....", "....5")
    image = write_dicom(tmp_path / "a.dcm", _pixels(shape=(4, 5)), PatientOrientation=["P", "L"])
    make(tmp_path, image, probability)
    expected = np.array([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 1]], bool)
    np.testing.assert_array_equal(_frames(tmp_path / "segmentation.dcm"), expected)
    made = pydicom.dcmread(tmp_path / "segmentation.dcm")
    assert (made.Rows, made.Columns, made.NumberOfFrames) == (4, 5, 1)
    assert list(made.PatientOrientation) == ["P", "L"]
    derivation = made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert derivation.SpatialLocationsPreserved == "YES"
    assert derivation.ReferencedSOPInstanceUID == pydicom.dcmread(image).SOPInstanceUID


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 3), (7, 13), (40, 33)])
def test_the_segmentation_is_the_map_at_its_threshold_whatever_the_size(tmp_path, shape):
    """Frames of single bits need not end with a byte."""
    image = write_dicom(tmp_path / "a.dcm", _pixels(shape=shape))
    for threshold in (0.25, 0.5, 1.0):
        make(tmp_path, image, specks(shape), threshold=threshold)
        expected = to_codes(specks(shape)) >= threshold_code(threshold)
        np.testing.assert_array_equal(_frames(tmp_path / "segmentation.dcm"), expected)


def test_fractions_are_the_probabilities_in_255_steps(tmp_path):
    image = write_dicom(tmp_path / "a.dcm", _pixels())
    make(tmp_path, image)
    path = tmp_path / "segmentation_fractional.dcm"
    np.testing.assert_array_equal(_frames(path), np.rint(to_codes(specks((24, 37))) / 257))
    made = pydicom.dcmread(path)
    assert (made.SegmentationType, made.SegmentationFractionalType) == ("FRACTIONAL", "PROBABILITY")
    assert made.MaximumFractionalValue == 255


def test_fractions_are_written_on_request_alone(tmp_path):
    image = write_dicom(tmp_path / "a.dcm", _pixels())
    make(tmp_path / "out", image, fractional=False)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.dcm", "segmentation.dcm"}


def test_our_own_reader_takes_the_segmentation_for_a_mask_of_calcifications(tmp_path):
    image = write_dicom(tmp_path / "a.dcm", _pixels())
    make(tmp_path, image)
    np.testing.assert_array_equal(read_segmentation(tmp_path / "segmentation.dcm"), specks((24, 37)) >= 0.5)


def test_nothing_found_is_a_result_with_an_empty_frame(tmp_path):
    image = write_dicom(tmp_path / "a.dcm", _pixels())
    statistics = make(tmp_path, image, np.zeros((24, 37), np.float32))
    assert statistics.count == 0
    for name in ("segmentation.dcm", "segmentation_fractional.dcm"):
        assert not _frames(tmp_path / name).any()


def test_a_map_that_is_found_everywhere_is_written_too(tmp_path):
    image = write_dicom(tmp_path / "a.dcm", _pixels(), PixelSpacing=[0.1, 0.2])
    assert make(tmp_path, image, np.ones((24, 37), np.float32)).count == 1
    assert _frames(tmp_path / "segmentation.dcm").all()


def test_codes_of_the_segment_are_those_of_calcifications(tmp_path):
    make(tmp_path, write_dicom(tmp_path / "a.dcm", _pixels()))
    (segment,) = highdicom.seg.segread(tmp_path / "segmentation.dcm").SegmentSequence
    assert segment.segmented_property_type.value == "129770007"
    assert segment.segmented_property_category.value == "49755003"
    assert segment.SegmentLabel == "calcifications"
    assert segment.algorithm_type.value == "AUTOMATIC"
    (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmParameters) == ("calcseg_tf", "threshold=0.5,network=fcn")


def test_every_object_says_what_it_may_be_used_for(tmp_path):
    make(tmp_path / "out", write_dicom(tmp_path / "a.dcm", _pixels()))
    for path in (tmp_path / "out").iterdir():
        made = pydicom.dcmread(path)
        assert made.ContentQualification == "RESEARCH"
        assert "research use, not for diagnosis" in made.SeriesDescription
        assert DISCLAIMER.encode() in path.read_bytes()


def test_the_same_input_gives_the_same_bytes_and_other_input_other_uids(tmp_path):
    image = write_dicom(tmp_path / "a.dcm", _pixels())
    for folder in ("one", "two"):
        make(tmp_path / folder, image)
    make(tmp_path / "threshold", image, threshold=0.4)
    make(tmp_path / "map", image, specks((24, 37), seed=1))
    make(tmp_path / "told", image, show_patient=True)
    make(tmp_path / "image", write_dicom(tmp_path / "b.dcm", _pixels(), InstanceNumber=2))
    seen = set()
    for name in ("segmentation.dcm", "segmentation_fractional.dcm", "report.dcm"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
        for folder in ("one", "threshold", "map", "told", "image"):
            uid = pydicom.dcmread(tmp_path / folder / name).SOPInstanceUID
            assert uid.startswith("2.25.")
            assert uid.is_valid
            seen.add(uid)
    assert len(seen) == 15


def test_only_moments_differ_when_a_result_is_made_again(tmp_path, monkeypatch):
    image = write_dicom(tmp_path / "a.dcm", _pixels())
    make(tmp_path / "one", image)
    later = CREATED.replace(year=2025, day=1)
    monkeypatch.setattr("tests.clinical.dicom.making.CREATED", later)
    make(tmp_path / "two", image)

    for name in ("segmentation.dcm", "segmentation_fractional.dcm", "report.dcm"):
        assert pydicom.dcmread(tmp_path / "two" / name).ContentDate == "20250201"
        assert timeless_bytes(tmp_path / "one" / name) == timeless_bytes(tmp_path / "two" / name)
        assert (tmp_path / "one" / name).read_bytes() != (tmp_path / "two" / name).read_bytes()


def test_a_png_belongs_to_no_study(tmp_path):
    path = write_png(tmp_path / "a.png", _pixels(16))
    assert read_source(path, read_mammogram(path), False) is None


def test_segmentations_and_report_are_two_series_and_refer_to_the_image_and_to_one_another(tmp_path):
    image = write_dicom(tmp_path / "a.dcm", _pixels())
    make(tmp_path, image)
    made = {name: pydicom.dcmread(tmp_path / f"{name}.dcm") for name in ("segmentation", "segmentation_fractional")}
    report = highdicom.sr.srread(tmp_path / "report.dcm")
    assert len({dataset.SeriesInstanceUID for dataset in (*made.values(), report)}) == 2
    source = pydicom.dcmread(image)
    evidence = {(series, instance) for _, series, instance, _ in report.get_evidence()}
    segmentation = made["segmentation"]
    assert evidence == {
        (fake_uid(3), source.SOPInstanceUID),
        (segmentation.SeriesInstanceUID, segmentation.SOPInstanceUID),
    }
    for dataset in made.values():  # what OHIF asks of a segmentation
        assert dataset.ReferencedSeriesSequence[0].SeriesInstanceUID == fake_uid(3)
