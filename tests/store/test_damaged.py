"""A store that was damaged or edited is refused in words, when it is opened or when the spoilt part is read."""

import json
import os

import numpy as np
import pytest
import zarr

import lakecube
from lakecube.errors import StoreError
from tests.store.bowls import bowls


@pytest.fixture
def store(tmp_path):
    bowls(2)[0].water.to_zarr(tmp_path / "s.zarr", chunks=96, progress=False)
    return tmp_path / "s.zarr"


def test_every_bit_of_a_chunk_is_guarded(store):
    path = store / "water_mask" / "c" / "1" / "0" / "0"
    sound, data = lakecube.open_store(store).water_mask.values, path.read_bytes()
    rng = np.random.default_rng(0)
    for k in rng.choice(8 * len(data), 12, replace=False):
        changed = bytearray(data)
        changed[k // 8] ^= 1 << (k % 8)
        path.write_bytes(changed)
        try:
            assert (lakecube.open_store(store).water_mask.values == sound).all()
        except StoreError as error:
            assert "water_mask" in str(error)
            assert "damaged" in str(error)
    path.write_bytes(data[:-7])
    opened = lakecube.open_store(store)  # what is not read does not matter
    assert (opened.water_mask[0] == sound[0]).all()
    with pytest.raises(StoreError, match="bring the store back from a copy"):
        opened.water_mask.compute()


def test_adding_to_a_damaged_store_adds_nothing(store):
    path = store / "reason" / "zarr.json"
    (store / "time" / "c" / "0").write_bytes(b"spoilt")
    before = (store / "zarr.json").read_bytes()
    with pytest.raises(StoreError):
        bowls(3, first=2)[0].water.to_zarr(store, mode="append", progress=False)
    assert (store / "zarr.json").read_bytes() == before
    assert path.exists()


@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")  # Zarr's own word for what is gone
def test_axes_and_arrays_that_are_gone_are_missed(store):
    for gone in ("time/c/0", "revision/0/y/c/0"):
        data = (store / gone).read_bytes()
        (store / gone).unlink()
        with pytest.raises(StoreError, match="torn or was edited"):
            lakecube.open_store(store)
        (store / gone).write_bytes(data)
    (store / "revision" / "0" / "count_wet" / "zarr.json").unlink()
    with pytest.raises(StoreError, match="torn"):
        lakecube.open_store(store)


@pytest.mark.parametrize("number", ["0", "../0", True, 0.0, [0], -1])
def test_a_revision_of_another_name_is_not_looked_for(store, number):
    root = json.loads((store / "zarr.json").read_text())
    root["attributes"]["revision"] = number
    (store / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(StoreError, match="torn or was edited"):
        lakecube.open_store(store)


HUGE = 50_000_000


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("zarr.json", lambda root: arrays_in(root)["time"].update(shape=[HUGE])),
        ("zarr.json", lambda root: arrays_in(root)["x"].update(shape=[HUGE])),
        ("zarr.json", lambda root: arrays_in(root)["revision/0/lake"].update(shape=[HUGE])),
        ("zarr.json", lambda root: chunked(arrays_in(root)["time"], [HUGE * 100])),
        ("zarr.json", lambda root: arrays_in(root)["water_mask"].update(shape=[2, 2**20, 2**20])),
        ("revision/0/lake/zarr.json", lambda array: array.update(shape=[HUGE])),
        ("revision/0/date/zarr.json", lambda array: array.update(shape=[HUGE])),
        ("revision/0/count_wet/zarr.json", lambda array: chunked(array, [2**16, 2**16])),
    ],
)
def test_what_claims_to_be_huge_is_refused_before_it_is_read(store, monkeypatch, file, change):
    document = json.loads((store / file).read_text())
    change(document)
    (store / file).write_text(json.dumps(document))
    if file == "zarr.json":
        monkeypatch.setattr(zarr.Array, "__getitem__", lambda *_: pytest.fail("something was read"))
        with pytest.raises(StoreError, match=r"at most|are the most"):
            bowls(3, first=2)[0].water.to_zarr(store, mode="append", progress=False)
    with pytest.raises(StoreError, match=r" says (it has|its chunks).*torn or were edited"):
        lakecube.open_store(store)


def arrays_in(root):
    return root["consolidated_metadata"]["metadata"]


def chunked(array, shape):
    array["chunk_grid"]["configuration"]["chunk_shape"] = shape


@pytest.mark.parametrize("file", ["zarr.json", "_ledger/rows.json"])
def test_documents_of_gigabytes_are_not_read(store, file):
    with (store / file).open("r+b") as stream:
        stream.truncate(2 << 30)  # takes no room on disk
    with pytest.raises(StoreError, match=rf"{file} is of 2,147,483,648 bytes"):
        bowls(3, first=2)[0].water.to_zarr(store, mode="append", progress=False)


def test_arrays_of_one_state_have_one_name(store):
    one, other = lakecube.open_store(store), lakecube.open_store(store)
    assert one.water_mask.data.name == other.water_mask.data.name
    assert one.water_mask.chunks == ((1, 1), (96,), (80,))
    assert lakecube.open_store(store, chunks={"y": 48}).water_mask.chunks == ((1, 1), (48, 48), (80,))
    assert lakecube.open_store(store, chunks=None).water_mask.chunks is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes and devices here")
@pytest.mark.parametrize("what", ["pipe", "device"])
def test_what_has_no_end_is_not_read(tmp_path, what):
    (tmp_path / "s").mkdir()
    (os.mkfifo if what == "pipe" else lambda path: path.symlink_to(os.devnull))(tmp_path / "s/zarr.json")
    with pytest.raises(StoreError, match=r"zarr\.json is no file"):
        lakecube.open_store(tmp_path / "s")
