import csv
import io

import numpy as np
import pytest

from data_prep.tables import write_table


def written(*row):
    file = io.StringIO(newline="")
    write_table(file, ["name"] * len(row), [row])
    return file.getvalue().partition("\n")[2]


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "-x.dcm", "=", "-"])
def test_a_text_that_a_spreadsheet_would_compute_is_made_a_text(text):
    (cell,) = next(csv.reader(io.StringIO(written(text), newline="")))
    assert cell == f"'{text}"


@pytest.mark.parametrize("text", ["a=b", "", "x@y", "-0.5", "+1e-3", "1.2.840.10008", "<script>", "'"])
def test_every_other_text_and_a_number_stays_as_it_is(text):
    (cell,) = next(csv.reader(io.StringIO(written(text, 1), newline="")))[:1]
    assert cell == text


@pytest.mark.parametrize(("text", "expected"), [("a;=1+1.png", "a;'=1+1.png"), (";@x;-y", ";'@x;'-y"), ("a;b", "a;b")])
def test_a_semicolon_begins_no_formula_either(text, expected):
    assert next(csv.reader(io.StringIO(written(text), newline=""))) == [expected]


def test_a_carriage_return_starts_no_row():
    assert list(csv.reader(io.StringIO(written("a\r=1+1", "b"), newline=""))) == [["a =1+1", "b"]]


def test_numbers_keep_their_sign_and_what_is_not_there_is_empty():
    assert written(-0.5, np.float64(-1.5), -3, None, float("nan"), True) == "-0.5,-1.5,-3,,,True\n"
