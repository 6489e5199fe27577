"""`linknet50` end to end with a small network: each stage, its grounds, its readings, and a store of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

pytest.importorskip("torch", reason="torch is not installed: pip install -c constraints.txt '.[deep]'")

import lakecube
from lakecube.errors import InvalidInputError, MissingBandError, StoreError
from lakecube.kernels.stages import decide
from lakecube.methods import linknet50
from lakecube.models.predictor import predict
from lakecube.names import JUDGED, LAND, LAND_REASONS, OBSERVATION, RULE_BITS, UNKNOWN, WATER
from lakecube.refine.crf import refine
from lakecube.refine.majority import majority
from lakecube.refine.superpixels import superpixels
from lakecube.synthetic.cube import sentinel2_cube
from tests.models import made

CRF = {"scales": 0.02, "tile": 64, "margin": 16, "sxy_gaussian": 1.0, "sxy_bilateral": 4.0}
SLIC = {"step": 5, "iterations": 2}
SMALL = {"tile": 32, "margin": 16, "slic": SLIC, "crf": CRF, "threshold": made.MIDDLE}


@pytest.fixture(scope="module")
def cube():
    return sentinel2_cube((60, 70), 2, seed=4, clouds=[0.0, 0.3], missing=0.1)


def network(cube, **options):
    return cube.water.extract("linknet50", **{"model": made.shared(), **SMALL, **options})


@pytest.fixture(scope="module")
def by_stage(cube):
    return {how: network(cube, refine=how).compute() for how in ("none", "slic", "crf", "slic+crf")}


def test_it_returns_what_fusion_returns_and_a_probability(cube, by_stage):
    fusion = cube.water.extract(probability=True)
    for out in by_stage.values():
        assert set(out.variables) == set(fusion.variables)
        for name in ("water_mask", "reason", "rules_fired", "water_probability"):
            assert (out[name].dims, out[name].dtype) == (fusion[name].dims, fusion[name].dtype)
            assert str(out[name].attrs) == str(fusion[name].attrs)
        assert out.threshold.dims == fusion.threshold.dims
        assert list(out["index"].values) == ["water_probability"]
        used = json.loads(out.attrs["parameters"])
        assert len(used["weights_sha256"]) == 64
        assert used["model"] == "tiny"
        assert used["tile"] == 32
        assert used["crf"] is None or used["crf"]["sxy_bilateral"] == 4


def test_each_stage_is_what_its_room_says(cube, by_stage):
    p = predict(cube, made.shared(), tile=32, margin=16).compute()
    labels = superpixels(cube, **SLIC)
    mask = xr.where(p > 0.5, np.uint8(WATER), np.uint8(LAND)).where(p.notnull(), UNKNOWN).astype("uint8")
    fused = majority(mask, labels)["water_mask"].compute()
    np.testing.assert_array_equal(by_stage["none"].water_mask, mask)
    np.testing.assert_array_equal(by_stage["slic"].water_mask, fused)
    np.testing.assert_array_equal(by_stage["slic"].water_probability, p)
    q = refine(p, cube, **CRF)
    np.testing.assert_array_equal(by_stage["crf"].water_probability, q)
    unary = xr.where((fused == WATER) == (p > 0.5), p, 1 - p).where(p.notnull())
    np.testing.assert_array_equal(by_stage["slic+crf"].water_probability, refine(unary.astype("float32"), cube, **CRF))
    assert (by_stage["slic+crf"].water_mask != by_stage["slic"].water_mask).any()


@pytest.mark.parametrize("how", ["none", "slic", "crf", "slic+crf"])
def test_every_pixel_has_its_ground(cube, by_stage, how):
    out = by_stage[how]
    mask, reason, fired = (out[n].values for n in ("water_mask", "reason", "rules_fired"))
    state = cube.observation.values
    judged = np.isin(state, [OBSERVATION[n] for n in JUDGED])
    np.testing.assert_array_equal(reason[~judged], state[~judged])
    assert (mask[~judged] == UNKNOWN).all()
    assert (fired[mask == UNKNOWN] == 0).all()
    assert (reason[mask == WATER] == 0).all()
    grounds = {"low_probability", *({"superpixel"} if "slic" in how else ()), *({"crf"} if "crf" in how else ())}
    assert {*np.unique(reason[mask == LAND])} <= {LAND_REASONS[g] for g in grounds}
    for ground in grounds:
        at = reason == LAND_REASONS[ground]
        assert (fired[at] >> RULE_BITS[ground] & 1).all()
    for other in {"low_probability", "superpixel", "crf"} - grounds:
        assert not (fired >> RULE_BITS[other] & 1).any()
    probability = out.water_probability.values
    assert (np.isnan(probability) == (mask == UNKNOWN)).all()


def test_the_ground_is_the_last_stage_that_said_land():
    p = np.array([0.9, 0.9, 0.9, 0.1, 0.1, 0.9, np.nan], np.float32)
    fused = np.array([1, 0, 1, 1, 0, 0, 255], np.uint8)
    q = np.array([0.9, 0.2, 0.2, 0.2, 0.9, 0.9, np.nan], np.float32)
    state = np.array([0, 0, 0, 0, 0, 0, 4], np.uint8)
    mask, reason, fired = decide(p, state, 0.5, fused, q)
    low, superpixel, crf = (LAND_REASONS[n] for n in ("low_probability", "superpixel", "crf"))
    assert mask.tolist() == [1, 0, 0, 0, 1, 1, 255]
    assert reason.tolist() == [0, superpixel, crf, crf, 0, 0, 4]
    bits = {n: 1 << RULE_BITS[n] for n in ("low_probability", "superpixel", "crf")}
    assert fired.tolist() == [0, bits["superpixel"] + bits["crf"], bits["crf"], bits["low_probability"] + bits["crf"],
                              bits["low_probability"] + bits["superpixel"], bits["superpixel"], 0]  # fmt: skip
    assert decide(p, state, 0.5)[1].tolist() == [0, 0, 0, low, low, 0, 4]
    assert decide(p[-1:], np.zeros(1, np.uint8), 0.5)[1].tolist() == [254]


def test_the_papers_two_readings_of_the_unary_term(cube, by_stage):
    for how in ("crf", "slic+crf"):
        labels = network(cube, refine=how, unary="labels", crf={**CRF, "confidence": 0.9}).compute()
        start = by_stage["slic" if "slic" in how else "none"].water_mask
        np.testing.assert_array_equal(labels.water_probability, refine(start, cube, confidence=0.9, **CRF))


def test_what_is_not_given_fits_what_the_bands_hold(cube):
    rgb = cube[["blue", "green", "red"]]
    chain = linknet50.Chain()
    assert chain.for_slic(rgb, "display") == {"colour": "cielab", "step": 8}
    assert chain.for_slic(rgb, "reflectance") == {"step": 8}
    assert set(chain.for_crf(rgb, "display")["scales"]) == {"red", "green", "blue"}
    assert chain.for_crf(cube, "reflectance") == {"sxy_bilateral": 40, "scales": pytest.approx(0.01255, abs=1e-5)}
    own = linknet50.Chain(slic={"n_segments": 2800}, crf={"scales": 0.1})
    assert own.for_slic(rgb, "reflectance") == {"n_segments": 2800}
    assert own.for_crf(cube, "reflectance")["scales"] == 0.1


def test_a_higher_threshold_finds_less(cube):
    areas = []
    for threshold in (0.4, 0.5, 0.6):
        out = network(cube, refine="crf", threshold=threshold).compute()
        assert (out.threshold == np.float32(threshold)).all()
        assert (out.threshold_source == (0 if threshold == 0.5 else 6)).all()
        areas.append(int((out.water_mask == WATER).sum()))
    assert areas[0] > areas[1] > areas[2]


def test_monthly_composites(cube):
    out = network(cube, refine="none", composite="month").compute()
    assert "time_bounds" in out.coords
    assert (out.water_mask != UNKNOWN).any()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"refine": "sliccrf"}, InvalidInputError, "'slic\\+crf'"),
        ({"refin": "none"}, InvalidInputError, "did you mean refine"),
        ({"threshold": "otsu"}, InvalidInputError, "between 0 and 1"),
        ({"threshold": 1.0}, InvalidInputError, "between 0 and 1"),
        ({"unary": "votes"}, InvalidInputError, "probability"),
        ({"slic": {"stepp": 3}}, InvalidInputError, "did you mean step"),
        ({"crf": {"sxy": 3}}, InvalidInputError, "crf has no parameter sxy"),
        ({"crf": 3}, InvalidInputError, "mapping"),
        ({"model": "linknet5"}, InvalidInputError, "no model 'linknet5'"),
    ],
)
def test_mistakes_are_told_at_once(cube, no_compute, options, error, words):
    with pytest.raises(error, match=words):
        network(cube.chunk(time=1), **options)


def test_missing_bands_are_named(cube):
    with pytest.raises(MissingBandError, match="tiny needs nir, swir16; the cube has blue, green, red"):
        network(cube[["blue", "green", "red", "observation"]])


# --- stores --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def opened(archive):
    return lakecube.open(archive.items_path, dem=archive.dem_path, chunks=64)


def test_a_store_is_written_resumed_appended_and_explained(opened, tmp_path):
    water = network(opened, refine="slic+crf")
    expected = water.compute()
    path = tmp_path / "s.zarr"
    store = water.water.to_zarr(path, chunks=50, progress=False)
    for name in ("water_mask", "reason", "rules_fired", "water_probability", "threshold"):
        np.testing.assert_array_equal(store[name], expected[name])
    assert store.attrs["method"] == "linknet50"
    assert store.water_frequency.max() > 0
    before = (path / "zarr.json").read_bytes()
    network(opened).water.to_zarr(path, progress=False)
    assert (path / "zarr.json").read_bytes() == before
    told = repr(store.water.explain(*middle(store), str(store.time.values[0])[:10]))
    assert "water_probability" in told
    with pytest.raises(StoreError, match="model is tiny in the store and other now"):
        network(opened, model=made.shared(name="other", seed=5)).water.to_zarr(path, progress=False)


def middle(store):
    """Degrees of a pixel in the middle."""
    import pyproj

    to_degrees = pyproj.Transformer.from_crs(store.spatial_ref.attrs["crs_wkt"], "EPSG:4326", always_xy=True)
    return to_degrees.transform(float(store.x[60]), float(store.y[60]))


def test_a_store_brought_up_to_date_asks_the_same_network_again(archive, opened, tmp_path):
    path = tmp_path / "s.zarr"
    network(opened).water.to_zarr(path, chunks=64, progress=False)
    lakecube.update(path, progress=False)
    asked = json.loads(lakecube.open_store(path).attrs["extract_request"])
    assert asked["model"] == made.shared()
    assert asked["slic"] == SLIC


def test_a_plan_counts_its_tasks_and_its_time(opened):
    ours, theirs = opened.water.plan(method="linknet50", model=made.shared()), opened.water.plan()
    assert ours.tasks["observed"] > 0
    assert ours.tasks["thresholds"] == 0
    assert ours.seconds >= theirs.seconds
    assert "0.1 million pixels" in repr(ours)
