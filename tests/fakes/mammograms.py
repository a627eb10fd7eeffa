"""Records that a tiny network learns in seconds: smooth tissue, noise, and bright specks whose rims are ignored."""

import pathlib

import numpy as np
from scipy import ndimage

from data_prep.manifest import Manifest
from data_prep.schema import Record
from tests.fakes.records import fake_record, write_fake_records

__all__ = ["speckled_record", "write_speckled_records"]


def speckled_record(number: int, side: int = 240) -> Record:
    """Draws a mammogram of a patient of its own, 12 bits, with specks of 1 to 3 px radius."""
    rng = np.random.default_rng(number)
    tissue = ndimage.gaussian_filter(rng.normal(size=(side, side)), 20)
    pixels = 900 + 1200 * (tissue - tissue.min()) / np.ptp(tissue) + rng.normal(0, 60, tissue.shape)
    mask = np.zeros(tissue.shape, np.uint8)
    rows, columns = np.ogrid[:side, :side]
    for row, column in side / 2 + rng.normal(0, side / 10, (14, 2)):
        radius = rng.uniform(1.0, 3.2)
        distance = np.hypot(rows - row, columns - column)
        mask[(distance <= radius + 1) & (mask == 0)] = 255
        mask[distance <= radius] = 1
        pixels += 900 * np.exp(-((distance / radius) ** 4))
    stored = np.clip(pixels, 0, 4095).astype(np.uint16)
    return fake_record(stored, mask, name=f"image-{number}", patient=f"patient-{number}")


def write_speckled_records(directory: pathlib.Path, train: int, test: int = 1) -> Manifest:
    """Writes so many mammograms of each split."""
    records = [speckled_record(number) for number in range(train + test)]
    return write_fake_records(directory, {"train": records[:train], "test": records[train:]})
