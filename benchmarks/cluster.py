"""``python -m benchmarks.cluster [--size N] [--dates N] [--chunks N] [--repeats N]``: two workers against one.

`fusion` of one synthetic archive, from COGs to a committed store, on clusters of one and of two processes with one
thread each, in turns; and on one and two threads of this process. It tells seconds, ratios, the share of the time in
which workers were computing, bytes of imagery decoded, and whether all stores hold the same bytes. Beside it stands the
ceiling of the machine: two processes that run the same on one thread, each by itself and with nothing to wait for, at
once against one of them alone. Compare ratios: machines are noisy. An idle one takes less than three minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import distributed

import lakecube
from benchmarks.archive import archive, repeated
from benchmarks.pipeline import forget
from benchmarks.processes import Cluster

#: Sides that are measured: name to processes (or None for threads) and how many.
SIDES = {"one worker": 1, "two workers": 2}


def contents(store: Path) -> str:
    """Hash of all that a reader may see of a store."""
    found = hashlib.sha256()
    for file in sorted(store.rglob("*")):
        name = file.relative_to(store)
        if file.is_file() and name.parts[0] not in ("_ledger", "_runs"):
            found.update(str(name).encode() + file.read_bytes())
    return found.hexdigest()


def run(items: Path, store: Path, chunks: int) -> dict[str, Any]:
    """One run: seconds in all and of each stage, and the hash of what it wrote."""
    shutil.rmtree(store, ignore_errors=True)
    begin = time.perf_counter()
    water = lakecube.open(str(items), chunks=chunks).water.extract()
    water.water.to_zarr(store, chunks=chunks, progress=False)
    seconds = time.perf_counter() - begin
    stages = json.loads((store / "_runs/0.json").read_text())["passes"]
    return {
        "seconds": seconds, "observed": stages["observed"]["seconds"], "bytes": contents(store),
        "imagery": stages["observed"]["bytes_imagery"],
    }  # fmt: skip


def on_threads(number: int, items: Path, store: Path, chunks: int) -> dict[str, Any]:
    """One run on threads of this process."""
    forget()
    with dask.config.set(num_workers=number):
        return run(items, store, chunks)


def on_cluster(client: distributed.Client, items: Path, store: Path, chunks: int) -> dict[str, Any]:
    """One run on a cluster, and the share of its workers' time in which they computed."""
    client.run(forget)
    with client.as_current(), dask.config.set(scheduler=client), distributed.get_task_stream(client) as stream:
        found = run(items, store, chunks)
    busy = sum(
        part["stop"] - part["start"]
        for task in stream.data
        for part in task["startstops"]
        if part["action"] == "compute"
    )
    return found | {"busy": busy / (len(client.ncores()) * found["seconds"])}


def side_by_side(client: distributed.Client, items: Path, folder: Path, chunks: int, count: int) -> float:
    """Seconds in which `count` workers run the same at once, each by itself: the slowest of them."""
    alone = [
        client.submit(on_threads, 1, items, folder / f"alone-{k}", chunks, workers=[address], pure=False)
        for k, address in enumerate(sorted(client.ncores())[:count])
    ]
    return max(found["seconds"] for found in client.gather(alone))


@contextlib.contextmanager
def clusters(folder: Path) -> Iterator[dict[str, distributed.Client]]:
    """A cluster of one worker and one of two, all their workers up."""
    with contextlib.ExitStack() as stack:
        clients = {}
        for name, workers in SIDES.items():
            cluster = stack.enter_context(Cluster(folder / name.replace(" ", "-"), workers))
            clients[name] = stack.enter_context(distributed.Client(cluster.address, set_as_default=False, timeout=60))
            clients[name].wait_for_workers(workers, timeout=240)
        yield clients


def measure(items: Path, chunks: int, repeats: int) -> tuple[dict[str, list[dict[str, Any]]], list[float]]:
    """`repeats` runs of every side, in turns, after one of each to compile and to load; the ceiling of every turn."""
    found: dict[str, list[dict[str, Any]]] = {}
    ceilings: list[float] = []
    with tempfile.TemporaryDirectory() as folder, clusters(Path(folder)) as clients:
        store = Path(folder) / "s.zarr"
        for turn in range(repeats + 1):
            runs = {name: on_cluster(client, items, store, chunks) for name, client in clients.items()}
            runs |= {
                f"{word}": on_threads(n, items, store, chunks) for word, n in (("one thread", 1), ("two threads", 2))
            }
            one, both = (side_by_side(clients["two workers"], items, Path(folder), chunks, n) for n in (1, 2))
            if turn:
                for name, run_of in runs.items():
                    found.setdefault(name, []).append(run_of)
                ceilings.append(2 * one / both)
    return found, ceilings


def summary(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians, ratios of every turn, and whether all bytes are equal."""
    out: dict[str, Any] = {"same_bytes": len({one["bytes"] for runs in found.values() for one in runs}) == 1}
    for what in ("seconds", "observed"):
        out[what] = {name: statistics.median(one[what] for one in runs) for name, runs in found.items()}
        for one, two in (("one worker", "two workers"), ("one thread", "two threads")):
            turns = [a[what] / b[what] for a, b in zip(found[one], found[two], strict=True)]
            out[f"ratio of {two}, {what}"] = {
                "median": statistics.median(turns),
                "least": min(turns),
                "most": max(turns),
            }
    out["imagery"] = {name: statistics.median(one["imagery"] for one in runs) for name, runs in found.items()}
    out["busy"] = {name: statistics.median(one["busy"] for one in found[name]) for name in SIDES}
    return out


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("--size", type=int, default=2040, help="pixels along each side (default: 2040)")
    parser.add_argument("--dates", type=int, default=6, help="a multiple of 6 (default: 6)")
    parser.add_argument("--chunks", type=int, default=512, help="pixels of a block along each side (default: 512)")
    parser.add_argument("--repeats", type=int, default=2)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    items = repeated(archive(given.size), given.dates // 6)
    runs, ceilings = measure(items, given.chunks, given.repeats)
    found = summary(runs)
    print(f"fusion, {given.dates} dates of {given.size}² px in blocks of {given.chunks}² px, {given.repeats} turns\n")
    for name, seconds in found["seconds"].items():
        busy = f"   computing {found['busy'][name]:.0%} of the time" if name in SIDES else ""
        imagery = f"{found['imagery'][name] / 1e6:6.0f} MB decoded"
        print(
            f"  {name:<12} {seconds:7.2f} s in all   {found['observed'][name]:7.2f} s mapping water   {imagery}{busy}"
        )
    print()
    for name, ratio in found.items():
        if name.startswith("ratio"):
            print(f"  {name:<38} {ratio['median']:.2f} ×   ({ratio['least']:.2f} to {ratio['most']:.2f})")
    told = f"{statistics.median(ceilings):.2f} ×   ({min(ceilings):.2f} to {max(ceilings):.2f})"
    print(f"  {'ceiling: two processes, nothing shared':<38} {told}")
    print(f"\n  the same bytes: {'yes' if found['same_bytes'] else 'NO'}; goal: two workers ≥ 1.8 × one")


if __name__ == "__main__":
    main()
