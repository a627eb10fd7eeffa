import csv
import os
import shutil
import signal
import threading
import time

import numpy as np
import pytest

from calcseg_tf.bulk import BulkConfig, predict_bulk
from calcseg_tf.prediction import Status
from calcseg_tf.termination import TerminatedError
from data_prep.dicom.header import ReadOptions
from data_prep.errors import InputError, UnfinishedError
from data_prep.only_run import only_run_in
from tests.bulk.brightness import BLACK_HOLE, Brightness, in_threads
from tests.fakes.dicom import write_dicom
from tests.fakes.folder import fake_pixels, write_png
from tests.fakes.timeless import timeless_bytes

RESULTS = ("case1/a", "case2/a", "z")


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    """An archive, and its results in `out`."""
    root = tmp_path_factory.mktemp("made") / "archive"
    pixels = np.full((20, 16), 400, np.uint16)
    pixels[4:6, 4:6] = pixels[12:15, 8] = 4095
    write_dicom(root / "case1" / "a.dcm", pixels, PixelSpacing=[0.05, 0.05])
    write_dicom(root / "case2" / "a.dcm", fake_pixels(2))
    write_png(root / "z.png", np.zeros((9, 8), np.uint16))
    (root / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"garbage")
    write_png(root / "eight_bits.png", np.zeros((9, 8), np.uint8))
    write_png(root / "hole.png", np.zeros((BLACK_HOLE, 8), np.uint16))
    predict(root, root.parent / "out")
    return root.parent


@pytest.fixture
def archive(made_once, tmp_path):
    """Three good images in three folders, and three bad ones."""
    return shutil.copytree(made_once / "archive", tmp_path / "archive")


@pytest.fixture
def predicted(made_once, tmp_path):
    """The results of the archive."""
    return shutil.copytree(made_once / "out", tmp_path / "out")


def predict(archive, out, model=None, runner=None, say=lambda _: None, **options):
    config = BulkConfig(str(archive), out, recursive=True, **options)
    return predict_bulk(config, runner or in_threads(model or Brightness()), say)


def contents(folder):
    """Every file below a folder but the index, whose seconds differ from run to run, as do moments of DICOM objects."""
    return {
        path.relative_to(folder).as_posix(): timeless_bytes(path)
        for path in folder.rglob("*")
        if path.is_file() and path.name != "predictions.csv"
    }


def rows(out):
    with (out / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_bad_file_stops_nothing_and_every_image_is_in_the_index(archive, tmp_path):
    report = predict(archive, tmp_path / "out")
    table = rows(tmp_path / "out")
    assert list(table[0])[-1] == "research_use_only_not_for_diagnosis"
    assert [(row["input"], row["result"], row["status"]) for row in table] == [
        ("broken.dcm", "", "failed"),
        ("case1/a.dcm", "case1/a", "predicted"),
        ("case2/a.dcm", "case2/a", "predicted"),
        ("eight_bits.png", "", "failed"),
        ("hole.png", "", "failed"),
        ("z.png", "z", "predicted"),
    ]
    assert (table[1]["count"], table[1]["megapixels"], table[1]["reason"]) == ("2", "0.000", "")
    assert float(table[1]["seconds"]) > 0
    assert "must have 16 bits" in table[3]["reason"]
    # The text of an unexpected error stays out: it may hold what a header held.
    assert table[4]["reason"].startswith("unexpected KeyError (brightness.py, line ")
    assert [outcome.job.name for outcome in report.failures] == ["broken.dcm", "eight_bits.png", "hole.png"]
    said = []
    with pytest.raises(InputError, match="3 of 6 images gave no result"):
        report.tell(said.append)
    assert said[0].startswith(f"no result: {archive / 'broken.dcm'}: ")
    assert len(said) == 4


def test_names_that_are_formulas_markup_or_commands_stay_names(tmp_path):
    names = ["=cmd|' calc'!A0", "-rf", "<script>alert(1)<", 'a,"b";c', "$(reboot) `x`", "Äø ", "x" * 200]
    for name in names:
        write_png(tmp_path / "in" / f"{name}.png", np.zeros((9, 8), np.uint16))
    predict(tmp_path / "in", tmp_path / "out")
    told = rows(tmp_path / "out")
    assert [row["status"] for row in told] == ["predicted"] * len(names)
    shown = {name: f"'{name}" if name[0] in "=-" else name for name in names}
    assert {row["input"] for row in told} == {f"{shown[name]}.png" for name in names}
    assert {row["result"] for row in told} == set(shown.values())
    assert {path.name for path in (tmp_path / "out").iterdir()} >= set(names)
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}
    for name in names:
        assert "<script>alert" not in (tmp_path / "out" / name / "report.html").read_text(encoding="utf-8")


