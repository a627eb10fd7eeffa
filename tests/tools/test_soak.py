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


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Time that passes by sleeping alone: a busy machine changes nothing."""
    now = [0.0]
    sleep = lambda seconds: now.append(now[-1] + seconds)  # noqa: E731
    monkeypatch.setattr(soak, "time", types.SimpleNamespace(monotonic=lambda: now[-1], sleep=sleep))


def watch(monkeypatch, told, rows, warm=20):
    """Watches processes whose memory and handles are `rows`, one a row, the last one for ever."""
    series = itertools.chain(rows, itertools.repeat(rows[-1]))
    monkeypatch.setattr(soak, "_SECONDS_A_ROW", 0.05)
    monkeypatch.setattr(soak, "most_usage", lambda processes, seconds: a_row(processes, seconds, next(series)))
    soak.watch(PROCESSES, told, 0.35, warm)


def a_row(processes, seconds, row):
    soak.time.sleep(seconds)
    return dict.fromkeys(processes, soak.Usage(*row, 4))


def test_memory_that_comes_and_goes_with_the_image_is_no_growth(monkeypatch, told, capsys):
    watch(monkeypatch, told, [(900.0, 10), (1200.0, 12), (900.0, 12), (1000.0, 10), (1250.0, 25), (1150.0, 10)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "| 0 | server | 0 | 900 | 10 | 4 |"
    assert "| 0 | local | 20 | 1200 | 12 | 4 |" in lines


@pytest.mark.parametrize("grown", [(1060.0, 10), (1000.0, 27)])
def test_growth_of_memory_or_handles_is_an_error(monkeypatch, told, grown):
    with pytest.raises(SystemExit, match=f"server: grew from 1000 MB and 10 handles to {grown[0]:.0f} and {grown[1]};"):
        watch(monkeypatch, told, [(1000.0, 10), (900.0, 10), (1000.0, 10), grown])


def test_what_grows_before_all_images_were_seen_twice_does_not_count(monkeypatch, told):
    told.queue.clear()

    def row(processes, seconds):
        soak.time.sleep(seconds)
        rows.append(len(rows))
        if len(rows) == 3:
            told.put(("local", 20)), told.put(("client", 20))
        return dict.fromkeys(processes, soak.Usage(100.0 * min(len(rows), 3), 10, 4))

    rows = []
    monkeypatch.setattr(soak, "_SECONDS_A_ROW", 0.03)
    monkeypatch.setattr(soak, "most_usage", row)
    soak.watch(PROCESSES, told, 0.3, 20)


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


def test_the_most_of_a_minute_is_what_counts(monkeypatch):
    samples = iter([(900.0, 30, 4), (1200.0, 10, 5), (800.0, 10, 4)])
    monkeypatch.setattr(soak, "_SECONDS_A_SAMPLE", 0.05)
    monkeypatch.setattr(soak, "usage", lambda pid: soak.Usage(*next(samples, (700.0, 10, 4))))
    most = soak.most_usage({"server": PROCESSES["server"], "dead": types.SimpleNamespace(is_alive=lambda: False)}, 0.2)
    assert most == {"server": (1200.0, 30, 5)}


def test_the_usage_of_a_process_is_read():
    megabytes, handles, threads = soak.usage(os.getpid())
    assert megabytes > 10
    assert (handles > 2, threads > 0) == (True, True)
