"""comparison.html in a real browser: what it shows is what the follow-up found, and both exams move together."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from calcseg_tf.clinical.follow_up import Status
from calcseg_tf.clinical.follow_up_marks import MARKS
from calcseg_tf.clinical.page.comparison import compared_steps, write_comparison_page
from tests.clinical.page.following import OUTSIDE, followed, unaligned
from tests.clinical.page.making import printed
from tests.fakes.browser import Browser

_ROWS = "[...document.querySelectorAll({!r})].map((tr) => [...tr.cells].map((cell) => cell.textContent))"
_SETTLE = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    found = {"mm": followed(), "px": followed(None), "unaligned": unaligned()}
    for name, follow_up in found.items():
        write_comparison_page(folder / f"{name}.html", follow_up, ["<script>alert(1)</script>"])
    return {name: (folder / f"{name}.html", follow_up) for name, follow_up in found.items()}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile"), (1400, 1300)) as opened:
        yield opened


def _open(browser, pages, name="mm"):
    page, follow_up = pages[name]
    browser.open(page, "main")
    return follow_up


def _rows(browser, selector):
    return browser.get(_ROWS.format(selector))


def _slide(browser, step, side=1):
    browser.get(
        f"(() => {{ const s = document.querySelectorAll('input[name=threshold]')[{side}]; s.value = {step};"
        " s.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def _chosen(browser):
    """Returns the rows chosen: of the changes, the prior and the current exam."""
    row = "document.querySelector({!r})?.dataset.id"
    found = [
        browser.get(row.format(f"{where} tr[aria-current]"))
        for where in (".changes", ".exam:nth-of-type(1)", ".exam:nth-of-type(2)")
    ]
    return [None if each is None else int(each) for each in found]


def _canvas(browser, side):
    browser.get("window.scrollTo(0, 0)")
    box = f"document.querySelectorAll('.stage canvas')[{side}].getBoundingClientRect()"
    return browser.get(f"[{box}.left, {box}.top, {box}.width, {box}.height]")


def _middle(browser, side):
    """Returns (row, column) of the pixel in the middle of an exam's view, as told under the mouse."""
    left, top, width, height = _canvas(browser, side)
    browser.mouse("mouseMoved", left + width / 2, top + height / 2)
    told = browser.get(f"document.querySelectorAll('.cursor')[{side}].textContent")
    return tuple(int(each) for each in re.match(r"row (\d+), column (\d+):", told).groups())


def _pixels(browser):
    browser.get("window.scrollTo(0, 0)")
    browser.get(_SETTLE)
    return np.asarray(Image.open(io.BytesIO(browser.screenshot())).convert("RGB"))


def _views(browser):
    """Returns the pixels of both canvases."""
    shown = _pixels(browser)
    boxes = [[round(each) for each in _canvas(browser, side)] for side in (0, 1)]
    return [shown[top : top + height, left : left + width] for left, top, width, height in boxes]


def _has(view, status):
    colour = [int(MARKS[status].colour[at : at + 2], 16) for at in (1, 3, 5)]
    return bool((np.abs(view.astype(int) - colour).max(axis=2) <= 3).any())


@pytest.mark.parametrize("name", ["mm", "px", "unaligned"])
def test_the_table_has_the_figures_of_both_regions_at_every_threshold(browser, pages, name):
    follow_up = _open(browser, pages, name)
    digits = {"count": 0, "mean_area_mm2": 4, "std_area_mm2": 4, "density_per_cm2": 2, "mean_area_px": 2,
              "std_area_px": 2}  # fmt: skip
    names = ["count", "mean_area_px", "std_area_px"] if name == "px" else list(digits)[:4]
    for number, step in enumerate(compared_steps(follow_up)):
        _slide(browser, number, number % 2)  # either exam's slider moves both
        lines = {figure.name: figure for figure in step.table}
        expected = []
        for each in (lines[one] for one in names):
            cells = [printed(value, digits[each.name], "") for value in (each.prior, each.current, each.difference)]
            expected.append([*cells[:2], f"+{cells[2]}" if (each.difference or 0) > 0 else cells[2]])
        assert [row[1:] for row in _rows(browser, ".table tbody tr")] == expected
        outputs = "[...document.querySelectorAll('input[name=threshold] + output')].map((each) => each.textContent)"
        assert [told.split()[2] for told in browser.get(outputs)] == [f"{step.prior.image.threshold:g}"] * 2
        counts = browser.get("[...document.querySelectorAll('.legend li')].map((each) => each.textContent)")
        found = step.counts() or {status.value: "–" for status in Status}
        assert counts == [f"{mark.letter} {status.value}: {found[status.value]}" for status, mark in MARKS.items()]
    assert browser.complaints == []


def test_the_changes_are_listed_with_status_areas_and_distance(browser, pages):
    follow_up = _open(browser, pages)
    expected = [
        [
            str(number), f"{MARKS[each.status].letter} {each.status}",
            *("–" if one is None else str(one.id) for one in (each.prior, each.current)),
            *("–" if one is None else printed(one.area_mm2, 4, "") for one in (each.prior, each.current)),
            printed(each.area_ratio, 2, ""), printed(each.distance, 2, ""),
        ]
        for number, each in enumerate(follow_up.changes, 1)
    ]  # fmt: skip
    assert _rows(browser, ".changes tbody tr") == expected


def test_marks_differ_in_colour_and_stand_in_the_exam_they_belong_to(browser, pages):
    _open(browser, pages)
    prior, current = _views(browser)
    coloured = list(MARKS)[:4]  # the fifth is as grey as the image
    assert [_has(prior, status) for status in coloured] == [True, True, False, True]
    assert [_has(current, status) for status in coloured] == [True, True, True, False]
    browser.get("document.querySelector('.stage canvas').focus()")
    browser.key("m")
    assert not _has(_views(browser)[0], Status.VANISHED)


