"""Places artificial calcifications in one mammogram: how many, how large, where, and how strong."""

import dataclasses
import enum
import hashlib
import math

import numpy as np
from scipy import ndimage

from data_prep.errors import InputError
from data_prep.implants.calcification import Calcification, Shape, draw_calcification
from data_prep.implants.site import allowed_cells, local_noise
from data_prep.mammogram import Mammogram

__all__ = ["ImplantConfig", "Implanted", "PlacedCalcification", "implant_mammogram"]

# Areas. Log-normal about a diameter of 0.17 mm, drawn anew below 0.1 mm, and a few coarse ones among the isolated: most
# are a few to some tens of pixels, 2 to 4 % pass 100 px at 0.05 mm, as in Fig. 3 of arXiv 2102.00811. Benign coarse
# calcifications reach several mm; those of suspicious clusters are below about 0.5 mm (BI-RADS, 5th edition, 2013:
# fine pleomorphic, fine linear).
_MEDIAN_DIAMETER_MM = 0.17
_LOG_AREA_SPREAD = 1.1
_MIN_DIAMETER_MM = 0.1
_MAX_DIAMETER_MM = 3.0
_COARSE_SHARE = 0.04
_COARSE_DIAMETER_MM = 0.5
_MAX_DIAMETER_CLUSTERED_MM = 0.6

# Thicker means denser: signal-to-noise grows with the root of the diameter, within the limits of the configuration.
_SNR_POWER = 0.5

# Clusters: BI-RADS (5th edition, 2013) calls calcifications grouped from five within 1 cm, up to larger numbers within
# 2 cm.
_CLUSTER_SIZE = (8, 25)
_CLUSTER_MIN = 5
_CLUSTER_SPREAD_MM = (1.5, 8.0)
_ISOLATION_MM = 3.0

_RIM_SIGNAL = 0.1  # share of a calcification's peak from which a pixel is no clean background
_GAP_PX = 2  # background between two masks, at least

_HEADROOM = 0.95  # share of the peak that full scale must leave
_MAX_CONTRAST = 0.5  # of full scale; more is metal
_SITES_ISOLATED = 200
_SITES_MEMBER = 40
_CLUSTER_ATTEMPTS = 20


class _Pattern(enum.Enum):
    """What calcifications come together, with the share of each shape (round, irregular, elongated, branching)."""

    SCATTERED = (0.36, 0.28, 0.18, 0.18)
    COARSE = (0.45, 0.35, 0.20, 0.00)
    PUNCTATE = (0.80, 0.20, 0.00, 0.00)
    PLEOMORPHIC = (0.15, 0.60, 0.18, 0.07)
    LINEAR = (0.10, 0.25, 0.35, 0.30)  # along a duct


@dataclasses.dataclass(frozen=True)
class ImplantConfig:
    """What to implant; each field is the flag of the same name.

    Attributes:
        seed: Non-negative; with the mammogram's bytes it fixes every choice.
        pixel_spacing_mm: Spacing assumed where the mammogram states none.
        isolated_per_mammogram: Calcifications at least 3 mm from every other one.
        clusters_per_mammogram: Clusters of 8 to 25 calcifications within 1.5 to 8 mm.
        snr_min: Weakest signal-to-noise ratio: mean signal over the mask, by the background's standard deviation when
            averaged over as many pixels. Rose puts the threshold of seeing at 3 to 5 (J. Opt. Soc. Am. 38, 196, 1948).
        snr_max: Strongest one.
        blur_mm: Standard deviation of the detector's point spread, as a Gaussian. Measured transfer functions give
            0.03 mm for selenium (0.4 at 7.1 cycles/mm: Hoheisel et al., IEEE NSS 2004) and 0.05 mm for caesium iodide
            (0.42 at 4 cycles/mm: Vedantham et al., Med. Phys. 27, 558, 2000).
    """

    seed: int = 0
    pixel_spacing_mm: float = 0.05
    isolated_per_mammogram: int = 60
    clusters_per_mammogram: int = 6
    snr_min: float = 5.0
    snr_max: float = 30.0
    blur_mm: float = 0.04

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"--seed must be 0 or more; found {self.seed}")
        if not 0.01 <= self.pixel_spacing_mm <= 0.5:
            raise InputError(f"--pixel_spacing_mm must be 0.01 to 0.5; found {self.pixel_spacing_mm}")
        if self.isolated_per_mammogram < 0 or self.clusters_per_mammogram < 0:
            raise InputError(
                "--isolated_per_mammogram and --clusters_per_mammogram must be 0 or more; "
                f"found {self.isolated_per_mammogram} and {self.clusters_per_mammogram}"
            )
        if self.isolated_per_mammogram + self.clusters_per_mammogram == 0:
            raise InputError("--isolated_per_mammogram and --clusters_per_mammogram must not both be 0")
        if not 0.0 < self.snr_min <= self.snr_max < math.inf:
            raise InputError(
                f"--snr_min must be above 0 and at most --snr_max; found {self.snr_min} and {self.snr_max}"
            )
        if not 0.0 <= self.blur_mm <= 0.5:
            raise InputError(f"--blur_mm must be 0 to 0.5; found {self.blur_mm}")


