"""Reads pages as the HTML standard says, strictly."""

from collections.abc import Iterator
from xml.etree.ElementTree import Element

import html5lib

__all__ = ["elements", "parse_page", "text_of"]


def parse_page(page: str) -> Element:
    """Parses a page; raises on the first parse error."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    return parser.parse(page)


def elements(root: Element, tag: str) -> Iterator[Element]:
    """Yields the elements of a name, in the order of the page."""
    return root.iter(tag)


def text_of(element: Element) -> str:
    """Returns the text that a person reads, white space joined."""
    return " ".join("".join(element.itertext()).split())
