"""The figures of a data set: the paper's Table 1, the sizes of Fig. 3, and what else one should know of it."""

import collections
import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from data_prep.manifest import Manifest

__all__ = [
    "SIZE_BIN_PX",
    "TOGETHER",
    "TRUNCATED_PX",
    "Description",
    "Figures",
    "ImageFigures",
    "Intensities",
    "Spread",
    "size_histogram",
    "size_labels",
]

TOGETHER = "together"

# Fig. 3: "Truncated histogram of calcification size (rightmost bin is for size >= 100)". The paper does not state the
# width of its other bins.
TRUNCATED_PX = 100
SIZE_BIN_PX = 5


@dataclasses.dataclass(frozen=True)
class ImageFigures:
    """One mammogram in numbers.

    Attributes:
        split: "train" or "test".
        image_id: As in the record.
        patient_id: Likewise; "" where the patient is unknown.
        laterality: "L", "R" or "".
        view: A defined term of View Position (0018,5101), or "".
        height: Rows.
        width: Columns.
        bits_stored: 8 to 16.
        pixel_spacing_mm: (row, column), or None when unknown.
        pixel_spacing_source: What gave it, or "unknown".
        areas_px: Pixels of each calcification, in the order in which a scan by rows meets them.
        ignored_px: Pixels that enter no loss and no score.
        tissue_px: Pixels of the breast (`data_prep.breast`); 0 where none is found.
        tissue_intensity: Their mean intensity in [0, 1]; None where there are none.
    """

    split: str
    image_id: str
    patient_id: str
    laterality: str
    view: str
    height: int
    width: int
    bits_stored: int
    pixel_spacing_mm: tuple[float, float] | None
    pixel_spacing_source: str
    areas_px: tuple[int, ...]
    ignored_px: int
    tissue_px: int
    tissue_intensity: float | None

    @property
    def pixels(self) -> int:
        """Height times width."""
        return self.height * self.width

    @property
    def size(self) -> str:
        """Rows x columns, as in the paper's Table 1."""
        return f"{self.height}x{self.width}"

    @property
    def spacing(self) -> str:
        """The spacing in mm, such as "0.07", or "0.05 x 0.06" (row x column), or "unknown"."""
        if self.pixel_spacing_mm is None:
            return "unknown"
        row, column = (f"{length:.4g}" for length in self.pixel_spacing_mm)
        return row if row == column else f"{row} x {column}"

    @property
    def areas_mm2(self) -> tuple[float, ...]:
        """Areas of the calcifications; empty where the spacing is unknown."""
        if self.pixel_spacing_mm is None:
            return ()
        return tuple(area * math.prod(self.pixel_spacing_mm) for area in self.areas_px)


@dataclasses.dataclass(frozen=True, eq=False)
class Intensities:
    """Every pixel's intensity, exactly: how many pixels hold each stored value, for each depth.

    Attributes:
        counts: Bits stored -> int64 [2^bits stored]; only depths that occur.
    """

    counts: Mapping[int, np.ndarray]

    @functools.cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the intensities that occur, rising, and how many pixels have each; depths are not joined."""
        parts = [(np.flatnonzero(count) / ((1 << bits) - 1), count[count > 0]) for bits, count in self.counts.items()]
        values = np.concatenate([np.empty(0), *(value for value, _ in parts)])
        pixels = np.concatenate([np.empty(0, np.int64), *(count for _, count in parts)])
        order = np.argsort(values, kind="stable")
        return values[order], pixels[order]

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return int(self._sorted[1].sum())

    @property
    def mean(self) -> float | None:
        """Mean intensity in [0, 1]; None without pixels."""
        values, pixels = self._sorted
        return float((values * pixels).sum() / pixels.sum()) if len(values) else None

    def percentile(self, percent: float) -> float | None:
        """Returns the least intensity that `percent` of the pixels do not exceed; 0 gives the minimum, 100 the maximum.

        None without pixels.
        """
        values, pixels = self._sorted
        if not len(values):
            return None
        below = np.cumsum(pixels)
        return float(values[np.searchsorted(below, max(percent / 100.0 * below[-1], 1))])

    def histogram(self, bins: int) -> np.ndarray:
        """Returns int64 [bins]: pixels in equal parts of [0, 1]; 1 itself is in the last."""
        values, pixels = self._sorted
        index = np.minimum((values * bins).astype(np.int64), bins - 1)
        return np.bincount(index, weights=pixels, minlength=bins).astype(np.int64)


@dataclasses.dataclass(frozen=True)
class Spread:
    """How values are spread; quartiles are interpolated linearly, the deviation is the sample's (n - 1)."""

    count: int
    mean: float
    standard_deviation: float | None
    minimum: float
    lower_quartile: float
    median: float
    upper_quartile: float
    maximum: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread | None":
        """Returns the spread of values; None where there are none."""
        array = np.array(list(values), np.float64)
        if not len(array):
            return None
        deviation = float(array.std(ddof=1)) if len(array) > 1 else None
        return cls(len(array), float(array.mean()), deviation, *np.quantile(array, (0, 0.25, 0.5, 0.75, 1)).tolist())


