"""The laws, for every public array function: laziness, honest dtypes, chunk invariance, untouched inputs.

A function that takes a Dataset or DataArray and has no row in `chunked.LAWS` fails here, and so does a row
without an example below.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import dask
import dask.array as da
import numpy as np
import pytest
import rasterio
import xarray as xr
from dask.optimization import cull
from hypothesis import HealthCheck, given, settings
from rasterio.warp import transform_bounds

import lakecube
from lakecube import chunked, methods
from lakecube.chunked import LAWS
from lakecube.detect import composite, indices, judge, observe, threshold
from lakecube.io import files
from lakecube.io.lazy import source_of
from lakecube.methods import fusion, linknet50, pixelwise, provenance, sapcnn
from lakecube.models import predictor
from lakecube.models.pixel_model import PixelModel
from lakecube.names import BANDS, OBSERVATION
from lakecube.refine import aslic, crf, majority, outlines, superpixels
from lakecube.series import areas, components, lakes, months, occurrence, products, restore
from lakecube.synthetic.cube import sentinel2_cube
from tests.models import made, tiny
from tests.strategies import chunkings

ROOMS = ("lakecube.detect", "lakecube.refine", "lakecube.series", "lakecube.methods")
#: Of the room of networks what can be imported without torch.
ALONE = ("lakecube.models.predictor",)
SMALL_TILES = {"tile": 16, "margin": 6, "blend": 2, "sxy_gaussian": 1.0, "sxy_bilateral": 2.0}
GIVEN = {"mndwi": 0.08, "awei_sh": 0.01}


def public_functions():
    """Every public function of the science rooms that takes a Dataset or DataArray, by qualified name."""
    for room in ROOMS:
        package = importlib.import_module(room)
        modules = [importlib.import_module(i.name) for i in pkgutil.iter_modules(package.__path__, f"{room}.")]
        for module in (package, *modules):
            yield from public_functions_of(module)
    for name in ALONE:
        yield from public_functions_of(importlib.import_module(name))


def public_functions_of(module):
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if name.startswith("_") or function.__module__ != module.__name__:
            continue
        hints = [str(p.annotation) for p in inspect.signature(function).parameters.values()]
        returns = str(inspect.signature(function).return_annotation)
        if any("xr.Data" in h for h in hints) and "xr.Data" in returns:
            yield f"{module.__name__}.{name}"


@dataclass(frozen=True)
class Case:
    """One example of a function: what it is called with, from a cube.

    `computes` is for what cannot be built without looking: the length of a dim depends on the pixels. `needs` names a
    package without which the example is skipped.
    """

    name: str
    call: Callable[[xr.Dataset], xr.Dataset | xr.DataArray]
    label: str = ""
    computes: bool = False
    needs: str = ""


def given_threshold(cube):
    """Thresholds as an array in memory, another pair for every date."""
    n = cube.sizes["time"]
    rank = cube["time"].values.argsort().argsort()
    values = np.linspace(-0.05, 0.2, 2 * n, dtype=np.float32).reshape(n, 2)[rank]
    return xr.DataArray(values, dims=("time", "index"), coords={"time": cube["time"], "index": ["mndwi", "awei_sh"]})


def mask_of(cube):
    """A water mask that hangs on the cube's chunks."""
    wet = (cube["green"] > cube["swir16"]).astype("uint8")
    return wet.where(cube["observation"] == OBSERVATION["clear"], np.uint8(255)).astype("uint8")


def months_of(cube):
    """`month_state` of a few months of two years, each date of the cube in its own."""
    times = np.array(["2020-11-03", "2021-02-05", "2021-11-20"], "datetime64[ns]")
    rank = cube["time"].values.argsort().argsort()
    return months.month_state(mask_of(cube).assign_coords(time=times[np.arange(3)][rank]))


def change_of(cube):
    """Between the first and the last year that there are."""
    states = months_of(cube)
    years = states["year_month"].dt.year.values.tolist()
    return products.change(states, years[0], years[-1])


