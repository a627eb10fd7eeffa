import dataclasses
import json

import numpy as np
import pytest

from calcseg_tf.clinical.page.comparison import compared_steps, comparison_data, write_comparison_page
from calcseg_tf.clinical.page.steps import THRESHOLDS
from data_prep.command import DISCLAIMER
from tests.clinical.page.following import followed, unaligned
from tests.fakes.pages import elements, parse_page, text_of

_EVIL = "<script>alert(1)</script>&"


def test_every_threshold_is_compared_by_the_same_motion():
    found = followed()
    steps = compared_steps(found)
    assert [step.prior.image.threshold for step in steps] == list(THRESHOLDS)
    assert [step.current.image.threshold for step in steps] == list(THRESHOLDS)
    assert steps[list(THRESHOLDS).index(0.5)] is found
    assert found.counts() == {"persisted": 5, "grown": 1, "new": 1, "vanished": 2, "uncovered": 0}
    assert {id(step.transform) for step in steps} == {id(found.transform)}
    by_threshold = {step.prior.image.threshold: step for step in steps}
    assert by_threshold[0.1].counts() == found.counts()
    # The third of the prior exam has p = 0.6: above it, what it was joined to is new.
    assert by_threshold[0.95].counts() == {"persisted": 4, "grown": 1, "new": 2, "vanished": 2, "uncovered": 0}
    assert (by_threshold[0.95].table[0].prior, by_threshold[0.95].table[0].current) == (7, 7)
    assert (by_threshold[0.99].counts()["persisted"], by_threshold[0.99].changes) == (0, ())


@pytest.mark.parametrize("spacing", [(0.1, 0.1), None])
def test_the_motion_is_told_in_pixels_of_both(spacing):
    found = followed(spacing)
    aligned = json.loads(comparison_data(found, [found]))["aligned"]
    places = np.array([(40.0, 30.0), (104.0, 32.0)])
    moved = places @ np.array(aligned["matrix"]).T + aligned["offset"]
    np.testing.assert_allclose(moved, found.prior_in_current(places), atol=1e-9)
    assert aligned["zoom"] == pytest.approx(found.transform.scale)
    if spacing:
        np.testing.assert_allclose(moved - places, [(5, 7)] * 2, atol=1e-6)


def test_pixels_of_another_size_take_as_much_of_the_screen():
    found = followed()
    finer = dataclasses.replace(found.prior.image, pixel_spacing_mm=(0.05, 0.025))
    found = dataclasses.replace(found, prior=dataclasses.replace(found.prior, image=finer))
    # Four columns of the prior exam are one of the current exam: a quarter of the screen each.
    assert json.loads(comparison_data(found, [found]))["aligned"]["zoom"] == pytest.approx(0.25)


def test_each_change_has_its_place_in_both_exams():
    found = followed()
    (step,) = json.loads(comparison_data(found, [found]))["steps"]
    by_status = {change["status"]: change for change in step["changes"]}
    assert by_status["new"]["places"]["prior"] == pytest.approx([130, 88], abs=0.5)
    assert (by_status["new"]["prior"], by_status["vanished"]["current"]) == (None, None)
    assert by_status["grown"]["places"] == {"prior": [80, 104], "current": [85, 111]}
    assert all(set(change["places"]) == {"prior", "current"} for change in step["changes"])


def test_without_alignment_there_are_figures_and_no_changes():
    found = unaligned()
    content = json.loads(comparison_data(found, compared_steps(found)))
    assert content["aligned"] is None
    assert {step["changes"] for step in content["steps"]} == {None}
    assert content["steps"][0]["table"][0] == ["Calcifications", 0, 8, 2, -6]
    assert "needs 4 calcifications" in content["steps"][0]["reason"]


def test_the_page_tells_notes_as_text_and_shows_no_more_than_two_exams(tmp_path):
    write_comparison_page(tmp_path / "page.html", followed(), [f"the view differs {_EVIL}"], [f"a note {_EVIL}"])
    page = parse_page((tmp_path / "page.html").read_text())
    body = text_of(next(elements(page, "body")))
    assert f"Compared although the view differs {_EVIL}." in body
    assert f"A note {_EVIL}." in body
    assert body.count(DISCLAIMER) == 2
    assert [each.get("aria-label") for each in elements(page, "section") if each.get("class") == "exam"] == [
        "Prior exam", "Current exam"
    ]  # fmt: skip
    assert not [each for tag in ("img", "link", "iframe", "a") for each in elements(page, tag)]
    kinds = [each.get("class") for each in elements(page, "script")]
    assert kinds == [*["data", "image", "map"] * 2, "followed", None]
