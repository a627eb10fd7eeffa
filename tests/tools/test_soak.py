import itertools
import os
import queue
import types

import pytest

from tools import soak

PROCESSES = {name: types.SimpleNamespace(pid=name, is_alive=lambda: True) for name in ("server", "local", "client")}


@pytest.fixture
def told():
    counts = queue.Queue()
    for name in ("local", "client"):
        counts.put((name, 20))
    return counts


def watch(monkeypatch, told, rows, warm=20):
    """Watches processes whose memory and handles are `rows`, one a row, the last one for ever."""
    series = {name: itertools.chain(rows, itertools.repeat(rows[-1])) for name in PROCESSES}
    monkeypatch.setattr(soak, "_SECONDS_A_ROW", 0.01)
    monkeypatch.setattr(soak, "usage", lambda pid: (*next(series[pid]), 4))
    soak.watch(PROCESSES, told, 0.2, warm)


def test_memory_that_comes_and_goes_with_the_image_is_no_growth(monkeypatch, told, capsys):
    def usage(pid):
        if pid == "server":
            rows["server"] += 1
        if rows["server"] == 2:  # until then no image was done
            told.put(("local", 20)), told.put(("client", 20))
        return (1200.0 if rows["server"] != 3 else 900.0), 10, 4

    rows = {"server": 0}
    told.queue.clear()
    monkeypatch.setattr(soak, "_SECONDS_A_ROW", 0.01)
    monkeypatch.setattr(soak, "usage", usage)
    soak.watch(PROCESSES, told, 0.2, 20)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "| 0 | server | 0 | 1200 | 10 | 4 |"
    assert "| 0 | local | 20 | 900 | 10 | 4 |" in lines


@pytest.mark.parametrize("grown", [(1060.0, 10), (1000.0, 27)])
def test_growth_of_memory_or_handles_is_an_error(monkeypatch, told, grown):
    with pytest.raises(SystemExit, match="server: grew from 1000 MB and 10 handles"):
        watch(monkeypatch, told, [(1000.0, 10), (900.0, 10), grown])


def test_another_result_a_dead_process_and_too_short_a_time_are_errors(monkeypatch, told):
    with pytest.raises(SystemExit, match="too short: 30 images by each process"):
        watch(monkeypatch, told, [(1000.0, 10)], warm=30)
    told.put(("client", "a.png had another result than the first time"))
    with pytest.raises(SystemExit, match=r"client: .* had another result"):
        watch(monkeypatch, told, [(1000.0, 10)])
    dead = types.SimpleNamespace(pid=1, is_alive=lambda: False, exitcode=-9)
    monkeypatch.setitem(PROCESSES, "local", dead)
    with pytest.raises(SystemExit, match="local: ended with status -9"):
        watch(monkeypatch, told, [(1000.0, 10)])


def test_the_usage_of_a_process_is_read():
    megabytes, handles, threads = soak.usage(os.getpid())
    assert megabytes > 10
    assert (handles > 2, threads > 0) == (True, True)
