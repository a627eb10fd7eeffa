"""A Digital Mammography X-Ray Image with every attribute that its modules demand, as acquisition devices write it."""

import pathlib

import numpy as np
from pydicom.dataset import Dataset

from tests.fakes.dicom import fake_uid, write_dicom

__all__ = ["write_full_mammogram"]


def _code(value: str, scheme: str, meaning: str, **more: object) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    for keyword, content in more.items():
        setattr(item, keyword, content)
    return item


def write_full_mammogram(
    path: pathlib.Path, pixels: np.ndarray, bits_stored: int, **attributes: object
) -> pathlib.Path:
    """Writes stored values [height, width]; `attributes` as `tests.fakes.dicom.fake_dicom` takes them."""
    full: dict[str, object] = {
        "SpecificCharacterSet": "ISO_IR 100",
        "ImageType": ["DERIVED", "PRIMARY"],
        "StudyDate": "20180314", "SeriesDate": "20180314", "AcquisitionDate": "20180314", "ContentDate": "20180314",
        "StudyTime": "101112", "AcquisitionTime": "101112", "ContentTime": "101112",
        "AccessionNumber": "A-17", "StudyID": "17", "SeriesNumber": 3, "InstanceNumber": 1, "AcquisitionNumber": 1,
        "Manufacturer": "Musterwerk", "ManufacturerModelName": "Mammograph 1", "DeviceSerialNumber": "1",
        "SoftwareVersions": "1", "InstitutionName": "Musterklinik", "ReferringPhysicianName": "Beispiel^Bertha",
        "StudyDescription": "Mammographie beidseits", "PatientName": "Müller^Jürgen", "PatientBirthDate": "19600102",
        "PatientSex": "F", "PatientAge": "058Y", "PresentationIntentType": "FOR PRESENTATION",
        "PatientOrientation": ["A", "FR"], "ImageLaterality": "L", "ViewPosition": "MLO",
        "BodyPartExamined": "BREAST", "OrganExposed": "BREAST", "PositionerType": "MAMMOGRAPHIC",
        "PositionerPrimaryAngle": "45", "PositionerSecondaryAngle": "0", "BreastImplantPresent": "NO",
        "PartialView": "NO", "BurnedInAnnotation": "NO", "LossyImageCompression": "00", "KVP": "29",
        "ImagerPixelSpacing": ["0.07", "0.07"], "PixelSpacing": ["0.065", "0.065"],
        "EstimatedRadiographicMagnificationFactor": "1.077", "DetectorType": "DIRECT", "DetectorConfiguration": "AREA",
        "DetectorTemperature": "25", "DetectorActiveShape": "RECTANGLE", "DetectorActiveDimensions": ["280", "230"],
        "FieldOfViewShape": "RECTANGLE", "FieldOfViewDimensions": ["280", "230"], "FieldOfViewOrigin": ["0", "0"],
        "FieldOfViewRotation": "0", "FieldOfViewHorizontalFlip": "NO", "PixelIntensityRelationship": "LOG",
        "PixelIntensityRelationshipSign": 1 if attributes.get("photometric") == "MONOCHROME1" else -1,
        "RescaleIntercept": "0", "RescaleSlope": "1", "RescaleType": "US",
        "PresentationLUTShape": "INVERSE" if attributes.get("photometric") == "MONOCHROME1" else "IDENTITY",
        "WindowCenter": str(1 << (bits_stored - 1)), "WindowWidth": str(1 << bits_stored),
        "FrameOfReferenceUID": fake_uid(9), "PositionReferenceIndicator": "", "PixelSpacingCalibrationType": "GEOMETRY",
        "PixelSpacingCalibrationDescription": "breast",
        "ViewCodeSequence": [_code("399368009", "SCT", "medio-lateral oblique", ViewModifierCodeSequence=[])],
        "AnatomicRegionSequence": [_code("76752008", "SCT", "Breast")],
        "AcquisitionContextSequence": [],
    }  # fmt: skip
    options = {**full, **attributes}
    return write_dicom(path, pixels, bits_stored=bits_stored, **options)
