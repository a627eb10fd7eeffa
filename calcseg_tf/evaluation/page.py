"""The frame of evaluation.html: headings, contents, style; light and dark, screen and paper, no script."""

import dataclasses
from collections.abc import Sequence

from calcseg_tf.html import Content, Markup, document, element
from data_prep.command import DISCLAIMER

__all__ = ["Section", "render_page"]

_STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --muted: #565f69; --page: #ffffff; --panel: #f4f6f8;
  --line: #d3d9df; --accent: #005a94; --notice: #fff4d6; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e9ec; --muted: #a4adb6; --page: #14181c; --panel: #1e242a; --line: #38414a; --accent: #6cbcf0;
    --notice: #3a3016; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 1rem 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.25rem 0 .5rem; padding-top: .5rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .4rem; overflow-wrap: anywhere; }
p, dd, li { max-width: 48rem; }
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.notice { background: var(--notice); border: 1px solid var(--line); border-radius: .3rem; padding: .5rem .75rem;
  max-width: none; font-weight: 600; }
.muted { color: var(--muted); }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; margin: .75rem 0; list-style: none; }
.wide { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
caption { text-align: left; color: var(--muted); padding: .25rem 0 .5rem; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { border-bottom: 2px solid var(--line); }
th { text-align: left; font-weight: 600; }
tbody th { font-weight: 500; overflow-wrap: anywhere; min-width: 9rem; }
.number { text-align: right; white-space: nowrap; }
dt { font-weight: 600; margin-top: .5rem; overflow-wrap: anywhere; }
dd { margin: 0 0 0 1rem; overflow-wrap: anywhere; }
figure { margin: 0; break-inside: avoid; }
figcaption { font-size: .88rem; color: var(--muted); padding: .3rem 0; overflow-wrap: anywhere; }
img { display: block; max-width: 100%; height: auto; background: #ffffff; border-radius: .2rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); gap: 1rem; }
.crops { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: .9rem; padding: 0;
  margin: .75rem 0; list-style: none; }
.strip img { max-width: none; width: max(100%, 60rem); }
details { margin: .75rem 0; }
summary { cursor: pointer; color: var(--accent); }
pre { background: var(--panel); padding: .6rem; overflow-x: auto; font-size: .85rem; }
@media (max-width: 40rem) {
  .number { white-space: normal; }
  th, td { padding: .3rem .4rem; }
  tbody th { min-width: 6.5rem; }
}
@media print {
  :root { --text: #000000; --muted: #333333; --page: #ffffff; --panel: #ffffff; --line: #999999; --accent: #000000;
    --notice: #ffffff; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  .wide { overflow: visible; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; overflow: visible; }
  .strip img { width: 100%; }
  table { font-size: 8.5pt; }
  tr, figure, li { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
}
"""


@dataclasses.dataclass(frozen=True)
class Section:
    """One part of the page.

    Attributes:
        name: Its anchor, a word of letters.
        title: Its heading.
        content: What is below.
    """

    name: str
    title: str
    content: Content


def render_page(title: str, lead: Content, sections: Sequence[Section]) -> str:
    """Returns the page, with the disclaimer at its top and at its bottom.

    Args:
        title: What was evaluated.
        lead: First of all, such as what was counted.
        sections: In order; each is in the contents.
    """
    notice = element("p", DISCLAIMER, class_="notice")
    links = [element("li", element("a", section.title, href=f"#{section.name}")) for section in sections]
    return document(
        title,
        _STYLE,
        Markup("\n"),
        element(
            "header", notice, element("h1", title), lead, element("nav", element("ul", *links), aria_label="Contents")
        ),
        element("main", *(_section(section) for section in sections)),
        element("footer", notice),
        Markup("\n"),
    )


def _section(section: Section) -> Content:
    heading = element("h2", section.title, id=section.name)
    return [Markup("\n"), element("section", heading, section.content, aria_labelledby=section.name)]
