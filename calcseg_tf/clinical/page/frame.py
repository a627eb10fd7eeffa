"""The frame of the pages: what stands in them before their script fills them, and what the script may do."""

import base64
import hashlib
import importlib.resources
from collections.abc import Mapping, Sequence

import numpy as np

from calcseg_tf.clinical.page.exam import LISTED, exam_data, image_base64, map_base64
from calcseg_tf.clinical.statistics import ImageStatistics
from calcseg_tf.html import Content, Markup, element
from data_prep.command import DISCLAIMER

__all__ = ["data_block", "document", "exam_section", "scrolled_table"]

_SCRIPTS = (
    "decode.js", "region.js", "viewer.js", "marks.js", "pointer.js", "table.js", "exam.js", "follow_up.js", "open.js",
)  # fmt: skip

_KEYS = (
    ("arrow keys", "move the image"), ("+ and -", "zoom"), ("0", "whole image"),
    ("1", "one image pixel per screen pixel"),
    ("[ and ]", "threshold down and up"), ("n and b", "next and previous calcification of the table"),
    ("h", "heat map on or off"), ("m", "marks on or off"), ("v, r, p, w", "tool: move, rectangle, polygon, window"),
    ("Enter", "close the polygon"), ("Backspace", "take back its last corner"), ("Escape", "no region, no selection"),
)  # fmt: skip


_DESCRIPTORS = (
    "The distribution is a descriptor in BI-RADS' words by stated rules, not a diagnosis; rules and definitions are in "
    "the JSON file beside this page."
)


def document(title: str, unscripted: str, *content: Content, kind: str = "report") -> str:
    """Builds a page. It loads nothing, and its content security policy forbids all but its own script.

    Args:
        title: Of the window.
        unscripted: Where its figures are found without JavaScript.
        content: Of the page.
        kind: Class of what holds it.
    """
    style = _file("report.css")
    script = "\n".join(['"use strict";', *map(_file, _SCRIPTS)])
    policy = f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; base-uri 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=f"{policy}; form-action 'none'"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(style)),
    )
    notice = element("p", DISCLAIMER, class_="notice")
    no_script = element("noscript", f"This page needs JavaScript; {unscripted} do not.")
    main = element("main", *content, class_=kind)
    body = element("body", notice, no_script, main, notice, element("script", Markup(script)))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def exam_section(
    title: str,
    intensity: np.ndarray,
    codes: np.ndarray,
    steps: Sequence[ImageStatistics],
    operating: ImageStatistics,
    heading: str = "h1",
    figures: str = "At this threshold",
    keys: Sequence[tuple[str, str]] = (),
) -> Markup:
    """Builds what the script calls an exam: all of one mammogram, so that two can stand side by side.

    Args:
        title: Shown above, as text.
        intensity: float [height, width] in [0, 1].
        codes: uint16 [height, width], the probability map.
        steps: By threshold, ascending.
        operating: One of them.
        heading: Tag of the title.
        figures: Heading of the figures of the whole image.
        keys: Further keys of the page and what they do; they replace those of the same name.
    """
    return element(
        "section",
        element("header", element(heading, title), element("p", _describe(operating), class_="about")),
        element("div", _view({**dict(_KEYS), **dict(keys)}), _panel(figures), class_="columns"),
        data_block("data", exam_data(intensity, steps, operating)),
        data_block("image", image_base64(intensity), "text/plain"),
        data_block("map", map_base64(codes, steps), "text/plain"),
        class_="exam",
        aria_label=title,
    )


def data_block(name: str, text: str, kind: str = "application/json") -> Markup:
    """Builds a block that a browser keeps and does not run; the text holds no tag."""
    return element("script", Markup(text), class_=name, type=kind)


def scrolled_table(name: str) -> Markup:
    """Builds an empty table that scrolls by itself."""
    table = element("table", element("thead"), element("tbody"), aria_label=name)
    # A person without a mouse must reach it to scroll it.
    return element("div", table, class_="wide", tabindex=0, role="region", aria_label=f"Table of {name.lower()}")


