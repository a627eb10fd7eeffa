"""What becomes of a finished model while it is trained further."""

import dataclasses
import json

import keras
import pytest

from calcseg_tf.input_pipeline import InputConfig
from calcseg_tf.models import model_config
from calcseg_tf.recipe import OptimizerConfig, TrainingConfig
from calcseg_tf.tensorboard_log import LogConfig
from calcseg_tf.training import train
from data_prep.errors import InputError
from data_prep.manifest import read_manifest, render_manifest
from tests.fakes.mammograms import write_speckled_records

CONFIG = TrainingConfig(
    model=model_config("fcn", widths=(4,), kernel_sizes=(3,)),
    inputs=InputConfig(crop_size=24, global_batch_size=2, steps_per_epoch=2, crops_per_image=4),
    optimizer=OptimizerConfig("sgd", 0.01),
    epochs=1,
)
FURTHER = dataclasses.replace(CONFIG, epochs=2)


@pytest.fixture
def finished(tmp_path):
    """Records, and a model with a threshold that was chosen."""
    write_speckled_records(tmp_path / "records", train=2)
    run(tmp_path, CONFIG)
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "operating_threshold": 0.93, "operating_threshold_rule": "chosen"}))
    return tmp_path


def run(folder, config):
    return train(config, folder / "records", folder / "model", str, LogConfig(images_every_epochs=0))


@pytest.mark.slow
def test_a_model_that_stands_keeps_config_and_threshold_until_other_weights_replace_it(finished, monkeypatch):
    files = ["config.json", "model.weights.h5"]
    before = [(finished / "model" / name).read_bytes() for name in files]

    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "fit", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(finished, FURTHER)
    assert [(finished / "model" / name).read_bytes() for name in files] == before
    info = run(finished, FURTHER)
    assert (info.operating_threshold, info.training["epochs"]) == (0.5, 2)
    assert (finished / "model" / "model.weights.h5").read_bytes() != before[1]


def test_a_run_that_has_nothing_to_do_keeps_the_threshold(finished):
    assert run(finished, CONFIG).operating_threshold == 0.93


def test_weights_trained_anew_do_not_get_the_threshold_of_those_before(finished):
    for path in (finished / "model" / "checkpoints").iterdir():
        path.unlink()
    assert run(finished, CONFIG).operating_threshold == 0.5


def test_a_run_of_before_goes_on_whose_config_had_the_path_of_the_backbones_weights(finished):
    path = finished / "model" / "config.json"
    config = json.loads(path.read_text())
    config["training"]["fine_tuning"]["backbone_weights"] = ""
    path.write_text(json.dumps(config))
    assert run(finished, FURTHER).training["epochs"] == 2


def test_how_the_records_were_read_is_kept_and_may_not_change(finished):
    path = finished / "records" / "manifest.json"
    before = path.read_text()
    manifest = read_manifest(finished / "records")
    path.write_text(render_manifest(dataclasses.replace(manifest, flags={**manifest.flags, "voi_lut": True})))
    assert run(finished, FURTHER).data["voi_lut"] is True  # a run of before this key was kept
    path.write_text(before)
    with pytest.raises(InputError, match=r"data.voi_lut True; now it is None"):
        run(finished, dataclasses.replace(CONFIG, epochs=3))
