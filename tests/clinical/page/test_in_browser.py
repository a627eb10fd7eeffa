"""report.html in a real browser: what it shows is what `measure` and `measure_region` say."""

import io

import numpy as np
import pytest
from PIL import Image

from calcseg_tf.clinical import Region, measure_region
from calcseg_tf.clinical.page.steps import measure_steps
from tests.clinical.page.making import OPERATING, case, measured, printed, written
from tests.fakes.browser import Browser

_SPACINGS = {"mm": (0.05, 0.07), "px": None}
_FILL = """(selector) => { const list = document.querySelectorAll(selector + ' dt');
  return Object.fromEntries([...list].map((dt) => [dt.textContent, dt.nextElementSibling.textContent])); }"""

_SIZES = "[...document.querySelectorAll('.sizes tr')].map((tr) => [...tr.cells].map((cell) => cell.textContent))"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    found = {name: written(folder / f"{name}.html", *case(), spacing) for name, spacing in _SPACINGS.items()}
    intensity, codes = case()
    found["nothing"] = written(folder / "nothing.html", intensity, codes * 0)
    found["evil"] = written(folder / "<script>alert(1)&.html", *case(), title="<script>alert(1)</script>&")
    specks = np.zeros((500, 500), np.uint16)
    specks[::2, ::2] = 50000
    found["many"] = written(folder / "many.html", np.zeros(specks.shape, np.float32), specks)
    return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def _listed(browser, selector):
    return browser.get(f"({_FILL})({selector!r})")


