import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels import apply_windowing
from pydicom.sequence import Sequence

from data_prep.dicom.header import ReadOptions
from data_prep.dicom.voi import display_values
from data_prep.errors import InputError
from data_prep.mammogram import read_mammogram
from tests.fakes.dicom import fake_dicom, write_dicom

VOI = ReadOptions(voi_lut=True)


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


def test_signed_values_are_raised_by_half_of_full_scale(tmp_path):
    pixels = np.array([[-2048, -1, 0, 2047]], np.int16)
    mammogram = read_mammogram(write_dicom(tmp_path / "a.dcm", pixels, bits_stored=12))
    assert mammogram.pixels.tolist() == [[0, 2047, 2048, 4095]]
    assert mammogram.warnings == (
        "signed stored values, raised by half of full scale: PixelRepresentation (0028,0103) is 1",
    )
    inverted = write_dicom(tmp_path / "b.dcm", pixels, bits_stored=12, photometric="MONOCHROME1")
    assert read_mammogram(inverted).pixels.tolist() == [[4095, 2048, 2047, 0]]


@pytest.mark.parametrize(("value", "limit"), [(-2000, None), (63536, None), (-1999, -2001)])
def test_signed_padding_is_found_in_either_representation(tmp_path, value, limit):
    pixels = np.array([[-2000, 5]], np.int16)
    dataset = fake_dicom(pixels, bits_stored=12)
    for keyword, given_value in (("PixelPaddingValue", value), ("PixelPaddingRangeLimit", limit)):
        if given_value is not None:
            setattr(dataset, keyword, given_value)
            dataset[keyword].VR = "SS" if given_value < 0 else "US"
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert read_mammogram(tmp_path / "a.dcm").pixels.tolist() == [[0, 2053]]


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big", "deflated", "rle"])
def test_bits_above_bits_stored_are_no_part_of_a_pixel(tmp_path, syntax):
    pixels = np.array([[0xF123, 0x8FFF, 0x1000]], np.uint16)  # an overlay in the upper four bits
    path = write_dicom(tmp_path / "a.dcm", pixels, bits_stored=12, syntax=syntax)
    assert read_mammogram(path).pixels.tolist() == [[0x123, 0xFFF, 0]]


def test_a_stream_with_values_above_bits_stored_is_refused_not_wrapped_around(tmp_path):
    pixels = np.full((32, 32), 4096, np.uint16)
    stream = fake_dicom(pixels, bits_stored=13, syntax="jpeg2000-lossless")
    stream.BitsStored, stream.HighBit = 12, 11
    stream.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match=r"stored values must be 0 to 4095 .* found 4096 to 4096"):
        read_mammogram(tmp_path / "a.dcm")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        # PS3.3 C.11.2.1.2.1: ((x - 2047.5) / 4095 + 0.5) of the output range
        ({"WindowCenter": 2048, "WindowWidth": 4096}, [0, 16019, 65535]),  # 1001 / 4095
        ({"WindowCenter": 1001, "WindowWidth": 3, "VOILUTFunction": "LINEAR"}, [0, 49151, 65535]),  # 0.5 / 2 + 0.5
        ({"WindowCenter": 1001.5, "WindowWidth": 1}, [0, 0, 65535]),  # a step behind 1001
        ({"WindowCenter": 1000, "WindowWidth": 4, "VOILUTFunction": "LINEAR_EXACT"}, [0, 49151, 65535]),
        ({"WindowCenter": 1001, "WindowWidth": 100, "VOILUTFunction": "SIGMOID"}, [0, 32768, 65535]),
        ({"WindowCenter": [2048, 1], "WindowWidth": [4096, 1]}, [0, 16019, 65535]),  # the first of two
        ({"WindowCenter": 2002, "WindowWidth": 4, "VOILUTFunction": "LINEAR_EXACT",
          "RescaleSlope": 2, "RescaleIntercept": 0}, [0, 32768, 65535]),
        ({"WindowCenter": -1001, "WindowWidth": 4, "VOILUTFunction": "LINEAR_EXACT",
          "RescaleSlope": -1, "RescaleIntercept": 0}, [65535, 32768, 0]),
    ],
)  # fmt: skip
def test_the_first_window_is_applied_over_16_bits_where_it_is_asked_for(tmp_path, header, expected):
    pixels = np.array([[0, 1001, 4095]], np.uint16)
    mammogram = read_mammogram(write_dicom(tmp_path / "a.dcm", pixels, bits_stored=12, **header), VOI)
    assert mammogram.bits_stored == 16
    np.testing.assert_allclose(mammogram.pixels[0], expected, atol=1)


