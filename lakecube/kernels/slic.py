"""SLIC superpixels on an anchored lattice: integers only, so that every cut of an image gives the same bits.

Features, pixel offsets and centres are whole numbers ("quanta"). A pixel chooses among the centres of the 3 × 3
lattice cells around its own, so the best of them fits in four bits, and a centre only ever sees pixels near it.
Squared distances lose the term that all candidates share: ``|c|² - 2·f·c`` is compared, four bits higher than
it is, with the candidate's number in the low bits. The smallest such number is the nearest centre, and of equally
near ones the first in the order of the lattice. Features lie in pairs, two int16 in one int32, for the instruction of
two products and their sum.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lakecube.kernels.fragments import NO_SUPERPIXEL, joined_ids, label_ids
from lakecube.kernels.slic_quanta import Scaling, quantise
from lakecube.kernels.slic_sweep import Cells, cluster, empty_cells, lay_out, shares, to_cells
from lakecube.kernels.threads import threads as sharing

#: Pixels that are quantised together.
_STRIP = 2**16


def slic(
    bands: Sequence[np.ndarray], step: int, *, compactness: float = 10.0, iterations: int = 10, scale: float = 1.0,
    offset: float | Sequence[float] = 0.0, mask: np.ndarray | None = None, anchor: tuple[int, int] = (0, 0),
    enforce_connectivity: bool = True, threads: int = 1,
) -> np.ndarray:  # fmt: skip
    """Superpixels by simple linear iterative clustering (SLIC), seeded on an anchored lattice.

    Parameters
    ----------
    bands : sequence of numpy.ndarray
        Each (y, x), any float dtype; or one array (band, y, x). NaN: belongs to no superpixel.
    step : int
        Pixels between seeds, 2 to 4096: the side of a superpixel.
    compactness : float
        Units of feature that weigh as much as `step` pixels; greater is squarer.
    iterations : int
        Assignments of pixels to centres, 1 or more; always so many, since stopping early would depend on the image.
    scale, offset : float
        Units of feature are ``band * scale + offset`` (an offset per band or one for all), then clipped to ± 127.9.
        Declared, never taken from the data. For reflectance 100 and −50 make a band as wide as CIELAB lightness.
    mask : numpy.ndarray, optional
        (y, x), true where pixels take part.
    anchor : tuple of int
        Absolute row and column of the first pixel; the lattice's corner is (0, 0).
    enforce_connectivity : bool
        Join fragments of fewer than `step` pixels to a neighbour, see `lakecube.kernels.fragments`.
    threads : int
        How many, 1 or more, share the rows of cells and exchange their integer sums each iteration; same bits for any.

    Returns
    -------
    numpy.ndarray
        int64 (y, x): the packed lattice row and column of the superpixel, see `fragments.lattice_index`; −1 for none.

    Raises
    ------
    ValueError
        Shapes differ, or a parameter is out of range.

    Notes
    -----
    Reach: `slic_quanta.slic_reach`. O(pixels · iterations · bands), whatever the step. A centre starts as the mean of
    its cell.

    References
    ----------
    Achanta et al. (2012), 10.1109/TPAMI.2012.120.
    """
    bands = [np.asarray(band) for band in bands]
    scaling = Scaling.of(step, compactness, len(bands))
    if iterations != int(iterations) or iterations < 1:
        raise ValueError(f"iterations must be a whole number from 1, got {iterations!r}")
    if threads < 1:
        raise ValueError(f"threads must be 1 or more, got {threads!r}")
    shape = _shape_of(bands, mask)
    if 0 in shape:
        return np.full(shape, NO_SUPERPIXEL, np.int64)
    cells, codes = _quantised(bands, mask, scaling, (scale, offset), anchor, threads)
    codes = cluster(cells, codes, scaling, int(iterations), threads)
    return ids_of(codes, scaling.step, anchor, enforce_connectivity, threads)


def _shape_of(bands: Sequence[np.ndarray], mask: np.ndarray | None) -> tuple[int, ...]:
    shape = bands[0].shape
    if len(shape) != 2 or any(band.shape != shape for band in bands):
        raise ValueError(f"bands must be 2-D (y, x) and alike, got shapes {[band.shape for band in bands]}")
    if mask is not None and np.shape(mask) != shape:
        raise ValueError(f"the mask has shape {np.shape(mask)}; {shape} is needed")
    return shape


def _quantised(
    bands: Sequence[np.ndarray], mask: np.ndarray | None, scaling: Scaling,
    units: tuple[float, float | Sequence[float]], anchor: tuple[int, int], threads: int,
) -> tuple[Cells, np.ndarray]:  # fmt: skip
    """The bands cell by cell; some rows of cells at a time, so that their quanta stay in the cache in between."""
    cells, codes = empty_cells((len(bands) + 1) // 2, bands[0].shape, scaling.step, anchor)

    strips = shares(cells, -(-bands[0].size // _STRIP))

    def fill(first: int) -> None:
        for part in strips[first::threads]:
            rows = slice(cells.rows[part[0]], cells.rows[part[1]])
            here = None if mask is None else mask[rows]
            lay_out(quantise([band[rows] for band in bands], scaling, *units, here), cells, codes, part)

    with sharing(threads) as each:
        each(fill, range(threads))
    return cells, codes


def slic_quanta(
    pairs: np.ndarray, scaling: Scaling, anchor: tuple[int, int], iterations: int, join: bool = True, threads: int = 1
) -> np.ndarray:
    """Superpixel ids, int64 (y, x), of packed features; see `slic`."""
    if 0 in pairs.shape:
        return np.full(pairs.shape[1:], NO_SUPERPIXEL, np.int64)
    codes = cluster(*to_cells(pairs, scaling.step, anchor), scaling, iterations, threads)
    return ids_of(codes, scaling.step, anchor, join, threads)


def ids_of(codes: np.ndarray, step: int, anchor: tuple[int, int], join: bool, threads: int) -> np.ndarray:
    """Ids of the codes (y, x), int64."""
    if join:
        return joined_ids(codes, step, anchor, threads)
    out = np.empty(codes.shape, np.int64)
    edges = np.linspace(0, len(codes), threads + 1).astype(int).tolist()

    def label(first: int, stop: int) -> None:
        y, x = anchor[0] + first, anchor[1]
        label_ids(codes[first:stop], step, y % step, x % step, y // step, x // step, out[first:stop])

    with sharing(threads) as each:
        each(label, edges[:-1], edges[1:])
    return out