def restored_of(cube):
    """A mask, what was inferred where it is hidden, and the relief."""
    mask = mask_of(cube)
    guess = (cube["nir"] < 0.1).astype("uint8").where(mask == 255, np.uint8(255)).astype("uint8")
    return xr.Dataset({"water_mask": mask, "water_restored": guess, "elevation": cube["elevation"]})


def half_hidden(cube):
    """A water mask of which every date hides another third of the pixels."""
    place = cube["time"].dt.month + cube["y"].astype("int64") // 10 + cube["x"].astype("int64") // 20
    return mask_of(cube).where(place % 3 > 0, np.uint8(255)).astype("uint8")


def with_indices(cube):
    """The same with what the forest takes besides."""
    names = indices.indices(cube, ["mndwi", "awei_sh"])
    return names.assign(water_mask=half_hidden(cube), elevation=cube["elevation"])


def series_of(cube):
    """Areas of lakes that hang on the cube's chunks: every column is a lake, its rows are the hidden and the wet."""
    columns = mask_of(cube).isel(y=0).rename(x="lake", time="date").transpose("lake", "date").drop_vars("y")
    wet, hidden = columns == 1, columns == 255
    most = 100.0 + 0.25 * np.arange(columns.sizes["lake"])
    size, code = xr.DataArray(most, dims="lake"), np.arange(most.size, dtype=np.uint8) % 3
    names = dict.fromkeys(("size_class", "kind", "provisional"), ("lake", code))
    low = wet * size
    lake_areas = {
        "lake_area": low.where(~hidden),
        "lake_area_observed": low.where(~hidden),
        "lake_area_lower": low,
        "lake_area_upper": low + hidden * size,
        "lake_observed_fraction": (~hidden).astype(float),
    }
    return xr.Dataset(lake_areas | {"max_area": size}).assign(names).sortby("date")


def cells_of(cube):
    """Superpixels so small that a chunk can be smaller than the image."""
    return superpixels.superpixels(cube, step=2, iterations=1)


def network(cube, **options):
    """The method with a small model."""
    return linknet50.extract(cube, model=made.shared(), **options)


