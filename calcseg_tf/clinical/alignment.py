"""Aligns the calcifications of two exams by their places and sizes, though some are new and some have vanished.

Every pair of prior calcifications that lies as far apart as a pair of current ones, within the scale allowed, proposes
a motion; the motions that bring most calcifications together are refined in turns with a one-to-one matching, and the
best one counts. It must explain more than the same search finds where nothing can fit: on the prior exam mirrored and
turned by quarters. Nothing is left to chance but which pairs propose where there are too many, and that is seeded.
"""

import dataclasses
import enum
import math

import numpy as np

from calcseg_tf.clinical.matching import (
    MOST_MATCHED,
    gate_for_density,
    gate_for_residuals,
    match,
    pair_gains,
    size_costs,
)

__all__ = [
    "LEAST_FOR_AFFINE",
    "LEAST_TO_ALIGN",
    "MARGIN",
    "MOST_ROTATION_DEG",
    "MOST_SCALE",
    "Alignment",
    "Motion",
    "Transform",
    "align",
]

MOST_ROTATION_DEG = 30.0  # the same view of the same breast
MOST_SCALE = 1.2  # and 1 / 1.2: compression and geometric magnification
LEAST_TO_ALIGN = 4  # in either exam; two fix a motion, so that fewer agree by chance
LEAST_FOR_AFFINE = 8  # matched: an affine motion has six unknowns

# How much more a motion must explain than the best of seven that cannot be.
MARGIN = 1.1

_SEED = 1
_MOST_SEARCHED = 150  # the largest of each exam propose and judge motions; all are matched
_MOST_PLACED = 300_000  # places looked up in one search
_REFINED = 12  # of the best proposals
_TURNS = 30  # of refining; most need five


class Motion(enum.StrEnum):
    """What may happen to a region from one exam to the next."""

    RIGID = "rigid"  # rotation and shift
    SIMILARITY = "similarity"  # these, and one scale
    AFFINE = "affine"  # any linear motion, found from the best similarity


