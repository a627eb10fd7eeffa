"""Damage to XML, comma-separated tables and JSON that leaves the rest of the document in order."""

import copy
import csv
import io
import json
import random
import re
from typing import Any

__all__ = ["ODD_TEXTS", "edit_json", "edit_table", "edit_xml"]

ODD_TEXTS = (
    "", " ", "0", "-1", "1", "9" * 30, "9" * 5000, "1e400", "-1e308", "1e-300", "5e-324", "nan", "inf", "0x10", "1_0",
    "1;2", "(1, 2)", "(nan, inf)", "(-5, 1e5)", "L", "CC", "Calcification", "removed", "\u0661\u0662",
    "\u00fc\u00df\u0130", "\U0001f600", "a\nb", "a\r\nb", "a\0b", "\x1b[31mred", "\u2028", "\u202e", "\ufeff", "'",
    '"', "\\", "/", "..", "../../etc/passwd", "%s%n", "{0}", "$(x)", "x" * 300, "x" * 70_000, "CANARY-77413993",
    "Canaryname^Qzx", "true", "None",
)  # fmt: skip

# JSON is what data_prep itself wrote: without patients, and so it may be quoted.
_ODD_JSON_TEXTS = tuple(text for text in ODD_TEXTS if "canary" not in text.lower())
_ODD_VALUES: tuple[Any, ...] = (
    *_ODD_JSON_TEXTS, 0, -1, 1, 1.5, 10**18, 10**40, -(10**400), float("nan"), float("inf"), 1e-320, True, False, None,
    [], {}, [[]], [1], {"a": 1}, ["train"], "train", "test", {"split": "train", "patient": ""},
)  # fmt: skip

_XML_TOKEN = re.compile(r"<[^>]*>|[^<]+")
_XML_TOKENS = (
    "<dict>", "</dict>", "<array>", "</array>", "<string>", "</string>", "<integer>", "<real>", "<true/>", "<date>",
    "<data>AAAA</data>", "<key>Name</key>", "<key>Point_px</key>", "<key>ROIs</key>", "<!--", "-->", "<![CDATA[",
    "]]>", "&lt;", "&#0;", "&#x1b;", "&x;", '<!DOCTYPE a [<!ENTITY x "y">]>',
    "<?xml version='1.0' encoding='utf-16'?>", "<plist>",
)  # fmt: skip


def edit_xml(rng: random.Random, data: bytes) -> bytes:
    """Deletes, repeats, exchanges or replaces tags and texts of an XML document."""
    tokens = _XML_TOKEN.findall(data.decode("utf-8", "surrogateescape"))
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not tokens:
            break
        index, other = rng.randrange(len(tokens)), rng.randrange(len(tokens))
        kind = rng.randrange(6)
        if kind == 0:
            del tokens[index]
        elif kind == 1:
            tokens[index:index] = tokens[index : index + rng.randint(1, 40)] * rng.choice((1, 1, 3, 300))
        elif kind == 2:
            tokens[index], tokens[other] = tokens[other], tokens[index]
        elif kind == 3:
            tokens[index] = rng.choice(_XML_TOKENS)
        else:  # a text, where there is one
            texts = [place for place, token in enumerate(tokens) if token.strip() and not token.startswith("<")]
            tokens[rng.choice(texts or [index])] = rng.choice(ODD_TEXTS)
    return "".join(tokens).encode("utf-8", "surrogateescape")


def edit_table(rng: random.Random, data: bytes, delimiter: str = ",") -> bytes:
    """Replaces, moves, adds or deletes cells, rows or columns of a table."""
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8"), newline=""), delimiter=delimiter))
    except (UnicodeDecodeError, csv.Error):
        return data
    for _ in range(rng.choice((1, 1, 2, 5))):
        if not rows or not (row := rng.choice((*[rng.choice(rows)] * 5, rows[0]))):
            break
        cell, kind = rng.randrange(len(row)), rng.randrange(8)
        if kind <= 2:
            row[cell] = rng.choice(ODD_TEXTS)
        elif kind == 3:
            row[cell] = rng.choice(rng.choice(rows) or [""])
        elif kind == 4:
            del row[cell]
        elif kind == 5:
            row.insert(cell, rng.choice(ODD_TEXTS))
        elif kind == 6:
            rows.insert(rng.randrange(len(rows) + 1), list(rng.choice(rows)))
        else:
            rows.remove(row)
    text = io.StringIO(newline="")
    delimiter = rng.choice((delimiter,) * 9 + ("\t",))
    quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=rng.choice(("\n", "\r\n"))).writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def edit_json(rng: random.Random, data: bytes) -> bytes:
    """Replaces, deletes, adds or moves values of a JSON document."""
    try:
        document = {"document": json.loads(data)}
    except (ValueError, RecursionError):
        return data
    for _ in range(rng.choice((1, 1, 2, 4))):
        holder, key = rng.choice(list(_places(document)))
        kind = rng.randrange(6)
        if kind == 0 and holder is not document:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[rng.choice(_ODD_JSON_TEXTS)] = copy.deepcopy(rng.choice(_ODD_VALUES))
        elif kind == 2:
            other, place = rng.choice(list(_places(document)))
            holder[key] = copy.deepcopy(other[place])
        else:
            holder[key] = copy.deepcopy(rng.choice(_ODD_VALUES))
    try:
        return json.dumps(document["document"], indent=rng.choice((2, None)), ensure_ascii=rng.random() < 0.7).encode(
            "utf-8", "surrogatepass"
        )
    except (ValueError, RecursionError):
        return data


def _places(value: Any) -> Any:
    """Yields (holder, key) of every value of a document."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])
