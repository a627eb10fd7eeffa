"""What a header says of a mammogram beside its pixels: spacing, orientation, and what a person should know of it."""

from pydicom.dataset import Dataset
from pydicom.uid import HTJ2K, JPEG2000, UID, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from data_prep.dicom.access import header_text, read_integer, read_items, read_numbers
from data_prep.dicom.header import ReadOptions, is_for_processing
from data_prep.dicom.terms import Laterality, SpacingSource, View, is_spacing_mm
from data_prep.dicom.voi import has_voi

__all__ = ["LOSSY", "PERHAPS_LOSSY", "describe_warnings", "find_laterality", "find_spacing", "find_view"]

# View Code Sequence (0054,0220), CID 4014: SNOMED CT codes, and the SNOMED RT codes that they replaced.
_VIEW_OF_CODE = {
    "399162004": "CC", "R-10242": "CC", "399368009": "MLO", "R-10226": "MLO", "399260004": "ML", "R-10224": "ML",
    "399352003": "LM", "R-10228": "LM", "399099002": "LMO", "R-10230": "LMO", "399196006": "FB", "R-10244": "FB",
    "399188001": "SIO", "R-102D0": "SIO", "441555000": "ISO", "R-40AAA": "ISO", "399192008": "XCCL", "R-1024A": "XCCL",
    "399101009": "XCCM", "R-1024B": "XCCM",
}  # fmt: skip
_SPECIMEN_CODES = ("127457009", "G-8310")

# View Modifier Code Sequence (0054,0222), CID 4015, as above: those that show a part or change the picture's scale.
_WARNING_OF_MODIFIER = {
    "399055006": "spot compression view", "R-102D7": "spot compression view", "399163009": "magnification view",
    "R-102D6": "magnification view", "399209000": "implant displaced view", "R-102D5": "implant displaced view",
}  # fmt: skip

# A contact view has a factor below 1.1; on a magnification stand it is 1.4 or more.
_MAGNIFIED = 1.3
_MOST_MAGNIFIED = 10.0  # beyond, the number is damaged

LOSSY = "lossy compression (0028,2110)"
PERHAPS_LOSSY = "perhaps lossy compression: (0028,2110) does not tell"

_LOSSY_SYNTAXES = (JPEGBaseline8Bit, JPEGExtended12Bit)
_PERHAPS_LOSSY_SYNTAXES = (JPEGLSNearLossless, JPEG2000, HTJ2K)


def find_spacing(dataset: Dataset) -> tuple[tuple[float, float] | None, SpacingSource]:
    """Chooses the spacing in the patient where there is one (PS3.3 10.7.1.3).

    A Pixel Spacing that equals the Imager Pixel Spacing was not corrected for magnification and is the detector's,
    unless Pixel Spacing Calibration Type (0028,0A02) says that it was.

    Returns:
        (row, column) in mm, or None when unknown, and where it comes from.
    """
    patient, imager = _pair(dataset, "PixelSpacing"), _pair(dataset, "ImagerPixelSpacing")
    factor = _magnification(dataset)
    calibrated = header_text(dataset, "PixelSpacingCalibrationType") in ("GEOMETRY", "FIDUCIAL")
    if patient is not None and (patient != imager or factor == 1.0 or calibrated):
        return patient, SpacingSource.PIXEL_SPACING
    if imager is not None:
        return (imager[0] / factor, imager[1] / factor), SpacingSource.IMAGER
    if (scanned := _pair(dataset, "NominalScannedPixelSpacing")) is not None:
        return scanned, SpacingSource.SCANNED
    return None, SpacingSource.UNKNOWN


def find_laterality(dataset: Dataset) -> Laterality:
    """Takes Image Laterality (0020,0062), else Laterality (0020,0060), else Frame Laterality (0020,9072)."""
    anatomy = [
        item
        for shared in read_items(dataset, "SharedFunctionalGroupsSequence")
        for item in read_items(shared, "FrameAnatomySequence")
    ]
    for source, keyword in (
        (dataset, "ImageLaterality"),
        (dataset, "Laterality"),
        *((item, "FrameLaterality") for item in anatomy),
    ):
        value = header_text(source, keyword).upper()
        if value in ("L", "R"):
            return Laterality(value)
    return Laterality.UNKNOWN


