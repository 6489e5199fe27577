"""What a person, or a log, is told of a run."""

import json
import logging
import re

import pytest

import lakecube.store.write_tasks as write_tasks
from lakecube.store import to_zarr
from tests.store.made import extract


def test_a_run_without_a_terminal_is_logged_and_a_resumed_one_says_so(tmp_path, monkeypatch, caplog):
    water, write, left = extract(times=5, rows=32, columns=32), write_tasks._write, iter(range(100))
    monkeypatch.setattr(write_tasks, "_write", lambda *a, **k: write(*a, **k) if next(left) < 6 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        to_zarr(water, tmp_path / "s", chunks=16, wave=1)
    monkeypatch.undo()
    with caplog.at_level(logging.INFO, "lakecube"):
        to_zarr(water, tmp_path / "s", chunks=16, wave=1)
    told = [record.getMessage() for record in caplog.records if record.name == "lakecube"]
    assert told[0] == "resuming: 6 of 20 blocks are already written"
    mapping = [line for line in told if line.startswith("mapping water")]
    assert len(mapping) == 10 and mapping[-1] == "mapping water: 100 % (14 of 14 blocks)"
    assert "counting: 100 % (4 of 4 blocks)" in told
    assert re.fullmatch(r"mapping water: 14 % \(2 of 14 blocks\), \d+\.\d/s, \d:\d\d:\d\d left", mapping[0])
    assert json.loads((tmp_path / "s/_runs/0.json").read_text())["resumed_blocks"] == 6
    caplog.clear()
    with caplog.at_level(logging.INFO, "lakecube"):
        to_zarr(water, tmp_path / "t", chunks=16, progress=False)
    assert not [record for record in caplog.records if record.name == "lakecube"]
