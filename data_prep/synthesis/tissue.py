"""Fat, glandular tissue and muscle of a compressed breast, as the logarithm of how much they attenuate."""

import dataclasses

import numpy as np

from data_prep.synthesis.fields import combed, power_law, ridges
from data_prep.synthesis.shape import BreastShape

__all__ = ["FAT_PER_MM", "GLAND_PER_MM", "TissueStyle", "attenuate", "draw_gland"]

# Linear attenuation at 20 keV (Johns and Yaffe 1987, "X-ray characterisation of normal and neoplastic breast tissues",
# Physics in Medicine and Biology 32, 675-695): fat 0.456 / cm, fibroglandular 0.802 / cm; skin is close to the latter.
FAT_PER_MM = 0.0456
GLAND_PER_MM = 0.0802

_BETA = 3.0
_FINEST_MM = 0.2  # where the texture's power ends; beyond what the cells hold, two to a wavelength


@dataclasses.dataclass(frozen=True)
class TissueStyle:
    """A patient's tissue.

    Attributes:
        density: 0, almost all fat, to 1, extremely dense: BI-RADS a to d.
        fibrous: 0, cloudy, to 1, all threads.
        lobule_mm: Size of the fat lobules that the threads enclose.
        subcutaneous_mm: Fat under the skin.
    """

    density: float
    fibrous: float
    lobule_mm: float
    subcutaneous_mm: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "TissueStyle":
        """Draws a patient."""
        return cls(
            density=float(rng.beta(1.3, 1.3)),
            fibrous=float(rng.uniform(0.2, 1.0)),
            lobule_mm=float(rng.uniform(5.0, 11.0)),
            subcutaneous_mm=float(rng.uniform(3.0, 15.0)),
        )


def draw_gland(shape: BreastShape, style: TissueStyle, rng: np.random.Generator) -> np.ndarray:
    """Draws the share of glandular tissue (or muscle) along the beam.

    Returns:
        float32 [rows, columns] of cells, 0 to 1.
    """
    cell = shape.field.cell_mm
    angle = _directions(shape, rng)
    texture = combed(angle, cell, _BETA, (_FINEST_MM, 35.0), rng)
    cloud = power_law((angle.shape[0], angle.shape[1]), cell, _BETA, 35.0, rng)
    threads = _threads(angle, cell, style, rng)
    extent = _extent(shape, style, angle, rng)
    mixture = np.sqrt(np.float32(1.0 - 0.5 * style.fibrous)) * cloud + np.sqrt(np.float32(style.fibrous)) * texture
    gland = extent * (0.25 + 0.3 * style.density + 0.1 * mixture + 0.18 * threads)
    fat = (1.0 - extent) * (0.06 + 0.02 * mixture + 0.11 * threads)
    gland = np.maximum(gland + fat, 0.01)
    muscle = 0.6 + 0.025 * combed(np.full_like(angle, shape.muscle_angle), cell, _BETA, (0.5, 25.0), rng, strength=4.0)
    return np.asarray(np.clip(gland + shape.muscle * (muscle - 0.85 * gland), 0.0, 1.0), np.float32)


def attenuate(shape: BreastShape, gland: np.ndarray) -> np.ndarray:
    """Returns the attenuation's logarithm, float32 [rows, columns] of cells: 0 in air.

    Args:
        shape: The breast.
        gland: Share of glandular tissue.
    """
    inner = shape.thickness_mm - shape.skin_mm
    per_mm = np.float32(FAT_PER_MM) + np.float32(GLAND_PER_MM - FAT_PER_MM) * gland
    return np.asarray(inner * per_mm + shape.skin_mm * np.float32(GLAND_PER_MM), np.float32)


def _directions(shape: BreastShape, rng: np.random.Generator) -> np.ndarray:
    """Returns where threads point: to the nipple, more or less, and this changes over a few centimetres."""
    cell = shape.field.cell_mm
    rows = (np.arange(shape.depth_mm.shape[0], dtype=np.float32)[:, None] + 0.5) * cell - shape.nipple_mm[0]
    columns = (np.arange(shape.depth_mm.shape[1], dtype=np.float32)[None, :] + 0.5) * cell - shape.nipple_mm[1]
    # Behind the nipple by a third of the breast: threads do not all meet in one point.
    angle = np.arctan2(rows, columns - 0.35 * shape.nipple_mm[1])
    # Smooth, or threads would crinkle.
    turns = combed(np.zeros_like(angle), cell, 3.0, (15.0, 45.0), rng, strength=0.0)
    return np.asarray(angle + 0.8 * turns, np.float32)


def _threads(angle: np.ndarray, cell_mm: float, style: TissueStyle, rng: np.random.Generator) -> np.ndarray:
    """Draws the web of septa around fat lobules, coarse to fine, each layer over the other as in a projection."""
    total = np.zeros(angle.shape, np.float32)
    for scale, width, strength in ((1.6, 0.14, 1.0), (0.8, 0.18, 0.7), (0.45, 0.25, 0.4), (0.2, 0.35, 0.3)):
        wavelength = style.lobule_mm * scale
        field = combed(angle, cell_mm, 3.0, (1.1 * wavelength, 2.0 * wavelength), rng, strength=3.0)
        where = combed(angle, cell_mm, 3.0, (2.0, 25.0), rng)
        total += np.float32(strength) * ridges(field, width) / (1.0 + np.exp(0.7 - 2.5 * where))
    return total * np.float32(0.3 + 0.7 * style.fibrous)


def _extent(shape: BreastShape, style: TissueStyle, angle: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws where the glandular disc is: behind the nipple, under fat, with bays and islands; 0 to 1."""
    cell = shape.field.cell_mm
    rows = (np.arange(shape.depth_mm.shape[0], dtype=np.float32)[:, None] + 0.5) * cell
    columns = (np.arange(shape.depth_mm.shape[1], dtype=np.float32)[None, :] + 0.5) * cell
    radius = 28.0 + 40.0 * style.density
    centre = shape.nipple_mm[0] + rng.uniform(-12.0, 8.0), shape.nipple_mm[1] * rng.uniform(0.45, 0.65)
    away = np.hypot((rows - centre[0]) / radius, (columns - centre[1]) / (0.9 * radius))
    under = np.clip((shape.depth_mm - style.subcutaneous_mm) / 6.0, -3.0, 1.0)
    patches = combed(angle, cell, 3.6, (1.5, 45.0), rng)
    level = 2.2 * (1.0 - away) + under - 1.0 + 0.9 * patches + 2.2 * (style.density - 0.5)
    return np.asarray(1.0 / (1.0 + np.exp(np.clip(-1.8 * level, -30.0, 30.0))), np.float32)