def _view(keys: Mapping[str, str]) -> Markup:
    tools = [
        element("button", label, type="button", data_tool=name, aria_pressed="false")
        for name, label in (("move", "Move"), ("rectangle", "Rectangle"), ("polygon", "Polygon"), ("window", "Window"))
    ]
    zooms = [
        element("button", label, type="button", data_zoom=name, aria_label=spoken)
        for name, label, spoken in (
            ("in", "+", "zoom in"), ("out", "−", "zoom out"), ("fit", "Fit", "whole image"),
            ("one", "1:1", "one image pixel per screen pixel"),
        )
    ]  # fmt: skip
    canvas = element(
        "canvas", tabindex=0, role="application",
        aria_label="Mammogram with heat map and marks. Arrow keys move it, plus and minus zoom; all keys: below.",
    )  # fmt: skip
    return element(
        "div",
        element("div", element("div", *tools, role="group", aria_label="Tool of the mouse"),
                element("div", *zooms, role="group", aria_label="Zoom"), class_="bar"),
        element("div", canvas, element("p", "Opening …", class_="state", role="status"), class_="stage"),
        element("p", class_="cursor"),
        element("details", element("summary", "Keys, mouse and touch"),
                element("dl", *([element("dt", key), element("dd", meaning)] for key, meaning in keys.items())),
                element("p", "Wheel or two fingers zoom; dragging moves the image or draws, as the tool says; a click "
                        "on a calcification selects its row. Circles and outlines mark calcifications, dashed lines "
                        "clusters, corner brackets what is selected, a line with dots the region."), class_="help"),
        class_="view",
    )  # fmt: skip


def _panel(figures: str) -> Markup:
    return element(
        "div",
        _display(),
        element(
            "div",
            element(
                "section",
                element("h2", figures),
                element("dl", class_="figures", aria_live="polite"),
                element("div", class_="sizes"),
            ),
            _region(),
            element(
                "section",
                element("h2", "Clusters"),
                element("div", class_="clusters"),
                element("p", _DESCRIPTORS, class_="about"),
            ),
            _calcifications(),
            class_="details",
        ),
        class_="panel",
    )


def _display() -> Markup:
    def slider(name: str, label: str, least: int = 0, most: int = 1) -> Markup:
        control = element("input", type="range", name=name, min=least, max=most, value=least)
        return element("label", element("span", label), control, element("output"))

    # The script sets where they end and stand.
    return element(
        "fieldset",
        element("legend", "Display"),
        slider("threshold", "Threshold"),
        slider("opacity", "Heat map", most=100),
        slider("level", "Level"),
        slider("width", "Window", least=1),
        element("button", "Reset level and window", type="button", class_="reset"),
    )


def _region() -> Markup:
    corners = element("input", type="text", name="region", autocomplete="off", spellcheck="false",
                      placeholder="row,column row,column …")  # fmt: skip
    return element(
        "section",
        element("h2", "Region"),
        element("label", element("span", "Corners"), corners),
        element("p", "Two are a rectangle, three or more a polygon; or draw it in the image.", class_="hint"),
        element("div", class_="measured", aria_live="polite"),
        class_="region",
    )


def _calcifications() -> Markup:
    hint = f"Select a row to see it in the image, a column's name to sort. At most {LISTED} rows."
    return element(
        "section",
        element("h2", "Calcifications"),
        element("p", class_="listed"),
        element("p", hint, class_="hint"),
        scrolled_table("Calcifications"),
    )


def _describe(statistics: ImageStatistics) -> str:
    spacing = "Pixel spacing unknown: sizes are in pixels (px), and there are no clusters."
    if statistics.pixel_spacing_mm is not None:
        row, column = statistics.pixel_spacing_mm
        spacing = f"Pixel spacing {row:.4g} x {column:.4g} mm, from {statistics.spacing_source.value}."
    return f"{statistics.height} rows x {statistics.width} columns. {spacing}"


def _file(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """Returns the source by which a policy knows an inline script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
