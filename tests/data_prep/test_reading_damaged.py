"""Damaged and odd files: each is a mammogram, or one `InputError` of one line, in bounded time and memory."""

import pathlib
import random
import tracemalloc

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import HTJ2KLossless

from data_prep.dicom.header import ReadOptions, read_header, read_identifiers
from data_prep.errors import InputError
from data_prep.mammogram import read_mammogram
from tests.fakes.codestreams import htj2k_image
from tests.fakes.dicom import TRANSFER_SYNTAXES, write_dicom
from tests.fakes.folder import fake_pixels

# Only what ships in the package: `get_testdata_files` would fetch more.
ODD_FILES = sorted((pathlib.Path(pydicom.__file__).parent / "data" / "test_files").rglob("*"))
ODD_FILES = [path for path in ODD_FILES if path.is_file()]

SYNTAXES = (*TRANSFER_SYNTAXES, "htj2k")
EVERYTHING = ReadOptions(for_processing=True, voi_lut=True)


def reads_or_tells(path, options=EVERYTHING):
    """Returns the error's line, "" for a good file; any other exception goes through."""
    try:
        mammogram = read_mammogram(path, options)
    except InputError as error:
        told = str(error)
    else:
        assert mammogram.pixels.max() <= mammogram.full_scale
        return ""
    assert "\n" not in told
    assert told.startswith(str(path))
    return told


def whole_file(folder, syntax):
    """A small mammogram with every attribute that reading looks at."""
    bits = 8 if syntax in ("jpeg", "jpeg-extended") else 12
    pixels, stream = fake_pixels(0, 33, 35, bits=bits).astype("u1" if bits == 8 else "u2"), None
    if syntax == "htj2k":
        pixels, stream = htj2k_image(bits)
    return write_dicom(
        folder / f"{syntax}.dcm",
        pixels,
        bits_stored=bits,
        syntax="explicit" if stream else syntax,
        stream=stream and (HTJ2KLossless, stream),
        PixelSpacing=[0.07, 0.07],
        ImagerPixelSpacing=[0.07, 0.07],
        EstimatedRadiographicMagnificationFactor=1.07,
        WindowCenter=[100, 200],
        WindowWidth=[50, 60],
        PixelPaddingValue=0,
        RescaleSlope=1,
        RescaleIntercept=0,
        ImageLaterality="L",
        ViewPosition="MLO",
        BurnedInAnnotation="NO",
    )


def mutated(data, generator):
    """Cuts, flips, inserts, deletes or repeats bytes; half of the changes are among the first 1,000."""
    data = bytearray(data)
    if generator.random() < 0.1:
        return bytes(data[: generator.randrange(len(data))])
    for _ in range(generator.choice((1, 1, 1, 2, 4, 16))):
        at = generator.randrange(min(len(data), generator.choice((1000, len(data)))))
        what, length = generator.random(), generator.randrange(1, 9)
        if what < 0.5:
            data[at] = generator.randrange(256)
        elif what < 0.7:
            data[at] ^= 1 << generator.randrange(8)
        elif what < 0.8:
            del data[at : at + length]
        elif what < 0.9:
            data[at:at] = generator.randbytes(length)
        else:
            data[at:at] = data[at : at + 4 * length]
    return bytes(data)


def check_mutations(folder, syntax, count):
    data = whole_file(folder, syntax).read_bytes()
    path = folder / "mutated.dcm"
    outcomes = set()
    for seed in range(count):
        path.write_bytes(mutated(data, random.Random(f"{syntax} {seed}")))
        outcomes.add(told := reads_or_tells(path).removeprefix(str(path)))
        for secret in ("patient-0001", "Musterfrau", "Erika"):
            assert secret not in told, seed
    assert len(outcomes) > 3


@pytest.mark.timeout(120)
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_mutated_file_is_a_mammogram_or_one_clear_line(tmp_path, syntax):
    check_mutations(tmp_path, syntax, 60)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_thousands_of_mutated_files_are_mammograms_or_clear_lines(tmp_path, syntax):
    check_mutations(tmp_path, syntax, 2500)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), syntax=st.sampled_from(SYNTAXES))
