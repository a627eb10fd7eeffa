import dataclasses
import itertools

import numpy as np

from benchmarks import implanted_pairs
from benchmarks.implanted_pairs import Side, Tally
from calcseg_tf.clinical import Region
from calcseg_tf.clinical.follow_up import compare_exams
from calcseg_tf.clinical.follow_up_exams import measure_exam
from data_prep.implants.calcification import draw_calcification
from data_prep.implants.dicom_file import neutral_names, write_dicom
from data_prep.implants.outlines import Shape
from data_prep.mammogram import Laterality, Mammogram, View
from tests.data_prep.implants.test_placement import breast

_PLACES = ((10, 10), (12, 60), (30, 25), (45, 70), (70, 15), (80, 50), (55, 40))


def _cropped(mask):
    rows, columns = np.nonzero(mask)
    return mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def test_an_implant_is_turned_and_scaled():
    found = draw_calcification(Shape.IRREGULAR, 60, 0.8, np.random.default_rng(1))
    # (row, column) becomes (-column, row): a quarter against the clock.
    turned = implanted_pairs.moved(found, np.array([[0.0, -1.0], [1.0, 0.0]]))
    assert abs(turned.area_px - found.area_px) <= 6  # the middle of the patch may lie between pixels
    assert _cropped(turned.mask).shape[0] - _cropped(np.rot90(found.mask)).shape[0] in (-1, 0, 1)
    larger = implanted_pairs.moved(found, 1.1 * np.eye(2))
    assert 1.1 < larger.area_px / found.area_px < 1.32


def _side(shift, owners):
    labels = np.zeros((110, 110), np.int32)
    for owner, (row, column) in zip(owners, _PLACES, strict=True):
        if owner:
            labels[row + shift : row + shift + 3, column + shift : column + shift + 3] = owner
    return Side(Mammogram(np.full(labels.shape, 900, np.uint16), 12), labels, Region.rectangle(0, 0, 109, 109))


def _tally(prior, current):
    exams = [measure_exam(each.mammogram, (each.labels > 0).astype(np.float32), 0.5, each.region)
             for each in (prior, current)]  # fmt: skip
    tally = Tally()
    tally.add(compare_exams(*exams), prior, current)
    return tally


def test_only_a_match_of_an_implant_with_itself_is_right():
    prior = _side(0, [1, 2, 3, 4, 5, 6, 7])
    assert _tally(prior, _side(7, [1, 2, 3, 4, 5, 6, 7])) == Tally(1, 1, 7, 7, 7, 7)
    # The sixth has vanished; where it was, there is another one now.
    assert _tally(prior, _side(7, [1, 2, 3, 4, 5, 9, 7])) == Tally(1, 1, 6, 6, 7, 6)


def test_every_pair_has_a_cluster_in_both_exams_and_the_masks_match(tmp_path):
    for seed, laterality in enumerate((Laterality.LEFT, Laterality.RIGHT)):
        mammogram, _ = breast(seed=seed, spacing=None)
        mammogram = dataclasses.replace(mammogram, laterality=laterality, view=View.CC)
        names = neutral_names(0, "patient", "study", str(seed), seed + 1)
        (tmp_path / "patient").mkdir(exist_ok=True)
        write_dicom(tmp_path / "patient" / f"{seed}.dcm", mammogram.pixels, mammogram, names)
    tally = Tally()
    for prior, current in itertools.islice(implanted_pairs.make_pairs(tmp_path, 1), 3):
        both = set(np.unique(prior.labels)) & set(np.unique(current.labels)) - {0}
        assert len(both) >= 3
        exams = [measure_exam(each.mammogram, (each.labels > 0).astype(np.float32), 0.5, each.region)
                 for each in (prior, current)]  # fmt: skip
        tally.add(compare_exams(*exams), prior, current)
    assert tally.pairs == 3
    assert tally.right >= 0.5 * tally.matched > 0
