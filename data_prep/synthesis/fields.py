"""Random fields with the spectrum of breast tissue: power laws, isotropic or combed along a direction."""

import math

import numpy as np
from scipy import fft, ndimage

__all__ = ["combed", "power_law", "ridges", "upsample"]

_DIRECTIONS = 6  # wedges of 30 degrees: fibres bend without steps
_BLEND = 8.0  # concentration of the choice between wedges
_SAMPLES = 6  # a shortest wavelength, at least


def power_law(
    shape: tuple[int, int], step_mm: float, beta: float, longest_mm: float, rng: np.random.Generator
) -> np.ndarray:
    """Draws a Gaussian field whose power falls with spatial frequency as 1 / f^beta.

    Mammograms have a beta of about 3 (Burgess, Jacobson and Judy 2001, "Human observer detection experiments with
    mammograms and power-law noise", Medical Physics 28, 419-437).

    Args:
        shape: (height, width) in steps.
        step_mm: Distance of neighbouring samples.
        beta: Exponent of the power.
        longest_mm: Wavelength above which the power no longer rises.
        rng: Source of chance.

    Returns:
        float32 [height, width]; mean 0, standard deviation 1.
    """
    spectrum, size = _white(shape, rng)
    frequency, _ = _polar(size, step_mm)
    return _standard(_back(spectrum * _falling(frequency, beta, longest_mm, 0.0), size, shape))


def combed(
    angle: np.ndarray,
    step_mm: float,
    beta: float,
    wavelengths_mm: tuple[float, float],
    rng: np.random.Generator,
    strength: float = 1.2,
) -> np.ndarray:
    """Draws a power-law field whose structures lie along a direction that changes from place to place.

    Args:
        angle: float [height, width]; direction of the structures in radians, from the columns' axis towards the rows'.
        step_mm: Distance of neighbouring samples.
        beta: Exponent of the power.
        wavelengths_mm: Shortest and longest wavelength; beyond, there is little.
        rng: Source of chance.
        strength: 0, no direction at all; 1, structures somewhat longer than wide; 3, hair.

    Returns:
        float32 [height, width]; mean 0, standard deviation 1.
    """
    shortest, longest = wavelengths_mm
    # What has no short waves is drawn on a coarser grid.
    coarser = max(1, int(shortest / (_SAMPLES * step_mm)))
    if coarser > 1:
        coarse = combed(angle[::coarser, ::coarser], step_mm * coarser, beta, wavelengths_mm, rng, strength)
        return upsample(coarse, coarser, (angle.shape[0], angle.shape[1]), order=3)
    height, width = angle.shape
    spectrum, size = _white((height, width), rng)
    frequency, direction = _polar(size, step_mm)
    spectrum = spectrum * _falling(frequency, beta, longest, shortest)
    mixed = np.zeros(angle.shape, np.float32)
    weights = np.zeros(angle.shape, np.float32)
    for number in range(_DIRECTIONS):
        along = math.pi * number / _DIRECTIONS
        # What lies along a direction varies across it.
        wedge = np.exp(np.float32(strength) * (np.cos(2.0 * (direction - along - math.pi / 2.0)) - 1.0))
        weight = np.exp(_BLEND * (np.cos(2.0 * (angle - along)) - 1.0)).astype(np.float32)
        mixed += weight * _back(spectrum * wedge, size, (height, width))
        weights += weight
    return _standard(mixed / weights)


def ridges(field: np.ndarray, width: float) -> np.ndarray:
    """Turns the zero lines of a field, [height, width], into threads: exp(-(field / width)^2), 1 on a line; float32."""
    return np.asarray(np.exp(-((field / np.float32(width)) ** 2)), np.float32)


def upsample(field: np.ndarray, step: int, shape: tuple[int, int], order: int = 1) -> np.ndarray:
    """Spreads samples of square cells over an image; the cells cover it, the last ones perhaps beyond its border.

    Args:
        field: float [rows, columns].
        step: Pixels a cell and axis.
        shape: (height, width) in pixels.
        order: Of the spline: 1 for what is smooth, 3 for texture.

    Returns:
        float32 of that shape.
    """
    if step == 1:
        return np.asarray(field[: shape[0], : shape[1]], np.float32)
    large = ndimage.zoom(field.astype(np.float32), step, order=order, mode="nearest", grid_mode=True)
    return np.asarray(large[: shape[0], : shape[1]], np.float32)


def _white(shape: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, tuple[int, int]]:
    """Returns the spectrum of white noise, complex64 [rows, columns // 2 + 1], and (rows, columns), fast to transform.

    The field repeats beyond its size: a margin of an eighth keeps opposite borders from being the same.
    """
    rows, columns = (fft.next_fast_len(side + side // 8 + 1, real=True) for side in shape)
    return fft.rfft2(rng.standard_normal((rows, columns), dtype=np.float32)), (rows, columns)


def _polar(size: tuple[int, int], step_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns frequency in 1/mm and direction in radians of each coefficient, float32 [rows, columns // 2 + 1]."""
    along_rows = fft.fftfreq(size[0], step_mm).astype(np.float32)[:, None]
    along_columns = fft.rfftfreq(size[1], step_mm).astype(np.float32)[None, :]
    return np.hypot(along_rows, along_columns), np.arctan2(along_rows, along_columns)


def _falling(frequency: np.ndarray, beta: float, longest_mm: float, shortest_mm: float) -> np.ndarray:
    lowest = np.float32(1.0 / longest_mm)
    amplitude = np.maximum(frequency, lowest) ** np.float32(-beta / 2.0)
    # Below the lowest frequency the power fades, so that the field's mean is not drawn with it.
    amplitude *= 1.0 - np.exp(-((2.0 * frequency / lowest) ** 2))
    if shortest_mm > 0.0:
        amplitude *= np.exp(-((frequency * np.float32(shortest_mm)) ** 4))
    return np.asarray(amplitude, np.float32)


def _back(spectrum: np.ndarray, size: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    return np.asarray(fft.irfft2(spectrum, s=size)[: shape[0], : shape[1]], np.float32)


def _standard(field: np.ndarray) -> np.ndarray:
    return np.asarray((field - field.mean()) / max(float(field.std()), 1e-12), np.float32)
