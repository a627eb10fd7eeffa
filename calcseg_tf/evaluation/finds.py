"""Chooses what a person should look at first: the worst misses, the strongest false alarms, the images in dispute."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from calcseg_tf.evaluation.objects import FALSE_ALARM, Calcifications, Candidates
from calcseg_tf.probability_map import from_code

__all__ = ["Find", "disputed_images", "strongest_false_alarms", "worst_misses"]


@dataclasses.dataclass(frozen=True)
class Find:
    """One calcification or one predicted component.

    Attributes:
        image_id: Of its mammogram.
        row: Of its centroid, in px.
        column: Likewise.
        area_px: Its pixels.
        probability: The highest of its pixels.
    """

    image_id: str
    row: float
    column: float
    area_px: int
    probability: float


def worst_misses(images: Mapping[str, Calcifications], code: int, most: int) -> tuple[Find, ...]:
    """Chooses the annotated calcifications with the lowest probability, below the threshold.

    Args:
        images: By image id.
        code: The operating threshold; what reaches it is found.
        most: At most so many. Of equals, the larger comes first, then in the order of id and place.
    """
    return _ranked(
        [
            (image_id, each.row, each.column, each.area_px, each.detection_code, each.detection_code < code)
            for image_id, each in images.items()
        ],
        most,
        rising=True,
    )


def strongest_false_alarms(images: Mapping[str, Candidates], most: int) -> tuple[Find, ...]:
    """Chooses the false alarms with the highest probability; of equals as `worst_misses` does."""
    return _ranked(
        [
            (image_id, each.row, each.column, each.area_px, each.code, each.kind == FALSE_ALARM)
            for image_id, each in images.items()
        ],
        most,
        rising=False,
    )


def disputed_images(errors: Sequence[Mapping[str, int]], most: int) -> tuple[str, ...]:
    """Chooses the images on which models differ most in the number of errors; with one model, those with most errors.

    Args:
        errors: For each model, by image id: missed calcifications and false alarms at its operating threshold.
        most: At most so many. Of equals, the one with more errors in all comes first, then by id; images without any
            error are left out.
    """
    by_image = {image_id: [each[image_id] for each in errors] for image_id in errors[0]}

    def rank(image_id: str) -> tuple[int, int, str]:
        counts = by_image[image_id]
        spread = max(counts) - min(counts) if len(counts) > 1 else counts[0]
        return -spread, -sum(counts), image_id

    return tuple(sorted((image_id for image_id, counts in by_image.items() if any(counts)), key=rank)[:most])


_Part = tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _ranked(parts: Sequence[_Part], most: int, rising: bool) -> tuple[Find, ...]:
    """Ranks what is wanted of all images: columns are id, row, column, area, code, and whether it is wanted."""
    parts = sorted(parts, key=lambda part: part[0])
    if not parts:
        return ()
    image = np.repeat(np.arange(len(parts)), [len(part[1]) for part in parts])
    row, column, area, code, wanted = (np.concatenate([part[index] for part in parts]) for index in range(1, 6))
    chosen = np.flatnonzero(wanted)
    by_code = code[chosen] if rising else -code[chosen]
    order = np.lexsort((column[chosen], row[chosen], image[chosen], -area[chosen], by_code))
    return tuple(
        Find(parts[image[index]][0], float(row[index]), float(column[index]), int(area[index]), from_code(code[index]))
        for index in chosen[order[:most]]
    )
