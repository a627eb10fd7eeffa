import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from pydicom.uid import JPEGLosslessSV1

from data_prep.dicom import decoding
from data_prep.errors import InputError
from data_prep.mammogram import read_mammogram
from tests.fakes.codestreams import HTJ2K_BITS, encode_jpeg2000, encode_jpeg_lossless, htj2k_image
from tests.fakes.commands import ROOT
from tests.fakes.dicom import HTJ2K_SYNTAXES, LOSSLESS_SYNTAXES, fake_dicom, write_dicom
from tests.fakes.folder import fake_pixels

DEPTHS = [(8, "1"), (8, "2"), (10, "2"), (12, "2"), (14, "2"), (16, "2")]
ENCODED = ("rle", "jpeg-lossless", "jpeg-lossless-sv1", "jpeg-ls", "jpeg2000-lossless")


def stored_values(bits, kind):
    """All of a type's range, its ends included; sides of at least 32 and odd."""
    lowest = -(1 << (bits - 1)) if kind.startswith("i") else 0
    pixels = np.random.default_rng(bits).integers(lowest, lowest + (1 << bits), (33, 35))
    pixels[0, :2] = lowest, lowest + (1 << bits) - 1
    return pixels.astype(kind), lowest


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("sign", ["u", "i"])
@pytest.mark.parametrize(("bits", "size"), DEPTHS)
@pytest.mark.parametrize("syntax", LOSSLESS_SYNTAXES)
def test_every_lossless_encoding_depth_sign_and_interpretation_is_exact(
    tmp_path, syntax, bits, size, sign, photometric
):
    if (bits, size) == (8, "2") and (syntax == "rle" or syntax.startswith("jpeg")):
        pytest.skip("encoders choose their container by the depth")
    pixels, lowest = stored_values(bits, sign + size)
    path = write_dicom(tmp_path / "a.dcm", pixels, bits_stored=bits, syntax=syntax, photometric=photometric)
    mammogram = read_mammogram(path)
    raised = pixels.astype(np.int64) - lowest
    expected = mammogram.full_scale - raised if photometric == "MONOCHROME1" else raised
    assert mammogram.bits_stored == bits
    np.testing.assert_array_equal(mammogram.pixels, expected)


@pytest.mark.parametrize("syntax", HTJ2K_SYNTAXES)
@pytest.mark.parametrize("bits", HTJ2K_BITS)
def test_high_throughput_jpeg_2000_is_exact(tmp_path, syntax, bits):
    pixels, stream = htj2k_image(bits)
    path = write_dicom(tmp_path / "a.dcm", pixels, bits_stored=bits, stream=(syntax, stream))
    np.testing.assert_array_equal(read_mammogram(path).pixels, pixels)


@pytest.mark.parametrize("predictor", range(1, 8))
def test_every_predictor_of_jpeg_lossless_is_exact(tmp_path, predictor):
    pixels = stored_values(16, "u2")[0]
    stream = "1.2.840.10008.1.2.4.57", encode_jpeg_lossless(pixels, 16, predictor)
    path = write_dicom(tmp_path / "a.dcm", pixels, bits_stored=16, stream=stream)
    np.testing.assert_array_equal(read_mammogram(path).pixels, pixels)


def test_a_stream_deeper_than_bits_stored_keeps_its_values(tmp_path):
    pixels = stored_values(12, "u2")[0]
    for syntax, stream in (
        (JPEGLosslessSV1, encode_jpeg_lossless(pixels, 16)),
        ("1.2.840.10008.1.2.4.90", encode_jpeg2000(pixels, 16)),
    ):
        path = write_dicom(tmp_path / "a.dcm", pixels, bits_stored=12, stream=(syntax, stream))
        np.testing.assert_array_equal(read_mammogram(path).pixels, pixels)


