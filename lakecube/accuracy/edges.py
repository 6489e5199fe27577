"""How right a map is along the shores of the reference, where the mixed pixels are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from lakecube.accuracy.measures import share
from lakecube.chunked import blockwise, enough_chunks, trim_halo, with_halo
from lakecube.errors import InvalidInputError
from lakecube.kernels.edges import count_zone, edge_zone, zone_reach
from lakecube.names import X, Y

#: Chen et al.'s buffer, px.
EDGE_WIDTH = 3
#: The widest zone, px: blocks are read with a halo of it.
MOST_WIDTH = 100


@dataclass(frozen=True, slots=True)
class EdgeScores:
    """Counts within `width` pixels of the reference's shores, and the measures of Chen et al. (2018).

    Attributes
    ----------
    width : int
        Pixels from the two that meet at the shore, on either side: the zone of a straight one is 2 + 2·width wide.
    right, omitted, invented : int
        Pixels that map and reference call alike; water in the reference alone; in the map alone.
    unknown : int
        Pixels of the zone that one of them does not know. They are in none of the measures.
    """

    width: int
    right: int
    omitted: int
    invented: int
    unknown: int

    def measures(self) -> dict[str, float]:
        """Edge overall accuracy, omission and commission error (EOA, EOE, ECE), whose sum is 1; NaN without shores.

        References
        ----------
        Chen, Y. et al. (2018), doi:10.3390/w10050585
        """
        total = self.right + self.omitted + self.invented
        parts = (self.right, self.omitted, self.invented)
        return {name: share(part, total) for name, part in zip(("eoa", "eoe", "ece"), parts, strict=True)}

    def to_dict(self) -> dict[str, Any]:
        """Counts and measures."""
        return asdict(self) | self.measures()


def count_edges(mapped: xr.DataArray, states: da.Array, width: int) -> da.Array:
    """Counts (4,) int64, lazy: right, omitted, invented, unknown, in the zone along the shores of `states`.

    Reads each block once, with a halo of the zone's reach; chunks smaller than that are joined.

    Raises
    ------
    InvalidInputError
        If `width` is no whole number of pixels.
    """
    if type(width) is not int or not 0 <= width <= MOST_WIDTH:
        raise InvalidInputError(f"edge_width={width!r}: a whole number of pixels is needed, from 0 to {MOST_WIDTH}")
    reach = zone_reach(width)
    both = xr.Dataset({"map": ((Y, X), mapped.data), "reference": ((Y, X), states)})
    both = enough_chunks(both, reach)
    told, truth = both["map"].data, both["reference"].data
    zone = blockwise(edge_zone, "yx", with_halo(truth, reach), "yx", dtype=bool, name="edge-zone", width=width)
    parts = blockwise(
        _count, "yxk", told, "yx", truth, "yx", trim_halo(zone, reach), "yx", dtype=np.int64, name="edge-counts",
        new_axes={"k": 4}, adjust_chunks=dict.fromkeys("yx", lambda _: 1),
    )  # fmt: skip
    return parts.sum(axis=(0, 1))


def _count(mapped: np.ndarray, reference: np.ndarray, zone: np.ndarray) -> np.ndarray:
    return count_zone(mapped, reference, zone)[None, None]
