"""A mammogram while calcifications are placed: where there is still room, and how strong a signal can be seen."""

import dataclasses
import math

import numpy as np
from scipy import ndimage

from data_prep.errors import InputError
from data_prep.implants.calcification import Calcification, Shape
from data_prep.implants.config import ImplantConfig, Variety
from data_prep.implants.site import allowed_cells, local_noise
from data_prep.mammogram import Mammogram

__all__ = ["ISOLATION_MM", "Canvas", "PlacedCalcification"]

ISOLATION_MM = 3.0
"""From an isolated calcification, and from a cluster, to what else lies there."""

_SITES_ISOLATED = 200
_RIM_SIGNAL = 0.1  # share of a calcification's peak from which a pixel is no clean background
_GAP_PX = 2  # background between two masks, at least

_HEADROOM = 0.95  # share of the peak that full scale must leave
_MAX_CONTRAST = 0.5  # of full scale; more is metal
_NOISE_RADIUS_MM = 0.5  # what varies over more is tissue, against which a large calcification shows all the same


@dataclasses.dataclass(frozen=True, eq=False)
class PlacedCalcification:
    """One calcification where it lies.

    Attributes:
        calcification: Its patch.
        top: Row of the patch's first row in the mammogram.
        left: Column of the patch's first column.
        cluster: Number, from 1, of the cluster or vessel it belongs to, or None for an isolated one.
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


class Canvas:
    """The mammogram while calcifications are placed.

    Attributes:
        placed: What lies in it so far.
        spacing_mm: Pixel spacing used for sizes.
    """

    def __init__(
        self, background: Mammogram, spacing_mm: float, config: ImplantConfig, rng: np.random.Generator
    ) -> None:
        """Finds where calcifications may lie.

        Args:
            background: The mammogram.
            spacing_mm: Pixel spacing used for sizes.
            config: With `Variety.FULL`, a signal too strong for its site is weakened, and noise is measured at the
                scale of a disk of 1 mm at most; `Variety.BASIC` does neither, so that it stays what it was.
            rng: The only source of chance.

        Raises:
            InputError: No breast is found.
        """
        self.placed: list[PlacedCalcification] = []
        self.spacing_mm = spacing_mm
        self._background = background
        self._intensity = background.intensity()
        self._config = config
        self._lenient = config.variety is Variety.FULL
        self._rng = rng
        self._allowed, self._step = allowed_cells(self._intensity, spacing_mm)
        self._cells = np.argwhere(self._allowed)
        if self._cells.size == 0:
            raise InputError("no breast found in which to place calcifications")
        # How many calcifications keep others away from a pixel: a count, so that a cluster can be taken back.
        self._taken = np.zeros(background.pixels.shape, np.uint8)
        # Top, left, bottom, right of each patch: thousands of sites are compared with all of them.
        self._bounds = np.zeros((0, 4))

    def draw_site(self) -> tuple[float, float]:
        """Draws a (row, column) of the breast, every place equally likely."""
        cell = self._cells[self._rng.integers(len(self._cells))]
        row, column = (cell + self._rng.uniform(0.0, 1.0, 2)) * self._step
        return float(row), float(column)

    def near(self, row: float, column: float, distance_px: float) -> bool:
        """Tells whether another calcification's patch reaches within a distance of a site."""
        top, left, bottom, right = self._bounds[: len(self.placed)].T
        rows = np.maximum(np.maximum(top - row, row - bottom), 0.0)
        columns = np.maximum(np.maximum(left - column, column - right), 0.0)
        return bool((np.hypot(rows, columns) < distance_px).any())

    def add(self, calcification: Calcification, row: float, column: float, snr: float, cluster: int | None) -> bool:
        """Places a calcification about a site, where there is breast, room and headroom; else returns False.

        Args:
            calcification: Its patch.
            row: Of the site, which becomes row height // 2 of the patch.
            column: Likewise.
            snr: As in `ImplantConfig.snr_min`; with `Variety.FULL` less, down to that, where only less has room.
            cluster: As in `PlacedCalcification`.
        """
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
        strength = self._fit(calcification, window, (row, column), snr)
        if strength is None:
            return False
        bounds = (top, left, top + height, left + width)
        self._bounds = np.concatenate([self._bounds[: len(self.placed)], [bounds]])
        self.placed.append(PlacedCalcification(calcification, top, left, cluster, *strength))
        self._taken[window] += _surroundings(calcification)
        return True

    def _fit(
        self, calcification: Calcification, window: tuple[slice, slice], site: tuple[float, float], snr: float
    ) -> tuple[float, float] | None:
        """Returns signal-to-noise ratio and contrast at a site, or None where such a signal has no room."""
        radius = math.sqrt(calcification.area_px / math.pi)
        if self._lenient:
            radius = min(radius, self.px(_NOISE_RADIUS_MM))
        noise = max(local_noise(self._intensity, site, radius), 0.5 / self._background.full_scale)
        contrast = float(snr * noise / calcification.signal[calcification.mask].mean())
        peak = np.unravel_index(int(np.argmax(calcification.signal)), calcification.signal.shape)
        level = self._intensity[window][peak]
        if contrast <= _MAX_CONTRAST and level + _HEADROOM * contrast <= 1.0:
            return snr, contrast
        most = min(_MAX_CONTRAST, float(1.0 - level) / _HEADROOM)
        weaker = snr * most / contrast
        return (weaker, most) if self._lenient and weaker >= self._config.snr_min else None

    def add_alone(self, calcification: Calcification, snr: float) -> bool:
        """Places a calcification at a drawn site away from all others; False where none is found."""
        for _ in range(_SITES_ISOLATED):
            row, column = self.draw_site()
            if not self.near(row, column, self.px(ISOLATION_MM)) and self.add(calcification, row, column, snr, None):
                return True
        return False

    def take_back(self, count: int) -> None:
        """Removes what was placed after the first `count`."""
        for placed in self.placed[count:]:
            self._taken[placed.window] -= _surroundings(placed.calcification)
        del self.placed[count:]

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

    def px(self, length_mm: float) -> float:
        """Returns a length in pixels."""
        return length_mm / self.spacing_mm

    def px2(self, area_mm2: float) -> float:
        """Returns an area in pixels."""
        return area_mm2 / self.spacing_mm**2


def _surroundings(calcification: Calcification) -> np.ndarray:
    """Returns uint8 [height, width] of the patch: 1 where no other mask may lie."""
    size = 2 * _GAP_PX + 1
    mask = calcification.mask
    closed = ndimage.binary_fill_holes(mask) if calcification.shape is Shape.RIM else mask
    return np.asarray(ndimage.binary_dilation(closed, np.ones((size, size))), np.uint8)
