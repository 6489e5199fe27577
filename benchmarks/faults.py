"""``python -m benchmarks.faults``: faults of an archive and of a disk, and what a run makes of each.

A synthetic archive is served over HTTP on loopback, and one file of one date is spoilt in one way. The table tells how
often it was, what was tried again, what is marked `read_failed`, whether every other date holds the bytes of the
undisturbed run, and whether `retry=True`, once the archive is whole, ends with the bytes of the undisturbed run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

from lakecube.errors import StoreError
from lakecube.store import open_store, to_zarr
from tests.faults import made
from tests.faults.server import ENDLESS, Fault, Signer, Site, serve
from tests.store.made import extract
from tests.store.test_restart import snapshot

#: Asked anew at most three times; short waits, so that the table takes a minute.
PATIENCE = made.QUICK


@dataclass(frozen=True)
class Case:
    """One way to spoil a file; `mends`: the run ends as if nothing had been."""

    name: str
    fault: Fault
    mends: bool
    lifetime: float | None = None  #: of signatures, if the archive wants them


@dataclass(frozen=True)
class Outcome:
    """What a run made of a case."""

    case: str
    spoilt: int
    tried_again: int
    given_up: int
    read_failed: float
    others_identical: bool
    changed_pixels: int
    mended_identical: bool
    seconds: float
    why: str


def _status(code: int, last: int = ENDLESS, **headers: str) -> Fault:
    return Fault("status", last=last, code=code, headers=tuple((k.replace("_", "-"), v) for k, v in headers.items()))


def cases(other: bytes, own: bytes) -> list[Case]:
    """All cases; `other` is the content of another file of the archive, `own` that of the file that is spoilt."""
    flipped = own[:20000] + bytes(b ^ 0x55 for b in own[20000:20100]) + own[20100:]
    return [
        Case("429, Retry-After 0.2 s, twice", _status(429, 2, Retry_After="0.2"), True),
        Case("503, three times", _status(503, 3), True),
        Case("500 for ever", _status(500), False),
        Case("404", _status(404), False),
        Case("403 once its token expired", Fault("slow", first=2, last=2, seconds=0.5), True, lifetime=0.4),
        Case("connection closed unanswered, twice", Fault("hang_up", last=2), True),
        Case("transfers cut short, twice", Fault("cut", first=2, last=3, size=700), True),
        Case("transfers cut short for ever", Fault("cut", size=700), False),
        Case("a stall beyond the timeout, once", Fault("stall", first=2, last=2, seconds=1.5), True),
        Case("a drip of 500 bytes/s for ever", Fault("drip", size=500), False),
        Case("other bytes, told by Content-Range, twice", Fault("shift", first=2, last=3, size=64), True),
        Case("other bytes under the range asked for, once", Fault("lie", first=2, last=2, size=64), True),
        Case("no ranges: the whole file each time", Fault("whole"), True),
        Case("replaced by another file in the run", Fault("content", first=3, data=other), False),
        Case("truncated to two thirds", Fault("content", data=own[: len(own) * 2 // 3]), False),
        Case("100 bytes flipped", Fault("content", data=flipped), False),
        Case("a page of HTML", Fault("content", data=b"<html>sign in</html>" * 5000), False),
        Case("redirected to file://", _status(302, Location="file:///etc/hostname"), False),
        Case("redirected to itself", _status(302, Location="?again"), False),
    ]


def measure(folder: Path, names: Sequence[str] | None = None, dates: int = 3) -> list[Outcome]:
    """Run the cases (those whose name starts with one of `names`)."""
    items = made.archive(folder / "archive", made.DATES[:dates])
    path = f"/{items[1]}/B03.tif"
    own, other = ((folder / "archive" / item / "B03.tif").read_bytes() for item in (items[1], items[0]))
    with serve(folder / "archive") as site:
        made.run(site.url, folder / "base", revise=False)
        chosen = [c for c in cases(other, own) if names is None or c.name.startswith(tuple(names))]
        return [_one(case, site, path, folder, str(made.DATES[1])) for case in chosen]


def _one(case: Case, site: Site, path: str, folder: Path, spoilt: str) -> Outcome:
    site.heal()
    site.signed, site.faults = case.lifetime is not None, {path: [case.fault]}
    sign = None if case.lifetime is None else Signer(case.lifetime)
    store = folder / f"store-{abs(hash(case.name))}"
    begin = time.perf_counter()
    made.run(site.url, store, revise=False, retries=PATIENCE, sign=sign)
    seconds = time.perf_counter() - begin
    count = sum(site.spoilt.values()) if sign is None else site.statuses[403]
    reads, mine, base = made.report(store)["reads"], made.by_date(store), made.by_date(folder / "base")
    others = all(mine[date] == base[date] for date in mine if date != spoilt)
    unread = made.unread(store).get(spoilt, 0.0)
    changed = made.neighbours_changed(store, folder / "base")
    site.heal()
    made.run(site.url, store, revise=False, mode="append", retry=True, sign=sign)
    site.signed = False
    return Outcome(case.name, count, reads["tried_again"], reads["failed"], unread, others, changed,
                   made.by_date(store) == base, seconds, "; ".join(reads["reasons"]))  # fmt: skip


def full_disk(folder: Path) -> str:
    """Write to a file system with hardly any room, then to the same with some; what came of it."""
    place = folder / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True).returncode:
        return "disk full: not shown, since this process may not mount a small file system"
    water = extract(times=2, rows=64, columns=64)
    try:
        (place / "ballast").write_bytes(bytes(2**22 - 2**16))
        with mock.patch("lakecube.store.write.check_room"):  # which would see beforehand that it cannot be enough
            try:
                to_zarr(water, place / "s", chunks=16, progress=False)
                return "disk full: the disk did not fill"
            except StoreError as error:
                told = str(error).split(";")[0].replace(str(place), "…")
            try:
                open_store(place / "s")
                return "disk full: A HALF WRITTEN STORE IS VISIBLE"
            except StoreError:
                (place / "ballast").unlink()
            to_zarr(water, place / "s", chunks=16, progress=False)
        to_zarr(water, folder / "whole", chunks=16, progress=False)
        same = snapshot(place / "s") == snapshot(folder / "whole")
        return f"disk full: “{told}”; the rerun ends {'' if same else 'NOT '}byte-identical"
    finally:
        subprocess.run(["umount", str(place)], check=True)


def show(outcomes: list[Outcome]) -> None:
    """Print the table."""
    print(f"{'fault':46} spoilt  again  given up  read_failed  others  changed px  mended      s  told")
    for o in outcomes:
        yes = ["NO", "same"]
        print(
            f"{o.case:46} {o.spoilt:6} {o.tried_again:6} {o.given_up:9} {o.read_failed:11.0%}  "
            f"{yes[o.others_identical]:6} {o.changed_pixels:11}  {yes[o.mended_identical]:6} {o.seconds:6.1f}  {o.why}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--only", nargs="*", help="beginnings of the names of cases")
    parser.add_argument("--json", type=Path, help="where to write the table as well")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        found = measure(Path(place), given.only)
        show(found)
        print(full_disk(Path(place)))
    if given.json:
        given.json.write_text(json.dumps([asdict(one) for one in found], indent=1))
