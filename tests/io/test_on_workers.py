"""Reading in a process of its own, as a worker of a cluster does: in another folder, and what goes wrong there."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pystac
import pytest
from dask.base import tokenize

import lakecube
from benchmarks.processes import Cluster
from lakecube.accuracy.reference import raster_states
from lakecube.errors import InvalidInputError, LakecubeError, ReadError
from lakecube.io.signing import Signer
from tests.imagery import UTM, grid, write_raster
from tests.io.server import serve

distributed = pytest.importorskip("distributed")

WHERE = grid(32, 32)
DAY = "2022-04-20"


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    """The folder of a worker that holds files of the names that the tests use, with other numbers."""
    folder = tmp_path_factory.mktemp("cluster")
    with Cluster(folder, workers=1) as cluster, distributed.Client(cluster.address, timeout=60) as client:
        client.wait_for_workers(1, timeout=240)
        lay(folder / "worker-1", 9)
        yield client


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder in which the user is, with files of his own."""
    monkeypatch.chdir(tmp_path)
    lay(tmp_path, 7)
    return tmp_path


def lay(folder, number):
    write_raster(folder / f"{DAY}_green.tif", np.full((32, 32), number / 100, "float32"), WHERE, nodata=None)
    write_raster(folder / "dem.tif", np.full((32, 32), number, "float32"), WHERE, nodata=None)
    write_raster(folder / "mask.tif", np.full((32, 32), number == 7, "uint8"), WHERE, nodata=None)


def items(folder=None):
    """An item without a place of its own."""
    made = pystac.Item("i", None, None, pystac.utils.str_to_datetime(f"{DAY}T03:00:00Z"), {"proj:code": UTM})
    made.properties |= {"proj:shape": [32, 32], "proj:transform": list(WHERE.transform)}
    for band in ("green", "swir16"):
        made.add_asset(band, pystac.Asset(f"{DAY}_green.tif" if folder is None else f"{folder}/{DAY}_green.tif"))
    return [made]


@pytest.mark.parametrize("form", ["one", "several", "items", "with a dem"])
def test_paths_are_those_of_the_user(worker, here, form):
    name = f"{DAY}_green.tif"
    source = {"one": name, "several": [name], "items": items()}.get(form, name)
    cube = lakecube.open(source, dem="dem.tif" if form == "with a dem" else None)
    assert float(cube.green.mean()) == pytest.approx(0.07)
    if form == "with a dem":
        assert float(cube.elevation.mean()) == 7


def test_a_reference_is_that_of_the_user(worker, here):
    like = lakecube.open(f"{DAY}_green.tif").green[0].drop_vars("time")
    assert (raster_states("mask.tif", like).compute() == 1).all()


def test_the_configuration_tells_no_more_of_a_path_than_was_given(here):
    cube = lakecube.open(f"{DAY}_green.tif")
    assert cube.attrs["source"] == f"{DAY}_green.tif"
    assert str(here) not in str({**cube.attrs, "request": ""}) + str(cube.coords["item_id"].values)


def test_an_error_of_a_worker_is_the_error_of_the_user(worker, here):
    cube = lakecube.open(f"{DAY}_green.tif", dem="dem.tif")
    (here / "dem.tif").write_bytes(b"II*\0" + bytes(30))
    with pytest.raises(ReadError, match=r"dem\.tif: .*not recognized") as told:
        cube.elevation.compute()
    assert type(told.value) is ReadError


def _signed(href):
    return f"{href}?sig=right"


def _own():
    lock = threading.Lock()

    class Own:
        def __init__(self):
            self.lock = lock

        def __call__(self, href):
            return _signed(href)

    return Own()


def _closure(lock=None):
    return lambda href: _signed(href) if lock is None else lock and _signed(href)


