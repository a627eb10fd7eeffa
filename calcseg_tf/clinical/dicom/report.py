"""DICOM measurement report (PS3.16 TID 1500) of one mammogram: calcifications and clusters, with their areas."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from calcseg_tf import __version__
from calcseg_tf.clinical.calcification import Calcification
from calcseg_tf.clinical.clusters import Cluster
from calcseg_tf.clinical.dicom import terms
from calcseg_tf.clinical.dicom.equipment import ALGORITHM_FAMILY, SOFTWARE, ResultIdentity, algorithm_parameters
from calcseg_tf.clinical.dicom.identifiers import derive_uid
from calcseg_tf.clinical.dicom.outlines import outline_calcification, outline_cluster
from calcseg_tf.clinical.dicom.segmentation import SEGMENT_NUMBER, TRACKING_ID, tracking_uid
from calcseg_tf.clinical.dicom.source import SourceImage
from calcseg_tf.clinical.shape_statistics import ShapeStatistics
from calcseg_tf.clinical.statistics import ImageStatistics
from data_prep.command import DISCLAIMER

__all__ = ["MOST_LISTED", "listed", "make_report"]

# Longer lists are read by nobody, and highdicom takes about 10 ms for each of them.
MOST_LISTED = 300


def listed(statistics: ImageStatistics) -> tuple[Calcification, ...]:
    """Returns the calcifications that a report lists one by one, by id: the MOST_LISTED most probable, then largest."""
    ranked = sorted(statistics.calcifications, key=lambda found: (-found.max_probability, -found.area_px, found.id))
    return tuple(sorted(ranked[:MOST_LISTED], key=lambda found: found.id))


def make_report(
    source: SourceImage,
    segmentation: Any,
    codes: np.ndarray,
    statistics: ImageStatistics,
    model: Mapping[str, object],
    identity: ResultIdentity,
) -> Any:
    """Makes a Comprehensive SR document.

    It holds one measurement group for the whole segment, one for each cluster, and one for each calcification of
    `listed`: where (the segment, or an outline on the image), how large, how certain. It is complete as a document,
    unverified and preliminary as a report, and marked RESEARCH in Content Qualification (0018,9004).

    Args:
        source: The mammogram.
        segmentation: Of `make_segmentation`, of the same result.
        codes: uint16 [height, width], the probability map.
        statistics: Measured on it.
        model: What made the prediction.
        identity: Of the result.

    Returns:
        `highdicom.sr.ComprehensiveSR`.
    """
    from highdicom.sr import ComprehensiveSR

    maker = _Maker(source, statistics, model, identity)
    groups = [
        maker.whole(segmentation),
        *[maker.cluster(cluster) for cluster in statistics.clusters or ()],
        *[maker.calcification(codes, found) for found in listed(statistics)],
    ]
    content = _document(source, statistics, groups)
    report = ComprehensiveSR(
        [source.dataset, segmentation], content[0], is_complete=True, is_final=False,
        **identity.arguments("SR", "report", 1),
    )  # fmt: skip
    identity.complete(report)
    return report


def _document(source: SourceImage, statistics: ImageStatistics, groups: Sequence[Any]) -> Any:
    from highdicom.sr import (
        DeviceObserverIdentifyingAttributes,
        MeasurementReport,
        ObservationContext,
        ObserverContext,
        TextContentItem,
    )
    from pydicom.sr.codedict import codes as known

    device = DeviceObserverIdentifyingAttributes(
        derive_uid("device", SOFTWARE, __version__), SOFTWARE, SOFTWARE, f"{SOFTWARE} {__version__}"
    )
    content = MeasurementReport(
        ObservationContext(ObserverContext(known.DCM.Device, device)), terms.MAMMOGRAPHY, groups,
        known.DCM.ImagingMeasurementReport,
    )  # fmt: skip
    # TID 1500 is extensible: the library without the spacing that highdicom wants of every mammogram, and remarks.
    parts = content[0].ContentSequence
    parts.insert(len(parts) - 1, _image_library(source))
    for remark in _remarks(statistics):
        parts.append(TextContentItem(terms.COMMENT, remark, "CONTAINS"))
    return content


def _remarks(statistics: ImageStatistics) -> list[str]:
    remarks = [
        DISCLAIMER,
        f"A calcification is an 8-connected component of the pixels with probability >= {statistics.threshold:.10g}.",
    ]
    if statistics.pixel_spacing_mm is None:
        remarks.append("The pixel spacing is unknown: areas are in pixels, and clusters are not sought.")
    else:
        remarks.append(f"Areas rest on the pixel spacing of {statistics.spacing_source.value}.")
        if statistics.clusters is None:
            remarks.append(f"Clusters are undefined: {statistics.clusters_reason}.")
    if statistics.count > MOST_LISTED:
        remarks.append(
            f"The {MOST_LISTED} most probable of {statistics.count} calcifications are listed; the segmentation holds "
            "all of them."
        )
    return remarks


def _image_library(source: SourceImage) -> Any:
    """TID 1600 with what the image is (TID 1602)."""
    from highdicom.sr import CodeContentItem, ContainerContentItem, ContentSequence, ImageContentItem, NumContentItem
    from pydicom.sr.codedict import codes as known

    dataset = source.dataset
    library = ContainerContentItem(known.DCM.ImageLibrary, relationship_type="CONTAINS")
    group = ContainerContentItem(known.DCM.ImageLibraryGroup, relationship_type="CONTAINS")
    image = ImageContentItem(
        known.SCT.Source, dataset.SOPClassUID, dataset.SOPInstanceUID, relationship_type="CONTAINS"
    )
    context = "HAS ACQ CONTEXT"
    described = [CodeContentItem(known.DCM.Modality, known.DCM.Mammography, context)]
    if source.laterality in terms.LATERALITY:
        side = terms.LATERALITY[source.laterality]
        described.append(CodeContentItem(known.DCM.ImageLaterality, side, context))
    for name, length in ((known.DCM.PixelDataRows, dataset.Rows), (known.DCM.PixelDataColumns, dataset.Columns)):
        described.append(NumContentItem(name, length, terms.PIXELS, relationship_type=context))
    image.ContentSequence = ContentSequence(described)
    group.ContentSequence = ContentSequence([image])
    library.ContentSequence = ContentSequence([group])
    return library


class _Maker:
    """Makes the measurement groups of a report (TID 1410)."""

    def __init__(
        self, source: SourceImage, statistics: ImageStatistics, model: Mapping[str, object], identity: ResultIdentity
    ) -> None:
        self._source = source
        self._statistics = statistics
        self._parameters = [f"{name}: {value}" for name, value in algorithm_parameters(statistics, model).items()]
        self._identity = identity

    def whole(self, segmentation: Any) -> Any:
        """The segment that holds all calcifications: their number, mean area and its standard deviation."""
        from highdicom.sr import ReferencedSegmentationFrame, SourceImageForSegmentation

        segment = ReferencedSegmentationFrame(
            segmentation.SOPClassUID, segmentation.SOPInstanceUID, 1, SEGMENT_NUMBER,
            SourceImageForSegmentation(self._source.dataset.SOPClassUID, self._source.dataset.SOPInstanceUID),
        )  # fmt: skip
        # PS3.3 C.18.4: a frame is told or a segment; TID 1410 wants the frame, which holds this segment alone.
        del segment[0].ReferencedSOPSequence[0].ReferencedSegmentNumber
        uid = tracking_uid(self._identity)
        figures = self._figures(self._statistics)
        return self._group(TRACKING_ID, uid, terms.CALCIFICATION, figures, referenced_segment=segment)

    def cluster(self, cluster: Cluster) -> Any:
        """A cluster, outlined by its hull: the same figures, its extent, and how its calcifications lie."""
        from highdicom.sr import Measurement, QualitativeEvaluation

        name = f"cluster {cluster.id}"
        extent = (
            [] if cluster.extent_mm is None else [Measurement(terms.LONG_AXIS, _rounded(cluster.extent_mm), terms.MM)]
        )
        return self._group(
            name,
            self._identity.uid("tracking", name),
            terms.CLUSTER,
            self._figures(cluster) + extent,
            qualitative_evaluations=[
                QualitativeEvaluation(terms.DISTRIBUTION, terms.DISTRIBUTIONS[cluster.distribution])
            ],
            referenced_region=self._region(outline_cluster(cluster)),
        )

    def calcification(self, codes: np.ndarray, found: Calcification) -> Any:
        """A calcification: its area, and its highest probability as certainty."""
        from highdicom.sr import Measurement

        name = f"calcification {found.id}"
        measurements = [
            self._area(found.area_px, found.area_mm2),
            Measurement(terms.CERTAINTY, _rounded(100 * found.max_probability), terms.PERCENT),
        ]
        region = self._region(outline_calcification(codes, self._statistics.threshold, found))
        uid = self._identity.uid("tracking", name)
        return self._group(name, uid, terms.CALCIFICATION, measurements, True, referenced_region=region)

    def _group(
        self, name: str, uid: str, finding: Any, measurements: list[Any], brief: bool = False, **where: Any
    ) -> Any:
        from highdicom.sr import (
            AlgorithmIdentification,
            FindingSite,
            PlanarROIMeasurementsAndQualitativeEvaluations,
            TrackingIdentifier,
        )

        # Said once for the whole and for each cluster, not for every speck: it is the same for all.
        context = {} if brief else {
            "finding_sites": [FindingSite(terms.BREAST, terms.LATERALITY.get(self._source.laterality))],
            "algorithm_id": AlgorithmIdentification(SOFTWARE, __version__, self._parameters, ALGORITHM_FAMILY),
        }  # fmt: skip
        return PlanarROIMeasurementsAndQualitativeEvaluations(
            TrackingIdentifier(uid, name),
            finding_type=finding,
            finding_category=terms.FINDING_CATEGORY,
            measurements=measurements,
            **context,
            **where,
        )

    def _region(self, outline: np.ndarray) -> Any:
        from highdicom.sr import ImageRegion, SourceImageForRegion

        image = SourceImageForRegion(self._source.dataset.SOPClassUID, self._source.dataset.SOPInstanceUID)
        return ImageRegion("POLYLINE", outline, image)

    def _figures(self, statistics: ShapeStatistics) -> list[Any]:
        """How many, and the mean and standard deviation of their areas where they are defined."""
        from highdicom.sr import Measurement

        figures = [Measurement(terms.COUNT, statistics.count, terms.NO_UNITS)]
        if statistics.mean_area_px is not None:
            figures.append(self._area(statistics.mean_area_px, statistics.mean_area_mm2, terms.MEAN))
        if statistics.std_area_px is not None:
            figures.append(self._area(statistics.std_area_px, statistics.std_area_mm2, terms.STANDARD_DEVIATION))
        return figures

    def _area(self, area_px: float, area_mm2: float | None, derivation: Any = None) -> Any:
        """An area in mm2, or in pixels where the spacing is unknown."""
        from highdicom.sr import Measurement

        value, unit = (area_px, terms.PIXELS) if area_mm2 is None else (area_mm2, terms.MM2)
        return Measurement(terms.AREA, _rounded(value), unit, derivation=derivation)


def _rounded(value: float) -> float:
    """Rounds to 10 digits: a decimal string holds 16 characters (PS3.5 6.2)."""
    return float(f"{value:.10g}")
