"""Regions drawn on mammograms as DICOM annotations, written by highdicom: TID 1500 reports and presentation states."""

import pathlib
from collections.abc import Sequence

import numpy as np
from highdicom.pr import GraphicAnnotation, GraphicLayer, GraphicObject, GrayscaleSoftcopyPresentationState
from highdicom.sr import (
    ComprehensiveSR,
    ImageRegion,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    SourceImageForRegion,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from tests.fakes.dicom import fake_uid

__all__ = ["Drawn", "write_presentation_state", "write_report"]

# Graphic type, (column, row) of each point, and the image.
Drawn = tuple[str, Sequence[tuple[float, float]], Dataset]


def write_report(path: pathlib.Path, drawn: Sequence[Drawn]) -> pathlib.Path:
    """Writes a Comprehensive SR of TID 1500 with a measurement group for each region."""
    groups = [
        PlanarROIMeasurementsAndQualitativeEvaluations(
            TrackingIdentifier(fake_uid(7, number), f"region {number}"),
            referenced_region=ImageRegion(
                kind, np.array(points, float), SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID)
            ),
        )
        for number, (kind, points, image) in enumerate(drawn, 1)
    ]
    reader = ObserverContext(codes.DCM.Person, PersonObserverIdentifyingAttributes("Leserin^Lena"))
    content = MeasurementReport(
        ObservationContext(reader), codes.SCT.Mammography, groups, codes.DCM.ImagingMeasurementReport
    )
    report = ComprehensiveSR(
        _images(drawn), content[0], series_instance_uid=fake_uid(8), series_number=2, sop_instance_uid=fake_uid(9),
        instance_number=1, manufacturer="fake",
    )  # fmt: skip
    report.save_as(path, enforce_file_format=True)
    return path


def write_presentation_state(path: pathlib.Path, drawn: Sequence[Drawn], units: str = "PIXEL") -> pathlib.Path:
    """Writes a Grayscale Softcopy Presentation State with a graphic annotation for each region."""
    layer = GraphicLayer("REGIONS", 1)
    annotations = [
        GraphicAnnotation([image], layer, graphic_objects=[GraphicObject(kind, np.array(points, float), units)])
        for kind, points, image in drawn
    ]
    state = GrayscaleSoftcopyPresentationState(
        _images(drawn), series_instance_uid=fake_uid(8), series_number=2, sop_instance_uid=fake_uid(9),
        instance_number=1, manufacturer="fake", manufacturer_model_name="fake", software_versions="1",
        device_serial_number="1", content_label="REGION", graphic_annotations=annotations, graphic_layers=[layer],
        concept_name=codes.DCM.PresentationState, content_creator_name="Leserin^Lena",
    )  # fmt: skip
    state.save_as(path, enforce_file_format=True)
    return path


def _images(drawn: Sequence[Drawn]) -> list[Dataset]:
    """Returns each image once, with the attributes of type 2 that highdicom copies."""
    images = list({image.SOPInstanceUID: image for _, _, image in drawn}.values())
    for image in images:
        for keyword in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
                        "ReferringPhysicianName"):  # fmt: skip
            image.setdefault(keyword, None)
    return images
