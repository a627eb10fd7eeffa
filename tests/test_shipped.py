"""The weights that come with the package are there, are the paper's network, and work without a flag."""

import json

import numpy as np
import pytest
from PIL import Image
from skimage.measure import label

from calcseg_tf import shipped
from calcseg_tf.model_directory import CONFIG_FILE, WEIGHTS_FILE, load_network
from tests.fakes.commands import ROOT, run_module

PREDICTED = {
    "probability.png", "overlay.png", "calcifications.csv", "statistics.json", "report.html", "segmentation.dcm",
    "report.dcm",
}  # fmt: skip
FIELD_MM = (60, 50)
SEED = 20_001  # not one that tools/weights.py trains on or measures with


@pytest.fixture(scope="module")
def mammogram(tmp_path_factory):
    """The middle of an artificial breast with implants: image, mask, and the folder of its prediction."""
    folder = tmp_path_factory.mktemp("shipped")
    commands = {
        "data_prep.synthesize": {
            "images": 1, "seed": SEED, "field_height_mm": FIELD_MM[0], "field_width_mm": FIELD_MM[1],
            "output_dir": folder / "drawn",
        },
        "data_prep.implant": {"background_dir": folder / "drawn", "seed": SEED, "output_dir": folder / "implanted"},
        "calcseg_tf.predict": {"input": folder / "implanted" / "implant-0001.dcm", "output_dir": folder / "predicted"},
    }  # fmt: skip
    for module, flags in commands.items():
        ended = run_module(module, **flags)
        assert ended.returncode == 0, ended.stderr
    return folder / "implanted" / "implant-0001.png", folder / "predicted" / "implant-0001"


@pytest.mark.slow
def test_predict_needs_no_model_and_gives_every_file(mammogram):
    mask, predicted = mammogram
    assert {path.name for path in predicted.iterdir()} >= PREDICTED
    assert Image.open(predicted / "probability.png").size == Image.open(mask).size
    assert json.loads((predicted / "statistics.json").read_text())["model"]["name"] == "fcn"


@pytest.mark.slow
def test_implants_are_found_and_little_else(mammogram):
    mask_file, predicted = mammogram
    implants = label(np.asarray(Image.open(mask_file)) > 0)
    threshold = json.loads((predicted / "statistics.json").read_text())["threshold"]
    found = label(np.asarray(Image.open(predicted / "probability.png")) >= threshold * 65535)
    hit = np.unique(implants[found > 0])
    alarms = found.max() - np.count_nonzero(np.unique(found[implants > 0]))
    assert implants.max() > 50
    assert np.count_nonzero(hit) >= 0.4 * implants.max()  # many are faint, of two to nine pixels
    # The threshold was chosen for 0.4 false alarms a cm2; of one picture, another number than on the average of twenty.
    assert alarms <= 2 * 0.4 * FIELD_MM[0] * FIELD_MM[1] / 100


def test_they_are_the_papers_network_of_the_config_in_a_small_file():
    network, info = load_network(shipped.MODEL_DIR)
    assert network.count_params() == 448_043  # 447,553 trained ones, and the running means of batch norm
    assert (shipped.MODEL_DIR / WEIGHTS_FILE).stat().st_size < 2e6
    lines = (ROOT / "configs" / "weights.cfg").read_text().splitlines()
    flags = dict(line[2:].split("=") for line in lines if line.startswith("--"))
    recipe = {**info.training["inputs"], **info.training["inputs"]["augment"], **info.training["optimizer"]}
    recipe |= {"optimizer": info.training["optimizer"]["name"], "epochs": info.training["epochs"]}
    shared = recipe.keys() & flags.keys()
    assert len(shared) >= 12
    assert {name: str(recipe[name]).removesuffix(".0") for name in shared} == {name: flags[name] for name in shared}


def test_their_config_names_no_machine():
    text = (shipped.MODEL_DIR / CONFIG_FILE).read_text()
    assert "/" not in text
    assert "--" not in json.loads(text)["operating_threshold_rule"]
