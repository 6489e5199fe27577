"""A real cluster on loopback, every part of it a process of its own: the same bytes, whoever is killed."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import types
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import dask
import numpy as np
import pytest
from dask._task_spec import Task

import lakecube
import lakecube.store.clusters as clusters
import lakecube.store.versions as versions
import lakecube.store.waves as waves
from benchmarks.processes import ROOT, Cluster, environment
from lakecube.cli import main
from lakecube.errors import ClusterError, StoreError
from lakecube.io.ranges import CHANGED
from lakecube.store import open_store, revise, to_zarr
from lakecube.store.homes import Homes
from lakecube.store.ledger import Ledger
from lakecube.store.told import ReadFailedWarning
from lakecube.store.unread import Troubles
from tests.faults import made
from tests.faults.server import Fault, serve
from tests.loopback import object_storage
from tests.store.test_restart import snapshot
from tests.store.working import (
    BLOCKS,
    CHUNK,
    DATES,
    dates_in,
    deadly,
    finished_dates,
    look_elsewhere,
    traced,
    unreadable,
    water,
)

distributed = pytest.importorskip("distributed")

SECRET = "sEcReTsEcReT"

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # of sockets whose other end was killed


def until(condition, patience=240.0):
    """Wait for a condition; machines may be busy."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What one process writes."""
    path = tmp_path_factory.mktemp("whole") / "s"
    to_zarr(water(), path, chunks=CHUNK, progress=False)
    return snapshot(path)


@pytest.fixture(scope="module")
def bucket():
    """An object store on loopback: the variables by which processes reach it, and a function that copies from it."""
    obstore = pytest.importorskip("obstore")
    keys = {"AWS_ACCESS_KEY_ID": "AKIDAKID", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
    with object_storage() as address:
        of_gdal = {"AWS_S3_ENDPOINT": address, "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE"}
        of_obstore = {"AWS_ENDPOINT": f"http://{address}", "AWS_ALLOW_HTTP": "true"}
        client = obstore.store.S3Store(
            "bucket", access_key_id="AKIDAKID", secret_access_key=SECRET, region="us-east-1",
            endpoint=f"http://{address}", client_options={"allow_http": True},
        )  # fmt: skip
        yield client, {**keys, **of_gdal, **of_obstore}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, bucket):
    """Two workers that know of an object store, and of nothing else."""
    with Cluster(tmp_path_factory.mktemp("cluster"), workers=2, **bucket[1]) as cluster:
        yield cluster


def shell(*arguments, home, **variables):
    """The command line in a process of its own, with a clean environment."""
    command = [sys.executable, "-m", "lakecube.cli", *map(str, arguments)]
    home.mkdir(exist_ok=True)
    return subprocess.run(command, cwd=home, env=environment(home, **variables), capture_output=True, text=True)


@pytest.fixture
def client(cluster):
    with distributed.Client(cluster.address, timeout=60) as client:
        client.wait_for_workers(2, timeout=240)
        yield client


def holds(dask_worker):
    """How many results of written blocks a worker holds."""
    return sum(str(key).startswith("('write-") for key in list(dask_worker.data))


def test_the_active_client_is_used_as_it_is_and_the_bytes_are_the_same(client, whole, tmp_path, caplog):
    trace, ended, held = tmp_path / "trace", threading.Event(), []

    def look():
        while not ended.wait(0.02):
            held.append(max(client.run(holds).values()))

    watch = threading.Thread(target=look)
    watch.start()
    try:
        with caplog.at_level(logging.INFO, "lakecube"):
            to_zarr(water(traced, seconds=0.05, trace=str(trace)), tmp_path / "s", chunks=CHUNK)
    finally:
        ended.set()
        watch.join()
    assert len(held) > 5 and max(held) <= 7  # let go of as they come: in a wave each makes 14
    assert snapshot(tmp_path / "s") == whole
    assert sorted(dates_in(trace)) == sorted(list(range(DATES)) * BLOCKS)
    told = [record.getMessage() for record in caplog.records if "mapping water" in record.getMessage()]
    assert len(told) == 10 and told[-1] == f"mapping water: 100 % ({DATES * BLOCKS} of {DATES * BLOCKS} blocks)"
    assert distributed.default_client() is client and client.status == "running"
    until(lambda: not client.futures)