def _slide(browser, step):
    browser.get(
        f"(() => {{ const s = document.querySelector('input[name=threshold]'); s.value = {step};"
        " s.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def _text(browser, selector):
    return browser.get(f"document.querySelector({selector!r}).textContent")


def _type_region(browser, text):
    browser.get(
        f"(() => {{ const field = document.querySelector('input[name=region]'); field.value = {text!r};"
        " field.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def _button(browser, selector):
    browser.get(f"document.querySelector({selector!r}).click()")


def _canvas(browser):
    """Returns where the canvas is on the screen: left, top, width, height."""
    box = "document.querySelector('canvas').getBoundingClientRect()"
    return browser.get(f"[{box}.left, {box}.top, {box}.width, {box}.height]")


def _on_screen(browser, row, column, shape=(300, 220), tall=0.05 / 0.07):
    """Returns where a place of the image is on the screen, while the whole image is shown."""
    left, top, width, height = _canvas(browser)
    scale = min(width / shape[1], height / (shape[0] * tall))
    middle = (left + width / 2, top + height / 2)
    return (
        middle[0] + (column + 0.5 - shape[1] / 2) * scale,
        middle[1] + (row + 0.5 - shape[0] / 2) * scale * tall,
    )


def _areas(found, unit):
    key, name, digits = {"mm": ("mm2", "mm²", 4), "px": ("px", "px", 2)}[unit]
    return {
        "Mean area": printed(getattr(found, f"mean_area_{key}"), digits, name),
        "STD of the areas (n − 1)": printed(getattr(found, f"std_area_{key}"), digits, name),
    }


def _nearest(found, unit):
    distances = getattr(found, f"nearest_neighbour_{unit}")
    return printed(None if distances is None else distances.mean, 2, unit)


def _sizes(histogram):
    """Returns the rows of the size histogram, up to the largest calcification."""
    ends = [*(f" to {edge:g} {histogram.unit}" for edge in histogram.edges[1:]), f" {histogram.unit} and more"]
    rows = [
        [f"{edge:g}{end}", str(count), ""]
        for edge, end, count in zip(histogram.edges, ends, histogram.counts, strict=True)
    ]
    return rows[: max((number + 1 for number, count in enumerate(histogram.counts) if count), default=0)]


@pytest.mark.parametrize("unit", ["mm", "px"])
def test_the_figures_are_those_of_measure_at_every_threshold(browser, pages, unit):
    intensity, codes = case()
    browser.open(pages[unit])
    for number, step in enumerate(measure_steps(codes, intensity, measured(intensity, codes, _SPACINGS[unit]))):
        _slide(browser, number)
        expected = {"Calcifications": str(step.count), **_areas(step, unit), "Clusters": "–"}
        expected["Extent"] = printed(getattr(step, f"extent_{unit}"), 1, unit)
        expected["Nearest neighbour, mean"] = _nearest(step, unit)
        if unit == "mm":
            expected["Micro / macro"] = f"{step.micro_count} / {step.macro_count}"
            expected["Clusters"] = str(len(step.clusters))
            expected["Density"] = printed(step.density_per_cm2, 2, "per cm² of breast")
        assert _listed(browser, ".figures") == expected
        assert browser.get(_SIZES) == _sizes(step.size_histogram)
        told = _text(browser, "input[name=threshold] + output")
        assert told == f"p ≥ {step.threshold:g}" + (" (operating threshold)" if step.threshold == OPERATING else "")
    assert browser.complaints == []


@pytest.mark.parametrize("unit", ["mm", "px"])
def test_regions_have_the_figures_of_measure_region(browser, pages, unit):
    intensity, codes = case()
    steps = measure_steps(codes, intensity, measured(intensity, codes, _SPACINGS[unit]))
    browser.open(pages[unit])
    rng = np.random.default_rng(3)
    counts = set()
    for number in range(40):
        step = number % len(steps)
        _slide(browser, step)
        corners = rng.uniform(-20, [320, 240], (rng.integers(2, 7), 2)).round(1)
        if len(corners) == 2:
            corners = np.sort(corners.round(), axis=0)
            region = Region.rectangle(*corners.astype(int).ravel().tolist())
        else:
            region = Region.polygon(corners)
        _type_region(browser, " ".join(f"{row:g},{column:g}" for row, column in corners))
        found = measure_region(steps[step], region)
        told = _listed(browser, ".measured")
        assert len(told.pop("Corners (row,column)").split()) == len(region.corners)
        assert told == {"Calcifications": str(found.count), **_areas(found, unit)}
        counts.add(found.count)
    assert {0, 1} & counts
    assert max(counts) > 10


def test_outlines_count_as_inside(browser, pages):
    intensity, codes = case()
    found = measured(intensity, codes).calcifications
    one_pixel = next(each for each in found if each.area_px == 1)
    row, column = int(one_pixel.row), int(one_pixel.column)
    browser.open(pages["mm"])
    _type_region(browser, f"{row},{column} {row},{column + 3} {row + 3},{column}")
    region = Region.polygon([(row, column), (row, column + 3), (row + 3, column)])
    inside = measure_region(measured(intensity, codes), region)
    assert one_pixel.id in inside.calcification_ids
    assert _listed(browser, ".measured")["Calcifications"] == str(inside.count)


def test_a_rectangle_drawn_with_the_mouse_has_the_figures_of_measure_region(browser, pages):
    intensity, codes = case()
    browser.open(pages["mm"])
    _button(browser, "[data-tool=rectangle]")
    browser.drag(_on_screen(browser, 40, 30), _on_screen(browser, 199.6, 180.2))
    field = browser.get("document.querySelector('input[name=region]').value")
    assert field == "40,30 200,180"
    found = measure_region(measured(intensity, codes), Region.rectangle(40, 30, 200, 180))
    assert found.count > 5
    told = _listed(browser, ".measured")
    assert told.pop("Corners (row,column)")
    assert told == {"Calcifications": str(found.count), **_areas(found, "mm")}


def test_a_polygon_is_clicked_and_closed_by_a_key(browser, pages):
    intensity, codes = case()
    browser.open(pages["mm"])
    browser.get("document.querySelector('canvas').focus()")
    browser.key("p")
    for place in ((20, 20), (250, 40), (270, 200), (5, 5)):
        browser.click(*_on_screen(browser, *place))
    browser.key("v")  # a look around leaves it open
    browser.key("p")
    browser.key("Backspace")
    browser.key("Enter")
    corners = [
        [float(v) for v in pair.split(",")]
        for pair in browser.get("document.querySelector('input[name=region]').value").split()
    ]
    np.testing.assert_allclose(corners, [(20, 20), (250, 40), (270, 200)], atol=0.5)
    found = measure_region(measured(intensity, codes), Region.polygon(corners))
    assert found.count > 5
    told = _listed(browser, ".measured")
    assert told.pop("Corners (row,column)")
    assert told == {"Calcifications": str(found.count), **_areas(found, "mm")}
    browser.key("Escape")
    assert _text(browser, ".measured") == "No region."


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("400,0 410,10", "outside the image"), ("0,0", "at least two corners"), ("1,2 3", "a corner is row,column"),
        ("1,1 2,NaN 3,4", "a corner is row,column"), ("1,0 1,4 1,2", "do not all lie on one row or column"),
        ("1,1 2e9,4 4,4", "a corner is row,column"),
    ],
)  # fmt: skip
def test_what_is_no_region_is_told(browser, pages, text, told):
    browser.open(pages["mm"])
    _type_region(browser, text)
    assert told in _text(browser, ".measured")


