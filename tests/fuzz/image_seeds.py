"""Valid mammograms and masks of every form, and files made by hand that must not be accepted."""

import io
import pathlib
import struct
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pydicom
import tifffile
from PIL import Image
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import RLELossless

from tests.fakes.codestreams import HTJ2K_BITS, htj2k_image
from tests.fakes.dicom import HTJ2K_SYNTAXES, TRANSFER_SYNTAXES, fake_dicom, fake_uid
from tests.fakes.folder import fake_mask, fake_pixels
from tests.fakes.segmentation import CLUSTER_CODE, FINDING, write_segmentation
from tests.fuzz.binary_edits import chunk

__all__ = [
    "SERIES_UID", "SIZE", "bomb_png", "dicom_seeds", "heavy_dicoms", "mask_png_seeds", "npy_seeds", "odd_dicoms",
    "odd_npys", "odd_pngs", "odd_segmentations", "png_seeds", "seg_seeds", "tiff_seeds",
]  # fmt: skip

SERIES_UID = fake_uid(3, 77413993)

SIZE = (24, 20)
_DICOM_SIZE = (40, 36)  # JPEG 2000 takes no less than 32
_PATIENT = "CANARY-77413993"
_HEADER = {
    "PatientName": "Canaryname^Qzx",
    "PatientBirthDate": "19430217",
    "AccessionNumber": "A77413993",
    "SOPInstanceUID": fake_uid(2, 77413993),
    "SeriesInstanceUID": SERIES_UID,
    "ImageLaterality": "L",
    "ViewPosition": "CC",
    "PixelSpacing": [0.07, 0.08],
}
_PNG_BOMB_PIXELS = (9_000, 12_000)  # 216 MB from 210 kB
_DEFLATE_BOMB_BYTES = 600 << 20


def _dicom_bytes(pixels: np.ndarray, claimed: tuple[int, int] | None = None, **options: object) -> bytes:
    """Returns a file that identifies a patient; `claimed` are its Rows and Columns, and elements stay as they are."""
    elements = {keyword: value for keyword, value in options.items() if isinstance(value, DataElement)}
    header = {keyword: value for keyword, value in {**_HEADER, **options}.items() if keyword not in elements}
    dataset = fake_dicom(pixels, **{"patient_id": _PATIENT, "study_uid": fake_uid(1, 77413993), **header})
    for keyword, element in elements.items():
        dataset[keyword] = element
    dataset.Rows, dataset.Columns = claimed or (dataset.Rows, dataset.Columns)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def dicom_seeds() -> Iterable[bytes]:
    for syntax in TRANSFER_SYNTAXES:
        bits = 8 if syntax in ("jpeg", "jpeg-extended") else 12
        pixels = fake_pixels(1, *_DICOM_SIZE, bits=bits).astype(np.uint8 if bits == 8 else np.uint16)
        yield _dicom_bytes(pixels, bits_stored=bits, syntax=syntax)
    for syntax, bits in zip(HTJ2K_SYNTAXES, HTJ2K_BITS * 2, strict=False):
        pixels, stream = htj2k_image(bits)
        yield _dicom_bytes(pixels, bits_stored=bits, stream=(syntax, stream))
    pixels = fake_pixels(2, *_DICOM_SIZE)
    yield _dicom_bytes(pixels, photometric="MONOCHROME1", PixelPaddingValue=4095, PixelPaddingRangeLimit=4090)
    yield _dicom_bytes(pixels.astype(np.int16) - 2048, PixelPaddingValue=-2048)
    yield _dicom_bytes(
        pixels,
        WindowCenter=[2000, 1000],
        WindowWidth=[900, 10],
        VOILUTFunction="SIGMOID",
        RescaleSlope=1,
        RescaleIntercept=0,
    )
    yield _dicom_bytes(
        pixels, PixelSpacing=[0.1, 0.1], ImagerPixelSpacing=[0.1, 0.1], EstimatedRadiographicMagnificationFactor=1.07
    )
    yield _dicom_bytes(
        fake_pixels(3, 64, 48, bits=16), bits_stored=16, syntax="rle", NominalScannedPixelSpacing=[0.05, 0.05]
    )


def odd_dicoms() -> Iterable[bytes]:
    """Texts that are sequences; spacings that are no float32."""
    item = Dataset()
    item.PatientName = "Canaryname^Qzx"
    for keyword in ("PatientID", "SeriesInstanceUID", "ViewPosition"):
        yield _dicom_bytes(fake_pixels(4, *_DICOM_SIZE), **{keyword: DataElement(keyword, "SQ", DicomSequence([item]))})
    for spacing in ("1e-300", "1e300"):
        yield _dicom_bytes(fake_pixels(4, *_DICOM_SIZE), PixelSpacing=[spacing, spacing])