@pytest.mark.slow
def test_the_command_line_with_nothing_shared_but_an_object_store(
    archive, bucket, cluster, client, tmp_path, monkeypatch, capsys
):
    import obstore

    there, variables = bucket
    for file in archive.path.rglob("*.tif"):
        obstore.put(there, f"archive/{file.relative_to(archive.path)}", file)
    items = json.loads(archive.items_path.read_text())
    for item in items["features"]:
        for asset in item["assets"].values():
            asset["href"] = f"s3://bucket/archive/{asset['href'].removeprefix('./')}"
    given = tmp_path / "items.json"
    given.write_text(json.dumps(items))
    dem = f"s3://bucket/archive/{archive.dem_path.name}"
    request = ["extract", str(given), "--dem", dem, "--datetime", "2022-03/2022-05", "--chunks", "64"]
    on_cluster = [*request, "--scheduler", cluster.address, "--out", "s3://bucket/out/lake.zarr"]

    said = shell(*on_cluster, home=tmp_path / "a", **variables)
    assert said.returncode == 0, said.stderr
    assert "next: lakecube lakes s3://bucket/out/lake.zarr" in said.stdout and "Traceback" not in said.stderr
    for batch in obstore.list(there, prefix="out/lake.zarr"):
        for one in batch:
            file = tmp_path / "fetched" / one["path"].removeprefix("out/lake.zarr/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(obstore.get(there, one["path"]).bytes().to_bytes())
            assert SECRET.encode() not in file.read_bytes()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main([*request, "--workers", "2", "--out", str(tmp_path / "lake.zarr"), "--quiet"]) == 0
    assert snapshot(tmp_path / "fetched") == snapshot(tmp_path / "lake.zarr")
    capsys.readouterr()
    assert main(on_cluster) == 0
    assert "already complete, nothing written" in capsys.readouterr().out


def test_a_cluster_that_is_not_there(archive, tmp_path, capsys):
    request = ["extract", str(archive.items_path), "--out", str(tmp_path / "s")]
    assert main([*request, "--scheduler", "tcp://127.0.0.1:1", "--workers", "2"]) == 2
    assert "give one of them" in capsys.readouterr().err


def test_a_port_that_is_no_scheduler_is_told_in_one_line(archive, client, tmp_path, capsys, monkeypatch):
    """That of a dashboard takes connections and waits for ever; a worker knows its scheduler, other programs greet."""
    monkeypatch.setattr("lakecube.commands.engine.PATIENCE", 1.5)
    request = ["extract", str(archive.items_path), "--out", str(tmp_path / "s"), "--scheduler"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert main([*request, f"tcp://127.0.0.1:{silent.getsockname()[1]}"]) == 2
    assert "does not answer as a Dask scheduler within 1.5 s" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as other:
        greets = threading.Thread(target=lambda: other.accept()[0].sendall(b"SSH-2.0-OpenSSH_9.6p1\r\n"))
        greets.start()
        assert main([*request, f"tcp://127.0.0.1:{other.getsockname()[1]}"]) == 2
        greets.join()
    assert "no Dask cluster answers at --scheduler tcp://127.0.0.1:" in capsys.readouterr().err
    assert main([*request, next(iter(client.ncores()))]) == 2
    told = capsys.readouterr().err
    assert "is the address of a Dask worker: that of its scheduler is " + client.scheduler.address in told
    assert "Traceback" not in told and len(told.splitlines()) == 1
    assert not (tmp_path / "s").exists()


def test_blocks_have_homes():
    keys = [("a", t, y, x) for t in (4, 5) for y in range(4) for x in range(4)]
    one = Homes.of({"w2": 1, "w1": 1}, [*keys, ("sum", 4, 0), "item"])
    assert [one(key) for key in keys] == [["w1"]] * 16 + [["w2"]] * 16  # a date's tiles are decoded by one of them
    assert one(("sum", 4, 0)) == one("item") == ["w1", "w2"]
    late = [("b", 0, *key[2:]) for key in keys[:16]]
    assert Counter(Homes.of({"w1": 2, "w2": 1}, late)(key)[0] for key in late) == {"w1": 11, "w2": 5}
    alone = [("c", 0, 0, 0)]
    assert Homes.of({"w1": 1, "w2": 9}, alone)(alone[0]) == ["w1"]


def test_tasks_are_sent_to_the_home_of_their_block(client, tmp_path, monkeypatch):
    sent, get = [], distributed.Client.get

    def noted(*args, **options):
        sent.append(dask.get_annotations())
        return get(*args, **options)

    monkeypatch.setattr(distributed.Client, "get", noted)
    to_zarr(water(), tmp_path / "s", chunks=CHUNK, progress=False)
    passes = [told for told in sent if told]  # the opening of the store at the end has no blocks
    assert passes and all(isinstance(told["workers"], Homes) and told["allow_other_workers"] for told in passes)


def test_each_tile_is_decoded_on_one_worker(client, tmp_path_factory, tmp_path):
    archive = tmp_path_factory.mktemp("archive")
    made.archive(archive, made.DATES[:2], shape=(390, 390))

    def decoded(name):
        for forget in (made.forget, lambda: client.run(made.forget)):
            forget()
        made.run(str(archive), tmp_path / name, revise=False, chunks=130)
        return made.report(tmp_path / name)["passes"]["observed"]["bytes_imagery"]

    on_two = decoded("two")
    with dask.config.set(scheduler="synchronous"):
        on_one = decoded("one")
    assert 0 < on_two <= 1.5 * on_one  # 1.1; twice as much where any worker takes any block


def test_a_cluster_that_lost_its_workers_says_so_once(monkeypatch, caplog):
    class Alone:
        workers: ClassVar = {"tcp://a": 2}

        def ncores(self):
            return self.workers

    monkeypatch.setattr(clusters, "_WATCH_SECONDS", 0.01)
    with clusters._watched(Alone()):
        Alone.workers = {}
        until(lambda: caplog.messages)
        time.sleep(0.1)
    assert len(caplog.messages) == 1 and "has no workers: waiting for one" in caplog.messages[0]


def test_groups_grow_with_the_workers_that_come(monkeypatch):
    there = iter([0, 1, 64, 8])
    monkeypatch.setattr(waves, "active_client", object)
    monkeypatch.setattr(waves, "cluster_threads", lambda client: next(there))
    assert list(waves.groups(380, 2, 600)) == [(0, 8), (8, 16), (16, 316), (316, 380)]
    monkeypatch.setattr(waves, "cluster_threads", lambda client: 64)
    assert (waves.width(None), waves.width(5)) == (512, 5)


def test_progress_moves_within_a_wave(client, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "lakecube"):
        to_zarr(water(traced, seconds=0.05, trace=str(tmp_path / "trace")), tmp_path / "s", chunks=CHUNK, wave=10_000)
    at = [r.created for r in caplog.records if "mapping water" in r.getMessage()]
    assert len(at) == 10 and at[-1] - at[0] > 0.05 * DATES * BLOCKS / 2 * 0.5  # not all told at the end


def test_a_task_of_the_cluster_may_write_a_store_on_it(whole, tmp_path):
    def nightly(path):
        return to_zarr(water(), path, chunks=CHUNK, progress=False).sizes["time"]

    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        assert client.submit(nightly, str(tmp_path / "s")).result(timeout=240) == DATES
    assert snapshot(tmp_path / "s") == whole


def test_workers_of_another_version_are_refused(client, tmp_path, monkeypatch):
    monkeypatch.setattr(lakecube, "__version__", "9.9")  # of this process
    with pytest.raises(ClusterError, match=r"the scheduler tcp://.* runs lakecube .*, this process 9\.9"):
        to_zarr(water(), tmp_path / "s", chunks=CHUNK)
    assert not (tmp_path / "s").exists()
    with pytest.raises(ClusterError, match=r"the worker tcp://.* runs lakecube .*, this process 9\.9"):
        versions.check_new(client, client.ncores())


def test_a_process_without_this_lakecube_is_refused(client, monkeypatch):
    """It cannot load the question, which comes back as an Exception of no kind in particular."""
    module = types.ModuleType("only_here")
    exec("def versions(names): return {'lakecube': '1.2'}", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", module)
    monkeypatch.setattr(versions, "versions", module.versions)
    with pytest.raises(ClusterError, match=r"the scheduler tcp://.* has no lakecube.*only_here.*this process 1\.2"):
        versions.check_all(client)
    with pytest.raises(ClusterError, match=r"the worker tcp://.* has no lakecube.*only_here.*install the same"):
        versions.check_new(client, client.ncores())


def test_a_scheduler_that_may_not_be_asked_is_no_obstacle():
    with (
        dask.config.set({"distributed.scheduler.blocked-handlers": ["run_function"]}),
        distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        versions.check_all(client)
        assert versions._asked[client] == set(client.ncores())


def test_a_worker_of_other_versions_that_comes_late_is_refused(cluster, client, tmp_path):
    """Whatever it wrote does not count; with it gone, the same call goes on."""
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/sitecustomize.py").write_text(
        "from importlib import metadata\n"
        "found = metadata.version\n"
        "metadata.version = lambda name: '3.0.9' if name == 'zarr' else found(name)\n"
    )
    came = []

    def add(done):
        if not came:
            came.append(cluster.add(PYTHONPATH=f"{tmp_path / 'odd'}:{ROOT}"))
            client.wait_for_workers(3, timeout=240)

    versions.check_all(client)
    graph = {("a", k, 0, 0): Task(("a", k, 0, 0), abs, -k) for k in range(9)}
    told = r"the worker tcp://.* runs zarr 3\.0\.9, this process \d+\.\d+.*: install the same version everywhere"
    with pytest.raises(ClusterError, match=told):
        clusters.compute_on(client, graph, list(graph), add)
    with pytest.raises(ClusterError, match=told):  # and so it stays
        to_zarr(water(), tmp_path / "s", chunks=CHUNK)
    cluster.kill(came[0])
    until(lambda: len(client.ncores()) == 2)
    assert clusters.compute_on(client, graph, list(graph)) == list(range(9))


def test_a_worker_that_does_not_see_the_store_ends_the_run(client, whole, tmp_path, monkeypatch):
    """One of two finds another folder under the path of the store: half of it would be empty."""
    monkeypatch.setattr(clusters, "RETRIES", 0)  # else the other may do it all
    both = sorted(client.scheduler_info()["workers"])
    (tmp_path / "other").mkdir()
    message = rf"the worker {{}} .* finds no {tmp_path}/other/s/_ledger/lease.json.* a folder that all share"
    with seeing(client, both[:1], tmp_path / "other"), pytest.raises(StoreError, match=message.format(both[0])):
        to_zarr(water(), tmp_path / "s", chunks=CHUNK, progress=False, revise=False)
    assert not (tmp_path / "s/zarr.json").exists()
    to_zarr(water(), tmp_path / "s", chunks=CHUNK, progress=False, revise=False)  # where that is mended
    with seeing(client, both, tmp_path / "other"), pytest.raises(StoreError, match=message.format("tcp:.*")):
        revise(tmp_path / "s", progress=False)  # so few blocks that one of two might take them all
    assert not list((tmp_path / "other").iterdir())
    revise(tmp_path / "s", progress=False)
    assert snapshot(tmp_path / "s") == whole


@contextlib.contextmanager
def seeing(client, workers, folder):
    """Another folder lies where stores are, for some workers."""
    client.run(look_elsewhere, str(folder), workers=workers)
    try:
        yield
    finally:
        client.run(look_elsewhere, None, workers=workers)


@pytest.mark.slow
def test_what_could_not_be_read_is_told_though_the_worker_died(cluster, client, tmp_path, monkeypatch):
    gather, killed = Troubles.gather, []

    def after_all_died(troubles):
        for worker in [] if killed else list(cluster.workers):
            cluster.kill(worker)
            killed.append(worker)
            cluster.add()
        return gather(troubles)

    monkeypatch.setattr(Troubles, "gather", after_all_died)
    read = water(unreadable, item=str(water()["item_id"].values[0]))
    with pytest.warns(ReadFailedWarning, match="some imagery of 2019-11-20 could not be read"):
        to_zarr(read, tmp_path / "s", chunks=CHUNK, progress=False)
    assert len(killed) == 2
    rows = json.loads((tmp_path / "s/_ledger/rows.json").read_text())["rows"]
    assert [row.get("failed") for row in rows] == [0] + [None] * (DATES - 1)  # no pixel, but the date is not complete
    report = json.loads((tmp_path / "s/_runs/0.json").read_text())
    assert report["reads"]["failed"] == 1 and len(report["scenes"]["failed"]) == 1


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """An archive of two dates, of one item each, and one whose first green band is another picture."""
    before, after = (tmp_path_factory.mktemp(name) for name in ("before", "after"))
    items = made.archive(before, made.DATES[:2], shape=(130, 142))
    shutil.copytree(before, after, dirs_exist_ok=True)
    shutil.copy(after / items[0] / "B08.tif", after / items[0] / "B03.tif")
    return before, after, f"/{items[0]}/B03.tif"


def test_a_file_that_is_replaced_when_one_of_two_workers_has_read_it(client, pictures, tmp_path, monkeypatch):
    before, after, path = pictures
    made.run(str(after), tmp_path / "base", revise=False)
    client.run(made.forget)
    record, swapped = Ledger.record, []
    with serve(before) as site:

        def recorded(*args):
            record(*args)
            if not swapped:  # the thresholds are known: one worker goes on, the other is as if it were new
                swapped.append(site.faults.update({path: [Fault("content", data=(after / path[1:]).read_bytes())]}))
                client.run(made.forget, workers=[min(client.ncores())])

        monkeypatch.setattr(Ledger, "record", recorded)
        assert made.run(site.url, tmp_path / "s", revise=False) == []
    assert made.by_date(tmp_path / "s") == made.by_date(tmp_path / "base")
    report = made.report(tmp_path / "s")
    assert report["scenes"]["failed"] == [] and CHANGED in report["reads"]["reasons"]


def test_workers_take_a_file_that_changed_as_it_is_in_the_next_run(client, pictures, tmp_path):
    before, after, path = pictures
    made.run(str(after), tmp_path / "base", revise=False)
    client.run(made.forget)
    with serve(before) as site:
        site.faults = {path: [Fault("content", first=2, data=(after / path[1:]).read_bytes())]}
        (told,) = made.run(site.url, tmp_path / "s", revise=False)
        assert made.DATES[0] in told
        assert made.run(site.url, tmp_path / "s", revise=False, mode="append", retry=True) == []
    assert made.by_date(tmp_path / "s") == made.by_date(tmp_path / "base")


def test_runs_at_once_of_one_cube_all_hear_of_a_failure(client, tmp_path):
    """The thresholds of both have equal keys, so a cluster would compute them once, for one of the two."""
    read = water()
    item = str(read["item_id"].values[0])
    broken = read.water_probability.data.map_blocks(unreadable, item=item, dtype="f4", meta=np.empty((0, 0, 0), "f4"))
    mean = broken.mean(axis=(1, 2))[:, None].astype("f4")
    read = read.assign(threshold=read.threshold.copy(data=mean))

    def written(name):
        to_zarr(read, tmp_path / name, chunks=CHUNK, progress=False, revise=False)
        return json.loads((tmp_path / name / "_runs/0.json").read_text())["reads"]["failed"]

    names = [f"s{k}" for k in range(4)]
    with warnings.catch_warnings(), ThreadPoolExecutor(len(names)) as pool:
        warnings.simplefilter("ignore", ReadFailedWarning)
        assert list(pool.map(written, names)) == [1] * len(names)


@pytest.mark.slow
def test_workers_killed_every_few_seconds(cluster, client, whole, tmp_path):
    ended, killed = threading.Event(), []

    def kill():
        while not ended.wait(2.5):
            while len(client.ncores()) < 2:  # the one before is up again
                if ended.wait(0.1):
                    return
            cluster.kill(cluster.workers[0])
            killed.append(time.monotonic())
            cluster.add()

    supervisor = threading.Thread(target=kill)
    supervisor.start()
    try:
        to_zarr(water(traced, seconds=0.4, trace=str(tmp_path / "trace")), tmp_path / "s", chunks=CHUNK)
    finally:
        ended.set()
        supervisor.join()
    assert len(killed) >= 2
    assert snapshot(tmp_path / "s") == whole


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["scheduler", "client"])
def test_whoever_is_killed_a_rerun_finishes_the_rest_only(victim, whole, tmp_path):
    store, first, second = tmp_path / "s", tmp_path / "first", tmp_path / "second"
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(Cluster(tmp_path / "cluster"))
        if victim == "client":
            command = [sys.executable, "-m", "tests.store.working", cluster.address, str(store), str(first)]
            writer = subprocess.Popen(command, cwd=ROOT, env=environment(tmp_path), start_new_session=True)
            stack.callback(writer.wait)
            stack.callback(writer.kill)
            until(lambda: len(finished_dates(store)) >= 2)
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        else:
            client = stack.enter_context(distributed.Client(cluster.address, timeout=60))
            client.wait_for_workers(2, timeout=240)
            stop = threading.Thread(
                target=lambda: (until(lambda: len(finished_dates(store)) >= 2), cluster.kill(cluster.scheduler))
            )
            stop.start()
            with pytest.raises(ClusterError, match=r"scheduler at tcp://.* is gone.*the same call, it continues"):
                to_zarr(water(traced, seconds=0.3, trace=str(first)), store, chunks=CHUNK, wave=BLOCKS)
            stop.join()
            client.close()
            cluster = stack.enter_context(Cluster(tmp_path / "another"))
        before = finished_dates(store)
        assert 2 <= len(before) < DATES and not (store / "zarr.json").exists()
        with distributed.Client(cluster.address, timeout=60):
            to_zarr(water(traced, seconds=0, trace=str(second)), store, chunks=CHUNK, wave=BLOCKS)
    assert snapshot(store) == whole
    again = dates_in(second)
    assert set(again) == set(range(DATES)) - before and len(again) <= (DATES - len(before)) * BLOCKS
    report = json.loads((store / "_runs/0.json").read_text())
    assert report["resumed_blocks"] == len(before) * BLOCKS


@pytest.mark.slow
def test_a_task_that_kills_its_workers(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(clusters, "TRIES", 2)
    tolerant = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}  # one dead worker is enough to give a task up
    with (
        Cluster(tmp_path / "cluster", workers=4, **tolerant) as cluster,
        distributed.Client(cluster.address, timeout=60) as client,
    ):
        client.wait_for_workers(4, timeout=240)
        to_zarr(water(deadly, flag=str(tmp_path / "once")), tmp_path / "s", chunks=CHUNK)
        assert snapshot(tmp_path / "s") == whole
        with pytest.raises(ClusterError, match=r"workers die again and again at the same task.*memory"):
            to_zarr(water(deadly, flag=None), tmp_path / "t", chunks=CHUNK)
        assert len(client.ncores()) >= 1
    assert open_store(tmp_path / "s").sizes["time"] == DATES