def test_the_table_lists_sorts_and_selects(browser, pages):
    intensity, codes = case()
    found = measured(intensity, codes).calcifications
    browser.open(pages["mm"])
    cells = "[...document.querySelectorAll('.wide tbody tr')].map((tr) => [...tr.cells].map((td) => td.textContent))"
    rows = browser.get(cells)
    assert [row[:4] for row in rows] == [
        [str(each.id), printed(each.row, 1, ""), printed(each.column, 1, ""), printed(each.area_mm2, 4, "")]
        for each in found
    ]
    _button(browser, "th[data-key=area] button")
    by_area = sorted(found, key=lambda each: (-each.area_px, each.id))
    assert [int(row[0]) for row in browser.get(cells)] == [each.id for each in by_area]
    assert browser.get("document.querySelector('th[data-key=area]').getAttribute('aria-sort')") == "descending"
    _button(browser, "th[data-key=area] button")
    assert int(browser.get(cells)[-1][0]) == max(found, key=lambda each: (each.area_px, each.id)).id
    _button(browser, f"tr[data-id='{by_area[0].id}'] button")
    assert browser.get("document.querySelector('tr[aria-current]').dataset.id") == str(by_area[0].id)
    # What was selected is in the middle, and under the mouse there.
    left, top, width, height = _canvas(browser)
    browser.mouse("mouseMoved", left + width / 2, top + height / 2)
    assert f"row {round(by_area[0].row)}, column {round(by_area[0].column)}:" in _text(browser, ".cursor")


def test_a_click_in_the_image_selects_the_row(browser, pages):
    intensity, codes = case()
    found = measured(intensity, codes).calcifications
    browser.open(pages["mm"])
    for each in found[:5]:
        browser.click(*_on_screen(browser, each.row, each.column))
        assert browser.get("document.querySelector('tr[aria-current]').dataset.id") == str(each.id)


def test_keys_move_zoom_and_change_the_threshold(browser, pages):
    browser.open(pages["mm"])
    browser.get("document.querySelector('canvas').focus()")
    before = browser.screenshot()
    output = "input[name=threshold] + output"
    assert "0.62" in _text(browser, output)
    browser.key("]")
    assert _text(browser, output) == "p ≥ 0.65"
    browser.key("[")
    browser.key("n")
    browser.key("n")
    assert browser.get("document.querySelector('tr[aria-current]').dataset.id") == "2"
    browser.key("Escape")
    browser.key("0")
    left, top, width, height = _canvas(browser)
    middle = (left + width / 2, top + height / 2)
    browser.mouse("mouseMoved", *middle)
    at_first = _text(browser, ".cursor")
    for key in ("ArrowLeft", "ArrowUp", "+"):
        browser.key(key)
    browser.mouse("mouseMoved", middle[0] + 1, middle[1])
    assert _text(browser, ".cursor") != at_first
    browser.key("h")
    assert _text(browser, "input[name=opacity] + output") == "0 %"
    assert browser.screenshot() != before


def test_the_wheel_zooms_where_the_mouse_is(browser, pages):
    browser.open(pages["mm"])
    x, y = _on_screen(browser, 100, 60)
    browser.mouse("mouseMoved", x, y)
    before = _text(browser, ".cursor")
    browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-300)
    browser.get("new Promise((done) => setTimeout(done, 200))")
    browser.mouse("mouseMoved", x, y)
    assert _text(browser, ".cursor").split(":")[0] == before.split(":")[0] == "row 100, column 60"
    browser.mouse("mouseMoved", *(_on_screen(browser, 100, 80)))
    assert _text(browser, ".cursor").split(":")[0] != "row 100, column 80"


