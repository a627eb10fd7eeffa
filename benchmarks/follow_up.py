"""Measures how well the follow-up finds known motions.

python -m benchmarks.follow_up --pairs=300

Sets of calcifications are drawn in a disc of 8 to 20 mm across, of more than 40 wider with the root of their number,
none closer than 0.5 mm, with areas from 0.01 to 0.8 mm2. The current exam is the prior one rotated by up to 20 degrees,
scaled by 0.9 to 1.1 and shifted by up to 30 mm, every centroid displaced by a normal error; a share has vanished and as
many are new; areas change by a factor of 0.8 to 1.25. A match is right where it joins a calcification to itself.
Unrelated pairs, of which none corresponds, tell how often an alignment is made up.
"""

import argparse
import dataclasses
import math
import time

import numpy as np

from calcseg_tf.clinical.alignment import Alignment, Motion, align
from calcseg_tf.clinical.matching import GATE_MM

_LEAST_APART_MM = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """Two exams of one region, and who is who.

    Attributes:
        prior: float [prior, 2], places (row, column) in mm.
        current: float [current, 2].
        prior_area: In mm2.
        current_area: In mm2.
        same: int64 [persisted, 2], indices (prior, current), by prior.
        rotation_deg: Against the clock as displayed.
        scale: Ratio of lengths.
    """

    prior: np.ndarray
    current: np.ndarray
    prior_area: np.ndarray
    current_area: np.ndarray
    same: np.ndarray
    rotation_deg: float
    scale: float


def main() -> None:
    """Measures and prints a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=300, help="pairs a row")
    options = parser.parse_args()
    print("| calcifications | jitter, mm | new, vanished | motion | aligned | persisted found | matches right | "
          "rotation off by, degrees (95 %) | seconds |\n|" + "---|" * 9)  # fmt: skip
    for count in ((6, 9), (10, 19), (20, 60), (100, 150)):
        for jitter_mm in (0.1, 0.2, 0.3):
            _row(options.pairs, count, jitter_mm, 0.2, Motion.SIMILARITY)
    _row(options.pairs, (10, 60), 0.2, 0.4, Motion.SIMILARITY)
    _row(options.pairs, (10, 60), 0.2, 0.2, Motion.AFFINE)
    for count in ((4, 5), (6, 9), (10, 19), (20, 60)):
        _row(options.pairs, count, 0.1, 1.0, Motion.SIMILARITY)


def draw_pair(random: np.random.Generator, count: tuple[int, int], jitter_mm: float, changed: float) -> Pair:
    """Draws a pair.

    Args:
        random: Draws.
        count: Fewest and most calcifications of the prior exam.
        jitter_mm: Standard deviation of each coordinate's error.
        changed: Share that has vanished; as many are new.
    """
    size = int(random.integers(count[0], count[1] + 1))
    gone = round(changed * size)
    radius = float(random.uniform(4.0, 10.0)) * max(1.0, math.sqrt(size / 40))
    places = _scattered(random, size + gone, radius)
    rotation, scale = float(random.uniform(-20, 20)), float(random.uniform(0.9, 1.1))
    cosine, sine = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    matrix = scale * np.array([[cosine, -sine], [sine, cosine]])
    moved = (places @ matrix.T) + random.uniform(-30, 30, 2) + random.normal(0, jitter_mm, places.shape)
    area = np.exp(random.uniform(math.log(0.01), math.log(0.8), size + gone))
    current_area = area * np.exp(random.uniform(-1, 1, size + gone) * math.log(1.25))
    order = random.permutation(np.arange(gone, size + gone))  # the first have vanished, the last are new
    kept = np.flatnonzero(order < size)
    same = np.stack([order[kept], kept], axis=1)
    same = same[np.argsort(same[:, 0])]
    return Pair(places[:size], moved[order], area[:size], current_area[order], same, rotation, scale)


def count_right(found: Alignment, pair: Pair) -> int:
    """Counts the matches that join a calcification to itself."""
    return len({tuple(each) for each in found.pairs.tolist()} & {tuple(each) for each in pair.same.tolist()})


def _scattered(random: np.random.Generator, count: int, radius: float) -> np.ndarray:
    """Returns places in a disc, none closer than `_LEAST_APART_MM`, float [count, 2]."""
    places = np.zeros((0, 2))
    while len(places) < count:
        place = random.uniform(-radius, radius, 2)
        if np.hypot(*place) <= radius and (np.hypot(*(places - place).T) >= _LEAST_APART_MM).all():
            places = np.vstack([places, place])
    return places


def _row(pairs: int, count: tuple[int, int], jitter_mm: float, changed: float, motion: Motion) -> None:
    random = np.random.default_rng(7)
    aligned, persisted, matched, right, rotations = 0, 0, 0, 0, []
    start = time.process_time()
    for _ in range(pairs):
        pair = draw_pair(random, count, jitter_mm, changed)
        found = align(pair.prior, pair.current, pair.prior_area, pair.current_area, GATE_MM, motion)
        persisted += len(pair.same)
        if found.transform is not None:
            aligned += 1
            matched += len(found.pairs)
            right += count_right(found, pair)
            rotations.append(abs(found.transform.rotation_deg - pair.rotation_deg))
    seconds = (time.process_time() - start) / pairs
    off = f"{np.quantile(rotations, 0.95):.1f}" if rotations and persisted else "-"
    figures = (
        f"{count[0]} to {count[1]}", f"{jitter_mm:g}", "unrelated" if changed == 1 else f"{changed:.0%} each", motion,
        f"{aligned / pairs:.1%}", f"{right / persisted:.1%}" if persisted else "-",
        f"{right / matched:.1%}" if matched and persisted else "-", off, f"{seconds:.2f}",
    )  # fmt: skip
    print("| " + " | ".join(map(str, figures)) + " |", flush=True)


if __name__ == "__main__":
    main()
