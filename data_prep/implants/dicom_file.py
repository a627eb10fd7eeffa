"""Writes an implanted mammogram as DICOM under a fresh header that tells nothing of the patient."""

import pathlib

import numpy as np
from pydicom.uid import RLELossless, generate_uid

from data_prep.dicom.description import LOSSY, PERHAPS_LOSSY
from data_prep.dicom.new_header import NeutralNames, describe_pixels, describe_spacing, new_header
from data_prep.mammogram import Mammogram

__all__ = ["neutral_names", "write_dicom"]


def neutral_names(seed: int, patient_id: str, study_digest: str, image_digest: str, number: int) -> NeutralNames:
    """Derives the UIDs from seed and digests of pictures: the same ones for the same input."""

    def uid(kind: str, digest: str) -> str:
        return str(generate_uid(entropy_srcs=["calcseg_tf implant", str(seed), kind, digest]))

    study, series, instance = uid("study", study_digest), uid("series", image_digest), uid("image", image_digest)
    return NeutralNames(patient_id, study, series, instance, number)


def write_dicom(path: pathlib.Path, pixels: np.ndarray, source: Mammogram, names: NeutralNames) -> None:
    """Writes pixels as Digital Mammography X-Ray Image, for presentation, RLE lossless.

    Of the source only what the picture needs goes in: depth, laterality, view and stated spacing. No date, no name, no
    UID; whether a name is burned in, nobody knows. Of lossy compression it says that there was some, not which.

    Args:
        path: File to write.
        pixels: uint16 [height, width]; stored values up to the source's full scale, brighter is denser.
        source: The mammogram that the pixels come from.
        names: What to call it.
    """
    derivation = "artificial calcifications added; research use, not for diagnosis"
    dataset = new_header(names, source.laterality, source.view, ("DERIVED", "SECONDARY"), derivation)
    describe_spacing(dataset, source.pixel_spacing_mm, source.spacing_source)
    describe_pixels(dataset, pixels, source.bits_stored)
    if {LOSSY, PERHAPS_LOSSY} & set(source.warnings):
        dataset.LossyImageCompression = "01"  # once so, never reset; where nobody knows, the safe mistake
    # GDCM, which pydicom would try before itself, ends the process on some sizes of images.
    dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)