@pytest.mark.parametrize(
    ("syntax", "bits", "largest"), [("jpeg", 8, 40), ("jpeg-extended", 8, 40), ("jpeg-ls-near", 12, 2)]
)
def test_a_lossy_encoding_is_near(tmp_path, syntax, bits, largest):
    pixels = stored_values(bits, "u1" if bits == 8 else "u2")[0]
    mammogram = read_mammogram(write_dicom(tmp_path / "a.dcm", pixels, bits_stored=bits, syntax=syntax))
    difference = np.abs(mammogram.pixels.astype(int) - pixels)
    assert 0 < difference.max() <= largest


def test_jpeg_extended_of_12_bits_is_refused_by_its_name(tmp_path):
    stream = bytearray(fake_stream("jpeg-extended"))
    stream[stream.index(b"\xff\xc1") + 4] = 12
    path = write_dicom(tmp_path / "a.dcm", fake_pixels(0), stream=("1.2.840.10008.1.2.4.51", bytes(stream)))
    with pytest.raises(InputError, match=r"JPEG Extended \(1.2.840.10008.1.2.4.51\) .* 8 bits alone; found 12"):
        read_mammogram(path)


def fake_stream(syntax):
    """The encoded frame of an 8-bit image of 24 x 20."""
    dataset = fake_dicom(fake_pixels(0, bits=8).astype(np.uint8), bits_stored=8, syntax=syntax)
    return decoding.get_frame(dataset.PixelData, 0, number_of_frames=1)


@pytest.mark.parametrize("rows", [48, 60000])
@pytest.mark.parametrize("syntax", ["jpeg-lossless", "jpeg-ls", "jpeg2000-lossless"])
def test_a_stream_that_claims_another_size_than_the_header_is_refused(tmp_path, syntax, rows):
    dataset = fake_dicom(fake_pixels(0, 33, 35), syntax=syntax)
    claimed = struct.pack(">I" if syntax.startswith("jpeg2000") else ">H", rows)
    found = struct.pack(">I" if syntax.startswith("jpeg2000") else ">H", 33)
    dataset.PixelData = dataset.PixelData.replace(found, claimed, 1)
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match=f"must be 33 x 35 as Rows and Columns say; found {rows} x 35"):
        read_mammogram(tmp_path / "a.dcm")


def test_a_stream_far_longer_than_its_pixels_is_refused_before_it_is_decoded(tmp_path):
    dataset = fake_dicom(fake_pixels(0), syntax="rle")
    dataset.PixelData = decoding_bomb()
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match="at most twice as long as its pixels"):
        read_mammogram(tmp_path / "a.dcm")


def decoding_bomb():
    """An RLE frame of 24 x 20 whose first segment repeats a byte 128 times for every two of its own."""
    from pydicom.encaps import encapsulate

    segment = b"\x81\x00" * 50_000
    return encapsulate([struct.pack("<16I", 2, 64, 64 + len(segment), *[0] * 13) + segment + segment])


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


@pytest.mark.parametrize("syntax", ENCODED)
def test_a_truncated_stream_is_never_a_mammogram(tmp_path, syntax):
    dataset = fake_dicom(fake_pixels(3, 33, 35), syntax=syntax)
    frame = decoding.get_frame(dataset.PixelData, 0, number_of_frames=1).rstrip(b"\0")
    for length in range(2, len(frame) - 2, 97):
        path = write_dicom(
            tmp_path / "a.dcm", fake_pixels(3, 33, 35), stream=(dataset.file_meta.TransferSyntaxUID, frame[:length])
        )
        with pytest.raises(InputError, match="cannot be decoded"):
            read_mammogram(path)


def read(tmp_path, syntax="jpeg-lossless"):
    return read_mammogram(write_dicom(tmp_path / "a.dcm", fake_pixels(0), syntax=syntax))


def child():
    process = decoding._decoder._process
    assert process is not None
    return process


def test_one_process_decodes_frame_after_frame(tmp_path):
    read(tmp_path)
    first = child().pid
    read(tmp_path, "jpeg-ls")
    assert child().pid == first


