"""What the report is about, beside what each peer did (`measuring.Measured`)."""

import dataclasses
from typing import Any

__all__ = ["BREAST", "FLOAT32", "MAMMOGRAM", "OURS", "Context", "ScalePoint"]

MAMMOGRAM, BREAST = "whole mammogram", "breast alone"  # names of images
OURS = "ours"  # key of the peer that the others are compared with
FLOAT32 = "float32"


@dataclasses.dataclass(frozen=True)
class Context:
    """What the figures stand for.

    Attributes:
        megapixels: Of each input: whole mammogram, breast alone, the demo's.
        tissue_megapixels: Of the whole mammogram.
        threshold: Operating threshold.
        turns: Of each peer.
        machine: See `machine`.
    """

    megapixels: dict[str, float]
    tissue_megapixels: float
    threshold: float
    turns: int
    machine: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class ScalePoint:
    """One image of the scaling part.

    Attributes:
        kind: Where it has tissue.
        megapixels: Of the image.
        tissue_megapixels: Of those.
        seconds: Median over the turns, by peer; a peer that failed is left out.
    """

    kind: str
    megapixels: float
    tissue_megapixels: float
    seconds: dict[str, float]

    def per_megapixel(self, peer: str) -> float | None:
        """Returns a peer's seconds a megapixel of the image, or None where it has none."""
        return self.seconds[peer] / self.megapixels if peer in self.seconds else None
