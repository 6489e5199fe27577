"""The products of JRC against slow loops over pixels, written from the definitions and not from the kernels."""

import itertools
from collections import defaultdict

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import lakecube  # noqa: F401  registers .water
from lakecube.errors import InvalidInputError
from lakecube.names import TRANSITION, VARIABLES
from lakecube.series import products
from tests.series.test_months import often
from tests.series.test_occurrence import CHUNKS, _refuse

SIZE = (9, 7)
FIRST, LAST = (2016, 2017), (2018, 2019)


def states(seed=0, chunks=None):
    """Four years, some months missing; pixels of every kind: always land, always water, seasonal, rarely seen."""
    rng = np.random.default_rng(seed)
    months = pd.date_range("2016-02-01", "2019-11-01", freq="MS")
    months = months[np.sort(rng.choice(len(months), 37, replace=False))]
    wet = rng.choice([0.0, 0.05, 0.5, 0.95, 1.0], SIZE)
    seen = rng.choice([0.05, 0.4, 1.0], SIZE)
    season = rng.integers(0, 12, SIZE)
    within = (np.asarray(months.month)[:, None, None] - season) % 12 < 5
    water = rng.random((len(months), *SIZE)) < np.where(rng.random(SIZE) < 0.5, wet, 1.0) * within + wet * ~within
    values = np.where(water, 2, 1).astype("uint8")
    values[rng.random(values.shape) < 0.05] = 3
    values[rng.random(values.shape) > seen] = 0
    values[:, 0, 0] = 0
    values[:, 0, 1] = 1
    values[:, 0, 2] = 2
    out = xr.DataArray(
        values, dims=("year_month", "y", "x"), coords={"year_month": months, "y": range(9), "x": range(7)}
    )
    return (
        out if chunks is None else out.chunk({("year_month" if dim == "time" else dim): n for dim, n in chunks.items()})
    )


def looks(array, y, x):
    """Of one pixel: {year: {month: had water}} of what was seen."""
    out = defaultdict(dict)
    for when, state in zip(pd.DatetimeIndex(array.year_month), array.values[:, y, x], strict=True):
        if state:
            out[when.year][when.month] = state in (2, 3)
    return dict(out)


def monthly(seen, years):
    """{month: share of the years that saw it with water}."""
    pooled = defaultdict(list)
    for year in years:
        for month, water in seen.get(year, {}).items():
            pooled[month].append(water)
    return {month: float(np.mean(v)) for month, v in sorted(pooled.items())}


def class_of(shares, least=1):
    """none, land, seasonal or permanent, of a year or of the typical year of a period."""
    wet = [share >= 0.5 for share in shares.values()]
    if len(wet) < least:
        return None
    return "permanent" if all(wet) else "seasonal" if any(wet) else "land"


def slow_occurrence(seen, years):
    shares = monthly(seen, years)
    return np.mean(list(shares.values())) if shares else np.nan


def slow_recurrence(seen, years):
    season = {month for year in years for month, water in seen.get(year, {}).items() if water}
    if not any(seen.get(year) for year in years):
        return np.nan
    observed = [year for year in years if season & set(seen.get(year, {}))]
    return np.mean([any(seen[year].values()) for year in observed]) if observed else 0.0


def slow_seasonality(seen, years, least=1):
    shares = monthly(seen, years)
    kind = class_of(shares, least)
    return 255 if kind is None else 12 if kind == "permanent" else sum(share >= 0.5 for share in shares.values())


def slow_change(seen, first, last):
    before, after = monthly(seen, first), monthly(seen, last)
    both = before.keys() & after.keys()
    return 100 * np.mean([after[m] - before[m] for m in both]) if both else np.nan


def slow_transition(seen, first, last, between, least=1):
    """By the names of the classes."""
    before, after = class_of(monthly(seen, first), least), class_of(monthly(seen, last), least)
    if before is None or after is None:
        return TRANSITION["unknown"]
    if before == after == "land":
        kinds = {class_of(monthly(seen, [year]), least) for year in between}
        name = next((f"ephemeral_{k}" for k in ("permanent", "seasonal") if k in kinds), "not_water")
    elif before == after:
        name = before
    else:
        name = f"new_{after}" if before == "land" else f"lost_{before}" if after == "land" else f"{before}_to_{after}"
    return TRANSITION[name]


def slow_jrc_transition(seen, least=1):
    observed = sorted(year for year in seen if len(seen[year]) >= least)
    if len(observed) < 2:
        return TRANSITION["unknown"]
    return slow_transition(seen, observed[:1], observed[-1:], observed, least)


def whole(period):
    return range(period[0], period[1] + 1)


