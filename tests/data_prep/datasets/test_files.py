import os
import shutil

import pytest

from data_prep.conversion.pipeline import ConvertConfig, make_plan, write_plan
from data_prep.datasets import Folder
from data_prep.datasets.files import reject_names, walk_files
from data_prep.errors import InputError
from data_prep.mammogram import is_dicom, read_mammogram
from data_prep.manifest import read_manifest
from data_prep.verification import verify_records
from tests.fakes.commands import assert_one_line_error, run_module
from tests.fakes.folder import write_folder

RULE = "the name of a file or folder must be text in UTF-8 without control characters: rename it"
ODD = {  # name in bytes -> how it is told
    b"M\xfcller": "M\\xfcller",
    b"two\nlines": "two\\nlines",
    b"\x1b[31mred": "\\x1b[31mred",
    "a\u2028b".encode(): "a\\u2028b",
    b"\xff\xfe": "\\xff\\xfe",
}


def add(root, name):
    for suffix in (b".dcm", b".png"):
        shutil.copy(root / "case0" / f"view0{suffix.decode()}", os.fsencode(root) + b"/" + name + suffix)


def test_names_that_are_no_text_are_told_with_escapes_and_passed_over(tmp_path):
    root = write_folder(tmp_path / "in")
    whole = list(walk_files(root))
    for name in ODD:
        add(root, name)
    folder = root / os.fsdecode(b"old\xe4")
    shutil.copytree(root / "case0", folder)
    assert list(walk_files(root)) == whole
    expected = [f"{told}{suffix}" for told in ODD.values() for suffix in (".dcm", ".png")]
    assert sorted(bad.file for bad in reject_names(root)) == sorted([*expected, "old\\xe4"])
    assert {bad.reason for bad in reject_names(root)} == {RULE}


@pytest.mark.parametrize("name", ["M\u00fcller", "\u5c71", "a\u00a0b", "\u202fPM", "a b", "$(x)", "'\"", "\u200b"])
def test_every_other_name_is_text(tmp_path, name):
    root = write_folder(tmp_path / "in")
    add(root, name.encode())
    assert root / f"{name}.dcm" in walk_files(root)
    assert reject_names(root) == ()


@pytest.mark.parametrize("public_ids", [False, True])
def test_names_that_are_no_text_are_rejected_and_the_rest_is_converted(tmp_path, public_ids):
    root = write_folder(tmp_path / "in")
    add(root, b"M\xfcller")
    write_plan(make_plan(ConvertConfig(Folder(), root, tmp_path / "out", public_ids=public_ids)))
    manifest = read_manifest(tmp_path / "out")
    assert [bad.reason for bad in manifest.rejected] == [RULE, RULE]
    assert [bad.file for bad in manifest.rejected] == ["M\\xfcller.dcm", "M\\xfcller.png"] or not public_ids
    assert sum(manifest.images.values()) == 8
    assert verify_records(tmp_path / "out").problems == ()


def test_a_path_of_two_lines_makes_an_error_of_one(tmp_path):
    ended = run_module("data_prep.convert", data_dir=tmp_path / "two\nlines", output_dir=tmp_path / "out")
    assert_one_line_error(ended, "two\\nlines: no such folder")


def test_pipes_and_devices_are_passed_over(tmp_path):
    root = write_folder(tmp_path / "in")
    whole = list(walk_files(root))
    os.mkfifo(root / "pipe")
    os.mkfifo(root / "pipe.dcm")
    (root / "zeros.png").symlink_to("/dev/zero")
    assert list(walk_files(root)) == whole
    for name in ("pipe", "pipe.dcm", "zeros.png"):
        assert not is_dicom(root / name) or name.endswith(".dcm")
        with pytest.raises(InputError, match="a mammogram is a file; found a folder, a pipe or a device"):
            read_mammogram(root / name)
