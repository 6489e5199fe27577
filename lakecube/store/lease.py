"""One writer at a time: a lease file under `_ledger/`, refreshed while its holder lives."""

from __future__ import annotations

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
from lakecube.store.files import Files

LEASE = "_ledger/lease.json"
#: A lease of another host that was not refreshed for so long is taken to be dead.
STALE_SECONDS = 900.0
BEAT_SECONDS = 30.0


class Lease:
    """The right to write one store, held inside a ``with`` block.

    A lease is stale if its process is gone (same host) or it was not refreshed for `STALE_SECONDS`
    (another host); a stale lease is taken over. Two processes that both find it stale cannot both
    take it: the claim carries the token of the dead lease, and creating a claim succeeds once.
    """

    def __init__(self, files: Files) -> None:
        self.files = files
        self.token = uuid.uuid4().hex
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
        if self._is_ours():
            self.files.delete(LEASE)

    def moved(self, files: Files) -> None:
        """The store, lease file included, now lies elsewhere."""
        self.files = files

    def check(self) -> None:
        """See that the right to write is still ours; to be asked right before anything becomes visible.

        Raises
        ------
        StoreError
            If somebody else has taken it over, or has removed the file.
        """
        if not self._is_ours():
            other = _who(_read(self.files))
            raise StoreError(
                f"{self.files.where()} has been taken over by {other}, because this process could not refresh "
                "its lease for long (asleep, or cut off). It has committed nothing: make the same call again"
            )

    def _is_ours(self) -> bool:
        return _read(self.files).get("token") == self.token

    def _take_over(self, data: bytes) -> None:
        other = _read(self.files)
        if not _is_stale(other, self.files):
            raise StoreError(_refusal(other, self.files))
        claims = self._claim(other, data)
        try:
            if _read(self.files) != other:
                raise StoreError(_refusal(_read(self.files), self.files))
            self.files.write(LEASE, data)
        finally:
            for claim in claims:
                self.files.delete(claim)

    def _claim(self, dead: dict[str, Any], data: bytes) -> list[str]:
        """Claim the lease of a dead holder; who claimed it before and died in the act is a dead holder too."""
        claims = []
        while True:
            token = dead.get("token")
            claims.append(f"{LEASE}.{token if isinstance(token, str) and token.isalnum() else 'torn'}")
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
                if not self._is_ours():
                    return  # what is somebody else's is not kept alive
                self.files.touch(LEASE)


def _holder(token: str) -> dict[str, Any]:
    return {
        "token": token,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": _process_start(os.getpid()),
        "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _read(files: Files, name: str = LEASE) -> dict[str, Any]:
    try:
        found = json.loads(files.read(name))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_stale(holder: dict[str, Any], files: Files, name: str = LEASE) -> bool:
    if holder.get("host") == socket.gethostname():
        pid = holder.get("pid")
        if not isinstance(pid, int) or isinstance(pid, bool) or pid <= 0:
            return files.age(name) > STALE_SECONDS  # torn, or edited
        started = _process_start(pid)
        return started is None or started != holder.get("started")
    try:
        return files.age(name) > STALE_SECONDS
    except FileNotFoundError:
        return True


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
    return f"process {holder.get('pid', '?')} on {holder.get('host', '?')}, since {holder.get('since', '?')}"


def _refusal(holder: dict[str, Any], files: Files) -> str:
    return (
        f"{files.where()} is being written by {_who(holder)}. Wait for it; if you know that it is gone, "
        f"delete {files.where(LEASE)} and make the same call again"
    )
