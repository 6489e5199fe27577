"""A store in object storage, against an S3 server on loopback: the same bytes as on disk, and no secret anywhere."""

import pickle

import dask
import numpy as np
import pytest
import xarray as xr

import lakecube.store.write_tasks as write_tasks
from lakecube.errors import InvalidInputError, StoreError, StoreExistsError
from lakecube.store import open_store, revise, to_zarr
from lakecube.store.files import LocalFiles
from lakecube.store.lease import LEASE, Lease
from lakecube.store.objects import ObjectFiles, ObjectPlace, without_secrets
from tests.loopback import object_storage
from tests.store.made import extract
from tests.store.test_restart import snapshot

obstore = pytest.importorskip("obstore")
SMALL = {"rows": 16, "columns": 24}
SECRET = "sEcReTsEcReT"


@pytest.fixture(scope="module")
def server():
    with object_storage() as address:
        yield f"http://{address}"


@pytest.fixture
def options(server):
    return {
        "access_key_id": "AKIDAKID",
        "secret_access_key": SECRET,
        "region": "us-east-1",
        "endpoint": server,
        "client_options": {"allow_http": True},
    }


@pytest.fixture
def url(request):
    return f"s3://bucket/{request.node.name.translate(str.maketrans('[]/ ', '____'))}/s.zarr"


@pytest.fixture
def fetched(url, options, tmp_path):
    """A function that copies what lies in the bucket to a directory."""

    def fetch(name="fetched"):
        client = ObjectPlace.of(url, options).client()
        for batch in obstore.list(client):
            for item in batch:
                LocalFiles(tmp_path / name).write(item["path"], obstore.get(client, item["path"]).bytes().to_bytes())
        return tmp_path / name

    return fetch


def test_the_same_bytes_as_on_disk_through_append_and_revise(tmp_path, url, options, fetched):
    for place, how in ((tmp_path / "s", {}), (url, {"storage_options": options})):
        to_zarr(extract(times=2, **SMALL), place, chunks=16, **how)
        to_zarr(extract(times=1, start=2, **SMALL), place, mode="append", revise=False, **how)
        out = revise(place, progress=False, **how)
        assert out.attrs["revision"] == 1
    assert snapshot(fetched()) == snapshot(tmp_path / "s")
    for level in (1, 0):
        disk = open_store(tmp_path / "s", level=level)
        there = open_store(url, level=level, storage_options=options)
        xr.testing.assert_identical(there.load(), disk.load())
    to_zarr(extract(times=2, **SMALL), url, storage_options=options)  # nothing to do
    assert snapshot(fetched("again")) == snapshot(tmp_path / "s")
    for file in fetched().rglob("*"):
        assert file.is_dir() or SECRET.encode() not in file.read_bytes(), file