CASES = [
    Case("lakecube.detect.observe.checked", observe.checked),
    Case("lakecube.detect.observe.checked", lambda c: observe.checked(c.where(c["x"] > c["x"][0])), "floats"),
    Case("lakecube.detect.indices.index", lambda c: indices.index(c, "mndwi")),
    Case("lakecube.detect.indices.indices", indices.indices),
    Case("lakecube.detect.threshold.threshold", lambda c: threshold.threshold(c), "guarded"),
    Case("lakecube.detect.threshold.threshold", lambda c: threshold.threshold(c, "otsu"), "otsu"),
    Case("lakecube.detect.threshold.threshold", lambda c: threshold.threshold(c, "otsu", sample=1), "sampled"),
    Case("lakecube.detect.threshold.threshold", lambda c: threshold.threshold(c, "bimodal_tiles"), "tiles"),
    Case("lakecube.detect.threshold.threshold", lambda c: threshold.threshold(c, GIVEN), "given"),
    Case("lakecube.detect.judge.judge", lambda c: judge.judge(c, given_threshold(c), probability=True), "evidence"),
    Case("lakecube.detect.judge.judge", lambda c: judge.judge(c, given_threshold(c), rules="paper"), "paper"),
    Case("lakecube.detect.judge.judge", lambda c: judge.judge(c, given_threshold(c), rules="none"), "none"),
    Case("lakecube.detect.composite.composite", composite.composite, "median"),
    *(
        Case("lakecube.detect.composite.composite", functools.partial(composite.composite, period="year", choice=c), c)
        for c in ("mndwi", "ndvi", "maximum")
    ),
    Case("lakecube.methods.fusion.extract", lambda c: fusion.extract(c, threshold="otsu")),
    Case("lakecube.methods.extract", lambda c: methods.extract(c, composite="month", rules="paper")),
    Case("lakecube.refine.superpixels.superpixels", lambda c: superpixels.superpixels(c, step=3, iterations=1)),
    Case(
        "lakecube.refine.superpixels.superpixels",
        lambda c: superpixels.superpixels(c, step=4, iterations=2, colour="cielab", enforce_connectivity=False),
        "cielab",
    ),
    Case(
        "lakecube.refine.superpixels.superpixels",
        lambda c: superpixels.superpixels(c, step=2, iterations=1, exchange=False),
        "halo",
    ),
    Case(
        "lakecube.refine.aslic.aslic",
        lambda c: aslic.aslic(c, region=4, candidates=2, bands=["green", "nir", "swir16"]),
    ),
    Case("lakecube.refine.majority.majority", lambda c: majority.majority(mask_of(c), cells_of(c))),
    Case(
        "lakecube.refine.majority.superpixel_statistics",
        lambda c: majority.superpixel_statistics(c["green"], cells_of(c)),
    ),
    Case(
        "lakecube.refine.outlines.with_outlines",
        lambda c: outlines.with_outlines(fusion.extract(c, threshold=GIVEN), mask_of(c)),
    ),
    Case("lakecube.series.months.month_state", lambda c: months.month_state(mask_of(c))),
    Case("lakecube.series.months.months_of", lambda c: months.months_of(mask_of(c).to_dataset(name="water_mask"))),
    Case("lakecube.series.products.occurrence", lambda c: products.occurrence(months_of(c))),
    Case("lakecube.series.products.recurrence", lambda c: products.recurrence(months_of(c))),
    Case("lakecube.series.products.seasonality", lambda c: products.seasonality(months_of(c))),
    Case("lakecube.series.products.change", change_of),
    Case("lakecube.series.products.transitions", lambda c: products.transitions(months_of(c))),
    Case("lakecube.series.products.maximum_extent", lambda c: products.maximum_extent(months_of(c))),
    Case("lakecube.series.occurrence.checked_mask", lambda c: occurrence.checked_mask(mask_of(c))),
    Case("lakecube.series.occurrence.count", lambda c: occurrence.count(mask_of(c))),
    Case("lakecube.series.occurrence.count_by_year", lambda c: occurrence.count_by_year(mask_of(c))),
    Case("lakecube.series.occurrence.frequency", lambda c: occurrence.frequency(mask_of(c))),
    Case("lakecube.series.occurrence.frequency_by_year", lambda c: occurrence.frequency_by_year(mask_of(c))),
    Case("lakecube.series.components.extent", lambda c: components.extent(mask_of(c))),
    Case("lakecube.series.components.label", lambda c: components.label(components.extent(mask_of(c))), "corners"),
    Case(
        "lakecube.series.components.label",
        lambda c: components.label(components.extent(mask_of(c), min_frequency=0.6), connectivity=1),
        "edges",
    ),
    Case("lakecube.series.lakes.lakes", lambda c: lakes.lakes(mask_of(c), min_frequency=0.5), "seen", True),
    Case("lakecube.series.areas.reliable", lambda c: areas.reliable(series_of(c), min_observed=0.5)),
    Case("lakecube.series.areas.totals", lambda c: areas.totals(series_of(c), provisional=True)),
    Case("lakecube.series.areas.alerts", lambda c: areas.alerts(series_of(c))),
    Case("lakecube.series.lakes.lakes", lambda c: lakes.lakes(restored_of(c), connectivity=1), "restored", True),
]
CASES += [
    Case("lakecube.series.restore.restore", lambda c: restore.restore(half_hidden(c)), "lake"),
    Case("lakecube.series.restore.restore", lambda c: restore.restore(half_hidden(c), "frequency"), "frequency"),
    Case(
        "lakecube.series.restore.restore",
        lambda c: restore.restore(with_indices(c), "forest", trees=3, sample=300),
        "forest",
    ),
    Case("lakecube.series.restore.filled", lambda c: restore.filled(half_hidden(c))),
    Case("lakecube.refine.crf.refine", lambda c: crf.refine(mask_of(c), c, **SMALL_TILES), "tiles"),
    Case("lakecube.refine.crf.refine", lambda c: crf.refine(mask_of(c), c["green"], output="labels"), "labels"),
    Case(
        "lakecube.refine.crf.refine",
        lambda c: crf.refine(mask_of(c), c, classes=3, **SMALL_TILES),
        "classes",
    ),
    Case(
        "lakecube.refine.crf.refine",
        lambda c: crf.refine(mask_of(c), c, superpixels=cells_of(c), **SMALL_TILES),
        "two levels",
    ),
]


