"""Damaged property lists and tables by the ten thousand, each from the seed that its failure names."""

import copy
import datetime
import plistlib
import random

import numpy as np
import pytest

from data_prep.datasets import InBreast
from data_prep.datasets.inbreast_rois import PlistRois
from data_prep.errors import InputError
from tests.fakes.inbreast import FakeImage, plist_bytes, roi, write_inbreast

SIZE = (60, 80)
SQUARE = ((2, 1), (5, 1), (5, 4), (2, 4))
WHOLE = plist_bytes(
    [
        roi("Calcification", *SQUARE),
        roi("Cluster", *SQUARE),
        roi("Calcification", (1, 1)),
        roi("Mass", *SQUARE),
        roi("Odd", (1, 1)),
        roi("Calcification"),
    ]
)
VALUES = (
    0, -1, 10**18, 1.5, float("nan"), float("inf"), True, "", "x", "(1, 2)", "(-5, 700)", "(1e4, -1e4)",
    "(65535, 65535)", "(nan, 0)", "Cluster", "Calcification", "\u00dc\n\u2028x", b"\1", datetime.datetime(2010, 1, 1),
    [], {}, ["(1,1)"], ["(1,1)", "(3,3)", "(9,1)"], [1], [[]], {"a": 1},
)  # fmt: skip
TOKENS = (
    b"nan", b"-1e308", b"9" * 50, b"<array>", b"</dict>", b"<integer>", b"</string>", b"&lt;", b"<!ENTITY a 'b'>",
    b"\xff\xfe", b"\0", b"<data>AAAA</data>", b"<real>1</real>", b";", b'"', b"\n", b"\r", b"\xe2\x80\xa8",
)  # fmt: skip


def mutated(content, generator):
    content = bytearray(content)
    for _ in range(generator.randint(1, 6)):
        start = generator.randrange(len(content))
        end = start + generator.randint(0, 60)
        content[start:end] = generator.choice(
            [b"", bytes([generator.randrange(256)]), generator.choice(TOKENS), 2 * content[start:end]]
        )
    return bytes(content)


def places(value):
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def revalued(content, generator):
    document = {"document": plistlib.loads(content)}
    for _ in range(generator.randint(1, 5)):
        holder, key = generator.choice(list(places(document)))
        if generator.random() < 0.1 and holder is not document:
            del holder[key]
        else:
            holder[key] = copy.deepcopy(generator.choice(VALUES))
    return plistlib.dumps(document["document"])


def outcome(call):
    """What a call gives, or its error, which is one line."""
    try:
        return call(), None
    except InputError as error:
        return None, str(error)


def read_rois(path):
    rois = PlistRois(path)
    rois.check(SIZE)
    return rois.mask(SIZE), rois.warnings(SIZE), rois.has_outlined_calcification()


def check_rois(path, content, seed):
    path.write_bytes(content)
    found, error = outcome(lambda: read_rois(path))
    lines = [error] if found is None else found[1]
    assert all(len(line.splitlines()) == 1 and len(line) < 500 for line in lines), (seed, lines)
    assert found is None or set(np.unique(found[0])) <= {0, 1, 255}, seed
    return error


@pytest.mark.parametrize("damage", [mutated, revalued])
@pytest.mark.parametrize("seeds", [range(300), pytest.param(range(300, 20_000), marks=pytest.mark.slow)])
def test_damaged_property_lists_are_read_or_refused(tmp_path, damage, seeds):
    path = tmp_path / "1.xml"
    errors = [check_rois(path, damage(WHOLE, random.Random(seed)), seed) for seed in seeds]
    assert 0 < sum(error is None for error in errors) < len(errors)


@pytest.mark.parametrize("seeds", [range(300), pytest.param(range(300, 20_000), marks=pytest.mark.slow)])
def test_damaged_tables_are_read_or_refused(tmp_path, seeds):
    root = write_inbreast(tmp_path / "tree", [FakeImage(str(20586908 + index), f"{index:016x}") for index in range(3)])
    path = root / "INbreast.csv"
    whole, errors = path.read_bytes(), []
    for seed in seeds:
        path.write_bytes(mutated(whole, random.Random(seed)))
        listing, error = outcome(lambda: InBreast().list_cases(root))
        lines = [error] if listing is None else [f"{bad.file}: {bad.reason}" for bad in listing.rejected]
        assert all(len(line.splitlines()) == 1 for line in lines), (seed, lines)
        assert listing is None or len(listing.cases) == 3, seed
        errors.append(error)
    assert 0 < sum(error is None for error in errors) < len(errors)
