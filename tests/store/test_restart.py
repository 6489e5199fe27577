"""Killed, resumed, rechunked, raced: always the same bytes, and never half a date for a reader."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr

import lakecube.store.lease as leases
import lakecube.store.transaction as transaction
import lakecube.store.write_tasks as write_tasks
from lakecube.errors import StoreError, StoreExistsError
from lakecube.store import open_store, to_zarr
from lakecube.store.files import LocalFiles
from lakecube.store.lease import LEASE
from tests.store.made import extract

CHILD = """
import sys, time
import dask
import lakecube.store.write_tasks as write_tasks
from lakecube.store import to_zarr
from tests.store.made import extract
path, mode, start, times, slow = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
write = write_tasks._write
def slowly(*args, **kwargs):
    time.sleep(slow)
    return write(*args, **kwargs)
slowly.__module__, slowly.__qualname__ = "lakecube.store.write_tasks", "_slowly"
write_tasks._write = slowly
print("ready", flush=True)
to_zarr(extract(times=times, start=start), path, mode=mode, chunks=None if mode == "append" else 16, wave=7)
print("finished", flush=True)
"""


def snapshot(path: Path) -> dict[str, str]:
    """Hash of every file but the ledger and the runs."""
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.relative_to(path).parts[0] not in ("_ledger", "_runs")
    }


def child(path, mode="resume", start=0, times=4, slow=0.01):
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"}
    args = [sys.executable, "-c", CHILD, str(path), mode, str(start), str(times), str(slow)]
    return subprocess.Popen(args, cwd=root, env=env, stdout=subprocess.PIPE, text=True)


def test_twice_and_any_dask_chunks_give_the_same_bytes(tmp_path):
    for name, chunks in (
        ("a", (1, 16, 16)),
        ("b", (1, 16, 16)),
        ("c", (3, 13, 50)),
        ("d", (1, 70, 7)),
        ("e", (4, 1, 50)),
    ):
        to_zarr(extract(times=4, chunks=chunks), tmp_path / name, chunks=16, wave=5 if name in "bc" else None)
    first = snapshot(tmp_path / "a")
    assert len(first) > 50
    for name in "bcde":
        assert snapshot(tmp_path / name) == first, name


def test_scheduler_does_not_matter(tmp_path):
    to_zarr(extract(times=2), tmp_path / "a")
    with dask.config.set(scheduler="synchronous"):
        to_zarr(extract(times=2), tmp_path / "b")
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")


def test_a_cluster_writes_the_same_bytes(tmp_path):
    distributed = pytest.importorskip("distributed")
    to_zarr(extract(times=2), tmp_path / "a", chunks=16)
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        to_zarr(extract(times=2), tmp_path / "b", chunks=16)
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")


def test_a_finished_store_is_left_alone(tmp_path, monkeypatch):
    to_zarr(extract(), tmp_path / "s", chunks=32)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "s").rglob("*") if file.is_file()}
    monkeypatch.setattr(write_tasks, "_write", None)
    to_zarr(extract(), tmp_path / "s", chunks=32)
    to_zarr(extract(), tmp_path / "s", mode="append")
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "s").rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("stage", ["_write", "_count"])
@pytest.mark.parametrize("at", [0, 1, 9])
def test_an_error_anywhere_leaves_a_state_to_resume(tmp_path, monkeypatch, stage, at):
    import lakecube.store.revision as revision

    module, name = (write_tasks, "_write") if stage == "_write" else (revision, "count_block")
    to_zarr(extract(times=2), tmp_path / "whole", chunks=16)
    work, calls = getattr(module, name), iter(range(10**6))

    def failing(*args, **kwargs):
        if next(calls) >= at:
            raise KeyboardInterrupt if stage == "_write" else RuntimeError("worker died")
        return work(*args, **kwargs)

    monkeypatch.setattr(module, name, failing)
    with pytest.raises((KeyboardInterrupt, RuntimeError)), dask.config.set(scheduler="synchronous"):
        to_zarr(extract(times=2), tmp_path / "s", chunks=16, wave=3)
    monkeypatch.undo()
    assert not (tmp_path / "s/zarr.json").exists() and not (tmp_path / "s" / LEASE).exists()
    with pytest.raises(StoreError, match="not finished"):
        open_store(tmp_path / "s")
    to_zarr(extract(times=2), tmp_path / "s", chunks=16)
    assert snapshot(tmp_path / "s") == snapshot(tmp_path / "whole")


def test_finished_work_is_not_done_again(tmp_path, monkeypatch):
    work, done = write_tasks._write, []

    def counting(row, y, x, *blocks, **kwargs):
        if len(done) == 20 and not resumed:
            raise RuntimeError("stop")
        done.append((row, y, x))
        return work(row, y, x, *blocks, **kwargs)

    resumed = False
    monkeypatch.setattr(write_tasks, "_write", counting)
    with pytest.raises(RuntimeError), dask.config.set(scheduler="synchronous"):
        to_zarr(extract(times=4, rows=64, columns=48), tmp_path / "s", chunks=16, wave=4)
    resumed = True
    to_zarr(extract(times=4, rows=64, columns=48), tmp_path / "s", chunks=16, wave=6)
    assert len(set(done)) == 48 and len(done) <= 48 + 4  # at most the wave that was under way


def test_an_abandoned_write_leaves_no_trace_in_the_next(tmp_path, monkeypatch):
    to_zarr(extract(times=2, rows=64, columns=48), tmp_path / "s", chunks=16)
    work, calls = write_tasks._write, iter(range(10**6))

    def failing(*args, **kwargs):
        if next(calls) > 15:
            raise RuntimeError("stop")
        return work(*args, **kwargs)

    monkeypatch.setattr(write_tasks, "_write", failing)
    with pytest.raises(RuntimeError):
        to_zarr(extract(times=3, start=2, rows=64, columns=48), tmp_path / "s", mode="append")
    monkeypatch.undo()
    to_zarr(extract(times=1, start=6, rows=64, columns=48, unknown_dates=(0,)), tmp_path / "s", mode="append")
    to_zarr(extract(times=2, rows=64, columns=48), tmp_path / "clean", chunks=16)
    to_zarr(extract(times=1, start=6, rows=64, columns=48, unknown_dates=(0,)), tmp_path / "clean", mode="append")
    assert snapshot(tmp_path / "s") == snapshot(tmp_path / "clean")


def test_rows_appended_in_any_order_are_the_rows_computed_at_once(tmp_path):
    to_zarr(extract(times=5), tmp_path / "whole", chunks=16)
    to_zarr(extract(times=2, start=3), tmp_path / "s", chunks=16, revise=False)  # no lakes whose ids would be kept
    to_zarr(extract(times=3), tmp_path / "s", mode="append")
    to_zarr(extract(times=5), tmp_path / "s", mode="append")  # the same dates again change nothing
    one, other = open_store(tmp_path / "whole").load(), open_store(tmp_path / "s").load()
    assert other.attrs.pop("revision") == one.attrs.pop("revision") == 0
    xr.testing.assert_identical(one.drop_dims("item"), other.drop_dims("item"))
    pairs = [set(zip(d.item_id.values, d.time.values[d.item_time_index], strict=True)) for d in (one, other)]
    assert pairs[0] == pairs[1]
    for row, place in ((0, 3), (1, 4), (2, 0)):
        whole = snapshot(tmp_path / f"whole/water_mask/c/{place}")
        assert snapshot(tmp_path / f"s/water_mask/c/{row}") == whole


def test_a_reader_always_sees_whole_commits(tmp_path):
    path = tmp_path / "s"
    to_zarr(extract(times=2), path, chunks=16)
    stop, seen, trouble = threading.Event(), set(), []

    def read():
        while not stop.is_set():
            try:
                with warnings.catch_warnings():
                    plain = xr.open_zarr(path)
                    tree = xr.open_datatree(path, engine="zarr")
                    store = open_store(path)
                assert tree.attrs["revision"] in (0, 1, 2)
                assert bool((store.count_clear == (store.water_mask != 255).sum("time")).all().compute())
                seen.add(plain.sizes["time"])
            except Exception as error:  # every kind of trouble is a failure here
                trouble.append(repr(error))

    reader = threading.Thread(target=read)
    reader.start()
    to_zarr(extract(times=2, start=2), path, mode="append", wave=3)
    to_zarr(extract(times=2, start=4), path, mode="append", wave=3)
    end = time.monotonic() + 20
    while 6 not in seen and not trouble and time.monotonic() < end:
        time.sleep(0.05)
    stop.set()
    reader.join()
    assert not trouble and seen <= {2, 4, 6} and 6 in seen


def test_two_writers(tmp_path):
    path = tmp_path / "s"
    first = child(path, slow=0.2)
    assert first.stdout.readline().strip() == "ready"
    while not (path / LEASE).exists():
        time.sleep(0.01)
    for mode in ("resume", "append"):
        with pytest.raises(StoreError, match=r"is being written by process .* delete .*lease\.json"):
            to_zarr(extract(times=4), path, mode=mode, chunks=16)
    first.kill()
    first.communicate()
    to_zarr(extract(times=4), path, chunks=16)  # the dead one's lease is taken over
    assert not (path / LEASE).exists()


def test_a_lease_of_another_host_dies_of_age(tmp_path):
    path = tmp_path / "s"
    (path / "_ledger").mkdir(parents=True)
    lease = path / LEASE
    lease.write_text(json.dumps({"host": "elsewhere", "pid": 1, "token": "t", "since": "2020"}))
    with pytest.raises(StoreError, match="process 1 on elsewhere"):
        to_zarr(extract(times=1), path)
    os.utime(lease, (time.time() - 10_000,) * 2)
    assert to_zarr(extract(times=1), path).sizes["time"] == 1


@pytest.mark.parametrize("at", ["write_rows", "small_arrays", "_with_revision", "_commit"])
def test_who_lost_the_lease_commits_nothing(tmp_path, monkeypatch, at):
    """A laptop sleeps until its lease is stale, another machine appends and commits, the first wakes up."""
    path, made = tmp_path / "s", getattr(transaction, at)
    to_zarr(extract(times=1), path, progress=False)

    def asleep(*given):
        monkeypatch.setattr(transaction, at, made)
        lease = json.loads((path / LEASE).read_text())
        (path / LEASE).write_text(json.dumps(lease | {"host": "laptop"}))
        os.utime(path / LEASE, (time.time() - 10_000,) * 2)
        to_zarr(extract(times=1, start=2), path, mode="append", progress=False)
        return made(*given)

    monkeypatch.setattr(transaction, at, asleep)
    with pytest.raises(StoreError, match=r"has been taken over by .* committed nothing: make the same call again"):
        to_zarr(extract(times=1, start=1), path, mode="append", progress=False)
    kept, whole = open_store(path), extract(times=3).isel(time=[0, 2])
    assert list(kept["time"].values) == list(whole["time"].values)
    np.testing.assert_array_equal(kept["water_mask"], whole["water_mask"])
    to_zarr(whole, tmp_path / "alone", progress=False)
    xr.testing.assert_equal(kept["water_frequency"], open_store(tmp_path / "alone")["water_frequency"])
    to_zarr(extract(times=1, start=1), path, mode="append", progress=False)
    assert open_store(path).sizes["time"] == 3 and snapshot(path)


def test_the_lease_is_kept_alive_through_a_failed_touch_and_that_of_another_is_not(tmp_path, monkeypatch):
    beats, touch = [], LocalFiles.touch

    def now_and_then(self, key):
        beats.append(key)
        if len(beats) == 1:
            raise StoreError("the service does not answer")
        touch(self, key)

    monkeypatch.setattr(LocalFiles, "touch", now_and_then)
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.01)
    (tmp_path / "_ledger").mkdir()
    with leases.Lease(LocalFiles(tmp_path)) as held:
        os.utime(tmp_path / LEASE, (0, 0))
        end = time.monotonic() + 20
        while held.files.age(LEASE) > 1000 and time.monotonic() < end:
            time.sleep(0.01)
        assert held.files.age(LEASE) < 1000 and len(beats) > 1
        held.check()
        (tmp_path / LEASE).write_text(json.dumps({"token": "other"}))
        time.sleep(0.1)
        os.utime(tmp_path / LEASE, (0, 0))
        time.sleep(0.1)
        assert held.files.age(LEASE) > 1000
        with pytest.raises(StoreError, match="taken over"):
            held.check()
    assert (tmp_path / LEASE).exists()


def test_another_configuration_or_grid_is_refused(tmp_path):
    to_zarr(extract(times=2), tmp_path / "s", chunks=16)
    before = snapshot(tmp_path / "s")
    other = extract(times=2).assign_attrs(parameters='{"rules": "paper"}')
    shifted = extract(times=2).assign_coords(x=lambda d: d.x + 5)
    cases = [
        (other, {}, r"rules is evidence in the store and paper now.*overwrite"),
        (shifted, {}, "another grid: x coordinates"),
        (extract(times=2, rows=50), {}, "shape"),
        (extract(times=3), {}, 'mode="append"'),
        (extract(times=2), {"chunks": 8}, "fixed at creation"),
        (extract(times=2).assign_coords(item_scale=("item", np.ones(4))), {}, "other items"),
        (extract(times=3).drop_vars("water_probability"), {"mode": "append"}, "per date"),
    ]
    for water, options, message in cases:
        with pytest.raises(StoreError, match=message):
            to_zarr(water, tmp_path / "s", **options)
    assert snapshot(tmp_path / "s") == before


def test_overwrite_keeps_the_old_store_until_the_new_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "s"
    to_zarr(extract(times=2), path, chunks=16)
    before = snapshot(path)
    monkeypatch.setattr(write_tasks, "_write", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        to_zarr(extract(times=3, seed=8), path, mode="overwrite", chunks=16)
    monkeypatch.undo()
    assert snapshot(path) == before
    out = to_zarr(extract(times=3, seed=8), path, mode="overwrite", chunks=16)
    assert out.sizes["time"] == 3
    to_zarr(extract(times=3, seed=8), tmp_path / "fresh", chunks=16)
    assert snapshot(path) == snapshot(tmp_path / "fresh")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fresh", "s"]


def test_a_store_can_overwrite_itself(tmp_path):
    to_zarr(extract(times=2), tmp_path / "s", chunks=16)
    store = open_store(tmp_path / "s")
    mask = store.water_mask.values
    out = to_zarr(store, tmp_path / "s", mode="overwrite")  # what its revision holds is made anew
    np.testing.assert_array_equal(out.water_mask.values, mask)
    assert out.attrs["revision"] == 0 and (out.count_clear.values == (mask != 255).sum(0)).all()


def test_what_is_not_a_store_is_never_touched(tmp_path):
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("x")
    xr.Dataset({"a": ("x", [1])}).to_zarr(tmp_path / "foreign", consolidated=False)
    for name in ("dir", "file", "foreign"):
        for mode in ("resume", "append", "overwrite"):
            with pytest.raises(StoreExistsError):
                to_zarr(extract(times=1), tmp_path / name, mode=mode)
    assert (tmp_path / "dir/thesis.tex").read_text() == "years of work" and len(list((tmp_path / "dir").iterdir())) == 1
    with pytest.raises(StoreError):
        to_zarr(extract(times=1), tmp_path / "file/below")
    (tmp_path / "empty").mkdir()
    to_zarr(extract(times=1), tmp_path / "empty")


def test_a_path_that_cannot_be_written(tmp_path):
    with pytest.raises(StoreError, match=r"cannot write|is a file"):
        to_zarr(extract(times=1), "/proc/lakecube/s.zarr")


def test_a_full_disk(tmp_path, monkeypatch):
    path = tmp_path / "s"
    to_zarr(extract(times=2), path, chunks=16)
    before, work, calls = snapshot(path), write_tasks._write, iter(range(10**6))

    def full(*args, **kwargs):
        if next(calls) > 10:
            raise OSError(28, "No space left on device")
        return work(*args, **kwargs)

    monkeypatch.setattr(write_tasks, "_write", full)
    with pytest.raises(StoreError, match=r"disk is full.*continues where it stopped"):
        to_zarr(extract(times=2, start=2), path, mode="append", wave=4)
    monkeypatch.undo()
    visible = open_store(path)
    assert visible.sizes["time"] == 2 and set(before.items()) <= set(snapshot(path).items())
    assert to_zarr(extract(times=2, start=2), path, mode="append").sizes["time"] == 4


def test_too_little_room_is_said_before_the_work(tmp_path, monkeypatch):
    import lakecube.store.files as files

    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: _Usage(10**9, 10**9, 100))
    with pytest.raises(StoreError, match="free some space"):
        to_zarr(extract(times=1), tmp_path / "s")
    assert not (tmp_path / "s").exists()


class _Usage:
    def __init__(self, total, used, free):
        self.total, self.used, self.free = total, used, free


def test_who_died_while_taking_over_does_not_lock_the_store(tmp_path):
    files = LocalFiles(tmp_path / "s")
    (tmp_path / "s").mkdir()
    dead = {**leases._machine(), "pid": 2**22 + 1, "started": "0", "since": "then"}
    files.create(LEASE, json.dumps({**dead, "token": "aa"}).encode())
    files.create(f"{LEASE}.aa", json.dumps({**dead, "token": "bb"}).encode())
    files.create(f"{LEASE}.bb", json.dumps({**dead, "token": "cc"}).encode())
    to_zarr(extract(times=1), tmp_path / "s", chunks=16)
    assert open_store(tmp_path / "s").sizes["time"] == 1
    assert not list((tmp_path / "s/_ledger").glob("lease*"))
