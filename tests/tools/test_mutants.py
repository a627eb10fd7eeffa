"""Mutation testing itself: what is changed, and that a survivor is told apart from what its tests kill."""

import ast
import subprocess
import sys

import pytest

from tests.fakes.commands import ROOT, environment
from tools.mutants import mutations


def _mutants(source):
    found = []
    for number in range(len(list(mutations(ast.parse(source))))):
        tree = ast.parse(source)
        list(mutations(tree))[number].apply()
        found.append(ast.unparse(ast.fix_missing_locations(tree)))
    return found


@pytest.mark.parametrize(
    ("source", "mutants"),
    [
        ("a < b", ["a <= b"]),
        ("a == b != c", ["a != b != c", "a == b == c"]),
        ("a + b", ["a - b"]),
        ("a += 2", ["a -= 2", "a += 3"]),
        ("a and b", ["a or b"]),
        ("not a", ["not not a"]),
        ("-a", ["+a"]),
        ("f(a, b, c)", ["f(b, a, c)", "f(a, c, b)"]),
        ("f(x=True)", ["f(x=False)"]),
        ("np.min", ["np.max"]),
        ("a if b else c", ["a if not b else c"]),
        ("'1'", []),
        ("__all__ = ['a', 1]", []),
    ],
)
def test_one_place_is_changed_at_a_time(source, mutants):
    assert _mutants(source) == mutants


def test_annotations_are_left_alone():
    assert _mutants("def f(a: g[1]) -> g[2]:\n    b: g[3] = a") == []


@pytest.mark.slow
def test_a_survivor_is_told_with_its_line(tmp_path):
    (tmp_path / "tiny.py").write_text("def larger(a, b):\n    return a if a > b else b\n")
    (tmp_path / "test_tiny.py").write_text(
        "from tiny import larger\n\n\ndef test_larger():\n    assert larger(1, 2) == larger(2, 1) == 2\n"
    )
    line = [sys.executable, "-m", "tools.mutants", "--module=tiny", "--tests=test_tiny.py"]
    ended = subprocess.run(
        line, cwd=tmp_path, env={**environment(), "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "2 of 2 mutants run, 1 killed, 1 survived" in ended.stdout
    assert "Gt to GtE, line 2: return a if a > b else b" in ended.stdout + ended.stderr
