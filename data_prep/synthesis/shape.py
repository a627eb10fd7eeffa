"""The breast's outline under compression: skin, nipple, pectoral muscle, thickness."""

import dataclasses
import math

import numpy as np
from scipy import ndimage

from data_prep.dicom.terms import View

__all__ = ["BreastShape", "Field", "draw_shape"]

_CELL_MM = 0.15  # fine enough for texture (what is finer drowns in noise) and for a skin of 1.2 mm
_MARGIN_MM = 30.0  # outline continued beyond the field, so that its borders are no skin
_AIR_MM = 8.0  # least air between nipple and the field's far border


@dataclasses.dataclass(frozen=True)
class Field:
    """The picture's area. The chest wall is at column 0.

    Attributes:
        height: Pixels.
        width: Pixels.
        spacing_mm: Pixel spacing.
    """

    height: int
    width: int
    spacing_mm: float

    @property
    def step(self) -> int:
        """Pixels a cell and axis, for what is smooth."""
        return max(1, round(_CELL_MM / self.spacing_mm))

    @property
    def cell_mm(self) -> float:
        """Side of a cell."""
        return self.step * self.spacing_mm


@dataclasses.dataclass(frozen=True, eq=False)
class BreastShape:
    """A breast in its field, in cells of `field.step` pixels, as wide as the breast is and no wider.

    Attributes:
        field: The picture's area.
        view: CC or MLO.
        depth_mm: float32 [rows, columns]; distance to the skin's outer surface, negative in air.
        thickness_mm: float32 of that shape; compressed thickness with skin, 0 in air.
        skin_mm: float32 of that shape; path through skin.
        muscle: float32 of that shape; share of the pectoral muscle, 0 to 1; 0 throughout for CC.
        muscle_angle: Direction of its fibres in radians, from the columns' axis towards the rows'.
        nipple_mm: (row, column) of the nipple; may lie outside the field.
    """

    field: Field
    view: View
    depth_mm: np.ndarray
    thickness_mm: np.ndarray
    skin_mm: np.ndarray
    muscle: np.ndarray
    muscle_angle: float
    nipple_mm: tuple[float, float]

    @property
    def columns_px(self) -> int:
        """Pixels from the chest wall to where there is only air."""
        return min(self.field.width, self.depth_mm.shape[1] * self.field.step)


@dataclasses.dataclass(frozen=True, eq=False)
class _Outline:
    """Distance of the skin from the chest wall, in mm, at the rows of a field."""

    reach_mm: np.ndarray
    nipple_mm: tuple[float, float]


def draw_shape(
    field: Field, view: View, size: float, thickness_mm: float, skin_mm: float, rng: np.random.Generator
) -> BreastShape:
    """Draws a breast in its field: a whole one where the field has room, else a part with skin, nipple or both.

    Args:
        field: The picture's area.
        view: CC or MLO.
        size: 0 for a small breast to 1 for a large one; the patient's.
        thickness_mm: Compressed thickness in the middle.
        skin_mm: Thickness of the skin.
        rng: Source of chance.
    """
    outline = _draw_outline(field, view, size, rng)
    depth = _depth(field, outline)
    muscle, angle = np.zeros(depth.shape, np.float32), 0.0
    if view is View.MLO:
        muscle, angle = _draw_muscle(field, outline, (depth.shape[0], depth.shape[1]), rng)
    tilt = 1.0 + rng.uniform(-0.12, 0.12) * (np.linspace(-1.0, 1.0, depth.shape[1]))[None, :]
    bulge = rng.uniform(0.1, 0.3) * thickness_mm
    outer = _dome(depth, thickness_mm, bulge) * tilt
    inner = np.minimum(outer, _dome(depth - skin_mm, thickness_mm - 2.0 * skin_mm, bulge) * tilt)
    return BreastShape(
        field=field,
        view=view,
        depth_mm=depth,
        thickness_mm=outer.astype(np.float32),
        skin_mm=(outer - inner).astype(np.float32),
        muscle=(muscle * (depth > skin_mm)).astype(np.float32),
        muscle_angle=angle,
        nipple_mm=outline.nipple_mm,
    )


