"""Composites against pandas and NumPy."""

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import lakecube
from lakecube import methods
from lakecube.detect.composite import composite
from lakecube.detect.indices import index
from lakecube.errors import InvalidInputError, MissingBandError
from lakecube.io.lazy import source_of
from lakecube.kernels.mosaic import IS_JUDGED
from lakecube.names import OBSERVATION
from lakecube.synthetic.archive import make_archive
from lakecube.synthetic.cube import sentinel2_cube

DATES = ["2021-01-05", "2021-01-15", "2021-01-25", "2021-03-01", "2021-03-31", "2022-01-07"]


@pytest.fixture(scope="module")
def dates():
    cube = sentinel2_cube((34, 36), DATES, seed=4, clouds=[0.0, 0.3, 0.2, 0.4, 0.1, 0.0], missing=0.15,
                          bands=("green", "red", "nir", "swir16"))  # fmt: skip
    cube["observation"][3] = OBSERVATION["cloud"]
    cube["observation"][4, :5] = OBSERVATION["cloud"]
    return cube


def usable(cube):
    return cube[["green", "red", "nir", "swir16"]].where(cube.observation.copy(data=IS_JUDGED[cube.observation.values]))


def months(cube):
    return pd.DatetimeIndex(cube.time.values).to_period("M")


def test_time_is_the_first_day_and_bounds_hold_the_month(dates):
    out = composite(dates)
    np.testing.assert_array_equal(out.time.values, np.array(["2021-01", "2021-03", "2022-01"], "datetime64[ns]"))
    np.testing.assert_array_equal(out.time_bounds.values[:, 0], out.time.values)
    ends = np.array(["2021-02", "2021-04", "2022-02"], "datetime64[ns]")
    np.testing.assert_array_equal(out.time_bounds.values[:, 1], ends)
    assert out.time.attrs["bounds"] == "time_bounds"
    years = composite(dates, "year")
    np.testing.assert_array_equal(years.time_bounds.values[:, 1], np.array(["2022", "2023"], "datetime64[ns]"))


def test_median_is_that_of_pandas(dates):
    out = composite(dates).compute()
    for band in ("green", "swir16"):
        frame = pd.DataFrame(usable(dates)[band].values.reshape(6, -1))
        expected = frame.groupby(months(dates)).median().values.reshape(3, 34, 36)
        np.testing.assert_allclose(out[band].values, expected, rtol=1e-6)
        assert out[band].dtype == np.float32


def test_maximum_is_that_of_pandas(dates):
    out = composite(dates, choice="maximum").compute()
    frame = pd.DataFrame(usable(dates)["nir"].values.reshape(6, -1))
    np.testing.assert_array_equal(out["nir"].values, frame.groupby(months(dates)).max().values.reshape(3, 34, 36))


@pytest.mark.parametrize(("choice", "other"), [("mndwi", "mndwi"), ("ndvi", "ndvi")])
def test_all_bands_come_from_the_date_of_the_greatest_index(dates, choice, other):
    out = composite(dates, choice=choice).compute()
    seen = usable(dates)
    score = index(seen, other).values
    for k, month in enumerate(sorted(set(months(dates)))):
        rows = np.flatnonzero(months(dates) == month)
        part = np.where(np.isfinite(score[rows]), score[rows], -np.inf)
        best = part.argmax(0)
        for band in ("green", "red", "nir", "swir16"):
            expected = np.take_along_axis(seen[band].values[rows], best[None], 0)[0]
            known = np.isfinite(part.max(0))
            assert known.mean() > 0.5
            np.testing.assert_array_equal(out[band].values[k][known], expected[known])


def test_observation_is_the_best_state_of_the_period(dates):
    out = composite(dates).compute().observation.values
    seen = IS_JUDGED[dates.observation.values]
    for k, month in enumerate(sorted(set(months(dates)))):
        rows = np.flatnonzero(months(dates) == month)
        np.testing.assert_array_equal(IS_JUDGED[out[k]], seen[rows].any(0))
    assert (out[1, :5] == OBSERVATION["cloud"]).all()
    assert np.isnan(composite(dates).compute().green.values[1, :5]).all()


