"""Writes an implanted mammogram as DICOM under a fresh header that tells nothing of the patient."""

import dataclasses
import pathlib

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import Code, codes
from pydicom.uid import (
    DigitalMammographyXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)

from data_prep.mammogram import Laterality, Mammogram, SpacingSource, View

__all__ = ["NeutralNames", "write_dicom"]

# CID 4014 View for Mammography.
_VIEW_CODES = {
    View.CC: codes.cid4014.CranioCaudal,
    View.MLO: codes.cid4014.MedioLateralObliqueProjection,
    View.ML: codes.cid4014.MedioLateralProjection,
    View.LM: codes.cid4014.LateroMedial,
    View.LMO: codes.cid4014.LateroMedialOblique,
    View.FB: codes.cid4014.CaudoCranial,
    View.SIO: codes.cid4014.SuperolateralToInferomedialOblique,
    View.ISO: codes.cid4014.InferomedialToSuperolateralOblique,
    View.XCCL: codes.cid4014.CranioCaudalExaggeratedLaterally,
    View.XCCM: codes.cid4014.CranioCaudalExaggeratedMedially,
}

# Type 2 of PS3.3 (patient, study, series, equipment, image): present and empty.
_EMPTY = (
    "StudyDate", "StudyTime", "ContentDate", "ContentTime", "AccessionNumber", "ReferringPhysicianName", "StudyID",
    "PatientName", "PatientBirthDate", "PatientSex", "PatientOrientation", "Manufacturer", "DetectorType",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class NeutralNames:
    """What a written mammogram is called in place of its source's identifiers.

    Attributes:
        patient_id: Such as "patient-1".
        study_uid: One for all mammograms of a patient.
        series_uid: One for each mammogram.
        instance_uid: One for each mammogram.
        number: Series and instance number, from 1.
    """

    patient_id: str
    study_uid: str
    series_uid: str
    instance_uid: str
    number: int

    @classmethod
    def make(cls, seed: int, patient_id: str, study_digest: str, image_digest: str, number: int) -> "NeutralNames":
        """Derives the UIDs from seed and digests of pictures: the same ones for the same input."""

        def uid(kind: str, digest: str) -> str:
            return str(generate_uid(entropy_srcs=["calcseg_tf implant", str(seed), kind, digest]))

        study, series, instance = uid("study", study_digest), uid("series", image_digest), uid("image", image_digest)
        return cls(patient_id, study, series, instance, number)


def write_dicom(path: pathlib.Path, pixels: np.ndarray, source: Mammogram, names: NeutralNames) -> None:
    """Writes pixels as Digital Mammography X-Ray Image, for presentation, RLE lossless.

    Of the source only what the picture needs goes in: depth, laterality, view and stated spacing. No date, no name, no
    UID. Required attributes that nobody knows (detector, acquisition, burned-in annotation) are left out instead of
    made up.

    Args:
        path: File to write.
        pixels: uint16 [height, width]; stored values up to the source's full scale, brighter is denser.
        source: The mammogram that the pixels come from.
        names: What to call it.
    """
    dataset = Dataset()
    for keyword in _EMPTY:
        setattr(dataset, keyword, "")
    dataset.SOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    dataset.SOPInstanceUID = names.instance_uid
    dataset.StudyInstanceUID = names.study_uid
    dataset.SeriesInstanceUID = names.series_uid
    dataset.SeriesNumber = dataset.InstanceNumber = names.number
    dataset.PatientID = names.patient_id
    dataset.Modality = "MG"
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.DerivationDescription = "artificial calcifications added; research use, not for diagnosis"
    _describe_view(dataset, source)
    _describe_spacing(dataset, source)
    _describe_pixels(dataset, pixels, source)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    # GDCM, which pydicom would try before itself, ends the process on some sizes of images.
    dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)


def _describe_view(dataset: Dataset, source: Mammogram) -> None:
    """Writes PS3.3 C.8.11.7; unknown laterality and view stay out."""
    dataset.BodyPartExamined = dataset.OrganExposed = "BREAST"
    dataset.PositionerType = "MAMMOGRAPHIC"
    dataset.AcquisitionContextSequence = []
    dataset.AnatomicRegionSequence = [_code(codes.SCT.Breast)]
    if source.laterality is not Laterality.UNKNOWN:
        dataset.ImageLaterality = source.laterality.value
    if source.view is not View.UNKNOWN:
        dataset.ViewPosition = source.view.value
        code = _code(_VIEW_CODES[source.view])
        code.ViewModifierCodeSequence = []
        dataset.ViewCodeSequence = [code]


def _describe_spacing(dataset: Dataset, source: Mammogram) -> None:
    """Writes a stated spacing into the attribute it came from; an assumed one never."""
    if source.pixel_spacing_mm is None:
        return
    spacing = [f"{value:.10g}" for value in source.pixel_spacing_mm]
    if source.spacing_source is SpacingSource.PIXEL_SPACING:
        dataset.PixelSpacing = spacing
    elif source.spacing_source is SpacingSource.IMAGER:
        # The magnification is divided out already, so that the factor is 1 from here on.
        dataset.ImagerPixelSpacing = spacing
        dataset.EstimatedRadiographicMagnificationFactor = "1"
    elif source.spacing_source is SpacingSource.SCANNED:
        dataset.NominalScannedPixelSpacing = spacing


def _describe_pixels(dataset: Dataset, pixels: np.ndarray, source: Mammogram) -> None:
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = -1  # brighter is denser: less radiation
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.WindowCenter = str((source.full_scale + 1) // 2)
    dataset.WindowWidth = str(source.full_scale + 1)
    dataset.LossyImageCompression = "00"
    # Sets Rows, Columns, BitsAllocated (8 or 16, from the type), BitsStored, HighBit and the rest of the pixel module.
    stored = pixels.astype(np.uint8 if source.bits_stored == 8 else np.uint16)
    dataset.set_pixel_data(stored, "MONOCHROME2", source.bits_stored, generate_instance_uid=False)


def _code(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item
