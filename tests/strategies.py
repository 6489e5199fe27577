"""Hypothesis strategies: uneven chunkings, small images with holes."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lakecube.names import OBSERVATION


@st.composite
def chunks_of(draw, size: int, least: int = 1, most: int = 4) -> tuple[int, ...]:
    """A random uneven cut of `size` pixels, no chunk smaller than `least`, `most` of them."""
    cuts = draw(st.sets(st.integers(least, size - least), max_size=most - 1)) if size > 2 * least else set()
    edges = [0]
    for cut in sorted(cuts):
        if cut - edges[-1] >= least:
            edges.append(cut)
    return tuple(int(n) for n in np.diff([*edges, size]))


@st.composite
def chunkings(draw, shape: tuple[int, int, int]) -> dict[str, tuple[int, ...]]:
    """Random uneven chunks of (time, y, x)."""
    return {dim: draw(chunks_of(n)) for dim, n in zip(("time", "y", "x"), shape, strict=True)}


def images(side: int = 12):
    """float32 (rows, columns) with NaN, up to `side` pixels a side."""
    values = st.floats(-0.25, 1.25, width=32) | st.just(float("nan"))
    return hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=side), elements=values)


#: Observation codes.
states = st.sampled_from(sorted(OBSERVATION.values()))
