import pickle

import numpy as np
import pytest

from data_prep.dicom.header import read_header
from data_prep.errors import InputError
from data_prep.mammogram import Mammogram, is_dicom, read_mammogram
from data_prep.png import grey_png_size
from tests.fakes.dicom import write_dicom
from tests.fakes.folder import fake_pixels, write_png


def test_full_scale_is_two_to_the_bits_stored_less_one_never_the_maximum_of_the_image(tmp_path):
    pixels = np.array([[0, 1023, 2047]], np.uint16)
    mammogram = read_mammogram(write_dicom(tmp_path / "a.dcm", pixels, bits_stored=12))
    assert mammogram.intensity().dtype == np.float32
    np.testing.assert_allclose(mammogram.intensity(), [[0, 1023 / 4095, 2047 / 4095]], rtol=1e-6)


def test_a_missing_file_and_a_folder_are_input_errors(tmp_path):
    for path in (tmp_path / "none.dcm", tmp_path):
        for read in (read_header, read_mammogram):
            with pytest.raises(InputError, match=r"cannot be read|found a folder"):
                read(path)


def test_a_file_longer_than_any_mammogram_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "a.dcm"
    with path.open("wb") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(InputError, match="at most 1073741824 bytes; found 1073741825"):
        read_mammogram(path)


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


def test_dicom_is_told_by_suffix_or_content(tmp_path):
    path = write_dicom(tmp_path / "IM0001", fake_pixels(0))
    assert is_dicom(path)
    assert is_dicom(tmp_path / "absent.DCM")
    assert not is_dicom(write_png(tmp_path / "a.png", fake_pixels(0)))


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
