"""What a run could not read: heard from the processes that read, told in its report, and the dates it touches.

Pixels carry ``read_failed``, but not all that depends on a read is a pixel: thresholds, composites, overlaps and
audits are made of what could be read. So every failure counts for its date, which `retry` then reads anew.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from lakecube.io import unread
from lakecube.io.ranges import accept_changes
from lakecube.io.unread import Trouble
from lakecube.store.clusters import everywhere, listen
from lakecube.store.contents import ITEM_ROW, Contents

#: Kinds of trouble that are listed in a report.
_LISTED = 200


class Troubles:
    """The troubles of one run."""

    def __init__(self) -> None:
        self.counts: Counter[Trouble] = Counter()
        self.items: set[str] = set()  #: of which something could not be read, in this run or the killed one before
        self._run = uuid.uuid4().hex
        unread.begin(self._run)
        listen(unread.TOPIC, unread.hear)
        everywhere(accept_changes)

    def gather(self) -> list[str]:
        """Take over what was counted since; the items that failed since."""
        found = unread.collect(self._run)
        self.counts += found
        failed = unread.failed_items(found)
        self.items |= failed
        return sorted(failed)

    def remember(self, items: Iterable[str]) -> None:
        """Items that an earlier, killed run of the same write could not read."""
        self.items |= set(items)

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