def test_a_stream_that_ends_the_decoding_process_is_the_end_of_one_file_alone(tmp_path):
    # Without a Huffman table GDCM 3.2.6 calls abort().
    stream = encode_jpeg_lossless(fake_pixels(0), 12).replace(b"\xff\xc4", b"\xff\x01", 1)
    path = write_dicom(tmp_path / "b.dcm", fake_pixels(0), stream=(JPEGLosslessSV1, stream))
    with pytest.raises(InputError, match=r"PixelData \(7FE0,0010\) cannot be decoded \(the decoder ended on it, twice"):
        read_mammogram(path)
    assert read(tmp_path).pixels.tolist() == fake_pixels(0).tolist()


def test_a_decoding_process_that_ended_before_is_no_fault_of_the_next_file(tmp_path):
    read(tmp_path)
    stopped = child()
    os.kill(stopped.pid, signal.SIGKILL)
    stopped.wait()
    assert read(tmp_path).pixels.tolist() == fake_pixels(0).tolist()
    assert child().pid != stopped.pid


def test_a_damaged_stream_is_told_in_words(tmp_path):
    stream = bytearray(encode_jpeg_lossless(fake_pixels(0), 12))
    stream[8] = 255  # number of codes of three bits
    path = write_dicom(tmp_path / "a.dcm", fake_pixels(0), stream=(JPEGLosslessSV1, bytes(stream)))
    with pytest.raises(InputError, match=r"cannot be decoded \(gdcm: the stream is damaged\)"):
        read_mammogram(path)


def test_a_decoder_without_end_is_stopped(tmp_path, monkeypatch):
    read(tmp_path)
    monkeypatch.setattr(decoding, "_SECONDS", 0.2)
    stopped = child()
    os.kill(stopped.pid, signal.SIGSTOP)
    with pytest.raises(InputError, match="the decoder found no end within 0 s"):
        read(tmp_path)
    assert stopped.returncode == -signal.SIGKILL


def test_a_decoder_gets_no_more_memory_than_an_image_needs(tmp_path, monkeypatch):
    path = write_dicom(tmp_path / "b.dcm", np.zeros((1024, 1024), np.uint16), syntax="jpeg2000-lossless")
    monkeypatch.setattr(decoding, "_BYTES", 1 << 20)
    with pytest.raises(InputError, match="cannot be decoded"):
        read_mammogram(path)
    monkeypatch.undo()
    assert not read_mammogram(path).pixels.any()


def test_the_decoding_process_ends_with_the_one_that_started_it(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", fake_pixels(0), syntax="jpeg-lossless")
    code = (
        "import os, pathlib, sys; from data_prep import mammogram; from data_prep.dicom import decoding;"
        "mammogram.read_mammogram(pathlib.Path(sys.argv[1])); print(decoding._decoder._process.pid, flush=True);"
        "os._exit(0)"  # as at a crash: nothing is cleaned up
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, path], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    status = pathlib.Path("/proc", ended.stdout.strip(), "status")
    until = time.monotonic() + 20
    while status.exists() and "State:\tZ" not in status.read_text():  # nobody may be there to reap it
        assert time.monotonic() < until, "the decoding process outlives the one that started it"
        time.sleep(0.02)


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="no setpriv to drop a right with")
def test_a_hard_limit_of_the_address_space_is_kept_to(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", fake_pixels(0), syntax="rle")
    code = "import pathlib, sys; from data_prep import mammogram; mammogram.read_mammogram(pathlib.Path(sys.argv[1]))"
    # Root may raise a hard limit by a right that others lack.
    dropped = ["setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource"] if os.geteuid() == 0 else []
    line = ["bash", "-c", 'ulimit -v 6000000; exec "$@"', "bash", *dropped, sys.executable, "-c", code, path]
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_fork_decodes_with_a_process_of_its_own(tmp_path):
    read(tmp_path)
    before = child().pid
    receiver, sender = os.pipe()
    if (forked := os.fork()) == 0:
        try:
            good = read(tmp_path).pixels.tolist() == fake_pixels(0).tolist() and child().pid != before
            os.write(sender, b"1" if good else b"0")
        finally:
            os._exit(0)
    os.close(sender)
    assert os.read(receiver, 1) == b"1"
    os.waitpid(forked, 0)
    os.close(receiver)
    assert read(tmp_path).pixels.tolist() == fake_pixels(0).tolist()
    assert child().pid == before
