import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from calcseg_tf.inference.predictor import Predictor
from calcseg_tf.model_directory import ModelInfo, save_weights, write_info
from calcseg_tf.models import build_network, model_config
from data_prep.command import DISCLAIMER
from tests.fakes.commands import assert_one_line_error, run_modules
from tests.fakes.dicom import write_dicom
from tests.fakes.folder import fake_pixels, write_png
from tests.fakes.records import fake_record, write_fake_records
from tests.fakes.torch_file import write_zip
from tests.test_importing import tiny_state

pytestmark = pytest.mark.slow  # each is a process or two; the README's commands are tested apart

OPTIONS = {"widths": (4,), "kernel_sizes": (3, 5), "head_kernel_size": 3}


def write_model(model_dir):
    """A model whose probability is that of a pixel's own brightness: from 0.5 on it is a calcification."""
    network = build_network(model_config("fcn", **OPTIONS))
    for variable in network.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    middle = np.zeros((3, 3, 1, 2), np.float32)
    middle[1, 1] = 1
    network.get_layer("block1_conv").kernels[0].assign(middle)
    network.get_layer("block1_bn").set_weights([np.ones(4), np.zeros(4), np.zeros(4), np.ones(4)])
    head = np.zeros((3, 3, 4, 1), np.float32)
    head[1, 1, 0] = 12
    network.get_layer("logit").set_weights([head, np.full(1, -6.0)])
    write_info(model_dir, ModelInfo(model_config("fcn", **OPTIONS), None, {"data_set": "by hand"}))
    save_weights(model_dir, network)
    return model_dir


