"""Where a store may lie, what there is not touched, and what is said of torn metadata."""

import json
from pathlib import Path

import pytest

import lakecube.store.write_tasks as write_tasks
from lakecube.errors import InvalidInputError, StoreError, StoreExistsError
from lakecube.store import open_store, revise, to_zarr
from lakecube.store.layout import pixel_array
from lakecube.store.lease import LEASE
from lakecube.store.place import LocalPlace
from tests.store.made import extract

SMALL = {"times": 1, "rows": 8, "columns": 8}


def broken_write(path, monkeypatch, water, **options):
    with monkeypatch.context() as patch:
        patch.setattr(write_tasks, "_write", lambda *a, **k: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            to_zarr(water, path, **options)


def test_what_is_not_of_the_store_stays(tmp_path, monkeypatch):
    to_zarr(extract(**SMALL), tmp_path / "s")
    (tmp_path / "s/mine/c").mkdir(parents=True)
    (tmp_path / "s/mine/zarr.json").write_text("{}")
    (tmp_path / "s/revision/notes").mkdir()
    broken_write(tmp_path / "s", monkeypatch, extract(**SMALL, start=1), mode="append")
    to_zarr(extract(**SMALL, start=2), tmp_path / "s", mode="append")
    assert (tmp_path / "s/mine/zarr.json").read_text() == "{}" and (tmp_path / "s/revision/notes").exists()
    with pytest.raises(StoreError, match="mine, which is not of the store"):
        to_zarr(extract(**SMALL, start=2), tmp_path / "s", mode="overwrite")
    assert (tmp_path / "s/mine/zarr.json").exists() and open_store(tmp_path / "s").sizes["time"] == 2


def test_what_lies_beside_an_abandoned_first_write_stays(tmp_path, monkeypatch):
    broken_write(tmp_path / "s", monkeypatch, extract(**SMALL))
    (tmp_path / "s/thesis.tex").write_text("years of work")
    (tmp_path / "s/threshold").mkdir(exist_ok=True)
    to_zarr(extract(**SMALL, start=1), tmp_path / "s")
    assert (tmp_path / "s/thesis.tex").exists() and open_store(tmp_path / "s").sizes["time"] == 1


def test_a_store_inside_a_store_is_refused(tmp_path, monkeypatch):
    to_zarr(extract(**SMALL), tmp_path / "s")
    broken_write(tmp_path / "t", monkeypatch, extract(**SMALL))
    for place in ("s/inner", "s/a/b/c", "t/inner"):
        with pytest.raises(StoreError, match="lies inside the store"):
            to_zarr(extract(**SMALL), tmp_path / place)
    assert not (tmp_path / "s/inner").exists() and not (tmp_path / "s/a").exists()


@pytest.mark.parametrize("plan", [None, "{", "[]", '{"plan": 3}'])
def test_a_directory_with_a_ledger_of_somebody_else_is_refused(tmp_path, plan):
    (tmp_path / "d/_ledger/pending").mkdir(parents=True)
    (tmp_path / "d/accounts.csv").write_text("money")
    if plan is not None:
        (tmp_path / "d/_ledger/pending/plan.json").write_text(plan)
    for mode in ("resume", "append", "overwrite"):
        with pytest.raises(StoreExistsError, match="not a lakecube store"):
            to_zarr(extract(**SMALL), tmp_path / "d", mode=mode)
    assert (tmp_path / "d/accounts.csv").read_text() == "money"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (Path("s3://bucket/s.zarr"), "s3:/bucket/s.zarr is the address"),
        ("https://me:pw@host/s.zarr?sig=secret", "https://host/s.zarr is the address"),
        ("file:///tmp/s.zarr#sig", "address"),
        (5, "got int"),
        (None, "got NoneType"),
        (b"s.zarr", "got bytes"),
        ("", "not empty"),
        ("a\0b", "NUL"),
        ("n" * 300, "cannot be looked up"),
        ("~nobody-of-this-name/s", "cannot be followed"),
    ],
)
def test_what_is_no_path_is_refused(tmp_path, monkeypatch, path, message):
    monkeypatch.chdir(tmp_path)
    for call in (lambda: to_zarr(extract(**SMALL), path), lambda: open_store(path)):
        with pytest.raises((InvalidInputError, StoreError), match=message) as caught:
            call()
        assert "secret" not in str(caught.value) and "pw" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_home_and_where_we_are(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    to_zarr(extract(**SMALL), "~/s.zarr")
    assert (tmp_path / "s.zarr/zarr.json").exists()
    assert open_store("~/s.zarr").sizes["time"] == open_store("./s.zarr").sizes["time"] == 1


def test_overwrite_through_a_link_replaces_what_it_points_to(tmp_path):
    to_zarr(extract(**SMALL), tmp_path / "disk/s")
    (tmp_path / "link").symlink_to(tmp_path / "disk/s")
    to_zarr(extract(**SMALL, start=1), tmp_path / "link", mode="overwrite")
    assert (tmp_path / "link").is_symlink()
    assert open_store(tmp_path / "disk/s").time.values[0] == open_store(tmp_path / "link").time.values[0]
    assert str(open_store(tmp_path / "disk/s").time.values[0])[:10] == "2019-12-06"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["disk", "link"]
    assert [p.name for p in (tmp_path / "disk").iterdir()] == ["s"]


def test_nothing_is_written_or_removed_through_a_link_out_of_the_store(tmp_path, monkeypatch):
    store, photos = tmp_path / "s", tmp_path / "photos"
    for number in range(4):
        (photos / str(number) / "0").mkdir(parents=True)
        (photos / str(number) / "0" / "0").write_text("a photo")
    to_zarr(extract(**SMALL), store)
    broken_write(store, monkeypatch, extract(**SMALL, start=1), mode="append")  # row 1 is swept away by the next

    def append():
        to_zarr(extract(**SMALL, start=2), store, mode="append")

    calls = {"water_mask/c": append, "reason": append, "_ledger": append, "time/c": append,
             "revision": lambda: revise(store, min_wet=1)}  # fmt: skip
    for name, call in calls.items():
        (store / name).rename(tmp_path / "kept")
        (store / name).symlink_to(photos)
        with pytest.raises(StoreError, match=f"{store}/{name}.* leads out of {store}, to {photos}"):
            call()
        (store / name).unlink()
        (tmp_path / "kept").rename(store / name)
        texts = [path.read_text() for path in sorted(photos.rglob("*")) if path.is_file()]
        assert texts == ["a photo"] * 4 and len(list(photos.rglob("*"))) == 12
    append()
    assert open_store(store).sizes["time"] == 2


def test_a_chunk_is_not_written_through_a_link(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "s/water_mask").mkdir(parents=True)
    (tmp_path / "s/water_mask/c").symlink_to(tmp_path / "photos")
    metadata = pixel_array("water_mask", "u1", ("time", "y", "x"), (1, 8, 8), (8, 8), {}).metadata
    for value in (1, 255):  # 255 is not stored: what is there is removed
        with pytest.raises(StoreError, match="leads out of"):
            write_tasks.Writer.of(LocalPlace(tmp_path / "s"), {"water_mask": metadata}).open("water_mask")[...] = value
    assert not list((tmp_path / "photos").iterdir())


def test_reading_what_is_no_store(tmp_path):
    (tmp_path / "f").write_text("x")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/x").write_text("x")
    for name in "fd":
        with pytest.raises(StoreError, match="give the directory that to_zarr wrote"):
            open_store(tmp_path / name)


def edited(change):
    def edit(text):
        document = json.loads(text)
        change(document)
        return json.dumps(document).encode()

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: b"[]",
        lambda text: b"5",
        lambda text: b"\xff\x00",
        edited(lambda d: d.pop("consolidated_metadata")),
        edited(lambda d: d["consolidated_metadata"].update(metadata=[])),
        edited(lambda d: d["consolidated_metadata"]["metadata"].pop("time")),
        edited(lambda d: d["consolidated_metadata"]["metadata"]["threshold"].pop("data_type")),
        edited(lambda d: d["attributes"].pop("revision")),
        edited(lambda d: d["attributes"].update(revision=7)),
        edited(lambda d: d["attributes"].pop("lakecube_grid")),
        edited(lambda d: d["attributes"].pop("configuration_hash")),
    ],
    ids=[
        "list",
        "number",
        "binary",
        "bare",
        "listed",
        "timeless",
        "typeless",
        "unrevised",
        "wrong",
        "gridless",
        "hashless",
    ],
)
def test_edited_root_metadata(tmp_path, edit):
    to_zarr(extract(**SMALL), tmp_path / "s")
    root = tmp_path / "s/zarr.json"
    root.write_bytes(edit(root.read_bytes()))
    with pytest.raises(StoreError, match="torn"):
        open_store(tmp_path / "s")
    for mode in ("resume", "append", "overwrite"):
        with pytest.raises(StoreError, match="torn"):
            to_zarr(extract(**SMALL), tmp_path / "s", mode=mode)


