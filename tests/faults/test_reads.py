"""A run over an archive that fails: what passes costs retries, what does not is `read_failed`; no more."""

from __future__ import annotations

import logging
import time
from http.server import BaseHTTPRequestHandler

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile

import lakecube
from lakecube.errors import ReadError
from lakecube.io.files import open_source
from tests.faults import made
from tests.faults.server import SECRET, Fault, Signer, serve
from tests.loopback import serving

OF_DATE = dict(enumerate(made.DATES))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    return folder, made.archive(folder)


@pytest.fixture
def site(archive):
    with serve(archive[0]) as running:
        yield running


@pytest.fixture(scope="module")
def base(archive, tmp_path_factory):
    """The store of an undisturbed run."""
    path = tmp_path_factory.mktemp("base") / "s.zarr"
    with serve(archive[0]) as running:
        assert made.run(running.url, path) == []
    return path


MARCH = {"datetime": "2022-03", "revise": False}  # three dates are enough for one fault


def same_in_march(path, base):
    """Whether the three dates of a store hold the bytes of the undisturbed run."""
    theirs = made.by_date(base)
    return made.by_date(path) == {date: theirs[date] for date in made.DATES[:3]}


def file_of(archive, date, band="B03"):
    return f"/{archive[1][date]}/{band}.tif"


def test_many_faults_at_once_change_nothing_but_what_they_hit(archive, site, base, tmp_path):
    folder, _ = archive
    other = (folder / file_of(archive, 0)[1:]).read_bytes()
    script = {
        0: Fault("status", last=2, code=503),
        1: Fault("status", last=1, code=429, headers=(("Retry-After", "0.2"),)),
        2: Fault("cut", first=2, last=3, size=500),
        3: Fault("status", code=404),
        4: Fault("content", first=3, data=other),
        5: Fault("stall", first=2, last=2, seconds=1.5),
        6: Fault("lie", first=2, last=2, size=64),
        7: Fault("hang_up", last=2),
        8: Fault("status", code=302, headers=(("Location", "file:///etc/hostname"),)),
    }
    site.faults = {file_of(archive, date): [fault] for date, fault in script.items()}
    told = made.run(site.url, tmp_path / "s")
    assert all(site.spoilt[file_of(archive, date), fault.kind] > 0 for date, fault in script.items())
    failed = [OF_DATE[3], OF_DATE[4], OF_DATE[8]]
    assert len(told) == 1 and all(date in told[0] for date in failed)
    unread = made.unread(tmp_path / "s")
    assert unread[OF_DATE[3]] == unread[OF_DATE[8]] == 1.0
    assert set(unread) <= set(failed)  # of the file that changed perhaps only its threshold could not be read
    mine, theirs = made.by_date(tmp_path / "s"), made.by_date(base)
    assert {OF_DATE[3], OF_DATE[8]} <= {date for date in mine if mine[date] != theirs[date]} <= set(failed)
    reads = made.report(tmp_path / "s")["reads"]
    assert {"the server answered 503", "the server answered 429", "the transfer broke off"} <= set(reads["reasons"])
    assert {"the file changed while it was read", "the server answered 404"} <= set(reads["reasons"])
    assert "the server redirects to 'file:///etc/hostname', which is not followed" in reads["reasons"]
    assert {entry["item"] for entry in reads["files"] if "failed" in entry} == {archive[1][k] for k in (3, 4, 8)}
    site.heal()
    assert made.run(site.url, tmp_path / "s", mode="append", retry=True) == []
    asked = {path.split("/")[1] for path in site.asked} - {"items.json"}
    assert asked == {archive[1][k] for k in (3, 4, 8)}
    assert made.by_date(tmp_path / "s") == theirs
    ours, whole = lakecube.open_store(tmp_path / "s"), lakecube.open_store(base)
    # the ids of lakes go on from the revision before, so they may differ; what they are made of may not
    for name in ("count_wet", "count_clear", "water_frequency", "month_state"):
        assert ours[name].values.tobytes() == whole[name].values.tobytes(), name


