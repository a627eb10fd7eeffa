"""Every network goes through the same commands."""

import json
import subprocess

import keras
import numpy as np
import pytest

from data_prep.png import encode_png
from tests.fakes.commands import ROOT, assert_one_line_error, command, environment, run_modules
from tests.fakes.records import fake_record, write_fake_records
from tests.test_training import assert_same_weights

TRAIN = "calcseg_tf.train"
RECIPE = {
    "crop_size": 32, "global_batch_size": 2, "steps_per_epoch": 2, "crops_per_image": 4, "epochs": 2,
    "operating_images": 1, "images_every_epochs": 0, "learning_rate": 0.01,
}  # fmt: skip


def mammogram(number):
    rng = np.random.default_rng(number)
    pixels = rng.integers(500, 1500, (64, 48), dtype=np.uint16)
    mask = np.zeros(pixels.shape, np.uint8)
    for row, column in rng.integers(4, 40, (3, 2)):
        mask[row : row + 3, column : column + 3] = 1
    pixels[mask == 1] = 4000
    return fake_record(pixels, mask, name=f"image-{number}", patient=f"patient-{number}")


@pytest.fixture(scope="module")
def records_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    write_fake_records(folder, {"train": [mammogram(n) for n in range(3)], "test": [mammogram(9)]})
    return folder


def arguments_of(records_dir, model_dir, *arguments, **changes):
    flags = {**RECIPE, **changes}
    return command(TRAIN, *arguments, records_dir=records_dir, model_dir=model_dir, **flags)[3:]


@pytest.mark.slow
def test_baselines_train_by_name_with_every_loss_and_a_wrong_option_is_one_line(records_dir, tmp_path):
    right = {
        "unet": {"widths": "2,4", "loss": "focal"},
        "scale_space": {"detector": "top_hat", "loss": "weighted_cross_entropy"},
    }
    wrong = [
        ({"model": "unet", "kernel_sizes": "3"}, "model unet has the options widths; found kernel_sizes"),
        ({"widths": "4", "freeze_backbone_epochs": 1}, "for a network with a backbone (deeplabv3); found fcn"),
        ({"model": "scale_space", "diameters_px": "2"}, "--diameters_px must be whole numbers of at least 3; found 2"),
        ({"widths": "4", "loss": "focal", "focal_gamma": 0.5}, "--focal_gamma be at least 1"),
        ({"freeze_backbone_epochs": 1, "ema_momentum": 0.9}, "--ema_momentum exclude each other"),
    ]
    calls = [arguments_of(records_dir, tmp_path / name, model=name, **options) for name, options in right.items()]
    calls += [arguments_of(records_dir, tmp_path / "wrong", **options) for options, _ in wrong]
    ended = run_modules(TRAIN, calls)
    for name, run in zip(right, ended, strict=False):
        assert run.returncode == 0, run.stderr
        assert f"Training {name} (" in run.stdout
        info = json.loads((tmp_path / name / "config.json").read_text())
        assert (info["model"]["name"], info["training"]["loss"]["name"]) == (name, right[name]["loss"])
        assert info["operating_threshold_rule"] != "default, not chosen on data"  # so it was predicted and scored
    for run, (_, words) in zip(ended[len(right) :], wrong, strict=True):
        assert_one_line_error(run, words)
    assert not (tmp_path / "wrong").exists()


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["weighted_cross_entropy", "focal"])
def test_two_replicas_give_a_baseline_the_weights_of_one(records_dir, tmp_path, loss):
    options = {"model": "unet", "widths": "2,4", "loss": loss}
    calls = [arguments_of(records_dir, tmp_path / str(count), **options, replicas=count) for count in (1, 2)]
    for ended in run_modules(TRAIN, calls):
        assert ended.returncode == 0, ended.stderr
    assert_same_weights(tmp_path / "1", tmp_path / "2", atol=1e-5)


@pytest.fixture(scope="module")
def imagenet_file(tmp_path_factory):
    """As Keras' file of ImageNet is, with random weights."""
    path = tmp_path_factory.mktemp("weights") / "notop.h5"
    keras.applications.ResNet50(weights=None, include_top=False).save_weights(path)
    return path


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_deeplabv3_is_fine_tuned_stopped_resumed_scored_predicted_and_exported(records_dir, imagenet_file, tmp_path):
    recipe = {"model": "deeplabv3", "backbone_weights": imagenet_file, "freeze_backbone_epochs": 1}
    for folder, epochs in (("whole", 2), ("stopped", 1), ("stopped", 2)):
        run(TRAIN, *arguments_of(records_dir, tmp_path / folder, "--deterministic", **recipe, epochs=epochs))
    model_dir = tmp_path / "whole"
    assert_same_weights(model_dir, tmp_path / "stopped")
    (tmp_path / "image.png").write_bytes(encode_png(mammogram(9).pixels))
    run("calcseg_tf.evaluate", model_dir=model_dir, records_dir=records_dir, output_dir=tmp_path / "evaluation")
    run("calcseg_tf.predict", model_dir=model_dir, input=tmp_path / "image.png", output_dir=tmp_path / "predictions")
    run("calcseg_tf.export", model_dir=model_dir, output_dir=tmp_path / "serving")
    assert (tmp_path / "evaluation" / "metrics.json").is_file()
    assert (tmp_path / "predictions" / "image" / "probability.png").is_file()
    assert (tmp_path / "serving" / "1" / "saved_model.pb").is_file()


def run(module, *arguments, **flags):
    """Runs a command to its end, with time for a network of 40 million weights on a busy machine."""
    call = command(module, *arguments, **flags)
    ended = subprocess.run(call, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr
