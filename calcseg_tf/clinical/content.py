"""What is measured, as JSON holds it."""

import dataclasses

from calcseg_tf.clinical.clusters import Cluster
from calcseg_tf.clinical.shape_statistics import ShapeStatistics
from calcseg_tf.clinical.statistics import ImageStatistics

__all__ = ["statistics_content"]


def statistics_content(statistics: ShapeStatistics) -> dict[str, object]:
    """Returns statistics as JSON holds them: every field by its name, but for what calcifications.csv tells.

    Args:
        statistics: Of an image, a cluster or a region.
    """
    content: dict[str, object] = {}
    for field in dataclasses.fields(statistics):
        value = getattr(statistics, field.name)
        nested = dataclasses.is_dataclass(value) and not isinstance(value, type)
        content[field.name] = dataclasses.asdict(value) if nested else value
    if isinstance(statistics, ImageStatistics):
        del content["calcifications"], content["clusters_reason"]  # calcifications.csv; "undefined"
        del content["spacing_source"]
        content["pixel_spacing_source"] = statistics.spacing_source.value
        content["clusters"] = statistics.clusters and [statistics_content(each) for each in statistics.clusters]
    if isinstance(statistics, Cluster):
        del content["calcification_ids"]  # calcifications.csv: cluster_id
    return content
