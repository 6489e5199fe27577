"""Lakes of a stack of masks: an oracle made of SciPy and plain sums, and promises that hold for any mask."""

from __future__ import annotations

import dask
import numpy as np
import pyproj
import pytest
import xarray as xr
from scipy import ndimage

from lakecube.errors import InvalidInputError
from lakecube.kernels.lakes import AREA_QUANTA
from lakecube.names import LAKE_KIND, SIZE_CLASS
from lakecube.series import lakes as module
from lakecube.series.components import extent
from lakecube.series.lakes import lakes
from lakecube.series.pixel_area import PixelGrid, area_quanta
from lakecube.series.shape import LakeParams, kinds, size_classes

UTM = pyproj.CRS("EPSG:32648").to_wkt()
SHAPE = (48, 60)


def stack(seed=0, dates=6, crs=UTM, cloud=0.3):
    """A mask of lakes that breathe under drifting clouds."""
    rng = np.random.default_rng(seed)
    ground = ndimage.gaussian_filter(rng.normal(size=SHAPE), 2.5)
    ground /= ground.std()
    level = np.sin(np.arange(dates)) * 0.4 - 0.9
    states = (ground < level[:, None, None]).astype(np.uint8)
    clouds = ndimage.gaussian_filter(rng.normal(size=states.shape), (0, 5, 5))
    states[clouds < np.quantile(clouds, cloud)] = 255
    time = np.datetime64("2020-01-05", "ns") + np.arange(dates) * np.timedelta64(11, "D")
    coords = {"time": time, "y": 3_000_000 - 10.0 * np.arange(SHAPE[0]), "x": 600_000 + 10.0 * np.arange(SHAPE[1])}
    mask = xr.DataArray(states, dims=("time", "y", "x"), coords=coords, name="water_mask")
    return mask if crs is None else mask.assign_coords(spatial_ref=((), 0, {"crs_wkt": crs}))


def areas_of_pixels(mask):
    return np.broadcast_to(area_quanta(PixelGrid.of(mask), (0, SHAPE[0]), (0, SHAPE[1])), SHAPE) / AREA_QUANTA


def test_lakes_are_what_scipy_and_sums_find():
    mask = stack()
    restored = xr.zeros_like(mask).where(mask.values != 255, 1 - mask.isel(time=0) % 2).where(mask == 255, 255)
    restored[3] = 255
    found = lakes(xr.Dataset({"water_mask": mask, "water_restored": restored.astype("uint8")})).compute()
    wet, clear = (mask == 1).sum("time").values, (mask != 255).sum("time").values
    reference = (wet >= 2) & (wet >= 0.15 * clear)
    parts = []
    for inside in (reference, (wet > 0) & ~reference):
        labels, n = ndimage.label(inside, np.ones((3, 3)))
        parts += [labels == k for k in range(1, n + 1)]
    parts.sort(key=lambda inside: inside.argmax())
    area = areas_of_pixels(mask)
    assert found["lake"].values.tolist() == list(range(1, len(parts) + 1))
    assert len(parts) > 5
    for k, inside in enumerate(parts):
        assert (found["lake_label"].values[inside] == k + 1).all()
        one = found.isel(lake=k)
        assert one["provisional"] == int(not reference[inside].all())
        assert one["max_area"] == pytest.approx(area[inside].sum(), rel=1e-12)
        for t in range(mask.sizes["time"]):
            state, guess = mask.values[t][inside], restored.values[t][inside]
            there = area[inside]
            low, hidden = there[state == 1].sum(), there[state == 255].sum()
            values = {name: float(one[name][t]) for name in module.AREAS}
            assert values["lake_area_lower"] == pytest.approx(low, rel=1e-12)
            assert values["lake_area_upper"] == pytest.approx(low + hidden, rel=1e-12)
            assert values["lake_observed_fraction"] == pytest.approx(1 - hidden / there.sum(), abs=1e-12)
            best = low + there[(state == 255) & (guess == 1)].sum()
            best = np.nan if (guess[state == 255] == 255).any() else best
            assert values["lake_area"] == pytest.approx(best, rel=1e-12, nan_ok=True)
            seen = low if (state != 255).any() else np.nan
            assert values["lake_area_observed"] == pytest.approx(seen, rel=1e-12, nan_ok=True)
    assert (found["lake_label"].values > 0).sum() == sum(p.sum() for p in parts)


@pytest.mark.parametrize("crs", [UTM, None, pyproj.CRS("EPSG:3413").to_wkt()])
@pytest.mark.parametrize("parameters", [{}, {"min_frequency": 0.9, "connectivity": 1}, {"min_wet": 6}], ids=str)
def test_no_water_is_lost(crs, parameters):
    """The areas seen of all lakes are the wet pixels times their areas: nothing is dropped, nothing counted twice."""
    mask = stack(1, crs=crs)
    found = lakes(mask, **parameters)
    expected = ((mask.values == 1) * areas_of_pixels(mask)).sum(axis=(1, 2))
    np.testing.assert_allclose(found["lake_area_observed"].sum("lake"), expected, rtol=1e-12)
    np.testing.assert_array_equal(found["lake_area_lower"].sum("lake"), found["lake_area_observed"].sum("lake"))
    assert set(found["provisional"].values) == {0, 1}


