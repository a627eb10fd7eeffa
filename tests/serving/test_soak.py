import os
import pathlib
import re
import subprocess
import sys

import pytest

SOAK = pathlib.Path(__file__).with_name("soak.py")
MOST_GROWTH_MB = 100  # of about 800; a leak of one small image a request would be 300 more


@pytest.mark.slow
def test_a_thousand_requests_leave_memory_where_it_was_and_are_all_answered_rightly(exported, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        [sys.executable, "-P", str(SOAK), str(exported)],
        cwd=tmp_path, env={**environment, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, timeout=580, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    good, refused, early, late = map(
        int, re.match(r"(\d+) good, (\d+) refused in .*; (\d+) MB .*, (\d+) MB", ended.stdout).groups()
    )
    assert good + refused == 1000
    assert refused > 80
    assert late - early < MOST_GROWTH_MB, ended.stdout
