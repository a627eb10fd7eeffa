"""Builds HTML from Python: whatever is not markup already is escaped, so that no text can become markup."""

import base64
import html
import re
from collections.abc import Sequence
from typing import TypeAlias

__all__ = ["Content", "Markup", "definitions", "document", "element", "embedded_png", "picture", "table"]

# Control characters and the last two of each plane, which HTML forbids even escaped, and lone halves of surrogate
# pairs, which UTF-8 cannot hold.
_LAST_TWO = "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
_FORBIDDEN = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_LAST_TWO}]")


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Content: TypeAlias = str | Sequence["Content"]
"""Text, which is escaped, markup, which is not, or a sequence of both."""


def element(tag: str, *children: Content, **attributes: str | int | bool) -> Markup:
    """Builds one element.

    Args:
        tag: Its name.
        children: What is in it.
        attributes: By name; underscores at the end are dropped and others become hyphens (`class_`, `aria_label`). True
            gives a name without a value, False leaves it out.
    """
    parts = [tag]
    for name, value in attributes.items():
        key = name.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(key)
        elif value is not False:
            parts.append(f'{key}="{_escape(str(value))}"')
    opening = f"<{' '.join(parts)}>"
    return Markup(opening if tag in ("img", "input", "meta") else f"{opening}{_join(children)}</{tag}>")


def table(
    caption: Content, header: Sequence[Content], rows: Sequence[Sequence[Content]], numeric_from: int = 1
) -> Markup:
    """Builds a table whose first column names the rows; wider than the page it scrolls by itself.

    Args:
        caption: Above it.
        header: One a column.
        rows: As long as the header each.
        numeric_from: First column of numbers, which stand at the right.
    """
    if any(len(row) != len(header) for row in rows):
        raise ValueError("a row of a table has a cell for every column")

    def kind(column: int) -> str:
        return "number" if column >= numeric_from else "text"

    head = element("tr", *(element("th", cell, scope="col", class_=kind(column)) for column, cell in enumerate(header)))
    body = [
        element("tr", element("th", row[0], scope="row"),
                *(element("td", cell, class_=kind(column)) for column, cell in enumerate(row[1:], 1)), )
        for row in rows
    ]  # fmt: skip
    inside = element("table", element("caption", caption), element("thead", head), element("tbody", *body))
    # A person without a mouse must reach it to scroll it.
    return element("div", inside, class_="wide", tabindex=0, role="region", aria_label=_text(caption))


def definitions(pairs: Sequence[tuple[Content, Content]]) -> Markup:
    """Builds a list of terms and what they mean."""
    return element("dl", *([element("dt", term), element("dd", meaning)] for term, meaning in pairs))


def embedded_png(png: bytes, alternative: str) -> Markup:
    """Builds an image that is part of the page.

    Args:
        png: The file.
        alternative: What it shows, for who cannot see it.
    """
    height, width = (int.from_bytes(png[start : start + 4], "big") for start in (20, 16))
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return element("img", src=source, alt=alternative, width=width, height=height)


def picture(png: bytes, alternative: str, caption: Content) -> Markup:
    """Builds an image with its caption."""
    return element("figure", embedded_png(png, alternative), element("figcaption", caption))


def document(title: str, style: str, *body: Content) -> str:
    """Builds a whole page, in English, that needs no other file and no script.

    Args:
        title: Of the page.
        style: The style sheet; trusted.
        body: What is in it.
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        # Even if something foreign came into the page, it could load and run nothing.
        element("meta", http_equiv="Content-Security-Policy",
                content="default-src 'none'; img-src data:; style-src 'unsafe-inline'"),
        element("title", title),
        element("style", Markup(style)),
    )  # fmt: skip
    return f"<!DOCTYPE html>\n{element('html', head, element('body', *body), lang='en')}\n"


def _join(content: Content) -> str:
    if isinstance(content, Markup):
        return content
    if isinstance(content, str):
        return _escape(content)
    return "".join(map(_join, content))


def _escape(text: str) -> str:
    return html.escape(_FORBIDDEN.sub("�", text))


def _text(content: Content) -> str:
    """Returns the text of a caption, without its markup."""
    if isinstance(content, Markup):
        return html.unescape(re.sub(r"<[^>]*>", "", content))
    return content if isinstance(content, str) else "".join(map(_text, content))
