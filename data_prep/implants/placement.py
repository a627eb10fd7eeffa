"""Places artificial calcifications in one mammogram: isolated ones and clusters, and what else is asked for."""

import dataclasses
import enum
import hashlib
import math

import numpy as np

from data_prep.errors import InputError
from data_prep.implants.calcification import Shape, draw_calcification
from data_prep.implants.canvas import ISOLATION_MM, Canvas, PlacedCalcification
from data_prep.implants.config import MAX_SPACING_MM, MIN_SPACING_MM, ImplantConfig, Variety
from data_prep.implants.sizes import (
    COARSE_DIAMETER_MM,
    MAX_DIAMETER_MM,
    disk,
    draw_area_mm2,
    draw_between,
    draw_snr,
    snr_of_area,
)
from data_prep.implants.variety import Varied, add_varied
from data_prep.mammogram import Mammogram

__all__ = ["Implanted", "implant_mammogram"]

_COARSE_SHARE = 0.04
_MAX_DIAMETER_CLUSTERED_MM = 0.6

# Clusters: BI-RADS (5th edition, 2013) calls calcifications grouped from five within 1 cm, up to larger numbers within
# 2 cm.
_CLUSTER_SIZE = (8, 25)
_CLUSTER_MIN = 5
_CLUSTER_SPREAD_MM = (1.5, 8.0)
_SITES_MEMBER = 40
_CLUSTER_ATTEMPTS = 20

_SHAPES = (Shape.ROUND, Shape.IRREGULAR, Shape.ELONGATED, Shape.BRANCHING)


class _Pattern(enum.Enum):
    """What calcifications come together, with the share of each shape of `_SHAPES`."""

    SCATTERED = (0.36, 0.28, 0.18, 0.18)
    COARSE = (0.45, 0.35, 0.20, 0.00)
    PUNCTATE = (0.80, 0.20, 0.00, 0.00)
    PLEOMORPHIC = (0.15, 0.60, 0.18, 0.07)
    LINEAR = (0.10, 0.25, 0.35, 0.30)  # along a duct


@dataclasses.dataclass(frozen=True, eq=False)
class Implanted:
    """A mammogram with its artificial calcifications.

    Attributes:
        pixels: uint16 [height, width]; the background's stored values plus the signals, rounded and clipped to full
            scale; untouched where no signal lies.
        mask: bool [height, width]; 8-connected components are the calcifications, one to one.
        rim: bool [height, width]; pixels outside the mask that a calcification covers in part or lights through the
            detector's blur, by a tenth of its peak or more. Neither calcification nor background: to be ignored.
        calcifications: What only `Variety.FULL` has first; then members of clusters, cluster by cluster, then isolated
            ones.
        clusters: Number of clusters; a vessel is one.
        left_out: Calcifications and whole clusters asked for that found no site (a small breast, saturated tissue).
        spacing_mm: Pixel spacing used for sizes: the mammogram's (geometric mean of row and column), or the assumed.
    """

    pixels: np.ndarray
    mask: np.ndarray
    rim: np.ndarray
    calcifications: tuple[PlacedCalcification, ...]
    clusters: int
    left_out: int
    spacing_mm: float


def implant_mammogram(background: Mammogram, config: ImplantConfig) -> Implanted:
    """Adds calcifications to a mammogram; the same mammogram and configuration give the same result, bit for bit.

    The signal is added to the stored values: for presentation these are close to a logarithm of exposure, in which
    attenuations add. The background's noise is left as it is and so lies over the signal. Calcifications that the
    background may hold by nature are not known and not in the mask.

    Raises:
        InputError: No breast is found, nothing could be placed in it, or its pixels are too coarse or too fine.
    """
    spacing = math.sqrt(math.prod(background.pixel_spacing_mm or (config.pixel_spacing_mm, config.pixel_spacing_mm)))
    if not MIN_SPACING_MM <= spacing <= MAX_SPACING_MM:
        raise InputError(f"a pixel spacing must be {MIN_SPACING_MM} to {MAX_SPACING_MM} mm; found {spacing:g}")
    entropy = (config.seed, int(background.source_sha256 or _digest(background), 16))
    rng = np.random.default_rng(np.random.SeedSequence(entropy))
    canvas = Canvas(background, spacing, config, rng)
    # The large ones first: small ones find room between them, and not the other way round.
    varied = (
        add_varied(canvas, config, rng, background.view)
        if config.variety is Variety.FULL
        else Varied(clusters=0, left_out=0)
    )
    first = varied.clusters + 1
    clusters = sum(_add_cluster(canvas, config, rng, first + n) for n in range(config.clusters_per_mammogram))
    isolated = sum(_add_isolated(canvas, config, rng) for _ in range(config.isolated_per_mammogram))
    if not canvas.placed:
        raise InputError("no calcification could be placed: the breast is too small or at full scale")
    pixels, mask, rim = canvas.render()
    left_out = config.clusters_per_mammogram - clusters + config.isolated_per_mammogram - isolated
    return Implanted(
        pixels, mask, rim, tuple(canvas.placed), varied.clusters + clusters, varied.left_out + left_out, spacing
    )


