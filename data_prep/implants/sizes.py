"""How large and how strong calcifications are."""

import math

import numpy as np

from data_prep.implants.config import ImplantConfig

__all__ = ["COARSE_DIAMETER_MM", "MAX_DIAMETER_MM", "disk", "draw_area_mm2", "draw_between", "draw_snr", "snr_of_area"]

# Areas. Log-normal about a diameter of 0.17 mm, drawn anew below 0.1 mm, and a few coarse ones among the isolated: most
# are a few to some tens of pixels, 2 to 4 % pass 100 px at 0.05 mm, as in Fig. 3 of arXiv 2102.00811. Benign coarse
# calcifications reach several mm; those of suspicious clusters are below about 0.5 mm (BI-RADS, 5th edition, 2013:
# fine pleomorphic, fine linear).
_MEDIAN_DIAMETER_MM = 0.17
_LOG_AREA_SPREAD = 1.1
_MIN_DIAMETER_MM = 0.1
MAX_DIAMETER_MM = 3.0
COARSE_DIAMETER_MM = 0.5

# Thicker means denser: signal-to-noise grows with the root of the diameter, within the limits of the configuration.
_SNR_POWER = 0.5


def draw_area_mm2(rng: np.random.Generator, max_diameter_mm: float, factor: float = 1.0) -> float:
    """Draws the area of one calcification in mm2, between those of the smallest and the largest diameter."""
    while True:
        area = factor * disk(_MEDIAN_DIAMETER_MM) * rng.lognormal(0.0, _LOG_AREA_SPREAD)
        if disk(_MIN_DIAMETER_MM) <= area <= disk(max_diameter_mm):
            return float(area)


def draw_snr(rng: np.random.Generator, config: ImplantConfig) -> float:
    """Draws a signal-to-noise ratio, from barely visible to obvious."""
    return draw_between(rng, config.snr_min, config.snr_max)


def snr_of_area(snr: float, area_mm2: float, config: ImplantConfig) -> float:
    """Fits a ratio drawn for the median area to another area."""
    larger = (area_mm2 / disk(_MEDIAN_DIAMETER_MM)) ** (_SNR_POWER / 2.0)
    return float(np.clip(snr * larger, config.snr_min, config.snr_max))


def draw_between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draws a number whose logarithm is uniform."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def disk(diameter: float) -> float:
    """Returns the area of a disk."""
    return math.pi / 4.0 * diameter * diameter
