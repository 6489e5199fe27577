"""SLIC: against a plain reading of its definition, anchored, and blind to what lies beyond its reach."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, label

from lakecube.kernels.fragments import APART, NO_SUPERPIXEL, PASSES, SHIFT, lattice_index
from lakecube.kernels.slic import ids_of, slic
from lakecube.kernels.slic_quanta import LARGEST, Scaling, slic_reach


def picture(shape, seed=0, bands=3, smooth=2.0):
    """Smooth patches with noise, in units of feature."""
    rng = np.random.default_rng(seed)
    ground = gaussian_filter(rng.normal(size=(bands, *shape)), (0, smooth, smooth))
    return (60 * ground / ground.std() + rng.normal(0, 4, ground.shape)).astype(np.float32) / 3


def pack(row, column):
    return ((row + SHIFT) << 31) | (column + SHIFT)


def naive(bands, step, compactness, iterations, mask, anchor, connect):
    """Pixel by pixel, distance by distance, in Python's own integers."""
    scaling = Scaling.of(step, compactness, len(bands))
    limit = int(LARGEST * scaling.quanta)
    shape = bands[0].shape
    valid = np.isfinite(bands).all(0) & mask
    features = np.clip(np.rint(np.nan_to_num(bands) * scaling.quanta), -limit, limit).astype(int)
    offset = [int(v) for v in scaling.offsets()]
    pixels = [(i, j) for i in range(shape[0]) for j in range(shape[1]) if valid[i, j]]
    cell = {(i, j): ((i + anchor[0]) // step, (j + anchor[1]) // step) for i, j in pixels}
    owner = dict(cell)

    def centres():
        members = {}
        for p in pixels:
            members.setdefault(owner[p], []).append(p)
        out = {}
        for (r, c), there in members.items():
            n = len(there)
            mean = [(2 * sum(int(f[p]) for p in there) + n) // (2 * n) for f in features]
            y = sum(i + anchor[0] - r * step for i, _ in there)
            x = sum(j + anchor[1] - c * step for _, j in there)
            place = [(2 * v * scaling.position + 256 * n) // (512 * n) for v in (x, y)]
            out[r, c] = mean, place
        return out

    for _ in range(iterations):
        known = centres()
        for p in pixels:
            r, c = cell[p]
            y, x = offset[(p[0] + anchor[0]) % step], offset[(p[1] + anchor[1]) % step]
            best = None
            for di in (-1, 0, 1):
                for dj in (-1, 0, 1):
                    if (r + di, c + dj) in known:
                        mean, (cx, cy) = known[r + di, c + dj]
                        d = sum((int(f[p]) - m) ** 2 for f, m in zip(features, mean, strict=True))
                        d += (y - cy - di * offset[step]) ** 2 + (x - cx - dj * offset[step]) ** 2
                        if best is None or d < best[0]:
                            best = d, (r + di, c + dj)
            owner[p] = best[1]
    ids = np.full(shape, NO_SUPERPIXEL, np.int64)
    for p in pixels:
        ids[p] = pack(*owner[p])
    return naively_joined(ids, step, anchor) if connect else ids


def naively_joined(ids, step, anchor):
    """Components as lists of pixels; fragments of less than `step` join, pass by pass."""
    parts, owner, name = [], {}, []
    for here in np.unique(ids[ids >= 0]):
        labels, n = label(ids == here)
        components = [[tuple(p) for p in np.argwhere(labels == k)] for k in range(1, n + 1)]
        largest = max(components, key=lambda c: (len(c), -c[0][0], -c[0][1]))
        for c in components:
            y, x = (int(v) + a for v, a in zip(c[0], anchor, strict=True))
            parts.append(c)
            name.append(here if c is largest else APART | pack(y, x))
    at = {p: k for k, part in enumerate(parts) for p in part}
    owner = {k: k for k, part in enumerate(parts) if len(part) >= step}
    for _ in range(PASSES):
        joins = {}
        for k, part in enumerate(parts):
            border = {}
            for i, j in part if k not in owner else ():
                for q in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
                    if at.get(q, k) != k and at[q] in owner:
                        border[owner[at[q]]] = border.get(owner[at[q]], 0) + 1
            if border:
                joins[k] = min(border, key=lambda m: (-border[m], parts[m][0]))
        owner |= joins
    out = ids.copy()
    for k, part in enumerate(parts):
        out[tuple(np.transpose(part))] = name[owner.get(k, k)]
    return out


@pytest.mark.parametrize("connect", [True, False])
@pytest.mark.parametrize(
    ("shape", "bands", "step", "compactness", "anchor", "seed"),
    [
        ((16, 16), 3, 4, 10.0, (0, 0), 0),
        ((24, 21), 3, 5, 4.0, (3, -7), 1),
        ((19, 24), 1, 6, 60.0, (-1, 2), 2),
        ((24, 24), 2, 3, 1.0, (100, 101), 3),
        ((20, 23), 4, 7, 0.1, (2, 2), 4),
        ((22, 20), 5, 4, 10.0, (-9, 1), 5),
        ((1, 24), 7, 2, 5.0, (0, 1), 6),
        ((23, 1), 3, 40, 5.0, (39, 39), 7),
        ((24, 24), 40, 8, 10.0, (5, 0), 8),
    ],
)
def test_equals_its_definition(shape, bands, step, compactness, anchor, seed, connect):
    image = picture(shape, seed, bands, 1.0)
    rng = np.random.default_rng(seed)
    image[:, rng.random(shape) < 0.02] = np.nan
    mask = rng.random(shape) > 0.1
    before = image.copy(), mask.copy()
    found = slic(
        image, step, compactness=compactness, iterations=4, mask=mask, anchor=anchor, enforce_connectivity=connect
    )
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, naive(image, step, compactness, 4, mask, anchor, connect))
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask, before[1])


def test_noise_is_full_of_fragments_and_they_are_joined():
    image = np.random.default_rng(3).normal(0, 40, (3, 24, 24)).astype(np.float32)
    mask = np.random.default_rng(4).random((24, 24)) > 0.4
    joined = slic(image, 6, compactness=1, iterations=2, mask=mask)
    np.testing.assert_array_equal(joined, naive(image, 6, 1, 2, mask, (0, 0), True))
    assert (joined >= APART).any()
    assert (joined != slic(image, 6, compactness=1, iterations=2, mask=mask, enforce_connectivity=False)).any()


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_exchange_sums_and_get_the_same_bits(threads):
    image = picture((150, 80), 9)
    image[:, 40:60, 10:30] = np.nan
    np.testing.assert_array_equal(slic(image, 5, threads=threads), slic(image, 5))


@pytest.mark.parametrize(
    ("columns", "step", "none"), [(63, 3, 0.0), (64, 5, 0.1), (65, 4, 0.5), (130, 2, 0.05), (1, 7, 0.1)]
)
def test_fragments_of_random_codes_over_words_and_strips(columns, step, none):
    """Rows of less, just, and more than a word of 64 pixels; strips hardly higher than a fragment."""
    rng = np.random.default_rng(columns)
    codes = np.where(rng.random((25, columns)) < 0.6, 4, rng.integers(0, 9, (25, columns))).astype(np.uint8)
    codes[rng.random(codes.shape) < none] = 15
    codes[8:16, columns // 2 :] = 15
    anchor = (-7, 11)
    expected = naively_joined(ids_of(codes, step, anchor, False, 2), step, anchor)
    for threads in (1, 2, 5, 9):
        np.testing.assert_array_equal(ids_of(codes, step, anchor, True, threads), expected)


def test_more_pixels_than_notes_are_counted_for_are_refused():
    with pytest.raises(ValueError, match="use chunks"):
        ids_of(np.broadcast_to(np.uint8(4), (2**15, 2**14)), 16, (0, 0), True, 1)


def test_the_longest_chain_of_joins_is_inside_the_reach():
    """A fragment joins one that joins a component, which is not the largest of its superpixel, 37 of 40 px away."""
    step, rows, first = 8, 162, 81  # the first row of the second thread
    names = np.full(rows, -1)  # row of the lattice; the cell of pixel i is (i + 4) // 8
    names[first - 37 : first - 25] = names[first - 24 : first - 13] = 7  # 12 and 11 px
    names[first - 13 : first - 6], names[first - 6 : first + 1] = 9, 10  # two fragments of 7 px
    codes = np.where(names < 0, 15, 3 * (names - (np.arange(rows) + 4) // step + 1) + 1).astype(np.uint8)[:, np.newaxis]
    alone, shared = (ids_of(codes, step, (4, 0), True, threads) for threads in (1, 2))
    assert alone[first] == APART | pack(first - 24 + 4, 0)
    np.testing.assert_array_equal(shared, alone)


@pytest.mark.parametrize("connect", [True, False])
def test_two_requests_agree_beyond_the_reach(connect):
    image = picture((120, 110), 2)
    whole = slic(image, 4, iterations=3, anchor=(1, 2), enforce_connectivity=connect)
    top, left, reach = 21, 30, slic_reach(4, 3, connect)
    part = slic(image[:, top:, left:], 4, iterations=3, anchor=(1 + top, 2 + left), enforce_connectivity=connect)
    np.testing.assert_array_equal(part[reach:, reach:], whole[top + reach :, left + reach :])
    assert (part != whole[top:, left:]).any()


def test_moving_the_anchor_by_whole_steps_renames_only():
    image = picture((40, 44), 6)
    near, far = slic(image, 5, anchor=(2, 3)), slic(image, 5, anchor=(2 - 50, 3 + 25))
    rows, columns = (a - b for a, b in zip(lattice_index(far), lattice_index(near), strict=True))
    apart = near >= APART
    assert set(rows[~apart].tolist()) == {-10}
    assert set(columns[~apart].tolist()) == {5}


def test_flips_nearly_commute():
    """Nearly: of equally near centres the first is taken, and halves are rounded up."""
    image = picture((60, 60), 5)
    straight, flipped = slic(image, 6, compactness=8), slic(image[:, ::-1], 6, compactness=8)[::-1]
    pairs = np.unique(np.stack([straight.ravel(), flipped.ravel()]), axis=1, return_counts=True)[1]
    assert np.sort(pairs)[-len(np.unique(straight)) :].sum() > 0.9 * image[0].size


def test_a_flat_image_keeps_its_cells():
    ids = slic(np.zeros((1, 20, 30), np.float32), 5, anchor=(5, 0))
    rows, columns = lattice_index(ids)
    np.testing.assert_array_equal(rows, np.broadcast_to((np.arange(20)[:, None] + 5) // 5, ids.shape))
    np.testing.assert_array_equal(columns, np.broadcast_to(np.arange(30) // 5, ids.shape))


def test_nothing_valid_and_nothing_at_all():
    assert (slic(np.full((2, 9, 9), np.nan), 3) == NO_SUPERPIXEL).all()
    assert slic(np.zeros((2, 0, 9)), 3).shape == (0, 9)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"step": 1}, "step"),
        ({"step": 2.5}, "step"),
        ({"compactness": 0}, "compactness"),
        ({"compactness": 1e6}, "32 bits"),
        ({"iterations": 0}, "iterations"),
        ({"threads": 0}, "threads"),
        ({"mask": np.ones((2, 2), bool)}, "mask"),
    ],
)
def test_refusals(options, match):
    with pytest.raises(ValueError, match=match):
        slic(np.zeros((3, 8, 8)), **{"step": 4, **options})


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match="2-D"):
        slic(np.zeros((3, 8)), 4)