def _draw_outline(field: Field, view: View, size: float, rng: np.random.Generator) -> _Outline:
    height, width = field.height * field.spacing_mm, field.width * field.spacing_mm
    reach = min(55.0 + 60.0 * size + rng.uniform(-6.0, 6.0), width - _AIR_MM, 0.85 * width)
    length = 125.0 + 75.0 * size + rng.uniform(-10.0, 10.0)
    if view is View.MLO:
        length *= 1.15
    whole = height >= length
    # Where the breast is higher than the field, any part of it may show.
    middle = height * (rng.uniform(0.45, 0.55) if whole else rng.uniform(0.0, 1.0))
    rows = np.arange(-_MARGIN_MM, height + _MARGIN_MM + field.cell_mm, field.cell_mm)
    if view is View.MLO:
        nipple = middle + 0.1 * length
        # No corner where the fold under the breast begins.
        profile = ndimage.gaussian_filter1d(_side_profile((rows - nipple) / length, rng), 4.0 / field.cell_mm)
    else:
        nipple = middle
        profile = _top_profile((rows - nipple) / length, rng)
    waves = ndimage.gaussian_filter1d(rng.standard_normal(len(rows)), 15.0 / field.cell_mm, mode="nearest")
    waves *= rng.uniform(0.3, 1.2) / max(float(waves.std()), 1e-9)
    bump = rng.uniform(1.0, 6.0) * np.exp(-(((rows - nipple) / rng.uniform(3.5, 6.0)) ** 2))
    skin = reach * profile + waves * (profile > 0.15) + bump
    return _Outline(np.where(profile > 0.0, skin, -5.0), (float(nipple), float(reach)))


def _top_profile(position: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Craniocaudal: a rounded arch, one side fuller than the other; 1 at the nipple, 0 beyond the breast."""
    skew = rng.uniform(-0.1, 0.1)
    half = np.where(position < 0.0, 0.5 + skew, 0.5 - skew)
    power = rng.uniform(1.7, 2.5)
    return np.asarray(np.clip(1.0 - np.abs(position / half) ** power, 0.0, 1.0) ** (1.0 / rng.uniform(1.5, 2.1)))


def _side_profile(position: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mediolateral oblique: the axilla runs out of the field above, the fold under the breast ends it below."""
    top = rng.uniform(0.35, 0.65)
    rise = np.clip((position + 0.75) / 0.75, 0.0, 1.0)
    upper = top + (1.0 - top) * np.sin(rise * math.pi / 2.0) ** rng.uniform(1.4, 2.4)
    fall = np.clip(position / rng.uniform(0.33, 0.42), 0.0, 1.0)
    lower = (1.0 - fall ** rng.uniform(1.8, 2.4)) ** (1.0 / rng.uniform(1.6, 2.1))
    rest = rng.uniform(0.0, 0.12)  # the abdomen's skin below the fold
    return np.asarray(np.where(position < 0.0, upper, np.maximum(lower, rest)))


def _depth(field: Field, outline: _Outline) -> np.ndarray:
    """Returns float32 [rows, columns] of cells: signed distance to the outline in mm."""
    cell = field.cell_mm
    columns = -(-field.width // field.step)
    columns = min(columns, int(max(outline.reach_mm.max(), 0.0) / cell) + 1 + math.ceil(2.0 / cell))
    # Every second cell, smoothed: the distance changes slowly.
    margin = math.ceil(_MARGIN_MM / cell / 2.0) * 2
    across = (np.arange(-margin, columns + 8, 2) + 1.0) * cell
    inside = across[None, :] < outline.reach_mm[::2, None]
    signed = (ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)) * 2.0 * cell
    signed = ndimage.gaussian_filter(signed.astype(np.float32), 1.5)
    signed = np.asarray(ndimage.zoom(signed, 2, order=1, mode="nearest", grid_mode=True))
    above = round(_MARGIN_MM / cell)
    rows = -(-field.height // field.step)
    return np.asarray(signed[above : above + rows, margin : margin + columns], np.float32)


def _dome(depth_mm: np.ndarray, thickness_mm: float, bulge_mm: float) -> np.ndarray:
    """Thickness over the depth behind the edge: flat between the paddles, half an ellipse where it bulges out."""
    inward = np.clip(depth_mm / bulge_mm, 0.0, 1.0)
    return np.asarray(thickness_mm * np.sqrt(np.maximum(1.0 - (1.0 - inward) ** 2, 0.0)))


def _draw_muscle(
    field: Field, outline: _Outline, shape: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Draws the pectoral muscle: bounded by a slightly bulging line from the field's top to the chest wall."""
    height = field.height * field.spacing_mm
    end = min(outline.nipple_mm[0] + rng.uniform(-35.0, 15.0), height)  # row where it leaves the chest wall
    slope = math.tan(rng.uniform(0.18, 0.45))  # columns a row: 10 to 25 degrees from upright
    bulge = rng.uniform(-0.06, 0.1)
    rows = (np.arange(shape[0], dtype=np.float32) + 0.5)[:, None] * field.cell_mm
    columns = (np.arange(shape[1], dtype=np.float32) + 0.5)[None, :] * field.cell_mm
    up = np.maximum(end - rows, 0.0)
    edge = slope * up + bulge * up * (1.0 - up / max(end + 1.0, 1.0))
    soft = rng.uniform(0.5, 2.0)
    share = 1.0 / (1.0 + np.exp(np.clip((columns - edge) / soft, -30.0, 30.0)))
    return np.asarray(share * (up > 0.0), np.float32), math.atan2(-1.0, slope)
