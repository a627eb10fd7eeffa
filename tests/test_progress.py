import fcntl
import os
import pty
import re
import struct
import subprocess
import termios

import pytest

from calcseg_tf.progress import EpochLog, epoch_line
from calcseg_tf.validation import Validated
from tests.fakes.commands import ROOT, command, environment
from tests.fakes.mammograms import write_speckled_records


def written(path):
    return [line.split(" ", 1) for line in path.read_text().splitlines()]


def validated(epoch, score):
    return Validated(epoch, score, evaluation=None, shown=())


def test_a_line_tells_every_figure_and_the_rate_in_megapixels():
    logs = {"loss": 0.123456789, "pixels_per_second": 1_234_567.0, "learning_rate": 0.001, "val_average_precision": 0.5}
    assert epoch_line(7, logs) == (
        "epoch=7 loss=0.12346 learning_rate=0.001 val_average_precision=0.5 megapixels_per_second=1.2346"
    )


def test_each_epoch_is_said_and_appended_under_the_time_in_utc(tmp_path):
    said = []
    log = EpochLog(tmp_path / "training.log", said.append)
    log.on_epoch_end(0, {"loss": 0.5})
    log.on_epoch_end(1, {"loss": 0.25})
    assert said == ["epoch=1 loss=0.5", "epoch=2 loss=0.25"]
    assert [line for _, line in written(tmp_path / "training.log")] == said
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", time) for time, _ in written(tmp_path / "training.log"))


def test_a_resumed_log_drops_what_is_redone_and_what_a_kill_cut_short(tmp_path):
    path = tmp_path / "training.log"
    log = EpochLog(path, print)
    for epoch in range(4):
        log.on_epoch_end(epoch, {"loss": 9})
    path.write_text(path.read_text() + "2026-01-01T00:00:00Z epoch=2 lo")
    again = EpochLog(path, print)
    again.resume(2)
    again.on_epoch_end(2, {"loss": 5})
    assert [line for _, line in written(path)] == ["epoch=1 loss=9", "epoch=2 loss=9", "epoch=3 loss=5"]


def test_the_score_of_a_validation_joins_the_line_of_its_epoch_once_however_often_it_is_done(tmp_path):
    path, said = tmp_path / "training.log", []
    log = EpochLog(path, print)
    log.on_epoch_end(0, {"loss": 9})
    log.validated(validated(1, 0.25))
    again = EpochLog(path, said.append)
    again.resume(1)
    again.validated(validated(1, 0.5))
    assert [line for _, line in written(path)] == ["epoch=1 loss=9 val_average_precision=0.5"]
    assert said == ["epoch=1 val_average_precision=0.5"]


def test_a_new_run_has_no_log_before_its_first_epoch(tmp_path):
    EpochLog(tmp_path / "training.log", print).resume(0)
    assert not (tmp_path / "training.log").exists()


@pytest.mark.slow
def test_a_terminal_shows_rate_and_time_left_above_it_a_line_an_epoch(tmp_path):
    write_speckled_records(tmp_path / "records", train=2)
    arguments = command(
        "calcseg_tf.train", records_dir=tmp_path / "records", model_dir=tmp_path / "model", widths="4", crop_size=48,
        global_batch_size=4, steps_per_epoch=20, crops_per_image=8, epochs=2, operating_images=0, images_every_epochs=0,
    )  # fmt: skip
    shown = in_terminal(arguments)
    frames = re.findall(
        r"epoch (\d)/2: +(\d+)%\|[^|\r]*\| [\d.e+-]+ MPix/s, \d\d:\d\d gone, [\d:?]+ left, loss=\d", shown
    )
    assert len(frames) >= 2  # one a tenth of a second
    percents = [int(percent) for _, percent in frames]
    assert percents == sorted(percents)
    assert {epoch for epoch, _ in frames} == {"1", "2"}
    # The bar is gone where the line of an epoch stands.
    lines = re.findall(r"(?:\r|\n| )(epoch=\d) loss=\S+ .*megapixels_per_second=\S+\r?\n", shown)
    assert lines == ["epoch=1", "epoch=2"]
    assert "WARNING" not in shown


def in_terminal(arguments, columns=120):
    """Runs a command in a pseudo-terminal; returns all that it showed."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    env = {name: value for name, value in environment().items() if name not in ("COLUMNS", "LINES")}
    running = subprocess.Popen(arguments, cwd=ROOT, env=env, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    shown = b""
    try:
        while part := os.read(controller, 65536):
            shown += part
    except OSError:
        pass  # Linux' way to say that the other side is closed
    os.close(controller)
    assert running.wait() == 0, shown.decode()
    return shown.decode()
