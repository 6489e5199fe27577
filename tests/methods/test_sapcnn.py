"""`sapcnn` as a whole: each superpixel has the class of the patch at its centre, whatever the chunks."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from lakecube.chunked import check_chunks
from lakecube.errors import InvalidInputError, MissingBandError
from lakecube.kernels.mosaic import IS_JUDGED
from lakecube.methods import sapcnn
from lakecube.names import LAND_REASONS, NO_VALID_BANDS, OBSERVATION, RULE_BITS
from lakecube.refine.aslic import aslic
from lakecube.refine.superpixels import superpixels
from lakecube.synthetic.cube import sentinel2_cube
from tests.models import made
from tests.models.tiny import tiny_weights

torch = pytest.importorskip("torch", reason='the deep models need torch: pip install ".[deep]"')

OPTIONS = {"region": 4, "price": 0.3}


@pytest.fixture(scope="module")
def wide():
    """One cloudy date, with a hole in one band."""
    cube = sentinel2_cube((64, 70), 1, seed=2, clouds=[0.2], missing=0.1)
    cube["red"][0, 30:33, 40:44] = np.nan
    return cube


@pytest.fixture(scope="module")
def whole(wide):
    return sapcnn.extract(wide, model=tiny_weights(), **OPTIONS).compute()


def slowly(cube, labels):
    """Probability of each pixel's superpixel, one by one."""
    from lakecube.models.nets import build
    from lakecube.models.registry import load

    spec, state = load(tiny_weights())
    network = build(spec.architecture, len(spec.bands), **spec.options)
    network.load_state_dict(state)
    network.eval()
    bands = np.stack([cube[name].values[0] for name in spec.bands])
    bands = np.where(labels >= 0, bands, np.nan)
    scale, offset = (np.array(v, np.float32)[:, None, None] for v in (spec.scale, spec.offset))
    out = np.full(labels.shape, np.nan, np.float32)
    padded = np.pad(bands, [(0, 0), (14, 14), (14, 14)], mode="symmetric")
    for label in np.unique(labels[labels >= 0]):
        y, x = (int(np.floor(v.mean() + 0.5)) for v in np.nonzero(labels == label))
        patch = padded[:, y : y + 28, x : x + 28]
        mean = bands[:, labels == label].mean(axis=1)[:, None, None]
        patch = np.clip(np.where(np.isnan(patch), mean, patch) / np.float32(0.3), 0, 1) * scale + offset
        with torch.inference_mode():
            logits = network(torch.from_numpy(patch[None].astype(np.float32)))
        out[labels == label] = torch.softmax(logits, 1)[0, 1].item()
    return out