def test_a_second_run_predicts_nothing_and_changes_nothing(archive, predicted, tmp_path):
    before, again, said = contents(predicted), Brightness(), []
    report = predict(archive, tmp_path / "out", again, say=said.append)
    assert again.calls == 1  # the image that failed
    assert contents(tmp_path / "out") == before
    assert "3 of 6 images have their result already" in said
    assert [outcome.status for outcome in report.outcomes if outcome not in report.failures] == [Status.KEPT] * 3
    kept = rows(tmp_path / "out")[1]
    assert (kept["status"], kept["count"], kept["seconds"]) == ("kept", "2", "")


def test_what_is_to_be_known_of_an_image_is_kept_with_its_result(tmp_path):
    write_dicom(tmp_path / "in" / "a.dcm", fake_pixels(0), LossyImageCompression="01")
    first, again = (predict(tmp_path / "in", tmp_path / "out") for _ in range(2))
    assert "lossy compression (0028,2110)" in first.outcomes[0].notes
    assert (again.outcomes[0].status, again.outcomes[0].notes) == (Status.KEPT, first.outcomes[0].notes)
    assert "lossy compression" in rows(tmp_path / "out")[0]["notes"]


@pytest.mark.parametrize("damage", ["absent", "no file", "cut", "no statistics", "garbage"])
def test_a_result_that_is_not_whole_is_made_again(archive, predicted, tmp_path, damage):
    before = contents(predicted)
    result = tmp_path / "out" / "case1" / "a"
    if damage in ("absent", "no statistics"):
        (result / "statistics.json").unlink()
    if damage == "absent":
        for path in result.iterdir():
            path.unlink()
    elif damage == "no statistics":
        for path in result.iterdir():
            path.unlink()
        (result / "statistics.json").write_text('{"files": {}}')
    elif damage == "no file":
        (result / "overlay.png").unlink()
    elif damage == "cut":
        (result / "probability.png").write_bytes(b"")
    else:
        (result / "statistics.json").write_text("[[")
    again = Brightness()
    predict(archive, tmp_path / "out", again)
    assert again.calls == 2
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"runner": {"threshold": 0.25}}, "threshold was 0.5, now 0.25"),
        ({"runner": {"version": 2}}, "model.version was null, now 2"),
        ({"read_options": ReadOptions(voi_lut=True)}, "voi_lut was false, now true"),
        ({"file": 1}, "it was made from another file"),
    ],
)
def test_a_result_made_otherwise_is_refused_or_replaced_if_asked_to(archive, predicted, change, told):
    before, options, model = contents(predicted), {}, Brightness()
    if "file" in change:
        write_dicom(archive / "case1" / "a.dcm", fake_pixels(9))
    if "read_options" in change:
        options["read_options"] = change["read_options"]
    with pytest.raises(InputError, match=f"case1/a.dcm: {told}.*--overwrite"):
        predict(archive, predicted, runner=in_threads(model, **change.get("runner", {})), **options)
    assert model.calls == 0
    assert contents(predicted) == before
    assert (predicted / "predictions.csv").exists()
    predict(archive, predicted, runner=in_threads(model, **change.get("runner", {})), overwrite=True, **options)
    assert model.calls == (2 if "file" in change else 4)
    after = contents(predicted)
    assert after.keys() == before.keys()
    changed = {name for name in after if name.endswith("statistics.json") and after[name] != before[name]}
    assert changed == {f"{name}/statistics.json" for name in (["case1/a"] if "file" in change else RESULTS)}


def test_results_of_an_earlier_version_count_as_made_otherwise(archive, predicted, tmp_path):
    path = tmp_path / "out" / "z" / "statistics.json"
    path.write_text('{"count": 0, "threshold": 0.5}')
    with pytest.raises(InputError, match=r"holds results of another run, 1 \(z.png: model was null"):
        predict(archive, tmp_path / "out")


def test_a_single_image_leaves_the_index_of_a_folder_alone(archive, predicted):
    before = rows(predicted)
    report = predict(archive / "z.png", predicted)
    assert [outcome.status for outcome in report.outcomes] == [Status.KEPT]
    assert rows(predicted) == before