def _digest(background: Mammogram) -> str:
    return hashlib.sha256(background.pixels.tobytes()).hexdigest()


def _add_isolated(canvas: Canvas, config: ImplantConfig, rng: np.random.Generator) -> bool:
    """Adds one calcification away from all others; False where no site is found."""
    if rng.uniform() < _COARSE_SHARE:
        pattern, area = _Pattern.COARSE, disk(draw_between(rng, COARSE_DIAMETER_MM, MAX_DIAMETER_MM))
    else:
        pattern, area = _Pattern.SCATTERED, draw_area_mm2(rng, MAX_DIAMETER_MM)
    calcification = draw_calcification(_draw_shape(pattern, rng), canvas.px2(area), canvas.px(config.blur_mm), rng)
    snr = snr_of_area(draw_snr(rng, config), area, config)
    return canvas.add_alone(calcification, snr)


def _add_cluster(canvas: Canvas, config: ImplantConfig, rng: np.random.Generator, number: int) -> bool:
    """Adds one cluster whole, or nothing: False where no site is found."""
    pattern = (_Pattern.PUNCTATE, _Pattern.PLEOMORPHIC, _Pattern.LINEAR)[rng.integers(3)]
    count = int(rng.integers(_CLUSTER_SIZE[0], _CLUSTER_SIZE[1] + 1))
    cluster = _Cluster(number, pattern, count, canvas.px(draw_between(rng, *_CLUSTER_SPREAD_MM)), draw_snr(rng, config))
    for _ in range(_CLUSTER_ATTEMPTS):
        site = canvas.draw_site()
        before = len(canvas.placed)
        if not canvas.near(*site, cluster.spread / 2.0 + canvas.px(ISOLATION_MM)):
            _add_members(canvas, config, rng, cluster, site)
        if len(canvas.placed) - before >= max(_CLUSTER_MIN, count // 2):
            return True
        canvas.take_back(before)
    return False


@dataclasses.dataclass(frozen=True)
class _Cluster:
    """What a cluster is to be: its number, what it consists of, how many, over how many pixels, and how strong."""

    number: int
    pattern: _Pattern
    count: int
    spread: float
    snr: float


def _add_members(
    canvas: Canvas, config: ImplantConfig, rng: np.random.Generator, cluster: _Cluster, centre: tuple[float, float]
) -> None:
    pattern = cluster.pattern
    axis = rng.uniform(0.0, math.pi)
    # A cluster's calcifications resemble each other; those along a duct are casts of it and longer.
    size = rng.lognormal(0.0, 0.25) * (1.6 if pattern is _Pattern.LINEAR else 1.0)
    for _ in range(cluster.count):
        angle = rng.normal(axis, 0.5) if pattern is _Pattern.LINEAR else None
        area = draw_area_mm2(rng, _MAX_DIAMETER_CLUSTERED_MM, factor=size)
        blur = canvas.px(config.blur_mm)
        calcification = draw_calcification(_draw_shape(pattern, rng), canvas.px2(area), blur, rng, angle)
        snr = snr_of_area(cluster.snr * rng.lognormal(0.0, 0.25), area, config)
        for attempt in range(_SITES_MEMBER):
            # Where it is crowded, each failed try looks further out.
            site = _draw_member(rng, pattern, axis, cluster.spread * (1.0 + 0.03 * attempt), centre)
            if canvas.add(calcification, *site, snr, cluster.number):
                break


def _draw_member(
    rng: np.random.Generator, pattern: _Pattern, axis: float, spread: float, centre: tuple[float, float]
) -> tuple[float, float]:
    if pattern is _Pattern.LINEAR:
        along, across = rng.uniform(-0.5, 0.5) * spread, rng.normal(0.0, 0.05) * spread
    else:
        along, across = np.clip(rng.normal(0.0, 0.22, 2), -0.5, 0.5) * spread * (1.0, 0.75)
    row = centre[0] + along * math.sin(axis) + across * math.cos(axis)
    return row, centre[1] + along * math.cos(axis) - across * math.sin(axis)


def _draw_shape(pattern: _Pattern, rng: np.random.Generator) -> Shape:
    return _SHAPES[int(rng.choice(len(_SHAPES), p=pattern.value))]
