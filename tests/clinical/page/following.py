"""Two exams of one region, drawn, with a known motion between them."""

import numpy as np

from calcseg_tf.clinical import Region
from calcseg_tf.clinical.follow_up import FollowUp, compare_exams
from calcseg_tf.clinical.follow_up_exams import measure_exam
from data_prep.mammogram import Mammogram, SpacingSource

PLACES = ((40, 30), (44, 90), (62, 50), (80, 104), (104, 32), (116, 70), (88, 62), (130, 110))
OUTSIDE = (12, 140)  # of both regions
SPACING = (0.1, 0.1)


def exam(places, sides=None, spacing=SPACING, shape=(160, 150), region=(20, 10, 150, 130), weak=()):
    """Returns an exam of squares of 3 px, or of the side told, about these places; the weak ones have p = 0.6."""
    probability = np.zeros(shape, np.float32)
    for number, (row, column) in enumerate([*places, OUTSIDE]):
        half = (sides or {}).get(number, 3) // 2
        value = 0.6 if number in weak else 0.97
        probability[row - half : row + half + 1, column - half : column + half + 1] = value
    pixels = (900 + 2500 * probability + 40 * np.indices(shape)[1] % 7).astype(np.uint16)
    source = SpacingSource.PIXEL_SPACING if spacing else SpacingSource.UNKNOWN
    mammogram = Mammogram(pixels, 12, pixel_spacing_mm=spacing, spacing_source=source)
    return measure_exam(mammogram, probability, 0.5, Region.rectangle(*region))


def followed(spacing=SPACING) -> FollowUp:
    """Returns a follow-up by 5 rows and 7 columns: 5 persisted, 1 grown, 1 new, 2 vanished; above p = 0.6 one
    of the prior ones less, above 0.97 none."""
    moved = [(row + 5, column + 7) for row, column in PLACES]
    # The second and the last have vanished, the fourth has grown, the last of these is new.
    current = exam([moved[0], *moved[2:7], (135, 95)], {2: 7}, spacing)
    return compare_exams(exam(PLACES, None, spacing, weak=(2,)), current)


def unaligned() -> FollowUp:
    """Returns one without an alignment: the current exam has too few."""
    return compare_exams(exam(PLACES), exam(PLACES[:2]))
