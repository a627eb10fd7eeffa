"""What a network must not take for a calcification: its kinds, and where each was placed."""

import dataclasses
import enum

__all__ = ["HardNegative", "Kind"]


class Kind(enum.Enum):
    """A thing that is no calcification and may look like one; the value is what `hard_negatives.csv` says."""

    VESSEL = "vessel"
    VESSEL_END_ON = "vessel end-on"
    DUCT = "duct"
    LIGAMENT = "ligament"
    FIBRE = "fibre"
    CROSSING = "crossing fibres"
    PORES = "skin pores"
    FOLD = "skin fold"
    MOLE = "mole"
    CLIP = "clip"
    WIRE = "wire"
    HOT_PIXEL = "hot pixel"
    DEAD_LINE = "dead line"
    DUST = "dust"
    HAIR = "hair"
    SCRATCH = "scratch"
    LABEL = "label"
    BORDER = "border"


@dataclasses.dataclass(frozen=True)
class HardNegative:
    """One of them.

    Attributes:
        kind: What it is.
        row: Row in pixels of its middle; of a line, of a point on it.
        column: Column in pixels, likewise.
        size_mm: Its length.
    """

    kind: Kind
    row: float
    column: float
    size_mm: float
