"""From attenuation to grey values: blur, quantum noise, equalisation, tone curve, air; digital or digitised film."""

import dataclasses
import enum

import numpy as np
from scipy import ndimage

from data_prep.synthesis.fields import upsample
from data_prep.synthesis.shape import BreastShape
from data_prep.synthesis.tissue import FAT_PER_MM

__all__ = ["Air", "Look", "Technique", "Tone", "develop"]

_TOE = 0.02  # share of full scale


class Look(enum.Enum):
    """How the picture came to be."""

    DIGITAL = "digital"
    FILM = "film"


class Tone(enum.Enum):
    """Grey value over the logarithm of exposure."""

    LINEAR = "linear"
    SIGMOID = "sigmoid"
    GAMMA = "gamma"


class Air(enum.Enum):
    """What the picture holds where there is no breast."""

    ZERO = "zero"  # cut out and set to 0
    NOISY = "noisy"  # what the detector measured
    WHITE_MARGIN = "zero, white margin"  # as ZERO, with a burnt strip along borders: the collimator's

    @property
    def is_cut(self) -> bool:
        """Tells whether air is set to 0."""
        return self is not Air.NOISY


@dataclasses.dataclass(frozen=True)
class Technique:
    """How a patient's pictures were taken.

    Attributes:
        look: Digital, or digitised film.
        spacing_mm: Pixel spacing.
        bits_stored: 10 to 16.
        monochrome1: Whether stored values are dark on light.
        tone: Shape of the curve.
        contrast: Steepness of a sigmoid, exponent of a gamma.
        low: Grey value of the most transparent tissue, as a share of `ceiling`.
        high: Grey value of the densest tissue, as a share of `ceiling`.
        ceiling: Share of full scale that is used.
        equalise: How much of the thinner edge is made up for: 0 nothing, 1 all.
        sharpen: Edge enhancement of the vendor's processing.
        air: What air becomes.
        blur_mm: Standard deviation of the point spread (a Gaussian modulation transfer function).
        quanta_per_mm2: Detected quanta behind the breast's middle: dose and detector's efficiency.
        grain: Noise of film and its digitiser as a share of full scale; 0 for digital.
        grain_mm: Standard deviation of the Gaussian that correlates film's and scintillators' noise.
    """

    look: Look
    spacing_mm: float
    bits_stored: int
    monochrome1: bool
    tone: Tone
    contrast: float
    low: float
    high: float
    ceiling: float
    equalise: float
    sharpen: float
    air: Air
    blur_mm: float
    quanta_per_mm2: float
    grain: float
    grain_mm: float

    @classmethod
    def draw(cls, look: Look, rng: np.random.Generator) -> "Technique":
        """Draws a patient's machine and exposure."""
        # 20 to 100 uGy at the detector, some 5,500 photons / mm2 and uGy at 20 keV, of which half count. Films as
        # eight of CBIS-DDSM: their noise is a third of that of a digital mammogram.
        least, most = (4e5, 2e6) if look is Look.FILM else (5e4, 3.5e5)
        quanta = float(np.exp(rng.uniform(np.log(least), np.log(most))))
        if look is Look.FILM:
            return cls(
                look=look, spacing_mm=float(rng.choice((0.05, 0.05, 0.07, 0.1))),
                bits_stored=int(rng.choice((12, 16))), monochrome1=bool(rng.uniform() < 0.2), tone=Tone.SIGMOID,
                contrast=float(rng.uniform(0.5, 0.85)), low=float(rng.uniform(0.3, 0.45)),
                high=float(rng.uniform(0.7, 0.95)), ceiling=1.0, equalise=0.0, sharpen=0.0, air=Air.NOISY,
                blur_mm=float(rng.uniform(0.03, 0.06)), quanta_per_mm2=quanta,
                grain=float(rng.uniform(0.003, 0.013)), grain_mm=float(rng.uniform(0.02, 0.035)),
            )  # fmt: skip
        tone = (Tone.LINEAR, Tone.SIGMOID, Tone.GAMMA)[rng.integers(3)]
        contrast = rng.uniform(0.8, 1.3) if tone is Tone.SIGMOID else rng.uniform(0.7, 1.6)
        return cls(
            look=look, spacing_mm=float(rng.choice((0.05, 0.07, 0.07, 0.085, 0.1))),
            bits_stored=int(rng.choice((10, 12, 12, 13, 14, 14, 16))), monochrome1=bool(rng.uniform() < 0.3),
            tone=tone, contrast=float(contrast), low=float(rng.uniform(0.12, 0.35)),
            high=float(rng.uniform(0.65, 0.98)),
            # Some vendors store 12 bits of contrast in 14.
            ceiling=1.0 if rng.uniform() < 0.7 else float(rng.uniform(0.25, 0.9)),
            equalise=0.0 if rng.uniform() < 0.15 else float(rng.uniform(0.4, 1.0)),
            sharpen=0.0 if rng.uniform() < 0.5 else float(rng.uniform(0.1, 0.8)),
            air=tuple(Air)[rng.choice(3, p=(0.6, 0.25, 0.15))],
            blur_mm=float(rng.uniform(0.02, 0.06)), quanta_per_mm2=quanta, grain=0.0,
            grain_mm=0.0 if rng.uniform() < 0.5 else float(rng.uniform(0.02, 0.05)),
        )  # fmt: skip


