"""The real scenes end to end, through `lakecube.open` and the default `extract`: one default, nothing set per scene."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401  registers .rio
import xarray as xr
from scipy import ndimage

import lakecube
from lakecube.names import OBSERVATION, UNKNOWN, WATER

pytestmark = pytest.mark.filterwarnings("ignore:.*without a scale")


def iou(water, reference):
    """Intersection over union; 1 where neither has any."""
    union = (water | reference).sum()
    return 1.0 if union == 0 else float((water & reference).sum() / union)


@pytest.fixture(scope="module")
def t11upt(data):
    def extract(collection, **options):
        cube = lakecube.open(data / "t11upt" / "items.json", collections=collection, **options)
        return cube, cube.water.extract().compute()

    known = {}

    def once(collection, **options):
        key = collection, *sorted(options.items())
        if key not in known:
            known[key] = extract(collection, **options)
        return known[key]

    return once


@pytest.fixture(scope="module")
def scl(data):
    with rasterio.open(data / "t11upt" / "sentinel-2" / "scl.tif") as file:
        return file.read(1)


def test_t11upt_agrees_with_the_products_own_water(t11upt, scl):
    _, out = t11upt("sentinel-2-l2a")
    mask = out.water_mask.values[0]
    assert mask.shape == scl.shape
    judged = mask != UNKNOWN
    assert iou((mask == WATER)[judged], (scl == 6)[judged]) >= 0.76
    assert iou(mask == WATER, scl == 6) >= 0.76


def test_t11upt_reservoir_has_one_area_from_two_sensors(t11upt):
    areas = []
    for collection in ("sentinel-2-l2a", "landsat-c2-l2"):
        _, out = t11upt(collection)
        water = out.water_mask.values[0] == WATER
        size = float(out.x[1] - out.x[0])
        if collection == "landsat-c2-l2":
            box = out.x.values[[0, -1]], out.y.values[[0, -1]]
        areas.append((water, size, out))
    # both on the ground that Landsat's crop shows
    (left, right), (top, bottom) = box
    found = []
    for water, size, out in areas:
        inside = out.water_mask[0].sel(x=slice(left, right), y=slice(top, bottom)).values == WATER
        label, n = ndimage.label(inside)
        found.append(ndimage.sum_labels(inside, label, range(1, n + 1)).max() * size**2 / 1e6)
        assert water.any()
    assert min(found) > 13
    assert abs(found[0] - found[1]) / max(found) <= 0.04, found


def test_t11upt_landsat_lies_on_its_own_grid(t11upt, data):
    cube, _ = t11upt("landsat-c2-l2")
    with rasterio.open(data / "t11upt" / "landsat-8" / "green.tif") as file:
        numbers, a, c, f = file.read(1), file.transform.a, file.transform.c, file.transform.f
    assert float(cube.x[0]) == c + a / 2
    assert float(cube.y[0]) == f - a / 2
    green = cube.green[0].values
    observed = np.isfinite(green)
    np.testing.assert_allclose(green[observed], (numbers * 2.75e-5 - 0.2)[observed], atol=1e-6)
    assert (cube.observation.values[0][observed] == OBSERVATION["clear_cloud_unknown"]).all()
    assert (~observed[numbers == 0]).all()


def test_t11upt_rock_faces_in_the_west_are_not_water(t11upt, scl):
    """West of the reservoir, off what the product calls water, next to nothing is."""
    _, out = t11upt("sentinel-2-l2a")
    west = np.zeros(scl.shape, bool)
    west[:, : scl.shape[1] // 3] = True
    far = ndimage.distance_transform_edt(scl != 6) > 3
    false = (out.water_mask.values[0] == WATER) & west & far
    assert false.sum() / west.sum() < 2e-4


def test_t11upt_without_the_mask_shadow_stays_mostly_dry(t11upt, scl):
    cube, out = t11upt("sentinel-2-l2a", cloud_mask=False)
    shadow = scl == 3
    false = ((out.water_mask.values[0] == WATER) & shadow).sum()
    green, swir = (cube[b][0].values for b in ("green", "swir16"))
    with np.errstate(divide="ignore", invalid="ignore"):
        mndwi = ((green - swir) / (green + swir) > 0.1) & shadow
    awei = cube.water.indices(["awei_sh"]).awei_sh[0].values > 0
    assert false < mndwi.sum()
    assert false <= (awei & shadow).sum()


def nowater(data):
    folder = data / "nowater"
    dates = sorted(p for p in folder.glob("????-??-??.tif"))
    files = [f for p in dates for f in (p, p.with_name(f"{p.stem}_clm.tif"))]
    return lakecube.open(files), [p.stem for p in dates]


def test_nowater_stays_dry_and_cloudy_dates_stay_unknown(data):
    cube, dates = nowater(data)
    np.testing.assert_array_equal(cube.time.values, np.array(dates, "datetime64[ns]"))
    out = cube.water.extract().compute()
    false = (out.water_mask == WATER).sum(("y", "x")).values
    cloudy = np.isin(dates, ["2015-07-31", "2015-08-20"])
    assert cloudy.sum() == 2
    assert (out.water_mask.values[cloudy] == UNKNOWN).all()
    assert false[~cloudy].sum() <= 5
    assert (out.water_mask.values[~cloudy] != UNKNOWN).mean() > 0.9


@pytest.fixture(scope="module")
def places(data):
    listed = sorted((data / "places").glob("p*/????-??-??.tif"))
    scores, dry = [], []
    for path in listed:
        out = lakecube.open(path).water.extract().compute()
        mask = out.water_mask.values[0]
        with rasterio.open(path) as file:
            fmask = file.read(file.descriptions.index("fmask") + 1).astype(int)
        hidden = (fmask & 0b1010) > 0
        reference = ((fmask >> 5) & 1 == 1) & ~hidden
        seen = mask != UNKNOWN
        name = f"{path.parent.name}/{path.stem}"
        if reference.mean() > 0.05:
            scores.append((iou((mask == WATER)[seen], reference[seen]), name))
        elif reference.mean() < 0.002:
            dry.append((int(((mask == WATER) & ~reference).sum()), name))
    return scores, dry


def test_places_agree_with_fmask(places):
    scores, _ = places
    assert len(scores) > 10
    assert np.median([s for s, _ in scores]) >= 0.86, sorted(scores)[:5]


def test_places_without_water_stay_empty(places):
    """No date is wholly dry by Fmask; on those it finds less than 0.2 % wet, nothing is added."""
    _, dry = places
    assert len(dry) > 3
    assert all(n <= 5 for n, _ in dry), [d for d in dry if d[0] > 5]


@pytest.fixture(scope="module")
def patch(data):
    """The cloud patch as a Dataset; its files have neither CRS nor date, so both are made up."""
    with np.load(data / "cloud" / "sentinel2.npz") as store:
        image, classes = store["img"].astype("float32"), store["msk"][..., 0]
    names = ("blue", "green", "red", "nir", "swir16", "swir22")
    bands = {n: (("time", "y", "x"), np.ascontiguousarray(image[None, ..., i])) for i, n in enumerate(names)}
    step = 30.0 * np.arange(512)
    coords = {"time": np.array(["2020-06-01"], "datetime64[ns]"), "y": 5e6 - step, "x": 5e5 + step}
    return xr.Dataset(bands, coords).rio.write_crs("EPSG:32632"), classes


def test_cloud_patch_on_clear_pixels(patch):
    dataset, classes = patch
    state = np.full(classes.shape, OBSERVATION["clear"], np.uint8)
    state[classes == 4], state[classes == 0] = OBSERVATION["cloud"], OBSERVATION["cloud_shadow"]
    dataset = dataset.assign(observation=(("time", "y", "x"), state[None]))
    water = lakecube.open(dataset).water.extract().water_mask.values[0] == WATER
    clear = np.isin(classes, (1, 3))
    assert iou(water[clear], (classes == 1)[clear]) >= 0.62


def test_cloud_patch_unmasked_beats_every_single_index(patch):
    dataset, classes = patch
    water = lakecube.open(dataset).water.extract().water_mask.values[0] == WATER
    assert iou(water, classes == 1) > 0.232


def test_barbellino_with_its_scl(data):
    """A reservoir of two hectares in rock, with a quality layer of half the resolution."""
    folder = data / "barbellino"
    cube = lakecube.open([folder / "2019-07-23_l2a.tif", folder / "2019-07-23_scl.tif"])
    out = cube.water.extract().compute()
    water = out.water_mask.values[0] == WATER
    assert 150 < water.sum() < 280
    with rasterio.open(folder / "2019-07-23_scl.tif") as file:
        unsure = (file.read(1) == 7).repeat(2, 0).repeat(2, 1)
    assert unsure.any()
    assert (cube.observation.values[0][unsure] == OBSERVATION["unclassified"]).all()
    _, n = ndimage.label(water)
    assert n <= 4


def test_lakes10m_pairs_open_by_name_and_date(data):
    folder = data / "lakes10m"
    for lake in ("dal_lake", "khadakwasla"):
        files = [folder / f"{lake}_green.tif", folder / f"{lake}_nir.tif"]
        cube = lakecube.open(files, datetime="2020-01-01")
        assert list(cube.data_vars) == ["green", "nir", "observation"]
        ndwi = cube.water.indices("ndwi").ndwi[0].values
        assert 0.01 < np.nanmean(ndwi > 0) < 0.9
        with rasterio.open(files[0]) as file:
            np.testing.assert_allclose(np.nan_to_num(cube.green[0].values), file.read(1) * 1e-4, atol=1e-6)
