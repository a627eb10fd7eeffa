"""DICOM mammograms as code: any photometric interpretation, depth, sign, transfer syntax and header."""

import pathlib
import zlib
from collections.abc import Callable

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from tests.fakes.codestreams import encode_jpeg, encode_jpeg2000, encode_jpeg_lossless, encode_jpeg_ls

__all__ = [
    "FOR_PRESENTATION",
    "FOR_PROCESSING",
    "HTJ2K_SYNTAXES",
    "LOSSLESS_SYNTAXES",
    "TRANSFER_SYNTAXES",
    "fake_dicom",
    "fake_uid",
    "write_dicom",
]

FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.2"
FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.2.1"

_NATIVE = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}

# name -> its UID and an encoder of (stored values, BitsStored).
_LOSSLESS: dict[str, tuple[UID, Callable[[np.ndarray, int], bytes]]] = {
    "jpeg-lossless": (JPEGLossless, lambda pixels, bits: encode_jpeg_lossless(_unsigned(pixels, bits), bits, 4)),
    "jpeg-lossless-sv1": (JPEGLosslessSV1, lambda pixels, bits: encode_jpeg_lossless(_unsigned(pixels, bits), bits)),
    "jpeg-ls": (JPEGLSLossless, lambda pixels, bits: encode_jpeg_ls(_unsigned(pixels, bits))),
    "jpeg-ls-near-0": (JPEGLSNearLossless, lambda pixels, bits: encode_jpeg_ls(_unsigned(pixels, bits))),
    "jpeg2000-lossless": (JPEG2000Lossless, encode_jpeg2000),
    "jpeg2000": (JPEG2000, encode_jpeg2000),
}
_LOSSY: dict[str, tuple[UID, Callable[[np.ndarray, int], bytes]]] = {
    "jpeg-ls-near": (JPEGLSNearLossless, lambda pixels, _: encode_jpeg_ls(pixels, near=2)),
    "jpeg2000-lossy": (JPEG2000, lambda pixels, bits: encode_jpeg2000(pixels, bits, ratio=4)),
    "jpeg": (JPEGBaseline8Bit, lambda pixels, _: encode_jpeg(pixels)),
    "jpeg-extended": (JPEGExtended12Bit, lambda pixels, _: encode_jpeg(pixels, marker=0xC1)),
}
HTJ2K_SYNTAXES = (HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K)  # of ready streams alone: `stream` of `fake_dicom`

LOSSLESS_SYNTAXES = (*_NATIVE, "rle", *_LOSSLESS)
TRANSFER_SYNTAXES = (*LOSSLESS_SYNTAXES, *_LOSSY)


def fake_uid(*numbers: int) -> str:
    """A UID under the root for examples."""
    return ".".join(["1.2.826.0.1.3680043.8.498", *map(str, numbers)])


def fake_dicom(
    pixels: np.ndarray,
    *,
    bits_stored: int = 12,
    photometric: str = "MONOCHROME2",
    syntax: str = "explicit",
    stream: tuple[UID, bytes] | None = None,
    patient_id: str = "patient-0001",
    study_uid: str = fake_uid(1),
    **attributes: object,
) -> Dataset:
    """Builds a mammogram of the given stored values, 8 or 16 bits [height, width], signed or not.

    `stream` holds them encoded, with its transfer syntax, in place of `syntax`. `attributes` are DICOM keywords; the
    value None removes one.
    """
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = FOR_PRESENTATION
    dataset.SOPInstanceUID = fake_uid(2, zlib.crc32(pixels.tobytes()))
    dataset.Modality = "MG"
    dataset.PatientID = patient_id
    dataset.PatientName = "Musterfrau^Erika"
    dataset.StudyInstanceUID = study_uid
    dataset.SeriesInstanceUID = fake_uid(3)
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = 8 * pixels.itemsize
    dataset.BitsStored = bits_stored
    dataset.HighBit = bits_stored - 1
    dataset.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    if stream is not None:
        _set_stream(dataset, *stream)
    elif syntax in _NATIVE or syntax == "rle":
        _set_pixels(dataset, pixels, _NATIVE.get(syntax, RLELossless))
    else:
        uid, encode = {**_LOSSLESS, **_LOSSY}[syntax]
        _set_stream(dataset, uid, encode(pixels, bits_stored))
    return dataset


def write_dicom(path: pathlib.Path, pixels: np.ndarray, **options: object) -> pathlib.Path:
    """Writes `fake_dicom(pixels, **options)` as a file with preamble and returns its path."""
    dataset = fake_dicom(pixels, **options)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _unsigned(pixels: np.ndarray, bits: int) -> np.ndarray:
    """Returns the low `bits` of stored values: what encodings without a sign hold of signed ones."""
    unsigned = pixels.view(pixels.dtype.str.replace("i", "u"))
    return unsigned & unsigned.dtype.type((1 << bits) - 1)


def _set_stream(dataset: Dataset, syntax: UID, stream: bytes) -> None:
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = syntax


def _set_pixels(dataset: Dataset, pixels: np.ndarray, syntax: UID) -> None:
    if syntax == RLELossless:
        dataset.PixelData = pixels.tobytes()
        dataset["PixelData"].VR = "OW" if pixels.itemsize == 2 else "OB"
        dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
        return
    big = syntax == ExplicitVRBigEndian
    dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")).tobytes()
    dataset["PixelData"].VR = "OW" if pixels.itemsize == 2 else "OB"
    dataset.file_meta.TransferSyntaxUID = syntax