def develop(shape: BreastShape, logarithm: np.ndarray, technique: Technique, rng: np.random.Generator) -> np.ndarray:
    """Turns attenuation into the picture.

    Args:
        shape: The breast.
        logarithm: float32 [height, columns_px]; attenuation, 0 in air.
        technique: How the picture is taken.
        rng: Source of the noise.

    Returns:
        float32 [height, width] in [0, 1]; brighter is denser.
    """
    field = shape.field
    size = (field.height, shape.columns_px)
    blurred = ndimage.gaussian_filter(logarithm, technique.blur_mm / field.spacing_mm, truncate=3.0)
    level = _levels(shape, blurred, technique)
    # Relative noise 1 / sqrt(N): in the logarithm it is an absolute one.
    per_pixel = technique.quanta_per_mm2 * field.spacing_mm**2
    middle = np.float32(level.reference)
    noise = _noise(size, technique.grain_mm / field.spacing_mm, rng)
    noisy = blurred + noise * np.exp(np.minimum(blurred - middle, 4.0) / 2.0) / np.float32(np.sqrt(per_pixel))
    del blurred, noise
    # The edge is evened out by the smooth thickness, as the vendors' processing estimates it.
    depth = upsample(shape.depth_mm, field.step, size)
    if technique.equalise:
        # The breast only: air stays below it.
        missing = (shape.thickness_mm.max() - shape.thickness_mm) * np.clip(shape.depth_mm + 0.5, 0.0, 1.0)
        noisy += np.float32(technique.equalise * FAT_PER_MM) * upsample(missing, field.step, size)
    breast = _tone((noisy - level.low) / np.float32(level.high - level.low), technique)
    del noisy
    if technique.sharpen:
        breast += np.float32(technique.sharpen) * (breast - _smooth(breast, 1.0 / field.spacing_mm))
    if technique.grain:
        breast += np.float32(technique.grain) * _noise(size, technique.grain_mm / field.spacing_mm, rng)
    # A soft toe: fat may be dark, never cut off.
    toe = np.float32(_TOE)
    breast = toe * np.logaddexp(breast / toe, np.float32(0.0), dtype=np.float32)
    breast *= np.float32(technique.ceiling)
    picture = np.zeros((field.height, field.width), np.float32)
    if technique.air.is_cut:
        breast[depth < np.float32(rng.uniform(-1.0, 0.2))] = 0.0
    elif technique.look is Look.FILM:
        _clear_film(picture[:, size[1] :], breast, technique, rng)
    else:
        fog = float(breast[depth < -0.5].mean()) if (depth < -0.5).any() else 0.0
        rest = picture[:, size[1] :]
        rest += np.float32(max(fog, 0.0)) + np.float32(0.003) * _noise(rest.shape, 0.0, rng)
    picture[:, : size[1]] = breast
    return np.clip(picture, 0.0, 1.0, out=picture)