def stump():
    """A forest of one tree that splits nir at 0.1."""
    nodes = {"roots": [0], "feature": [1, -1, -1], "limit": [0.1, 0, 0], "left": [1, 0, 0], "right": [2, 0, 0],
             "share": [0.9, 0.9, 0.2]}  # fmt: skip
    return PixelModel("rf", ("green", "nir"), {name: np.array(v) for name, v in nodes.items()})


def margin():
    """A machine of two vectors."""
    arrays = {"mean": [0.1, 0.1], "deviation": [0.1, 0.1], "vectors": [[0.0, -1.0], [0.0, 1.0]],
              "weights": [2.0, -1.0], "intercept": 0.0, "gamma": 0.187}  # fmt: skip
    return PixelModel("svm", ("green", "nir"), {name: np.array(v) for name, v in arrays.items()})


CASES += [
    Case("lakecube.methods.pixelwise.extract", lambda c: pixelwise.extract(c, model=stump()), "rf"),
    Case("lakecube.methods.pixelwise.extract", lambda c: pixelwise.extract(c, kind="svm", model=margin()), "svm"),
    Case(
        "lakecube.methods.provenance.finished",
        lambda c: provenance.finished(mask_of(c).to_dataset(name="water_mask"), c, provenance.given_of(c), "m", "", {}),
    ),
    Case("lakecube.models.predictor.predict", lambda c: predictor.predict(c, made.shared(), tile=16, margin=16),
         "local", needs="torch"),
    Case("lakecube.models.predictor.predict", lambda c: predictor.predict(c, made.shared(window=32), margin=0, blend=0),
         "windows", needs="torch"),
    *(
        Case("lakecube.methods.linknet50.extract",
             functools.partial(network, tile=32, margin=16, refine=how, threshold=made.MIDDLE,
                               slic={"step": 3, "iterations": 1}, crf=SMALL_TILES), how, needs="torch")
        for how in ("slic+crf", "none")
    ),
    Case("lakecube.methods.sapcnn.extract",
         lambda c: sapcnn.extract(c, model=tiny.tiny_weights(), region=8, price=1.0), needs="torch"),
]  # fmt: skip
IDS = [f"{case.name.removeprefix('lakecube.')}{'-' if case.label else ''}{case.label}" for case in CASES]
every_case = pytest.mark.parametrize(
    "case",
    [
        pytest.param(c, marks=pytest.mark.skipif(bool(c.needs) and not find_spec(c.needs), reason=f"needs {c.needs}"))
        for c in CASES
    ],
    ids=IDS,
)


def test_every_public_array_function_has_a_row():
    functions = set(public_functions())
    assert len(functions) > 5
    assert not functions - set(LAWS), "declare their law with @law"


def test_every_row_has_an_example():
    list(public_functions())
    assert not {n for n in LAWS if n.startswith((*ROOMS, *ALONE))} - {case.name for case in CASES}


