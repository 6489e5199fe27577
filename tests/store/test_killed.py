"""kill -9 at any moment of a run, an append or a revision: the rerun gives the same bytes, and no reader saw a half."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import dask
import numpy as np
import pytest

from lakecube.store import open_store
from lakecube.store.disk import PARTIAL
from lakecube.store.files import LocalFiles
from lakecube.store.lease import LEASE
from tests.store.killing import DATES, begin, tell, work
from tests.store.test_restart import snapshot

ROOT = Path(__file__).parents[2]


def process(*arguments):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "tests.store.killing", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


class Nursery:
    """Writers that are killed after a delay, or left to finish."""

    def __enter__(self):
        self.process = process("nursery")
        assert self.process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *error):
        self.process.communicate(timeout=60)

    def writer(self, kind, path, delay=-1.0):
        """What became of a writer, and its seconds."""
        self.process.stdin.write(f"{kind} {path} {delay}\n")
        self.process.stdin.flush()
        told, seconds = self.process.stdout.readline().split()
        assert told != "failed"
        return told, float(seconds)


def until(happened):
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def kill_and_resume(tmp_path, kinds, kills, seed):
    """Kill `kills` writers of each kind at random moments; the number that were still at work."""
    rng, told = np.random.default_rng(seed), tmp_path / "told"
    tell(told, str(tmp_path / "nothing"))
    watching, killed = process("reader", told), dict.fromkeys(kinds, 0)
    until((tmp_path / "told.seen").exists)
    with Nursery() as nursery:
        for kind in kinds:
            ground, whole = tmp_path / kind, tmp_path / f"{kind}-whole"
            begin(kind, ground)
            if ground.exists():
                shutil.copytree(ground, whole)
            _, seconds = nursery.writer(kind, whole)
            expected, number = snapshot(whole), 0
            while killed[kind] < kills and number < 3 * kills:
                number += 1
                path = tmp_path / f"{kind}-{number}"
                if ground.exists():
                    shutil.copytree(ground, path)
                tell(told, str(path))
                what, took = nursery.writer(kind, path, rng.uniform(0, seconds))
                killed[kind] += what == "killed"
                seconds = min(seconds, took) if what == "finished" else seconds  # the first one ran on a busier machine
                if (path / "zarr.json").exists():
                    assert open_store(path).sizes["time"] in DATES[kind]
                assert nursery.writer(kind, path)[0] == "finished"
                assert snapshot(path) == expected, f"kill {number}"
                until(lambda path=path: (tmp_path / "told.seen").read_text().startswith(str(path)))
    until(lambda: int((tmp_path / "told.seen").read_text().split()[1]) > 0)
    tell(told, "stop")
    seen = json.loads(watching.communicate(timeout=60)[0])
    assert seen["trouble"] == []
    assert seen["polls"] > seen["seen"] > 0
    return killed


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["run", "append", "revise"])
def test_killed_at_fifty_random_moments(tmp_path, kind):
    assert kill_and_resume(tmp_path, [kind], 50, seed=1) == {kind: 50}


def test_killed_now_and_then(tmp_path):
    assert min(kill_and_resume(tmp_path, ["run", "append", "revise"], 1, seed=2).values()) == 1


class Killed(BaseException):
    """What ends a writer whose process is gone: nothing after it happens any more."""


def dies_at(patch, moment):
    """Let the writer die in its `moment`-th write of a file, half of it written; returns the count of writes."""
    write, others = LocalFiles.write, {name: getattr(LocalFiles, name) for name in ("create", "delete", "list", "read")}
    writes = []

    def dying(self, key, data, **options):
        writes.append(key)
        if len(writes) < moment:
            return write(self, key, data, **options)
        if len(writes) == moment:
            half = (self.root / key).with_name(f"{(self.root / key).name}.{moment:032x}{PARTIAL}")
            half.parent.mkdir(parents=True, exist_ok=True)
            half.write_bytes(data[: len(data) // 2])
        raise Killed

    def gone(name):
        def call(*arguments):
            if len(writes) >= moment:
                raise Killed
            return others[name](*arguments)

        return call

    patch.setattr(LocalFiles, "write", dying)
    for name in others:
        patch.setattr(LocalFiles, name, gone(name))
    return writes


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        ("run", 13),
        ("append", 17),
        ("revise", 7),
        pytest.param("run", 5, marks=pytest.mark.slow),
        pytest.param("append", 7, marks=pytest.mark.slow),
        pytest.param("revise", 4, marks=pytest.mark.slow),
    ],
)
def test_died_in_the_middle_of_any_file(tmp_path, monkeypatch, kind, step):
    begin(kind, tmp_path / "ground")

    def fresh(name):
        if DATES[kind][0]:
            shutil.copytree(tmp_path / "ground", tmp_path / name)
        return tmp_path / name

    whole = fresh("whole")
    with monkeypatch.context() as patch:
        writes = dies_at(patch, 10**6)
        work(kind, str(whole))
    assert len(writes) > 20
    for moment in range(1, len(writes) + 1, step):
        path = fresh(f"{moment}")
        with monkeypatch.context() as patch, pytest.raises(Killed), dask.config.set(scheduler="synchronous"):
            dies_at(patch, moment)
            work(kind, str(path))
        (path / LEASE).unlink()  # which this process would be seen to hold still
        work(kind, str(path))
        assert snapshot(path) == snapshot(whole), writes[moment - 1]
