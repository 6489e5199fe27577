"""What a run could not read: heard from the processes that read, told in its report, and the dates it touches.

Pixels carry ``read_failed``, but not all that depends on a read is a pixel: thresholds, composites, overlaps and
audits are made of what could be read. So every failure counts for its date, which `retry` then reads anew.
"""

from __future__ import annotations

import functools
import logging
from collections import Counter
from typing import Any

import numpy as np

from lakecube.errors import ReadError
from lakecube.io import messages
from lakecube.io.messages import Heard, Trouble
from lakecube.io.ranges import CHANGED, accept_changes
from lakecube.io.states import start_anew
from lakecube.store.clusters import everywhere, listen
from lakecube.store.contents import ITEM_ROW, Contents
from lakecube.store.file_states import STAGES, FileStates, nested, seen_in, unfinished
from lakecube.store.lease import Lease
from lakecube.store.ledger import Ledger

#: Kinds of trouble that are listed in a report.
_LISTED = 200
#: How often a file may be seen to change. Once it is taken as it is then, after that it is not read.
_TIMES = 4

logger = logging.getLogger("lakecube")


class Troubles:
    """The troubles of one run."""

    def __init__(self) -> None:
        self.counts: Counter[Trouble] = Counter()
        self.items: set[str] = set()  #: of which something could not be read, in this run or the killed one before
        self._heard = Heard()
        self._heard.ear = listen(messages.TOPIC, messages.hear)
        self._files = FileStates()
        self._times: Counter[str] = Counter()
        self._imagery = 0
        everywhere(accept_changes)

    @property
    def run_id(self) -> str:
        """What the tasks of the run carry."""
        return self._heard.run

    def gather(self) -> dict[str, Any]:
        """Take over what was told since; what the record of the wave holds of it."""
        told = self._heard.take()
        self.counts += told.troubles
        self._imagery += told.imagery
        self._files.add(told.states)
        failed = messages.failed_items(told.troubles)
        self.items |= failed
        return {"unread": sorted(failed), "states": nested(told.states)}

    def resume(self, ledger: Ledger, blocks: tuple[int, int]) -> None:
        """Go on with what an earlier, killed run of the same write has seen and could not read."""
        self._files = unfinished(ledger, blocks[0] * blocks[1])
        self._recall(ledger)

    def start_anew(self, rows: tuple[int, int], ledger: Ledger, lease: Lease) -> bool:
        """Whether some rows have to be made anew, since a file of theirs was seen in two states; if so, forget them.

        The file is then taken as it is now, and where it changes again it is not read.

        Raises
        ------
        ReadError
            If even that does not help.
        """
        changed = dict(self._files.changed)
        self._files.forget()
        if not changed:
            return False
        self._times.update(changed.keys())
        for file, item in changed.items():
            self.counts[Trouble(item, _named(file), CHANGED, False)] += 1
            if self._times[file] > _TIMES:
                raise ReadError(_unsettled(_named(file), item))
            logger.warning("%s of %s was replaced while its date was read: the date is read anew", _named(file), item)
        often = frozenset(file for file in changed if self._times[file] > 1)
        everywhere(functools.partial(start_anew, frozenset(changed), often))
        lease.check()
        for stage in STAGES:
            ledger.forget(stage, range(*rows))
        self._recall(ledger)
        return True

    def gather_late(self, ledger: Ledger) -> None:
        """As `gather`, after the last date: what was read then counts as failed if the file was another before."""
        self.gather()
        late, self._files = self._files, FileStates()
        for stage in STAGES:
            for record in ledger.done(stage):
                late.add(late.of(seen_in(record)))
        for file, item in late.changed.items():
            self.items.add(item)
            self.counts[Trouble(item, _named(file), CHANGED, True)] += 1

    def take_imagery(self) -> int:
        """Bytes of imagery that were decoded since the last call."""
        count, self._imagery = self._imagery, 0
        return count

    def _recall(self, ledger: Ledger) -> None:
        self.items = {item for stage in ("facts", "observed", "fields") for record in ledger.done(stage)
                      for item in record.get("unread", ())}  # fmt: skip

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


def _named(file: str) -> str:
    return file.rpartition("#")[0]


def _unsettled(file: str, item: str) -> str:
    return (
        f"{file} of the item {item} changes again and again while it is read: it is being written, or the servers "
        "behind its address do not hold the same. What was finished is kept: make the same call again once the file is "
        "at rest"
    )


def dates_of(items: set[str], contents: Contents) -> set[int]:
    """Positions of the dates that some items belong to."""
    water = contents.water
    if not items or not {"item_id", ITEM_ROW} <= set(water.variables):
        return set()
    hit = np.isin(np.asarray(water["item_id"].values).astype(str), sorted(items))
    return {int(row) for row in np.asarray(water[ITEM_ROW].values)[hit]}
