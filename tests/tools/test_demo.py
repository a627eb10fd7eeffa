import pytest

from tools.demo import clear


def test_a_folder_of_other_files_is_not_cleared(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(SystemExit, match="found files of another origin"):
        clear(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_demos_folder_is_cleared_however_often(tmp_path):
    out = tmp_path / "new" / "demo"
    for _ in range(2):
        clear(out)
        assert [path.name for path in out.iterdir()] == [".demo"]
        (out / "model").mkdir()
        (out / "model" / "config.json").touch()
        (out / "table.txt").touch()