@pytest.mark.parametrize("linked", [True, False])
def test_a_row_shows_the_calcification_in_both_exams(browser, pages, linked):
    follow_up = _open(browser, pages)
    if not linked:
        browser.get("document.querySelector('input[name=link]').click()")
    for number, change in enumerate(follow_up.changes, 1):
        browser.get(f"document.querySelector('.changes tr[data-id=\"{number}\"] button').click()")
        ids = [None if one is None else one.id for one in (change.prior, change.current)]
        assert _chosen(browser) == [number, *ids]
        places = [follow_up.current_in_prior(np.array([change.place]))[0], change.place]
        for side in (0, 1):
            np.testing.assert_allclose(_middle(browser, side), places[side], atol=2.5)


def test_a_click_in_one_exam_shows_the_partner_in_the_other(browser, pages):
    follow_up = _open(browser, pages)
    number, change = next(each for each in enumerate(follow_up.changes, 1) if each[1].status is Status.GROWN)
    for side, found in ((0, change.prior), (1, change.current)):
        browser.get(f"document.querySelector('.changes tr[data-id=\"{number}\"]').click()")
        browser.get("document.querySelector('.stage canvas').focus()")
        browser.key("Escape")
        assert _chosen(browser) == [None, None, None]
        assert _middle(browser, side) == pytest.approx((found.row, found.column), abs=2.5)
        left, top, width, height = _canvas(browser, side)
        browser.click(left + width / 2, top + height / 2)
        assert _chosen(browser) == [number, change.prior.id, change.current.id]


def test_what_lies_outside_the_region_has_no_partner(browser, pages):
    follow_up = _open(browser, pages)
    (outside,) = [each.id for each in follow_up.prior.image.calcifications if (each.row, each.column) == OUTSIDE]
    browser.get(f"document.querySelector('.exam tr[data-id=\"{outside}\"]').click()")
    assert _chosen(browser) == [None, outside, None]


def test_both_exams_move_together_until_they_are_parted(browser, pages):
    follow_up = _open(browser, pages)
    left, top, width, height = _canvas(browser, 0)

    def drag(x, y):
        browser.drag((left + width / 2, top + height / 2), (left + width / 2 + x, top + height / 2 + y))

    def apart():
        expected = follow_up.prior_in_current(np.array([_middle(browser, 0)], float))[0]
        return np.abs(np.array(_middle(browser, 1)) - expected).max()

    assert apart() <= 1.5
    before = _middle(browser, 1)
    drag(60, -40)
    assert apart() <= 1.5
    assert _middle(browser, 1) != before
    browser.get("document.querySelector('.stage canvas').focus()")
    browser.key("l")
    assert browser.get("document.querySelector('input[name=link]').checked") is False
    still = _middle(browser, 1)
    drag(-120, 90)
    assert _middle(browser, 1) == still
    assert apart() > 5
    browser.key("l")  # the prior exam comes back to the current one
    assert _middle(browser, 1) == still
    assert apart() <= 1.5


def test_keys_walk_through_the_changes_and_change_both_exams(browser, pages):
    follow_up = _open(browser, pages)
    browser.get("document.querySelectorAll('.stage canvas')[1].focus()")
    browser.key("n")
    browser.key("n")
    assert _chosen(browser)[0] == 2
    browser.key("b")
    assert _chosen(browser)[:2] == [1, follow_up.changes[0].prior.id]
    browser.key("h")
    outputs = "[...document.querySelectorAll('input[name=opacity] + output')].map((each) => each.textContent)"
    assert browser.get(outputs) == ["0 %", "0 %"]
    browser.key("]")
    outputs = outputs.replace("opacity", "threshold")
    assert browser.get(outputs) == ["p ≥ 0.55", "p ≥ 0.55"]


def test_the_pointer_in_one_exam_shows_where_it_is_in_the_other(browser, pages):
    _open(browser, pages)
    left, top, width, height = _canvas(browser, 0)
    browser.mouse("mouseMoved", left - 5, top - 5)
    before = _views(browser)[1]
    browser.mouse("mouseMoved", left + width / 3, top + height / 3)
    assert (_views(browser)[1] != before).any()
    browser.mouse("mouseMoved", left - 5, top - 5)
    assert (_views(browser)[1] == before).all()


def test_exams_that_are_not_aligned_are_not_linked(browser, pages):
    follow_up = _open(browser, pages, "unaligned")
    assert browser.get("document.querySelector('input[name=link]').disabled") is True
    assert follow_up.reason in browser.get("document.querySelector('.reason').textContent")
    assert _rows(browser, ".changes tbody tr") == []
    browser.get("document.querySelector('.stage canvas').focus()")
    for key in ("l", "n", "+"):
        browser.key(key)
    assert browser.complaints == []


def test_notes_stay_text_and_it_prints(browser, pages):
    _open(browser, pages)
    assert "Compared although <script>alert(1)</script>." in browser.get("document.querySelector('main').textContent")
    assert browser.call("Page.printToPDF")["data"].startswith("JVBERi")
    assert browser.complaints == []


def test_a_phone_shows_the_whole_width_and_what_became_of_the_region_before_the_lists(browser, pages):
    browser.call("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=2, mobile=True)
    try:
        _open(browser, pages)
        assert browser.get("document.documentElement.scrollWidth") == 390
        tops = [
            browser.get(f"document.querySelector({selector!r}).getBoundingClientRect().top")
            for selector in (".exam:nth-of-type(2) .view", ".follow_up", ".details")
        ]
        assert tops == sorted(tops)
    finally:
        browser.call("Emulation.clearDeviceMetricsOverride")