def test_a_token_that_expires_costs_a_retry_and_shows_nowhere(archive, site, base, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    site.signed = True
    site.faults = {file_of(archive, 2): [Fault("slow", first=2, last=2, seconds=0.5)]}
    sign = Signer(lifetime=0.4)
    told = made.run(site.url, tmp_path / "s", sign=sign, **MARCH)
    assert told == []
    assert site.statuses[403] >= 1
    assert sign.asked > 3 * 4
    assert same_in_march(tmp_path / "s", base)
    assert made.report(tmp_path / "s")["reads"]["reasons"]["the server answered 403"]["tried_again"] >= 1
    assert SECRET not in caplog.text
    for file in (tmp_path / "s").rglob("*"):
        assert file.is_dir() or SECRET.encode() not in file.read_bytes(), file


def test_an_unsigned_refusal_is_asked_for_once(archive, site, tmp_path):
    site.signed = True
    path = file_of(archive, 0)
    made.forget()
    cube = lakecube.open(f"{site.url}/items.json", bands=made.BANDS, retries=made.QUICK)
    assert (cube.observation[0].values == lakecube.names.OBSERVATION["read_failed"]).all()
    assert site.asked[path.replace("B03", "scl")] == 1


def test_a_threshold_made_without_a_part_of_its_imagery_is_told_and_mended(archive, site, base, tmp_path):
    """The pass that finds thresholds fails, the pass that judges does not: no pixel is unread, yet the date is."""
    site.faults = {file_of(archive, 1, "scl"): [Fault("status", last=4, code=500)]}
    told = made.run(site.url, tmp_path / "s", retries=made.QUICK | {"times": 0}, **MARCH)
    assert len(told) == 1 and OF_DATE[1] in told[0] and "threshold" in told[0]
    assert len(made.report(tmp_path / "s")["scenes"]["failed"]) == 1  # though no pixel of it is unread
    site.heal()
    assert made.run(site.url, tmp_path / "s", mode="append", retry=True, **MARCH) == []
    assert same_in_march(tmp_path / "s", base)


@pytest.mark.parametrize("kind", ["drip", "stall"])
def test_a_server_that_stands_still_is_given_up(archive, site, kind):
    path = file_of(archive, 0)
    site.faults = {path: [Fault(kind, size=200, seconds=5)]}
    made.forget()
    patience = {"times": 1, "wait": 0.01, "timeout": 0.3}
    cube = lakecube.open(f"{site.url}/items.json", bands=["green"], retries=patience).isel(time=[0])
    begin = time.perf_counter()
    state = cube.observation.values
    assert time.perf_counter() - begin < 5
    assert (state == lakecube.names.OBSERVATION["read_failed"]).all()


def test_a_server_without_ranges_or_etags_is_read_all_the_same(archive, site, base, tmp_path):
    site.etags = False
    site.faults = {file_of(archive, k): [Fault("whole")] for k in range(3)}
    assert made.run(site.url, tmp_path / "s", **MARCH) == []
    assert same_in_march(tmp_path / "s", base)


def test_a_redirect_to_another_web_address_is_followed(archive, site, base, tmp_path):
    path = file_of(archive, 1)
    with serve(archive[0]) as mirror:
        site.faults = {path: [Fault("status", code=307, headers=(("Location", f"{mirror.url}{path}"),))]}
        assert made.run(site.url, tmp_path / "s", **MARCH) == []
        assert mirror.asked[path] > 0
    assert same_in_march(tmp_path / "s", base)


@pytest.mark.parametrize("where", ["ftp://127.0.0.1/x.tif", "/vsimem/x.tif\n", "", "http://127.0.0.1:1/x.vrt", None])
def test_redirects_elsewhere_are_not_followed(archive, site, where):
    path = file_of(archive, 0)
    where = f"{site.url}{path}" if where is None else where  # round and round
    site.faults = {path: [Fault("status", code=301, headers=(("Location", where.strip()),))]}
    made.forget()
    cube = lakecube.open(f"{site.url}/items.json", bands=["green"], retries=0).isel(time=[0])
    assert (cube.observation.values == lakecube.names.OBSERVATION["read_failed"]).all()


@pytest.mark.parametrize("how", ["flipped", "truncated", "html"])
def test_spoilt_bytes_are_no_numbers(archive, site, how):
    path = file_of(archive, 0)
    data = (archive[0] / path[1:]).read_bytes()
    spoilt = {
        "flipped": data[:20000] + bytes(b ^ 0x55 for b in data[20000:20100]) + data[20100:],
        "truncated": data[: len(data) * 2 // 3],
        "html": b"<html>sign in</html>" * 4000,
    }[how]
    site.faults = {path: [Fault("content", data=spoilt)]}
    made.forget()
    cube = lakecube.open(f"{site.url}/items.json", bands=["green"], retries=made.QUICK).isel(time=[0])
    read = cube.load()
    failed = read.observation.values[0] == lakecube.names.OBSERVATION["read_failed"]
    assert failed.any()
    assert np.isnan(read.green.values[0][failed]).all()


def test_headers_that_open_must_read_are_tried_again(archive, site):
    made.forget()
    path = file_of(archive, 0)
    site.faults = {path: [Fault("status", last=2, code=503)]}
    href = f"{site.url}{path}"
    cube = lakecube.open(
        [href], bands={"1": "green"}, datetime="2022-03-01", sensor="sentinel-2-l2a", retries=made.QUICK
    )
    assert np.isfinite(cube.green.values).mean() > 0.5
    site.heal()
    made.forget()
    site.faults = {path: [Fault("status", code=404)]}
    with pytest.raises(ReadError, match="answered 404"):
        lakecube.open([href], bands={"1": "green"}, datetime="2022-03-01", sensor="sentinel-2-l2a", retries=made.QUICK)


def test_items_cut_short_are_asked_for_again(archive, site):
    made.forget()
    site.faults = {"/items.json": [Fault("cut", last=1, size=900), Fault("status", first=2, last=2, code=503)]}
    assert made.extract(site.url).sizes["time"] == len(made.DATES)


def test_files_that_differ_by_the_query_of_their_address_are_two():
    """A server without ETags and dates, and two files of one length: neither gets the header or pixels of the other."""
    pictures = {}
    for name, value in (("4", 100), ("5", 200)):
        with MemoryFile() as memory:
            with memory.open(driver="GTiff", width=256, height=256, count=1, dtype="uint16", tiled=True,
                             blockxsize=64, blockysize=64, crs="EPSG:32630",
                             transform=rasterio.Affine(10, 0, 5e5, 0, -10, 46e5)) as file:  # fmt: skip
                file.write(np.full((256, 256), value, "uint16"), 1)
            pictures[name] = memory.read()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            data = pictures[self.path.rpartition("=")[2]]
            start, end = (int(text) for text in self.headers["Range"].removeprefix("bytes=").split("-"))
            body = data[start : end + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    made.forget()
    with serving(Handler, quiet=True) as url:
        for name, value in (("4", 100), ("5", 200), ("4", 100)):
            with open_source(f"{url}/get?id={name}", local=False) as file:
                assert (file.read(1, window=((0, 64), (0, 128))) == value).all()