def test_areas_come_in_chunks_of_lakes(monkeypatch):
    mask = stack(2, cloud=0.5)
    whole = lakes(mask, min_frequency=0.6).compute()
    monkeypatch.setattr(module, "LAKES_AT_ONCE", 3)
    lazy = lakes(mask.chunk({"time": 2, "y": 17, "x": 60}), min_frequency=0.6)
    assert len(lazy["lake_area"].chunks[0]) > 3
    xr.testing.assert_identical(lazy.compute(), whole)


def test_one_date_needs_to_be_wet_once():
    mask = stack(3).isel(time=[0])
    assert not lakes(mask)["provisional"].any()
    assert set(np.unique(extent(mask))) == {0, 1, 255}


def test_nothing_to_be_found():
    dry = xr.zeros_like(stack())
    for mask in (dry, dry + np.uint8(255), dry.isel(time=slice(0, 0))):
        found = lakes(mask.chunk({"y": 20})).compute()
        assert found.sizes["lake"] == 0
        assert found["lake_area"].shape == (0, mask.sizes["time"])
        assert not found["lake_label"].any()


def test_lakes_that_may_go_on_beyond_the_data_say_so():
    mask = xr.zeros_like(stack(crs=None))
    mask[:, 10:14, 10:14] = 1
    mask[:, 20:24, 56:] = 1
    mask[:, 30:34, 30:34] = 1
    mask[:, 34, 34] = 255
    assert lakes(mask)["touches_edge"].values.tolist() == [0, 1, 1]


def test_shape_size_and_kind():
    mask = xr.zeros_like(stack(crs=None))
    mask[:, 1, 1:4] = 1  # 3 pixels
    mask[:, 4:8, 4:8] = 1  # a square
    mask[:, 12, :58] = 1  # a long line
    mask[:, 20:40, 3:45] = 1
    found = lakes(mask.assign_coords(y=mask.y * 3.5, x=mask.x * 3.5)).compute()
    assert found["kind"].values.tolist() == [2, 0, 0, 0]
    np.testing.assert_allclose(found["shape_index"], [8 / 4 / 3**0.5, 1, 118 / 4 / 58**0.5, 124 / 4 / 840**0.5])
    assert found["size_class"].values.tolist() == [0, 0, 0, 2]
    assert found["max_area"].values.tolist() == [n * 35.0**2 for n in (3, 16, 58, 840)]
    narrow = lakes(mask, lake_shapes=((1, 2),), min_pixels=1, size_limits=(1.0, 10_000.0))
    assert narrow["kind"].values.tolist() == [0, 0, 1, 0]
    assert narrow["size_class"].values.tolist() == [1, 1, 1, 2]


def test_centres_and_elevations():
    mask = xr.zeros_like(stack())
    mask[:, 10:13, 20:25] = 1
    elevation = (mask.isel(time=0, drop=True) * 0 + mask["y"] * 0.1).astype("float32")
    found = lakes(xr.Dataset({"water_mask": mask, "elevation": elevation})).compute()
    lon, lat = pyproj.Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform(600_220, 2_999_890)
    assert found["longitude"].values == pytest.approx([lon], abs=1e-9)
    assert found["latitude"].values == pytest.approx([lat], abs=1e-9)
    assert found["elevation_min"].values == pytest.approx([299_988.0], abs=0.1)
    assert found["elevation_max"].values == pytest.approx([299_990.0], abs=0.1)


def test_areas_are_lazy_and_lakes_are_time_series():
    found = lakes(stack().chunk({"time": 1, "y": 20}))
    assert found["lake_area"].dtype == np.float64
    assert all(dask.is_dask_collection(found[name].data) for name in ("lake_label", *module.AREAS))
    assert found["lake"].attrs["cf_role"] == "timeseries_id"
    assert {"longitude", "latitude", "spatial_ref"} <= set(found.coords)
    assert found["date"].dtype.kind == "M"


def test_what_was_given_wrong_is_said():
    mask = stack()
    with pytest.raises(InvalidInputError, match="lakes has no parameter min_freq; it has min_frequency"):
        lakes(mask, min_freq=0.3)
    with pytest.raises(InvalidInputError, match="min_frequency=10: a share from 0 to 1 is needed"):
        lakes(mask, min_frequency=10)
    with pytest.raises(InvalidInputError, match="no water_mask here"):
        lakes(xr.Dataset())
    with pytest.raises(InvalidInputError, match="have other dates"):
        lakes(xr.Dataset({"water_mask": mask, "water_restored": mask.rename(time="date").isel(date=[0, 1])}))
    with pytest.raises(InvalidInputError, match="holds flags"):
        lakes(mask.astype(float))


def test_borders_of_size_and_shape():
    params = LakeParams()
    area = np.array([1e5 - 1, 1e5, 1e6, 1e6 + 1])
    assert size_classes(area, params).tolist() == [SIZE_CLASS[name] for name in ("small", "medium", "medium", "large")]
    index, pixels = np.array([0.9, 0.9995, 1, 4, 4.01, 6.99, 7, 10, 10.01, 2]), np.array([10] * 9 + [9])
    expected = ["river", "lake", "lake", "lake", "river", "river", "lake", "lake", "river", "too_small"]
    assert kinds(index, pixels, params).tolist() == [LAKE_KIND[name] for name in expected]
