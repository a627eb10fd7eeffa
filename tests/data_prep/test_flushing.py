import errno
import os

import pytest

from data_prep.flushing import flush, flush_folder


def test_every_file_and_folder_is_flushed(tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_text("text")
    flushed, fsync = [], os.fsync

    def note(descriptor):
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    flush_folder(tmp_path / "a")
    assert sorted(flushed) == [str(tmp_path / name) for name in ("a", "a/b", "a/b/file")]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_a_folder_that_cannot_be_flushed_at_all_is_no_error_a_failing_disk_is(tmp_path, monkeypatch, number):
    (tmp_path / "file").touch()

    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    if number == errno.EINVAL:
        flush(tmp_path)
    else:
        with pytest.raises(OSError, match="Input/output error"):
            flush(tmp_path)
    with pytest.raises(OSError, match=os.strerror(number)):
        flush(tmp_path / "file")
