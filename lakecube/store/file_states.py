"""One state of each file for each date: what tells that a file was replaced while its date was under way.

Each record of a finished wave holds the states in which the files of its dates were read. Where two contradict each
other, within a run or between one that was stopped and the one that goes on, their dates are made anew.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from lakecube.io.states import is_other
from lakecube.store.ledger import Ledger, Record, rows_of

#: Passes whose waves read imagery.
STAGES = ("facts", "observed")

#: A state as `lakecube.io.states` tells it.
_STATE = re.compile(r"[0-9a-f]+-[0-9a-f]*-[0-9a-f]*")

#: Item and file: other items may be of the same file, at another time.
File = tuple[str, str]
#: Item, file and state.
Seen = tuple[str, str, str]


class FileStates:
    """States of the files of the dates under way, and a trace of those of the dates before: 16 bytes for each file."""

    def __init__(self) -> None:
        self.changed: set[File] = set()  #: seen in two states
        self._known: dict[File, set[str]] = {}
        self._new: set[File] = set()  #: seen since `forget`
        self._trace = array("q")  #: hashes of file and state, in turn

    def add(self, seen: Iterable[Seen]) -> None:
        """Hold what is seen against what was seen before."""
        for item, file, state in seen:
            known = self._known.setdefault((item, file), set())
            if any(is_other(state, before) for before in known):
                self.changed.add((item, file))
            known.add(state)
            self._new.add((item, file))

    def expect(self, seen: Iterable[Seen]) -> None:
        """Hold what will be seen against this."""
        for item, file, state in seen:
            self._known.setdefault((item, file), set()).add(state)

    def trace(self, seen: Iterable[Seen]) -> None:
        """Keep of a finished date what `may_be_late` needs."""
        for item, file, state in seen:
            self._trace.extend((hash((item, file)), hash(state)))

    def forget(self) -> None:
        """Forget the files seen since the last call, whose dates are done, or, of those that changed, start anew."""
        for item, file in self._new | self.changed:
            states = self._known.pop((item, file), set())
            if not self.changed:
                self.trace((item, file, state) for state in states)
        self._new.clear()
        self.changed.clear()

    def may_be_late(self) -> bool:
        """Whether a file seen since `forget` may have been another when its date was read."""
        files, states = np.asarray(self._trace).reshape(-1, 2).T
        order = np.argsort(files, kind="stable")
        now = [(hash(file), hash(state)) for file in self._new for state in self._known[file]]
        first, last = (np.searchsorted(files[order], [file for file, _ in now], side) for side in ("left", "right"))
        return any((states[order[a:b]] != state).any() for a, b, (_, state) in zip(first, last, now, strict=True))

    def hold_against(self, seen: Iterable[Seen]) -> None:
        """Hold what was seen since `forget` against what was seen long before."""
        self.add([(item, file, state) for item, file, state in seen if (item, file) in self._new])


def nested(seen: Iterable[Seen]) -> dict[str, dict[str, str]]:
    """What was seen as a record holds it: by item and file, several states of one file with blanks between them."""
    out: dict[str, dict[str, str]] = {}
    for item, file, state in sorted(seen):
        of_item = out.setdefault(item, {})
        of_item[file] = f"{of_item[file]} {state}" if file in of_item else state
    return out


def seen_in(record: Record) -> Iterator[Seen]:
    """The inverse of `nested`, of a record; ValueError for what is no state."""
    for item, files in record.get("states", {}).items():
        for file, states in files.items():
            for state in states.split():
                if not _STATE.fullmatch(state):
                    raise ValueError(state)
                yield item, file, state


def unfinished(ledger: Ledger, blocks: int) -> tuple[FileStates, dict[str, list[Record]]]:
    """What a stopped run has done, by pass, and the states in which it saw files of dates that are left to finish.

    A date has `blocks` blocks. Rows whose records contradict each other are forgotten, in every pass, and all that
    share a record with them.
    """
    records = {stage: ledger.done(stage) for stage in STAGES}
    anew = _contradicted([record for of_stage in records.values() for record in of_stage])
    for stage in STAGES if anew else ():
        ledger.forget(stage, anew)
        records[stage] = [record for record in records[stage] if rows_of(record).isdisjoint(anew)]
    done: Counter[int] = Counter()
    for record in records["observed"]:
        (y0, y1), (x0, x1) = record["box"][1:]
        done.update(dict.fromkeys(rows_of(record), (y1 - y0) * (x1 - x0)))
    states = FileStates()
    for of_stage in records.values():
        for record in of_stage:
            whole = all(done[row] >= blocks for row in rows_of(record))
            (states.trace if whole else states.expect)(seen_in(record))
    return states, records


def _contradicted(records: Sequence[Record]) -> set[int]:
    """Rows whose records tell of two states of a file, and all rows that share a record with them."""
    states = FileStates()
    for record in records:
        states.add(seen_in(record))
    found = {row for r in records if any(seen[:2] in states.changed for seen in seen_in(r)) for row in rows_of(r)}
    return sharing(records, found)


def sharing(records: Sequence[Record], rows: set[int]) -> set[int]:
    """Some rows, and all that share a record with them, by however many records between them."""
    held = [rows_of(record) for record in records]
    anew: set[int] = set()
    while rows != anew:
        anew = rows
        rows = anew.union(*(some for some in held if not some.isdisjoint(anew)))
    return anew