def find_view(dataset: Dataset) -> View:
    """Takes View Position (0018,5101), else what CBIS-DDSM writes, else View Code Sequence (0054,0220)."""
    # CBIS-DDSM keeps the view in PatientOrientation (0020,0020), where the standard wants directions.
    for keyword in ("ViewPosition", "PatientOrientation"):
        value = header_text(dataset, keyword).upper()
        if value and value in View._value2member_map_:
            return View(value)
    codes = read_items(dataset, "ViewCodeSequence")
    return View(_VIEW_OF_CODE.get(header_text(codes[0], "CodeValue"), "") if codes else "")


def describe_warnings(dataset: Dataset, options: ReadOptions) -> tuple[str, ...]:
    """Returns what a person should know before relying on a checked mammogram; no line holds patient data."""
    found = []
    if is_for_processing(dataset):
        found.append("for processing: detector values without logarithm and inversion, not those of presentation")
    for keyword, warning in (
        ("BurnedInAnnotation", "burned-in annotation (0028,0301)"),
        ("BreastImplantPresent", "breast implant (0028,1300)"),
        ("PartialView", "partial view (0028,1350)"),
    ):
        if header_text(dataset, keyword).upper() == "YES":
            found.append(warning)
    found += _view_warnings(dataset)
    found += _value_warnings(dataset, options)
    return tuple(found)


def _view_warnings(dataset: Dataset) -> list[str]:
    views = read_items(dataset, "ViewCodeSequence")
    modifiers = [item for view in views for item in read_items(view, "ViewModifierCodeSequence")]
    found = [_WARNING_OF_MODIFIER.get(header_text(item, "CodeValue"), "") for item in modifiers]
    if _magnification(dataset) >= _MAGNIFIED:
        found.append("magnification view")
    if any(header_text(view, "CodeValue") in _SPECIMEN_CODES for view in views):
        found.append("tissue specimen, no breast")
    return sorted(set(found) - {""})


def _value_warnings(dataset: Dataset, options: ReadOptions) -> list[str]:
    """Tells what may have changed intensities: PS3.3 C.7.6.1.1.5 on lossy compression, C.8.11.3 on rescale and sign."""
    found = []
    lossy = header_text(dataset, "LossyImageCompression")
    syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID", "")))
    if lossy == "01" or syntax in _LOSSY_SYNTAXES:
        found.append(LOSSY)
    elif lossy != "00" and syntax in _PERHAPS_LOSSY_SYNTAXES:
        found.append(PERHAPS_LOSSY)
    if read_integer(dataset, "PixelRepresentation", 0) == 1:
        found.append("signed stored values, raised by half of full scale: PixelRepresentation (0028,0103) is 1")
    if not options.voi_lut:
        slope, intercept = read_numbers(dataset, "RescaleSlope"), read_numbers(dataset, "RescaleIntercept")
        if (slope or (1.0,))[0] != 1.0 or (intercept or (0.0,))[0] != 0.0:
            found.append("rescale (0028,1052), (0028,1053) is not the identity and not applied: stored values are kept")
    elif not has_voi(dataset):
        found.append("no window and no VOI LUT in the file: stored values are kept")
    return found


def _magnification(dataset: Dataset) -> float:
    """Returns the Estimated Radiographic Magnification Factor (0018,1114), 1 where none from 1 on is given."""
    factor = (read_numbers(dataset, "EstimatedRadiographicMagnificationFactor") or (1.0,))[0]
    return factor if 1.0 <= factor <= _MOST_MAGNIFIED else 1.0


def _pair(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    """Returns (row, column) in mm; None where the attribute is absent or holds no two lengths: then it says nothing."""
    numbers = read_numbers(dataset, keyword)
    if numbers is None or len(numbers) != 2 or not all(map(is_spacing_mm, numbers)):
        return None
    return numbers[0], numbers[1]