@dataclasses.dataclass(frozen=True)
class _Levels:
    """Attenuations: of the breast's middle, and those that become the lowest and the highest grey."""

    reference: float
    low: float
    high: float


def _levels(shape: BreastShape, blurred: np.ndarray, technique: Technique) -> _Levels:
    """Chooses what the grey values span, as an automatic window does: from the thick part of the breast itself."""
    step = shape.field.step
    cells = blurred[::step, ::step][: shape.depth_mm.shape[0], : shape.depth_mm.shape[1]]
    depth = shape.depth_mm[: cells.shape[0], : cells.shape[1]]
    evened = cells + np.float32(technique.equalise * FAT_PER_MM) * (
        shape.thickness_mm.max() - shape.thickness_mm[: cells.shape[0], : cells.shape[1]]
    )
    inside = depth > min(10.0, 0.5 * float(depth.max()))
    low, high = (float(value) for value in np.percentile(evened[inside], (2.0, 99.5)))
    return _Levels(float(np.median(cells[inside])), low, max(high, low + 0.3))


def _tone(share: np.ndarray, technique: Technique) -> np.ndarray:
    """Maps 0 (most transparent tissue) to `low` and 1 (densest) to `high`, beyond them too."""
    low, high = np.float32(technique.low), np.float32(technique.high)
    if technique.tone is Tone.LINEAR:
        return np.asarray(low + (high - low) * share)
    if technique.tone is Tone.GAMMA:
        power = (np.maximum(share + 0.15, 0.0) / 1.15) ** np.float32(technique.contrast)
        return np.asarray(low + (high - low) * (power + np.float32(0.5) * np.minimum(share + 0.15, 0.0)))
    # A characteristic curve: toe and shoulder beyond `low` and `high`.
    steep = np.float32(4.0 * technique.contrast)
    ends = 1.0 / (1.0 + np.exp(np.array([0.5, -0.5], np.float32) * steep))
    curve = 1.0 / (1.0 + np.exp(np.clip(-steep * (share - 0.5), -30.0, 30.0)))
    return np.asarray(low + (high - low) * (curve - ends[0]) / (ends[1] - ends[0]), np.float32)


def _clear_film(air: np.ndarray, breast: np.ndarray, technique: Technique, rng: np.random.Generator) -> None:
    """Sets film's black to about 0: it is blackest where it was exposed most, and what is left there is grain."""
    black = np.float32(float(np.median(breast[:, -8:])) * rng.uniform(0.95, 1.15))
    stretch = np.float32(technique.high) / (np.float32(technique.high) - black)
    breast -= black
    breast *= stretch
    air += breast[:, -8:].mean()
    air += np.float32(technique.grain) * _noise(air.shape, technique.grain_mm / technique.spacing_mm, rng)


def _smooth(picture: np.ndarray, sigma_px: float) -> np.ndarray:
    """A wide Gaussian, by every fourth pixel."""
    step = 4
    coarse = ndimage.gaussian_filter(picture[step // 2 :: step, step // 2 :: step], sigma_px / step, truncate=3.0)
    if coarse.shape[0] * step < picture.shape[0] or coarse.shape[1] * step < picture.shape[1]:
        coarse = np.pad(coarse, ((0, 1), (0, 1)), "edge")
    large = ndimage.zoom(coarse, step, order=1, mode="nearest", grid_mode=True)
    return np.asarray(large[: picture.shape[0], : picture.shape[1]])


def _noise(shape: tuple[int, ...], sigma_px: float, rng: np.random.Generator) -> np.ndarray:
    """Draws noise of deviation 1 at a pixel, white or smoothed."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    if sigma_px > 0.0 and noise.size:
        noise = ndimage.gaussian_filter(noise, sigma_px, truncate=3.0)
        noise /= max(float(noise.std()), 1e-6)
    return noise