@pytest.mark.parametrize("choice", ["median", "mndwi", "ndvi", "maximum"])
def test_the_order_of_dates_does_not_matter(dates, choice):
    shuffled = dates.isel(time=[4, 0, 5, 2, 1, 3])
    xr.testing.assert_identical(composite(shuffled, choice=choice).compute(), composite(dates, choice=choice).compute())


def test_equals_go_to_the_earliest(dates):
    """Where the index is the same on all dates, the first date stands for the month, in any order."""
    one = dates.isel(time=[0, 0, 0]).assign_coords(time=np.array(DATES[:3], "datetime64[ns]")).copy(deep=True)
    for i in range(3):
        for band in ("green", "swir16"):
            one[band][i] = one[band][i] * np.float32(2**i)
    one["observation"][:] = OBSERVATION["clear"]
    for order in ([0, 1, 2], [2, 1, 0]):
        np.testing.assert_array_equal(composite(one.isel(time=order), choice="mndwi").green[0], one.green[0])


def test_one_date_a_month_is_itself(dates):
    out = composite(dates.isel(time=[5])).compute()
    np.testing.assert_array_equal(out.green.values, usable(dates).green.values[[5]])


def test_what_does_not_depend_on_time_stays(dates):
    np.testing.assert_array_equal(composite(dates).slope.values, dates.slope.values)


def test_items_stay_in_memory_and_the_month_knows_them(archive, no_compute):
    out = lakecube.open(archive.items_path).water.extract(composite="month")
    month = out.time.values[out.item_time_index.values].astype("datetime64[M]")
    np.testing.assert_array_equal(out.item_date.values.astype("datetime64[M]"), month)


def test_dark_pixels_raise_no_warning(dates):
    zero = dates.assign(green=dates.green * 0, swir16=dates.swir16 * 0)
    out = composite(zero, choice="mndwi").compute()
    assert set(np.unique(out.green.values[np.isfinite(out.green.values)])) == {0.0}


def test_refusals(dates):
    with pytest.raises(InvalidInputError, match="week"):
        composite(dates, "week")
    with pytest.raises(InvalidInputError, match="choice"):
        composite(dates, choice="mean")
    with pytest.raises(MissingBandError, match="swir16"):
        composite(dates.drop_vars("swir16"), choice="mndwi")


@pytest.mark.parametrize("choice", ["median", "mndwi", "ndvi", "maximum"])
def test_composites_read_from_files_equal_those_of_the_arrays(tmp_path, choice):
    made = make_archive(
        tmp_path, shape=(70, 64), dates=["2022-03-01", "2022-03-11", "2022-03-21", "2022-05-10"], clouds=0.3, seed=5
    )
    cube = lakecube.open(made.items_path, chunks=33, cloud_buffer=10)
    from_files = composite(cube, "month", choice=choice)
    from_arrays = composite(cube.chunk({"y": 70}), "month", choice=choice)
    assert source_of(from_files) is not None
    assert source_of(from_arrays) is None
    xr.testing.assert_identical(from_files.drop_vars("time").compute(), from_arrays.drop_vars("time").compute())
    water = methods.extract(cube, composite="month")
    again = methods.extract(cube.chunk({"y": 70}), composite="month")
    for name in ("water_mask", "reason", "rules_fired", "threshold"):
        np.testing.assert_array_equal(water[name].values, again[name].values)
    assert water.sizes["time"] == 2


def test_a_composite_takes_few_tasks(tmp_path):
    made = make_archive(tmp_path, shape=(64, 64), dates=["2022-03-01", "2022-03-11", "2022-05-10"], seed=5)
    water = methods.extract(lakecube.open(made.items_path, chunks=32), composite="month")
    (graph,) = dask.optimize(water[["water_mask", "reason", "rules_fired"]])
    assert len(dict(graph.__dask_graph__())) <= 6 * 2 * 4
