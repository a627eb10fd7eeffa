"""Measures the connected components of a probability map: sizes, shapes and grey values, all of them at once.

A component is taken apart into runs, the pieces of its rows. Sums over a run have closed forms, so that cost and memory
go with the runs: shapes take no loop over components, and one that fills the image takes a few numbers a row.
"""

import dataclasses
from typing import Any

import numpy as np

from calcseg_tf.probability_map import threshold_code
from data_prep.components import label_components

__all__ = ["SURROUNDINGS_MM", "SURROUNDINGS_PX", "Components", "measure_components"]

# The surroundings that a calcification is compared with: a calcification's width or so on every side, in mm where the
# spacing is known; 7 px are 0.5 mm at 70 um, INbreast's.
SURROUNDINGS_MM = 0.5
SURROUNDINGS_PX = 7

# Two eigenvalues that differ by less, relatively, are equal but for rounding: a square has no direction.
_ISOTROPIC = 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class Components:
    """The components in the order of their centroids, by row, then column; an array of [components] each.

    `Calcification` says what each figure is. Lengths in mm are None without spacing; orientation is NaN where there is
    none, contrast is NaN where no pixel around is left.
    """

    row: np.ndarray
    column: np.ndarray
    box: np.ndarray  # int64 [components, 4]: first row, first column, one past the last row, one past the last column
    area_px: np.ndarray
    longest_px: np.ndarray
    longest_mm: np.ndarray | None
    elongation: np.ndarray
    circularity: np.ndarray
    orientation_deg: np.ndarray
    mean_intensity: np.ndarray
    peak_intensity: np.ndarray
    local_contrast: np.ndarray
    max_code: np.ndarray
    mean_code: np.ndarray

    def __len__(self) -> int:
        return len(self.area_px)


@dataclasses.dataclass(frozen=True, eq=False)
class _Runs:
    """The runs of all components, by component, then row, then column; an array of [runs] each."""

    label: np.ndarray  # component, from 0
    row: np.ndarray
    first: np.ndarray  # column
    length: np.ndarray
    order: np.ndarray  # place of each in reading order
    count: int  # components

    @property
    def starts(self) -> np.ndarray:
        """Where each component's runs begin."""
        return np.searchsorted(self.label, np.arange(self.count))

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Sums over the runs of each component, float64 [components]; exact for integers below 2^53."""
        return np.bincount(self.label, values, self.count)


def measure_components(
    codes: np.ndarray, intensity: np.ndarray, threshold: float, spacing_mm: tuple[float, float] | None
) -> Components:
    """Measures the 8-connected components of the pixels at or above a threshold.

    Args:
        codes: uint16 [height, width], the probability map.
        intensity: float [height, width] in [0, 1].
        threshold: In (0, 1].
        spacing_mm: (row, column), or None when unknown: shapes are then those of square pixels.
    """
    foreground = codes >= threshold_code(threshold)
    runs = _find_runs(foreground)
    if runs.count == 0:
        return _nothing(spacing_mm is not None)
    scale = spacing_mm or (1.0, 1.0)
    area = runs.sum(runs.length)
    box = _boxes(runs)
    place, moments = _moments(runs, area, box)
    elongation, circularity, orientation = _shapes(area, moments, scale)
    mean_intensity, peak_intensity = _values(runs, intensity[foreground], area)
    mean_code, max_code = _values(runs, codes[foreground], area)
    spans = _corner_spans(runs, box)
    order = np.lexsort((area, place[:, 1], place[:, 0]))
    around = _surroundings(foreground, intensity, box[order], spacing_mm)
    return Components(
        row=place[order, 0],
        column=place[order, 1],
        box=box[order],
        area_px=area[order].astype(np.int64),
        longest_px=_longest(*spans, (1.0, 1.0))[order],
        longest_mm=None if spacing_mm is None else _longest(*spans, spacing_mm)[order],
        elongation=elongation[order],
        circularity=circularity[order],
        orientation_deg=orientation[order],
        mean_intensity=mean_intensity[order],
        peak_intensity=peak_intensity[order],
        local_contrast=mean_intensity[order] - around,
        max_code=max_code[order].astype(np.int64),
        mean_code=mean_code[order],
    )


def _nothing(with_spacing: bool) -> Components:
    none: dict[str, Any] = {field.name: np.zeros(0) for field in dataclasses.fields(Components)}
    none |= {"box": np.zeros((0, 4), np.int64), "longest_mm": np.zeros(0) if with_spacing else None}
    return Components(**none)


def _find_runs(foreground: np.ndarray) -> _Runs:
    labels, count = label_components(foreground)
    # One more column of background: no run goes on into the next row.
    width = foreground.shape[1] + 1
    edges = np.flatnonzero(np.diff(np.pad(foreground, ((0, 0), (0, 1))).ravel(), prepend=False))
    first, end = edges[::2], edges[1::2]
    row, column = np.divmod(first, width)
    label = labels[row, column].astype(np.int64) - 1
    order = np.argsort(label, kind="stable")
    return _Runs(label[order], row[order], column[order], (end - first)[order], order, count)


def _boxes(runs: _Runs) -> np.ndarray:
    """Returns int64 [components, 4]: first row, first column, one past the last row, one past the last column."""
    starts = runs.starts
    last = np.append(starts[1:], len(runs.row)) - 1
    left = np.minimum.reduceat(runs.first, starts)
    right = np.maximum.reduceat(runs.first + runs.length, starts)
    return np.stack([runs.row[starts], left, runs.row[last] + 1, right], axis=1)


def _moments(runs: _Runs, area: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns centroids and second moments, in px.

    Sums are taken from the box's corner, where they are exact integers for all but huge components, so that a mirrored
    component has the same figures.

    Returns:
        place: float64 [components, 2], (row, column); (0, 0) is the centre of the first pixel.
        moments: float64 [3, components], variances of row, of column, and their covariance, over the component as a
            surface: a pixel is a square, which adds its own 1/12.
    """
    row = runs.row - box[runs.label, 0]
    first = runs.first - box[runs.label, 1]
    n = runs.length
    along = n * first + n * (n - 1) // 2  # sum of the run's columns; below, of their squares
    squares = n * first**2 + first * n * (n - 1) + (n - 1) * n * (2 * n - 1) // 6
    mean_row, mean_column = runs.sum(n * row) / area, runs.sum(along) / area
    moments = [
        runs.sum(n * row**2) / area - mean_row**2 + 1 / 12,
        runs.sum(squares) / area - mean_column**2 + 1 / 12,
        runs.sum(row * along) / area - mean_row * mean_column,
    ]
    return np.stack([box[:, 0] + mean_row, box[:, 1] + mean_column], axis=1), np.stack(moments)


