"""The frame of report.html: what stands in it before its script fills it, and what the script may do."""

import base64
import hashlib
import importlib.resources
import pathlib

import numpy as np

from calcseg_tf.clinical.page.exam import LISTED, exam_data, image_base64, map_base64
from calcseg_tf.clinical.page.steps import measure_steps
from calcseg_tf.clinical.statistics import ImageStatistics
from calcseg_tf.evaluation.html import Content, Markup, element
from data_prep.command import DISCLAIMER

__all__ = ["write_report"]

_SCRIPTS = ("decode.js", "region.js", "viewer.js", "marks.js", "pointer.js", "table.js", "exam.js")

_KEYS = (
    ("arrow keys", "move the image"), ("+ and -", "zoom"), ("0", "whole image"),
    ("1", "one image pixel per screen pixel"),
    ("[ and ]", "threshold down and up"), ("n and b", "next and previous calcification of the table"),
    ("h", "heat map on or off"), ("m", "marks on or off"), ("v, r, p, w", "tool: move, rectangle, polygon, window"),
    ("Enter", "close the polygon"), ("Backspace", "take back its last corner"), ("Escape", "no region, no selection"),
)  # fmt: skip


def write_report(
    path: pathlib.Path, intensity: np.ndarray, codes: np.ndarray, statistics: ImageStatistics, title: str
) -> None:
    """Writes the page of one mammogram.

    Its figures are those of `measure` at each threshold of `measure_steps`. It loads nothing, and its content security
    policy forbids all but its own script.

    Args:
        path: The file to write.
        intensity: float [height, width] in [0, 1].
        codes: uint16 [height, width], the probability map.
        statistics: Measured on both at the operating threshold.
        title: Shown above, as text.
    """
    steps = measure_steps(codes, intensity, statistics)
    data = [
        _data("data", "application/json", exam_data(intensity, steps, statistics)),
        _data("image", "text/plain", image_base64(intensity)),
        _data("map", "text/plain", map_base64(codes, steps)),
    ]
    path.write_text(_document(title, _exam(title, statistics, data)), encoding="utf-8")


def _document(title: str, *exams: Content) -> str:
    style = _file("report.css")
    script = "\n".join(['"use strict";', *map(_file, _SCRIPTS)])
    policy = f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; base-uri 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=f"{policy}; form-action 'none'"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{title}: calcifications"),
        element("style", Markup(style)),
    )
    notice = element("p", DISCLAIMER, class_="notice")
    no_script = element("noscript", "This page needs JavaScript; overlay.png and statistics.json do not.")
    body = element("body", notice, no_script, element("main", *exams), notice, element("script", Markup(script)))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _exam(title: str, statistics: ImageStatistics, data: Content) -> Markup:
    """Builds what the script calls an exam: all of one mammogram, so that two can stand side by side."""
    return element(
        "section",
        element("header", element("h1", title), element("p", _describe(statistics), class_="about")),
        element("div", _view(), _panel(), class_="columns"),
        data,
        class_="exam",
        aria_label=title,
    )


def _view() -> Markup:
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
                element("dl", *([element("dt", key), element("dd", meaning)] for key, meaning in _KEYS)),
                element("p", "Wheel or two fingers zoom; dragging moves the image or draws, as the tool says; a click "
                        "on a calcification selects its row. Circles and outlines mark calcifications, dashed lines "
                        "clusters, corner brackets what is selected, a line with dots the region."), class_="help"),
        class_="view",
    )  # fmt: skip


def _panel() -> Markup:
    return element(
        "div",
        _display(),
        element("section", element("h2", "At this threshold"), element("dl", class_="figures", aria_live="polite")),
        _region(),
        element("section", element("h2", "Clusters"), element("div", class_="clusters")),
        _calcifications(),
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
    table = element("table", element("thead"), element("tbody"), aria_label="Calcifications")
    return element(
        "section",
        element("h2", "Calcifications"),
        element("p", class_="listed"),
        element("p", hint, class_="hint"),
        # A person without a mouse must reach it to scroll it.
        element("div", table, class_="wide", tabindex=0, role="region", aria_label="Table of calcifications"),
    )


def _describe(statistics: ImageStatistics) -> str:
    spacing = "Pixel spacing unknown: sizes are in pixels (px), and there are no clusters."
    if statistics.pixel_spacing_mm is not None:
        row, column = statistics.pixel_spacing_mm
        spacing = f"Pixel spacing {row:.4g} x {column:.4g} mm, from {statistics.spacing_source.value}."
    return f"{statistics.height} rows x {statistics.width} columns. {spacing}"


def _data(name: str, kind: str, text: str) -> Markup:
    """Builds a block that a browser keeps and does not run; the text holds no tag."""
    return element("script", Markup(text), class_=name, type=kind)


def _file(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """Returns the source by which a policy knows an inline script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
