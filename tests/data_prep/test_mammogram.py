import pathlib
import pickle

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from data_prep.errors import InputError
from data_prep.mammogram import (
    Laterality,
    Mammogram,
    SpacingSource,
    View,
    is_dicom,
    read_header,
    read_identifiers,
    read_mammogram,
)
from data_prep.png import MAX_PIXELS, decode_grey_png, encode_png, grey_png_size
from tests.fakes.dicom import FOR_PROCESSING, TRANSFER_SYNTAXES, fake_uid, write_dicom
from tests.fakes.folder import fake_pixels, write_png

# Only what ships in the package: `get_testdata_files` would fetch more.
ODD_FILES = sorted((pathlib.Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm"))


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (10, np.uint16), (14, np.uint16), (16, np.uint16)])
def test_every_depth_and_transfer_syntax_gives_the_stored_values(tmp_path, syntax, bits, dtype):
    pixels = fake_pixels(1, 5, 7, bits=bits).astype(dtype)
    mammogram = read_mammogram(write_dicom(tmp_path / "a.dcm", pixels, bits_stored=bits, syntax=syntax))
    assert mammogram.pixels.dtype == np.uint16
    assert mammogram.bits_stored == bits
    np.testing.assert_array_equal(mammogram.pixels, pixels)


def test_full_scale_is_two_to_the_bits_stored_less_one_never_the_maximum_of_the_image(tmp_path):
    pixels = np.array([[0, 1023, 2047]], np.uint16)
    mammogram = read_mammogram(write_dicom(tmp_path / "a.dcm", pixels, bits_stored=12))
    assert mammogram.intensity().dtype == np.float32
    np.testing.assert_allclose(mammogram.intensity(), [[0, 1023 / 4095, 2047 / 4095]], rtol=1e-6)


def test_monochrome1_is_inverted_within_bits_stored(tmp_path):
    pixels = np.array([[0, 1, 4095]], np.uint16)
    path = write_dicom(tmp_path / "a.dcm", pixels, bits_stored=12, photometric="MONOCHROME1")
    assert read_mammogram(path).pixels.tolist() == [[4095, 4094, 0]]


@pytest.mark.parametrize(
    ("photometric", "limit", "expected"),
    [
        ("MONOCHROME2", None, [[7, 0, 4094, 4093]]),
        ("MONOCHROME2", 4093, [[7, 0, 0, 0]]),
        ("MONOCHROME1", None, [[4088, 0, 1, 2]]),
    ],
)
def test_pixel_padding_becomes_zero(tmp_path, photometric, limit, expected):
    extra = {} if limit is None else {"PixelPaddingRangeLimit": limit}
    pixels = np.array([[7, 4095, 4094, 4093]], np.uint16)
    path = write_dicom(tmp_path / "a.dcm", pixels, photometric=photometric, PixelPaddingValue=4095, **extra)
    assert read_mammogram(path).pixels.tolist() == expected


@pytest.mark.parametrize(
    ("header", "spacing", "source"),
    [
        ({"PixelSpacing": [0.07, 0.08]}, (0.07, 0.08), SpacingSource.PIXEL_SPACING),
        ({"PixelSpacing": [0.06, 0.06], "ImagerPixelSpacing": [0.07, 0.07]}, (0.06, 0.06), SpacingSource.PIXEL_SPACING),
        ({"ImagerPixelSpacing": [0.07, 0.07]}, (0.07, 0.07), SpacingSource.IMAGER),
        (
            {"ImagerPixelSpacing": [0.107, 0.107], "EstimatedRadiographicMagnificationFactor": 1.07},
            (0.1, 0.1),
            SpacingSource.IMAGER,
        ),
        (  # not calibrated (PS3.3 10.7.1.3): the two are one value, at the detector
            {
                "PixelSpacing": [0.107, 0.107],
                "ImagerPixelSpacing": [0.107, 0.107],
                "EstimatedRadiographicMagnificationFactor": 1.07,
            },
            (0.1, 0.1),
            SpacingSource.IMAGER,
        ),
        (
            {"ImagerPixelSpacing": [0.1, 0.1], "EstimatedRadiographicMagnificationFactor": 0},
            (0.1, 0.1),
            SpacingSource.IMAGER,
        ),
        ({"NominalScannedPixelSpacing": [0.05, 0.05]}, (0.05, 0.05), SpacingSource.SCANNED),
        ({"PixelSpacing": [0, 0]}, None, SpacingSource.UNKNOWN),
        ({}, None, SpacingSource.UNKNOWN),
    ],
)
def test_spacing_is_that_in_the_breast_and_names_its_source(tmp_path, header, spacing, source):
    mammogram = read_mammogram(write_dicom(tmp_path / "a.dcm", fake_pixels(0), **header))
    assert mammogram.pixel_spacing_mm == (None if spacing is None else pytest.approx(spacing))
    assert mammogram.spacing_source is source


