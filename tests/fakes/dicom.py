"""DICOM mammograms as code: any photometric interpretation, depth, transfer syntax and header."""

import pathlib
import zlib

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

__all__ = ["TRANSFER_SYNTAXES", "fake_dicom", "fake_uid", "write_dicom"]

FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.2"
FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.2.1"

TRANSFER_SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "rle": RLELossless,
}


def fake_uid(*numbers: int) -> str:
    """A UID under the root for examples."""
    return ".".join(["1.2.826.0.1.3680043.8.498", *map(str, numbers)])


def fake_dicom(
    pixels: np.ndarray,
    *,
    bits_stored: int = 12,
    photometric: str = "MONOCHROME2",
    syntax: str = "explicit",
    patient_id: str = "patient-0001",
    study_uid: str = fake_uid(1),
    **attributes: object,
) -> Dataset:
    """Builds a mammogram of the given stored values, uint8 or uint16 [height, width].

    `attributes` are DICOM keywords; the value None removes one.
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
    dataset.PixelRepresentation = 0
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    _set_pixels(dataset, pixels, TRANSFER_SYNTAXES[syntax])
    return dataset


def write_dicom(path: pathlib.Path, pixels: np.ndarray, **options: object) -> pathlib.Path:
    """Writes `fake_dicom(pixels, **options)` as a file with preamble and returns its path."""
    dataset = fake_dicom(pixels, **options)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


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