def test_each_superpixel_has_the_class_of_its_patch(wide, whole):
    names = ["blue", "green", "nir"]
    seen = np.isfinite(np.stack([wide[n].values for n in (*names, "red")])).all(axis=0)
    part = wide["observation"].copy(data=IS_JUDGED[wide["observation"].values] & seen)
    labels = aslic(wide[names], region=4, price=0.3, candidates=4, mask=part).values[0]
    expected = slowly(wide, labels)
    found = whole["water_probability"].values[0]
    assert len(np.unique(labels)) > 150
    np.testing.assert_array_equal(np.isnan(found), labels < 0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    sure = np.abs(expected - 0.5) > 1e-4
    np.testing.assert_array_equal(whole["water_mask"].values[0][sure] == 1, expected[sure] > 0.5)
    assert {0, 1, 255} <= set(np.unique(whole["water_mask"]).tolist())


def test_unknown_says_why(wide, whole):
    reason, mask = whole["reason"].values[0], whole["water_mask"].values[0]
    assert (reason[30:33, 40:44][IS_JUDGED[wide["observation"].values[0, 30:33, 40:44]]] == NO_VALID_BANDS).all()
    cloudy = wide["observation"].values[0] == OBSERVATION["cloud"]
    assert cloudy.any()
    assert (reason[cloudy] == OBSERVATION["cloud"]).all()
    assert (mask[cloudy] == 255).all()
    assert (reason[mask == 1] == 0).all()
    assert (reason[mask == 0] == LAND_REASONS["low_probability"]).all()
    np.testing.assert_array_equal(whole["rules_fired"].values[0], (mask == 0) * (1 << RULE_BITS["low_probability"]))


@pytest.mark.parametrize("chunks", [{"y": (27, 37), "x": (41, 29)}, {"y": (1, 33, 30), "x": (35, 35)}], ids=str)
def test_chunks_do_not_matter(wide, whole, chunks):
    lazy = sapcnn.extract(wide.chunk({"time": 1, **chunks}), model=tiny_weights(), **OPTIONS)
    assert max(lazy["water_mask"].data.numblocks[1:]) > 1, "the cut is there"
    check_chunks(lazy["water_mask"].data, 3 * 4 + 14)
    for name in whole:
        np.testing.assert_array_equal(lazy[name].values, whole[name].values, err_msg=name)


def test_what_is_hidden_has_no_voice(wide, whole):
    """Values under cloud may be anything."""
    changed = wide.copy(deep=True)
    hidden = ~IS_JUDGED[wide["observation"].values]
    for name in ("blue", "green", "red", "nir"):
        changed[name].values[hidden] = 0.7
    again = sapcnn.extract(changed, model=tiny_weights(), **OPTIONS).compute()
    for name in whole:
        np.testing.assert_array_equal(again[name].values, whole[name].values, err_msg=name)


def test_plain_superpixels(wide):
    part = wide[["red", "green", "blue", "observation"]]
    out = sapcnn.extract(part, model=tiny_weights(), superpixels="slic", region=4).compute()
    seen = np.isfinite(np.stack([part[n].values for n in ("red", "green", "blue")])).all(axis=0)
    mask = part["observation"].copy(data=IS_JUDGED[part["observation"].values] & seen)
    labels = superpixels(part, step=4, bands=["red", "green", "blue"], mask=mask).values[0]
    probability = out["water_probability"].values[0]
    for label in np.unique(labels[labels >= 0])[::17]:
        assert len(np.unique(probability[labels == label])) == 1
    assert json.loads(out.attrs["parameters"])["bands"] == ["red", "green", "blue"]


def test_what_was_done_is_told(whole):
    used = json.loads(whole.attrs["parameters"])
    assert used["model"] == "tiny"
    assert len(used["weights_sha256"]) == 64
    assert whole.attrs["method"] == "sapcnn"


def test_coordinates_along_the_items_do_no_harm(wide, whole):
    """As those of every cube from `lakecube.open`: bands alone do not have them."""
    noted = wide.assign_coords(item_note=("item", ["a", "b"]))
    found = sapcnn.extract(noted, model=tiny_weights(), **OPTIONS)
    np.testing.assert_array_equal(found["water_mask"], whole["water_mask"])


def test_it_can_be_stored(wide, whole, tmp_path):
    lazy = wide.chunk({"time": 1, "y": 64, "x": 70}).water.extract(method="sapcnn", model=tiny_weights(), **OPTIONS)
    store = lazy.water.to_zarr(tmp_path / "s.zarr", progress=False)
    for name in ("water_mask", "reason", "rules_fired", "water_probability"):
        np.testing.assert_array_equal(store[name].values, whole[name].values, err_msg=name)
    assert json.loads(store.attrs["parameters"])["model"] == "tiny"


@pytest.mark.parametrize(
    ("options", "match"),
    [({"superpixels": "felzenszwalb"}, "felzenszwalb"), ({"model": "nowhere.safetensors"}, "nowhere"),
     ({"region": 1}, "region"), ({"threshold": 1}, "threshold"), ({"device": "tpu"}, "tpu"),
     ({"composite": "week"}, "week")],
)  # fmt: skip
def test_mistakes_are_named(wide, options, match):
    with pytest.raises(InvalidInputError, match=match):
        sapcnn.extract(wide, **{"model": tiny_weights(), **options})


def test_a_network_for_pixels_is_refused(wide):
    with pytest.raises(InvalidInputError, match="linknet50"):
        sapcnn.extract(wide, model=made.shared())


def test_missing_bands_are_named(wide):
    with pytest.raises(MissingBandError, match="red"):
        sapcnn.extract(wide.drop_vars("red"), model=tiny_weights())


def test_without_torch_it_says_what_to_install(wide, monkeypatch):
    from lakecube.errors import MissingDependencyError
    from lakecube.models import registry

    weights = tiny_weights()
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"\.\[deep\]"):
        sapcnn.extract(wide, model=weights)


