import tracemalloc
import zlib

import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from data_prep.dicom.header import ReadOptions, read_header, read_identifiers
from data_prep.errors import InputError
from data_prep.mammogram import read_mammogram
from data_prep.png import MAX_PIXELS
from tests.fakes.dicom import FOR_PROCESSING, fake_dicom, fake_uid, write_dicom
from tests.fakes.folder import fake_pixels

TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.13.1.3"


@pytest.mark.parametrize(
    ("header", "rule"),
    [
        ({"Modality": "CT"}, "Modality (0008,0060) must be MG; found CT"),
        ({"Modality": None}, "must be MG; found none"),
        ({"SOPClassUID": FOR_PROCESSING}, "for processing"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "PresentationIntentType (0008,0068)"),
        ({"SamplesPerPixel": 3}, "SamplesPerPixel (0028,0002) 3"),
        ({"NumberOfFrames": 2}, "NumberOfFrames (0028,0008) 2"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "found PALETTE COLOR"),
        ({"PixelRepresentation": 2}, "PixelRepresentation (0028,0103) must be 0 or 1; found 2"),
        ({"Rows": 0}, "found 0 x 20"),
        ({"Rows": None}, "Rows (0028,0010); found none"),
        ({"Rows": [24, 24]}, "Rows (0028,0010) must be one integer"),
        ({"Rows": 60000, "Columns": 60000}, f"1 to {MAX_PIXELS} pixels"),
        ({"BitsStored": 17}, "found 17 in 16"),
        ({"BitsStored": 7, "HighBit": 6}, "found 7 in 16"),
        ({"BitsAllocated": 32}, "found 12 in 32"),
        ({"BitsAllocated": 12}, "found 12 in 12"),
        ({"SOPClassUID": TOMOSYNTHESIS}, "Breast Tomosynthesis"),
        ({"RescaleSlope": -1, "RescaleIntercept": 4095}, "RescaleSlope (0028,1053) must be greater than 0"),
        ({"ModalityLUTSequence": Sequence([Dataset()])}, "ModalityLUTSequence (0028,3000) must be absent"),
        ({"HighBit": 15}, "HighBit (0028,0102) must be BitsStored - 1"),
    ],
)
def test_a_header_outside_the_rules_is_refused_with_tag_and_value(tmp_path, header, rule):
    path = write_dicom(tmp_path / "a.dcm", fake_pixels(0), **header)
    for read in (read_header, read_mammogram):
        with pytest.raises(InputError) as caught:
            read(path)
        assert rule in str(caught.value)
        assert caught.value.where == str(path)
        assert "\n" not in str(caught.value)


def test_a_text_that_is_a_sequence_is_refused_and_its_items_are_not_told(tmp_path):
    item = Dataset()
    item.PatientName = "Musterfrau^Erika"
    dataset = fake_dicom(fake_pixels(0))
    dataset["PatientID"] = DataElement("PatientID", "SQ", Sequence([item]))
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(InputError) as caught:
        read_mammogram(tmp_path / "a.dcm")
    assert caught.value.rule == "PatientID (0010,0020) must be a text; found a sequence"
    assert "Musterfrau" in read_identifiers(tmp_path / "a.dcm")  # by the name, which is whole


@pytest.mark.parametrize("header", [{"SOPClassUID": FOR_PROCESSING}, {"PresentationIntentType": "FOR PROCESSING"}])
def test_a_mammogram_for_processing_is_read_where_it_is_asked_for(tmp_path, header):
    path = write_dicom(tmp_path / "a.dcm", fake_pixels(0), **header)
    options = ReadOptions(for_processing=True)
    assert read_header(path, options).Rows == 24
    mammogram = read_mammogram(path, options)
    assert mammogram.pixels.tolist() == fake_pixels(0).tolist()
    assert [warning.partition(":")[0] for warning in mammogram.warnings] == ["for processing"]


def test_a_header_is_read_without_its_pixels(tmp_path):
    data = write_dicom(tmp_path / "a.dcm", fake_pixels(0)).read_bytes()
    (tmp_path / "a.dcm").write_bytes(data[:-100])
    assert read_header(tmp_path / "a.dcm").BitsStored == 12
    with pytest.raises(InputError, match="PixelData"):
        read_mammogram(tmp_path / "a.dcm")


def test_a_file_of_moving_pictures_is_refused_by_the_name_of_its_transfer_syntax(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", fake_pixels(0), stream=("1.2.840.10008.1.2.4.102", b"film"))
    with pytest.raises(InputError, match=r"one of a still image \(PS3.5 10\); found MPEG-4"):
        read_header(path)


def test_a_deflated_file_that_unpacks_without_end_is_refused_in_bounded_memory(tmp_path):
    header = write_dicom(tmp_path / "a.dcm", fake_pixels(0), syntax="deflated").read_bytes()[:400]
    meta = header.index(b"1.2.840.10008.1.2.1.99") + 22
    squeezed = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = b"".join(squeezed.compress(bytes(1 << 20)) for _ in range(320)) + squeezed.flush()
    path = tmp_path / "b.dcm"
    path.write_bytes(header[:meta] + packed)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="a deflated file must unpack to at most"):
            read_header(path)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_identifiers_are_read_from_any_dicom_file_and_none_from_others(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", fake_pixels(0), patient_id="ID-7", Modality="CT", study_uid=fake_uid(5))
    assert {"ID-7", "Musterfrau", "Erika", fake_uid(5), fake_uid(3)} <= read_identifiers(path)
    (tmp_path / "b.dcm").write_bytes(b"nothing")
    assert read_identifiers(tmp_path / "b.dcm") == set()
    assert read_identifiers(tmp_path / "absent.dcm") == set()