@pytest.mark.parametrize("name", sorted({case.name for case in CASES}))
def test_rows_state_their_promise(name):
    if name not in LAWS:
        pytest.fail(f"{name} has no row in LAWS")
    row = LAWS[name]
    assert row.grade in ("exact", "tile-defined", "sum")
    document = inspect.getdoc(row.function) or ""
    assert "Chunks:" in document, "the docstring states the chunk contract"
    assert "Law:" in document


# --- five things at once -------------------------------------------------------------------------------------------


def variables(result):
    return {result.name or "it": result} if isinstance(result, xr.DataArray) else dict(result.variables)


def assert_same_bits(a, b):
    """Equal names, dims, dtypes, coordinates and bytes (NaN by its bits)."""
    first, second = variables(a), variables(b)
    assert list(first) == list(second)
    for name in first:
        x, y = first[name], second[name]
        assert x.dims == y.dims, name
        assert x.dtype == y.dtype, name
        left, right = np.asarray(x.values), np.asarray(y.values)
        assert left.shape == right.shape, name
        same = left == right
        if left.dtype.kind == "f":
            same |= np.isnan(left) & np.isnan(right)
        assert same.all(), f"{name} differs in {int((~same).sum())} of {same.size}"


def lazily(case, cube):
    """Build without computing, check that the graph tells the truth, compute."""
    plain = {name: v for name, v in cube.variables.items() if isinstance(v._data, np.ndarray)}
    before = {name: v.copy(deep=True) for name, v in plain.items()}
    tasks = {name: v.data.name for name, v in cube.variables.items() if isinstance(v.data, da.Array)}
    attrs = dict(cube.attrs)

    def refuse(*args, **kwargs):
        raise AssertionError("computed while building")

    with dask.config.set(scheduler="synchronous" if case.computes else refuse):
        lazy = case.call(cube)
    assert cube.attrs == attrs
    corners = {}
    with dask.config.set(scheduler="synchronous"):
        done = lazy.compute()
    for name, v in variables(lazy).items():
        assert v.dtype == variables(done)[name].dtype, name
        assert v.shape == variables(done)[name].shape, name
        if isinstance(v.data, da.Array):
            assert v.data._meta.dtype == v.dtype, name
            corners[name] = v.data.blocks[(0,) * v.ndim]
    for name, block in zip(corners, dask.compute(*corners.values(), scheduler="synchronous"), strict=True):
        assert block.dtype == variables(lazy)[name].dtype
        assert block.shape == corners[name].shape, name
    for name, v in before.items():
        assert v.identical(cube.variables[name]), f"{name} was changed"
    assert tasks == {name: cube[name].data.name for name in tasks}
    return done


@pytest.fixture(scope="module")
def eager(cube):
    """Each case's answer from plain arrays; computed once."""
    known = {}

    def answer(case):
        if case not in known:
            known[case] = case.call(cube).compute()
        return known[case]

    return answer


BY_HAND = {
    "one chunk": {"time": -1, "y": -1, "x": -1},
    "a date each": {"time": 1, "y": -1, "x": -1},
    "a remainder of one pixel": {"time": 1, "y": (39, 1), "x": (1, 43)},
    "primes": {"time": (2, 1), "y": (7, 11, 13, 9), "x": (19, 23, 2)},
    "as small as the reach": {"time": 1, "y": (1, 1, 38), "x": (42, 1, 1)},
    "dates together": {"time": 3, "y": 30, "x": 23},
}


@every_case
@pytest.mark.parametrize("how", BY_HAND)
def test_by_hand(case, how, cube, eager):
    assert_same_bits(lazily(case, cube.chunk(BY_HAND[how])), eager(case))


@every_case
@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(chunks=chunkings((3, 40, 44)))
def test_random_chunks(case, cube, eager, chunks):
    assert_same_bits(lazily(case, cube.chunk(chunks)), eager(case))


