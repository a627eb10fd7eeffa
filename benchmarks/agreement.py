"""Compares what two models find on one mammogram, where no truth is known.

python -m benchmarks.agreement --image=MAMMOGRAM --model_dir=OURS --peer_model_dir=THEIRS --output_dir=FOLDER

Each has its own operating threshold; `--peer_threshold` asks the other one for its sure finds alone. A component (8
neighbours) is found by the other model where any of its pixels is one of the other's. Near the border are those whose
centroid lies outside the breast (`data_prep.breast`), or within 2 mm (where no spacing is known: 40 px) of its edge or
of the image's. Writes `both.png`, `ours.png` and `theirs.png`: up to 48 crops of each kind, the strongest first, to be
looked at.
"""

import argparse
import dataclasses
import pathlib

import numpy as np
from PIL import Image
from scipy import ndimage

from calcseg_tf import shipped
from calcseg_tf.inference.predictor import Predictor
from data_prep.breast import breast_mask
from data_prep.command import DISCLAIMER
from data_prep.mammogram import read_mammogram

_EIGHT = np.ones((3, 3), bool)
_BORDER_MM, _BORDER_PX = 2.0, 40
_CROP, _COLUMNS, _MOST, _ZOOM = 64, 8, 48, 2


@dataclasses.dataclass(frozen=True)
class Finds:
    """The components of one model's map.

    Attributes:
        labels: int32 [height, width], 0 for none.
        strength: float [n], the highest probability of each.
        centroid: float [n, 2], row and column in pixels.
    """

    labels: np.ndarray
    strength: np.ndarray
    centroid: np.ndarray

    @classmethod
    def of(cls, probability: np.ndarray, threshold: float) -> "Finds":
        """Takes the components at a threshold."""
        labels, count = ndimage.label(probability >= threshold, _EIGHT)
        numbers = np.arange(1, count + 1)
        centroid = np.reshape(ndimage.center_of_mass(labels > 0, labels, numbers), (count, 2))
        return cls(labels, np.asarray(ndimage.maximum(probability, labels, numbers)).reshape(count), centroid)

    def touching(self, other: "Finds") -> np.ndarray:
        """Returns bool [n]: which of them the other model finds too."""
        met = np.zeros(len(self.strength) + 1, bool)
        met[self.labels[other.labels > 0]] = True
        return met[1:]

    def where(self, region: np.ndarray) -> np.ndarray:
        """Returns bool [n]: which have their centroid in a region, bool [height, width]."""
        rows, columns = np.rint(self.centroid).astype(int).T
        found: np.ndarray = region[rows, columns]
        return found


def main() -> None:
    """Prints a markdown table and writes the crops."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=pathlib.Path, required=True, help="DICOM or 16-bit PNG file")
    parser.add_argument("--model_dir", type=pathlib.Path, default=shipped.MODEL_DIR)
    parser.add_argument("--peer_model_dir", type=pathlib.Path, required=True)
    parser.add_argument("--threshold", type=float, help="of the model; by default its operating threshold")
    parser.add_argument("--peer_threshold", type=float, default=0.75)
    parser.add_argument("--output_dir", type=pathlib.Path, required=True)
    options = parser.parse_args()
    mammogram = read_mammogram(options.image)
    intensity = mammogram.intensity()
    model, peer = (Predictor.load(folder) for folder in (options.model_dir, options.peer_model_dir))
    ours = Finds.of(model.probability(intensity), model.at_threshold(options.threshold).info.operating_threshold)
    peers_map = peer.probability(intensity)
    theirs, sure = (Finds.of(peers_map, each) for each in (peer.info.operating_threshold, options.peer_threshold))
    edge, breast = border(intensity, mammogram.pixel_spacing_mm)
    print("| | components | in the breast | of them found by the other | near a border |")
    print("|---|---|---|---|---|")
    for name, found, other in (
        ("ours", ours, theirs), ("theirs", theirs, ours), (f"theirs, p > {options.peer_threshold:g}", sure, ours)
    ):  # fmt: skip
        inside = found.where(breast)
        shared = f"{found.touching(other)[inside].mean():.1%}" if inside.any() else "-"
        print(f"| {name} | {len(found.strength)} | {inside.sum()} | {shared} | {found.where(edge).sum()} |")
    options.output_dir.mkdir(parents=True, exist_ok=True)
    for name, found, kept in (
        ("both", ours, ours.touching(theirs)), ("ours", ours, ~ours.touching(theirs)),
        ("theirs", theirs, ~theirs.touching(ours)),
    ):  # fmt: skip
        crops(intensity, found, kept).save(options.output_dir / f"{name}.png")
    print(f"\nPictures: {options.output_dir}\n{DISCLAIMER}")


def border(intensity: np.ndarray, spacing_mm: tuple[float, float] | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns what is near a border or outside the breast, and the breast; bool [height, width] each.

    Args:
        intensity: float32 [height, width] in [0, 1].
        spacing_mm: Row and column spacing, or None.
    """
    breast = breast_mask(intensity)
    margin = _BORDER_PX if spacing_mm is None else round(_BORDER_MM / min(spacing_mm))
    inner = np.pad(breast, 1)  # beyond the image is no breast
    distance = ndimage.distance_transform_edt(inner)[1:-1, 1:-1]
    return distance <= margin, breast


def crops(intensity: np.ndarray, found: Finds, kept: np.ndarray) -> Image.Image:
    """Draws the strongest of those kept, each beside itself with its outline."""
    chosen = [number for number in np.argsort(-found.strength) if kept[number]][:_MOST]
    tiles = []
    padded, labels = (np.pad(each, _CROP // 2, mode="edge") for each in (intensity, found.labels))
    for number in chosen:
        row, column = np.rint(found.centroid[number]).astype(int)
        window = np.s_[row : row + _CROP, column : column + _CROP]
        low, high = padded[window].min(), padded[window].max()
        grey = np.uint8(255 * (padded[window] - low) / max(high - low, 1e-6))
        outlined = np.repeat(grey[:, :, None], 3, axis=2)
        outlined[ndimage.binary_dilation(labels[window] > 0, _EIGHT) & ~(labels[window] > 0)] = (255, 64, 0)
        tiles.append(np.concatenate([np.repeat(grey[:, :, None], 3, axis=2), outlined], axis=1))
    blank = np.zeros((_CROP, 2 * _CROP, 3), np.uint8)
    tiles += [blank] * (-len(tiles) % _COLUMNS or (_COLUMNS if not tiles else 0))
    rows = [np.concatenate(tiles[start : start + _COLUMNS], axis=1) for start in range(0, len(tiles), _COLUMNS)]
    picture = Image.fromarray(np.concatenate(rows))
    return picture.resize((picture.width * _ZOOM, picture.height * _ZOOM), Image.Resampling.NEAREST)


if __name__ == "__main__":
    main()
