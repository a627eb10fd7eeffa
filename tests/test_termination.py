import signal
import time

import pytest

from calcseg_tf.termination import TerminatedError, ended_by_sigterm


class EndsInTheMiddleOfAll:
    """SIGTERM meets a callback of the interpreter's: what is raised there is told as ignored, and forgotten."""

    def __del__(self):
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_that_meets_a_callback_ends_the_run_all_the_same(capsys):
    begin = time.monotonic()

    def work():
        with ended_by_sigterm():
            EndsInTheMiddleOfAll()
            time.sleep(20)

    with pytest.raises(TerminatedError):
        work()
    assert time.monotonic() - begin < 10
    assert capsys.readouterr().err == ""
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
