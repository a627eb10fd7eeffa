"""What a person sees: a real run in the real TensorBoard in a real browser."""

import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import numpy as np
import pytest
from PIL import Image

from tests.fakes.commands import ROOT, environment, run_module
from tests.fakes.mammograms import write_speckled_records

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome is installed to look with"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Of a TensorBoard that shows a short run on drawn mammograms."""
    folder = tmp_path_factory.mktemp("pages")
    write_speckled_records(folder / "records", train=4)
    ended = run_module(
        "calcseg_tf.train", records_dir=folder / "records", model_dir=folder / "model", widths="8,8",
        kernel_sizes="3,5", crop_size=48, global_batch_size=8, crops_per_image=16, steps_per_epoch=20, epochs=3,
        optimizer="adam", learning_rate=0.01, operating_images=0, images_every_epochs=1, validation_fraction=0.3,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    with serving(folder / "model" / "tensorboard") as url:
        yield url


@contextlib.contextmanager
def serving(directory):
    arguments = [sys.executable, "-m", "tensorboard.main", "--logdir", str(directory), "--host=127.0.0.1", "--port=0"]
    running = subprocess.Popen(
        arguments, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        url = next(match[0] for line in running.stderr if (match := re.search(r"http://127\.0\.0\.1:\d+", line)))
        deadline = time.monotonic() + 60
        while not fetched(f"{url}/data/plugin/images/tags") and time.monotonic() < deadline:
            time.sleep(0.2)  # it reads the log after it has begun to answer
        yield url
    finally:
        running.terminate()
        running.wait()


def fetched(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def browse(url, folder, *arguments, size="1500,5000"):
    """Opens a page until its data is there; returns what the browser printed and logged."""
    return subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr",
            f"--user-data-dir={folder}", f"--window-size={size}", "--virtual-time-budget=20000", *arguments, url,
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(address, tmp_path_factory):
    """The page that TensorBoard opens with, when the browser is done with it."""
    return browse(f"{address}/#timeseries", tmp_path_factory.mktemp("browser"), "--dump-dom")


def test_the_page_shows_every_tag_that_the_run_promised_and_logs_no_error(page):
    shown = set(re.findall(r"\b(?:train|validation)/[\w.]+", page.stdout))
    limits = ("0.5", "1", "2", "5", "10", "20")
    assert shown == {
        "train/loss", "train/positives", "train/negatives", "train/negative_threshold", "train/learning_rate",
        "train/pixels_per_second", "validation/average_precision", "validation/froc", "validation/precision_recall",
        "validation/example_1", *(f"validation/sensitivity_at_{n}_false_alarms" for n in limits),
    }  # fmt: skip
    errors = [line for line in page.stderr.splitlines() if re.search(r"CONSOLE.*(Uncaught|Error|Failed)", line)]
    assert errors == []


def test_the_browser_paints_the_heat_map_from_blue_to_red(page, address, tmp_path):
    pictures = re.findall(r'<img [^>]*src="(data/plugin/timeseries/imageData[^"]*)"', page.stdout)
    assert len(pictures) == 3  # an example, then the two curves
    screenshot = tmp_path / "example.png"
    browse(f"{address}/{pictures[0]}", tmp_path / "browser", f"--screenshot={screenshot}", size="1200,456")
    painted = np.asarray(Image.open(screenshot).convert("RGB")).astype(int)
    with urllib.request.urlopen(f"{address}/{pictures[0]}", timeout=30) as answer:
        sent = np.asarray(Image.open(io.BytesIO(answer.read())).convert("RGB"))
    assert painted.shape == sent.shape == (456, 1200, 3)
    np.testing.assert_array_equal(painted, sent)
    red_over_blue = painted[60:444, 804:1188, 0] - painted[60:444, 804:1188, 2]
    assert (red_over_blue > 100).sum() > 50
    assert (red_over_blue < -50).sum() > 50
    assert np.ptp(painted[60:444, 12:396], axis=2).max() == 0  # the input beside it is grey


def test_the_page_is_painted(address, tmp_path):
    screenshot = tmp_path / "page.png"
    browse(f"{address}/#timeseries", tmp_path / "browser", f"--screenshot={screenshot}", size="1500,3000")
    painted = np.asarray(Image.open(screenshot).convert("RGB")).astype(int)
    assert painted.shape == (3000, 1500, 3)
    orange = (np.abs(painted - [245, 124, 0]) < 12).all(axis=2)
    assert orange[:60].mean() > 0.8  # TensorBoard's header
    assert (painted[60:].max(axis=2) < 60).sum() > 15_000  # the example's dark tissue and its annotation


def test_the_server_knows_recipe_and_network(address):
    request = urllib.parse.quote(json.dumps({"experimentName": ""}))
    experiment = fetched(f"{address}/data/plugin/hparams/experiment?request={request}")
    names = {info["name"] for info in experiment["hparamInfos"]}
    assert {"model.name", "model.widths", "loss.name", "optimizer.learning_rate", "inputs.crop_size"} <= names
    metrics = {info["name"]["tag"] for info in experiment["metricInfos"]}
    assert {"train/loss", "validation/average_precision"} <= metrics
    assert fetched(f"{address}/data/plugin/graphs/info")["."]["run_graph"] is True
