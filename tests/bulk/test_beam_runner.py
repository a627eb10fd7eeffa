import importlib.util

import numpy as np
import pytest

from calcseg_tf.bulk import BulkConfig, predict_bulk
from calcseg_tf.bulk.beam_runner import InBeam
from data_prep.errors import InputError, UnfinishedError
from tests.bulk.brightness import BLACK_HOLE, Brightness, BrightnessModel, in_threads
from tests.bulk.test_running import contents, rows
from tests.fakes.commands import ROOT, assert_one_line_error, run_module
from tests.fakes.folder import write_png

needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None, reason="Apache Beam is not installed (requirements-beam.txt)"
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("archive")
    for name, height in (("case0/a", 24), ("case1/a", 24), ("hole", BLACK_HOLE)):
        pixels = np.random.default_rng(len(name)).integers(0, 65536, (height, 20), np.uint16)
        write_png(root / f"{name}.png", pixels)
    return root


def predict(archive, out, options=(), runner="DirectRunner"):
    in_beam = InBeam(BrightnessModel(out.parent), out, runner, options)
    return predict_bulk(BulkConfig(str(archive), out, recursive=True), in_beam, lambda _: None)


@needs_beam
@pytest.mark.parametrize(
    "options",
    [
        (),
        pytest.param(("--direct_num_workers=2", "--direct_running_mode=multi_processing"), marks=pytest.mark.slow),
    ],
)
def test_beam_gives_the_bytes_of_a_local_run(archive, tmp_path, options, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of the processes that Beam starts: the model by hand is in the tests
    predict_bulk(BulkConfig(str(archive), tmp_path / "local", recursive=True), in_threads(Brightness()), lambda _: None)
    (tmp_path / "beam" / ".outcomes-of-a-killed-run").mkdir(parents=True)
    report = predict(archive, tmp_path / "beam", options)
    assert contents(tmp_path / "beam") == contents(tmp_path / "local")
    assert [each.job.name for each in report.failures] == ["hole.png"]
    assert [row["status"] for row in rows(tmp_path / "beam")] == ["predicted", "predicted", "failed"]
    assert len((tmp_path / "loaded").read_text().split()) == (2 if options else 1)
    assert sorted(path.name for path in (tmp_path / "beam").iterdir()) == ["case0", "case1", "predictions.csv"]


@needs_beam
def test_a_failed_beam_run_is_told_in_one_line(archive, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("calcseg_tf.clinical.results.write_overlay", full)
        with pytest.raises(UnfinishedError, match=r"DirectRunner stopped \(.*No space left.*the same command goes on"):
            predict(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == {}


@needs_beam
def test_no_such_runner_is_one_line(archive, tmp_path):
    with pytest.raises(InputError, match="did you mean DirectRunner"):
        predict(archive, tmp_path / "out", runner="DirctRunner")


def test_options_of_beam_need_a_runner_of_beam(archive, tmp_path):
    (tmp_path / "model").mkdir()
    ended = run_module(
        "calcseg_tf.predict",
        model_dir=tmp_path / "model",
        input=archive,
        output_dir=tmp_path / "out",
        beam_options="-x",
    )
    assert_one_line_error(ended, "--beam_options: the local runner has no options")
    assert not (tmp_path / "out").exists()


@needs_beam
def test_workers_are_for_the_local_runner(archive, tmp_path):
    model = {"model_dir": tmp_path, "runner": "DirectRunner"}
    ended = run_module("calcseg_tf.predict", **model, input=archive, output_dir=tmp_path / "out", workers=2)
    assert_one_line_error(ended, "--workers: is for --runner=local")
