"""The measurement report holds what statistics.json and calcifications.csv hold, read back by highdicom."""

import highdicom
import numpy as np
import pydicom
import pytest
from highdicom.sr import GraphicTypeValues
from pydicom.sr.codedict import Code

from calcseg_tf.clinical.dicom.report import MOST_LISTED
from calcseg_tf.clinical.dicom.terms import AREA, CERTAINTY, COUNT, DISTRIBUTION, LONG_AXIS, MEAN, STANDARD_DEVIATION
from data_prep.command import DISCLAIMER
from tests.clinical.dicom.making import drawn, make
from tests.fakes.dicom import write_dicom

_CALCIFICATION = Code("129770007", "SCT", "Individual Calcification")
_CLUSTER = Code("129769006", "SCT", "Calcification Cluster")
_DRAWN = drawn("99......", "9.......", "....8...", ".....6..", "........", "......55")


def _image(folder, shape, **attributes):
    pixels = np.arange(shape[0] * shape[1], dtype=np.uint16).reshape(shape) % 4096
    return write_dicom(folder / "a.dcm", pixels, **attributes)


def _report(folder):
    return highdicom.sr.srread(folder / "report.dcm")


def _groups(folder, finding=_CALCIFICATION):
    """The groups with an outline."""
    content = _report(folder).content
    return content.get_planar_roi_measurement_groups(graphic_type=GraphicTypeValues.POLYLINE, finding_type=finding)


def _whole(folder):
    (group,) = [one for one in _report(folder).content.get_planar_roi_measurement_groups() if one.roi is None]
    return group


def _figures(group):
    """(concept, derivation) -> (value, unit)."""
    found = {}
    for one in group.get_measurements():
        derivation = one.derivation.value if one.derivation else None
        found[one.name.value, derivation] = (one.value, one.unit.value)
    return found


def _comments(folder):
    items = pydicom.dcmread(folder / "report.dcm").ContentSequence
    return [item.TextValue for item in items if item.ValueType == "TEXT" and item.RelationshipType == "CONTAINS"]


def test_each_calcification_has_its_area_and_its_certainty(tmp_path):
    """Three of 3, 2 and 2 pixels, each of 0.1 x 0.5 mm."""
    make(tmp_path, _image(tmp_path, (6, 8), PixelSpacing=[0.1, 0.5]), _DRAWN)
    groups = _groups(tmp_path)
    assert [group.tracking_identifier for group in groups] == ["calcification 1", "calcification 2", "calcification 3"]
    figures = [_figures(group) for group in groups]
    assert [one[AREA.value, None] for one in figures] == [
        (pytest.approx(0.15), "mm2"), (pytest.approx(0.1), "mm2"), (pytest.approx(0.1), "mm2"),
    ]  # fmt: skip
    assert [one[CERTAINTY.value, None] for one in figures] == [
        (pytest.approx(90, abs=1e-3), "%"), (pytest.approx(80, abs=1e-3), "%"), (pytest.approx(50, abs=1e-3), "%"),
    ]  # fmt: skip


def test_each_calcification_is_outlined_on_the_image(tmp_path):
    image = _image(tmp_path, (6, 8))
    make(tmp_path, image, _DRAWN)
    source = pydicom.dcmread(image)
    boxes = []
    for group in _groups(tmp_path):
        region = group.roi
        assert region.graphic_type == GraphicTypeValues.POLYLINE
        reference = region.ContentSequence[0].ReferencedSOPSequence[0]
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert reference.ReferencedSOPClassUID == source.SOPClassUID
        boxes.append((*region.value.min(axis=0).tolist(), *region.value.max(axis=0).tolist()))
    # left, top, right, bottom; pixel (row, column) covers (column, row) to (column + 1, row + 1).
    assert boxes == [(0, 0, 2, 2), (4, 2, 6, 4), (6, 5, 8, 6)]


def test_the_whole_refers_to_the_segment_and_counts_it(tmp_path):
    statistics = make(tmp_path, _image(tmp_path, (6, 8), PixelSpacing=[0.1, 0.5]), _DRAWN)
    whole = _whole(tmp_path)
    figures = _figures(whole)
    assert figures[COUNT.value, None] == (3, "1")
    assert figures[AREA.value, MEAN.value] == (pytest.approx(statistics.mean_area_mm2, rel=1e-9), "mm2")
    assert figures[AREA.value, STANDARD_DEVIATION.value] == (pytest.approx(statistics.std_area_mm2, rel=1e-9), "mm2")
    segmentation = highdicom.seg.segread(tmp_path / "segmentation.dcm")
    reference = whole.referenced_segmentation_frame[0].ReferencedSOPSequence[0]
    assert reference.ReferencedSOPInstanceUID == segmentation.SOPInstanceUID
    assert reference.ReferencedFrameNumber == 1
    assert whole.tracking_uid == segmentation.SegmentSequence[0].tracking_uid