@dataclasses.dataclass(frozen=True)
class Transform:
    """A motion from the prior exam's frame into the current one's: matrix @ (row, column) + offset.

    Attributes:
        motion: What was fitted.
        matrix: [2][2], (row, column) order.
        offset: (row, column), in the unit of the places.
    """

    motion: Motion
    matrix: tuple[tuple[float, float], tuple[float, float]]
    offset: tuple[float, float]

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Moves points, float [points, 2]."""
        return np.asarray(points @ np.array(self.matrix).T + self.offset)

    def invert(self, points: np.ndarray) -> np.ndarray:
        """Moves points, float [points, 2], from the current exam's frame into the prior one's."""
        return np.asarray((points - np.array(self.offset)) @ np.linalg.inv(self.matrix).T)

    @property
    def scale(self) -> float:
        """Ratio of lengths; the geometric mean over directions of an affine motion."""
        return math.sqrt(abs(float(np.linalg.det(self.matrix))))

    @property
    def rotation_deg(self) -> float:
        """Against the clock as displayed; of the nearest rotation for an affine motion."""
        (a, b), (c, d) = self.matrix
        return math.degrees(math.atan2(c - b, a + d))


@dataclasses.dataclass(frozen=True, eq=False)
class Alignment:
    """How two exams were brought together, or why not.

    Attributes:
        transform: From prior to current; None where they could not be aligned.
        pairs: int64 [pairs, 2], indices of matched calcifications (prior, current), by prior.
        gate: How far apart a matched pair may lie; as narrow as the density and the residuals allow.
        reason: Why there is no transform, or why it is no affine one; "" otherwise.
    """

    transform: Transform | None
    pairs: np.ndarray
    gate: float
    reason: str


@dataclasses.dataclass(frozen=True, eq=False)
class _Found:
    """A motion z -> slope * z + offset of places as complex numbers, and the pairs it brings together."""

    slope: complex
    offset: complex
    pairs: np.ndarray
    score: float  # sum of gains


def align(
    prior: np.ndarray,
    current: np.ndarray,
    prior_area: np.ndarray,
    current_area: np.ndarray,
    gate: float,
    motion: Motion = Motion.SIMILARITY,
) -> Alignment:
    """Finds the motion from one exam to the next and matches the calcifications.

    Args:
        prior: float [prior, 2], places (row, column) in mm, or in px.
        current: float [current, 2], in the same unit.
        prior_area: Positive, [prior], in any unit.
        current_area: [current], in the same unit.
        gate: How far apart a matched pair may lie after alignment, at most.
        motion: What to look for.
    """
    fewer, more = sorted((len(prior), len(current)))
    if fewer < LEAST_TO_ALIGN:
        reason = f"alignment needs {LEAST_TO_ALIGN} calcifications in either exam; found {fewer} in one of them"
        return _none(gate, reason)
    if more > MOST_MATCHED:
        return _none(gate, f"alignment takes at most {MOST_MATCHED} calcifications an exam; found {more}")
    size_cost = size_costs(prior_area, current_area)
    most, gate = gate, gate_for_density(prior, current, gate)
    exams = _Exams(_complex(prior), _complex(current), size_cost, gate, motion is Motion.RIGID)
    largest = np.argsort(-prior_area, kind="stable")[:_MOST_SEARCHED], np.argsort(-current_area, kind="stable")
    search = exams.only(largest[0], largest[1][:_MOST_SEARCHED])
    best = search.best()
    chance = max(search.moved(quarter, mirror).best().score for mirror, quarter in _IMPOSSIBLE)
    if best.score <= MARGIN * chance:
        return _none(gate, "no motion explains clearly more than chance does: the regions hold too few calcifications, "
                     "too many that changed, or do not correspond")  # fmt: skip
    found, gate = exams.tightened(exams.refine(best.slope, best.offset), most)
    transform = _transform(found, motion)
    if motion is not Motion.AFFINE:
        return Alignment(transform, found.pairs, gate, "")
    return _affine(prior, current, size_cost, gate, transform, found.pairs)


_IMPOSSIBLE = [(mirror, quarter) for mirror in (False, True) for quarter in (1, 1j, -1, -1j)][1:]


@dataclasses.dataclass(frozen=True, eq=False)
class _Exams:
    """Both exams' places as complex numbers, column - i row: angles are those of the display.

    Attributes:
        prior: complex128 [prior calcifications], in mm, or px where a spacing is unknown.
        current: complex128 [current calcifications], likewise.
        size_cost: float64 [prior, current], what a pair's unequal areas cost.
        gate: Pairs farther apart than this are none; in the unit of the places.
        rigid: Whether the scale is 1.
    """

    prior: np.ndarray
    current: np.ndarray
    size_cost: np.ndarray
    gate: float
    rigid: bool

    def only(self, prior: np.ndarray, current: np.ndarray) -> "_Exams":
        """Returns a part of the calcifications: indices, int64 [n], into the prior and into the current ones."""
        return dataclasses.replace(
            self,
            prior=self.prior[prior],
            current=self.current[current],
            size_cost=self.size_cost[np.ix_(prior, current)],
        )

    def moved(self, quarter: complex, mirror: bool) -> "_Exams":
        """Returns them with the prior exam turned and mirrored."""
        return dataclasses.replace(self, prior=quarter * (self.prior.conj() if mirror else self.prior))

    def best(self) -> _Found:
        """Returns the motion that explains most."""
        slopes, offsets = self._proposals()
        if not len(slopes):
            return _Found(1.0, 0.0, np.zeros((0, 2), np.int64), 0.0)
        first = np.argsort(-self._scores(slopes, offsets), kind="stable")[:_REFINED]
        refined = [self.refine(slopes[each], offsets[each]) for each in first]
        return max(refined, key=lambda found: found.score)

    def refine(self, slope: complex, offset: complex) -> _Found:
        """Matches and fits in turns, within a gate that is narrowed, until nothing changes or gets better."""
        best = self._matched(slope, offset, self.gate)
        for gate in (2.0 * self.gate, self.gate):
            found = self._matched(slope, offset, gate)
            for _ in range(_TURNS):
                if (fitted := self._fit(found.pairs)) is None:
                    break
                following = self._matched(*fitted, gate)
                done = np.array_equal(following.pairs, found.pairs)
                found, (slope, offset) = following, fitted
                if done:
                    break
        found = self._matched(slope, offset, self.gate)
        return max(best, found, key=lambda each: each.score)

    def tightened(self, found: _Found, most: float) -> tuple[_Found, float]:
        """Matches and fits in turns within a gate that the matched pairs' own distances narrow; returns that gate."""
        gate = self.gate
        for _ in range(_TURNS):
            moved = found.slope * self.prior[found.pairs[:, 0]] + found.offset
            gate = gate_for_residuals(np.abs(moved - self.current[found.pairs[:, 1]]), self.gate, most)
            following = self._matched(found.slope, found.offset, gate)
            if (fitted := self._fit(following.pairs)) is None:
                break
            done = np.array_equal(following.pairs, found.pairs)
            found = dataclasses.replace(following, slope=fitted[0], offset=fitted[1])
            if done:
                break
        return found, gate

    def _proposals(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns slope and offset of each motion that a pair of either exam proposes, complex [proposals]."""
        firsts, seconds = np.triu_indices(len(self.prior), 1)
        base = self.prior[seconds] - self.prior[firsts]
        # A long pair tells the angle best; any half of all pairs holds pairs that persist.
        long = np.flatnonzero((np.abs(base) >= np.median(np.abs(base))) & (np.abs(base) > 0))
        random = np.random.default_rng(_SEED)
        others = self.current[None, :] - self.current[:, None]  # [from, to]
        slopes: list[np.ndarray] = []
        offsets: list[np.ndarray] = []
        left = _MOST_PLACED // len(self.prior)
        for pair in random.permutation(long):
            slope = others / base[pair]
            length = np.abs(slope)
            angle = np.abs(np.angle(slope, deg=True))
            fits = (length <= MOST_SCALE) & (length >= 1 / MOST_SCALE) & (angle <= MOST_ROTATION_DEG)
            fits &= (self.size_cost[firsts[pair]] < 1)[:, None] & (self.size_cost[seconds[pair]] < 1)[None, :]
            start = np.nonzero(fits)[0]
            slope = slope[fits] / (length[fits] if self.rigid else 1.0)
            slopes.append(slope)
            # Through the middle of the pair, so that an error of its length is shared.
            middle = (self.current[start] + self.current[np.nonzero(fits)[1]]) / 2
            offsets.append(middle - slope * (self.prior[firsts[pair]] + self.prior[seconds[pair]]) / 2)
            left -= len(slope)
            if left <= 0:
                break
        return (np.concatenate(slopes), np.concatenate(offsets)) if slopes else (np.zeros(0), np.zeros(0))

    def _scores(self, slopes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Returns roughly how much each motion explains: the sum over prior calcifications of the nearest's gain."""
        from scipy.spatial import cKDTree

        tree = cKDTree(np.stack([self.current.real, self.current.imag], axis=1))
        gate = 1.5 * self.gate
        places = slopes[:, None] * self.prior[None] + offsets[:, None]
        near, index = tree.query(np.stack([places.real, places.imag], axis=2), distance_upper_bound=gate)
        costs = np.pad(self.size_cost, ((0, 0), (0, 1)), constant_values=np.inf)  # the last: none within the gate
        costs = costs[np.arange(len(self.prior))[None], index]
        squared = np.square(near, out=np.full(near.shape, np.inf), where=np.isfinite(near))
        return np.asarray(np.maximum(0.0, 1.0 - squared / gate**2 - costs).sum(axis=1))

    def _matched(self, slope: complex, offset: complex, gate: float) -> _Found:
        gains = pair_gains(_places(slope * self.prior + offset), _places(self.current), self.size_cost, gate)
        pairs = match(gains)
        return _Found(slope, offset, pairs, float(gains[pairs[:, 0], pairs[:, 1]].sum()))

    def _fit(self, pairs: np.ndarray) -> tuple[complex, complex] | None:
        """Returns slope and offset of least squares within the limits; None for fewer than two places."""
        prior, current = self.prior[pairs[:, 0]], self.current[pairs[:, 1]]
        if len(pairs) < 2:
            return None
        start, end = prior.mean(), current.mean()
        spread = float((np.abs(prior - start) ** 2).sum())
        slope = complex(((prior - start).conj() * (current - end)).sum())
        if spread == 0 or slope == 0:
            return None
        angle = math.radians(MOST_ROTATION_DEG)
        direction = min(angle, max(-angle, math.atan2(slope.imag, slope.real)))
        scale = 1.0 if self.rigid else min(MOST_SCALE, max(1 / MOST_SCALE, abs(slope) / spread))
        slope = scale * complex(math.cos(direction), math.sin(direction))
        return slope, complex(end - slope * start)


def _affine(
    prior: np.ndarray,
    current: np.ndarray,
    size_cost: np.ndarray,
    gate: float,
    start: Transform,
    pairs: np.ndarray,
) -> Alignment:
    """Refines a similarity into an affine motion, in turns with the matching."""
    found, matched = start, pairs
    for _ in range(_TURNS):
        fitted = _fit_affine(prior[matched[:, 0]], current[matched[:, 1]])
        if fitted is None:
            return Alignment(start, pairs, gate, f"an affine motion needs {LEAST_FOR_AFFINE} matched calcifications "
                             "that are not on one line, and no more stretch than a similarity may have: a similarity "
                             "was fitted")  # fmt: skip
        following = match(pair_gains(fitted.apply(prior), current, size_cost, gate))
        done = np.array_equal(following, matched)
        found, matched = fitted, following
        if done:
            break
    return Alignment(found, matched, gate, "")


def _fit_affine(prior: np.ndarray, current: np.ndarray) -> Transform | None:
    """Returns the affine motion of least squares; None where it is undefined or stretches too far."""
    if len(prior) < LEAST_FOR_AFFINE:
        return None
    design = np.column_stack([prior - prior.mean(axis=0), np.ones(len(prior))])
    solved, _, rank, _ = np.linalg.lstsq(design, current, rcond=1e-6)
    if rank < 3:
        return None
    matrix = solved[:2].T
    stretch = np.linalg.svd(matrix, compute_uv=False)
    if stretch[0] > MOST_SCALE or stretch[1] < 1 / MOST_SCALE or np.linalg.det(matrix) <= 0:
        return None
    return _of(Motion.AFFINE, matrix, solved[2] - matrix @ prior.mean(axis=0))


def _transform(found: _Found, motion: Motion) -> Transform:
    real, imaginary = found.slope.real, found.slope.imag
    matrix = np.array([[real, -imaginary], [imaginary, real]])
    kind = Motion.RIGID if motion is Motion.RIGID else Motion.SIMILARITY
    return _of(kind, matrix, np.array([-found.offset.imag, found.offset.real]))


def _of(motion: Motion, matrix: np.ndarray, offset: np.ndarray) -> Transform:
    (a, b), (c, d) = matrix.tolist()
    row, column = offset.tolist()
    return Transform(motion, ((a, b), (c, d)), (row, column))


def _none(gate: float, reason: str) -> Alignment:
    return Alignment(None, np.zeros((0, 2), np.int64), gate, reason)


def _complex(places: np.ndarray) -> np.ndarray:
    return np.asarray(places[:, 1] - 1j * places[:, 0])


def _places(numbers: np.ndarray) -> np.ndarray:
    return np.stack([-numbers.imag, numbers.real], axis=1)
