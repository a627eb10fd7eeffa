"""What `Variety.FULL` adds: vessels, popcorn, rims, milk of calcium and dense clusters of fine pleomorphic ones."""

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np

from data_prep.implants.calcification import Calcification, Shape, draw_calcification, draw_strand
from data_prep.implants.canvas import ISOLATION_MM, Canvas
from data_prep.implants.config import ImplantConfig
from data_prep.implants.sizes import disk, draw_area_mm2, draw_between, draw_snr, snr_of_area
from data_prep.implants.vessel import draw_vessel
from data_prep.mammogram import View

__all__ = ["Varied", "add_varied"]

# How many of each a mammogram gets, fewest and most. Sizes after BI-RADS (5th edition, 2013, Mammography): popcorn is
# larger than 2 to 3 mm, rims are from under 1 mm to over 1 cm with walls under 1 mm, fine pleomorphic ones are below
# 0.5 mm. Few and no larger than that: popcorn and rims are already a third of all calcified pixels.
_POPCORN, _POPCORN_MM = (1, 1), (2.0, 5.0)
_RIMS, _RIM_MM = (1, 3), (0.9, 5.0)
_MILK, _MILK_SIZE, _MILK_RADIUS_MM, _CYST_MM = (1, 2), (4, 12), (2.0, 6.0), (0.3, 1.6)
_DENSE, _DENSE_SIZE, _DENSE_RADIUS_MM, _SHARD_MM = (1, 2), (25, 60), (2.0, 4.8), 0.5
_VESSELS, _VESSEL_MM = (1, 2), (8.0, 35.0)

# A rim's wall has about this share of the area within its outline.
_WALL_SHARE = 0.45
# A teacup's outline is about this share of its cyst.
_CUP_SHARE = 0.4
# Seen from above, the same sediment is spread over the whole cyst.
_SMUDGE_SIGNAL = 0.5

_ATTEMPTS = 20
_SITES_MEMBER = 40
_LEAST_DASHES = 0.6  # of each wall of a vessel, else the site does not do
_LEAST_MILK, _LEAST_DENSE = 3, 20
_ROOM_PX = 6.0  # radius of a dense cluster over the root of its number: with less, their masks find no place
_VESSEL_GAP_PX = 3.0  # between dashes, so that their masks stay apart

_FROM_ABOVE = (View.CC, View.FB, View.XCCL, View.XCCM)

_Drawn = tuple[Calcification, float]


@dataclasses.dataclass(frozen=True)
class Varied:
    """What was added.

    Attributes:
        clusters: Number of clusters, groups and vessels; they bear the numbers from 1.
        left_out: What was asked for and found no site.
    """

    clusters: int
    left_out: int


def add_varied(canvas: Canvas, config: ImplantConfig, rng: np.random.Generator, view: View) -> Varied:
    """Adds the kinds that `Variety.FULL` has beside the others, the largest first.

    Args:
        canvas: The mammogram.
        config: Ratios and blur.
        rng: The only source of chance.
        view: Milk of calcium lies in layers in lateral and oblique views and is a smudge in craniocaudal ones; where
            the view is unknown, one of both is drawn. Down is towards larger rows, as mammograms are shown.
    """
    kinds = _Kinds(canvas, config, rng)
    alone = [kinds.popcorn() for _ in _draw_range(rng, _POPCORN)] + [kinds.rim() for _ in _draw_range(rng, _RIMS)]
    left_out = sum(not canvas.add_alone(*each) for each in alone)
    above = view in _FROM_ABOVE or (view is View.UNKNOWN and rng.uniform() < 0.5)
    adders: list[Callable[[_Kinds, int], bool]] = [
        *[_add_vessel] * len(_draw_range(rng, _VESSELS)),
        *[functools.partial(_add_milk, above=above)] * len(_draw_range(rng, _MILK)),
        *[_add_dense] * len(_draw_range(rng, _DENSE)),
    ]
    clusters = 0
    for add in adders:
        clusters += add(kinds, clusters + 1)
    return Varied(clusters, left_out + len(adders) - clusters)


