import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from calcseg_tf.evaluation.page import Section, render_page
from calcseg_tf.html import Markup, definitions, document, element, embedded_png, picture, table
from data_prep.command import DISCLAIMER
from tests.fakes.pages import elements, parse_page, text_of

HOSTILE = (
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "'; --", "</title></style></td>", "&lt;&amp;",
    "a\0b\x1b[31m\x85", "--><!--", "\ud800", "{{7*7}} ${7*7}",
)  # fmt: skip


def png(width=3, height=2):
    buffer = io.BytesIO()
    Image.new("L", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


@given(st.text() | st.sampled_from(HOSTILE))
def test_whatever_the_text_it_stays_text(text):
    page = document(
        text, "", element("h1", text), element("p", text, title=text), table(text, ["a", text], [[text, text]]),
        definitions([(text, [text, text])]), picture(png(), text, text),
    )  # fmt: skip
    root = parse_page(page)
    assert [child.tag for child in root] == ["head", "body"]
    assert [child.tag for child in root[1]] == ["h1", "p", "div", "dl", "figure"]
    assert not list(elements(root, "script"))
    assert len(list(elements(root, "img"))) == 1
    page.encode("utf-8")


@pytest.mark.parametrize("text", HOSTILE[:5])
def test_a_person_reads_the_text_as_it_was(text):
    root = parse_page(document("t", "", element("p", text, title=text)))
    [paragraph] = elements(root, "p")
    assert paragraph.text == paragraph.get("title") == text


def test_markup_stays_markup_only_as_long_as_nothing_is_added_to_it():
    inside = element("b", "x")
    assert element("p", inside, [" & ", inside]) == "<p><b>x</b> &amp; <b>x</b></p>"
    assert element("p", inside + "<i>") == "<p>&lt;b&gt;x&lt;/b&gt;&lt;i&gt;</p>"
    assert element("p", Markup("<br>")) == "<p><br></p>"


def test_attributes_have_html_names_and_booleans_no_value():
    assert element("details", class_="a b", aria_label="1 < 2", open=True, hidden=False, tabindex=0) == (
        '<details class="a b" aria-label="1 &lt; 2" open tabindex="0"></details>'
    )


def test_a_table_has_a_caption_and_heads_of_columns_and_rows():
    root = parse_page(document("t", "", table(["Counts of ", element("em", "all")], ["model", "n"], [["A", "1"]])))
    [div] = elements(root, "div")
    assert (div.get("role"), div.get("tabindex"), div.get("aria-label")) == ("region", "0", "Counts of all")
    assert [(head.get("scope"), text_of(head)) for head in elements(root, "th")] == [
        ("col", "model"), ("col", "n"), ("row", "A"),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="cell for every column"):
        table("t", ["a", "b"], [["1"]])


def test_an_image_tells_its_size_and_its_text():
    image = embedded_png(png(width=300, height=20), 'a "curve"')
    assert 'width="300" height="20"' in image
    assert 'alt="a &quot;curve&quot;"' in image
    assert 'src="data:image/png;base64,' in image


@pytest.mark.parametrize("text", HOSTILE)
def test_a_page_is_valid_whole_and_says_what_it_is_not_for_at_both_ends(text):
    root = parse_page(render_page(text, element("p", text), [Section("one", text, element("p", text))]))
    [body] = elements(root, "body")
    assert [child.tag for child in body] == ["header", "main", "footer"]
    for part in (body[0], body[2]):
        assert DISCLAIMER in text_of(part)
    assert [link.get("href") for link in elements(root, "a")] == ["#one"]
    assert [heading.get("id") for heading in elements(root, "h2")] == ["one"]
    assert len(list(elements(root, "h1"))) == 1
    assert root.get("lang") == "en"