def test_two_fingers_zoom(browser, pages):
    browser.open(pages["mm"])
    row, column = 150, 60
    x, y = _on_screen(browser, row, column)

    def touch(kind, *apart):
        points = [{"x": x + side * each, "y": y, "id": number} for each in apart for number, side in enumerate((-1, 1))]
        browser.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    touch("touchStart", 40)
    for apart in (50, 60, 70, 80):
        touch("touchMove", apart)
    touch("touchEnd")
    # Twice as large, and where it was between the fingers.
    for away, there in ((0, column), (60, column + 60 * 1 / 2 / _scale(browser))):
        browser.mouse("mouseMoved", x + away, y)
        shown = _text(browser, ".cursor").split(":")[0]
        assert shown.startswith(f"row {row}, column ")
        assert abs(int(shown.rsplit(" ", 1)[1]) - there) <= 2


def _scale(browser, shape=(300, 220), tall=0.05 / 0.07):
    _, _, width, height = _canvas(browser)
    return min(width / shape[1], height / (shape[0] * tall))


def test_the_level_and_the_window_are_sliders_and_a_tool(browser, pages):
    browser.open(pages["mm"])
    outputs = "'input[name=level] + output, input[name=width] + output'"
    output = f"[...document.querySelectorAll({outputs})].map((each) => each.textContent)"
    first = browser.get(output)
    plain = browser.screenshot()
    _button(browser, "[data-tool=window]")
    left, top, _, _ = _canvas(browser)
    browser.drag((left + 100, top + 100), (left + 150, top + 120))
    changed = browser.get(output)
    assert [int(a.split()[0]) - int(b.split()[0]) for a, b in zip(changed, first, strict=True)] == [80, 200]
    assert browser.screenshot() != plain
    _button(browser, ".reset")
    assert browser.get(output) == first


def test_the_image_shows_its_values_and_the_heat_map_its_probabilities(browser, pages):
    intensity, codes = case()
    browser.open(pages["mm"])
    for row, column in [(0, 0), (299, 219), tuple(np.argwhere(codes == codes.max())[0])]:
        browser.mouse("mouseMoved", *_on_screen(browser, row, column))
        grey = int(np.rint(intensity[row, column] * np.float32(4095)))
        p = printed(int(codes[row, column]) / 65535, 4, "")
        shown = f"p = {p}" if codes[row, column] >= 6554 else "p below the lowest shown"
        assert _text(browser, ".cursor") == f"row {row}, column {column}: grey value {grey}, {shown}"


def test_no_calcification_is_said(browser, pages):
    browser.open(pages["nothing"])
    assert _text(browser, ".listed") == "No calcification at this threshold."
    assert _listed(browser, ".figures")["Mean area"] == "–"
    assert browser.complaints == []


def test_more_calcifications_than_can_be_listed(browser, pages):
    browser.open(pages["many"])
    assert _text(browser, ".listed").startswith("The 500 of highest probability of 62500 are listed;")
    assert "and all below them, are not offered" in _text(browser, ".listed")
    _type_region(browser, "0,0 99,499")
    assert _listed(browser, ".measured")["Calcifications"] == "12500"


def test_all_of_very_many_calcifications_are_marked(browser, pages):
    browser.open(pages["many"])
    browser.get("document.querySelector('canvas').focus()")
    browser.key("h")
    browser.get("new Promise((done) => setTimeout(done, 200))")
    shown = np.asarray(Image.open(io.BytesIO(browser.screenshot())).convert("L"))
    for row, column in ((20, 20), (480, 20), (20, 480), (480, 480)):
        x, y = (int(each) for each in _on_screen(browser, row, column, (500, 500)))
        assert shown[y - 6 : y + 6, x - 6 : x + 6].max() > 200


def test_html_in_names_stays_text(browser, pages):
    browser.open(pages["evil"])
    assert _text(browser, "h1") == "<script>alert(1)</script>&"
    assert browser.complaints == []


def test_the_policy_stops_what_would_load(browser, pages):
    browser.open(pages["mm"])
    loaded = browser.get(
        "new Promise((done) => { const image = new Image(); image.onload = () => done(true);"
        " image.onerror = () => done(false); image.src = 'data:image/gif;base64,R0lGODlhAQABAAAAACw='; })"
    )
    assert loaded is False
    assert any("Content Security Policy" in each for each in browser.complaints)
