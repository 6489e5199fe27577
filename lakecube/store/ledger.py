"""What was done: the rows that are committed, the work that is pending, and a report of every run.

`_ledger/rows.json`
    key of every row; rows past the length of the visible store are of a commit that did not happen.
`_ledger/pending/plan.json`
    the write under way, by its hash; beside it one small file per finished wave.
`_runs/<n>.json`
    what a run did and when.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lakecube.store.files import Files

ROWS = "_ledger/rows.json"
PENDING = "_ledger/pending"
PLAN = f"{PENDING}/plan.json"
RUNS = "_runs"


class Ledger:
    """The ledger of one store; every record is one whole file."""

    def __init__(self, files: Files) -> None:
        self.files = files

    def rows(self, length: int) -> list[dict[str, str]] | None:
        """Date and key of the `length` visible rows; None if the ledger does not know them."""
        found = self._read(ROWS)
        rows = found.get("rows", []) if found else []
        if not isinstance(rows, list) or not all(isinstance(row, dict) and {"date", "key"} <= set(row) for row in rows):
            return None
        return rows[:length] if len(rows) >= length else None

    def write_rows(self, rows: list[dict[str, str]]) -> None:
        """Record date and key of every row."""
        self._write(ROWS, {"rows": rows})

    def names(self) -> list[str]:
        """Names under the root that the write under way may have made."""
        found = self._read(PLAN).get("names")
        return [str(name) for name in found] if isinstance(found, list) else []

    def pending(self) -> str | None:
        """Hash of the write that was under way, or None.

        Chunks are put on disk at the commit, not before. A killed process loses none of them, but a machine
        that went down may have: then the ledger's word is not trusted, and the write starts anew.
        """
        found = self._read(PLAN)
        return found.get("plan") if found.get("boot") == _boot() else None

    def is_pending(self) -> bool:
        """Whether a write of this ledger was under way, of whatever plan."""
        return isinstance(self._read(PLAN).get("plan"), str)

    def is_ours(self) -> bool:
        """Whether the place of an unfinished store may be written: nothing there, or a write of ours under way."""
        beside = [name for name in self.files.list("") if name != "_ledger"]
        if beside:
            return self.is_pending()
        inside = self.files.list("_ledger")
        return all(n in ("rows.json", "pending") or n.startswith("lease.json") for n in inside)

    def begin(self, plan: str, names: list[str]) -> None:
        """Forget whatever was pending and start `plan`, which makes `names` under the root."""
        self.files.delete(PENDING)
        document = json.dumps({"plan": plan, "boot": _boot(), "names": names}, indent=1)
        self.files.write(PLAN, document.encode(), durable=True)  # without it, what is made is not known as ours

    def finish(self) -> None:
        """Nothing is pending any more."""
        self.files.delete(PENDING)

    def done(self, stage: str) -> list[dict[str, Any]]:
        """Records of the finished waves of a pass."""
        names = self.files.list(f"{PENDING}/{stage}")
        found = [self._read(f"{PENDING}/{stage}/{name}") for name in names if name.endswith(".json")]
        return [record for record in found if record]

    def record(self, stage: str, name: str, record: Mapping[str, Any]) -> None:
        """Record a finished wave of a pass."""
        self._write(f"{PENDING}/{stage}/{name}.json", record)

    def report(self, run: Mapping[str, Any]) -> str:
        """Write the report of a run under the next free number; its key."""
        number = len(self.files.list(RUNS))
        while self.files.exists(f"{RUNS}/{number}.json"):
            number += 1
        self._write(f"{RUNS}/{number}.json", run)
        return f"{RUNS}/{number}.json"

    def reports(self) -> list[dict[str, Any]]:
        """Reports of all runs."""
        return [self._read(f"{RUNS}/{name}") for name in self.files.list(RUNS) if name.endswith(".json")]

    def _read(self, key: str) -> dict[str, Any]:
        try:
            found = json.loads(self.files.read(key))
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, key: str, document: Mapping[str, Any]) -> None:
        self.files.write(key, json.dumps(document, indent=1).encode())


def _boot() -> str:
    """What changes when the machine restarts, where the system tells."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def pack(values: np.ndarray) -> dict[str, Any]:
    """An array as JSON, bit for bit."""
    data = base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
    return {"dtype": values.dtype.str, "shape": list(values.shape), "data": data}


def unpack(packed: Mapping[str, Any]) -> np.ndarray:
    """The inverse of `pack`."""
    flat = np.frombuffer(base64.b64decode(packed["data"]), np.dtype(packed["dtype"]))
    return flat.reshape(packed["shape"]).copy()
