"""Classifiers of single pixels: what scikit-learn says, without it."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
import xarray as xr

from lakecube.errors import InvalidInputError, MissingBandError, MissingDependencyError, ReadError
from lakecube.kernels.mosaic import IS_JUDGED
from lakecube.methods import pixelwise
from lakecube.models.pixel_model import PixelModel, read_pixel_model
from lakecube.names import LAND_REASONS, NO_VALID_BANDS
from lakecube.synthetic.cube import sentinel2_cube

sklearn = pytest.importorskip("sklearn", reason='scikit-learn: pip install -c constraints.txt ".[forest]"')
BANDS = ("green", "nir", "swir16")


def labelled(n=600, seed=0):
    rng = np.random.default_rng(seed)
    bands = {name: rng.normal(0.2, 0.1, n).astype(np.float32) for name in BANDS}
    truth = (bands["green"] + 0.05 * rng.normal(size=n) > bands["nir"]).astype(np.uint8)
    return bands, truth


@pytest.fixture(scope="module")
def models():
    return {kind: pixelwise.fit(*labelled(), kind) for kind in ("svm", "rf")}


def test_a_machine_says_what_scikit_learn_says(models):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    bands, truth = labelled()
    table = np.stack(list(bands.values()), axis=1)
    theirs = make_pipeline(StandardScaler(), SVC(C=12, gamma=0.187)).fit(table, truth)
    new = np.stack(list(labelled(seed=1)[0].values()), axis=1)
    np.testing.assert_allclose(models["svm"].evaluate(new), theirs.decision_function(new), atol=0.02)
    assert (np.sign(models["svm"].evaluate(new)) == np.where(theirs.predict(new), 1, -1)).mean() > 0.995


def test_a_forest_says_what_scikit_learn_says(models):
    from sklearn.ensemble import RandomForestClassifier

    bands, truth = labelled()
    rows = np.random.default_rng(0).permutation(len(truth))
    table = np.stack(list(bands.values()), axis=1)
    theirs = RandomForestClassifier(150, max_features=2, random_state=0).fit(table[rows], truth[rows])
    new = np.stack(list(labelled(seed=1)[0].values()), axis=1)
    np.testing.assert_allclose(models["rf"].evaluate(new), theirs.predict_proba(new)[:, 1], atol=1e-12)


@pytest.mark.parametrize("kind", ["svm", "rf"])
def test_a_pixel_does_not_depend_on_others(models, kind):
    new = np.stack(list(labelled(seed=1)[0].values()), axis=1)
    order = np.random.default_rng(2).permutation(len(new))
    np.testing.assert_array_equal(models[kind].evaluate(new[order][:77]), models[kind].evaluate(new)[order][:77])


@pytest.mark.parametrize("kind", ["svm", "rf"])
def test_round_trip(models, kind, tmp_path):
    path = tmp_path / "m.npz"
    models[kind].save(path)
    again = read_pixel_model(path)
    assert (again.kind, again.bands, again.sha256) == (kind, BANDS, models[kind].sha256)
    for name, array in models[kind].arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array)


def test_a_mask_of_rows_and_columns_holds_on_every_date():
    cube = sentinel2_cube((32, 40), 2, seed=3, clouds=[0.0, 0.0])
    mask = (cube["green"] > cube["nir"]).values[0].astype(np.uint8)
    both = xr.DataArray(np.stack([mask, mask]), dims=("time", "y", "x"))
    options = {"kind": "rf", "names": ["green", "nir"], "sample": 100}
    assert pixelwise.fit(cube, mask, **options).sha256 == pixelwise.fit(cube, both, **options).sha256
    for wrong in (mask[:9], mask[0], np.stack([mask] * 3)):
        with pytest.raises(InvalidInputError, match=r"truth is of shape \(.*'y': 32, 'x': 40"):
            pixelwise.fit(cube, wrong, **options)


def test_a_pickle_is_not_opened(tmp_path):
    path = tmp_path / "bad.npz"
    np.savez(path, about=np.array(json.dumps({"kind": "rf", "bands": BANDS})), roots=np.array([{}], object))
    with pytest.raises(ReadError, match="no pixel model"):
        read_pixel_model(path)
    for content in (b"nothing", b""):
        path.write_bytes(content)
        with pytest.raises(ReadError, match=r"no pixel model: give a file that PixelModel\.save wrote"):
            read_pixel_model(path)


def test_a_damaged_or_boundless_pixel_model_is_refused(models, tmp_path):
    path = tmp_path / "m.npz"
    models["rf"].save(path)
    content = bytearray(path.read_bytes())
    middle = slice(len(content) // 2, len(content) // 2 + 40)
    content[middle] = b"\xff" * 40
    path.write_bytes(content)
    with pytest.raises(ReadError, match="no pixel model"):
        read_pixel_model(path)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**15,)})
    about = io.BytesIO()
    np.save(about, np.array(json.dumps({"kind": "svm", "bands": BANDS})))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("about.npy", about.getvalue())
        file.writestr("mean.npy", header.getvalue())
    with pytest.raises(ReadError, match="no pixel model"):
        read_pixel_model(path)


@pytest.mark.parametrize(
    "change",
    [
        {"left": [0, 0, 0]},
        {"right": [9, 0, 0]},
        {"feature": [7, -1, -1]},
        {"roots": [3]},
        {"share": [0.0]},
        {"roots": [[0]]},
        {"share": [0.5, 7.0, 0.9]},
        {"share": [0.5, np.nan, 0.9]},
    ],
    ids=str,
)
def test_a_forest_that_leads_astray_is_refused(change):
    tree = {"roots": [0], "feature": [1, -1, -1], "limit": [0.5, 0, 0], "left": [1, 0, 0], "right": [2, 0, 0],
            "share": [0.5, 0.1, 0.9]}  # fmt: skip
    good = PixelModel("rf", BANDS, {n: np.array(v) for n, v in tree.items()})
    assert good.evaluate(np.array([[0, 0.5, 0], [0, 0.6, 0]], np.float32)).tolist() == [0.1, 0.9]
    with pytest.raises(InvalidInputError, match="forest"):
        PixelModel("rf", BANDS, {n: np.array(v) for n, v in {**tree, **change}.items()})


@pytest.mark.parametrize("kind", ["svm", "rf"])
def test_a_cube_is_judged_pixel_by_pixel(cube, models, kind):
    holed = cube.copy(deep=True)
    holed["nir"][0, 3, 4] = np.nan
    out = holed.water.extract(method=kind, model=models[kind])
    table = np.stack([holed[name].values for name in BANDS], axis=-1)
    known = IS_JUDGED[holed["observation"].values] & np.isfinite(table).all(axis=-1)
    score = models[kind].evaluate(table[known])
    mask = out["water_mask"].values
    np.testing.assert_array_equal(mask[known] == 1, score > (0.5 if kind == "rf" else 0))
    assert (mask[~known] == 255).all()
    reason = out["reason"].values
    assert (reason[mask == 0] == LAND_REASONS["low_probability"]).all()
    seen = IS_JUDGED[holed["observation"].values]
    np.testing.assert_array_equal(reason[~seen], holed["observation"].values[~seen])
    assert (reason[seen & ~known] == NO_VALID_BANDS).all()
    assert ("water_probability" in out) == (kind == "rf")
    assert out.attrs["method"] == kind


def test_the_narrow_near_infrared_stands_in(cube, models):
    narrow = cube.drop_vars("nir08", errors="ignore").rename(nir="nir08")
    found = pixelwise.extract(narrow, model=models["rf"]).water_mask
    np.testing.assert_array_equal(found, pixelwise.extract(cube, model=models["rf"]).water_mask)


def test_it_learns_from_a_labelled_cube(cube):
    truth = (cube["green"].isel(time=0) > cube["swir16"].isel(time=0)).astype("uint8")
    model = pixelwise.fit(cube.isel(time=[0]), truth, "rf", names=["green", "swir16"], sample=500)
    found = cube.isel(time=[0]).water.extract(method="rf", model=model)["water_mask"].values[0]
    known = found < 2
    assert model.bands == ("green", "swir16")
    assert (found == truth.values)[known].mean() > 0.95


def test_mistakes_are_named(cube, models, monkeypatch):
    bands, truth = labelled(50)
    no_nir = cube.drop_vars(["nir", "nir08"])
    for call, error, match in (
        (lambda: pixelwise.fit(bands, truth, "knn"), InvalidInputError, "knn"),
        (lambda: pixelwise.fit(bands, truth[:9], "rf"), InvalidInputError, "different pixels"),
        (lambda: pixelwise.fit(bands, truth * 0, "rf"), InvalidInputError, "land"),
        (lambda: pixelwise.fit(bands, truth, "rf", names=["red"]), MissingBandError, "red"),
        (lambda: cube.water.extract(method="svm"), InvalidInputError, "fit"),
        (lambda: cube.water.extract(method="svm", model=models["rf"]), InvalidInputError, "rf"),
        (lambda: cube.water.extract(method="rf", model="none.npz"), InvalidInputError, "none.npz"),
        (lambda: no_nir.water.extract(method="rf", model=models["rf"]), MissingBandError, "nir"),
    ):
        with pytest.raises(error, match=match):
            call()
    monkeypatch.setattr(pixelwise, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="forest"):
        pixelwise.fit(bands, truth, "rf")