def view_code(code):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "SCT", "view"
    return Sequence([item])


@pytest.mark.parametrize(
    ("header", "laterality", "view"),
    [
        ({"ImageLaterality": "L", "ViewPosition": "MLO"}, Laterality.LEFT, View.MLO),
        ({"Laterality": "R", "PatientOrientation": "CC"}, Laterality.RIGHT, View.CC),  # CBIS-DDSM
        ({"ViewCodeSequence": view_code("399368009")}, Laterality.UNKNOWN, View.MLO),
        ({"ViewCodeSequence": view_code("R-10242")}, Laterality.UNKNOWN, View.CC),
        ({"PatientOrientation": ["A", "R"], "ImageLaterality": "B"}, Laterality.UNKNOWN, View.UNKNOWN),
    ],
)
def test_orientation_comes_from_whichever_attribute_holds_it(tmp_path, header, laterality, view):
    mammogram = read_mammogram(write_dicom(tmp_path / "a.dcm", fake_pixels(0), **header))
    assert (mammogram.laterality, mammogram.view) == (laterality, view)


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


def test_pixels_that_do_not_fit_their_header_are_refused(tmp_path):
    for number, header in enumerate(({"Rows": 25}, {"Columns": 200})):
        path = write_dicom(tmp_path / f"{number}.dcm", fake_pixels(0), **header)
        with pytest.raises(InputError, match=r"PixelData \(7FE0,0010\) cannot be decoded"):
            read_mammogram(path)


@pytest.mark.parametrize("syntax", ["explicit", "rle", "deflated"])
def test_a_truncated_file_is_never_a_mammogram(tmp_path, syntax):
    pixels = fake_pixels(3)
    data = write_dicom(tmp_path / "a.dcm", pixels, syntax=syntax).read_bytes()
    for length in range(0, len(data) - 16, 7):
        path = tmp_path / "cut.dcm"
        path.write_bytes(data[:length])
        with pytest.raises(InputError):
            read_mammogram(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), rle=st.booleans())
def test_a_damaged_file_is_a_mammogram_or_one_clear_line(tmp_path, position, value, rle):
    path = tmp_path / f"{rle}.dcm"
    if not path.exists():
        write_dicom(path, fake_pixels(0), syntax="rle" if rle else "explicit", PixelSpacing=[0.07, 0.07])
    data = bytearray(path.read_bytes())
    data[int(position * len(data))] = value
    damaged = tmp_path / "damaged.dcm"
    damaged.write_bytes(data)
    told = reads_or_tells(damaged)
    assert "\n" not in told
    assert "patient-0001" not in told
    assert told == "" or told.startswith(str(damaged))


def reads_or_tells(path):
    """Returns the error's line, "" for a good file; any other exception goes through."""
    try:
        mammogram = read_mammogram(path)
    except InputError as error:
        return str(error)
    assert mammogram.pixels.max() <= mammogram.full_scale
    return ""


@pytest.mark.parametrize("path", ODD_FILES, ids=lambda path: path.name)
def test_none_of_pydicoms_odd_files_is_a_mammogram(path):
    for read in (read_header, read_mammogram):
        with pytest.raises(InputError) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_input_errors(tmp_path):
    for path in (tmp_path / "none.dcm", tmp_path):
        for read in (read_header, read_mammogram):
            with pytest.raises(InputError, match="cannot be read"):
                read(path)