def test_it_goes_on_after_an_error(tmp_path, url, options, fetched, monkeypatch):
    to_zarr(extract(times=2, **SMALL), tmp_path / "s", chunks=16)
    write, calls = write_tasks._write, []

    def failing(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("worker died")
        return write(*args, **kwargs)

    monkeypatch.setattr(write_tasks, "_write", failing)
    how = {"chunks": 16, "wave": 2, "storage_options": options}
    with pytest.raises(RuntimeError), dask.config.set(scheduler="synchronous"):
        to_zarr(extract(times=2, **SMALL), url, **how)
    with pytest.raises(StoreError, match="not finished"):
        open_store(url, storage_options=options)
    del calls[:]
    monkeypatch.setattr(write_tasks, "_write", lambda *a, **k: calls.append(1) or write(*a, **k))
    to_zarr(extract(times=2, **SMALL), url, **how)
    assert len(calls) == 4 - 2 and snapshot(fetched()) == snapshot(tmp_path / "s")


def test_the_lakes_of_another_store_there(url, options):
    for name in ("/a", "/b"):
        to_zarr(extract(times=2, **SMALL), url + name, chunks=16, storage_options=options)
    out = revise(f"{url}/a", registry=f"{url}/b", storage_options=options)
    assert out.attrs["revision"] == 1 and np.array_equal(out.lake, np.arange(1, out.sizes["lake"] + 1))
    files = ObjectPlace.of(url, options).files
    files.delete("b/revision/0/lake_label/c")
    with pytest.raises(StoreError, match="torn or gone") as told:
        revise(f"{url}/a", registry=f"{url}/b", min_wet=1, storage_options=options)
    assert SECRET not in str(told.value)


def test_two_writers(url, options):
    files = ObjectPlace.of(url, options).files
    with Lease(files) as lease:
        with pytest.raises(StoreError, match=rf"{url} is being written by process .* delete {url}/{LEASE}"):
            to_zarr(extract(times=1, **SMALL), url, storage_options=options)
        before = files.read(LEASE)
        files.touch(LEASE)
        assert files.read(LEASE) == before and 0 <= files.age(LEASE) < 60
        assert lease.files.list("_ledger") == ["lease.json"]
    assert not files.exists("")
    files.write(LEASE, before.replace(b'"host": "', b'"host": "elsewhere.').replace(b'"pid"', b'"x"'))
    with pytest.raises(StoreError, match=r"on elsewhere\."):
        to_zarr(extract(times=1, **SMALL), url, storage_options=options)
    files.write(LEASE, before.replace(b'"started": "', b'"started": "1'))  # of a process that is gone
    assert to_zarr(extract(times=1, **SMALL), url, storage_options=options).sizes["time"] == 1


def test_a_swap_is_one_request_with_a_condition(url, options, monkeypatch):
    files, put = ObjectPlace.of(url, options).files, obstore.put
    files.write("root", b"1")

    def late(client, key, data, **how):
        put(client, key, b"of somebody else")
        return put(client, key, data, **how)

    monkeypatch.setattr(obstore, "put", late)
    for before, key in ((b"1", "root"), (None, "new")):
        with pytest.raises(FileExistsError):
            files.swap(key, b"2", before)
        assert files.read(key) == b"of somebody else"

    def twice(client, key, data, **how):  # as when the first answer was lost
        put(client, key, data, **how)
        return put(client, key, data, **how)

    monkeypatch.setattr(obstore, "put", twice)
    files.swap("root", b"3", b"of somebody else")
    files.swap("newer", b"4", None)
    assert files.read("root") == b"3" and files.read("newer") == b"4"


def test_overwrite_says_what_to_do_instead(url, options):
    how = {"mode": "overwrite", "storage_options": options}
    to_zarr(extract(times=1, **SMALL), url, **how)
    with pytest.raises(StoreError, match="another prefix"):
        to_zarr(extract(times=1, start=1, **SMALL), url, **how)


def test_what_is_there_already(url, options):
    files = ObjectPlace.of(url, options).files
    files.write("mine.txt", b"years of work")
    with pytest.raises(StoreExistsError, match="not a lakecube store"):
        to_zarr(extract(times=1, **SMALL), url, storage_options=options)
    assert files.list("") == ["mine.txt"]
    to_zarr(extract(times=1, **SMALL), f"{url}/inner", storage_options=options)
    with pytest.raises(StoreError, match="lies inside the store"):
        to_zarr(extract(times=1, **SMALL), f"{url}/inner/a/b", storage_options=options)


def test_files_are_as_on_disk(tmp_path, url, options):
    for files in (LocalFiles(tmp_path / "s"), ObjectPlace.of(url, options).files):
        assert files.list("") == [] and not files.exists("") and not files.exists("a")
        with pytest.raises(FileNotFoundError):
            files.read("a/b")
        files.write("a/b", b"1")
        files.write("ab", b"2")
        files.write("a/c/d", b"3")
        files.create("e", b"4")
        with pytest.raises(FileExistsError):
            files.create("e", b"5")
        assert files.read("e") == b"4" and files.list("") == ["a", "ab", "e"] and files.list("a") == ["b", "c"]
        assert files.exists("a/c") and files.exists("ab") and not files.exists("c")
        assert files.read("e", most=1) == b"4"
        with pytest.raises(StoreError, match=r"e is of 1 bytes"):
            files.read("e", most=0)
        files.swap("e", b"6", b"4")
        files.swap("new", b"7", None)
        for key, before in (("e", b"4"), ("e", None), ("nothing", b"4")):
            with pytest.raises(FileExistsError):
                files.swap(key, b"8", before)
        assert files.read("e") == b"6" and files.read("new") == b"7"
        files.write("e", b"4")
        files.delete("new")
        files.delete("a")
        files.delete("nothing")
        assert files.list("") == ["ab", "e"] and files.read("ab") == b"2"


def test_workers_get_a_handle(url, options):
    place = pickle.loads(pickle.dumps(ObjectPlace.of(url, options)))
    assert place == ObjectPlace.of(url, options) and SECRET not in f"{place} {place!r} {ObjectFiles(place).where('x')}"
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        out = to_zarr(extract(times=1, **SMALL), url, chunks=16, storage_options=options).load()
    np.testing.assert_array_equal(out.water_mask, extract(times=1, **SMALL).water_mask)


@pytest.mark.parametrize(
    ("path", "given", "error", "message"),
    [
        ("s3://me:pw-hidden@bucket/p", {}, InvalidInputError, r"no credentials and no query: give s3://bucket/p"),
        ("s3://bucket/p?X-Amz-Signature=pw-hidden", {}, InvalidInputError, "give s3://bucket/p and"),
        ("s3://", {}, InvalidInputError, "names no bucket"),
        ("s3://bucket/p", {"secret": "pw-hidden"}, InvalidInputError, "names are obstore's"),
        ("s3://bucket/p", "pw-hidden", InvalidInputError, "mapping"),
        ("/tmp/nowhere/s", {}, InvalidInputError, "for stores in object storage"),
    ],
)
def test_addresses_and_options_that_are_refused(path, given, error, message):
    for call in (lambda: to_zarr(extract(times=1, **SMALL), path, storage_options=given),
                 lambda: open_store(path, storage_options=given)):  # fmt: skip
        with pytest.raises(error, match=message) as caught:
            call()
        assert "pw-hidden" not in str(caught.value)


def test_a_bucket_that_is_not_there(options):
    with pytest.raises(StoreError, match=r"cannot list s3://nobody/s.*404"):
        open_store("s3://nobody/s", storage_options=options)
    with pytest.raises(StoreError, match=r"cannot list s3://nobody/s.*404") as caught:
        to_zarr(extract(times=1, **SMALL), "s3://nobody/s", storage_options=options)
    assert SECRET not in str(caught.value) and "AKID" not in str(caught.value)


def test_a_service_that_refuses_while_pixels_are_written(url, options, monkeypatch):
    from obstore.exceptions import PermissionDeniedError

    def refused(*args, **kwargs):
        raise PermissionDeniedError(f"no: https://me:pw@host/x?sig=1 {SECRET}\n<?xml version <Key>AKIDAKID</Key>")

    monkeypatch.setattr(write_tasks, "_write", refused)
    with pytest.raises(StoreError, match=r"cannot write .*: no: https://host/x ….*continues where it stopped"):
        to_zarr(extract(times=1, **SMALL), url, storage_options=options)


def test_secrets_are_cut_from_text():
    assert without_secrets("at https://a:b@host/x?sig=1 and s3://b/c#d") == "at https://host/x and s3://b/c"


def test_a_service_that_refuses_to_delete_what_is_not_there_leaves_nothing(monkeypatch):
    """As Google's does; what were left of the records of another write would be taken for work that is done."""
    client, delete = obstore.store.MemoryStore(), obstore.delete

    def strict(store, paths):
        for path in [paths] if isinstance(paths, str) else paths:
            obstore.head(store, path)
            delete(store, path)

    monkeypatch.setattr(obstore, "delete", strict)
    monkeypatch.setattr(ObjectPlace, "client", lambda self: client)
    files = ObjectFiles(ObjectPlace("s3://bucket/s"))
    for name in range(12):
        files.write(f"_ledger/pending/observed/{name}.json", b"{}")
    files.delete("_ledger/pending")
    files.delete("_ledger/pending")
    assert files.list("_ledger/pending/observed") == []
