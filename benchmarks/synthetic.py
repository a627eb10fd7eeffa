"""Mammograms as code: the size, the depth and about the compressibility of INbreast's, and no patient."""

import pathlib
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from tests.fakes.dicom import fake_uid, write_dicom
from tests.fakes.folder import write_png

__all__ = ["INBREAST_SIZES", "fake_crops", "fake_mammogram", "fake_mask", "write_data_set"]

INBREAST_SIZES = ((3328, 2560), (4084, 3328))  # rows x columns

_GRID = 64  # px between the nodes of the smooth tissue


def fake_mammogram(seed: int, height: int, width: int, bits: int = 14) -> np.ndarray:
    """Draws a breast on air: about half the pixels are 0, tissue is smooth with noise that grows with brightness.

    Returns:
        uint16 [height, width] below 2^bits.
    """
    random = np.random.default_rng(seed)
    rows = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None]
    columns = np.linspace(0.0, 1.0, width, dtype=np.float32)[None, :]
    depth = 1.0 - rows**2 - (columns / 0.75) ** 2  # of the breast, which lies along the left border
    nodes = random.random((height // _GRID + 4, width // _GRID + 4), dtype=np.float32)
    texture = ndimage.zoom(nodes, _GRID, order=3)[:height, :width]
    full_scale = np.float32((1 << bits) - 1)
    tissue = full_scale * (0.15 + 0.35 * np.sqrt(np.maximum(depth, 0.0)) + 0.15 * texture)
    tissue += random.standard_normal((height, width), dtype=np.float32) * np.sqrt(tissue) * np.float32(0.25)
    return np.where(depth > 0.0, np.clip(tissue, 1, full_scale), 0).astype(np.uint16)


def fake_mask(seed: int, height: int, width: int, calcifications: int = 23) -> np.ndarray:
    """Draws calcifications of 1 to 9 px a side, uint8 [height, width] of 0 and 255; 23 is INbreast's mean."""
    random = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    for row, column, side in zip(
        random.integers(0, height - 9, calcifications),
        random.integers(0, width - 9, calcifications),
        random.integers(1, 10, calcifications),
        strict=True,
    ):
        mask[row : row + side, column : column + side] = 255
    return mask


def write_data_set(root: pathlib.Path, images: int, sizes: Sequence[tuple[int, int]], syntax: str = "explicit") -> None:
    """Writes a `folder` data set of 14-bit DICOM mammograms with masks, each of a patient of its own; sizes take turns.

    Args:
        root: New folder.
        images: How many.
        sizes: (height, width).
        syntax: A key of `tests.fakes.dicom.TRANSFER_SYNTAXES`.
    """
    drawn = [(fake_mammogram(seed, *size), fake_mask(seed, *size)) for seed, size in enumerate(sizes)]
    for number in range(images):
        pixels, mask = drawn[number % len(sizes)]
        pixels = np.roll(pixels, 16 * number, axis=0)  # other bytes for the price of a copy
        write_dicom(
            root / f"{number:04d}.dcm",
            pixels,
            bits_stored=14,
            syntax=syntax,
            patient_id=f"patient-{number:04d}",
            study_uid=fake_uid(9, number),
        )
        write_png(root / f"{number:04d}.png", mask)


def fake_crops(size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws training crops of tissue with calcifications on about one pixel in a thousand.

    Returns:
        Images float32 in [0, 1] and masks uint8, [count, size, size, 1].
    """
    images = [fake_mammogram(seed, 2 * size, 2 * size)[size // 2 :, :size][:size] / (1 << 14) for seed in range(count)]
    masks = [fake_mask(seed, size, size, calcifications=max(1, size * size // 30000)) // 255 for seed in range(count)]
    return np.stack(images)[..., None].astype(np.float32), np.stack(masks)[..., None].astype(np.uint8)
