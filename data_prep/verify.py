"""Reads every byte of a folder of records again and compares it with the manifest.

python -m data_prep.verify --records_dir=RECORDS
"""

from absl import flags

from data_prep import command

_RECORDS_DIR = flags.DEFINE_string("records_dir", None, "Folder that data_prep.convert wrote.", required=True)


def main() -> None:
    """Prints one line per problem, or one that all is well."""
    from tqdm import tqdm

    from data_prep.errors import InputError
    from data_prep.manifest import read_manifest
    from data_prep.remote import records_path
    from data_prep.report import verification_line
    from data_prep.verification import verify_records

    records_dir = records_path(_RECORDS_DIR.value)
    total = sum(read_manifest(records_dir, changed=True).images.values())
    print(f"Verifying {total} records in {records_dir}", flush=True)
    with tqdm(total=total, desc="verify", unit="mammogram") as progress:
        verification = verify_records(records_dir, lambda: progress.update(1))
    if verification.problems:
        print(*verification.problems, sep="\n", flush=True)
        raise InputError(f"{len(verification.problems)} problems found: convert the data again", records_dir)
    print(verification_line(verification))


if __name__ == "__main__":
    command.run(main)
