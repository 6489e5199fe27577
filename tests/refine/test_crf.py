"""The tiled CRF: the same bits for every chunking, seams bounded by the margin, unknown stays unknown."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings

from lakecube.errors import InvalidInputError, MissingBandError, MissingDependencyError
from lakecube.kernels.crf import Potts
from lakecube.names import UNKNOWN
from lakecube.refine import crf_frame, crf_tiles
from lakecube.refine.crf import refine
from lakecube.refine.majority import majority
from lakecube.refine.superpixels import superpixels
from lakecube.tiling import Tiling
from tests.kernels.test_crf import scene
from tests.strategies import chunkings

#: Kernels narrow enough that margins of several sigma fit small images.
NARROW = {"sxy_bilateral": 6.0, "sxy_gaussian": 2.0}
TILED = {"tile": 32, "margin": 18, **NARROW}


@pytest.fixture(scope="module")
def picture():
    """Two dates of (probability, guide): 90 × 101 px at row 7, column 1003 of the absolute grid, with holes."""
    shape = 90, 101
    images = [scene(*shape, seed=seed, blur=2.0) for seed in (0, 1)]
    coords = {"time": np.array(["2022-05-01", "2022-06-01"], "M8[ns]"),
              "y": -10.0 * (np.arange(shape[0]) + 7.5), "x": 10.0 * (np.arange(shape[1]) + 1003.5)}  # fmt: skip
    water = xr.DataArray(np.stack([p for _, p, _ in images]), coords, ("time", "y", "x"))
    water[0, 20:40, 30:50] = np.nan
    water[1, ::7, ::5] = np.nan
    guide = xr.DataArray(np.stack([g for g, _, _ in images]), coords | {"band": ["blue", "green", "red"]},
                         ("time", "band", "y", "x"))  # fmt: skip
    return water, guide


@pytest.fixture(scope="module")
def refined(picture):
    return refine(*picture, **TILED).compute()


# --- chunks --------------------------------------------------------------------------------------------------------


BY_HAND = [
    {"time": 1, "y": -1, "x": -1},
    {"time": 2, "y": (1, 88, 1), "x": (100, 1)},
    {"time": 1, "y": 32, "x": 32},
    {"time": (1, 1), "y": (25, 32, 33), "x": (21, 32, 32, 16)},
    {"time": 1, "y": 13, "x": 17},
]


@pytest.mark.parametrize("chunks", BY_HAND, ids=str)
def test_the_same_bits_for_every_chunking(picture, refined, chunks):
    water, guide = picture
    lazy = refine(water.chunk(chunks), guide.chunk({"y": 40, "x": 31}), **TILED)
    assert lazy.chunks == water.chunk(chunks).chunks
    xr.testing.assert_identical(lazy.compute(scheduler="synchronous"), refined)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=chunkings((2, 90, 101)), second=chunkings((2, 90, 101)))
def test_random_chunks(picture, refined, first, second):
    water, guide = picture
    xr.testing.assert_identical(refine(water.chunk(first), guide.chunk(second), **TILED).compute(), refined)


def test_nothing_is_computed_while_building(picture, no_compute):
    water, guide = picture
    lazy = refine(water.chunk(y=20), guide.chunk(y=20), output="labels", **TILED)
    assert lazy.dtype == lazy.data._meta.dtype == np.uint8


def test_each_tile_is_computed_once(picture, monkeypatch):
    water, guide = picture
    seen = []
    inner = crf_tiles.refine_image

    def counting(*args):
        seen.append(1)
        return inner(*args)

    monkeypatch.setattr(crf_tiles, "refine_image", counting)
    refine(water.chunk(y=7, x=9), guide, **TILED).compute(scheduler="synchronous")
    tiles = len(range(7 // 32, 96 // 32 + 1)) * len(range(1003 // 32, 1103 // 32 + 1))
    assert len(seen) == tiles * 2


def test_two_requests_agree_beyond_the_reach(picture):
    """A request that starts 5 px later and ends earlier: equal where no tile reads past either end."""
    water, guide = picture
    options = {"tile": 16, "margin": 8, "blend": 2, **NARROW}
    whole = refine(water, guide, **options).compute()
    part = {"y": slice(5, None), "x": slice(3, -4)}
    cut = refine(water.isel(part), guide.isel(part), **options).compute()
    reach = 16 + 8 + 2
    inner = {"y": slice(reach, -reach), "x": slice(reach, -reach)}
    assert cut.isel(inner).size
    xr.testing.assert_identical(cut.isel(inner), whole.isel(part).isel(inner))


# --- seams ---------------------------------------------------------------------------------------------------------


#: Margin in sigmas of the bilateral kernel: bound on mean |ΔQ| against one run on the whole image.
SEAMS = {0: 0.08, 1: 0.06, 2: 0.05, 3: 0.05}


def seam_error(water, guide, margin, tile=64):
    """Mean |ΔQ| and share of other labels, tiles against the whole image."""
    sigma = NARROW["sxy_bilateral"]
    whole = refine(water, guide, tile=4096, **NARROW).compute()
    tiled = refine(water, guide, tile=tile, margin=round(margin * sigma), **NARROW).compute()
    return float(np.abs(tiled - whole).mean()), float(((tiled > 0.5) != (whole > 0.5)).mean())


def test_seams_shrink_with_the_margin():
    guide, water, _ = scene(200, 200, 4, blur=2.0)
    water, guide = xr.DataArray(water, dims=("y", "x")), xr.DataArray(guide, dims=("band", "y", "x"))
    guide = guide.assign_coords(band=["blue", "green", "red"])
    errors = {margin: seam_error(water, guide, margin)[0] for margin in SEAMS}
    assert all(errors[margin] <= bound for margin, bound in SEAMS.items()), errors
    assert errors[3] < errors[0]


def test_one_tile_is_the_whole_image(picture):
    water, guide = picture
    by_hand = crf_tiles.CrfSettings(Potts(2.0, 3.0, 6.0, 10.0), (13.0,) * 3, 5, 0.7, "numba", Tiling(4096, 18, 4))
    origin = 7 + 18, 1003 + 18
    expected = crf_tiles.refine_image(water[0].values, guide[0].values / np.float32(13), by_hand, origin)
    found = refine(water[0], guide[0], tile=4096, margin=18, **NARROW)
    np.testing.assert_allclose(found.values, expected, atol=1e-4)


# --- margins by samples --------------------------------------------------------------------------------------------

#: Wide enough that of the margin every second row and column is looked at.
SAMPLED = {"tile": 32, "margin": 26, "blend": 3, "sxy_bilateral": 40.0, "sxy_gaussian": 1.0}


@pytest.mark.parametrize("chunks", BY_HAND[1:4], ids=str)
def test_sampled_margins_are_the_same_for_every_chunking(picture, chunks):
    water, guide = picture
    whole = refine(water, guide, **SAMPLED).compute()
    xr.testing.assert_identical(
        refine(water.chunk(chunks), guide.chunk({"y": 40, "x": 31}), **SAMPLED).compute(), whole
    )


def test_sampled_margins_do_not_depend_on_the_request(picture):
    water, guide = picture
    options = SAMPLED | {"tile": 16, "margin": 11}
    part, reach = {"y": slice(5, None), "x": slice(3, -4)}, 16 + 11 + 3
    inner = {"y": slice(reach, -reach), "x": slice(reach, -reach)}
    whole, cut = refine(water, guide, **options).compute(), refine(water.isel(part), guide.isel(part), **options)
    assert cut.isel(inner).size
    xr.testing.assert_identical(cut.compute().isel(inner), whole.isel(part).isel(inner))


def test_samples_of_the_margin_are_as_good_as_all_of_it(picture, monkeypatch):
    water, guide = (v[0] for v in picture)
    kernel = {"sxy_bilateral": 40.0, "sxy_gaussian": 1.0}
    whole = refine(water, guide, tile=4096, **kernel).compute()
    errors = {}
    for name, samples in (("all", 1000), ("sampled", 20)):
        monkeypatch.setattr(crf_frame, "SAMPLES", samples)
        errors[name] = float(np.abs(refine(water, guide, **SAMPLED).compute() - whole).mean())
    none = float(np.abs(refine(water, guide, **(SAMPLED | {"margin": 3})).compute() - whole).mean())
    assert errors["sampled"] < errors["all"] + 0.2 * (none - errors["all"]), (errors, none)


def test_classes_have_sampled_margins(picture):
    water, guide = (v[0] for v in picture)
    both = xr.concat([1 - water, water], "class")
    found = refine(both, guide, **SAMPLED).compute()
    assert np.abs(found[1] - refine(water, guide, **SAMPLED)).max() < 2e-3


@pytest.mark.parametrize("dim", ["y", "x"])
def test_data_narrower_than_a_sample_count_pixel_by_pixel(picture, dim):
    """Of the frame every second row is a sample: one row of pixels may lie between two."""
    water, guide = (v[0] for v in picture)
    for at in (0.5, 1.5):
        line, seen = (v.isel({dim: slice(0, 1)}).assign_coords({dim: [at]}) for v in (water, guide))
        found = refine(line, seen, **SAMPLED).compute()
        every = refine(line, seen, **(SAMPLED | {"tile": 4096})).compute()
        assert found.notnull().equals(line.notnull())
        assert np.abs(found - every).mean() < 0.05


# --- the unseen ----------------------------------------------------------------------------------------------------


def test_unknown_stays_unknown_and_nothing_else_becomes_so(picture, refined):
    np.testing.assert_array_equal(np.isnan(refined), np.isnan(picture[0]))
    labels = refine(*picture, output="labels", **TILED).compute()
    np.testing.assert_array_equal(labels == UNKNOWN, np.isnan(picture[0]))
    assert labels.attrs["flag_meanings"] == "land water unknown"


def test_what_the_guide_shows_under_unknown_pixels_does_not_matter(picture, refined):
    water, guide = picture
    wild = guide.where(water.notnull(), 255).astype(np.uint8).transpose(*guide.dims)
    assert (wild != guide).any()
    xr.testing.assert_identical(refine(water, wild, **TILED).compute(), refined)


def test_a_pixel_without_guide_keeps_its_own(picture):
    water, guide = picture
    holed = guide.astype(np.float32)
    holed[:, 1, 60:70, 10:20] = np.nan
    found = refine(water, holed, scales=13.0, **TILED).compute()
    own = {"y": slice(60, 70), "x": slice(10, 20)}
    np.testing.assert_allclose(found.isel(own), water.isel(own), atol=1e-5)


def test_masks_are_votes_with_a_confidence(picture):
    water, guide = picture
    mask = xr.where(water.isnull(), UNKNOWN, water > 0.5).astype(np.uint8)
    as_probability = xr.where(mask == 1, 0.8, 0.2).where(mask != UNKNOWN).astype(np.float32)
    a = refine(mask, guide, confidence=0.8, **TILED).compute()
    b = refine(as_probability, guide, **TILED).compute()
    np.testing.assert_allclose(a, b, atol=1e-3)


# --- what may be given ---------------------------------------------------------------------------------------------


def test_the_accessor_takes_what_a_dataset_holds(cube):
    extracted = cube.water.extract(probability=True)
    found = extracted.water.refine(cube, **TILED)
    xr.testing.assert_identical(found.compute(), refine(extracted.water_probability, cube, **TILED).compute())
    both = cube.assign(water_mask=extracted.water_mask)
    assert both.water.refine(output="labels", scales={"red": 0.03}, **TILED).dtype == np.uint8
    with pytest.raises(InvalidInputError, match="extract first"):
        cube.water.refine()


def test_each_band_is_divided_by_its_own_scale(picture):
    water, guide = picture
    scales = {"blue": 6.0, "green": 13.0, "red": 30.0}
    divided = guide.astype(np.float32) / xr.DataArray(np.float32([*scales.values()]), {"band": [*scales]}, "band")
    found = refine(water[0], guide[0], scales=scales, **TILED).compute()
    np.testing.assert_allclose(found, refine(water[0], divided[0], scales=1.0, **TILED), atol=1e-3)
    assert np.abs(found - refine(water[0], guide[0], **TILED)).max() > 0.05


def test_a_guide_without_dates_serves_all(picture):
    water, guide = picture
    single = refine(water, guide.isel(time=0, drop=True), **TILED).compute()
    repeated = guide.isel(time=[0, 0]).assign_coords(time=guide.time)
    xr.testing.assert_identical(single, refine(water, repeated, **TILED).compute())
    one = refine(water[0], guide[0], **TILED)
    assert one.dims == ("y", "x")
    np.testing.assert_array_equal(one, single[0])


# --- several classes, two levels -----------------------------------------------------------------------------------


def classes_of(water):
    """Three classes: water, land to the left, land to the right."""
    left = xr.zeros_like(water) + (water.x < water.x[50])
    return xr.concat([water, (1 - water) * left, (1 - water) * (1 - left)], "class").astype(np.float32)


def test_two_classes_are_the_binary_form(picture, refined):
    water, guide = picture
    both = xr.concat([1 - water, water], "class")
    found = refine(both, guide, **TILED)
    assert found.dims == ("class", "time", "y", "x")
    assert np.abs(found[1] - refined).max() < 2e-3
    np.testing.assert_allclose(found.sum("class", skipna=False), xr.ones_like(water).where(water.notnull()), rtol=1e-5)


@pytest.mark.parametrize("chunks", BY_HAND[1:4], ids=str)
def test_classes_are_the_same_bits_for_every_chunking(picture, chunks):
    water, guide = picture
    three = classes_of(water)
    whole = refine(three, guide, **TILED).compute()
    assert whole.name == "class_probability"
    cut = refine(three.chunk(chunks | {"class": 2}), guide.chunk({"y": 40}), **TILED)
    xr.testing.assert_identical(cut.compute(scheduler="synchronous"), whole)
    label = refine(three.chunk(chunks), guide, output="labels", **TILED)
    expected = whole.fillna(-1).argmax("class").where(water.notnull(), UNKNOWN)
    np.testing.assert_array_equal(label.compute(), expected)


def test_labels_of_classes_are_spread_by_their_confidence(picture):
    water, guide = picture
    labels = classes_of(water).fillna(-1).argmax("class").where(water.notnull(), 9).astype(np.uint8)
    by_hand = xr.where(labels == xr.DataArray(np.arange(3), dims="class"), 0.8, 0.1).where(labels < 3)
    found = refine(labels, guide, classes=3, confidence=0.8, **TILED)
    np.testing.assert_array_equal(found, refine(by_hand.astype(np.float32), guide, **TILED))
    assert refine(labels[0], guide[0], classes=3, **TILED).dims == ("class", "y", "x")


def test_two_levels_are_fusion_and_then_the_crf(picture):
    water, guide = picture
    labels = superpixels(guide[0].astype("f4"), step=6, scale=0.4)
    wet = xr.where(water.isnull(), np.uint8(UNKNOWN), (water > 0.5).astype(np.uint8))
    expected = refine(majority(wet, labels).water_mask, guide, **TILED)
    assert (majority(wet, labels).water_mask != wet).any()
    np.testing.assert_array_equal(refine(water, guide, superpixels=labels, **TILED), expected)
    np.testing.assert_array_equal(refine(wet, guide, superpixels=labels, **TILED), expected)


def test_classes_by_pydensecrf2(picture):
    pytest.importorskip("pydensecrf")
    water, guide = picture
    three = classes_of(water.fillna(0.5))[:, 0]
    theirs, ours = (refine(three, guide[0], engine=engine, **TILED).compute() for engine in ("pydensecrf2", "numba"))
    assert np.abs(theirs - ours).mean() < 0.01
    assert (theirs.argmax("class") == ours.argmax("class")).mean() > 0.98


def test_wrong_classes_are_named(picture):
    water, guide = picture
    for wrong, options in ((water, {"classes": 3}), (classes_of(water), {"superpixels": water.fillna(0).astype("i8")}),
                           (water.fillna(0).astype("u1"), {"classes": 1}),
                           (classes_of(water).fillna(0).astype("u1"), {})):  # fmt: skip
        with pytest.raises(InvalidInputError):
            refine(wrong.fillna(0), guide, **options, **TILED)


def test_pydensecrf2_is_the_reference(picture):
    pytest.importorskip("pydensecrf")
    water, guide = picture
    theirs = refine(water.fillna(0.5), guide, engine="pydensecrf2", **TILED)
    ours = refine(water.fillna(0.5), guide, **TILED).compute()
    assert np.abs(theirs.compute() - ours).mean() < 0.01
    assert (np.isnan(refine(water, guide, engine="pydensecrf2", **TILED)) == water.isnull()).all()


def test_the_reference_is_asked_for_before_anything_is_computed(picture, monkeypatch):
    monkeypatch.setattr(crf_tiles, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        refine(*picture, engine="pydensecrf2", **TILED)


@pytest.mark.parametrize(
    "wrong",
    [{"tile": 0}, {"margin": -1}, {"blend": 100}, {"iterations": -1}, {"confidence": 1.0}, {"scales": 0.0},
     {"sxy_bilateral": -1.0}, {"engine": "gpu"}, {"output": "mask"}, {"margin": 2.5}, {"tile": 40.5},
     {"iterations": "5"}, {"sxy_bilateral": np.nan, "margin": None}, {"weight_gaussian": np.nan},
     {"weight_bilateral": -1}, {"scales": [13.0] * 3}, {"sxy_bilateral": 1e-4}, {"classes": 3}],
    ids=str,
)  # fmt: skip
def test_wrong_parameters_are_named(picture, wrong):
    with pytest.raises(InvalidInputError):
        refine(*picture, **(TILED | wrong))


def test_wrong_inputs_are_named(picture):
    water, guide = picture
    with pytest.raises(MissingBandError, match="swir16"):
        refine(water, guide, scales={"swir16": 0.02})
    with pytest.raises(InvalidInputError, match="share"):
        refine(water, guide.isel(y=slice(1, None)))
    with pytest.raises(InvalidInputError, match="dates"):
        refine(water[0], guide)
    with pytest.raises(InvalidInputError, match="dims"):
        refine(water.rename(x="lon"), guide)
    with pytest.raises(InvalidInputError, match="called red"):
        refine(water, guide.assign_coords(band=["red", "red", "blue"]))
    with pytest.raises(InvalidInputError, match="scales="):
        refine(water, guide.astype("int16"))
    with pytest.raises(InvalidInputError, match="NumPy array; got list"):
        refine([[0, 1]], guide)
    with pytest.raises(InvalidInputError, match="probability or a mask"):
        refine(water.astype(str), guide)


@pytest.mark.parametrize("engine", ["numba", "pydensecrf2"])
def test_a_guide_in_another_unit_is_told_when_computed(picture, engine):
    if engine == "pydensecrf2":
        pytest.importorskip("pydensecrf")
    water, guide = picture
    wrong = guide.astype("f4").where(guide["band"] != "red", -9999.0)
    with pytest.raises(InvalidInputError, match=r"the guide reaches 5e\+05 standard deviations"):
        refine(water, wrong, scales=0.02, engine=engine, **TILED).compute(scheduler="sync")


def test_percent_are_no_probability(picture):
    water, guide = picture
    with pytest.raises(InvalidInputError, match="divide percent by 100"):
        refine(100 * water, guide, **TILED).compute(scheduler="sync")
    with pytest.raises(InvalidInputError, match="from 0 to 1"):
        refine(classes_of(water) - 0.5, guide, **TILED).compute(scheduler="sync")


def test_a_pixel_without_any_class_is_unknown_and_does_not_spread(picture):
    water, guide = (v.isel(time=[0]) for v in picture)
    classes = classes_of(water.fillna(0.5)).copy()
    classes[..., 50:53, 60:64] = 0
    found = refine(classes, guide, **TILED).compute()
    assert found.isnull().sum() == 3 * 4 * classes.sizes["class"]


def test_numpy_arrays_are_taken_as_they_are(picture):
    water, guide = (v[0].values for v in picture)
    labels = superpixels(guide, step=8)
    wet = np.where(np.isnan(water), UNKNOWN, water > 0.5).astype(np.uint8)
    found = refine(wet, guide, superpixels=labels, output="labels", **TILED)
    assert found.dims == ("y", "x")
    voted = majority(wet, labels.values, step=8).water_mask
    assert found.equals(refine(voted, guide, output="labels", **TILED))
    assert majority(wet, labels).water_mask.equals(voted)


def test_what_else_a_dataset_holds_does_not_guide(cube):
    extracted = cube.water.extract(probability=True)
    with pytest.raises(MissingBandError, match=r"pass the cube: .water.refine\(cube\)"):
        extracted.water.refine()
    landsat = cube[["green", "nir", "red", "slope"]].rename(nir="nir08").assign(water_mask=extracted.water_mask)
    nir08 = refine(extracted.water_mask, landsat[["green", "nir08"]], **TILED)
    xr.testing.assert_identical(landsat.water.refine(**TILED).compute(), nir08.compute())
    red = refine(extracted.water_mask, landsat[["red"]], **TILED)
    xr.testing.assert_identical(landsat[["red", "slope", "water_mask"]].water.refine(**TILED).compute(), red.compute())
