"""Commands disturbed at random: killed, without space or permission, given a changed bit; each must end all the same.

    python -m tools.faults --cases=20 --results=build/faults.jsonl           20 of every command and fault
    python -m tools.faults --command=convert --fault="full disk" --seed=7    one case again, with what it says

A case disturbs the real command and then runs it again to its end: the result must be that of an undisturbed run, with
nothing temporary left, and a disturbed run says at most one line. Cases that stand in --results are not run again; the
table counts them all. Ends with status 1 if a case failed.
"""

import argparse
import dataclasses
import json
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Sequence

from tqdm import tqdm

from data_prep.command import DISCLAIMER
from tools.fault_cases import FAULTS, Case, applies, can_mount, run_case
from tools.fault_commands import COMMANDS, World

__all__ = ["main", "table"]


def main() -> None:
    """Runs cases and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    again = "again and again for several; all by default"
    parser.add_argument("--command", action="append", choices=list(COMMANDS), help=again)
    parser.add_argument("--fault", action="append", choices=list(FAULTS), help=again)
    parser.add_argument("--cases", type=int, default=5, help="of each command and fault")
    parser.add_argument("--seed", type=int, help="this case alone")
    parser.add_argument("--results", type=pathlib.Path, help="file that keeps the cases, one a line")
    options = parser.parse_args()
    numbers = range(options.cases) if options.seed is None else [options.seed]
    # By number first: a run cut off has seen every command and fault.
    cases = [
        (command, fault, number)
        for number in numbers
        for command in options.command or COMMANDS
        for fault in options.fault or FAULTS
        if applies(fault, command)
    ]
    done = read_results(options.results)
    there = {(case.command, case.fault, case.number) for case in done}
    cases = [case for case in cases if case not in there]
    if not can_mount():
        print("no right to mount a small disk: a limit on the size of a file (ulimit -f) stands for the full disk")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="faults-"))
    world = World(folder)
    with tqdm(cases, unit="case", smoothing=0.05) as progress:
        for index, (command, fault, number) in enumerate(progress):
            case = run_case(world, command, fault, number, folder / f"case-{index}")
            done.append(case)
            if options.results:
                options.results.parent.mkdir(parents=True, exist_ok=True)
                with options.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(dataclasses.asdict(case)) + "\n")
            if case.failure:
                progress.write(
                    f'FAILED python -m tools.faults --command={command} --fault="{fault}" --seed={number}\n'
                    f"{case.failure}\n{case.told}"
                )
            elif options.seed is not None:
                progress.write(f"{command}, {fault}, {number}: {case.told}")
    if not any(folder.glob("case-*")):  # failed ones
        shutil.rmtree(folder)
    print(table(done), DISCLAIMER, sep="\n")
    sys.exit(1 if any(case.failure for case in done) else 0)


def read_results(path: pathlib.Path | None) -> list[Case]:
    """Returns the cases that a file holds; none where there is no file."""
    if path is None or not path.exists():
        return []
    return [Case(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def table(cases: Sequence[Case]) -> str:
    """Returns the cases in markdown, one line a command and fault."""
    lines = [
        "| command | fault | cases | disturbed | ended equal | of these after one clear line | failures |",
        "|---|---|" + "---:|" * 5,
    ]
    together = [
        (command, fault, [case for case in cases if (case.command, case.fault) == (command, fault)])
        for command in COMMANDS
        for fault in FAULTS
    ]
    for command, fault, part in [*together, ("together", "", list(cases))]:
        if part:
            failed = sum(bool(case.failure) for case in part)
            one_line = sum(case.in_one_line for case in part)
            numbers = len(part), sum(case.times for case in part), len(part) - failed, one_line, failed
            lines.append(f"| {command} | {fault} | {' | '.join(map(str, numbers))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
