"""Nothing that is secret in an address or the environment comes out: in stores, reports, logs, exports, messages."""

import json
import logging
import traceback

import numpy as np
import pytest

import lakecube
from lakecube.cli import main
from lakecube.errors import LakecubeError
from lakecube.io import stac_reading
from lakecube.io.patience import Patience
from lakecube.synthetic.archive import make_archive
from tests.io.server import serve

SECRETS = {name: f"5ec2e7{name}0f4a" for name in ("sig", "amz", "token", "key", "env")}


@pytest.fixture
def signed(tmp_path, monkeypatch):
    """The address of a server's items, all of whose addresses are signed; credentials in the environment."""
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_ACCESS_KEY", "PC_SDK_SUBSCRIPTION_KEY"):
        monkeypatch.setenv(name, SECRETS["env"])
    archive = make_archive(
        tmp_path / "site", shape=(48, 48), dates=["2022-03-01", "2022-04-20"], bands=("green", "nir", "swir16", "red"),
        dem=False, clouds=[0.0, 0.2],
    )  # fmt: skip
    query = f"X-Amz-Signature={SECRETS['amz']}&sig={SECRETS['sig']}&X-Amz-Credential={SECRETS['key']}"
    document = json.loads(archive.items_path.read_text())
    with serve(tmp_path / "site") as site:
        for item in document["features"]:
            for asset in item["assets"].values():
                asset["href"] = f"{site.url}/{asset['href'].removeprefix('./')}?{query}"
            item["links"] = [{"rel": "self", "href": f"{site.url}/one.json?token={SECRETS['token']}"}]
        (tmp_path / "site" / "items.json").write_text(json.dumps(document))
        yield site, f"{site.url}/items.json?{query}&token={SECRETS['token']}"


def _texts(dataset):
    yield str(dataset.attrs)
    yield str(dataset.encoding)
    for name, variable in dataset.variables.items():
        yield f"{name} {variable.attrs}"
        if variable.dtype.kind in "UOST":
            yield str(np.asarray(variable.values).tolist())


def test_secrets_come_out_nowhere(signed, tmp_path, capsys, caplog):
    site, source = signed
    caplog.set_level(logging.DEBUG, "lakecube")
    said = []
    cube = lakecube.open(source, sign=None)
    said += [repr(cube), *(_texts(cube))]
    water = cube.water.extract()
    said += [repr(water), repr(cube.water.plan())]
    path = tmp_path / "water.zarr"
    store = water.water.to_zarr(path, progress=False)
    said += [repr(store), store._repr_html_(), *_texts(store)]
    x, y = float(store.x[20]), float(store.y[20])
    import pyproj

    lon, lat = pyproj.Transformer.from_crs(32648, 4326, always_xy=True).transform(x, y)
    said.append(repr(store.water.explain(lon, lat, "2022-03-01")))
    said.append(repr(cube.water.explain(lon, lat, "2022-03-01")))
    exports = [str(path), str(tmp_path / "out"), "--format", "cog", "netcdf", "geojson", "csv", "--stac"]
    for arguments in (["info", str(path), "--dates"], ["info", str(path), "--json"], ["export", *exports]):
        main(arguments)
    for spoilt in ("cut", "gone"):  # messages of failures
        page = json.loads((tmp_path / "site" / "items.json").read_text())
        asset = page["features"][0]["assets"]["green"]
        asset["href"] = asset["href"].replace("B03.tif", f"{spoilt}.tif")
        asset.pop("proj:transform"), asset.pop("proj:shape")
        (tmp_path / "site" / "cut.tif").write_bytes(b"II*\0" + bytes(20))
        (tmp_path / "site" / f"{spoilt}.json").write_text(json.dumps(page))
        with pytest.raises(LakecubeError) as caught:
            lakecube.open(source.replace("items.json", f"{spoilt}.json"), retries=0)
        said += [str(caught.value), repr(caught.value.__cause__)]
    site.always["/gone-too.json"] = 500
    with pytest.raises(LakecubeError) as caught:
        lakecube.open(source.replace("items.json", "missing.json"))
    said += [str(caught.value)]
    out = capsys.readouterr()
    said += [out.out, out.err, caplog.text]
    made = [p for p in tmp_path.rglob("*") if p.is_file() and not p.is_relative_to(tmp_path / "site")]
    assert {p.suffix for p in made} >= {".tif", ".nc", ".csv", ".json"}
    for name, secret in SECRETS.items():
        assert not [text[:200] for text in said if secret in text], name
        assert not [p.name for p in made if secret.encode() in p.read_bytes()], name
        assert not [p.name for p in made if secret in p.name], name


