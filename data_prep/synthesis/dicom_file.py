"""Writes an artificial mammogram as DICOM."""

import pathlib

from pydicom.uid import generate_uid

from data_prep.dicom.new_header import NeutralNames, describe_pixels, describe_spacing, new_header
from data_prep.synthesis.picture import Synthesized

__all__ = ["write_dicom"]


def write_dicom(path: pathlib.Path, synthesized: Synthesized, seed: int, patient: int, number: int) -> None:
    """Writes a Digital Mammography X-Ray Image for presentation, uncompressed; same picture, same bytes.

    Args:
        path: File to write.
        synthesized: The picture.
        seed: Of the data set: with the numbers it makes Patient ID and UIDs.
        patient: Number of the artificial patient.
        number: Of the picture in the data set, from 1.
    """
    mammogram = synthesized.mammogram
    names = NeutralNames(
        patient_id=f"synthetic-{seed}-{patient}",
        study_uid=_uid("study", seed, patient),
        series_uid=_uid("series", seed, number),
        instance_uid=_uid("image", seed, number),
        number=number,
    )
    derivation = "synthetic: no patient; research use, not for diagnosis"
    dataset = new_header(names, mammogram.laterality, mammogram.view, ("DERIVED", "PRIMARY"), derivation)
    dataset.BurnedInAnnotation = "NO"
    describe_spacing(dataset, mammogram.pixel_spacing_mm, mammogram.spacing_source)
    describe_pixels(dataset, mammogram.pixels, mammogram.bits_stored, synthesized.technique.monochrome1)
    dataset.save_as(path, enforce_file_format=True)


def _uid(kind: str, seed: int, number: int) -> str:
    return str(generate_uid(entropy_srcs=["calcseg_tf synthesis", kind, str(seed), str(number)]))
