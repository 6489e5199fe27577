"""Files that are whole or not there."""

from __future__ import annotations

import errno

import pytest

from lakecube.errors import StoreError
from lakecube.whole_files import replacing, steady, writing


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("before")
    with pytest.raises(OSError, match="full"), replacing(path) as partial:
        partial.write_text("half")
        assert path.read_text() == "before" and partial.suffix == ".csv"
        raise OSError("full")
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"] and path.read_text() == "before"
    with replacing(path) as partial:
        partial.write_text("after")
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"] and path.read_text() == "after"


def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(StoreError, match="No space left") as refused, writing(path) as partial:
        partial.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    assert refused.value.__cause__.errno == errno.ENOSPC


def test_a_steady_name_is_written_over(tmp_path):
    path = tmp_path / "log.csv"
    steady(path).write_text("what a killed process left, longer than what follows")
    with writing(path, partial=steady(path)) as partial:
        partial.write_text("row")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("log.csv", "row")]


def test_a_failure_of_a_library_is_told_as_that_of_a_disk(tmp_path):
    class Odd(Exception):
        pass

    with (
        pytest.raises(StoreError, match=r"writing .*a.csv stopped: no \(is the disk full\?\)"),
        writing(tmp_path / "a.csv", Odd),
    ):
        raise Odd("no")
    assert not list(tmp_path.iterdir())
