"""Writes an artificial mammogram as DICOM: as much header as it takes to be read, and nobody in it."""

import pathlib

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import Code, codes
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from data_prep.dicom.terms import View
from data_prep.synthesis.detector import Look
from data_prep.synthesis.picture import Synthesized

__all__ = ["write_dicom"]

_VIEW_CODES = {View.CC: codes.cid4014.CranioCaudal, View.MLO: codes.cid4014.MedioLateralObliqueProjection}

# Type 2 of PS3.3 (patient, study, series, equipment, image): present and empty.
_EMPTY = (
    "StudyDate", "StudyTime", "ContentDate", "ContentTime", "AccessionNumber", "ReferringPhysicianName", "StudyID",
    "PatientName", "PatientBirthDate", "PatientSex", "PatientOrientation", "Manufacturer", "DetectorType",
)  # fmt: skip


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
    dataset = Dataset()
    for keyword in _EMPTY:
        setattr(dataset, keyword, "")
    dataset.SOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    dataset.SOPInstanceUID = _uid("image", seed, number)
    dataset.StudyInstanceUID = _uid("study", seed, patient)
    dataset.SeriesInstanceUID = _uid("series", seed, number)
    dataset.SeriesNumber = dataset.InstanceNumber = number
    dataset.PatientID = f"synthetic-{seed}-{patient}"
    dataset.Modality = "MG"
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.DerivationDescription = "synthetic: no patient; research use, not for diagnosis"
    _describe_view(dataset, synthesized)
    _describe_pixels(dataset, synthesized)
    assert mammogram.pixel_spacing_mm is not None
    spacing = [f"{value:.10g}" for value in mammogram.pixel_spacing_mm]
    if synthesized.technique.look is Look.FILM:
        dataset.NominalScannedPixelSpacing = spacing
    else:
        dataset.ImagerPixelSpacing = spacing
        dataset.EstimatedRadiographicMagnificationFactor = "1"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)


def _describe_view(dataset: Dataset, synthesized: Synthesized) -> None:
    """Writes PS3.3 C.8.11.7."""
    mammogram = synthesized.mammogram
    dataset.BodyPartExamined = dataset.OrganExposed = "BREAST"
    dataset.PositionerType = "MAMMOGRAPHIC"
    dataset.AcquisitionContextSequence = []
    dataset.AnatomicRegionSequence = [_code(codes.SCT.Breast)]
    dataset.ImageLaterality = mammogram.laterality.value
    dataset.ViewPosition = mammogram.view.value
    view = _code(_VIEW_CODES[mammogram.view])
    view.ViewModifierCodeSequence = []
    dataset.ViewCodeSequence = [view]


def _describe_pixels(dataset: Dataset, synthesized: Synthesized) -> None:
    """Writes the pixel module; MONOCHROME1 stores dark for dense (PS3.3 C.7.6.3.1.2)."""
    mammogram, inverted = synthesized.mammogram, synthesized.technique.monochrome1
    full_scale = mammogram.full_scale
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = 1 if inverted else -1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    dataset.PresentationLUTShape = "INVERSE" if inverted else "IDENTITY"
    dataset.WindowCenter, dataset.WindowWidth = str((full_scale + 1) // 2), str(full_scale + 1)
    dataset.LossyImageCompression = "00"
    dataset.BurnedInAnnotation = "NO"
    stored = np.uint16(full_scale) - mammogram.pixels if inverted else mammogram.pixels
    photometric = "MONOCHROME1" if inverted else "MONOCHROME2"
    dataset.set_pixel_data(stored, photometric, mammogram.bits_stored, generate_instance_uid=False)


def _uid(kind: str, seed: int, number: int) -> str:
    return str(generate_uid(entropy_srcs=["calcseg_tf synthesis", kind, str(seed), str(number)]))


def _code(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item