def test_a_folder_that_is_no_result_is_not_deleted(archive, tmp_path):
    (tmp_path / "out" / "z").mkdir(parents=True)
    (tmp_path / "out" / "z" / "thesis.txt").write_text("years of work")
    model = Brightness()
    report = predict(archive, tmp_path / "out", model)
    assert "only an older result is replaced" in {each.job.name: each.reason for each in report.failures}["z.png"]
    assert model.calls == 3  # not for this one
    assert (tmp_path / "out" / "z" / "thesis.txt").exists()


def test_a_second_run_into_the_folder_is_refused(archive, tmp_path):
    with (
        only_run_in(tmp_path / "out", ""),
        pytest.raises(InputError, match="another run is predicting into this --output_dir"),
    ):
        predict(archive, tmp_path / "out")


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_predicted(archive, tmp_path):
    (tmp_path / "file").touch()
    model = Brightness()
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper", tmp_path / "nowhere" / ("x" * 300)):
        with pytest.raises(InputError, match="--output_dir must be a folder that can be written"):
            predict(archive, folder, model)
    assert model.calls == 0


def test_a_full_disk_ends_the_run_with_a_way_on_and_leaves_whole_results(archive, made_once, tmp_path, monkeypatch):
    def full(path, *_):
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("calcseg_tf.clinical.results.write_overlay", full)
        with pytest.raises(UnfinishedError, match=r"out: No space left on device\. .*same command goes on"):
            predict(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == {}
    predict(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(made_once / "out")


def test_an_error_of_one_place_costs_its_image_alone(archive, tmp_path):
    write_png(archive / f"{'n' * 240}.png", np.zeros((9, 8), np.uint16))
    report = predict(archive, tmp_path / "out")
    assert "File name too long" in {each.job.name[:1]: each.reason for each in report.failures}["n"]
    assert len(report.failures) == 4


@pytest.fixture
def heeded_interrupt():
    """SIGINT as a terminal's processes take it; a job in a shell's background inherits that it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, TerminatedError), (signal.SIGINT, UnfinishedError)])
def test_a_signal_ends_a_run_while_the_model_is_waited_for(archive, tmp_path, number, error, heeded_interrupt):
    release, model, waited = threading.Event(), Brightness(), []
    quick = model.probability

    def slow(intensity, progress):
        if len(intensity) == 9:
            threading.Timer(0.2, os.kill, (os.getpid(), number)).start()
            waited.append(release.wait(20))
        return quick(intensity, progress)

    model.probability = slow
    with pytest.raises(error, match=r"2 of 6 images have their result: the same command goes on"):
        predict(archive, tmp_path / "out", runner=in_threads(model, in_flight=1))
    assert waited == []  # it ended while the model was at work
    release.set()
    time.sleep(0.3)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"case1", "case2"}


def test_what_a_killed_run_left_is_swept(archive, tmp_path):
    for left in ("case1/.a.0123456789ab.partial", ".z.0123456789ab.partial.old"):
        (tmp_path / "out" / left).mkdir(parents=True)
    (tmp_path / "out" / ".z.0123456789ab.partial.old" / "whole").touch()
    (tmp_path / "out" / ".predictions.csv.0123456789abcdef.partial").touch()
    predict(archive, tmp_path / "out")
    assert not list((tmp_path / "out").rglob(".*"))
    assert (tmp_path / "out" / "z" / "whole").exists()  # killed between its two renames


def test_as_many_images_are_in_flight_as_asked_for(archive, tmp_path):
    model, everyone = Brightness(), threading.Barrier(3, timeout=20)
    quick = model.probability

    def together(intensity, progress):
        if len(intensity) != BLACK_HOLE:
            everyone.wait()
        return quick(intensity, progress)

    model.probability = together
    report = predict(archive, tmp_path / "out", runner=in_threads(model, in_flight=4))
    assert len(report.failures) == 3


def test_each_image_is_told_where_they_are_few_or_it_is_asked_for(archive, tmp_path, monkeypatch):
    said = []
    predict(archive, tmp_path / "out", say=said.append)
    assert [line for line in said if line.startswith("case1/a.dcm: 2 calcifications in 0.0 megapixels, ")]
    monkeypatch.setattr("calcseg_tf.bulk.running._FEW", 5)
    for verbose in (False, True):
        said.clear()
        predict(archive, tmp_path / f"{verbose}", say=said.append, verbose=verbose)
        assert len(said) == 2 + 3 * verbose
