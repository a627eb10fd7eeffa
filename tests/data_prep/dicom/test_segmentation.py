import random

import numpy as np
import pydicom
import pytest
from highdicom.seg import segread
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, JPEGLSLossless, RLELossless

from data_prep.annotation import MaskImages
from data_prep.dicom.segmentation import read_segmentation, read_segmentation_header
from data_prep.errors import InputError
from tests.fakes.dicom import fake_dicom, fake_uid, write_dicom
from tests.fakes.segmentation import (
    ANATOMY,
    CALCIFICATION_CODE,
    CLUSTER_CODE,
    FINDING,
    LESION_CODE,
    write_segmentation,
)

# 3 x 7 pixels: 21 bits, so that the second frame of a BINARY object begins within a byte.
SPOTS = np.array([[0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0]], bool)
REGION = np.array([[0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1]], bool)
BOTH = [[0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 255, 255], [0, 0, 0, 0, 255, 255, 255]]
CODES = ((FINDING, CALCIFICATION_CODE), (FINDING, CLUSTER_CODE))


@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        ("BINARY", ExplicitVRLittleEndian),
        *((kind, syntax) for kind in ("FRACTIONAL", "LABELMAP") for syntax in (ExplicitVRLittleEndian, RLELossless)),
        ("LABELMAP", JPEGLSLossless),
    ],
)
@pytest.mark.parametrize("reverse", [False, True])
def test_calcifications_win_over_clusters_which_are_ignored(tmp_path, kind, syntax, reverse):
    region = REGION & ~SPOTS if kind == "LABELMAP" else REGION  # label maps cannot overlap
    segments = [SPOTS.astype(float), region.astype(float)] if kind == "FRACTIONAL" else [SPOTS, region]
    step = -1 if reverse else 1
    path = write_segmentation(tmp_path / "a.dcm", segments[::step], kind=kind, codes=CODES[::step], syntax=syntax)
    assert read_segmentation_header(path).size == (3, 7)
    assert read_segmentation_header(path).warnings == ()
    assert read_segmentation(path).tolist() == BOTH


def test_a_fraction_of_one_half_or_more_is_drawn(tmp_path):
    fractions = np.array([[0.0, 0.2, 0.49], [0.51, 0.9, 1.0]])
    path = write_segmentation(tmp_path / "a.dcm", [fractions], kind="FRACTIONAL")
    assert read_segmentation(path).tolist() == [[0, 0, 0], [1, 1, 1]]


def test_the_pixels_agree_with_highdicom(tmp_path):
    generator = np.random.default_rng(0)
    path = write_segmentation(tmp_path / "a.dcm", [generator.random((13, 11)) < 0.3 for _ in range(5)])
    segmentation = segread(path)
    source = segmentation.get_source_image_uids()[0][2]
    drawn = segmentation.get_pixels_by_source_instance([source])[0].any(axis=-1)
    assert (read_segmentation(path) == 1).tolist() == drawn.tolist()


def test_anatomy_is_left_out_and_other_codes_are_calcifications_with_a_warning(tmp_path):
    codes = ((ANATOMY, LESION_CODE), (FINDING, LESION_CODE))
    path = write_segmentation(tmp_path / "a.dcm", [REGION, SPOTS], codes=codes)
    assert read_segmentation(path).tolist() == SPOTS.astype(int).tolist()
    assert read_segmentation_header(path).warnings == (
        "segment 1 is anatomy by its code: left out",
        "segment 2 has a code that names no calcification: taken as calcifications",
    )


