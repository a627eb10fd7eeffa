import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.inference.test_tiling import SMALL, make_network
from tests.serving.soak import pixels_of

SOAK = pathlib.Path(__file__).with_name("soak.py")
MOST_GROWTH_MB = 60  # of about 900; a leak of one small image a request would be 150 more


@pytest.fixture(scope="module")
def expected_dir(tmp_path_factory):
    """The plain graph's answers, for small sizes and one mammogram of 6.8 megapixels."""
    folder = tmp_path_factory.mktemp("expected")
    network = make_network(**SMALL)
    sizes = np.random.default_rng(0).integers(1, 420, (30, 2)).tolist()
    for height, width in [(1, 1), *sizes, (2048, 3328)]:
        image = tf.constant((pixels_of(height, width) / np.float32(65535))[None, :, :, None])
        probability = tf.sigmoid(network(image, training=False))
        np.save(folder / f"{height}x{width}.npy", probability[0, :, :, 0].numpy())
    return folder


@pytest.mark.slow
def test_a_thousand_requests_leave_memory_where_it_was_and_are_all_answered_rightly(exported, expected_dir, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        [sys.executable, "-P", str(SOAK), str(exported), str(expected_dir)],
        cwd=tmp_path, env={**environment, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, timeout=580, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    good, refused, after_100, after_300, after_1000 = map(
        int,
        re.match(
            r"(\d+) good, (\d+) refused in .*; (\d+) MB after 100, (\d+) MB after 300, (\d+) MB after 1000;",
            ended.stdout,
        ).groups(),
    )
    assert good + refused == 1000
    assert refused > 80
    assert max(after_300, after_1000) - after_100 < MOST_GROWTH_MB, ended.stdout
