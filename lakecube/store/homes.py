"""Which worker of a cluster a block had best be computed on: the same in every pass, so that it finds what it decoded.

The first pass (thresholds) and the second (pixels) read the same tiles of files, and a block with its margin those of
its neighbours. Blocks next to one another therefore belong to one worker; idle ones may still take work from others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: Of the key of a block·date: name, date, block row, block column.
_PARTS = 4


Box = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Homes:
    """The workers that each key of a graph prefers, for `dask.annotate`: one, or all where any will do."""

    slots: tuple[str, ...]  #: address of a worker for each of its threads
    boxes: Mapping[str, Box]  #: by name, first and last date, block row and block column

    @classmethod
    def of(cls, threads: Mapping[str, int], keys: Iterable[Any]) -> Homes:
        """Of a cluster (address to threads), for the keys of a graph."""
        found: dict[str, list[tuple[int, ...]]] = {}
        for key in keys:
            if _is_block(key):
                found.setdefault(key[0], []).append(key[1:])
        boxes = {name: tuple((min(at), max(at)) for at in zip(*places, strict=True)) for name, places in found.items()}
        return cls(tuple(address for address, n in sorted(threads.items()) for _ in range(n)), boxes)

    def __call__(self, key: Any) -> list[str]:
        """Addresses of workers: the blocks of a box, date by date and row by row, cut into as many runs as slots."""
        if not _is_block(key):
            return sorted(set(self.slots))
        rank, size = 0, 1
        for at, (first, last) in zip(key[1:], self.boxes[key[0]], strict=True):
            length = last - first + 1
            rank, size = rank * length + at - first, size * length
        return [self.slots[rank * len(self.slots) // size]]


def _is_block(key: Any) -> bool:
    return isinstance(key, tuple) and len(key) == _PARTS
