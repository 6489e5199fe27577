import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from lakecube.errors import InvalidInputError
from lakecube.kernels import months as kernels
from lakecube.names import MONTH_STATE, VARIABLES
from lakecube.series.months import month_state
from tests.series.test_occurrence import CHUNKS, _refuse, mask


def often(chunks=None):
    """Several dates in most months, none in some, out of order."""
    water = mask(times=33)
    days = pd.date_range("2019-11-03", periods=33, freq="11D").values.copy()
    days[20:] += np.timedelta64(100, "D")
    water = water.assign_coords(time=np.random.default_rng(2).permutation(days))
    return water if chunks is None else water.chunk({**chunks, "time": 7})


def expected(water):
    """By pandas, pixel by pixel."""
    frame = water.to_series().reset_index(name="state")
    frame["year_month"] = frame.time.dt.to_period("M").dt.to_timestamp()
    bits = frame.assign(land=frame.state == 0, water=frame.state == 1).groupby(["year_month", "y", "x"])
    either = bits[["land", "water"]].any()
    return (either.land * MONTH_STATE["land"] + either.water * MONTH_STATE["water"]).to_xarray()


@pytest.mark.parametrize("chunks", CHUNKS)
def test_states_against_pandas_for_every_chunking(chunks):
    water = often(chunks)
    with dask.config.set(scheduler=_refuse):
        lazy = month_state(water)
    spec = VARIABLES["month_state"]
    assert isinstance(lazy.data, da.Array) and lazy.dtype == lazy.values.dtype == spec.dtype and lazy.dims == spec.dims
    truth = expected(often())
    np.testing.assert_array_equal(lazy, truth)
    np.testing.assert_array_equal(lazy["year_month"], truth["year_month"])
    assert lazy["year_month"].dtype == "datetime64[ns]"
    assert set(np.unique(lazy)) == {0, 1, 2, 3}


def test_months_without_dates_are_left_out():
    axis = month_state(often())["year_month"].values.astype("datetime64[M]")
    assert (np.diff(axis) > np.timedelta64(1, "M")).any()
    assert (np.diff(axis) > np.timedelta64(0, "M")).all()


def test_parts_join_by_or_in_any_order():
    """The property that lets the store add dates: state(A + B) = state(A) | state(B)."""
    water = often()
    whole = month_state(water).compute()
    for cut in (1, 10, 32):
        halves = [month_state(part).compute().reindex_like(whole, fill_value=0) for part in (water[cut:], water[:cut])]
        xr.testing.assert_equal(halves[0] | halves[1], whole)


def test_the_kernel_and_its_axis():
    water = often()
    axis, index = kernels.month_axis(water["time"].values)
    states = np.stack([kernels.month_state(water.values[index == k]) for k in range(axis.size)])
    np.testing.assert_array_equal(states, month_state(water))
    assert (kernels.month_state(water.values[:0]) == 0).all()
    for unit in ("s", "D"):
        np.testing.assert_array_equal(kernels.month_axis(water["time"].values.astype(f"datetime64[{unit}]"))[0], axis)


def test_no_dates_and_booleans():
    none = month_state(mask()[:0])
    assert none.shape == (0, 9, 7) and none.dtype == none.values.dtype == "uint8"
    assert set(np.unique(month_state(mask() == 1))) == {1, 2}


def test_what_has_no_months_is_refused():
    with pytest.raises(InvalidInputError, match="datetimes"):
        month_state(mask().drop_vars("time"))
    with pytest.raises(InvalidInputError, match="dims"):
        month_state(mask()[0])
