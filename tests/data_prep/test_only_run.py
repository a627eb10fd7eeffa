import fcntl

import pytest

from data_prep import only_run
from data_prep.errors import InputError
from data_prep.only_run import only_run_in


def test_one_run_at_a_time_holds_a_folder(tmp_path):
    with only_run_in(tmp_path, "taken: wait"):
        with pytest.raises(InputError, match="taken: wait"), only_run_in(tmp_path, "taken: wait"):
            pytest.fail("entered twice")
        (tmp_path / "config.json").touch()
    with only_run_in(tmp_path, "taken: wait"):
        assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_run_that_writes_nothing_leaves_no_folder_of_its_own(tmp_path):
    for name, there in (("new", False), ("old", True)):
        if there:
            (tmp_path / name).mkdir()
        with pytest.raises(InputError), only_run_in(tmp_path / name, "taken"):
            raise InputError("refused")
        assert (tmp_path / name).is_dir() == there


def test_a_run_that_is_refused_leaves_the_folder_of_the_other(tmp_path):
    folder = tmp_path / "new"
    with only_run_in(folder, "taken"):
        with pytest.raises(InputError, match="taken"), only_run_in(folder, "taken"):
            pytest.fail("entered twice")
        assert folder.is_dir()  # empty still: the other has not begun to write


def test_a_folder_that_went_before_it_was_locked_is_made_anew(tmp_path, monkeypatch):
    folder, flock, calls = tmp_path / "new", fcntl.flock, []

    def late(descriptor, how):
        if not calls:
            folder.rmdir()  # by the run that had made it
        calls.append(how)
        flock(descriptor, how)

    monkeypatch.setattr(only_run.fcntl, "flock", late)
    with only_run_in(folder, "taken"):
        assert len(calls) == 2
        with pytest.raises(InputError, match="taken"), only_run_in(folder, "taken"):
            pytest.fail("the lock holds no folder that is there")