def test_a_segmentation_of_another_image_is_told(tmp_path):
    image = write_dicom(tmp_path / "image.dcm", np.zeros((3, 7), np.uint16))
    own = write_segmentation(tmp_path / "own.dcm", [SPOTS], image=pydicom.dcmread(image))
    other = write_segmentation(
        tmp_path / "other.dcm", [SPOTS], image=fake_dicom(np.ones((3, 7), np.uint16), SOPInstanceUID=fake_uid(9))
    )
    assert MaskImages(own, None, image).warnings((3, 7)) == ()
    assert MaskImages(other, None, image).warnings((3, 7)) == (
        "the segmentation names another image as its source (SOPInstanceUID differs)",
    )
    assert MaskImages(other).warnings((3, 7)) == ()
    both = pydicom.dcmread(own)
    both.SourceImageSequence = [pydicom.Dataset()]
    both.SourceImageSequence[0].ReferencedSOPInstanceUID = fake_uid(9)
    both.save_as(tmp_path / "both.dcm")
    assert MaskImages(tmp_path / "both.dcm", None, image).warnings((3, 7)) == (
        "the segmentation names 2 images as its sources: all its frames are taken for this one",
    )


def test_a_segmentation_as_ignore_mask_ignores_every_segment(tmp_path):
    spots = write_segmentation(tmp_path / "a.dcm", [SPOTS])
    regions = write_segmentation(tmp_path / "b.dcm", [SPOTS, REGION])
    assert MaskImages(spots, regions).mask((3, 7)).tolist() == BOTH


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"Modality": "MG"}, "Modality (0008,0060) SEG; found MG"),
        ({"SegmentationType": "SKETCH"}, "SegmentationType (0062,0001) must be"),
        ({"PhotometricInterpretation": "Musterfrau"}, "a segmentation must be MONOCHROME2; found another"),
        ({"SegmentSequence": []}, "SegmentSequence (0062,0002); found none"),
        ({"Rows": 60000, "Columns": 60000}, "found 60000 x 60000"),
        ({"Rows": 30}, "it is truncated"),
        ({"NumberOfFrames": 3}, "each of 3 frames needs ReferencedSegmentNumber"),
        ({"BitsAllocated": 8}, "BitsAllocated (0028,0100) 1"),
    ],
)
def test_a_segmentation_outside_the_rules_is_refused(tmp_path, changes, rule):
    path = write_segmentation(tmp_path / "a.dcm", [SPOTS, REGION])
    dataset = pydicom.dcmread(path)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    with pytest.raises(InputError) as caught:
        read_segmentation(path)
    assert rule in str(caught.value)
    assert caught.value.where == str(path)


def test_a_frame_or_label_of_no_segment_is_refused(tmp_path):
    path = write_segmentation(tmp_path / "a.dcm", [SPOTS, REGION])
    dataset = pydicom.dcmread(path)
    dataset.PerFrameFunctionalGroupsSequence[1].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 7
    dataset.save_as(path)
    with pytest.raises(InputError, match=r"segment of SegmentSequence \(0062,0002\); found number 7"):
        read_segmentation(path)
    path = write_segmentation(tmp_path / "b.dcm", [SPOTS], kind="LABELMAP")
    dataset = pydicom.dcmread(path)
    dataset.PixelData = dataset.PixelData.replace(b"\1", b"\5")
    dataset.save_as(path)
    with pytest.raises(InputError, match="found 5 of none"):
        read_segmentation(path)


def test_packed_bits_in_big_endian_words_are_refused(tmp_path):
    path = write_segmentation(tmp_path / "a.dcm", [SPOTS])
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=False, force_encoding=True)
    with pytest.raises(InputError, match="little endian"):
        read_segmentation(path)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_a_mutated_segmentation_is_a_mask_or_one_clear_line(tmp_path, kind):
    data = write_segmentation(tmp_path / "a.dcm", [SPOTS.astype(float)], kind=kind).read_bytes()
    path = tmp_path / "b.dcm"
    for seed in range(300):
        generator = random.Random(seed)
        damaged = bytearray(data[: generator.randrange(len(data))] if generator.random() < 0.2 else data)
        for _ in range(generator.choice((1, 3, 9))):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        path.write_bytes(damaged)
        told = ""
        try:
            assert set(np.unique(read_segmentation(path)).tolist()) <= {0, 1, 255}
        except InputError as error:
            told = str(error)
        assert "\n" not in told, seed
