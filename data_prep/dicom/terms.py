"""The words of the standard for what a mammogram shows, and where its pixel spacing comes from."""

import enum

__all__ = ["Laterality", "SpacingSource", "View", "is_spacing_mm"]


class Laterality(enum.Enum):
    """Image Laterality (0020,0062), PS3.3 C.8.11.7."""

    LEFT = "L"
    RIGHT = "R"
    UNKNOWN = ""


class View(enum.Enum):
    """View Position (0018,5101), with the defined terms of PS3.3 C.8.11.7 and CID 4014."""

    CC = "CC"
    MLO = "MLO"
    ML = "ML"
    LM = "LM"
    LMO = "LMO"
    FB = "FB"
    SIO = "SIO"
    ISO = "ISO"
    XCCL = "XCCL"
    XCCM = "XCCM"
    UNKNOWN = ""


class SpacingSource(enum.Enum):
    """Where a pixel spacing comes from; areas in mm2 are worth as much as this."""

    PIXEL_SPACING = "PixelSpacing (0028,0030)"
    IMAGER = "ImagerPixelSpacing (0018,1164) / EstimatedRadiographicMagnificationFactor (0018,1114)"
    SCANNED = "NominalScannedPixelSpacing (0018,2010)"
    CASES_CSV = "cases.csv"
    FLAG = "--pixel_spacing_mm"
    UNKNOWN = "unknown"


def is_spacing_mm(length: float) -> bool:
    """Tells a distance of pixels that an image can have; others are damaged, and may be 0 or infinite as float32."""
    return 0.001 <= length <= 10.0
