import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from data_prep.errors import InputError
from data_prep.mask_files import mask_size, read_mask
from tests.fakes.folder import write_png
from tests.fakes.memory import bounded_memory

DRAWN = np.array([[0, 1, 2], [200, 0, 7]])
EXPECTED = [[0, 1, 1], [1, 0, 1]]


def write_tiff(path, pixels, **options):
    Image.fromarray(pixels).save(path, format="TIFF", **options)
    return path


def write_npy(path, pixels):
    np.save(path, pixels)
    return path


@pytest.mark.parametrize("dtype", [bool, "u1", "i1", "<u2", ">u2", "i4", "u8", ">i8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_value_but_zero_of_an_npy_file_is_a_calcification(tmp_path, dtype, order):
    path = write_npy(tmp_path / "a.npy", np.array(DRAWN.astype(dtype), order=order))
    assert mask_size(path) == (2, 3)
    assert read_mask(path).dtype == np.uint8
    assert read_mask(path).tolist() == EXPECTED


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int32])
@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}, {"compression": "packbits"}])
def test_every_value_but_zero_of_a_tiff_file_is_a_calcification(tmp_path, dtype, options):
    for suffix in (".tif", ".TIFF"):
        path = write_tiff(tmp_path / f"a{suffix}", DRAWN.astype(dtype), **options)
        assert mask_size(path) == (2, 3)
        assert read_mask(path).tolist() == EXPECTED


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("a.npy", np.zeros((2, 3), np.float32), "one 2-D array of truth values or whole numbers"),
        ("a.npy", np.zeros((2, 3, 1), np.uint8), "one 2-D array"),
        ("a.npy", np.zeros(6, np.uint8), "one 2-D array"),
        ("a.npy", np.array([[{}]], object), "not a readable NPY file"),
        ("a.npy", np.zeros((0, 3), np.uint8), "one 2-D array"),
        ("a.tif", np.zeros((2, 3, 3), np.uint8), "one page and one grey channel; found mode RGB"),
        ("a.tif", np.zeros((2, 3), np.float32), "one page and one grey channel; found mode F"),
        ("a.png", np.zeros((2, 3, 3), np.uint8), "one grey channel; found mode RGB"),
    ],
)
def test_what_is_no_mask_is_refused_by_its_header(tmp_path, name, content, rule):
    write = {"a.npy": write_npy, "a.tif": write_tiff, "a.png": write_png}[name]
    path = write(tmp_path / name, content)
    for read in (mask_size, read_mask):
        with pytest.raises(InputError, match=rule) as caught:
            read(path)
        assert caught.value.where == str(path)


def test_a_tiff_of_several_pages_is_refused(tmp_path):
    page = Image.fromarray(np.zeros((2, 3), np.uint8))
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page])
    with pytest.raises(InputError, match="found more pages"):
        mask_size(tmp_path / "a.tif")


def test_an_archive_under_the_name_of_an_array_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", np.zeros((2, 3), np.uint8))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(InputError, match="one 2-D array"):
        mask_size(tmp_path / "a.npy")


@pytest.mark.parametrize("suffix", [".npy", ".tif", ".png", ".dcm"])
def test_a_missing_an_empty_and_another_file_are_input_errors(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    for content in (None, b"", b"no mask at all " * 40):
        if content is not None:
            path.write_bytes(content)
        for read in (mask_size, read_mask):
            with pytest.raises(InputError) as caught:
                read(path)
            assert caught.value.where == str(path)


def test_a_header_that_claims_60000_by_60000_takes_no_memory_for_it(tmp_path):
    array = write_npy(tmp_path / "a.npy", np.zeros((2, 3), np.uint8))
    array.write_bytes(array.read_bytes().replace(b"(2, 3), }", b"(60000, 60000), }"))
    tiff = write_tiff(tmp_path / "a.tif", np.zeros((2, 3), np.uint8))
    data = tiff.read_bytes()
    for tag, old in ((256, 3), (257, 2)):  # ImageWidth, ImageLength
        data = data.replace(struct.pack("<HHII", tag, 4, 1, old), struct.pack("<HHII", tag, 4, 1, 60_000))
        data = data.replace(struct.pack("<HHIHH", tag, 3, 1, old, 0), struct.pack("<HHIHH", tag, 3, 1, 60_000, 0))
    tiff.write_bytes(data)
    for path in (array, tiff):
        with pytest.raises(InputError):
            read_mask(path)


def test_a_tiff_of_ten_thousand_channels_is_one_line_and_its_library_says_nothing(tmp_path, caplog):
    path = write_tiff(tmp_path / "a.tif", DRAWN.astype(np.uint8))
    whole = path.read_bytes()
    entry = whole.index(struct.pack("<HHI", 278, 4, 1))  # RowsPerStrip becomes SamplesPerPixel
    path.write_bytes(whole[:entry] + struct.pack("<HHIHH", 277, 3, 1, 10_000, 0) + whole[entry + 12 :])
    for read in (mask_size, read_mask):
        with pytest.raises(InputError, match="not a readable TIFF"):
            read(path)
    assert not caplog.records


@pytest.mark.parametrize("compression", ["packbits", "tiff_lzw", "tiff_adobe_deflate", "group4"])
def test_a_damaged_tiff_is_one_line_and_its_library_prints_nothing(tmp_path, capfd, compression):
    drawn = np.arange(70 * 50).reshape(70, 50) % 3 == 0
    pixels = drawn if compression == "group4" else drawn.astype(np.uint8)
    path = write_tiff(tmp_path / "a.tif", pixels, compression=compression)
    np.testing.assert_array_equal(read_mask(path), drawn)
    whole = path.read_bytes()
    (directory,) = struct.unpack_from("<I", whole, 4)  # the strip lies between the header of 8 bytes and the directory
    path.write_bytes(whole[:8] + bytes(directory - 8) + whole[directory:])
    with pytest.raises(InputError, match="not a readable TIFF: damaged or truncated") as caught:
        read_mask(path)
    assert caught.value.where == str(path)
    assert capfd.readouterr() == ("", "")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from([".npy", ".tif", ".png"]),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.one_of(st.none(), st.floats(0, 1)),
)
def test_a_damaged_mask_is_a_mask_or_one_clear_line(tmp_path, suffix, changes, cut):
    pixels = np.arange(70 * 50).reshape(70, 50).astype(np.uint8)
    path = {".npy": write_npy, ".tif": write_tiff, ".png": write_png}[suffix](tmp_path / f"a{suffix}", pixels)
    data = bytearray(path.read_bytes())
    for position, value in changes:
        data[int(position * min(len(data), 400))] = value
    path.write_bytes(data if cut is None else data[: int(cut * len(data))])
    told = ""
    try:
        assert read_mask(path).shape == mask_size(path)
    except InputError as error:
        told = str(error)
    assert "\n" not in told


def test_a_tiff_whose_header_asks_for_a_hundred_gigabytes_is_refused_in_bounds(tmp_path):
    entries, length = 65_535, 2_000_000  # each of which Pillow keeps in full
    header = struct.pack("<2sHIH", b"II", 42, 8, entries)
    header += b"".join(struct.pack("<HHII", tag, 1, length - 1000, 0) for tag in range(entries))
    path = tmp_path / "a.tif"
    path.write_bytes(header + bytes(max(0, length - len(header))))
    told = r"memory|not a readable TIFF"
    with bounded_memory(50_000_000), pytest.raises(InputError, match=told) as raised:
        mask_size(path)
    assert raised.value.where == str(path)