@pytest.mark.parametrize("text", [b"[]", b"\xff\x00", b"", b'{"host": "HOST", "pid": "x", "token": "../../x"}'])
def test_a_garbled_lease(tmp_path, text):
    import os
    import socket

    to_zarr(extract(**SMALL), tmp_path / "s")
    lease = tmp_path / "s" / LEASE
    lease.write_bytes(text.replace(b"HOST", socket.gethostname().encode()))
    with pytest.raises(StoreError, match="is being written by"):
        to_zarr(extract(**SMALL), tmp_path / "s")
    os.utime(lease, (0, 0))
    to_zarr(extract(**SMALL), tmp_path / "s")


@pytest.mark.parametrize("text", ["[]", '{"rows": 5}', '{"rows": [1]}', "{"])
def test_a_garbled_ledger(tmp_path, text):
    to_zarr(extract(**SMALL), tmp_path / "s")
    (tmp_path / "s/_ledger/rows.json").write_text(text)
    with pytest.raises(StoreError, match="ledger"):
        to_zarr(extract(**SMALL), tmp_path / "s", mode="append")


def test_a_claim_that_names_itself_is_no_endless_chain(tmp_path):
    import os

    to_zarr(extract(**SMALL), tmp_path / "s")
    for name in (LEASE, f"{LEASE}.X"):
        (tmp_path / "s" / name).write_text('{"token": "X", "pid": 1, "host": "elsewhere"}')
        os.utime(tmp_path / "s" / name, (0, 0))
    with pytest.raises(StoreError, match="is being written by process 1 on elsewhere"):
        to_zarr(extract(**SMALL), tmp_path / "s")
