"""Whose lease it is, whether its holder lives, and that nobody writes who does not see it."""

import ctypes
import errno
import json
import os
import time

import dask
import numpy as np
import pytest

import lakecube.store.lease as leases
import lakecube.store.revise_blocks as blocks
import lakecube.store.revision as revision
import lakecube.store.write_tasks as write_tasks
from lakecube.errors import StoreError
from lakecube.store import open_store, revise, to_zarr
from lakecube.store.files import LocalFiles
from lakecube.store.lease import LEASE, Held, Lease
from lakecube.store.ledger import Ledger
from lakecube.store.place import LocalPlace
from lakecube.store.write_tasks import Writer
from tests.store.bowls import bowls
from tests.store.made import extract
from tests.store.test_restart import snapshot

SMALL = {"times": 1, "rows": 8, "columns": 8}


@pytest.mark.parametrize("boot", [None, "another"])
@pytest.mark.parametrize("namespace", [None, "another"])
@pytest.mark.parametrize("lives", [True, False])
def test_a_number_means_a_process_within_one_boot_and_one_namespace(tmp_path, boot, namespace, lives):
    """Two containers of one name, or a machine that started again: only age tells."""
    holder = leases._holder("t") if lives else leases._holder("t") | {"pid": 2**22 + 1}
    other = {"boot": boot, "namespace": namespace}
    holder |= {key: value for key, value in other.items() if value is not None}
    tellable = boot is None and namespace is None
    files = LocalFiles(tmp_path)
    for age in (10.0, 10_000.0):
        files.write(LEASE, json.dumps(holder).encode())
        os.utime(tmp_path / LEASE, (time.time() - age,) * 2)
        dead = not lives if tellable else age > leases.STALE_SECONDS
        if dead:
            with Lease(files) as lease:
                lease.check()
        else:
            with pytest.raises(StoreError, match="is being written by process"):
                Lease(files).__enter__()


def test_two_who_find_a_dead_lease_do_not_both_take_it(tmp_path, monkeypatch):
    files, swap = LocalFiles(tmp_path), LocalFiles.swap
    files.write(LEASE, json.dumps(leases._holder("dead") | {"pid": 2**22 + 1}).encode())

    def late(self, key, data, before):
        self.write(LEASE, json.dumps(leases._holder("other")).encode())
        swap(self, key, data, before)

    monkeypatch.setattr(LocalFiles, "swap", late)
    with pytest.raises(StoreError, match="is being written by process"):
        Lease(files).__enter__()
    assert json.loads(files.read(LEASE))["token"] == "other" and files.list("_ledger") == ["lease.json"]


def test_who_is_about_to_take_a_dead_lease_is_left_to_it(tmp_path):
    files = LocalFiles(tmp_path)
    files.write(LEASE, json.dumps(leases._holder("dead") | {"pid": 2**22 + 1}).encode())
    claim = json.dumps(leases._holder("other")).encode()  # of this process, which lives
    files.create(f"{LEASE}.dead", claim)
    with pytest.raises(StoreError, match="is being written by process"):
        Lease(files).__enter__()
    assert files.read(f"{LEASE}.dead") == claim and json.loads(files.read(LEASE))["token"] == "dead"


def test_a_wave_that_ends_after_the_lease_was_lost_is_not_recorded(tmp_path, monkeypatch):
    work = write_tasks._write

    def overtaken(*args, writer, **kwargs):
        record = work(*args, writer=writer, **kwargs)
        writer.held.files.write(LEASE, json.dumps(leases._holder("other")).encode())
        return record

    monkeypatch.setattr(write_tasks, "_write", overtaken)
    with pytest.raises(StoreError, match="has been taken over"), dask.config.set(scheduler="synchronous"):
        to_zarr(extract(times=1, rows=16, columns=16), tmp_path / "s", chunks=16, progress=False)
    assert not list((tmp_path).glob("**/_ledger/pending/observed/*"))
    assert list((tmp_path).glob("**/_ledger/pending/facts/*"))


def test_a_root_that_somebody_else_replaced_is_not_replaced_again(tmp_path, monkeypatch):
    to_zarr(extract(**SMALL), tmp_path / "s")
    swap, before = LocalFiles.swap, (tmp_path / "s/zarr.json").read_bytes()

    def late(self, *given):
        (tmp_path / "s/zarr.json").write_bytes(before + b"\n")
        swap(self, *given)

    monkeypatch.setattr(LocalFiles, "swap", late)
    with pytest.raises(StoreError, match="changed by somebody else while this was written, so nothing was committed"):
        to_zarr(extract(**SMALL, start=1), tmp_path / "s", mode="append")
    assert (tmp_path / "s/zarr.json").read_bytes() == before + b"\n"


