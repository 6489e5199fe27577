"""What was done: the rows that are committed, the work that is pending, and a report of every run.

`_ledger/rows.json`
    date and key of every row, and how many of its pixels could not be read (0: what else is made of the imagery,
    such as a threshold); rows past the length of the visible store are of a commit that did not happen.
`_ledger/pending/plan.json`
    the rows under way, by the hash of their plan; beside it one small file per finished wave.
`_ledger/revising/plan.json`
    the same for the revision under way: making one does not disturb rows that wait to be finished.
`_runs/<n>.json`
    what a run did and when.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from lakecube.errors import StoreError
from lakecube.io.limits import MOST_DOCUMENT
from lakecube.store.files import Files

ROWS = "_ledger/rows.json"
PENDING = "_ledger/pending"
REVISING = "_ledger/revising"
RUNS = "_runs"

#: Date and key of a row, and (``failed``), only where some of its imagery could not be read, its pixels without it.
Row = dict[str, Any]
#: What is known of a finished wave of a pass.
Record = dict[str, Any]


class Ledger:
    """The ledger of one store; every record is one whole file.

    `place` is where the work under way is noted: `PENDING` of rows, `REVISING` of a revision.
    """

    def __init__(self, files: Files, place: str = PENDING) -> None:
        self.files = files
        self.place = place

    def rows(self, length: int) -> list[Row] | None:
        """The `length` visible rows; None if the ledger does not know them."""
        found = self._read(ROWS)
        rows = found.get("rows", []) if found else []
        if not isinstance(rows, list) or not all(isinstance(row, dict) and {"date", "key"} <= set(row) for row in rows):
            return None
        return rows[:length] if len(rows) >= length else None

    def write_rows(self, rows: list[Row]) -> None:
        """Record every row."""
        self._write(ROWS, {"rows": rows})

    def names(self) -> list[str]:
        """Names under the root that the write under way may have made."""
        found = self._read(f"{self.place}/plan.json").get("names")
        return [str(name) for name in found] if isinstance(found, list) else []

    def pending(self) -> str | None:
        """Hash of the write that was under way, or None.

        Whatever machine it was: a task answers once its chunks are on disk, and a wave is recorded after that, so what
        is recorded is there also after a power cut.
        """
        return self._read(f"{self.place}/plan.json").get("plan")

    def is_pending(self) -> bool:
        """Whether a write of this ledger was under way, of whatever plan."""
        return isinstance(self._read(f"{self.place}/plan.json").get("plan"), str)

    def is_ours(self) -> bool:
        """Whether the place of an unfinished store may be written: nothing there, or a write of ours under way."""
        beside = [name for name in self.files.list("") if name != "_ledger"]
        if beside:
            return self.is_pending()
        inside = self.files.list("_ledger")
        return all(n in ("rows.json", "pending", "revising") or n.startswith("lease.json") for n in inside)

    def begin(self, plan: str, names: Sequence[str] = ()) -> None:
        """Forget whatever was pending and start `plan`, which makes `names` under the root."""
        self.files.delete(self.place)
        document = json.dumps({"plan": plan, "names": list(names)}, indent=1)
        self.files.write(
            f"{self.place}/plan.json", document.encode(), durable=True
        )  # without it, what is made is not known as ours

    def finish(self) -> None:
        """Nothing is pending any more."""
        self.files.delete(self.place)

    def done(self, stage: str) -> list[Record]:
        """Records of the finished waves of a pass."""
        names = self.files.list(f"{self.place}/{stage}")
        found = [self._read(f"{self.place}/{stage}/{name}") for name in names if name.endswith(".json")]
        return [record for record in found if record]

    def record(self, stage: str, name: str, record: Mapping[str, Any]) -> None:
        """Record a finished wave of a pass."""
        self._write(f"{self.place}/{stage}/{name}.json", record)

    @contextmanager
    def understood(self, *stages: str) -> Iterator[None]:
        """Raise StoreError where what the records of some passes tell, used inside, cannot be understood."""
        try:
            yield
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            folders = " and ".join(self.files.where(f"{self.place}/{stage}") for stage in stages)
            raise StoreError(
                f"{folders} tell of an unfinished write what cannot be: they were edited. Remove them and make the "
                "same call again, which then starts from the beginning"
            ) from error

    def forget(self, stage: str, rows: Collection[int]) -> None:
        """Forget the finished waves of a pass that hold any of some rows."""
        for name in self.files.list(f"{self.place}/{stage}"):
            key = f"{self.place}/{stage}/{name}"
            if not rows_of(self._read(key)).isdisjoint(rows):
                self.files.delete(key)

    def report(self, run: Mapping[str, Any]) -> str:
        """Write the report of a run under the next free number; its key."""
        number = len(self.files.list(RUNS))
        while self.files.exists(f"{RUNS}/{number}.json"):
            number += 1
        self._write(f"{RUNS}/{number}.json", run)
        return f"{RUNS}/{number}.json"

    def reports(self) -> list[dict[str, Any]]:
        """Reports of all runs, the earliest first."""
        numbers = sorted(
            int(n)
            for n, dot, end in (f.partition(".") for f in self.files.list(RUNS))
            if end == "json" and n.isdecimal()
        )
        return [self._read(f"{RUNS}/{number}.json") for number in numbers]

    def _read(self, key: str) -> dict[str, Any]:
        try:
            found = json.loads(self.files.read(key, MOST_DOCUMENT))
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, key: str, document: Mapping[str, Any]) -> None:
        self.files.write(key, json.dumps(document, indent=1).encode())


def rows_of(record: Mapping[str, Any]) -> set[int]:
    """The rows that the record of a finished wave tells of."""
    return set(record["rows"]) if "rows" in record else set(range(*record["box"][0])) if "box" in record else set()


def pack(values: np.ndarray) -> dict[str, Any]:
    """An array as JSON, bit for bit."""
    data = base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
    return {"dtype": values.dtype.str, "shape": list(values.shape), "data": data}


def unpack(packed: Mapping[str, Any]) -> np.ndarray:
    """The inverse of `pack`."""
    flat = np.frombuffer(base64.b64decode(packed["data"]), np.dtype(packed["dtype"]))
    return flat.reshape(packed["shape"]).copy()