@pytest.mark.parametrize(
    ("sign", "why"),
    [
        (_signed, None),
        (_closure(), None),
        (_closure(threading.Lock()), "cannot pickle '_thread.lock'"),
        (_own(), "cannot pickle '_thread.lock'"),
    ],
    ids=["function", "lambda", "lambda with a lock", "local class"],
)
def test_a_signer_reaches_the_workers_or_says_why_not(worker, here, sign, why):
    with serve(here) as site:
        site.key = "sig=right"
        cube = lakecube.open(items(site.url), sign=sign, retries=0)
        assert float(cube.green.compute(scheduler="threads").mean()) == pytest.approx(0.07)
        if why is None:
            assert float(cube.green.mean()) == pytest.approx(0.07)
            return
        with pytest.raises(InvalidInputError, match=r"sign= does not reach the workers") as told:
            cube.green.compute()
        assert why in str(told.value)
        assert "planetary_computer.sign_url" in str(told.value)
        with pytest.raises(InvalidInputError, match="sign= does not reach"):
            cube.water.extract().water.to_zarr(here / "s.zarr", progress=False)


def test_a_signer_that_a_worker_cannot_import_says_so():
    from lakecube.io.signing import _arrived

    arrived = _arrived(b"\x80\x04\x8c\x06nowhat\x8c\x04sign\x93.", "")
    with pytest.raises(InvalidInputError, match="No module named 'nowhat'"):
        arrived("https://a.example/b.tif")


def test_a_signer_is_no_part_of_what_the_data_are(here):
    def never(href):
        raise AssertionError("it was asked before a read")

    names = set()
    for sign in (_signed, _own(), never, _closure(threading.Lock())):
        cube = lakecube.open(items("http://127.0.0.1:9"), sign=sign)
        names.add((cube.green.data.name, cube.attrs["input_token"], tokenize(Signer(sign))))
    assert len(names) == 1


@pytest.mark.parametrize("sign", [5, "token", ("a", "b")])
def test_a_signer_that_is_none_is_refused(here, sign):
    with pytest.raises(InvalidInputError, match="a function from the address of a file"):
        lakecube.open(items("http://127.0.0.1:9"), sign=sign)


def _failures(folder, url):
    """What the reading room raises where tasks read, each with what it comes of."""
    from lakecube.io.files import open_source
    from lakecube.io.patience import Patience

    (folder / "junk.tif").write_bytes(b"II*\0" + bytes(30))
    whole = (folder / f"{DAY}_green.tif").read_bytes()
    (folder / "cut.tif").write_bytes(whole[: len(whole) // 2])
    noise = np.random.default_rng(1).random((1, 32, 32)).astype("float32")
    cut = write_raster(folder / "noise.tif", noise, WHERE, nodata=None)
    (folder / "half.tif").write_bytes((folder / "noise.tif").read_bytes()[:-900])
    hrefs = [f"{folder}/none.tif", f"{folder}/junk.tif", f"{folder}/cut.tif", f"{folder}/half.tif", "zip:///a.zip"]
    hrefs += [f"{url}/none.tif?sig=SECRET", f"{url}/junk.tif", f"{url}/half.tif?sig=SECRET", "s3://nowhere/a.tif"]
    for href in (*hrefs, "http://127.0.0.1:9/a.tif?sig=SECRET", f"{cut}?x"):
        try:
            with open_source(href, local=True, patience=Patience(times=0, timeout=2)) as file:
                file.read(1)
        except LakecubeError as error:
            yield href, error
        else:
            raise AssertionError(f"{href} was read")


def test_every_error_of_reading_travels_and_alone(here, monkeypatch):
    from distributed.core import clean_exception, error_message

    for name, value in {"AWS_NO_SIGN_REQUEST": "YES", "AWS_S3_ENDPOINT": "127.0.0.1:9", "AWS_HTTPS": "NO"}.items():
        monkeypatch.setenv(name, value)
    with serve(here) as site:
        for href, error in _failures(here, site.url):
            assert error.__cause__ is None and error.__context__ is None, href
            found = clean_exception(error_message(error)["exception"].data)[1]
            assert (type(found), str(found)) == (type(error), str(error)), href
            assert "SECRET" not in str(found)


class Telling:
    """A signer whose failure to travel shows what it has signed."""

    def __call__(self, href):
        return href

    def __reduce__(self):
        raise ValueError("https://a.example/b.tif?sig=hidden")


def test_a_signer_that_does_not_travel_shows_no_signature():
    arrived = pickle.loads(pickle.dumps(Signer(Telling())))
    with pytest.raises(InvalidInputError, match=r"sign= does not reach the workers.*ValueError") as told:
        arrived("https://a.example/c.tif")
    assert "hidden" not in str(told.value)