def test_a_16_bit_png_has_full_scale_65535(tmp_path):
    pixels = np.array([[0, 1, 65535]], np.uint16)
    mammogram = read_mammogram(write_png(tmp_path / "a.png", pixels))
    assert mammogram.pixels.tolist() == pixels.tolist()
    assert mammogram.full_scale == 65535
    assert mammogram.pixel_spacing_mm is None
    assert mammogram.patient_id == ""


@pytest.mark.parametrize(
    ("pixels", "rule"),
    [
        (np.zeros((4, 4), np.uint8), "16 bits"),
        (np.zeros((4, 4, 3), np.uint8), "one grey channel; found mode RGB"),
    ],
)
def test_a_png_of_8_bits_or_in_colour_is_no_mammogram(tmp_path, pixels, rule):
    path = write_png(tmp_path / "a.png", pixels)
    with pytest.raises(InputError, match=rule):
        read_mammogram(path)
    with pytest.raises(InputError, match=rule):
        grey_png_size(path, bits=16)


def test_every_truncation_of_a_png_is_refused(tmp_path):
    data = encode_png(fake_pixels(0, 9, 9, bits=16))
    for length in range(0, len(data) - 20, 5):
        with pytest.raises(InputError):
            decode_grey_png(data[:length])


@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99), deep=st.booleans())
def test_png_coding_is_lossless_and_keeps_the_depth(height, width, seed, deep):
    pixels = fake_pixels(seed, height, width, bits=16 if deep else 8).astype(np.uint16 if deep else np.uint8)
    decoded = decode_grey_png(encode_png(pixels))
    assert decoded.dtype == pixels.dtype
    np.testing.assert_array_equal(decoded, pixels)


def test_a_png_that_claims_too_many_pixels_is_refused_before_they_are_decoded(tmp_path):
    data = bytearray(encode_png(np.zeros((2, 2), np.uint8)))
    import struct
    import zlib

    for claimed in (11_000, 65_000):
        data[16:24] = struct.pack(">II", claimed, claimed)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        with pytest.raises(InputError, match="at most"):
            decode_grey_png(bytes(data))


def test_dicom_is_told_by_suffix_or_content(tmp_path):
    path = write_dicom(tmp_path / "IM0001", fake_pixels(0))
    assert is_dicom(path)
    assert is_dicom(tmp_path / "absent.DCM")
    assert not is_dicom(write_png(tmp_path / "a.png", fake_pixels(0)))


def test_identifiers_are_read_from_any_dicom_file_and_none_from_others(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", fake_pixels(0), patient_id="ID-7", Modality="CT", study_uid=fake_uid(5))
    assert {"ID-7", "Musterfrau", "Erika", fake_uid(5), fake_uid(3)} <= read_identifiers(path)
    (tmp_path / "b.dcm").write_bytes(b"nothing")
    assert read_identifiers(tmp_path / "b.dcm") == set()
    assert read_identifiers(tmp_path / "absent.dcm") == set()


@pytest.mark.parametrize(
    "arguments",
    [
        {"pixels": np.zeros((2, 2), np.int16)},
        {"pixels": np.zeros((0, 2), np.uint16)},
        {"pixels": np.zeros((2, 2, 1), np.uint16)},
        {"pixels": np.zeros((2, 2), np.uint16), "bits_stored": 7},
        {"pixels": np.full((2, 2), 4096, np.uint16)},
        {"pixels": np.zeros((2, 2), np.uint16), "pixel_spacing_mm": (1.0, 1.0)},
    ],
)
def test_no_invalid_mammogram_can_be_made(arguments):
    with pytest.raises(InputError):
        Mammogram(**{"bits_stored": 12, **arguments})


def test_an_input_error_survives_the_way_home_from_a_worker():
    error = pickle.loads(pickle.dumps(InputError("the rule", "a file")))
    assert (error.rule, error.where, str(error)) == ("the rule", "a file", "a file: the rule")