@every_case
@pytest.mark.filterwarnings("ignore:Increasing number of chunks")
def test_bands_may_be_chunked_unalike(case, cube, eager):
    uneven = cube.chunk({"time": 1, "y": 20, "x": 44})
    uneven["swir16"] = cube["swir16"].chunk({"time": 3, "y": 33, "x": 25})
    uneven["observation"] = cube["observation"].chunk({"time": 2, "y": 40, "x": 19})
    uneven["slope"] = cube["slope"].chunk({"y": 17, "x": 44})
    assert_same_bits(lazily(case, uneven), eager(case))


@every_case
def test_dims_may_come_in_any_order(case, cube, eager):
    turned = cube.chunk({"time": 1, "y": 40, "x": 30}).transpose("x", "time", "y")
    done = lazily(case, turned)
    expected = eager(case)
    for name, v in variables(expected).items():
        found = variables(done)[name]
        assert set(found.dims) == set(v.dims), name
        np.testing.assert_array_equal(found.transpose(*v.dims).values, v.values, err_msg=name)


@every_case
def test_plain_arrays_are_left_alone(case, cube):
    frozen = cube.copy(deep=True)
    for v in frozen.variables.values():
        if isinstance(v._data, np.ndarray):
            v._data.flags.writeable = False
    before = frozen.copy(deep=True)
    case.call(frozen).compute()
    xr.testing.assert_identical(frozen, before)


@every_case
def test_a_chunk_where_nothing_was_seen(case, cube):
    holed = cube.copy(deep=True)
    for name in holed.data_vars:
        if "time" in holed[name].dims:
            holed[name][{"y": slice(20, 40), "x": slice(0, 22)}] = (
                OBSERVATION["not_acquired"] if name == "observation" else np.nan
            )
    whole = case.call(holed).compute()
    assert_same_bits(lazily(case, holed.chunk({"time": 1, "y": 20, "x": 22})), whole)


@every_case
@pytest.mark.parametrize("shape", [(1, 1), (1, 44), (5, 1)])
def test_images_smaller_than_the_reach(case, cube, shape):
    small = cube.isel(y=slice(0, shape[0]), x=slice(0, shape[1]))
    whole = case.call(small).compute()
    assert_same_bits(lazily(case, small.chunk({"time": 1, "y": 1, "x": 1 if shape[1] < 3 else 23})), whole)


@every_case
def test_one_date(case, cube):
    one = cube.isel(time=[1])
    assert_same_bits(lazily(case, one.chunk({"time": 1, "y": 31, "x": 31})), case.call(one).compute())


@every_case
def test_names_of_tasks_are_deterministic(case, cube):
    def keys():
        result = case.call(cube.chunk({"time": 1, "y": 20, "x": 30}))
        return [v.data.name for v in variables(result).values() if isinstance(v.data, da.Array)]

    assert keys() == keys()


@every_case
def test_dates_out_of_order_are_each_their_own(case, cube):
    """What is known per date does not depend on its neighbours in time."""
    order = [2, 0, 1]
    forward, shuffled = (
        case.call(cube.chunk({"time": 1})).compute(),
        case.call(cube.isel(time=order).chunk({"time": 1})).compute(),
    )
    if "time" in forward.dims and forward.sizes["time"] == 3:
        assert_same_bits(shuffled.sortby("time"), forward)
    else:
        for name, v in variables(forward).items():
            if not np.issubdtype(v.dtype, np.datetime64):
                np.testing.assert_array_equal(variables(shuffled)[name].values, v.values)


def test_otsu_per_chunk_breaks_the_law(cube):
    """The check itself is sharp: a threshold from each chunk alone is seen to differ."""
    lazy = cube.isel(time=[0]).chunk({"y": 20, "x": 22})

    def chunkwise(block):
        limit = threshold.threshold(block, "otsu")["threshold"].isel(index=0).values[:, None, None]
        return (indices.index(block, "mndwi") > limit).astype("uint8")

    parts = [chunkwise(lazy.isel(y=slice(y, y + 20), x=slice(x, x + 22)).compute()) for y in (0, 20) for x in (0, 22)]
    joined = xr.combine_by_coords([p.rename("wet").to_dataset() for p in parts])["wet"].sortby("y", ascending=False)
    whole = chunkwise(cube.isel(time=[0]))
    assert (joined.values != whole.sortby("y", ascending=False).values).any()


