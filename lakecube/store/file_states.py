"""One state of each file for each date: what tells that a file was replaced while its date was under way.

Each record of a finished wave holds the states in which the files of its dates were read. Where two contradict each
other, within a run or between one that was stopped and the one that goes on, their dates are made anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lakecube.io.states import is_other
from lakecube.store.ledger import Ledger, rows_of

#: Passes whose waves read imagery.
STAGES = ("facts", "observed")

#: Item, file and state.
Seen = tuple[str, str, str]


class FileStates:
    """States of the files of the dates under way."""

    def __init__(self) -> None:
        self.changed: dict[str, str] = {}  #: file to its item, of the files that were seen in two states
        self._known: dict[str, set[str]] = {}
        self._new: set[str] = set()

    def add(self, seen: Iterable[Seen]) -> None:
        """Hold what was seen against what was seen before."""
        for item, file, state in seen:
            known = self._known.setdefault(file, set())
            if any(is_other(state, before) for before in known):
                self.changed[file] = item
            known.add(state)
            self._new.add(file)

    def expect(self, seen: Iterable[Seen]) -> None:
        """Hold what will be seen against this."""
        for _, file, state in seen:
            self._known.setdefault(file, set()).add(state)

    def of(self, files: Iterable[Seen]) -> list[Seen]:
        """Those of files that are known."""
        return [seen for seen in files if seen[1] in self._known]

    def forget(self) -> None:
        """Forget the files seen since the last call: their dates are done, or start anew."""
        for file in self._new | set(self.changed):
            self._known.pop(file, None)
        self._new.clear()
        self.changed.clear()


def nested(seen: Iterable[Seen]) -> dict[str, dict[str, str]]:
    """What was seen as a record holds it: by item and file, several states of one file with blanks between them."""
    out: dict[str, dict[str, str]] = {}
    for item, file, state in sorted(seen):
        of_item = out.setdefault(item, {})
        of_item[file] = f"{of_item[file]} {state}" if file in of_item else state
    return out


def seen_in(record: Mapping[str, Any]) -> Iterator[Seen]:
    """The inverse of `nested`, of a record."""
    for item, files in record.get("states", {}).items():
        for file, states in files.items():
            yield from ((item, file, state) for state in states.split())


def unfinished(ledger: Ledger, blocks: int) -> FileStates:
    """States that a stopped run has seen of the files of dates it has not finished, each of `blocks` blocks.

    Rows whose records contradict each other are forgotten, in every pass, and all that share a record with them.
    """
    records = {stage: ledger.done(stage) for stage in STAGES}
    everything = [record for of_stage in records.values() for record in of_stage]
    states, done = FileStates(), dict.fromkeys((row for r in everything for row in rows_of(r)), 0)
    for record in everything:
        states.add(seen_in(record))
    anew: set[int] = set()
    for record in everything:
        if not states.changed.keys().isdisjoint(file for _, file, _ in seen_in(record)):
            anew |= rows_of(record)
    while any(not rows_of(r).isdisjoint(anew) and not rows_of(r) <= anew for r in everything):
        anew |= {row for r in everything if not rows_of(r).isdisjoint(anew) for row in rows_of(r)}
    for stage in STAGES if anew else ():
        ledger.forget(stage, anew)
    for record in records["observed"]:
        (y0, y1), (x0, x1) = record["box"][1:]
        for row in rows_of(record):
            done[row] += (y1 - y0) * (x1 - x0)
    left = FileStates()
    for record in everything:
        if rows_of(record).isdisjoint(anew) and any(done[row] < blocks for row in rows_of(record)):
            left.expect(seen_in(record))
    return left
