"""What to implant in a mammogram."""

import dataclasses
import enum
import math

from data_prep.errors import InputError

__all__ = ["MAX_SPACING_MM", "MIN_SPACING_MM", "ImplantConfig", "Variety"]

MIN_SPACING_MM, MAX_SPACING_MM = 0.01, 0.5


class Variety(enum.StrEnum):
    """Which kinds of calcifications a mammogram gets."""

    BASIC = "basic"  # isolated ones and clusters of round, irregular, elongated and branching ones
    FULL = "full"  # those, and vessels, popcorn, rims, milk of calcium and dense clusters of fine pleomorphic ones


@dataclasses.dataclass(frozen=True)
class ImplantConfig:
    """What to implant; each field is the flag of the same name.

    Attributes:
        seed: Non-negative; with the mammogram's bytes it fixes every choice.
        pixel_spacing_mm: Spacing assumed where the mammogram states none.
        isolated_per_mammogram: Calcifications at least 3 mm from every other one.
        clusters_per_mammogram: Clusters of 8 to 25 calcifications within 1.5 to 8 mm.
        snr_min: Weakest signal-to-noise ratio: mean signal over the mask, by the background's standard deviation when
            averaged over as many pixels (with `Variety.FULL`: those of a disk of 1 mm at most). Rose puts the
            threshold of seeing at 3 to 5 (J. Opt. Soc. Am. 38, 196, 1948).
        snr_max: Strongest one.
        blur_mm: Standard deviation of the detector's point spread, as a Gaussian. Measured transfer functions give
            0.03 mm for selenium (0.4 at 7.1 cycles/mm: Hoheisel et al., IEEE NSS 2004) and 0.05 mm for caesium iodide
            (0.42 at 4 cycles/mm: Vedantham et al., Med. Phys. 27, 558, 2000).
        variety: Which kinds.
    """

    seed: int = 0
    pixel_spacing_mm: float = 0.05
    isolated_per_mammogram: int = 60
    clusters_per_mammogram: int = 6
    snr_min: float = 5.0
    snr_max: float = 30.0
    blur_mm: float = 0.04
    variety: Variety = Variety.BASIC

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"--seed must be 0 or more; found {self.seed}")
        if not MIN_SPACING_MM <= self.pixel_spacing_mm <= MAX_SPACING_MM:
            raise InputError(
                f"--pixel_spacing_mm must be {MIN_SPACING_MM} to {MAX_SPACING_MM}; found {self.pixel_spacing_mm}"
            )
        if self.isolated_per_mammogram < 0 or self.clusters_per_mammogram < 0:
            raise InputError(
                "--isolated_per_mammogram and --clusters_per_mammogram must be 0 or more; "
                f"found {self.isolated_per_mammogram} and {self.clusters_per_mammogram}"
            )
        if self.variety is Variety.BASIC and self.isolated_per_mammogram + self.clusters_per_mammogram == 0:
            raise InputError("--isolated_per_mammogram and --clusters_per_mammogram must not both be 0")
        if not 0.0 < self.snr_min <= self.snr_max < math.inf:
            raise InputError(
                f"--snr_min must be above 0 and at most --snr_max; found {self.snr_min} and {self.snr_max}"
            )
        if not 0.0 <= self.blur_mm <= 0.5:
            raise InputError(f"--blur_mm must be 0 to 0.5; found {self.blur_mm}")