@dataclasses.dataclass(frozen=True, eq=False)
class Figures:
    """What is said of one split, or of both together.

    Attributes:
        name: "train", "test" or "together".
        images: Its mammograms in the order of the records.
        all_pixels: Intensities of every pixel.
        tissue: Intensities of the breast's pixels.
    """

    name: str
    images: tuple[ImageFigures, ...]
    all_pixels: Intensities
    tissue: Intensities

    @property
    def patients(self) -> int:
        """Distinct known patients."""
        return len({image.patient_id for image in self.images} - {""})

    @property
    def without_patient(self) -> int:
        """Images whose patient is unknown."""
        return sum(not image.patient_id for image in self.images)

    def views(self, *names: str) -> int:
        """Returns the number of images of these views."""
        return sum(image.view in names for image in self.images)

    @property
    def other_views(self) -> int:
        """Images that are neither CC nor MLO, or whose view is unknown."""
        return len(self.images) - self.views("CC", "MLO")

    def tally(self, trait: Callable[[ImageFigures], str]) -> dict[str, int]:
        """Counts the images by a trait, the commonest first, then by name."""
        counts = collections.Counter(map(trait, self.images))
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    @property
    def areas_px(self) -> list[int]:
        """Pixels of every calcification."""
        return [area for image in self.images for area in image.areas_px]

    @property
    def areas_mm2(self) -> dict[str, list[float]]:
        """Source of the spacing -> areas of the calcifications whose image has it."""
        areas: dict[str, list[float]] = {}
        for image in self.images:
            if image.areas_mm2:
                areas.setdefault(image.pixel_spacing_source, []).extend(image.areas_mm2)
        return areas

    @property
    def pixels(self) -> int:
        """Pixels of all images."""
        return sum(image.pixels for image in self.images)

    @property
    def ignored_px(self) -> int:
        """Ignored pixels of all images."""
        return sum(image.ignored_px for image in self.images)

    @property
    def images_with_ignored(self) -> int:
        """Images with any ignored pixel."""
        return sum(image.ignored_px > 0 for image in self.images)

    @property
    def images_with_calcifications(self) -> int:
        """Images with any calcification."""
        return sum(bool(image.areas_px) for image in self.images)

    @property
    def negatives_per_positive(self) -> float | None:
        """Background pixels to one of a calcification (the paper: about 1,000); None without calcifications."""
        positive = sum(self.areas_px)
        return (self.pixels - self.ignored_px - positive) / positive if positive else None


@dataclasses.dataclass(frozen=True, eq=False)
class Description:
    """A described folder of records.

    Attributes:
        manifest: Its manifest.
        splits: "train" and "test".
    """

    manifest: Manifest
    splits: tuple[Figures, ...]

    @functools.cached_property
    def together(self) -> Figures:
        """Both splits as one."""
        return Figures(
            TOGETHER,
            tuple(image for figures in self.splits for image in figures.images),
            _joined(figures.all_pixels for figures in self.splits),
            _joined(figures.tissue for figures in self.splits),
        )

    @property
    def columns(self) -> tuple[Figures, ...]:
        """The splits, then both together."""
        return (*self.splits, self.together)


def size_histogram(areas_px: Iterable[int]) -> np.ndarray:
    """Returns int64 [bins]: calcifications of 1 to 4 px, 5 to 9, ..., 95 to 99, and of 100 px or more."""
    bins = [min(area, TRUNCATED_PX) // SIZE_BIN_PX for area in areas_px]
    return np.bincount(np.array(bins, np.int64), minlength=TRUNCATED_PX // SIZE_BIN_PX + 1)


def size_labels() -> list[str]:
    """Returns the names of the bins of `size_histogram`."""
    starts = range(0, TRUNCATED_PX, SIZE_BIN_PX)
    return [*(f"{max(start, 1)} to {start + SIZE_BIN_PX - 1}" for start in starts), f">= {TRUNCATED_PX}"]


def _joined(parts: Iterable[Intensities]) -> Intensities:
    total: dict[int, np.ndarray] = {}
    for part in parts:
        for bits, counts in part.counts.items():
            total[bits] = total[bits] + counts if bits in total else counts
    return Intensities(total)
