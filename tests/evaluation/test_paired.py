import dataclasses

import numpy as np
import pytest

from calcseg_tf.evaluation import Evaluation, paired_differences
from data_prep.errors import InputError

_PATIENTS = 6


def _result(gain=0.0, seed=0, patients=range(_PATIENTS), mask_of=None, samples=200, **settings):
    """Two images a patient; `gain` lifts the calcifications of a model, by patient where it is a list."""
    evaluation = Evaluation(threshold=0.5, protocols=("zamir",), **settings)
    for patient in patients:
        rng = np.random.default_rng(patient)
        for image in range(2):
            mask = np.zeros((24, 24), np.uint8)
            mask[4:6, 4:6] = mask[12, 12:14] = mask[20, 3] = 1
            mask = mask if mask_of is None else mask_of(mask, f"{patient}-{image}")
            lift = gain[patient] if isinstance(gain, list) else gain
            logit = rng.normal(-2.5, 1.2, mask.shape) + (2 + lift) * (mask == 1) + rng.normal(0, 0.5) * (mask == 1)
            evaluation.add(1 / (1 + np.exp(-logit)), mask, f"{patient}-{image}", f"p{patient}", 90.0)
    return evaluation.result(samples, seed)


def test_a_model_does_not_differ_from_itself():
    one = paired_differences(_result(), _result())
    assert {"pixel.roc_auc", "at_threshold.object_iou", "froc.zamir.operating_points.2.sensitivity"} <= set(one)
    for path, each in one.items():
        if each.difference is not None:
            assert each.difference == 0, path
            if each.low is not None:
                assert (each.low, each.high, each.p) == (0, 0, 1), path


def test_the_difference_is_that_of_the_figures_and_its_sign_turns_with_the_order():
    better, worse = _result(gain=1.5), _result()
    there, back = paired_differences(better, worse), paired_differences(worse, better)
    for path, each in there.items():
        one, two = better.figures[path].value, worse.figures[path].value
        assert each.difference == (None if one is None or two is None else one - two)
        if each.low is not None:
            assert (back[path].low, back[path].high) == pytest.approx((-each.high, -each.low), abs=1e-12)
            assert back[path].p == each.p
    assert there["pixel.average_precision"].low > 0
    # No resample of 200 lies on the other side: twice the one that is the result itself.
    assert there["pixel.average_precision"].p == pytest.approx(2 / 201)


def test_the_same_patients_are_drawn_for_both():
    # Each patient is lifted alike: resamples differ in level, hardly in difference.
    better, worse = _result(gain=0.3), _result()
    paired = paired_differences(better, worse)["pixel.average_precision"]
    alone = better.intervals["pixel.average_precision"]
    assert paired.high - paired.low < (alone.high - alone.low) / 2
    samples = better.resamples.figures["pixel.average_precision"] - worse.resamples.figures["pixel.average_precision"]
    np.testing.assert_allclose(np.quantile(samples, [0.025, 0.975]), [paired.low, paired.high])


def test_gains_of_some_and_losses_of_others_are_no_difference():
    each = paired_differences(_result(gain=[1, -1, 1, -1, 1, -1]), _result())["pixel.roc_auc"]
    assert each.low < 0 < each.high
    assert each.p > 0.05


def test_undefined_figures_and_one_patient_say_why():
    none = paired_differences(_result(mask_of=lambda mask, _: mask * 0), _result(mask_of=lambda mask, _: mask * 0))
    assert none["pixel.roc_auc"].difference is None
    assert "no calcification pixel" in none["pixel.roc_auc"].reason
    one = paired_differences(_result(gain=1.0, patients=[0]), _result(patients=[0]))["pixel.roc_auc"]
    assert one.difference > 0
    assert one.low is one.p is None
    assert "one patient" in one.reason


def test_results_of_other_images_annotations_or_resamples_are_refused():
    result = _result(samples=5)

    def other(mask, image_id):
        return np.where(mask.cumsum().reshape(mask.shape) == 1, 0, mask).astype(np.uint8) if image_id == "2-1" else mask

    refused = {
        "the same images; 2 are in one of them alone, such as 5-0": _result(patients=range(5), samples=5),
        "2-1: results are compared on the same annotation": _result(mask_of=other, samples=5),
        "the same seed of the resampling; found 0 and 1": _result(seed=1, samples=5),
        "the same number of resamples; found 5 and 6": _result(samples=6),
        "the same connectivity; found 8 and 4": _result(connectivity=4, samples=5),
    }
    for said, other_result in refused.items():
        with pytest.raises(InputError, match=said):
            paired_differences(result, other_result)
    image = result.images[0]
    moved = dataclasses.replace(image, case=dataclasses.replace(image.case, patient_id="p9"))
    with pytest.raises(InputError, match="0-0: results are compared on the same patients"):
        paired_differences(result, dataclasses.replace(result, images=(moved, *result.images[1:])))
