import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from lakecube.chunked import LAWS
from lakecube.errors import InvalidInputError
from lakecube.names import VARIABLES
from lakecube.series.occurrence import count, count_by_year, frequency, frequency_by_year


def mask(times=11, rows=9, columns=7, seed=0, chunks=None):
    values = np.random.default_rng(seed).choice(
        np.array([0, 1, 255], np.uint8), (times, rows, columns), p=[0.4, 0.3, 0.3]
    )
    values[:, 0, 0] = 255
    time = np.random.default_rng(1).permutation(pd.date_range("2018-03-01", periods=times, freq="95D").values)
    array = xr.DataArray(
        values, dims=("time", "y", "x"), coords={"time": time, "y": np.arange(rows), "x": np.arange(columns)}
    )
    return array if chunks is None else array.chunk(chunks)


CHUNKS = [
    None,
    {"time": 1, "y": 4, "x": 4},
    {"time": 11, "y": 9, "x": 7},
    {"time": (5, 1, 5), "y": (1, 8), "x": (3, 3, 1)},
    {"time": 2, "y": 1, "x": 7},
]


@pytest.mark.parametrize("chunks", CHUNKS)
def test_counts_are_exact_for_every_chunking(chunks):
    water = mask(chunks=chunks)
    with dask.config.set(scheduler=_refuse):
        lazy = [
            count(water),
            frequency(water).to_dataset(),
            count_by_year(water),
            frequency_by_year(water).to_dataset(),
        ]
    for dataset in lazy:
        for name, variable in dataset.data_vars.items():
            spec = VARIABLES[name]
            assert isinstance(variable.data, da.Array) and variable.dtype == spec.dtype == variable.values.dtype
            assert variable.dims == spec.dims and variable.attrs["long_name"] == spec.attrs["long_name"]
    values = mask().values
    wet, clear = (values == 1).sum(0), (values != 255).sum(0)
    np.testing.assert_array_equal(lazy[0].count_wet, wet)
    np.testing.assert_array_equal(lazy[0].count_clear, clear)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(lazy[1].water_frequency, (wet / clear).astype("float32"))
    assert np.isnan(lazy[1].water_frequency[0, 0])
    for name in ("count_wet", "count_clear"):
        np.testing.assert_array_equal(lazy[2][f"{name}_year"].sum("year"), lazy[0][name])


def test_years_against_pandas():
    water = mask()
    frame = water.to_series().reset_index(name="state")
    frame = frame[frame.state != 255].assign(year=lambda f: f.time.dt.year)
    expected = frame.groupby(["year", "y", "x"]).state.agg(["sum", "count"])
    got = count_by_year(water)
    table = got.to_dataframe()[["count_wet_year", "count_clear_year"]]
    table = table[table.count_clear_year > 0]
    np.testing.assert_array_equal(table.to_numpy(), expected.to_numpy())
    share = frequency_by_year(water).to_series().dropna()
    np.testing.assert_allclose(share, expected["sum"] / expected["count"], rtol=1e-7)


def test_order_of_dates_and_axes_does_not_matter():
    water = mask()
    xr.testing.assert_equal(count(water).compute(), count(water.sortby("time").transpose("x", "time", "y")).compute())
    halves = count(water[:4]).compute() + count(water[4:]).compute()
    xr.testing.assert_equal(halves, count(water).compute())


def test_no_dates_and_booleans():
    assert (count(mask()[:0]).count_clear == 0).all().compute()
    seen = count(mask() == 1).compute()
    assert (seen.count_clear == 11).all()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (mask()[0], "dims"),
        (mask().astype("float32"), "flags"),
        (mask().rename(time="date"), "dims"),
    ],
)
def test_what_cannot_be_counted_is_refused(bad, message):
    with pytest.raises(InvalidInputError, match=message):
        count(bad)


def test_missing_counts_and_missing_dates():
    with pytest.raises(InvalidInputError, match="count_wet"):
        frequency(xr.Dataset({"a": 1}))
    with pytest.raises(InvalidInputError, match="datetimes"):
        count_by_year(mask().drop_vars("time"))


def test_laws_are_registered():
    for name in ("count", "frequency", "count_by_year"):
        assert LAWS[f"lakecube.series.occurrence.{name}"].grade == "exact"


def _refuse(graph, keys, **kwargs):
    raise AssertionError("computed while building")
