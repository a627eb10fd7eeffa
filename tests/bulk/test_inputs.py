import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calcseg_tf.bulk.inputs import find_inputs, result_names
from data_prep.errors import InputError
from tests.fakes.dicom import write_dicom
from tests.fakes.folder import fake_pixels, write_png

BLACK = np.zeros((3, 3), np.uint16)


def found(source, out, **options):
    """The images of a run: name -> place of the result below the output folder."""
    inputs = find_inputs(str(source), out, **options)
    return {job.name: job.result.relative_to(out).as_posix() for job in inputs.jobs}


@pytest.fixture
def archive(tmp_path):
    root = tmp_path / "archive"
    write_dicom(root / "b.dcm", fake_pixels(0))
    write_dicom(root / "IM0001", fake_pixels(1))  # told by its prefix
    write_png(root / "a.PNG", BLACK)
    write_png(root / ".hidden.png", BLACK)
    write_png(root / "case1" / "b.png", BLACK)
    write_png(root / "case2" / "b.png", BLACK)
    write_png(root / ".hidden" / "c.png", BLACK)
    (root / "notes.txt").write_text("no image")
    (root / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (root / "empty").write_bytes(b"")
    return root


def test_a_folder_gives_its_dicom_and_png_files_by_name(archive, tmp_path):
    assert found(archive, tmp_path) == {"IM0001": "IM0001", "a.PNG": "a", "b.dcm": "b"}


def test_a_nested_archive_keeps_its_folders(archive, tmp_path):
    expected = {"IM0001": "IM0001", "a.PNG": "a", "b.dcm": "b", "case1/b.png": "case1/b", "case2/b.png": "case2/b"}
    assert found(archive, tmp_path, recursive=True) == expected


def test_a_file_is_taken_whatever_its_name_says(archive, tmp_path):
    assert found(archive / "notes.txt", tmp_path) == {"notes.txt": "notes"}
    assert find_inputs(str(archive / "b.dcm"), tmp_path).one


def test_only_what_is_clearly_no_image_is_passed_over_in_silence(archive, tmp_path):
    for name in ("scan.TIF", "scan2.tif", "packed.dcm.gz", "table.csv"):
        (archive / name).write_bytes(b"x")
    assert find_inputs(str(archive), tmp_path).passed_over == (("", 1), (".gz", 1), (".tif", 2))


def test_results_are_no_images(archive, tmp_path):
    for folder in (archive / "predictions" / "a", archive / "case1" / "deeper"):
        write_png(folder / "probability.png", BLACK)
        write_png(folder / "overlay.png", BLACK)
        (folder / "statistics.json").touch()
    write_png(archive / "case2" / "probability.png", BLACK)  # without statistics: an image like any other
    names = found(archive, archive / "predictions", recursive=True)
    assert set(names) == {"IM0001", "a.PNG", "b.dcm", "case1/b.png", "case2/b.png", "case2/probability.png"}


def test_names_that_are_no_text_are_told(archive, tmp_path):
    os.rename(os.fsencode(archive / "a.PNG"), os.fsencode(archive) + b"/caf\xe9.png")
    os.rename(os.fsencode(archive / "case1"), os.fsencode(archive) + b"/case\n1")
    inputs = find_inputs(str(archive), tmp_path)
    assert inputs.unnamed == ("caf\\xe9.png", "case\\n1")
    assert "must be text" in inputs.unnamed_reason


@pytest.mark.parametrize(
    ("names", "results"),
    [
        (["a.dcm", "b.dcm"], ["a", "b"]),
        (["a.dcm", "a.png"], ["a.dcm", "a.png"]),  # of one stem
        (["a.dcm", "a.png", "a.dcm.png"], ["a.dcm", "a.png", "a.dcm.png"]),  # and a third of theirs
        (["1/a.dcm", "2/a.dcm"], ["1/a", "2/a"]),
        (["1.dcm", "1/a.dcm"], ["1.dcm", "1/a"]),  # a result within a result would go with it
        (["1.dcm", "1/a/b.dcm"], ["1.dcm", "1/a/b"]),
        (["1.2.840.1", "1.2.840.2.dcm"], ["1.2.840.1", "1.2.840.2"]),  # a UID has no suffix
        (["predictions.csv.dcm"], ["predictions.csv.dcm"]),  # the index
    ],
)
def test_results_are_named_by_the_stem_unless_that_is_taken(names, results):
    assert result_names(names) == results


@given(st.sets(st.lists(st.sampled_from(["a", "b", "a.dcm", "a.png", "a.dcm.png"]), min_size=1, max_size=3).map(tuple)))
def test_no_result_is_another_or_lies_in_another(places):
    files = [place for place in places if not any(other[: len(place)] == place and other != place for other in places)]
    results = result_names(["/".join(place) for place in files])
    assert len(set(results)) == len(files)
    assert not [(one, other) for one in results for other in results if other.startswith(f"{one}/")]


def test_a_list_names_files_relative_to_itself(archive, tmp_path):
    (archive / "list.txt").write_text("case1/b.png\r\n\n./a.PNG\ncase1/../a.PNG\nmissing.dcm\n", encoding="utf-8")
    names = found(f"@{archive / 'list.txt'}", tmp_path)
    assert names == {"a.PNG": "a", "case1/b.png": "case1/b", "missing.dcm": "missing"}


def test_a_list_of_files_elsewhere_keeps_their_whole_path(archive, tmp_path):
    (tmp_path / "lists").mkdir()
    lines = [archive / "b.dcm", "x.png"]
    (tmp_path / "lists" / "list.txt").write_text("\n".join(map(str, lines)), encoding="utf-8")
    names = found(f"@{tmp_path / 'lists' / 'list.txt'}", tmp_path)
    whole = str(tmp_path).strip("/")
    assert list(names.values()) == [f"{whole}/archive/b", f"{whole}/lists/x"]


def test_nothing_to_predict_is_said(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "folder.txt").write_text(".")
    (tmp_path / "latin.txt").write_bytes(b"\xe9.dcm")
    for source, words in (
        (tmp_path / "nowhere", "found nothing"),
        (tmp_path, r"must hold a DICOM or PNG file; found 3 .txt \(.*--recursive"),
        (f"@{tmp_path / 'nowhere'}", "cannot be read"),
        (f"@{tmp_path / 'notes.txt'}", "one path a line; found none"),
        (f"@{tmp_path / 'latin.txt'}", "UTF-8"),
        (f"@{tmp_path / 'folder.txt'}", "names files; found a folder"),
    ):
        with pytest.raises(InputError, match=words):
            find_inputs(str(source), tmp_path / "out")
