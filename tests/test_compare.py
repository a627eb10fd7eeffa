import json

import numpy as np
import pytest

from calcseg_tf.bulk.local_model import LocalModel
from calcseg_tf.clinical.alignment import Motion
from calcseg_tf.comparing import CompareConfig, compare
from data_prep.command import DISCLAIMER
from data_prep.dicom.header import ReadOptions
from data_prep.errors import InputError
from tests.fakes.commands import assert_one_line_error, run_modules
from tests.fakes.dicom import write_dicom
from tests.fakes.folder import write_png
from tests.leaks import find_leaks, leaks_in
from tests.test_commands import write_model

_SPOTS = ((10, 10), (12, 60), (30, 25), (45, 70), (70, 15), (80, 50), (55, 40))
_HEADER = {
    "PixelSpacing": [0.1, 0.1],
    "ImageLaterality": "L",
    "ViewPosition": "CC",
    "PatientName": "<script>alert(1)</script>^Erika",
    "patient_id": "patient-4711",
    "StudyDescription": "<script>alert(1)</script>",
}
_SECRETS = ("patient-4711", "alert(1)", "Erika", "20170314", "20180326")


def _pixels(shift=0, full_scale=4095):
    pixels = np.full((110, 110), full_scale // 5, np.uint16)
    for row, column in _SPOTS:
        pixels[row + shift : row + shift + 3, column + shift : column + shift + 3] = full_scale
    return pixels


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exams")
    headers = {
        "prior": {**_HEADER, "AcquisitionDate": "20170314"},
        "current": {**_HEADER, "AcquisitionDate": "20180326"},
        "right": {**_HEADER, "ImageLaterality": "R"},
        "mlo": {**_HEADER, "ViewPosition": "MLO"},
        "spaceless": {**_HEADER, "PixelSpacing": None},
        "other": {**_HEADER, "patient_id": "patient-4712"},
    }
    headers["spaceless"].pop("PixelSpacing")
    for name, header in headers.items():
        write_dicom(folder / f"{name}.dcm", _pixels(0 if name == "prior" else 7), **header)
    for number in (0, 1):
        write_png(folder / f"{number}.png", _pixels(7 * number, 65535))
    write_model(folder / "model")
    return folder


@pytest.fixture(scope="module")
def told(files, tmp_path_factory):
    """The command run as a user would: where it was fit, and where it was refused."""
    out = tmp_path_factory.mktemp("compared")
    calls = {"whole": ("prior.dcm", "current.dcm"), "swapped": ("current.dcm", "prior.dcm")}
    arguments = [
        [f"--prior={files / prior}", f"--current={files / current}", "--prior_roi=0,0 100,100",
         "--current_roi=0,0 109,0 109,109 0,109", f"--model_dir={files / 'model'}", f"--output_dir={out / name}"]
        for name, (prior, current) in calls.items()
    ]  # fmt: skip
    return out, dict(zip(calls, run_modules("calcseg_tf.compare", arguments), strict=True))


def _compare(files, out, prior, current, **options):
    """The same in this process; returns comparison.json and what was said."""
    given = {"prior_roi": "0,0 100,100", "current_roi": "0,0 109,109", "anyway": False, "motion": Motion.SIMILARITY}
    said: list[str] = []
    config = CompareConfig(
        prior=files / prior,
        current=files / current,
        model=LocalModel(files / "model"),
        output_dir=out,
        read_options=ReadOptions(),
        **{**given, **options},
    )
    compare(config, said.append)
    return json.loads((out / "comparison.json").read_text()), said


def test_two_exams_are_compared(told):
    out, ended = told
    assert ended["whole"].returncode == 0, ended["whole"].stderr
    assert {path.name for path in (out / "whole").iterdir()} == {
        "comparison.html", "comparison.json", "comparison.csv", "comparison.png"
    }  # fmt: skip
    content = json.loads((out / "whole" / "comparison.json").read_text())
    assert content["table"]["count"] == {"prior": 7, "current": 7, "difference": 0}
    assert content["counts"] == {"persisted": 7, "grown": 0, "new": 0, "vanished": 0, "uncovered": 0}
    assert content["alignment"]["offset"] == pytest.approx([0.7, 0.7], abs=1e-6)
    assert content["alignment"]["unit"] == "mm"
    assert (content["compared_anyway"], content["notes"], content["undefined"]) == ([], [], {})
    said = ended["whole"].stdout
    assert DISCLAIMER in said
    assert "calcifications            7        7          +0" in said
    assert "7 persisted, 0 grown, 0 new, 0 vanished, 0 uncovered" in said


def test_swapped_exams_end_the_command_in_one_line_and_leave_nothing(told):
    out, ended = told
    assert_one_line_error(ended["swapped"], "was made after the current one", "--compare_anyway")
    assert not (out / "swapped").exists()


def test_what_names_a_patient_or_a_day_stays_in_the_input(told):
    out, ended = told
    assert find_leaks([out], _SECRETS) == []
    for each in ended.values():
        assert leaks_in((each.stdout + each.stderr).encode(), _SECRETS) == []


@pytest.mark.parametrize(
    ("current", "options", "reason"),
    [
        ("right.dcm", {}, "the laterality differs: prior L, current R"),
        ("mlo.dcm", {}, "the view differs: prior CC, current MLO"),
        ("other.dcm", {}, "the patients differ"),
        ("spaceless.dcm", {}, "the pixel spacing of the current exam is unknown, that of the other is not"),
        ("prior.dcm", {}, "both exams are the same file"),
        ("current.dcm", {"current_roi": "200,200 300,300"}, "--current_roi: a region must overlap its image of 110"),
        ("current.dcm", {"prior_roi": "5,5 5,5"}, "--prior_roi: a region to compare has more than one pixel"),
    ],
)
def test_what_cannot_be_compared_is_refused_and_leaves_nothing(files, tmp_path, current, options, reason):
    with pytest.raises(InputError) as error:
        _compare(files, tmp_path / "out", "prior.dcm", current, **options)
    assert reason in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_what_was_compared_anyway_is_told(files, tmp_path):
    content, said = _compare(files, tmp_path / "out", "current.dcm", "prior.dcm", anyway=True)
    assert content["compared_anyway"] == ["the prior exam was made after the current one: are they swapped?"]
    assert content["counts"]["persisted"] == 7
    assert any("compared although the prior exam was made after" in line for line in said)


def test_images_without_spacing_are_compared_in_pixels_and_say_so(files, tmp_path):
    content, _ = _compare(files, tmp_path / "out", "0.png", "1.png", motion=Motion.RIGID)
    assert (content["alignment"]["unit"], content["alignment"]["motion"]) == ("px", "rigid")
    assert content["alignment"]["offset"] == pytest.approx([7, 7], abs=1e-6)
    assert any("compared in pixels" in note for note in content["notes"])
    assert "laterality not told by both exams: not checked" in content["notes"]


def test_an_empty_region_has_a_table_and_no_alignment(files, tmp_path):
    content, said = _compare(files, tmp_path / "out", "prior.dcm", "current.dcm", prior_roi="100,100 109,109")
    assert content["table"]["count"] == {"prior": 0, "current": 7, "difference": 7}
    assert content["alignment"] is None
    assert "Not aligned: alignment needs 4 calcifications in either exam; found 0 in one of them." in said
