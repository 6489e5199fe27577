"""What a run could not read: heard from the processes that read, told in its report, and the dates it touches.

Pixels carry ``read_failed``, but not all that depends on a read is a pixel: thresholds, composites, overlaps and
audits are made of what could be read. So every failure counts for its date, which `retry` then reads anew.
"""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from lakecube.io import messages
from lakecube.io.messages import Heard, Trouble
from lakecube.io.ranges import CHANGED, accept_changes
from lakecube.io.states import last_part, take_anew
from lakecube.store.clusters import everywhere, listen
from lakecube.store.contents import ITEM_ROW, Contents
from lakecube.store.file_states import STAGES, File, FileStates, nested, seen_in, sharing, unfinished
from lakecube.store.lease import Lease
from lakecube.store.ledger import Ledger, Record, rows_of

#: Kinds of trouble that are listed in a report.
_LISTED = 200

logger = logging.getLogger("lakecube")


class Troubles:
    """The troubles of one run."""

    def __init__(self) -> None:
        self.counts: Counter[Trouble] = Counter()
        self.items: set[str] = set()  #: of which something could not be read, in this run or the killed one before
        self.heard = Heard()
        self.heard.ear = listen(messages.TOPIC, messages.hear)
        self._files = FileStates()
        self._anew: set[File] = set()  #: files that were seen to change, and whose dates were made anew
        self._imagery = 0
        everywhere(accept_changes)

    def gather(self) -> dict[str, Any]:
        """Take over what was told since; what the record of the wave holds of it."""
        told = self.heard.take()
        self.counts += told.troubles
        self._imagery += told.imagery
        self._files.add(told.states)
        failed = messages.failed_items(told.troubles)
        self.items |= failed
        return {"unread": sorted(failed), "states": nested(told.states)}

    def resume(self, ledger: Ledger, blocks: tuple[int, int]) -> dict[str, list[Record]]:
        """The records, by pass, of a killed run of the same write that this one goes on with."""
        self._files, records = unfinished(ledger, blocks[0] * blocks[1])
        return records

    def remember(self, items: Iterable[str]) -> None:
        """Items that an earlier, killed run of the same write could not read."""
        self.items |= set(items)

    def start_anew(self, rows: tuple[int, int], ledger: Ledger, lease: Lease) -> set[int]:
        """The rows that have to be made anew, and are forgotten, since a file of some rows was seen in two states.

        They are `rows` and those after them that share a record with these: an earlier, stopped run may have worked
        on more of them together. The file is then taken as it is now; where it changes once more, it is read no more
        in this run.
        """
        changed = sorted(self._files.changed)
        self._files.forget()
        self.heard.refused |= {file for item, file in changed if (item, file) in self._anew}
        self._anew |= {*changed}
        for item, file in changed:
            self.counts[Trouble(item, last_part(file), CHANGED, False)] += 1
            logger.warning(
                "%s of %s was replaced while its date was read: the date is read anew", last_part(file), item
            )
        if not changed:
            return set()
        everywhere(functools.partial(take_anew, frozenset(file for _, file in changed)))
        lease.check()
        records = [record for stage in STAGES for record in ledger.done(stage)]
        anew = sharing(records, {*range(*rows)})
        for stage in STAGES:
            ledger.forget(stage, anew)
        # what is known of a row before these lies in no other record, and its pixels stay
        kept = [r for r in records if rows_of(r).isdisjoint(anew) or min(rows_of(r)) < rows[0]]
        self.items = {item for record in kept + ledger.done("fields") for item in record.get("unread", ())}
        return {row for row in anew if row >= rows[0]}

    def gather_late(self, ledger: Ledger) -> None:
        """As `gather`, after the last date: what was read then counts as failed if the file was another before."""
        self.gather()
        for stage in STAGES if self._files.may_be_late() else ():
            for record in ledger.done(stage):
                self._files.hold_against(seen_in(record))
        for item, file in sorted(self._files.changed):
            self.items.add(item)
            self.counts[Trouble(item, last_part(file), CHANGED, True)] += 1

    def take_imagery(self) -> int:
        """Bytes of imagery that were decoded since the last call."""
        count, self._imagery = self._imagery, 0
        return count

    def report(self) -> dict[str, Any]:
        """Reads that failed and tries that did, by reason and by file."""
        reasons: dict[str, Counter[str]] = {}
        files: dict[tuple[str, str, str], Counter[str]] = {}
        for trouble, count in self.counts.items():
            kind = "failed" if trouble.failed else "tried_again"
            reasons.setdefault(trouble.reason, Counter())[kind] += count
            files.setdefault((trouble.item, trouble.file, trouble.reason), Counter())[kind] += count
        listed = sorted(files.items(), key=lambda pair: (-pair[1]["failed"], pair[0]))[:_LISTED]
        return {
            "failed": sum(kinds["failed"] for kinds in reasons.values()),
            "tried_again": sum(kinds["tried_again"] for kinds in reasons.values()),
            "reasons": {reason: dict(kinds) for reason, kinds in sorted(reasons.items())},
            "files": [{"item": i, "file": f, "reason": r, **kinds} for (i, f, r), kinds in listed],
        }


def dates_of(items: set[str], contents: Contents) -> set[int]:
    """Positions of the dates that some items belong to."""
    water = contents.water
    if not items or not {"item_id", ITEM_ROW} <= set(water.variables):
        return set()
    hit = np.isin(np.asarray(water["item_id"].values).astype(str), sorted(items))
    return {int(row) for row in np.asarray(water[ITEM_ROW].values)[hit]}