def test_a_file_with_one_wrong_byte_is_a_mammogram_or_one_clear_line(tmp_path, position, value, syntax):
    path = tmp_path / f"{syntax}.dcm"
    data = bytearray((path if path.exists() else whole_file(tmp_path, syntax)).read_bytes())
    data[int(position * len(data))] = value
    (tmp_path / "damaged.dcm").write_bytes(data)
    reads_or_tells(tmp_path / "damaged.dcm")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("path", ODD_FILES, ids=lambda path: path.name)
def test_none_of_pydicoms_odd_files_is_a_mammogram(path):
    for read in (read_header, read_mammogram):
        with pytest.raises(InputError) as caught:
            read(path)
        assert "\n" not in str(caught.value)
    assert isinstance(read_identifiers(path), set)


# Single-frame greyscale of 8 to 16 bits: what is left to refuse once it calls itself a mammogram.
READABLE = {
    "693_J2KI.dcm", "CT_small.dcm", "J2K_pixelrep_mismatch.dcm", "JPEG2000.dcm",
    "JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm", "MR_small.dcm", "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm", "MR_small_expb.dcm", "MR_small_implicit.dcm", "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm", "MR_small_padded.dcm", "examples_overlay.dcm", "image_dfl.dcm",
}  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("path", ODD_FILES, ids=lambda path: path.name)
def test_pydicoms_odd_files_end_well_even_where_they_call_themselves_mammograms(tmp_path, path):
    try:
        dataset = pydicom.dcmread(path, force=True)
        dataset.Modality = "MG"
        dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    except Exception:
        return  # no file that pydicom can write again; read as it is above
    told = reads_or_tells(tmp_path / "a.dcm")
    readable = path.name in READABLE or ("dicomdirtests" in path.parts and path.name.isdigit())
    assert (told == "") == readable, told


@pytest.mark.parametrize("syntax", ["explicit", "rle", "jpeg-lossless", "jpeg-ls", "jpeg2000-lossless"])
def test_a_header_that_claims_many_pixels_takes_no_memory_for_them(tmp_path, syntax):
    pixels = fake_pixels(0, 33, 35)
    for rows, columns in ((60_000, 60_000), (10_000, 11_000)):
        path = write_dicom(tmp_path / "a.dcm", pixels, syntax=syntax, Rows=33, Columns=35)
        dataset = pydicom.dcmread(path)
        dataset.Rows, dataset.Columns = rows, columns
        dataset.save_as(path)
        tracemalloc.start()
        try:
            with pytest.raises(InputError):
                read_mammogram(path)
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()


def test_an_image_of_one_pixel_is_read(tmp_path):
    assert read_mammogram(write_dicom(tmp_path / "a.dcm", np.array([[7]], np.uint16))).pixels.tolist() == [[7]]


def nested(depth, stated_lengths):
    """A sequence in the item of a sequence, `depth` deep, in explicit VR: lengths stated, or up to a delimiter."""
    if not stated_lengths:
        begin = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
        return begin * depth + b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0" * depth
    content = b""
    for _ in range(depth):
        item = b"\xfe\xff\x00\xe0" + len(content).to_bytes(4, "little") + content
        content = b"\x08\x00\x40\x11SQ\0\0" + len(item).to_bytes(4, "little") + item
    return content


@pytest.mark.timeout(60)
@pytest.mark.parametrize("stated_lengths", [False, True])
def test_sequences_nested_thousands_deep_end_in_time(tmp_path, stated_lengths):
    """What no reader looks into may be as deep as it likes; what recurses into it says so in one line."""
    path = write_dicom(tmp_path / "a.dcm", fake_pixels(0))
    data = path.read_bytes()
    place = data.index(b"\x08\x00\x60\x00CS")  # Modality (0008,0060): the first element behind is of a higher tag
    end = place + 8 + int.from_bytes(data[place + 6 : place + 8], "little")
    path.write_bytes(data[:end] + nested(5_000, stated_lengths) + data[end:])
    told = reads_or_tells(path)
    assert "damaged or truncated (RecursionError)" in told if not stated_lengths else told == ""
    read_identifiers(path)
    view = nested(3_000, stated_lengths).replace(b"\x08\x00\x40\x11", b"\x54\x00\x20\x02")  # View Code Sequence
    path.write_bytes(data[: (place := data.index(b"\xe0\x7f\x10\x00"))] + view + data[place:])
    reads_or_tells(path)
    assert isinstance(read_identifiers(path), set)
