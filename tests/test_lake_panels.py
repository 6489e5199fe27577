"""The window round a lake shows all of it, and outlines are not written into a store."""

import numpy as np
import pytest
import xarray as xr

from lakecube.cli import main
from lakecube.lake_panels import window_around
from lakecube.store import to_zarr
from lakecube.summary import crs_of
from tests.store.bowls import bowls


def test_a_lake_whose_centre_is_near_one_end_is_shown_whole():
    """A blob with a tail: most of its length lies on one side of its centre."""
    water = bowls(stop=1)[0]
    label = np.zeros((60, 200), np.int64)
    label[10:40, 10:40], label[24:28, 40:160] = 7, 7
    store = xr.Dataset({"lake_label": (("y", "x"), label)}, {
        "y": 3_000_000 - 10 * (np.arange(60) + 0.5), "x": 500_000 + 10 * (np.arange(200) + 0.5),
        "spatial_ref": water["spatial_ref"],
    })  # fmt: skip
    rows, columns = np.nonzero(label)
    lon, lat = _degrees(store, float(store.x[columns].mean()), float(store.y[rows].mean()))
    lake = xr.Dataset({"longitude": lon, "latitude": lat, "perimeter": 2.0 * (30 + 150) * 10,
                       "max_area": 138_000.0}, {"lake": 7})  # fmt: skip
    cut = window_around(store, lake)
    assert cut.x[-1] < store.x[159]
    for step in (1, 4):  # whole, or an overview
        whole = window_around(store, lake, store["lake_label"][::step, ::step])
        assert whole.x[-1] > store.x[159] and whole.x[0] < store.x[10]
    xr.testing.assert_equal(cut, window_around(store, lake.assign_coords(lake=8), store["lake_label"]))


def _degrees(store, x, y):
    from pyproj import Transformer

    return Transformer.from_crs(crs_of(store), 4326, always_xy=True).transform(x, y)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # main leaves logging as a process of its own would
def test_outlines_series_and_pictures_stay_out_of_a_store(tmp_path, capsys):
    store = tmp_path / "s.zarr"
    to_zarr(bowls(stop=2)[0], store, progress=False)
    before = sorted(store.rglob("*"))
    for option, name in (("--outlines", "o.parquet"), ("--series", "s.csv"), ("--outlines", "revision/o.parquet")):
        assert main(["lakes", str(store), option, str(store / name)]) == 2
        assert "lies inside the store" in capsys.readouterr().err
    assert sorted(store.rglob("*")) == before