BASE = {"stac_version": "1.0.0", "description": "d", "links": []}
ITEM = {**BASE, "type": "Feature", "id": "i", "geometry": None, "properties": {"datetime": "2022-03-01T00:00:00Z"}}


def _failing(folder, url):
    """Addresses that are signed, and cannot be read: of catalogues, their children, items, imagery and tables."""
    query = f"X-Amz-Signature={SECRETS['amz']}&sig={SECRETS['sig']}"

    def put(name, document):
        text = document if isinstance(document, str) else json.dumps(document)
        (folder / name).write_text(text)
        return f"{url}/{name}?{query}"

    def catalog(rel, target):
        links = [{"rel": rel, "href": f"{target}?{query}"}]
        return put(f"{rel}-{target.rpartition('/')[2]}", {**BASE, "type": "Catalog", "id": "c", "links": links})

    def with_asset(href, **more):
        asset = {"href": href, "type": "image/tiff", **more}
        return put(f"item-{abs(hash(href))}.json", {**ITEM, "assets": {"green": asset}})

    yield f"http://127.0.0.1:9/items.json?{query}"
    yield f"http://127.0.0.1:9/api?{query}"
    yield f"{url}/none.json?{query}"
    yield f"{url}/broken?{query}"
    yield put("html.json", "<html>")
    yield put("cut.json", '{"type": "Feature"')
    yield put("odd.json", {**ITEM, "assets": [], "properties": {"datetime": f"{url}?{query}"}})
    yield put("no.parquet", "PAR1")
    for target in (f"{url}/none.json", f"{url}/cut.json", "http://127.0.0.1:9/x.json", "s3://nowhere/x.json"):
        yield catalog("item", target)
        yield catalog("child", target)
    for target in (f"{url}/none.tif", f"{url}/html.json", "http://127.0.0.1:9/x.tif", "s3://nowhere/x.tif"):
        yield with_asset(f"{target}?{query}")
    for name in ("x.tif", "x.nc", "x.zarr"):
        yield f"s3://nowhere/{name}?{query}"
    yield f"http://127.0.0.1:9/x.zarr?{query}"


def test_no_traceback_tells_a_secret(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(stac_reading, "PATIENCE", Patience(times=0))
    for name, value in {"AWS_NO_SIGN_REQUEST": "YES", "AWS_S3_ENDPOINT": "127.0.0.1:9", "AWS_HTTPS": "NO"}.items():
        monkeypatch.setenv(name, value)
    caplog.set_level(logging.DEBUG)
    (tmp_path / "site").mkdir()
    with serve(tmp_path / "site") as site:
        site.always["/broken"] = 500
        for source in _failing(tmp_path / "site", site.url):
            with pytest.raises(LakecubeError) as caught:
                lakecube.open(source, datetime="2022", retries=0)
            told = "".join(traceback.format_exception(caught.value))
            chain = caught.value
            while chain is not None:  # what is hidden is pickled all the same
                told += repr(chain)
                chain = chain.__cause__ or chain.__context__
            assert not [name for name, secret in SECRETS.items() if secret in told], (source, told)
    assert not [name for name, secret in SECRETS.items() if secret in caplog.text]