@dataclasses.dataclass(frozen=True, eq=False)
class PlacedCalcification:
    """One calcification where it lies.

    Attributes:
        calcification: Its patch.
        top: Row of the patch's first row in the mammogram.
        left: Column of the patch's first column.
        cluster: Number of its cluster from 1, or None for an isolated one.
        signal_to_noise: As in `ImplantConfig.snr_min`.
        contrast: Peak of the signal in intensity, a share of full scale.
    """

    calcification: Calcification
    top: int
    left: int
    cluster: int | None
    signal_to_noise: float
    contrast: float

    @property
    def window(self) -> tuple[slice, slice]:
        """Where the patch lies in the mammogram."""
        height, width = self.calcification.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @property
    def centroid(self) -> tuple[float, float]:
        """(row, column) of the mask's centre of gravity, in pixels from the centre of the first pixel."""
        rows, columns = np.nonzero(self.calcification.mask)
        return self.top + float(rows.mean()), self.left + float(columns.mean())


@dataclasses.dataclass(frozen=True, eq=False)
class Implanted:
    """A mammogram with its artificial calcifications.

    Attributes:
        pixels: uint16 [height, width]; the background's stored values plus the signals, rounded and clipped to full
            scale; untouched where no signal lies.
        mask: bool [height, width]; 8-connected components are the calcifications, one to one.
        rim: bool [height, width]; pixels outside the mask that a calcification covers in part or lights through the
            detector's blur, by a tenth of its peak or more. Neither calcification nor background: to be ignored.
        calcifications: Members of clusters first, cluster by cluster, then the isolated ones.
        clusters: Number of clusters.
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
        InputError: No breast is found, or nothing could be placed in it.
    """
    spacing = math.sqrt(math.prod(background.pixel_spacing_mm or (config.pixel_spacing_mm, config.pixel_spacing_mm)))
    entropy = (config.seed, int(background.source_sha256 or _digest(background), 16))
    rng = np.random.default_rng(np.random.SeedSequence(entropy))
    canvas = _Canvas(background, spacing, config, rng)
    clusters = sum(canvas.add_cluster(number + 1) for number in range(config.clusters_per_mammogram))
    isolated = sum(canvas.add_isolated() for _ in range(config.isolated_per_mammogram))
    if not canvas.placed:
        raise InputError("no calcification could be placed: the breast is too small or at full scale")
    pixels, mask, rim = canvas.render()
    left_out = config.clusters_per_mammogram - clusters + config.isolated_per_mammogram - isolated
    return Implanted(pixels, mask, rim, tuple(canvas.placed), clusters, left_out, spacing)


def _digest(background: Mammogram) -> str:
    return hashlib.sha256(background.pixels.tobytes()).hexdigest()