# --- cubes from `open` ---------------------------------------------------------------------------------------------


CHUNKS = [1024, 64, 41, {"y": 130, "x": 17}]


@pytest.fixture(scope="module")
def opened(archive):
    def open_(chunks=64, **options):
        return lakecube.open(archive.items_path, dem=archive.dem_path, chunks=chunks, **options)

    return open_


@pytest.fixture(scope="module")
def reference(opened):
    """The archive in memory, and what is found there with thresholds of the dates."""
    cube = opened(1024).compute()
    return cube, pixels(cube.water.extract(threshold="otsu", probability=True)).compute()


def pixels(extracted):
    """What was found, without the audit of the items, which only a cube from files has."""
    names = ("water_mask", "reason", "rules_fired", "water_probability", "threshold", "threshold_source")
    return extracted[[n for n in names if n in extracted]].reset_coords(drop=True)


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
def test_pixels_do_not_depend_on_chunks(opened, reference, chunks):
    assert_same_bits(opened(chunks).compute().drop_attrs(), reference[0].drop_attrs())


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
def test_the_fast_path_from_files_equals_the_general_one(opened, reference, chunks):
    cube = opened(chunks)
    assert source_of(cube) is not None
    fast = cube.water.extract(threshold="otsu", probability=True)
    assert_same_bits(pixels(fast).compute(), reference[1])
    general = cube.chunk({"time": 1, "y": 50, "x": 90})
    assert source_of(general) is None
    assert_same_bits(pixels(general.water.extract(threshold="otsu", probability=True)).compute(), reference[1])


@pytest.mark.parametrize(
    "options", [{}, {"threshold": "bimodal_tiles"}, {"rules": "paper"}, {"sample": 1, "threshold": "otsu"}], ids=str
)
def test_fast_and_general_agree_for_other_options(opened, options):
    cube = opened(41)
    fast = pixels(cube.water.extract(**options)).compute()
    assert_same_bits(fast, pixels(cube.compute().water.extract(**options)).compute())


def test_without_the_mask_too(opened):
    cube = opened(64, cloud_mask=False)
    assert_same_bits(pixels(cube.water.extract()).compute(), pixels(cube.compute().water.extract()).compute())


def test_a_changed_cube_is_not_read_past_the_change(opened):
    """Any change of the data ends the shortcut through the files."""
    cube = opened(64)
    for changed in (
        cube.isel(time=[0]), cube.isel(x=slice(3, 50)), cube.assign(green=cube.green * 2), cube.drop_vars("red"),
        cube.rename(green="swir16", swir16="green"), cube.where(cube.observation == 0),
        cube.sortby("time", ascending=False),
    ):  # fmt: skip
        assert source_of(changed) is None
    absent = next(band for band in BANDS if band not in cube)
    assert source_of(cube.assign({absent: cube.green * 0})) is None
    assert source_of(cube.assign_attrs(note="mine")) is not None
    brighter = cube.assign(swir16=cube.swir16 + 1)
    assert not (brighter.water.extract()["water_mask"] == 1).any().compute()


