"""Places what the machine or the film adds to the picture: hot pixels, dust, scratches, labels, borders."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from data_prep.dicom.terms import Laterality, View
from data_prep.synthesis.curves import add_curve, wander
from data_prep.synthesis.detector import Air, Look, Technique
from data_prep.synthesis.hard_negative import HardNegative, Kind

__all__ = ["add_artifacts"]

_HOT_PIXELS = 12.0  # mean a digital picture
_DEAD_LINE_SHARE = 0.15
_DUST_PER_CM2 = 0.25
_HAIRS = 6.0
_SCRATCHES = 5.0


def add_artifacts(
    picture: np.ndarray,
    breast: np.ndarray,
    technique: Technique,
    laterality: Laterality,
    view: View,
    rng: np.random.Generator,
) -> list[HardNegative]:
    """Draws them over a picture with the breast on its final side; returns what was placed where.

    None of them is blurred by the detector: that tells them from calcifications.

    Args:
        picture: float32 [height, width] in [0, 1]; changed in place.
        breast: bool [height, width]; where the breast is.
        technique: How the picture was taken.
        laterality: Said by the label.
        view: Said by the label.
        rng: Source of chance.
    """
    artifacts = _Artifacts(picture, breast, technique, rng)
    if technique.look is Look.FILM:
        artifacts.add_label(f"{laterality.value} {view.value}", rng.uniform(9.0, 14.0), turned=True)
        artifacts.add_dust()
        artifacts.add_scratches()
        artifacts.add_film_borders()
    else:
        if rng.uniform() < 0.8:
            artifacts.add_label(f"{laterality.value} {view.value}", rng.uniform(3.0, 6.0), turned=False)
        artifacts.add_hot_pixels()
        if rng.uniform() < _DEAD_LINE_SHARE:
            artifacts.add_dead_line()
        if technique.air is Air.WHITE_MARGIN:
            artifacts.add_white_margin()
    np.clip(picture, 0.0, 1.0, out=picture)
    return artifacts.placed


class _Artifacts:
    def __init__(self, picture: np.ndarray, breast: np.ndarray, technique: Technique, rng: np.random.Generator) -> None:
        self.placed: list[HardNegative] = []
        self._picture = picture
        self._spacing = technique.spacing_mm
        self._top = technique.ceiling
        self._rng = rng
        # Half of what falls anywhere is made to fall on the breast, where it matters.
        self._breast = breast
        self._tissue = np.argwhere(breast[4::8, 4::8]) * 8 + 4

    def add_hot_pixels(self) -> None:
        """Pixels that the detector's own map of defects misses: one, rarely two, far brighter or darker."""
        for _ in range(self._rng.poisson(_HOT_PIXELS)):
            row, column = self._site()
            value = self._rng.uniform(0.5, 1.0) * self._top if self._rng.uniform() < 0.75 else 0.0
            pair = int(self._rng.uniform() < 0.2)
            self._picture[row, column : column + 1 + pair] = value
            self._place(Kind.HOT_PIXEL, row, column, self._spacing * (1 + pair))

    def add_dead_line(self) -> None:
        """A row or column whose amplifier is off by a little."""
        shift = self._rng.choice((-1.0, 1.0)) * self._rng.uniform(0.01, 0.06) * self._top
        row, column = self._site()
        lines = self._picture[row : row + 1] if self._rng.uniform() < 0.5 else self._picture[:, column : column + 1]
        lines[lines > 0.0] += np.float32(shift)
        self._place(Kind.DEAD_LINE, row, column, max(lines.shape) * self._spacing)

    def add_dust(self) -> None:
        """Dust on the screen leaves white specks, dust in the digitiser dark ones; hairs of both kinds."""
        area = self._picture.size * (self._spacing / 10.0) ** 2
        for _ in range(self._rng.poisson(_DUST_PER_CM2 * area)):
            self._add_speck()
        for _ in range(self._rng.poisson(_HAIRS)):
            length = self._rng.uniform(1.0, 6.0)
            bright = self._rng.uniform() < 0.6
            self._add_line(Kind.HAIR, length, self._rng.uniform(1.0, 4.0), self._rng.uniform(0.1, 0.35), bright)

    def add_scratches(self) -> None:
        """Straight scratches of the emulsion, and the streaks that a digitiser draws along one axis."""
        for _ in range(self._rng.poisson(_SCRATCHES)):
            length = math.exp(self._rng.uniform(math.log(3.0), math.log(60.0)))
            self._add_line(Kind.SCRATCH, length, 0.1, self._rng.uniform(0.03, 0.2), bright=self._rng.uniform() < 0.7)
        if self._rng.uniform() < 0.5:
            row, column = self._site()
            shift = self._rng.choice((-1.0, 1.0)) * self._rng.uniform(0.01, 0.04)
            self._picture[:, column] += np.float32(shift)
            self._place(Kind.SCRATCH, row, column, self._picture.shape[0] * self._spacing)

    def add_label(self, text: str, height_mm: float, turned: bool) -> None:
        """Letters of lead on film, turned as they were laid; a printed label, often framed, on digital pictures."""
        size = max(8, round(height_mm / self._spacing))
        font = ImageFont.load_default(size)
        left, top, right, bottom = (math.floor(side) for side in font.getbbox(text))
        pad = size // 3
        image = Image.new("L", (right - left + 2 * pad, bottom - top + 2 * pad))
        pen = ImageDraw.Draw(image)
        pen.text((pad - left, pad - top), text, fill=255, font=font, stroke_width=size // 16 if turned else 0)
        if turned:
            image = image.rotate(self._rng.uniform(-60.0, 60.0), Image.Resampling.BILINEAR, expand=True)
        elif self._rng.uniform() < 0.5:
            pen.rectangle((0, 0, image.width - 1, image.height - 1), outline=255, width=max(1, size // 12))
        letters = np.asarray(image, np.float32) / np.float32(255.0)
        if turned:
            letters = ndimage.gaussian_filter(letters, self._rng.uniform(0.05, 0.15) / self._spacing)
        value = self._rng.uniform(0.55, 0.95) if turned else self._top
        if (window := self._free(letters.shape)) is None:
            return
        rows, columns = window
        seen = self._picture[max(rows.start, 0) : rows.stop, max(columns.start, 0) : columns.stop]
        letters = letters[max(-rows.start, 0) :, max(-columns.start, 0) :][: seen.shape[0], : seen.shape[1]]
        seen += letters * (np.float32(value) - seen)
        middle = [
            np.clip((side.start + side.stop) / 2, 0, size - 1)
            for side, size in zip(window, self._picture.shape, strict=True)
        ]
        self._place(Kind.LABEL, middle[0], middle[1], (columns.stop - columns.start) * self._spacing)

    def add_white_margin(self) -> None:
        """The collimator's shadow, burnt white, along one to three borders."""
        for side in self._rng.permutation(4)[: self._rng.integers(1, 4)]:
            self._add_border(int(side), self._rng.uniform(0.2, 3.0), 1.0, ragged=False)

    def add_film_borders(self) -> None:
        """Unexposed film: bright strips above and below, thinner ones beside, none of them quite straight."""
        for side, share, widest in ((0, 0.6, 4.0), (1, 0.6, 4.0), (2, 0.3, 2.0), (3, 0.3, 2.0)):
            if self._rng.uniform() < share:
                self._add_border(side, self._rng.uniform(0.2, widest), self._rng.uniform(0.7, 1.0), ragged=True)

    def _add_border(self, side: int, width_mm: float, value: float, ragged: bool) -> None:
        """Side 0 is above, 1 below, 2 left, 3 right."""
        view = (self._picture, self._picture[::-1], self._picture.T, self._picture.T[::-1])[side]
        edge = np.full(view.shape[1], width_mm / self._spacing)
        if ragged:
            waves = ndimage.gaussian_filter1d(self._rng.standard_normal(view.shape[1]), 5.0)
            slope = self._rng.uniform(-0.008, 0.008) * (np.arange(view.shape[1]) - view.shape[1] / 2)
            edge = edge + slope + 2.0 * waves
        strip = view[: math.ceil(max(1.0, float(edge.max()))) + 1]
        covered = np.clip(edge[None, :] - np.arange(len(strip))[:, None] + 0.5, 0.0, 1.0).astype(np.float32)
        strip += covered * (np.float32(value) - strip)
        height, columns = self._picture.shape
        row, column = ((0, columns / 2), (height - 1, columns / 2), (height / 2, 0), (height / 2, columns - 1))[side]
        self._place(Kind.BORDER, row, column, view.shape[1] * self._spacing)

    def _add_speck(self) -> None:
        """An angular speck of one to a few pixels, sharp."""
        rng = self._rng
        row, column = self._site()
        size = max(1.0, math.exp(rng.uniform(math.log(0.04), math.log(0.25))) / self._spacing)
        half = math.ceil(size)
        grid = np.mgrid[-half : half + 1, -half : half + 1]
        inside = np.ones(grid.shape[1:], bool)
        # An intersection of half planes: dust has corners.
        for turn in rng.uniform(0.0, 2.0 * math.pi, 5):
            inside &= grid[0] * math.sin(turn) + grid[1] * math.cos(turn) <= size * rng.uniform(0.2, 0.6)
        inside[half, half] = True
        change = rng.uniform(0.1, 0.5) if rng.uniform() < 0.75 else -rng.uniform(0.1, 0.3)
        rows, columns = np.nonzero(inside)
        rows, columns = rows + row - half, columns + column - half
        keep = (rows >= 0) & (rows < self._picture.shape[0]) & (columns >= 0) & (columns < self._picture.shape[1])
        self._picture[rows[keep], columns[keep]] += np.float32(change)
        self._place(Kind.DUST, row, column, size * self._spacing)

    def _add_line(self, kind: Kind, length_mm: float, bend: float, change: float, bright: bool) -> None:
        site = self._site()
        points = wander(site, self._rng.uniform(0.0, 2.0 * math.pi), length_mm / self._spacing, bend, self._rng)
        # A tube of half a pixel's radius is one pixel wide and one thick.
        radius = self._rng.uniform(0.5, 1.2)
        sign = 1.0 if bright else -1.0
        add_curve(self._picture, points, np.full(len(points), radius), sign * change / (2.0 * radius))
        self._place(kind, site[0], site[1], length_mm)

    def _site(self) -> tuple[int, int]:
        """Draws a (row, column) of the picture, half of them on the breast."""
        height, width = self._picture.shape
        if len(self._tissue) and self._rng.uniform() < 0.5:
            row, column = self._tissue[self._rng.integers(len(self._tissue))] + self._rng.integers(-4, 4, 2)
        else:
            row, column = self._rng.integers(height), self._rng.integers(width)
        return min(int(row), height - 1), min(int(column), width - 1)

    def _free(self, size: tuple[int, ...]) -> tuple[slice, slice] | None:
        """Finds room for a label in the air, up to half of it beyond the border; None where there is none."""
        for _ in range(60):
            row, column = (
                int(self._rng.integers(-part // 2, max(side - part // 2, 1 - part // 2)))
                for side, part in zip(self._picture.shape, size, strict=True)
            )
            rows, columns = slice(row, row + size[0]), slice(column, column + size[1])
            if not self._breast[max(row, 0) : rows.stop, max(column, 0) : columns.stop].any():
                return rows, columns
        return None

    def _place(self, kind: Kind, row: float, column: float, size_mm: float) -> None:
        self.placed.append(HardNegative(kind, float(row), float(column), float(size_mm)))
