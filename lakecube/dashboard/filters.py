"""Which lakes a visitor wants to see, as the page and the downloads understand it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlencode

import numpy as np

from lakecube.dashboard.source import Opened
from lakecube.errors import InvalidInputError
from lakecube.names import LAKE_KIND, SIZE_CLASS

#: Kinds to choose from: those of a lake, and water outside the reference extent.
KINDS = (*LAKE_KIND, "provisional")


def lake_number(text: str) -> int | None:
    """The number of a lake that somebody typed; None for what is none."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


@dataclass(frozen=True, slots=True)
class Filters:
    """Size, kind and quality.

    Parameters
    ----------
    sizes : of `SIZE_CLASS`
    kinds : of `KINDS`
    mean_seen : float
        Least share of a lake that was seen on average, 0 to 1.
    min_observed : float
        Least share of a lake that was seen on a date for its area to be told, 0 to 1.
    """

    sizes: tuple[str, ...] = tuple(SIZE_CLASS)
    kinds: tuple[str, ...] = ("lake",)
    mean_seen: float = 0.0
    min_observed: float = 0.0

    @classmethod
    def parse(cls, given: dict[str, str]) -> Filters:
        """From the query of an address; InvalidInputError for what is none."""
        sizes, kinds = (tuple(filter(None, given.get(name, default).split(","))) for name, default in
                        (("sizes", ",".join(SIZE_CLASS)), ("kinds", "lake")))  # fmt: skip
        if not set(sizes) <= set(SIZE_CLASS) or not set(kinds) <= set(KINDS):
            raise InvalidInputError(f"sizes are {', '.join(SIZE_CLASS)}; kinds are {', '.join(KINDS)}")
        try:
            shares = [float(given.get(name, 0)) for name in ("mean_seen", "min_observed")]
        except ValueError:
            shares = [-1.0]
        if not all(0 <= share <= 1 for share in shares):
            raise InvalidInputError("mean_seen and min_observed are shares from 0 to 1")
        return cls(sizes, kinds, *shares)

    @property
    def query(self) -> str:
        """The inverse of `parse`."""
        return urlencode({"sizes": ",".join(self.sizes), "kinds": ",".join(self.kinds), "mean_seen": self.mean_seen,
                          "min_observed": self.min_observed})  # fmt: skip

    def keep(self, opened: Opened) -> np.ndarray:
        """Which lakes pass, (lake,) bool; reads what was seen of all lakes if `mean_seen` asks for it."""
        lakes = opened.lakes
        provisional = lakes["provisional"] == 1
        kept = np.isin(lakes["kind"], [LAKE_KIND[kind] for kind in self.kinds if kind in LAKE_KIND]) & ~provisional
        kept |= provisional & ("provisional" in self.kinds)
        kept &= np.isin(lakes["size_class"], [SIZE_CLASS[size] for size in self.sizes])
        return kept & (opened.mean_seen >= self.mean_seen) if self.mean_seen > 0 else kept