def bright_spots(height=60, width=50, full_scale=4095):
    pixels = np.full((height, width), full_scale // 5, np.uint16)
    for row in (10, 20, 30, 40):
        pixels[row : row + 2, 20:22] = full_scale
    return pixels


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_dicom(folder / "one.dcm", bright_spots(), PixelSpacing=[0.05, 0.05])
    write_png(folder / "two.png", bright_spots(40, 33, 65535))
    write_png(folder / "eight_bits.png", np.zeros((9, 9), np.uint8))
    (folder / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"garbage")
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def predicted(model_dir, inputs, tmp_path_factory):
    """The command run five ways; results by name."""
    out = tmp_path_factory.mktemp("predicted")
    calls = {
        "folder": [f"--input={inputs}", "--workers=1"],
        "single": [f"--input={inputs / 'one.dcm'}", "--threshold=0.25"],
        "broken": [f"--input={inputs / 'broken.dcm'}"],
        "nowhere": [f"--input={inputs / 'nowhere.dcm'}"],
        "threshold": [f"--input={inputs}", "--threshold=1.5"],
    }
    arguments = [[*call, f"--model_dir={model_dir}", f"--output_dir={out / name}"] for name, call in calls.items()]
    ended = run_modules("calcseg_tf.predict", arguments)
    return out, dict(zip(calls, ended, strict=True))


def test_a_bad_file_stops_no_other_and_is_named(predicted, inputs):
    out, ended = predicted
    assert_one_line_error(ended["folder"], "2 of 4 images gave no result")
    said = ended["folder"].stdout
    assert f"no result: {inputs / 'broken.dcm'}: " in said
    assert f"no result: {inputs / 'eight_bits.png'}: a mammogram as PNG must have 16 bits" in said
    assert DISCLAIMER in said
    assert sorted(path.name for path in (out / "folder").iterdir()) == ["one", "predictions.csv", "two"]


def test_a_prediction_is_what_the_design_promises(predicted, model_dir):
    out, _ = predicted
    for stem, size, spacing in (("one", (60, 50), [0.05, 0.05]), ("two", (40, 33), None)):
        folder = out / "folder" / stem
        assert {"probability.png", "overlay.png", "calcifications.csv", "statistics.json"} <= {
            path.name for path in folder.iterdir()
        }
        codes = np.asarray(Image.open(folder / "probability.png"))
        assert (codes.shape, codes.dtype) == (size, np.uint16)
        statistics = json.loads((folder / "statistics.json").read_text())
        count = 4 if stem == "one" else 3
        with (folder / "calcifications.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert (statistics["count"], len(rows)) == (count, count)
        assert {row["area_px"] for row in rows} == {"4"}
        assert statistics["pixel_spacing_mm"] == spacing
        assert (statistics["threshold"], statistics["disclaimer"]) == (0.5, DISCLAIMER)
        assert statistics["model"]["training_data"] == {"data_set": "by hand"}
        if spacing:
            assert statistics["mean_area_mm2"] == pytest.approx(4 * 0.05**2)
    expected = Predictor.load(model_dir).probability((bright_spots(40, 33, 65535) / 65535).astype(np.float32))
    codes = np.asarray(Image.open(out / "folder" / "two" / "probability.png"))
    assert np.abs(codes - np.rint(expected * 65535)).max() <= 1


def test_a_threshold_given_is_the_threshold_used_and_changes_no_probability(predicted):
    out, ended = predicted
    assert ended["single"].returncode == 0, ended["single"].stderr
    statistics = json.loads((out / "single" / "one" / "statistics.json").read_text())
    assert statistics["threshold"] == 0.25
    assert statistics["model"]["operating_threshold_rule"] == "--threshold"
    one, other = (np.asarray(Image.open(out / name / "one" / "probability.png")) for name in ("single", "folder"))
    assert np.abs(one.astype(int) - other).max() <= 1


def test_errors_of_predict_are_one_line(predicted, inputs):
    out, ended = predicted
    assert_one_line_error(ended["broken"], inputs / "broken.dcm")
    assert_one_line_error(ended["nowhere"], "found nothing", inputs / "nowhere.dcm")
    assert_one_line_error(ended["threshold"], "between 0 and 1; found 1.5")
    for name in ("broken", "nowhere", "threshold"):
        assert not (out / name).exists() or not any((out / name).iterdir())


@pytest.fixture(scope="module")
def records_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    pixels = bright_spots()
    mask = (pixels == 4095).astype(np.uint8)
    test = [fake_record(pixels, mask, name=f"image-{n}", patient=f"patient-{n}") for n in range(3)]
    write_fake_records(folder, {"train": [fake_record(fake_pixels(1), name="t", patient="t")], "test": test})
    return folder


def test_evaluate_writes_its_figures_and_refuses_in_one_line(model_dir, records_dir, tmp_path):
    without_weights = tmp_path / "without"
    shutil.copytree(model_dir, without_weights)
    (without_weights / "model.weights.h5").unlink()
    before = {path: path.read_bytes() for path in model_dir.rglob("*") if path.is_file()}
    ended, no_weights, no_records, bad_split = run_modules("calcseg_tf.evaluate", [
        [f"--model_dir={model_dir}", f"--records_dir={records_dir}", f"--output_dir={tmp_path / 'out'}"],
        [f"--model_dir={without_weights}", f"--records_dir={records_dir}", f"--output_dir={tmp_path / 'x'}"],
        [f"--model_dir={model_dir}", f"--records_dir={tmp_path}", f"--output_dir={tmp_path / 'x'}"],
        [f"--model_dir={model_dir}", f"--records_dir={records_dir}", f"--output_dir={tmp_path / 'x'}", "--split=all"],
    ])  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "Scoring 3 test mammograms of fake" in ended.stdout
    assert DISCLAIMER in ended.stdout
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {
        "images", "calcifications", "pixel", "froc", "operating_points", "confidence_intervals", "definitions",
    } <= set(metrics)  # fmt: skip
    assert (metrics["images"], metrics["calcifications"]) == (3, 12)
    # The test split chooses nothing: threshold and rule are the model's, which is left as it was.
    assert metrics["at_threshold"]["threshold"] == pytest.approx(0.5, abs=1 / 65535)
    assert metrics["context"]["operating_threshold_rule"] == "default, not chosen on data"
    assert {path: path.read_bytes() for path in model_dir.rglob("*") if path.is_file()} == before
    assert metrics["pixel"]["roc_auc"] == metrics["pixel"]["average_precision"] == 1.0
    for curve in metrics["froc"].values():
        assert {"thresholds", "sensitivity", "false_positives_per_image", "false_positives_per_cm2"} <= set(curve)
    assert_one_line_error(no_weights, without_weights, "model.weights.h5")
    assert_one_line_error(no_records, tmp_path, "no manifest.json")
    assert_one_line_error(bad_split, "--split=all")
    assert not (tmp_path / "x").exists()


def test_imported_weights_make_a_model_that_predicts(tmp_path, inputs):
    weights = write_zip(tmp_path / "weights.pth", tiny_state())
    (tmp_path / "garbage.pth").write_bytes(b"garbage")
    flags = [f"--torch_weights={weights}", f"--model_dir={tmp_path / 'model'}", "--threshold=0.2"]
    imported, again, garbage = run_modules("calcseg_tf.import_weights", [
        flags, flags, [f"--torch_weights={tmp_path / 'garbage.pth'}", f"--model_dir={tmp_path / 'other'}"],
    ])  # fmt: skip
    assert imported.returncode == 0, imported.stderr
    assert DISCLAIMER in imported.stdout
    predictor = Predictor.load(tmp_path / "model")
    assert predictor.info.operating_threshold == 0.2
    assert predictor.probability(np.zeros((5, 4), np.float32)).shape == (5, 4)
    assert_one_line_error(again, "already holds a model")
    assert_one_line_error(garbage, tmp_path / "garbage.pth")
    assert not (tmp_path / "other").exists()