def test_a_window_of_an_inverted_image_is_inverted_and_padding_stays_air(tmp_path):
    pixels = np.array([[0, 1001, 4095]], np.uint16)
    header = {"WindowCenter": 1001, "WindowWidth": 4, "VOILUTFunction": "LINEAR_EXACT", "PixelPaddingValue": 0}
    path = write_dicom(tmp_path / "a.dcm", pixels, photometric="MONOCHROME1", **header)
    assert read_mammogram(path, VOI).pixels.tolist() == [[0, 32767, 0]]


def lut(first, bits, entries):
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item["LUTDescriptor"].VR = "US"
    item.add_new("LUTData", "US", entries)
    return Sequence([item])


def odd_lut(vr, entries, data_vr="US", data=(1, 2)):
    item = Dataset()
    item.add_new("LUTDescriptor", vr, [entries, 0, 16])
    item.add_new("LUTData", data_vr, list(data) if data_vr == "US" else data)
    return Sequence([item])


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"VOILUTSequence": lut(1000, 12, [0, 1365, 4095])}, [0, 21845, 65535]),
        ({"VOILUTSequence": lut(1000, 8, [255, 51, 0])}, [65535, 13107, 0]),
        ({"VOILUTSequence": lut(1000, 8, [9, 51] + [255] * 400)}, [2313, 13107, 65535]),  # more than 256 entries
        ({"VOILUTSequence": lut(1000, 12, [0, 1365, 4095]), "WindowCenter": 5, "WindowWidth": 5}, [0, 21845, 65535]),
        (
            {"ModalityLUTSequence": lut(1000, 16, [0, 100, 200]), "VOILUTSequence": lut(0, 16, [0] * 100 + [7, 65535])},
            [0, 7, 65535],
        ),
    ],
)
def test_a_table_is_looked_up_and_goes_before_a_window(tmp_path, header, expected):
    pixels = np.array([[0, 1001, 4095]], np.uint16)
    mammogram = read_mammogram(write_dicom(tmp_path / "a.dcm", pixels, bits_stored=12, **header), VOI)
    assert mammogram.pixels.tolist() == [expected]


@pytest.mark.parametrize(
    ("header", "rule"),
    [
        ({"WindowCenter": 5, "WindowWidth": 0}, "WindowWidth (0028,1051) must be at least 1"),
        ({"WindowCenter": 5, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"}, "greater than 0"),
        ({"WindowCenter": 5, "WindowWidth": 9, "VOILUTFunction": "CUBIC"}, "VOILUTFunction (0028,1056) must be"),
        ({"VOILUTSequence": lut(0, 17, [1, 2])}, "VOILUTSequence (0028,3010) must hold a table"),
        ({"VOILUTSequence": Sequence([Dataset()])}, "VOILUTSequence (0028,3010) must hold a table"),
        ({"VOILUTSequence": odd_lut("DS", "nan")}, "VOILUTSequence (0028,3010) must hold a table"),
        ({"VOILUTSequence": odd_lut("DS", "1e999")}, "VOILUTSequence (0028,3010) must hold a table"),
        ({"VOILUTSequence": odd_lut("US", 1, "LO", "DOE^JANE")}, "VOILUTSequence (0028,3010) must hold a table"),
    ],
)
def test_a_window_or_table_outside_the_rules_is_refused(tmp_path, header, rule):
    path = write_dicom(tmp_path / "a.dcm", np.ones((3, 3), np.uint16), **header)
    with pytest.raises(InputError) as caught:
        read_mammogram(path, VOI)
    assert rule in str(caught.value)
    assert read_mammogram(path).pixels.tolist() == np.ones((3, 3)).tolist()  # not asked for


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")
@given(
    center=st.floats(-100, 5000),
    width=st.floats(1, 6000),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
)
def test_windows_agree_with_pydicom(center, width, function):
    values = np.arange(0, 4096, 7)
    dataset = fake_dicom(np.zeros((1, 1), np.uint16), bits_stored=12, VOILUTFunction=function)
    dataset.WindowCenter, dataset.WindowWidth = f"{center:.6f}", f"{width:.6f}"
    expected = apply_windowing(values, dataset) / 4095
    np.testing.assert_allclose(display_values(dataset, values), expected, atol=1e-9)
