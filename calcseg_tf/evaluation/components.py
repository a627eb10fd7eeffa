"""The objects that are counted: annotated calcifications and predicted components, with what a table says of each."""

import dataclasses

import numpy as np

from calcseg_tf.evaluation.pixel_graph import label_pixels
from data_prep.components import label_components
from data_prep.mask import CALCIFICATION, IGNORE

__all__ = [
    "AnnotatedObjects",
    "PredictedComponents",
    "annotated_objects",
    "predicted_components",
    "predicted_pixels",
    "shared_pixels",
]


@dataclasses.dataclass(frozen=True, eq=False)
class AnnotatedObjects:
    """The connected components of an annotation, in the order of their first pixel, row by row.

    Attributes:
        area_px: int64 [objects].
        centroid: float64 [objects, 2], row and column, the mean of its pixels.
        box: int64 [objects, 4]; first row, first column, one past the last row, one past the last column.
        detection_code: int64 [objects], the highest code at which it is found under `zamir`: that of its highest
            pixel. 0 where nothing was predicted on it.
        pixels: int64 [pixels], row * width + column; ascending within an object, object after object.
        start: int64 [objects + 1]; the pixels of object i are pixels[start[i]:start[i + 1]].
    """

    area_px: np.ndarray
    centroid: np.ndarray
    box: np.ndarray
    detection_code: np.ndarray
    pixels: np.ndarray
    start: np.ndarray

    def __len__(self) -> int:
        return len(self.area_px)


@dataclasses.dataclass(frozen=True, eq=False)
class PredictedComponents:
    """The connected components of the pixels at or above a code, ignored ones left out; ordered by their first pixel.

    Attributes:
        area_px: int64 [components].
        centroid: float64 [components, 2], row and column, the mean of its pixels.
        box: int64 [components, 4]; first row, first column, one past the last row, one past the last column.
        max_code: int64 [components], its highest.
        touches_annotation: bool [components]; shares a pixel with a calcification. Where not, a false alarm (`zamir`).
        touches_ignored: bool [components]; has an ignored neighbour, where the annotation may not tell everything.
        pixels: int64 [pixels], row * width + column; ascending within a component, component after component.
        start: int64 [components + 1]; the pixels of component i are pixels[start[i]:start[i + 1]].
    """

    area_px: np.ndarray
    centroid: np.ndarray
    box: np.ndarray
    max_code: np.ndarray
    touches_annotation: np.ndarray
    touches_ignored: np.ndarray
    pixels: np.ndarray
    start: np.ndarray

    def __len__(self) -> int:
        return len(self.area_px)


def predicted_pixels(codes: np.ndarray, mask: np.ndarray, lowest: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pixels at or above a code that are not ignored.

    Args:
        codes: uint16 [height, width], the probability map.
        mask: uint8 [height, width]: 0 background, 1 calcification, 255 ignore.
        lowest: 1 to 65535.

    Returns:
        pixels: int64 [pixels], ascending; row * width + column.
        values: uint16 [pixels], their codes.
    """
    pixels = np.flatnonzero(codes >= lowest)
    pixels = pixels[mask.ravel()[pixels] != IGNORE]
    return pixels, codes.ravel()[pixels]


def annotated_objects(codes: np.ndarray, mask: np.ndarray, connectivity: int = 8) -> AnnotatedObjects:
    """Measures the objects of an annotation.

    Args:
        codes: uint16 [height, width], the probability map.
        mask: uint8 [height, width]: 0 background, 1 calcification, 255 ignore.
        connectivity: 8 or 4.
    """
    pixels = np.flatnonzero(mask == CALCIFICATION)
    pixels, label, start = _by_label(pixels, *label_pixels(pixels, mask.shape, connectivity))
    area, centroid, box = _shapes(pixels, label, start, mask.shape[1])
    return AnnotatedObjects(area, centroid, box, _highest(codes, pixels, start), pixels, start)


def predicted_components(codes: np.ndarray, mask: np.ndarray, code: int, connectivity: int = 8) -> PredictedComponents:
    """Measures the components of {codes >= code}.

    Args:
        codes: uint16 [height, width], the probability map.
        mask: uint8 [height, width]: 0 background, 1 calcification, 255 ignore.
        code: 1 to 65535.
        connectivity: 8 or 4.
    """
    pixels, _ = predicted_pixels(codes, mask, code)
    foreground = np.zeros(mask.shape, bool)
    foreground.ravel()[pixels] = True
    labels, count = label_components(foreground, connectivity)
    pixels, label, start = _by_label(pixels, labels.ravel()[pixels].astype(np.int64) - 1, count)
    area, centroid, box = _shapes(pixels, label, start, mask.shape[1])
    touches_annotation, touches_ignored = np.zeros((2, len(area)), bool)
    touches_annotation[label[mask.ravel()[pixels] == CALCIFICATION]] = True
    touches_ignored[label[_beside(pixels, mask == IGNORE, connectivity)]] = True
    return PredictedComponents(
        area, centroid, box, _highest(codes, pixels, start), touches_annotation, touches_ignored, pixels, start
    )


def shared_pixels(objects: AnnotatedObjects, components: PredictedComponents) -> tuple[np.ndarray, np.ndarray]:
    """Finds the pixels that an object and a component share.

    Returns:
        For each such pixel the object and the component, int64 [shared] each.
    """
    is_object = np.zeros(1 + max(objects.pixels.max(initial=0), components.pixels.max(initial=0)), bool)
    is_object[objects.pixels] = True
    # A network may predict every pixel: nothing here is as large as they are, but for one byte each.
    places = np.flatnonzero(is_object[components.pixels])
    order = np.argsort(objects.pixels)
    found = order[np.searchsorted(objects.pixels[order], components.pixels[places])]
    return (
        np.searchsorted(objects.start, found, side="right") - 1,
        np.searchsorted(components.start, places, side="right") - 1,
    )


def _beside(pixels: np.ndarray, wanted: np.ndarray, connectivity: int) -> np.ndarray:
    """Tells which pixels have a wanted neighbour; bool [pixels]."""
    found = np.zeros(len(pixels), bool)
    if not wanted.any():
        return found
    framed = np.pad(wanted, 1)
    row, column = np.divmod(pixels, wanted.shape[1])
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            if connectivity == 8 or down == 0 or right == 0:
                found |= framed[row + 1 + down, column + 1 + right]
    return found


def _by_label(pixels: np.ndarray, label: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns pixels by component, the component of each from 0 on, and where each one starts."""
    order = np.argsort(label, kind="stable")
    return pixels[order], label[order], np.append(0, np.bincount(label, minlength=count).cumsum())


def _shapes(
    pixels: np.ndarray, label: np.ndarray, start: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns areas, centroids and boxes."""
    count = len(start) - 1
    area = np.diff(start)
    row, column = np.divmod(pixels, width)
    # Sums of integers, exact in float64, divided once: the mean as NumPy and scikit-image compute it.
    sums = [np.bincount(label, weights, count) for weights in (row, column)]
    centroid = np.stack(sums, axis=1) / area[:, None]
    begins = start[:-1]
    if count == 0:
        return area, centroid, np.zeros((0, 4), np.int64)
    ends = [np.maximum.reduceat(each, begins) + 1 for each in (row, column)]
    return area, centroid, np.stack([row[begins], np.minimum.reduceat(column, begins), *ends], axis=1)


def _highest(codes: np.ndarray, pixels: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Returns the highest code of each component, int64."""
    values = codes.ravel()[pixels].astype(np.int64)
    return np.maximum.reduceat(values, start[:-1]) if len(start) > 1 else values