@dataclasses.dataclass(frozen=True, eq=False)
class _Kinds:
    """Draws single calcifications of each kind, each with its signal-to-noise ratio."""

    canvas: Canvas
    config: ImplantConfig
    rng: np.random.Generator

    def popcorn(self) -> _Drawn:
        area = disk(draw_between(self.rng, *_POPCORN_MM))
        return self._draw(Shape.POPCORN, area), draw_snr(self.rng, self.config)

    def rim(self) -> _Drawn:
        area = _WALL_SHARE * disk(draw_between(self.rng, *_RIM_MM))
        return self._draw(Shape.RIM, area), draw_snr(self.rng, self.config)

    def milk(self, above: bool, snr: float) -> _Drawn:
        cyst = disk(draw_between(self.rng, *_CYST_MM))
        if above:
            return self._draw(Shape.SMUDGE, cyst), max(_SMUDGE_SIGNAL * snr, self.config.snr_min)
        return self._draw(Shape.TEACUP, _CUP_SHARE * cyst, angle=self.rng.normal(0.0, 0.05)), snr

    def shard(self, snr: float) -> _Drawn:
        area = draw_area_mm2(self.rng, _SHARD_MM)
        return self._draw(Shape.SHARD, area), snr_of_area(snr * self.rng.lognormal(0.0, 0.35), area, self.config)

    def strand(self, dash_mm: np.ndarray, snr: float) -> tuple[Calcification, tuple[int, int], float]:
        """Draws a dash; returns with it (row, column) from the vessel's middle of where `Canvas.add` is to put it."""
        drawn, (top, left) = draw_strand(self.canvas.px(1.0) * dash_mm, self.canvas.px(self.config.blur_mm), self.rng)
        height, width = drawn.mask.shape
        own = float(np.clip(snr * self.rng.lognormal(0.0, 0.3), self.config.snr_min, self.config.snr_max))
        return drawn, (top + height // 2, left + width // 2), own

    def _draw(self, shape: Shape, area_mm2: float, angle: float | None = None) -> Calcification:
        blur = self.canvas.px(self.config.blur_mm)
        return draw_calcification(shape, self.canvas.px2(area_mm2), blur, self.rng, angle)


def _add_milk(kinds: _Kinds, number: int, above: bool) -> bool:
    snr = draw_snr(kinds.rng, kinds.config)
    count = len(_draw_range(kinds.rng, _MILK_SIZE))
    radius = kinds.canvas.px(kinds.rng.uniform(*_MILK_RADIUS_MM))
    return _add_group(kinds, _Group(number, count, _LEAST_MILK, radius), lambda: kinds.milk(above, snr))


def _add_dense(kinds: _Kinds, number: int) -> bool:
    snr = draw_snr(kinds.rng, kinds.config)
    count = len(_draw_range(kinds.rng, _DENSE_SIZE))
    least, most = (kinds.canvas.px(limit) for limit in _DENSE_RADIUS_MM)
    radius = min(max(kinds.rng.uniform(least, most), _ROOM_PX * math.sqrt(count)), most)
    return _add_group(kinds, _Group(number, count, _LEAST_DENSE, radius), lambda: kinds.shard(snr))


@dataclasses.dataclass(frozen=True)
class _Group:
    """What a group is to be: its number, how many, how many at least, and within what radius in pixels."""

    number: int
    count: int
    least: int
    radius: float


def _add_group(kinds: _Kinds, group: _Group, draw: Callable[[], _Drawn]) -> bool:
    """Adds calcifications within an ellipse, denser in its middle; all or nothing: False where no site is found."""
    canvas, rng, radius = kinds.canvas, kinds.rng, group.radius
    for _ in range(_ATTEMPTS):
        centre = canvas.draw_site()
        if canvas.near(*centre, radius + canvas.px(ISOLATION_MM)):
            continue
        before = len(canvas.placed)
        turn, flattened = rng.uniform(0.0, math.pi), rng.uniform(0.6, 1.0)
        for _ in range(group.count):
            drawn, snr = draw()
            for _ in range(_SITES_MEMBER):
                distance, angle = radius * rng.uniform() ** 0.7, rng.uniform(0.0, 2.0 * math.pi)
                along, across = distance * math.cos(angle), flattened * distance * math.sin(angle)
                row = centre[0] + along * math.sin(turn) + across * math.cos(turn)
                column = centre[1] + along * math.cos(turn) - across * math.sin(turn)
                if canvas.add(drawn, row, column, snr, group.number):
                    break
        if len(canvas.placed) - before >= group.least:
            return True
        canvas.take_back(before)
    return False


def _add_vessel(kinds: _Kinds, number: int) -> bool:
    """Adds both walls of a vessel, or nothing; each failed try is for a shorter one."""
    canvas, rng = kinds.canvas, kinds.rng
    snr = draw_snr(rng, kinds.config)
    length = draw_between(rng, *_VESSEL_MM)
    for _ in range(_ATTEMPTS):
        walls = draw_vessel(length, _VESSEL_GAP_PX * canvas.spacing_mm, rng)
        middle = [int(place) for place in canvas.draw_site()]
        before = len(canvas.placed)
        complete = True
        for wall in walls:
            strands = [kinds.strand(dash, snr) for dash in wall]
            added = [
                canvas.add(drawn, middle[0] + row, middle[1] + column, own, number)
                for drawn, (row, column), own in strands
            ]
            complete = complete and sum(added) >= _LEAST_DASHES * len(wall) and any(added)
        if complete:
            return True
        canvas.take_back(before)
        length = max(0.9 * length, _VESSEL_MM[0])
    return False


def _draw_range(rng: np.random.Generator, limits: tuple[int, int]) -> range:
    """Draws how many, both limits among them."""
    return range(int(rng.integers(limits[0], limits[1] + 1)))