@pytest.fixture(scope="module")
def lake():
    """A round lake in green land, in reflectance."""
    wet = np.hypot(*np.ogrid[-32:32, -32:32]) < 20
    values = {"blue": (0.06, 0.05), "green": (0.07, 0.08), "red": (0.04, 0.07), "nir": (0.02, 0.28)}
    chance = np.random.default_rng(0)
    coords = {"time": np.array(["2020-01-01"], "datetime64[ns]"), "y": -10.0 * np.arange(64), "x": 10.0 * np.arange(64)}
    dims = ("time", "y", "x")
    bands = {
        name: (dims, (np.where(wet, *two) + chance.normal(0, 0.003, wet.shape))[np.newaxis].astype(np.float32))
        for name, two in values.items()
    }
    return xr.Dataset({**bands, "observation": (dims, np.zeros((1, 64, 64), np.uint8))}, coords), wet


@pytest.mark.parametrize(
    ("bands", "model", "colours"),
    [
        (("green", "nir"), "sapcnn-green-nir", ["green", "green", "nir"]),
        (("green", "nir08"), "sapcnn-green-nir", ["green", "green", "nir08"]),
        (("green", "red", "nir"), "sapcnn-green-nir", ["green", "green", "nir"]),
        (("blue", "green", "red", "nir08"), "sapcnn-rgbn", ["blue", "green", "nir08"]),
        (("blue", "green", "red"), "sapcnn-rgb", ["red", "green", "blue"]),
    ],
    ids=str,
)
def test_packaged_weights_are_chosen_by_the_bands(lake, bands, model, colours):
    cube, wet = lake
    cube = cube.rename(nir="nir08") if "nir08" in bands else cube
    out = sapcnn.extract(cube[[*bands, "observation"]], device="cpu").compute()
    used = json.loads(out.attrs["parameters"])
    assert (used["model"], used["bands"]) == (model, colours)
    found = out["water_mask"].values[0] == 1
    if model != "sapcnn-rgb":  # which is weak, and for pictures
        assert (found & wet).sum() / (found | wet).sum() > 0.8


def test_two_bands_have_plain_superpixels_too(lake):
    cube, wet = lake
    out = sapcnn.extract(cube[["green", "nir", "observation"]], superpixels="slic", region=8, device="cpu").compute()
    found = out["water_mask"].values[0] == 1
    assert (found & wet).sum() / (found | wet).sum() > 0.8


def test_chunks_of_two_bands_do_not_matter(lake):
    cube = lake[0][["green", "nir", "observation"]]
    whole = sapcnn.extract(cube, region=4, device="cpu").compute()
    lazy = sapcnn.extract(cube.chunk({"time": 1, "y": (30, 34), "x": (41, 23)}), region=4, device="cpu")
    for name in whole:
        np.testing.assert_array_equal(lazy[name].values, whole[name].values, err_msg=name)


def test_of_a_picture_with_infrared_the_weights_of_pictures_are_chosen(lake):
    cube = lake[0].copy()
    for name in ("blue", "green", "red", "nir"):
        cube[name] = (cube[name] / 0.3).assign_attrs(radiometry="display")
    used = json.loads(sapcnn.extract(cube, device="cpu").attrs["parameters"])
    assert (used["model"], used["radiometry"]) == ("sapcnn-rgb", "display")


def test_bands_that_no_packaged_weights_take_are_named(lake):
    with pytest.raises(
        MissingBandError, match=r"no model works on the bands nir, red.*sapcnn-green-nir takes green, nir"
    ):
        sapcnn.extract(lake[0][["red", "nir", "observation"]])
    with pytest.raises(MissingBandError, match=r"sapcnn-rgbn needs blue.*leave the model out"):
        sapcnn.extract(lake[0].drop_vars("blue"), model="sapcnn-rgbn")
