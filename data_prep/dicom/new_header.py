"""Headers of mammograms that this project makes: as much as it takes to be read, and nobody in it."""

import dataclasses

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import Code, codes
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation, ExplicitVRLittleEndian

from data_prep.dicom.terms import Laterality, SpacingSource, View

__all__ = ["NeutralNames", "describe_pixels", "describe_spacing", "new_header"]

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
    """What a mammogram is called.

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


def new_header(
    names: NeutralNames, laterality: Laterality, view: View, image_type: tuple[str, str], derivation: str
) -> Dataset:
    """Returns a Digital Mammography X-Ray Image for presentation that still lacks spacing and pixels.

    Required attributes that nobody knows (detector, acquisition) are left out instead of made up; so are an unknown
    laterality and view (PS3.3 C.8.11.7).

    Args:
        names: What to call it.
        laterality: Of the breast.
        view: Of the breast.
        image_type: Image Type (0008,0008).
        derivation: Derivation Description (0008,2111).
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
    dataset.ImageType = list(image_type)
    dataset.DerivationDescription = derivation
    dataset.BodyPartExamined = dataset.OrganExposed = "BREAST"
    dataset.PositionerType = "MAMMOGRAPHIC"
    dataset.AcquisitionContextSequence = []
    dataset.AnatomicRegionSequence = [_code(codes.SCT.Breast)]
    if laterality is not Laterality.UNKNOWN:
        dataset.ImageLaterality = laterality.value
    if view is not View.UNKNOWN:
        dataset.ViewPosition = view.value
        code = _code(_VIEW_CODES[view])
        code.ViewModifierCodeSequence = []
        dataset.ViewCodeSequence = [code]
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def describe_spacing(dataset: Dataset, spacing_mm: tuple[float, float] | None, source: SpacingSource) -> None:
    """Writes a stated spacing into the attribute it came from; an assumed one never."""
    if spacing_mm is None:
        return
    spacing = [f"{value:.10g}" for value in spacing_mm]
    if source is SpacingSource.PIXEL_SPACING:
        dataset.PixelSpacing = spacing
    elif source is SpacingSource.IMAGER:
        # The magnification is divided out already, so that the factor is 1 from here on.
        dataset.ImagerPixelSpacing = spacing
        dataset.EstimatedRadiographicMagnificationFactor = "1"
    elif source is SpacingSource.SCANNED:
        dataset.NominalScannedPixelSpacing = spacing


def describe_pixels(dataset: Dataset, pixels: np.ndarray, bits_stored: int, inverted: bool = False) -> None:
    """Writes the pixel module, native.

    Args:
        dataset: Receives it.
        pixels: uint16 [height, width]; stored values, brighter is denser.
        bits_stored: Bits Stored (0028,0101), 8 to 16; 8 are stored in bytes.
        inverted: MONOCHROME1, which stores dark for dense (PS3.3 C.7.6.3.1.2), instead of MONOCHROME2.
    """
    full_scale = 2**bits_stored - 1
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = 1 if inverted else -1  # brighter is denser: less radiation
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    dataset.PresentationLUTShape = "INVERSE" if inverted else "IDENTITY"
    dataset.WindowCenter, dataset.WindowWidth = str((full_scale + 1) // 2), str(full_scale + 1)
    dataset.LossyImageCompression = "00"
    # Sets Rows, Columns, BitsAllocated (8 or 16, from the type), BitsStored, HighBit and the rest of the pixel module.
    stored = (full_scale - pixels if inverted else pixels).astype(np.uint8 if bits_stored == 8 else np.uint16)
    photometric = "MONOCHROME1" if inverted else "MONOCHROME2"
    dataset.set_pixel_data(stored, photometric, bits_stored, generate_instance_uid=False)


def _code(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item