EVERY = range(2016, 2020)
CASES = {
    "water_occurrence": (products.occurrence, lambda s: slow_occurrence(s, EVERY)),
    "water_recurrence": (products.recurrence, lambda s: slow_recurrence(s, EVERY)),
    "water_seasonality": (products.seasonality, lambda s: slow_seasonality(s, EVERY)),
    "water_seasonality of a year": (lambda m: products.seasonality(m, 2017), lambda s: slow_seasonality(s, [2017])),
    "water_seasonality, well seen": (
        lambda m: products.seasonality(m, (2017, 2019), least_months=4),
        lambda s: slow_seasonality(s, range(2017, 2020), 4),
    ),
    "water_change": (lambda m: products.change(m, FIRST, LAST), lambda s: slow_change(s, whole(FIRST), whole(LAST))),
    "water_transition": (products.transitions, slow_jrc_transition),
    "water_transition, well seen": (
        lambda m: products.transitions(m, least_months=3), lambda s: slow_jrc_transition(s, 3),
    ),
    "water_transition of periods": (
        lambda m: products.transitions(m, 2016, (2018, 2019)),
        lambda s: slow_transition(s, [2016], range(2018, 2020), EVERY),
    ),
    "water_extent": (
        products.maximum_extent,
        lambda s: 255 if not s else int(any(w for year in s.values() for w in year.values())),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_products_against_slow_loops(name):
    function, slow = CASES[name]
    spec = VARIABLES[name.replace(",", " ").split()[0]]
    kinds = set()
    for seed in range(4):
        array = states(seed)
        got = function(array)
        assert got.name == spec.name and got.dtype == spec.dtype and got.dims == spec.dims
        expected = np.array([[slow(looks(array, y, x)) for x in range(SIZE[1])] for y in range(SIZE[0])])
        np.testing.assert_allclose(got.values.astype(float), expected, rtol=1e-6, atol=1e-6)
        kinds |= set(np.unique(expected[~np.isnan(expected)]))
    assert len(kinds) >= (3 if name == "water_extent" else 5), "a test of few classes"


@pytest.fixture(scope="module")
def eager():
    return {name: function(states()).values for name, (function, _) in CASES.items()}


@pytest.mark.parametrize("chunks", [CHUNKS[1], CHUNKS[3]])
def test_products_are_lazy_and_exact_for_every_chunking(chunks, eager):
    chunks = {**chunks, "time": 5}
    with dask.config.set(scheduler=_refuse):
        lazy = {name: function(states(chunks=chunks)) for name, (function, _) in CASES.items()}
    for name, array in lazy.items():
        assert isinstance(array.data, da.Array) and array.data.dtype == array.values.dtype
        np.testing.assert_array_equal(array, eager[name])


def test_all_ten_transitions():
    """Each class from a history that is told by hand."""
    land, seasonal, permanent = [1] * 12, [1] * 6 + [2] * 6, [2] * 12
    told = {
        "permanent": [permanent, land, permanent], "new_permanent": [land, seasonal, permanent],
        "lost_permanent": [permanent, permanent, land], "seasonal": [seasonal, land, seasonal],
        "new_seasonal": [land, land, seasonal], "lost_seasonal": [seasonal, land, land],
        "seasonal_to_permanent": [seasonal, land, permanent], "permanent_to_seasonal": [permanent, land, seasonal],
        "ephemeral_permanent": [land, permanent, land], "ephemeral_seasonal": [land, seasonal, land],
        "not_water": [land, land, land], "unknown": [[0] * 12, permanent, [0] * 12],
    }  # fmt: skip
    values = np.array([list(itertools.chain(*years)) for years in told.values()], "uint8").T[:, :, None]
    array = xr.DataArray(
        values, dims=("year_month", "y", "x"), coords={"year_month": pd.date_range("2001-01-01", periods=36, freq="MS")}
    )
    assert set(told) == set(TRANSITION)
    for given in ({}, {"first": 2001, "last": 2003}):
        np.testing.assert_array_equal(products.transitions(array, **given)[:, 0], [TRANSITION[name] for name in told])


def test_laws_of_the_products():
    """Water is gained as it is lost; more looks at land never raise; the parts hold together."""
    array = states(7).compute()
    forward, back = (products.change(array, *pair).values for pair in ((FIRST, LAST), (LAST, FIRST)))
    np.testing.assert_array_equal(forward, -back)
    assert np.nanmax(np.abs(forward)) <= 100
    occurrence, recurrence = products.occurrence(array).values, products.recurrence(array).values
    extent, season = products.maximum_extent(array).values, products.seasonality(array).values
    np.testing.assert_array_equal(np.isnan(occurrence), extent == 255)
    np.testing.assert_array_equal(season == 255, extent == 255)
    np.testing.assert_array_equal(occurrence > 0, extent == 1)
    np.testing.assert_array_equal(recurrence > 0, extent == 1)
    assert np.nanmax(occurrence) == np.nanmax(recurrence) == 1
    turned = array[::-1].sortby("year_month")
    np.testing.assert_array_equal(products.transitions(turned), products.transitions(array))
    dry = xr.where(array == 2, np.uint8(1), array).assign_coords(year_month=array.year_month).astype("uint8")
    assert (products.occurrence(dry) <= products.occurrence(array)).where(extent != 255, True).all()


def test_a_record_without_months():
    none = states()[:0]
    assert (products.maximum_extent(none) == 255).all()
    assert products.occurrence(none).isnull().all()
    assert (products.transitions(none) == 255).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: products.occurrence(m.rename(year_month="time")), "month_state"),
        (lambda m: products.occurrence(m.astype("int16")), "int16"),
        (lambda m: products.seasonality(m.drop_vars("year_month"), 2017), "datetimes"),
        (lambda m: products.seasonality(m, 1999), "2016 to 2019"),
        (lambda m: products.change(m, (2017, 2016), 2018), "ends before"),
        (lambda m: products.change(m, "soon", 2018), "a period is"),
        (lambda m: products.transitions(m, first=2016), "both periods"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call(states())


def test_the_accessor_makes_the_products_from_months_or_from_the_mask():
    water = often().to_dataset(name="water_mask")
    months = water.water.month_state()
    kept = xr.Dataset({"month_state": months})
    for dataset in (water, kept):
        for name in ("occurrence", "recurrence", "seasonality", "transitions", "maximum_extent"):
            xr.testing.assert_identical(getattr(dataset.water, name)(), getattr(products, name)(months))
        xr.testing.assert_identical(dataset.water.change(2019, 2020), products.change(months, 2019, 2020))
    with pytest.raises(InvalidInputError, match="water_mask"):
        xr.Dataset({"a": 1}).water.occurrence()