class _Canvas:
    """The mammogram while calcifications are placed: where there is still room."""

    def __init__(
        self, background: Mammogram, spacing_mm: float, config: ImplantConfig, rng: np.random.Generator
    ) -> None:
        self.placed: list[PlacedCalcification] = []
        self._background = background
        self._intensity = background.intensity()
        self._spacing_mm = spacing_mm
        self._config = config
        self._rng = rng
        self._allowed, self._step = allowed_cells(self._intensity, spacing_mm)
        self._cells = np.argwhere(self._allowed)
        if self._cells.size == 0:
            raise InputError("no breast found in which to place calcifications")
        # How many calcifications keep others away from a pixel: a count, so that a cluster can be taken back.
        self._taken = np.zeros(background.pixels.shape, np.uint8)

    def add_isolated(self) -> bool:
        """Adds one calcification away from all others; False where no site is found."""
        rng = self._rng
        if rng.uniform() < _COARSE_SHARE:
            pattern, area = _Pattern.COARSE, _disk(_draw_between(rng, _COARSE_DIAMETER_MM, _MAX_DIAMETER_MM))
        else:
            pattern, area = _Pattern.SCATTERED, _draw_area_mm2(rng, _MAX_DIAMETER_MM)
        blur = self._px(self._config.blur_mm)
        calcification = draw_calcification(_draw_shape(pattern, rng), self._px2(area), blur, rng)
        snr = self._snr(self._draw_snr(), area)
        for _ in range(_SITES_ISOLATED):
            row, column = self._draw_site()
            if not self._near(row, column, self._px(_ISOLATION_MM)) and self._add(
                calcification, row, column, snr, cluster=None
            ):
                return True
        return False

    def add_cluster(self, number: int) -> bool:
        """Adds one cluster whole, or nothing: False where no site is found."""
        rng = self._rng
        pattern = (_Pattern.PUNCTATE, _Pattern.PLEOMORPHIC, _Pattern.LINEAR)[rng.integers(3)]
        count = int(rng.integers(_CLUSTER_SIZE[0], _CLUSTER_SIZE[1] + 1))
        spread = self._px(_draw_between(rng, *_CLUSTER_SPREAD_MM))
        snr = self._draw_snr()
        for _ in range(_CLUSTER_ATTEMPTS):
            row, column = self._draw_site()
            before = len(self.placed)
            if not self._near(row, column, spread / 2.0 + self._px(_ISOLATION_MM)):
                self._add_members(number, pattern, count, spread, snr, (row, column))
            if len(self.placed) - before >= max(_CLUSTER_MIN, count // 2):
                return True
            self._take_back(before)
        return False

    def render(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the stored values with all signals, uint16 [height, width], and mask and rim, bool of that shape."""
        full_scale = self._background.full_scale
        added = np.zeros(self._intensity.shape, np.float32)
        mask = np.zeros(self._intensity.shape, bool)
        lit = np.zeros(self._intensity.shape, bool)
        for placed in self.placed:
            added[placed.window] += np.float32(placed.contrast * full_scale) * placed.calcification.signal
            mask[placed.window] |= placed.calcification.mask
            lit[placed.window] |= placed.calcification.signal >= _RIM_SIGNAL
        pixels = np.rint(np.minimum(self._background.pixels + added, full_scale)).astype(np.uint16)
        return pixels, mask, lit & ~mask

    def _add_members(
        self, number: int, pattern: _Pattern, count: int, spread: float, snr: float, centre: tuple[float, float]
    ) -> None:
        rng = self._rng
        axis = rng.uniform(0.0, math.pi)
        # A cluster's calcifications resemble each other; those along a duct are casts of it and longer.
        size = rng.lognormal(0.0, 0.25) * (1.6 if pattern is _Pattern.LINEAR else 1.0)
        for _ in range(count):
            angle = rng.normal(axis, 0.5) if pattern is _Pattern.LINEAR else None
            area = _draw_area_mm2(rng, _MAX_DIAMETER_CLUSTERED_MM, factor=size)
            blur = self._px(self._config.blur_mm)
            calcification = draw_calcification(_draw_shape(pattern, rng), self._px2(area), blur, rng, angle)
            own_snr = self._snr(snr * rng.lognormal(0.0, 0.25), area)
            for attempt in range(_SITES_MEMBER):
                # Where it is crowded, each failed try looks further out.
                row, column = self._draw_member(pattern, axis, spread * (1.0 + 0.03 * attempt), centre)
                if self._add(calcification, row, column, own_snr, number):
                    break

    def _draw_member(
        self, pattern: _Pattern, axis: float, spread: float, centre: tuple[float, float]
    ) -> tuple[float, float]:
        if pattern is _Pattern.LINEAR:
            along, across = self._rng.uniform(-0.5, 0.5) * spread, self._rng.normal(0.0, 0.05) * spread
        else:
            along, across = np.clip(self._rng.normal(0.0, 0.22, 2), -0.5, 0.5) * spread * (1.0, 0.75)
        row = centre[0] + along * math.sin(axis) + across * math.cos(axis)
        return row, centre[1] + along * math.cos(axis) - across * math.sin(axis)

    def _draw_snr(self) -> float:
        """Draws a signal-to-noise ratio, from barely visible to obvious."""
        return _draw_between(self._rng, self._config.snr_min, self._config.snr_max)

    def _snr(self, snr: float, area_mm2: float) -> float:
        """Fits a ratio drawn for the median area to another area."""
        larger = (area_mm2 / _disk(_MEDIAN_DIAMETER_MM)) ** (_SNR_POWER / 2.0)
        return float(np.clip(snr * larger, self._config.snr_min, self._config.snr_max))

    def _draw_site(self) -> tuple[float, float]:
        """Draws a (row, column) of the breast, every place equally likely."""
        cell = self._cells[self._rng.integers(len(self._cells))]
        row, column = (cell + self._rng.uniform(0.0, 1.0, 2)) * self._step
        return float(row), float(column)

    def _near(self, row: float, column: float, distance_px: float) -> bool:
        """Tells whether another calcification's patch reaches within a distance of a site."""
        for placed in self.placed:
            rows, columns = placed.window
            away = math.hypot(
                max(rows.start - row, 0.0, row - rows.stop), max(columns.start - column, 0.0, column - columns.stop)
            )
            if away < distance_px:
                return True
        return False

    def _add(self, calcification: Calcification, row: float, column: float, snr: float, cluster: int | None) -> bool:
        """Places a calcification's patch about a site where there is breast, room and headroom."""
        height, width = calcification.mask.shape
        top, left = int(row) - height // 2, int(column) - width // 2
        if top < 0 or left < 0 or top + height > self._taken.shape[0] or left + width > self._taken.shape[1]:
            return False
        window = (slice(top, top + height), slice(left, left + width))
        mask_rows, mask_columns = np.nonzero(calcification.mask)
        if self._taken[window][calcification.mask].any():
            return False
        if not self._allowed[(mask_rows + top) // self._step, (mask_columns + left) // self._step].all():
            return False
        noise = local_noise(self._intensity, (row, column), math.sqrt(calcification.area_px / math.pi))
        contrast = snr * max(noise, 0.5 / self._background.full_scale) / calcification.signal[calcification.mask].mean()
        peak = np.unravel_index(int(np.argmax(calcification.signal)), calcification.signal.shape)
        if contrast > _MAX_CONTRAST or self._intensity[window][peak] + _HEADROOM * contrast > 1.0:
            return False
        self.placed.append(PlacedCalcification(calcification, top, left, cluster, snr, float(contrast)))
        self._taken[window] += _surroundings(calcification)
        return True

    def _take_back(self, count: int) -> None:
        """Removes what was placed after the first `count`."""
        for placed in self.placed[count:]:
            self._taken[placed.window] -= _surroundings(placed.calcification)
        del self.placed[count:]

    def _px(self, length_mm: float) -> float:
        return length_mm / self._spacing_mm

    def _px2(self, area_mm2: float) -> float:
        return area_mm2 / self._spacing_mm**2


def _surroundings(calcification: Calcification) -> np.ndarray:
    """Returns uint8 [height, width] of the patch: 1 where no other mask may lie."""
    size = 2 * _GAP_PX + 1
    return np.asarray(ndimage.binary_dilation(calcification.mask, np.ones((size, size))), np.uint8)


def _draw_shape(pattern: _Pattern, rng: np.random.Generator) -> Shape:
    return list(Shape)[int(rng.choice(len(Shape), p=pattern.value))]


def _draw_area_mm2(rng: np.random.Generator, max_diameter_mm: float, factor: float = 1.0) -> float:
    """Draws the area of one calcification in mm2, between those of the smallest and the largest diameter."""
    while True:
        area = factor * _disk(_MEDIAN_DIAMETER_MM) * rng.lognormal(0.0, _LOG_AREA_SPREAD)
        if _disk(_MIN_DIAMETER_MM) <= area <= _disk(max_diameter_mm):
            return float(area)


def _draw_between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draws a number whose logarithm is uniform."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _disk(diameter: float) -> float:
    return math.pi / 4.0 * diameter * diameter