@pytest.mark.parametrize("there", ["nothing", "another store"])
def test_a_task_that_does_not_see_the_lease_writes_nothing_and_makes_no_folder(tmp_path, there):
    root = tmp_path / "s"
    if there == "another store":
        to_zarr(extract(**SMALL), root)
        LocalFiles(root).write(LEASE, json.dumps(leases._holder("theirs")).encode())
    before, held = sorted(tmp_path.rglob("*")), Held(LocalFiles(root), "ours", "process 1 on node1")
    message = {
        "nothing": r"process \d+ on .* finds no .*_ledger/lease\.json.* a folder that all share, or object",
        "another store": r"as process \d+ on .* sees it, has been taken over by process",
    }[there]
    with pytest.raises(StoreError, match=message):
        write_tasks._write(
            0, 0, 0, np.zeros((1, 8, 8), "u1"), writer=Writer(LocalPlace(root), (), held), names=("reason",)
        )
    with pytest.raises(StoreError, match=message):
        blocks._measured(lambda *_: (root / "made").mkdir(parents=True), None, None, held)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("damage", ["gone", "torn"])
def test_a_revision_of_which_a_part_is_gone_is_made_anew(tmp_path, monkeypatch, damage):
    water = bowls(4)[0]
    whole, path = tmp_path / "whole", tmp_path / "s"
    for place in (whole, path):
        water.water.to_zarr(place, chunks=48, progress=False, revise=False)
    revise(whole, progress=False)
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(revision, "write_areas", lambda *_: 1 / 0)
        revise(path, progress=False)
    parts = sorted((path / "_ledger/revising/shore/parts").glob("*.npz"))
    for wave in (path / "_ledger/revising/levels").glob("*.npz"):  # what reads the parts runs again
        wave.unlink()
    parts[0].unlink() if damage == "gone" else parts[0].write_bytes(b"")
    with pytest.raises(StoreError, match=r"shore/parts/.*npz, a part of the revision .* make the same call again"):
        revise(path, progress=False)
    assert not (path / "_ledger/revising").exists()
    revise(path, progress=False)
    assert snapshot(path) == snapshot(whole)


def test_a_wave_that_a_power_cut_tore_is_made_anew(tmp_path, monkeypatch):
    small = extract(times=2, rows=16, columns=24)
    to_zarr(small, tmp_path / "whole", chunks=16)
    to_zarr(small, tmp_path / "s", chunks=16, revise=False)
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(revision, "find_lakes", lambda *_: 1 / 0)
        revise(tmp_path / "s", progress=False)
    (wave,) = (tmp_path / "s/_ledger/revising/counts").glob("*.npz")
    wave.write_bytes(bytes(100))
    revise(tmp_path / "s", progress=False)
    assert snapshot(tmp_path / "s") == snapshot(tmp_path / "whole")


def test_chunks_are_on_disk_before_a_wave_is_recorded_and_whoever_goes_on_trusts_it(tmp_path, monkeypatch):
    """Another machine may go on: what was recorded needs no further look."""
    told, record, write = [], Ledger.record, write_tasks._write

    def recorded(self, stage, name, document):
        told.append("recorded")
        record(self, stage, name, document)
        if told.count("recorded") == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Ledger, "record", recorded)
    monkeypatch.setattr(LocalFiles, "sync", lambda self: told.append("on disk"))
    with pytest.raises(KeyboardInterrupt), dask.config.set(scheduler="synchronous"):
        to_zarr(extract(times=2, rows=16, columns=32), tmp_path / "s", chunks=16, progress=False)
    assert told == ["recorded", *["on disk"] * 4, "recorded"]  # thresholds have no chunks
    assert set(json.loads((tmp_path / "s/_ledger/pending/plan.json").read_text())) == {"plan", "names"}
    monkeypatch.setattr(leases, "_machine", lambda: {"host": "node 2", "boot": "b", "namespace": "n"})
    written = []
    monkeypatch.setattr(Ledger, "record", record)
    monkeypatch.setattr(write_tasks, "_write", lambda *a, **k: written.append(1) or write(*a, **k))
    to_zarr(extract(times=2, rows=16, columns=32), tmp_path / "s", chunks=16, progress=False)
    assert not written and open_store(tmp_path / "s").sizes["time"] == 2


def test_what_cannot_be_put_on_disk_is_told(tmp_path, monkeypatch):
    monkeypatch.undo()  # of what spares the other tests the disk
    files = LocalFiles(tmp_path)
    files.sync()

    class Full:
        def syncfs(self, descriptor):
            ctypes.set_errno(errno.ENOSPC)
            return -1

    monkeypatch.setattr("lakecube.store.disk.c_library", Full)
    with pytest.raises(StoreError, match="the disk is full"), LocalPlace(tmp_path).told("write"):
        files.sync()


def test_where_the_call_is_not_known_all_of_the_machine_is_put_on_disk(tmp_path, monkeypatch):
    monkeypatch.undo()  # of what spares the other tests the disk
    asked = []

    class Sandbox:
        def syncfs(self, descriptor):
            ctypes.set_errno(errno.ENOSYS)
            return -1

    monkeypatch.setattr("lakecube.store.disk.c_library", Sandbox)
    monkeypatch.setattr("lakecube.store.disk.os.sync", lambda: asked.append(1))
    LocalFiles(tmp_path).sync()
    assert asked == [1]
