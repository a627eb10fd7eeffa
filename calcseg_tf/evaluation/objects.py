"""The rows of the tables: what is kept of every annotated calcification and every predicted component of an image.

Arrays, not objects, and no pixels: a network of many false alarms predicts a million components in a test set.
"""

import dataclasses

import numpy as np
from scipy.spatial import cKDTree

from calcseg_tf.evaluation.components import AnnotatedObjects, PredictedComponents, predicted_components, shared_pixels
from data_prep.mask import IGNORE

__all__ = [
    "FALSE_ALARM",
    "HIT",
    "IGNORED",
    "KINDS",
    "NEIGHBOUR_MM",
    "NEIGHBOUR_PX",
    "Calcifications",
    "Candidates",
    "describe_calcifications",
    "describe_candidates",
]

# Half the 2 cm in which clusters are commonly looked for; without a spacing, as many pixels of 0.07 mm (INbreast's).
NEIGHBOUR_MM = 10.0
NEIGHBOUR_PX = 143.0

HIT, FALSE_ALARM, IGNORED = 0, 1, 2
KINDS = ("hit", "false_alarm", "ignored")


@dataclasses.dataclass(frozen=True, eq=False)
class Calcifications:
    """The annotated calcifications of an image, in the order of their first pixel, row by row.

    Attributes:
        row: float64 [calcifications], centroid in px.
        column: float64 [calcifications].
        area_px: int64 [calcifications].
        detection_code: int64 [calcifications]; the highest code of its pixels: at this threshold and every lower one it
            is found, under the paper's protocol.
        neighbours: int64 [calcifications]; other annotated calcifications whose centroid lies within `NEIGHBOUR_MM`,
            or within `NEIGHBOUR_PX` where the spacing is unknown.
        iou: float64 [calcifications]; intersection over union, in pixels, with all predicted components that share a
            pixel with it, at the operating threshold; 0 where none does.
    """

    row: np.ndarray
    column: np.ndarray
    area_px: np.ndarray
    detection_code: np.ndarray
    neighbours: np.ndarray
    iou: np.ndarray

    def __len__(self) -> int:
        return len(self.row)


@dataclasses.dataclass(frozen=True, eq=False)
class Candidates:
    """The predicted components of an image at the operating threshold, in the order of their first pixel.

    Those that lie on ignored pixels alone come last; they enter no figure.

    Attributes:
        row: float64 [candidates], centroid in px.
        column: float64 [candidates].
        area_px: int64 [candidates]; pixels that are not ignored, but for the ignored ones, whose pixels all are.
        code: int64 [candidates]; the highest code of its pixels.
        kind: uint8 [candidates]: HIT where it shares a pixel with a calcification, FALSE_ALARM where it does not,
            IGNORED where it lies on ignored pixels alone.
    """

    row: np.ndarray
    column: np.ndarray
    area_px: np.ndarray
    code: np.ndarray
    kind: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    def count(self, kind: int) -> int:
        """Returns how many are of a kind."""
        return int(np.count_nonzero(self.kind == kind))


def describe_calcifications(
    objects: AnnotatedObjects,
    components: PredictedComponents,
    pixel_spacing_mm: tuple[float, float] | None = None,
) -> Calcifications:
    """Describes every annotated calcification of an image.

    Args:
        objects: The annotation's.
        components: Predicted at the operating threshold.
        pixel_spacing_mm: (row, column), or None when unknown.
    """
    row, column = objects.centroid.T
    neighbours = _neighbours(row, column, pixel_spacing_mm)
    return Calcifications(
        row, column, objects.area_px, objects.detection_code, neighbours, _overlaps(objects, components)
    )


def describe_candidates(
    components: PredictedComponents, codes: np.ndarray, mask: np.ndarray, code: int, connectivity: int = 8
) -> Candidates:
    """Describes every predicted component of an image.

    Args:
        components: Predicted at the operating threshold.
        codes: uint16 [height, width], the probability map.
        mask: uint8 [height, width]: 0 background, 1 calcification, 255 ignore.
        code: The operating threshold; a pixel is predicted at or above it.
        connectivity: 8 or 4.
    """
    alone = _on_ignored_alone(codes, mask == IGNORE, code, connectivity)
    kind = np.where(components.touches_annotation, HIT, FALSE_ALARM)
    row, column = np.concatenate([components.centroid, alone.centroid]).T
    return Candidates(
        row,
        column,
        np.append(components.area_px, alone.area_px),
        np.append(components.max_code, alone.max_code),
        np.append(kind, np.full(len(alone), IGNORED)).astype(np.uint8),
    )


def _on_ignored_alone(codes: np.ndarray, ignored: np.ndarray, code: int, connectivity: int) -> PredictedComponents:
    """Measures the components of the whole prediction all of whose pixels are ignored."""
    kept = np.zeros_like(codes)
    nothing = np.zeros(codes.shape, np.uint8)
    if ignored.any():
        whole = predicted_components(codes, nothing, code, connectivity)
        counted = np.append(0, (~ignored.ravel()[whole.pixels]).cumsum())
        alone = counted[whole.start[1:]] == counted[whole.start[:-1]]
        pixels = whole.pixels[np.repeat(alone, whole.area_px)]
        kept.ravel()[pixels] = codes.ravel()[pixels]
    return predicted_components(kept, nothing, code, connectivity)


def _neighbours(row: np.ndarray, column: np.ndarray, spacing: tuple[float, float] | None) -> np.ndarray:
    if len(row) == 0:
        return np.zeros(0, np.int64)
    row_step, column_step = spacing or (1.0, 1.0)
    points = np.stack([row * row_step, column * column_step], axis=1)
    radius = NEIGHBOUR_PX if spacing is None else NEIGHBOUR_MM
    within = cKDTree(points).query_ball_point(points, radius, return_length=True)
    return np.asarray(within, np.int64) - 1


def _overlaps(objects: AnnotatedObjects, components: PredictedComponents) -> np.ndarray:
    """Returns the IoU of each object with the union of the components that share a pixel with it."""
    ours, theirs = shared_pixels(objects, components)
    intersection = np.bincount(ours, minlength=len(objects))
    pairs = np.unique(np.stack([ours, theirs]), axis=1)
    touching = np.zeros(len(objects), np.int64)
    np.add.at(touching, pairs[0], components.area_px[pairs[1]])
    return np.asarray(intersection / (objects.area_px + touching - intersection))
