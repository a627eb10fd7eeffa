"""A small `folder` data set as code: DICOM mammograms with masks, several views a patient."""

import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from tests.fakes.dicom import fake_uid, write_dicom

__all__ = ["fake_mask", "fake_pixels", "write_folder", "write_png"]

VIEWS = (("L", "CC"), ("R", "CC"), ("L", "MLO"), ("R", "MLO"))


def fake_pixels(seed: int, height: int = 24, width: int = 20, bits: int = 12) -> np.ndarray:
    """Random stored values, uint16 [height, width]."""
    return np.random.default_rng(seed).integers(0, 1 << bits, (height, width), dtype=np.uint16)


def fake_mask(seed: int, height: int = 24, width: int = 20) -> np.ndarray:
    """A mask image with 1 + seed % 3 calcifications of 2 x 2 pixels, uint8 [height, width]: 0 or 255."""
    mask = np.zeros((height, width), np.uint8)
    for index in range(1 + seed % 3):
        mask[2 + 5 * index : 4 + 5 * index, 3:5] = 255
    return mask


def write_png(path: pathlib.Path, pixels: np.ndarray) -> pathlib.Path:
    """Writes uint8 or uint16 [height, width], or uint8 [height, width, 3], as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_folder(
    root: pathlib.Path, patients: Sequence[str] = ("ID-0001", "ID-0002", "ID-0003", "ID-0004"), views: int = 2
) -> pathlib.Path:
    """Writes `<root>/case<n>/view<m>.dcm` with `view<m>.png`; image n, m holds `fake_pixels(4 n + m)`.

    Each patient has one study and `views` images of 12 bits and 24 x 20 pixels with a spacing of 0.07 mm.
    """
    for number, patient in enumerate(patients):
        for index, (laterality, view) in enumerate(VIEWS[:views]):
            seed = len(VIEWS) * number + index
            path = root / f"case{number}" / f"view{index}.dcm"
            write_dicom(
                path,
                fake_pixels(seed),
                patient_id=patient,
                study_uid=fake_uid(77, number),
                ImageLaterality=laterality,
                ViewPosition=view,
                PixelSpacing=[0.07, 0.07],
            )
            write_png(path.with_suffix(".png"), fake_mask(seed))
    return root
