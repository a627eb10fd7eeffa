import numpy as np
import picai_eval
import pytest

from calcseg_tf.evaluation.froc import LOWEST_CODE, froc_curve, pool
from calcseg_tf.evaluation.protocols.picai import CANDIDATE_CODE, count_picai, find_candidates
from calcseg_tf.probability_map import FULL_SCALE
from data_prep.errors import InputError
from data_prep.mask import CALCIFICATION
from tests.evaluation import reference
from tests.evaluation.drawing import at, codes_of, mask_of


def test_candidates_scores_and_matches_drawn_by_hand():
    # Left: 2 shared of 3 + 3 - 2 pixels. Middle: 1 of 11, which is too little. Right: no annotation.
    codes = codes_of("2234....2.....3.1", ".........222...1.", "..........22.....", "..........22.....")
    mask = mask_of(".xxx.....x.......", ".........x.......", ".........x.......", ".........x.......")
    candidates = find_candidates(codes, mask, candidate_code=2000)
    assert candidates.objects == 2
    assert candidates.score_code.tolist() == [4000, 2000, 3000]
    assert candidates.area_px.tolist() == [4, 8, 1]
    assert candidates.match.tolist() == [0, -1, -1]
    assert candidates.iou.tolist() == [pytest.approx(3 / 4), 0.0, 0.0]
    assert candidates.is_false_alarm.tolist() == [False, True, True]
    counts = candidates.counts()
    assert at(counts.detected) == [1, 1, 1, 1]
    assert at(counts.false_positives) == [2, 2, 1, 0]


def test_a_second_candidate_on_a_matched_object_is_neither_found_nor_false():
    candidates = find_candidates(codes_of("2.34"), mask_of("xxxx"), candidate_code=1000)
    assert candidates.match.tolist() == [-1, 0]
    assert candidates.is_false_alarm.tolist() == [False, False]
    assert at(candidates.counts().detected) == [1, 1, 1, 1]


def test_most_matches_come_before_most_overlap():
    # The middle candidate overlaps the left object by 2 of 4 and the right one by 1 of 6; the left candidate by 1 of 4.
    codes = codes_of("2.4444")
    mask = mask_of("xxxx.x")
    candidates = find_candidates(codes, mask, candidate_code=1000)
    assert candidates.match.tolist() == [0, 1]
    assert candidates.iou.tolist() == [pytest.approx(1 / 4), pytest.approx(1 / 4)]


def test_ignored_pixels_belong_to_no_candidate():
    candidates = find_candidates(codes_of("444.44"), mask_of("x??.??"), candidate_code=1000)
    assert candidates.area_px.tolist() == [1]
    assert candidates.match.tolist() == [0]


@pytest.mark.parametrize(("connectivity", "count"), [(8, 1), (4, 2)])
def test_pixels_that_touch_at_a_corner_are_one_component_or_two(connectivity, count):
    codes, mask = codes_of("4..", ".3.", "..."), mask_of("x..", ".x.", "...")
    candidates = find_candidates(codes, mask, 1000, connectivity)
    assert (candidates.objects, candidates.area_px.tolist()) == (count, [2] if count == 1 else [1, 1])
    counts = count_picai(codes, mask, 1000, connectivity)
    assert (counts.objects, at(counts.detected)) == (count, [count, count, count, 1])


def test_a_candidate_code_below_the_floor_is_refused():
    with pytest.raises(InputError, match="164 or above; found 163"):
        count_picai(codes_of("4"), mask_of("x"), candidate_code=LOWEST_CODE - 1)


def _detection_map(codes: np.ndarray, mask: np.ndarray, candidate_code: int) -> np.ndarray:
    """Each candidate filled with its score, [1, height, width], as picai_eval wants it."""
    labels, count = reference.label_scipy((codes >= candidate_code) & (mask != 255), 8)
    scores = np.zeros(count + 1, np.float32)
    np.maximum.at(scores, labels, np.where(labels > 0, codes, 0).astype(np.float32) / FULL_SCALE)
    return scores[labels][None]


def _cases(seed: int, count: int) -> list[tuple[np.ndarray, np.ndarray, int]]:
    random = np.random.default_rng(seed)
    return [
        (codes, mask, int(random.choice([LOWEST_CODE, CANDIDATE_CODE, 20000, 40000])))
        for codes, mask in reference.random_cases(seed, count, most=20)
    ]


def test_the_matches_are_those_of_picai_eval():
    for codes, mask, code in _cases(seed=50, count=600):
        candidates = find_candidates(codes, mask, code)
        expected, *_ = picai_eval.eval.evaluate_case(
            _detection_map(codes, mask, code), (mask == CALCIFICATION)[None].astype(np.int32)
        )
        score = (candidates.score_code.astype(np.float32) / FULL_SCALE).astype(np.float32).tolist()
        matched = np.flatnonzero(candidates.match >= 0)
        found = [(1, score[each], candidates.iou[each]) for each in matched]
        found += [(1, 0.0, 0.0)] * (candidates.objects - len(matched))
        found += [(0, score[each], 0.0) for each in np.flatnonzero(candidates.is_false_alarm)]
        assert sorted(found) == sorted(expected)


def test_the_froc_is_that_of_picai_eval():
    cases = _cases(seed=51, count=120)
    metrics = picai_eval.evaluate(
        [_detection_map(*case) for case in cases],
        [(mask == CALCIFICATION)[None].astype(np.int32) for _, mask, _ in cases],
        num_parallel_calls=1,
    )
    curve = froc_curve(pool([count_picai(*case) for case in cases]), len(cases), None)
    # picai_eval's last threshold is 0, its way to tell of objects that were not found, where it has infinite alarms.
    expected = metrics.lesion_TPR[:-1], metrics.lesion_FPR[:-1]
    assert metrics.thresholds[-1] == 0.0
    index = np.rint(metrics.thresholds[:-1] * FULL_SCALE).astype(int) - LOWEST_CODE
    assert len(index) > 20
    np.testing.assert_allclose(curve.sensitivity[index], expected[0], rtol=1e-7)  # float32 counts
    np.testing.assert_allclose(curve.false_positives_per_image[index], expected[1], rtol=1e-7)