@pytest.mark.parametrize("step", [(0, 0), (10, 20), (37, 51)])
def test_two_requests_agree_beyond_the_reach(archive, opened, step):
    """With thresholds given; a request that begins elsewhere, in the middle of 20 m, 60 m and DEM pixels."""
    whole = opened(64).water.extract(threshold=GIVEN).compute()
    x, y = whole.x.values, whole.y.values
    top, left = step
    bbox = bounds(whole, y[top + 70] + 3, y[top] - 3, x[left] + 3, x[left + 80] - 3)
    part = opened(31, bbox=bbox).water.extract(threshold=GIVEN).compute()
    assert 60 < part.sizes["y"] < 130
    reach = LAWS["lakecube.detect.judge.judge"].reach
    inner = part.isel(y=slice(reach, -reach), x=slice(reach, -reach))
    same = whole.sel(y=inner.y, x=inner.x)
    for name in ("water_mask", "reason", "rules_fired"):
        np.testing.assert_array_equal(inner[name].values, same[name].values, err_msg=name)


def bounds(cube, south, north, west, east):
    """A bbox in degrees inside a rectangle of the cube's CRS."""
    return transform_bounds(cube["spatial_ref"].attrs["crs_wkt"], "EPSG:4326", west, south, east, north, densify_pts=2)


def test_bands_of_two_requests_are_the_same_bits(archive, opened):
    whole = opened(1024).compute()
    x, y = whole.x.values, whole.y.values
    part = opened(29, bbox=bounds(whole, y[90], y[7], x[13], x[101])).compute()
    assert_same_bits(part.drop_attrs(), whole.sel(y=part.y, x=part.x).drop_attrs())


def test_building_reads_nothing(archive, no_compute, opened, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("a file was opened")

    monkeypatch.setattr(rasterio, "open", never)
    monkeypatch.setattr(files, "open_source", never)
    cube = lakecube.open(archive.items_path)
    out = cube.water.extract(threshold="otsu", composite="month")
    assert out.water_mask.chunks is not None


def test_a_frozen_graph_gives_the_same_and_computes_thresholds_no_more(opened):
    out = opened(64).water.extract(threshold="otsu")
    known = {name: out[name].values for name in ("threshold", "threshold_source")}
    frozen = chunked.freeze(out, known)
    assert_same_bits(frozen.compute(), out.compute())
    layers = frozen.water_mask.data.dask.layers
    assert not [name for name in layers if "histogram" in name]
    assert [name for name in out.water_mask.data.dask.layers if "histogram" in name]
    moved = {**known, "threshold": np.full_like(known["threshold"], 5)}
    assert not (chunked.freeze(out, moved).water_mask == 1).any().compute()
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_array_equal(chunked.freeze(out, moved).threshold.values, moved["threshold"])


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_the_scheduler_does_not_matter(opened, reference, scheduler):
    out = opened(41).water.extract(threshold="otsu", probability=True)
    assert_same_bits(pixels(out).compute(scheduler=scheduler), reference[1])


def test_tasks_per_chunk_and_date_stay_few(archive):
    """At most six, reading included."""
    out = lakecube.open(archive.items_path, chunks=41).water.extract()
    (optimised,) = dask.optimize(out[["water_mask", "reason", "rules_fired"]])
    keys = list(dask.core.flatten(optimised.__dask_keys__()))
    graph, _ = cull(dict(optimised.__dask_graph__()), keys)
    assert len(graph) / out.water_mask.data.npartitions <= 6


def test_random_cubes_of_many_kinds():
    """All cloud, all water, no water, nothing: the law holds and nothing is invented."""
    base = sentinel2_cube((33, 35), 1, seed=1)
    for state, reflectance in itertools.product(("clear", "cloud", "not_acquired"), (0.0, 0.05, np.nan, -0.1, 3.0)):
        cube = base.copy(deep=True)
        for name in cube.data_vars:
            if "time" in cube[name].dims:
                cube[name][:] = OBSERVATION[state] if name == "observation" else np.float32(reflectance)
        whole = cube.water.extract().compute()
        assert_same_bits(cube.chunk({"time": 1, "y": 10, "x": 11}).water.extract().compute(), whole)
        if state != "clear":
            assert (whole.water_mask == 255).all()
            assert (whole.reason == OBSERVATION[state]).all()
        if np.isnan(reflectance):
            assert (whole.water_mask == 255).all()