def heavy_dicoms() -> Iterable[bytes]:
    """Headers that claim more than there is or may be, and what unpacks to far more than it is."""
    pixels = fake_pixels(4, *_DICOM_SIZE)
    for syntax in ("explicit", "rle", "deflated", "jpeg2000", "jpeg-ls", "jpeg-lossless"):
        for rows, columns in ((60_000, 60_000), (10_000, 12_000)):
            yield _dicom_bytes(pixels, (rows, columns), syntax=syntax)
    yield _dicom_bytes(pixels, NumberOfFrames=2**31 - 1)
    # The stream's own header claims the same.
    for syntax, form in (("jpeg2000", ">II"), ("jpeg-ls", ">HH"), ("jpeg-lossless", ">HH")):
        whole = fake_dicom(pixels, syntax=syntax)
        own, claimed = ((36, 40), (12_000, 10_000)) if form == ">II" else (_DICOM_SIZE, (10_000, 12_000))
        (stream,) = generate_frames(whole.PixelData, number_of_frames=1)
        stream = stream.replace(struct.pack(form, *own), struct.pack(form, *claimed))
        yield _dicom_bytes(pixels, (10_000, 12_000), stream=(whole.file_meta.TransferSyntaxUID, stream))
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = bytes(1 << 20)
    deflated = _dicom_bytes(pixels, syntax="deflated")
    start = 144 + struct.unpack_from("<I", deflated, 140)[0]  # behind the file meta information
    bomb = [packer.compress(b"\x09\0\x10\0OB\0\0" + struct.pack("<I", 0x7FFFFFF0))]
    bomb += [packer.compress(zeros) for _ in range(_DEFLATE_BOMB_BYTES >> 20)]
    bomb.append(packer.flush())
    yield deflated[:start] + b"".join(bomb)
    # Behind an element of a command set, which as a deflate stream is a block and its end.
    value = bytearray(1533)
    value[509:514] = b"\x01\x00\x00\xff\xff"
    yield deflated[:start] + b"\x00\x00\x02\xff" + struct.pack("<I", len(value)) + bytes(value) + b"".join(bomb)


def _png(pixels: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)  # type: ignore[arg-type]
    return file.getvalue()


def png_seeds() -> Iterable[bytes]:
    yield _png(fake_pixels(5, *SIZE, bits=16))
    yield _png(fake_pixels(6, 64, 48, bits=16), compress_level=0)
    yield _png(np.zeros((1, 1), np.uint16))


def mask_png_seeds() -> Iterable[bytes]:
    yield _png(fake_mask(0))
    yield _png(fake_mask(1).astype(np.uint16))
    file = io.BytesIO()
    Image.fromarray(fake_mask(2)).convert("1").save(file, "PNG")
    yield file.getvalue()


def odd_pngs() -> Iterable[bytes]:
    for width, height in ((60_000, 60_000), (0x7FFFFFFF, 1), (0, 5), (12_000, 10_000)):
        header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
        yield (
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", header)
            + chunk(b"IDAT", zlib.compress(b"\0" * 500))
            + chunk(b"IEND", b"")
        )
    # An animation of no frames; Pillow warns.
    whole = _png(fake_pixels(5, *SIZE, bits=16))
    yield whole[:33] + chunk(b"acTL", bytes(8)) + whole[33:]
    # A text of 200 MB in 200 kB, which nobody asked for.
    text = b"Comment\0\0" + zlib.compress(bytes(200 << 20), 9)
    yield whole[:33] + chunk(b"zTXt", text) + whole[33:]
    yield whole[:33] + chunk(b"iCCP", b"x\0\0" + text[9:]) + whole[33:]


def bomb_png() -> bytes:
    """A PNG of zeros, a thousandth of the size of its pixels."""
    height, width = _PNG_BOMB_PIXELS
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(100 * (1 + 2 * width))) for _ in range(height // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _tiff(pixels: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "TIFF", **options)  # type: ignore[arg-type]
    return file.getvalue()


def tiff_seeds() -> Iterable[bytes]:
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "tiff_deflate"):
        yield _tiff(fake_mask(0), compression=compression)
    yield _tiff(fake_mask(1).astype(np.uint16), compression="tiff_lzw")
    file = io.BytesIO()
    Image.fromarray(fake_mask(2)).convert("1").save(file, "TIFF", compression="group4")
    yield file.getvalue()
    for options in ({}, {"byteorder": ">"}, {"rowsperstrip": 4}):
        file = io.BytesIO()
        tifffile.imwrite(file, fake_mask(1), metadata=None, **options)
        yield file.getvalue()


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def npy_seeds() -> Iterable[bytes]:
    mask = fake_mask(0)
    for array in (mask, mask > 0, mask.astype(np.int64), np.asfortranarray(mask), mask.astype(">u2")):
        yield _npy(array)


def odd_npys() -> Iterable[bytes]:
    yield _npy(np.array([[object]]))
    yield _npy(fake_mask(0).astype(np.float32))
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (60000, 60000), }\n"
    yield b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(480)
    yield b"\x93NUMPY\2\0" + struct.pack("<I", 0xFFFFFFF0) + header


def seg_seeds() -> Iterable[bytes]:
    one, two = fake_mask(1) > 0, np.zeros(SIZE, bool)
    two[20:, 10:] = True
    yield _segmentation([one])
    yield _segmentation([one, two], codes=[(FINDING, CLUSTER_CODE)])
    yield _segmentation([one / 2.0, two / 1.0], kind="FRACTIONAL")
    yield _segmentation([one / 1.0], kind="FRACTIONAL", syntax=RLELossless)
    yield _segmentation([one, two & ~one], kind="LABELMAP")


def _segmentation(segments: Sequence[np.ndarray], **options: Any) -> bytes:
    """Returns a segmentation without what is new in each: dates, times and the UIDs of its dimensions."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_segmentation(pathlib.Path(folder, "a.dcm"), segments, **options)
        dataset = pydicom.dcmread(path)
    for keyword in ("ContributingEquipmentSequence", "DimensionOrganizationSequence", "DimensionIndexSequence"):
        dataset.pop(keyword, None)
    for keyword in ("InstanceCreationDate", "ContentDate", "InstanceCreationTime", "ContentTime"):
        setattr(dataset, keyword, "20200101" if keyword.endswith("Date") else "120000")
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


def odd_segmentations() -> Iterable[bytes]:
    """Pixels that are no bytes but a name."""
    (whole, *_) = seg_seeds()
    dataset = pydicom.dcmread(io.BytesIO(whole))
    dataset["PixelData"] = DataElement("PixelData", "PN", "Canaryname^Qzx")
    file = io.BytesIO()
    dataset.save_as(file)
    yield file.getvalue()
