"""Damaged input: a part in every run, a larger one among the slow tests; `tools/fuzz.py` runs as many as one likes."""

import collections
import hashlib
import os
import subprocess
import sys

import pytest

from tests.fakes.commands import ROOT, environment
from tests.fuzz.oracle import Ending
from tests.fuzz.pool import run_cases
from tests.fuzz.targets import TARGETS

WORKERS = len(os.sched_getaffinity(0))


FEW = 150  # of each target; the rest are slow


def check_all_end_well(cases):
    """Runs cases, checks that none fails, and returns how each ended: (target, number) -> value of `Ending`."""
    results = list(run_cases(cases, WORKERS))
    failed = [
        f"python -m tools.fuzz --target={result.target} --seed={result.number}\n{result.failure}"
        for result in results
        if result.failure
    ]
    assert not failed, "\n".join(failed)
    assert len(results) == len(cases)
    return {(result.target, result.number): result.ending for result in results}


def test_input_ends_in_a_record_a_named_rejection_or_one_clear_line():
    damaged = FEW
    cases = [
        (name, number) for name, one in TARGETS.items() for number in (*one.undamaged(heavy=False), *range(damaged))
    ]
    endings = check_all_end_well(cases)
    for name, target in TARGETS.items():
        valid = [endings[name, number] for number in range(-1, -1 - len(target.seeds), -1)]
        assert valid == [Ending.RECORD.value] * len(valid), name
        # Damage that is never seen, or nothing but damage that is seen at once, would test little.
        found = collections.Counter(endings[name, number] for number in range(damaged))
        assert found[Ending.RECORD.value] < damaged, name
        assert sum(found[ending] >= 2 for ending in found) >= 2, (name, found)


@pytest.mark.slow
def test_thousands_more_and_bombs_end_well():
    numbers = range(FEW, 900)
    heavy = [(name, number) for name, one in TARGETS.items() for number in one.undamaged(heavy=True)]
    check_all_end_well([*heavy, *((name, number) for name in TARGETS for number in numbers)])


def test_the_same_number_is_the_same_input_in_every_process():
    def digests(hash_seed):
        code = (
            "import hashlib; from tests.fuzz.targets import TARGETS\n"
            "for name, target in TARGETS.items():\n"
            "    for number in (-1, 0, 7, 40):\n"
            "        print(name, number, hashlib.sha256(target.input(number)).hexdigest())"
        )
        env = {**environment(), "PYTHONHASHSEED": str(hash_seed)}
        return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, check=True).stdout

    here = "".join(
        f"{name} {number} {hashlib.sha256(target.input(number)).hexdigest()}\n"
        for name, target in TARGETS.items()
        for number in (-1, 0, 7, 40)
    )
    assert digests(1).decode() == here


@pytest.mark.slow
def test_every_wrong_ending_is_found_and_the_rest_goes_on():
    from tests.fuzz import broken_targets

    cases = [(name, number) for name in broken_targets.TARGETS for number in (-1, 0, 1)]
    results = run_cases(cases, WORKERS, seconds=10.0, registry="tests.fuzz.broken_targets")
    failures = {(result.target, result.number): result.failure for result in results}
    assert failures.keys() == set(cases)
    told = {
        "abort": "the process ended with SIGABRT",
        "end": "the process ended with status 3",
        "hang": "no end within 10 s",
        "swell": "MiB, more than",
        "raise": "RecursionError: too deep",
        "print": "a library prints nothing; found b'Canaryname",
        "two_lines": "a message is one printable line",
        "name": "a message quotes no header",
        "nothing": "a message names a rule",
    }
    for name in broken_targets.TARGETS:
        damaged = [number for number in (0, 1) if broken_targets.TARGETS[name].input(number) != b"whole"]
        assert damaged
        for number in (-1, 0, 1):
            assert (told.get(name, "") if number in damaged else "") in failures[name, number]
            assert bool(failures[name, number]) == (number in damaged and name in told)
