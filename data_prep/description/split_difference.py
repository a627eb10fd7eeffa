"""Tells where the splits differ much: an unlucky draw, or a split that somebody else made."""

import collections
import dataclasses
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np

from data_prep.description.figures import ImageFigures, size_histogram

__all__ = [
    "MAX_P_VALUE",
    "MIN_DISTANCE",
    "MIN_UNITS",
    "Difference",
    "difference_rule",
    "drawn_units",
    "split_differences",
]

MIN_DISTANCE = 0.2
MAX_P_VALUE = 0.01

# Fewer can be split in at most 35 ways: none is rare, and none gives a warning.
MIN_UNITS = 8

_DRAWS, _DRAWS_AT_ONCE = 2000, 100  # the second, which divides the first, bounds the memory
_INTENSITY_BINS = 50
_MOST_CATEGORIES = 20

# How often each category occurs in an image, in the order of the categories.
_Counts = Callable[[ImageFigures], Sequence[float]]


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far the splits are apart in one respect.

    Attributes:
        respect: What is compared, in words.
        distance: 0 (the same distribution) to 1 (nothing in common): the largest distance of the two cumulative
            distributions (Kolmogorov-Smirnov) where the values have an order, the total variation where they have none.
        p_value: Share of random splits of the same patients (or images, as the split was drawn) that are as far apart.
    """

    respect: str
    distance: float
    p_value: float

    @property
    def large(self) -> bool:
        """Whether it is worth a warning, by `difference_rule`."""
        return self.distance >= MIN_DISTANCE and self.p_value <= MAX_P_VALUE


def difference_rule() -> str:
    """Returns the rule in one sentence."""
    return (
        f"Rule: they differ much where their distributions are {MIN_DISTANCE:g} or more apart (Kolmogorov-Smirnov or "
        f"total variation distance) and at most {MAX_P_VALUE:.0%} of random splits are as far apart."
    )


def split_differences(images: Sequence[ImageFigures], by_patient: bool) -> tuple[Difference, ...]:
    """Compares the splits in every respect in which both have something.

    Whole patients are drawn anew, never single calcifications: those of one breast resemble each other, and a test that
    takes 3,000 of them for 3,000 witnesses finds every split "significantly" different.

    Args:
        images: Of both splits.
        by_patient: Draw patients (an image without one stands alone), or single images.
    """
    units = drawn_units(images, by_patient)
    side = {unit: image.split for unit, image in zip(units, images, strict=True)}
    row_of = {name: row for row, name in enumerate(sorted(side))}
    train = np.array([side[name] == "train" for name in sorted(side)], bool)
    found = []
    for respect, counts, ordered in _respects(images):
        table = np.zeros((len(row_of), len(counts(images[0]))))
        for unit, image in zip(units, images, strict=True):
            table[row_of[unit]] += counts(image)
        if table[train].any() and table[~train].any():
            found.append(Difference(respect, *_distance_and_p_value(table, train, ordered)))
    return tuple(found)


def drawn_units(images: Sequence[ImageFigures], by_patient: bool) -> list[str]:
    """Returns what each image was drawn with: its patient, or itself alone.

    Itself also where its patient is unknown; and for all images where some patient is in both splits, for then no
    patients were drawn.
    """
    alone = [f"image {image.image_id}" for image in images]
    if not by_patient:
        return alone
    units = [image.patient_id or own for image, own in zip(images, alone, strict=True)]
    sides = {(unit, image.split) for unit, image in zip(units, images, strict=True)}
    return units if len(sides) == len(set(units)) else alone


def _respects(images: Sequence[ImageFigures]) -> list[tuple[str, _Counts, bool]]:
    """Returns (name, counts of an image, whether the categories have an order)."""
    return [
        ("calcification sizes in pixels", lambda image: size_histogram(image.areas_px).tolist(), True),
        ("calcifications per image", _number, True),
        ("mean intensity of the breast", _intensity, True),
        ("views", _category(images, lambda image: image.view), False),
        ("image sizes", _category(images, lambda image: image.size), False),
        ("bits stored", _category(images, lambda image: image.bits_stored), False),
        ("pixel spacing", _category(images, lambda image: (image.spacing, image.pixel_spacing_source)), False),
    ]


def _number(image: ImageFigures) -> Sequence[float]:
    """None, 1, 2 to 3, 4 to 7, and so on by powers of 2."""
    return _one_of(range(32), len(image.areas_px).bit_length())


def _intensity(image: ImageFigures) -> Sequence[float]:
    if image.tissue_intensity is None:
        return [0.0] * _INTENSITY_BINS
    return _one_of(range(_INTENSITY_BINS), min(int(image.tissue_intensity * _INTENSITY_BINS), _INTENSITY_BINS - 1))


def _category(images: Iterable[ImageFigures], trait: Callable[[ImageFigures], Hashable]) -> _Counts:
    """The commonest values each, all others as one: of digitised film, hardly two images have one size."""
    common = [value for value, _ in collections.Counter(map(trait, images)).most_common(_MOST_CATEGORIES)]
    return lambda image: [*(own := _one_of(common, trait(image))), 1.0 - sum(own)]


def _one_of(values: Iterable[Hashable], value: Hashable) -> list[float]:
    return [float(each == value) for each in values]


def _distance_and_p_value(table: np.ndarray, train: np.ndarray, ordered: bool) -> tuple[float, float]:
    """Compares the sums of the rows of `table`, float [units, categories], on either side of `train`, bool [units].

    The p-value counts the split itself as one of the draws (Phipson and Smyth 2010), and so is never 0.
    """
    rng = np.random.default_rng(0)
    distance = float(_distances(table, train[None], ordered)[0])
    as_far = 0
    for _ in range(_DRAWS // _DRAWS_AT_ONCE):
        drawn = rng.permuted(np.tile(train, (_DRAWS_AT_ONCE, 1)), axis=1)
        as_far += int((_distances(table, drawn, ordered) >= distance - 1e-12).sum())
    return distance, (1 + as_far) / (1 + _DRAWS)


def _distances(table: np.ndarray, train: np.ndarray, ordered: bool) -> np.ndarray:
    """Returns float [draws] for `train`, bool [draws, units]; 0 where a side has nothing to compare."""
    one = train.astype(np.float64) @ table
    other = table.sum(axis=0) - one
    totals = one.sum(axis=1, keepdims=True), other.sum(axis=1, keepdims=True)
    difference = one / np.maximum(totals[0], 1.0) - other / np.maximum(totals[1], 1.0)
    apart = np.abs(np.cumsum(difference, axis=1)).max(axis=1) if ordered else np.abs(difference).sum(axis=1) / 2
    return np.where((totals[0] > 0) & (totals[1] > 0), apart[:, None], 0.0)[:, 0]
