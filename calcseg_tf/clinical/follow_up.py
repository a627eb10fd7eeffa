"""What became of each calcification of a region from one exam to the next (the paper's section 4.2, and beyond)."""

import dataclasses
import enum
import math

import numpy as np

from calcseg_tf.clinical.alignment import Motion, Transform, align
from calcseg_tf.clinical.calcification import Calcification
from calcseg_tf.clinical.follow_up_exams import Exam
from calcseg_tf.clinical.matching import GATE_MM, GATE_PX, MOST_MATCHED, match, pair_gains, size_costs

__all__ = ["GROWN_RATIO", "Change", "Figure", "FollowUp", "Status", "compare_again", "compare_exams"]

# Grown: half as large again, and by a pixel in diameter at the least: the outline of one and the same calcification
# moves by that much between two exams.
GROWN_RATIO = 1.5

_TABLE = ("count", "mean_area_mm2", "std_area_mm2", "mean_area_px", "std_area_px", "density_per_cm2")


class Status(enum.StrEnum):
    """What became of a calcification; each has one."""

    PERSISTED = "persisted"
    GROWN = "grown"
    NEW = "new"
    VANISHED = "vanished"
    UNCOVERED = "uncovered"  # its place in the other exam lies outside the region marked there, or outside the image


@dataclasses.dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        name: As in `RegionStatistics`.
        prior: None where it is undefined.
        current: Likewise.
        difference: Current less prior; None where either is undefined.
    """

    name: str
    prior: float | None
    current: float | None
    difference: float | None


@dataclasses.dataclass(frozen=True)
class Change:
    """One calcification over time.

    Attributes:
        status: What became of it.
        prior: In the prior exam; None for a new one.
        current: In the current exam; None for one that has vanished.
        place: Where it lies in the current exam, or where it would by the alignment: (row, column) in px.
        distance: Between both after alignment, in the unit of the alignment; None for one alone.
        area_ratio: Current over prior; None for one alone.
    """

    status: Status
    prior: Calcification | None
    current: Calcification | None
    place: tuple[float, float]
    distance: float | None
    area_ratio: float | None


@dataclasses.dataclass(frozen=True, eq=False)
class FollowUp:
    """Two exams compared.

    Attributes:
        prior: The exam before.
        current: The exam after.
        table: The paper's Fig. 7, with differences.
        unit: "mm", or "px" where the spacing of either exam is unknown; of the alignment.
        gate: How far apart a matched pair may lie after alignment, in that unit.
        transform: From prior to current, in that unit; None where they could not be aligned.
        reason: Why not, or why it is another motion than asked for; "" otherwise.
        residual: Root mean square distance of the matched pairs, in that unit; None without alignment.
        changes: Prior ones by id, then new ones; None without alignment.
    """

    prior: Exam
    current: Exam
    table: tuple[Figure, ...]
    unit: str
    gate: float
    transform: Transform | None
    reason: str
    residual: float | None
    changes: tuple[Change, ...] | None

    def counts(self) -> dict[str, int] | None:
        """Returns how many calcifications have which status; None without alignment."""
        if self.changes is None:
            return None
        found = [change.status for change in self.changes]
        return {status.value: found.count(status) for status in Status}

    def prior_in_current(self, points: np.ndarray) -> np.ndarray:
        """Moves places of the prior exam, float [points, 2] in px, to px of the current one; needs a transform."""
        assert self.transform is not None
        return self.transform.apply(points * self._spacing(self.prior)) / self._spacing(self.current)

    def current_in_prior(self, points: np.ndarray) -> np.ndarray:
        """Moves places of the current exam, float [points, 2] in px, to px of the prior one; needs a transform."""
        assert self.transform is not None
        return self.transform.invert(points * self._spacing(self.current)) / self._spacing(self.prior)

    def _spacing(self, exam: Exam) -> np.ndarray:
        return _spacing(exam, self.unit)


def compare_exams(prior: Exam, current: Exam, motion: Motion = Motion.SIMILARITY) -> FollowUp:
    """Compares the regions of two exams.

    Args:
        prior: The exam before.
        current: The exam after.
        motion: How the breast may have moved.
    """
    known = all(exam.image.pixel_spacing_mm for exam in (prior, current))
    unit, gate = ("mm", GATE_MM) if known else ("px", GATE_PX)
    before, after = _members(prior), _members(current)
    places = [_places(found) * _spacing(exam, unit) for found, exam in ((before, prior), (after, current))]
    areas = [np.array([_area(each, unit) for each in found], np.float64) for found in (before, after)]
    alignment = align(places[0], places[1], areas[0], areas[1], gate, motion)
    follow_up = FollowUp(
        prior, current, _table(prior, current), unit, alignment.gate, alignment.transform, alignment.reason, None, None
    )
    return follow_up if alignment.transform is None else _with_pairs(follow_up, before, after, alignment.pairs)


def compare_again(follow_up: FollowUp, prior: Exam, current: Exam) -> FollowUp:
    """Compares what another threshold finds in the same regions, by the motion that is known.

    Args:
        follow_up: Of both exams at the operating threshold.
        prior: The exam before, at the other threshold.
        current: The exam after, likewise.

    Returns:
        Without changes, and with a reason, where there is no motion or an exam has too many to be matched.
    """
    before, after = _members(prior), _members(current)
    again = dataclasses.replace(
        follow_up, prior=prior, current=current, table=_table(prior, current), residual=None, changes=None
    )
    if follow_up.transform is None:
        return again
    if (most := max(len(before), len(after))) > MOST_MATCHED:
        return dataclasses.replace(again, reason=f"at most {MOST_MATCHED} calcifications are matched; found {most}")
    moved = follow_up.transform.apply(_places(before) * _spacing(prior, again.unit))
    costs = size_costs(*(np.array([_area(each, again.unit) for each in found]) for found in (before, after)))
    places = _places(after) * _spacing(current, again.unit)
    return _with_pairs(again, before, after, match(pair_gains(moved, places, costs, again.gate)))


def _with_pairs(
    follow_up: FollowUp, before: list[Calcification], after: list[Calcification], matched: np.ndarray
) -> FollowUp:
    """Adds what became of each calcification, of matched pairs int64 [pairs, 2]."""
    assert follow_up.transform is not None
    first, second = matched.T
    moved = follow_up.transform.apply(_places(before)[first] * _spacing(follow_up.prior, follow_up.unit))
    distances = np.hypot(*(moved - _places(after)[second] * _spacing(follow_up.current, follow_up.unit)).T)
    pairs = {
        int(one): (int(other), float(distance)) for one, other, distance in zip(first, second, distances, strict=True)
    }
    return dataclasses.replace(
        follow_up,
        residual=float(np.sqrt((distances**2).mean())) if len(distances) else None,
        changes=_changes(follow_up, before, after, pairs),
    )


def _changes(
    follow_up: FollowUp,
    before: list[Calcification],
    after: list[Calcification],
    pairs: dict[int, tuple[int, float]],
) -> tuple[Change, ...]:
    changes = []
    moved = follow_up.prior_in_current(_places(before))
    covered = _covered(follow_up.current, moved)
    for index, found in enumerate(before):
        if index in pairs:
            other, distance = pairs[index]
            changes.append(_matched(found, after[other], distance, follow_up))
            continue
        status = Status.VANISHED if covered[index] else Status.UNCOVERED
        place = (float(moved[index][0]), float(moved[index][1]))
        changes.append(Change(status, found, None, place, None, None))
    matched = {other for other, _ in pairs.values()}
    covered = _covered(follow_up.prior, follow_up.current_in_prior(_places(after)))
    for index, found in enumerate(after):
        if index not in matched:
            status = Status.NEW if covered[index] else Status.UNCOVERED
            changes.append(Change(status, None, found, (found.row, found.column), None, None))
    return tuple(changes)


def _covered(exam: Exam, places: np.ndarray) -> np.ndarray:
    """Tells which places (row, column) an exam shows in its region, which may reach beyond the image; bool [places]."""
    inside = ((places >= -0.5) & (places < np.array(exam.codes.shape) - 0.5)).all(axis=1)
    return np.asarray(exam.region.region.contains(places) & inside)


def _matched(prior: Calcification, current: Calcification, distance: float, follow_up: FollowUp) -> Change:
    unit = follow_up.unit
    areas = _area(prior, unit), _area(current, unit)
    ratio = areas[1] / areas[0]
    diameters = [2.0 * math.sqrt(area / math.pi) for area in areas]
    pixel = max(float(_spacing(exam, unit).max()) for exam in (follow_up.prior, follow_up.current))
    grown = ratio >= GROWN_RATIO and diameters[1] - diameters[0] >= pixel
    status = Status.GROWN if grown else Status.PERSISTED
    return Change(status, prior, current, (current.row, current.column), distance, ratio)


def _table(prior: Exam, current: Exam) -> tuple[Figure, ...]:
    lines = []
    for name in _TABLE:
        one, other = getattr(prior.region, name), getattr(current.region, name)
        lines.append(Figure(name, one, other, None if one is None or other is None else other - one))
    return tuple(lines)


def _members(exam: Exam) -> list[Calcification]:
    return [exam.image.calcifications[number - 1] for number in exam.region.calcification_ids]


def _places(found: list[Calcification]) -> np.ndarray:
    return np.array([(each.row, each.column) for each in found], np.float64).reshape(-1, 2)


def _area(found: Calcification, unit: str) -> float:
    return float(found.area_px) if unit == "px" or found.area_mm2 is None else found.area_mm2


def _spacing(exam: Exam, unit: str) -> np.ndarray:
    """Returns (row, column) length of a pixel in the unit."""
    known = exam.image.pixel_spacing_mm
    return np.array([1.0, 1.0] if unit == "px" or known is None else known)
