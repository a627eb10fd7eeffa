"""Damaged input by the ten thousand: every case must end in a record, a named rejection or one clear line.

    python -m tools.fuzz --cases=20000                all targets
    python -m tools.fuzz --target=dicom --seed=123    one case again, with what it says

The same number is the same input: from 0 on damaged ones, below 0 valid ones and those made by hand, bombs among them.
Ends with status 1 if a case fails.
"""

import argparse
import os
import pathlib
import sys
from collections.abc import Sequence

from tqdm import tqdm

from data_prep.command import DISCLAIMER
from tests.fuzz.oracle import Ending
from tests.fuzz.pool import MEMORY_LIMIT, MEMORY_LIMIT_PER_PIXEL, SECONDS, Result, run_cases
from tests.fuzz.targets import TARGETS

_SHOWN_FAILURES = 40


def main() -> None:
    """Runs cases and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--target", action="append", choices=sorted(TARGETS), help="again and again for several; all by default"
    )
    parser.add_argument("--cases", type=int, default=20_000, help="damaged inputs over all targets")
    parser.add_argument("--first", type=int, default=0, help="number of the first damaged input of each target")
    parser.add_argument("--seed", type=int, help="this case alone")
    parser.add_argument("--keep", type=pathlib.Path, help="with --seed: writes the input to this file")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    names: Sequence[str] = options.target or list(TARGETS)
    if options.seed is not None:
        cases = [(name, options.seed) for name in names]
        if options.keep:
            options.keep.write_bytes(TARGETS[names[0]].input(options.seed))
    else:
        damaged = range(options.first, options.first + -(-options.cases // len(names)))
        cases = [(name, number) for name in names for number in (*TARGETS[name].undamaged(heavy=True), *damaged)]
    print(
        f"{len(cases)} cases, {options.workers} processes; limits a case: {SECONDS:.0f} s, {MEMORY_LIMIT >> 20} MiB "
        f"and {MEMORY_LIMIT_PER_PIXEL} bytes a pixel that it claims",
        flush=True,
    )
    results, failures = [], 0
    with tqdm(total=len(cases), unit="case", smoothing=0.05) as progress:
        for result in run_cases(cases, min(options.workers, len(cases))):
            results.append(result)
            progress.update()
            if result.failure:
                failures += 1
                if failures <= _SHOWN_FAILURES:
                    progress.write(
                        f"FAILED python -m tools.fuzz --target={result.target} --seed={result.number}\n{result.failure}"
                    )
            elif options.seed is not None:
                progress.write(f"{result.target} {result.number}: one of the {result.ending}")
    print(table(results, names), DISCLAIMER, sep="\n")
    sys.exit(1 if failures else 0)


def table(results: Sequence[Result], names: Sequence[str]) -> str:
    """Returns the results in markdown, one line a target."""
    endings = [ending.value for ending in Ending]
    lines = [
        f"| target | cases | {' | '.join(endings)} | failures | slowest, s (case) | peak memory, MiB (case) |",
        "|---|" + "---:|" * (len(endings) + 4),
    ]
    for name in (*names, "together"):
        part = [result for result in results if name in (result.target, "together")]
        if not part or (name == "together" and len(names) == 1):
            continue
        slowest, largest = max(part, key=lambda result: result.seconds), max(part, key=lambda result: result.memory)
        counts = [sum(result.ending == ending for result in part) for ending in endings]
        failed = sum(bool(result.failure) for result in part)
        lines.append(
            f"| {name} | {len(part)} | {' | '.join(map(str, counts))} | {failed} | "
            f"{slowest.seconds:.1f} ({slowest.number}) | {largest.memory >> 20} ({largest.number}) |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
