"""One writer at a time: a lease file under `_ledger/`, refreshed while its holder lives."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import socket
import threading
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from lakecube.errors import StoreError
from lakecube.store.clusters import this_process
from lakecube.store.files import Files

_LEDGER = "_ledger"
LEASE = f"{_LEDGER}/lease.json"
#: A lease that was not refreshed for so long is taken to be dead, where its process cannot be looked for.
STALE_SECONDS = 900.0
BEAT_SECONDS = 30.0
#: Bytes of a lease, at most.
_MOST = 65_536


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """A lease as others know it: a small value that travels to whoever writes under it."""

    files: Files
    token: str
    holder: str  #: what a person calls the process that holds it

    def is_seen(self) -> bool:
        """Whether the lease is there and of this token."""
        return _read(self.files).get("token") == self.token

    def check(self) -> None:
        """See that this process looks at the store that is being written, and may write it: one small read.

        To be asked before anything is written by a task, in whatever process it runs, and before anything becomes
        visible. A process that does not share the folder would find a store without pixels, or make one.

        Raises
        ------
        StoreError
            If the lease is not there, or somebody else has taken it over.
        """
        if self.is_seen():
            return
        self.files.list(_LEDGER)  # a network file system then looks anew for what it did not find
        found, here = _read(self.files), this_process()
        if found.get("token") == self.token:
            return
        if not found and self.holder not in here:
            raise StoreError(
                f"{here} finds no {self.files.where(LEASE)}, which lies there while {self.holder} writes the store, so "
                "nothing was committed. Every worker needs the store under the same path: choose a folder that all "
                "share, or object storage (s3://bucket/prefix), and make the same call again"
            )
        raise StoreError(
            f"{self.files.where()}, as {here} sees it, has been taken over by {_who(found)}, because {self.holder} "
            "could not refresh its lease for long (asleep, or cut off). It has committed nothing: make the same call "
            "again"
        )


class Lease:
    """The right to write one store, held inside a ``with`` block.

    A lease is stale if its process is gone, where it can be looked for (same host, boot and namespace of processes),
    or else if it was not refreshed for `STALE_SECONDS`; a stale lease is taken over. Two processes that both find it
    stale cannot both take it: the claim carries the token of the dead lease, and creating a claim succeeds once.
    """

    def __init__(self, files: Files) -> None:
        self.files = files
        self.token = uuid.uuid4().hex
        self._name = this_process()
        self._stop = threading.Event()

    def __enter__(self) -> Lease:
        data = json.dumps(_holder(self.token)).encode()
        try:
            self.files.create(LEASE, data)
        except FileExistsError:
            self._take_over(data)
        threading.Thread(target=self._beat, daemon=True, name="lakecube-lease").start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        if self.held.is_seen():
            self.files.delete(LEASE)

    @property
    def held(self) -> Held:
        """What travels to the tasks that write under this lease."""
        return Held(self.files, self.token, self._name)

    def moved(self, files: Files) -> None:
        """The store, lease file included, now lies elsewhere."""
        self.files = files

    def check(self) -> None:
        """As of `Held`: that the right to write is still ours."""
        self.held.check()

    def _take_over(self, data: bytes) -> None:
        try:
            before: bytes | None = self.files.read(LEASE, _MOST)
        except FileNotFoundError:  # deleted since
            before = None
        other = _understood(before or b"")
        if not _is_stale(other, self.files):
            raise StoreError(_refusal(other, self.files))
        claims = self._claim(other, data)
        try:
            self.files.swap(LEASE, data, before)
        except FileExistsError as error:
            raise StoreError(_refusal(_read(self.files), self.files)) from error
        finally:
            for claim in claims:
                self.files.delete(claim)

    def _claim(self, dead: dict[str, Any], data: bytes) -> list[str]:
        """Claim the lease of a dead holder; who claimed it before and died in the act is a dead holder too."""
        claims = []
        while True:
            token = dead.get("token")
            claim = f"{LEASE}.{token if isinstance(token, str) and token.isalnum() else 'torn'}"
            if claim in claims:  # no writer leaves a claim that names itself
                raise StoreError(_refusal(dead, self.files))
            claims.append(claim)
            try:
                self.files.create(claims[-1], data)
                return claims
            except FileExistsError as error:
                dead = _read(self.files, claims[-1])
                if not dead or not _is_stale(dead, self.files, claims[-1]):
                    raise StoreError(_refusal(dead, self.files)) from error

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            with suppress(OSError):  # the next beat may come through
                if not self.held.is_seen():
                    return  # what is somebody else's is not kept alive
                self.files.touch(LEASE)


def _holder(token: str) -> dict[str, Any]:
    return {
        "token": token,
        "pid": os.getpid(),
        "started": _process_start(os.getpid()),
        **_machine(),
        "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _read(files: Files, name: str = LEASE) -> dict[str, Any]:
    try:
        return _understood(files.read(name, _MOST))
    except (FileNotFoundError, NotADirectoryError):
        return {}


def _understood(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_stale(holder: dict[str, Any], files: Files, name: str = LEASE) -> bool:
    pid = holder.get("pid")
    if all(holder.get(key) == value for key, value in _machine().items()) and isinstance(pid, int) and pid > 0:
        started = _process_start(pid)
        return started is None or started != holder.get("started")
    try:
        return files.age(name) > STALE_SECONDS
    except FileNotFoundError:
        return True


def _machine() -> dict[str, str]:
    """Where a number means one process: host, start of the machine, namespace of processes; "" what is not told.

    Two containers may have one name and the same numbers, and a machine that started again has other processes.
    """
    boot = namespace = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return {"host": socket.gethostname(), "boot": boot, "namespace": namespace}


def _process_start(pid: int) -> str | None:
    """What tells a process from a later one of the same number; None if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[19]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return "alive"


def _who(holder: dict[str, Any]) -> str:
    if not holder:
        return "another process, which has finished or was ended"
    return f"process {holder.get('pid', '?')} on {holder.get('host', '?')}, since {holder.get('since', '?')}"


def _refusal(holder: dict[str, Any], files: Files) -> str:
    return (
        f"{files.where()} is being written by {_who(holder)}. Wait for it; if you know that it is gone, "
        f"delete {files.where(LEASE)} and make the same call again"
    )
