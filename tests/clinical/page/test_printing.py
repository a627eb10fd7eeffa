"""report.html on paper, and names in its picture, in a real browser."""

import pytest

from data_prep.command import DISCLAIMER
from tests.clinical.page.making import case, written
from tests.fakes.browser import Browser


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return written(tmp_path_factory.mktemp("page") / "page.html", *case())


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize(
    ("place", "expected"),
    [((50, 50), (50, 50)), ((290, -3), (216, 14)), ((-50, 203), (4, 194)), ((900, 50), None), ((50, -90), None)],
)
def test_labels_stand_whole_in_the_picture(browser, page, place, expected):
    browser.open(page)
    context = "{ measureText: () => ({ width: 80 }), strokeText() {}, fillText: (_, ...at) => { where = at; } }"
    call = f"labelled({context}, {{ width: 300, height: 200 }}, 'Cluster 1', {place[0]}, {place[1]})"
    assert browser.get(f"(() => {{ let where = null; {call}; return where; }})()") == (expected and list(expected))


def test_it_prints(browser, page):
    browser.open(page)
    assert browser.call("Page.printToPDF")["data"].startswith("JVBERi")
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        # The picture fits below the heading of the first page; heads are repeated with what they say.
        assert browser.get("document.querySelector('canvas').getBoundingClientRect().height / innerHeight") <= 0.65
        heads = "[...document.querySelectorAll('thead button')].map((each) => getComputedStyle(each).display)"
        assert set(browser.get(heads)) == {"contents"}
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")


def test_every_printed_page_has_the_disclaimer(browser, page):
    browser.open(page)
    rules = "[...document.styleSheets[0].cssRules].filter((rule) => rule instanceof CSSPageRule)"
    assert DISCLAIMER in browser.get(f"{rules}.map((rule) => rule.cssText).join()")
