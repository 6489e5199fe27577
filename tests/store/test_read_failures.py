"""What could not be read is unknown, named in a warning and in the report, and never dry."""

import json

import pytest

import lakecube
from lakecube.names import REASON, UNKNOWN
from lakecube.store.write import ReadFailedWarning
from lakecube.synthetic.archive import make_archive


def test_a_broken_file_is_named_and_its_date_unknown(tmp_path):
    made = make_archive(tmp_path / "archive", shape=(64, 64), dates=["2022-03-01", "2022-03-11"], clouds=0, seed=2)
    broken = sorted((tmp_path / "archive").glob("S2*/B03.tif"))[1]
    broken.write_bytes(broken.read_bytes()[:300])
    water = lakecube.open(made.items_path, retries=0).water.extract()
    with pytest.warns(ReadFailedWarning, match=rf"2022-03-11.*{broken.parent.name}"):
        store = water.water.to_zarr(tmp_path / "s.zarr", progress=False)
    assert (store.water_mask[1] == UNKNOWN).all()
    assert (store.reason[1] == REASON["read_failed"]).all()
    assert (store.water_mask[0] != UNKNOWN).mean() > 0.5
    assert int(store.count_clear.max()) == 1
    (report,) = (tmp_path / "s.zarr" / "_runs").glob("*.json")
    assert json.loads(report.read_text())["read_failed"] == {"2022-03-11": 64 * 64}
