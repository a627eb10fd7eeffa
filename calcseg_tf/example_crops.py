"""The fixed crops on which a person watches a network learn: the same pixels every few epochs."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from calcseg_tf.drawing import plain_text
from calcseg_tf.heat_map import heat_colours
from calcseg_tf.probability_map import to_codes
from calcseg_tf.split_records import split_records
from data_prep.components import label_components
from data_prep.manifest import Manifest
from data_prep.schema import CALCIFICATION, IGNORE

__all__ = ["CROP_SIZE_PX", "ExampleCrop", "crop_of", "draw_crop", "training_crops"]

CROP_SIZE_PX = 192
_MOST_CROPS = 4
_MOST_READ = 32  # mammograms looked at: decoding one takes a quarter of a second
_MOST_COMPARED = 500  # calcifications, by pairs
_ZOOM = 2
_DPI = 100


@dataclasses.dataclass(frozen=True, eq=False)
class ExampleCrop:
    """A square cut from a mammogram at full resolution.

    Attributes:
        title: Which mammogram, and where in it.
        top: First row; `left` likewise the first column.
        intensity: float32 [size, size] in [0, 1]; 0 outside the mammogram.
        mask: uint8 [size, size]; IGNORE outside the mammogram.
    """

    title: str
    top: int
    left: int
    intensity: np.ndarray
    mask: np.ndarray

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Returns the same square of another image of that mammogram, [height, width]; 0 outside it."""
        return _cut(image, self.top, self.left)


def training_crops(manifest: Manifest) -> tuple[ExampleCrop, ...]:
    """Cuts one crop from each of four training mammograms with calcifications, of different patients if there are.

    Raises:
        InputError: A shard is missing or damaged.
    """
    by_patient: dict[str, list[ExampleCrop]] = {}
    for record in itertools.islice(split_records(manifest, "train"), _MOST_READ):
        crop = crop_of("training mammogram", record.image_id, record.intensity(), record.mask)
        if crop is not None:
            by_patient.setdefault(record.patient_id, []).append(crop)
        if len(by_patient) == _MOST_CROPS:
            break
    in_turns = itertools.zip_longest(*by_patient.values())
    return tuple(crop for turn in in_turns for crop in turn if crop is not None)[:_MOST_CROPS]


def crop_of(kind: str, image_id: str, intensity: np.ndarray, mask: np.ndarray) -> ExampleCrop | None:
    """Cuts the square around the calcification that has the most others about it; None where there is none.

    Args:
        kind: What it is cut from, such as "validation mammogram"; begins the title.
        image_id: Which one.
        intensity: float32 [height, width] in [0, 1].
        mask: uint8 [height, width].
    """
    labels, count = label_components(mask == CALCIFICATION, 8)
    if not count:
        return None
    points = np.argwhere(labels)
    # One pixel of each: counted by pixels, a coarse one outweighs a cluster.
    points = points[np.unique(labels[tuple(points.T)], return_index=True)[1]]
    points = points[:: -(-len(points) // _MOST_COMPARED)]
    near = (np.abs(points[:, None] - points[None]) < CROP_SIZE_PX // 2).all(axis=2).sum(axis=1)
    room = np.maximum(np.array(mask.shape) - CROP_SIZE_PX, 0)
    top, left = (int(corner) for corner in np.clip(points[near.argmax()] - CROP_SIZE_PX // 2, 0, room))
    return ExampleCrop(
        title=f"{kind} {image_id}, {CROP_SIZE_PX} px from row {top}, column {left}",
        top=top,
        left=left,
        intensity=_cut(intensity, top, left),
        mask=_cut(mask, top, left, IGNORE),
    )


def _cut(image: np.ndarray, top: int, left: int, outside: int = 0) -> np.ndarray:
    crop = image[top : top + CROP_SIZE_PX, left : left + CROP_SIZE_PX]
    return np.pad(crop, [(0, CROP_SIZE_PX - length) for length in crop.shape], constant_values=outside)


def draw_crop(crop: ExampleCrop, probability: np.ndarray, caption: str) -> np.ndarray:
    """Draws input, annotation and heat map side by side.

    Args:
        crop: What was predicted.
        probability: float [size, size] in [0, 1].
        caption: Ends the title, such as "epoch 5".

    Returns:
        RGB, uint8 [height, width, 3].
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    side, gap, top = CROP_SIZE_PX * _ZOOM, 12, 60  # in px
    width, height = 3 * side + 4 * gap, side + top + gap
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    figure.text(gap / width, 1 - 16 / height, f"{plain_text(crop.title, 110)}: {caption}", fontsize=11, va="center")
    grey = _window(crop)
    panels: Sequence[tuple[str, Sequence[np.ndarray]]] = (
        ("input", [grey]),
        ("annotation (grey: ignored)", [_annotation(crop.mask)]),
        ("probability, blue 0.1 to red 1", [grey, heat_colours(to_codes(probability))]),
    )
    for number, (name, layers) in enumerate(panels):
        left = gap + number * (side + gap)
        axes = figure.add_axes((left / width, gap / height, side / width, side / height))
        axes.set_axis_off()
        axes.set_title(name, fontsize=11, loc="left", pad=3)
        for layer in layers:
            axes.imshow(layer, interpolation="nearest")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _window(crop: ExampleCrop) -> np.ndarray:
    """Returns grey levels that show the crop's own contrast, uint8 [size, size, 3]."""
    low, high = np.percentile(crop.intensity, (0.5, 99.9))
    scaled = np.clip((crop.intensity - low) / (high - low if high > low else 1.0), 0.0, 1.0)
    return np.repeat((scaled * 255).astype(np.uint8)[..., None], 3, axis=2)


def _annotation(mask: np.ndarray) -> np.ndarray:
    """Returns white for calcifications, grey for what is ignored, uint8 [size, size, 3]."""
    grey = np.zeros(mask.shape, np.uint8)
    grey[mask == IGNORE] = 110
    grey[mask == CALCIFICATION] = 255
    return np.repeat(grey[..., None], 3, axis=2)