def _shapes(
    area: np.ndarray, moments: np.ndarray, scale: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns elongation, circularity and orientation; `Calcification` defines them."""
    height, width = scale
    rows, columns, both = moments[0] * height**2, moments[1] * width**2, moments[2] * height * width
    middle, half = (rows + columns) / 2, np.hypot((rows - columns) / 2, both)
    elongation = np.sqrt((middle + half) / (middle - half))
    circularity = area * height * width / (2 * np.pi * (rows + columns))
    # Rows grow downwards, angles are told as seen.
    orientation = np.rad2deg(np.arctan2(-2 * both, columns - rows) / 2) % 180.0
    orientation[orientation == 180.0] = 0.0  # of an angle below 0 by a rounding
    orientation[half <= _ISOTROPIC * middle] = np.nan
    return elongation, circularity, orientation


def _values(runs: _Runs, values: np.ndarray, area: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and maximum of each component, float64, of the values of the foreground in reading order."""
    in_reading_order = np.empty_like(runs.length)
    in_reading_order[runs.order] = runs.length
    begins = np.append(0, np.cumsum(in_reading_order)[:-1])
    sums = np.add.reduceat(values, begins, dtype=np.float64)[runs.order]
    peaks = np.maximum.reduceat(values, begins)[runs.order]
    return runs.sum(sums) / area, np.maximum.reduceat(peaks, runs.starts).astype(np.float64)


def _corner_spans(runs: _Runs, box: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns how far each component's pixel squares reach on each line between rows.

    Returns:
        start: int64 [components + 1]; component i has the lines start[i] to start[i + 1] - 1, from its upper edge to
            its lower one, one more than rows.
        left: int64 [lines], the leftmost corner on the line, in columns.
        right: int64 [lines], the rightmost.
    """
    start = np.append(0, np.cumsum(box[:, 2] - box[:, 0] + 1))
    left = np.full(start[-1], np.iinfo(np.int64).max)
    right = np.full(start[-1], -1)
    above = start[runs.label] + runs.row - box[runs.label, 0]
    for line in (above, above + 1):
        np.minimum.at(left, line, runs.first)
        np.maximum.at(right, line, runs.first + runs.length)
    return start, left, right


def _longest(start: np.ndarray, left: np.ndarray, right: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """Returns the largest distance between two corners of each component, float64 [components].

    All pairs of lines are looked at, the farthest apart first, as long as a pair could still be farther than the best:
    a compact component is done after a few.
    """
    height, width = scale
    lines = np.diff(start)
    widest = np.maximum.reduceat(right, start[:-1]) - np.minimum.reduceat(left, start[:-1])
    best = np.zeros(len(lines))  # squared
    active = np.arange(len(lines))
    for pairs in range(1, int(lines.max()) + 1):  # so many pairs of lines are lines - pairs lines apart
        apart = lines[active] - pairs
        possible = (apart >= 0) & ((apart * height) ** 2 + (widest[active] * width) ** 2 > best[active])
        active, apart = active[possible], apart[possible]
        if not len(active):
            break
        upper = start[active, None] + np.arange(pairs)
        lower = upper + apart[:, None]
        across = np.maximum(right[lower] - left[upper], right[upper] - left[lower]).max(axis=1)
        best[active] = np.maximum(best[active], (apart * height) ** 2 + (across * width) ** 2)
    return np.sqrt(best)


def _surroundings(
    foreground: np.ndarray, intensity: np.ndarray, box: np.ndarray, spacing_mm: tuple[float, float] | None
) -> np.ndarray:
    """Returns the mean intensity around each component, float64 [components]; NaN where nothing is left."""
    margin = [SURROUNDINGS_PX] * 2 if spacing_mm is None else [max(1, round(SURROUNDINGS_MM / s)) for s in spacing_mm]
    reach = box + np.array([-margin[0], -margin[1], margin[0], margin[1]])
    means = np.full(len(box), np.nan)
    for index, (top, left, bottom, right) in enumerate(np.maximum(reach, 0).tolist()):
        others = ~foreground[top:bottom, left:right]
        values = intensity[top:bottom, left:right][others]
        if len(values):
            means[index] = values.mean(dtype=np.float64)
    return means