def test_without_spacing_areas_are_in_pixels_and_the_report_says_so(tmp_path):
    make(tmp_path, _image(tmp_path, (6, 8)), _DRAWN)
    figures = [_figures(group) for group in _groups(tmp_path)]
    assert [one[AREA.value, None] for one in figures] == [(3, "{pixels}"), (2, "{pixels}"), (2, "{pixels}")]
    assert _figures(_whole(tmp_path))[AREA.value, MEAN.value] == (pytest.approx(7 / 3), "{pixels}")
    assert "The pixel spacing is unknown: areas are in pixels, and clusters are not sought." in _comments(tmp_path)


def test_nothing_found_is_counted_as_nothing(tmp_path):
    make(tmp_path, _image(tmp_path, (6, 8), PixelSpacing=[0.1, 0.1]), np.zeros((6, 8), np.float32))
    assert _figures(_whole(tmp_path)) == {(COUNT.value, None): (0, "1")}
    assert _groups(tmp_path) == []


def test_one_has_no_standard_deviation(tmp_path):
    make(tmp_path, _image(tmp_path, (6, 8), PixelSpacing=[0.1, 0.1]), np.ones((6, 8), np.float32))
    assert set(_figures(_whole(tmp_path))) == {(COUNT.value, None), (AREA.value, MEAN.value)}


def test_each_cluster_has_its_figures_and_its_hull(tmp_path):
    probability = np.zeros((40, 40), np.float32)
    for row, column in ((2, 3), (2, 23), (12, 3), (12, 23), (7, 13)):
        probability[row, column] = 0.7
    statistics = make(tmp_path, _image(tmp_path, (40, 40), PixelSpacing=[0.1, 0.1]), probability)
    (cluster,) = statistics.clusters
    (group,) = _groups(tmp_path, _CLUSTER)
    assert group.tracking_identifier == "cluster 1"
    figures = _figures(group)
    assert figures[COUNT.value, None] == (5, "1")
    assert figures[AREA.value, MEAN.value] == (pytest.approx(0.01), "mm2")
    assert figures[AREA.value, STANDARD_DEVIATION.value] == (0, "mm2")
    assert figures[LONG_AXIS.value, None] == (pytest.approx(cluster.extent_mm), "mm")
    assert cluster.extent_mm == pytest.approx(np.hypot(1.0, 2.0))
    assert {tuple(point) for point in group.roi.value.tolist()} == {(3, 2), (24, 2), (24, 13), (3, 13)}
    (evaluation,) = group.get_qualitative_evaluations(name=DISTRIBUTION)
    assert evaluation.value.meaning == "Grouped calcification distribution"
    assert cluster.distribution.value == "grouped"


def test_side_and_algorithm_are_told(tmp_path):
    make(tmp_path, _image(tmp_path, (6, 8), ImageLaterality="R"), _DRAWN)
    whole = _whole(tmp_path)
    (site,) = whole.finding_sites
    assert site.value.meaning == "Breast"
    assert site.laterality.meaning == "Right"
    dump = str(pydicom.dcmread(tmp_path / "report.dcm"))
    for text in ("calcseg_tf", "threshold: 0.5", "network: fcn", "Artificial Intelligence", "Mammography"):
        assert text in dump


def test_the_report_is_unverified_preliminary_and_says_what_it_may_be_used_for(tmp_path):
    make(tmp_path, _image(tmp_path, (6, 8)), _DRAWN)
    report = pydicom.dcmread(tmp_path / "report.dcm")
    assert report.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.33"
    assert (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag) == (
        "COMPLETE", "UNVERIFIED", "PRELIMINARY",
    )  # fmt: skip
    assert _comments(tmp_path)[0] == DISCLAIMER


def test_of_too_many_the_most_probable_are_listed_and_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("calcseg_tf.clinical.dicom.report.MOST_LISTED", 3)
    probability = drawn("6.6.6.6", ".......", "7.66..9")
    make(tmp_path, _image(tmp_path, (3, 7), PixelSpacing=[1, 1]), probability)
    # 0.9 and 0.7 first; of those with 0.6 the largest.
    assert [group.tracking_identifier[-1] for group in _groups(tmp_path)] == ["5", "6", "7"]
    assert any("3 most probable of 7 calcifications are listed" in text for text in _comments(tmp_path))
    assert _figures(_whole(tmp_path))[COUNT.value, None] == (7, "1")


@pytest.mark.slow
def test_fifty_thousand_components_are_reported(tmp_path):
    probability = np.zeros((450, 450), np.float32)
    probability[::2, ::2] = 0.6
    statistics = make(tmp_path, _image(tmp_path, (450, 450), PixelSpacing=[0.07, 0.07]), probability)
    assert statistics.count == 50625
    assert len(_groups(tmp_path)) == MOST_LISTED
    assert (tmp_path / "report.dcm").stat().st_size < 3_000_000
