import pytest

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
