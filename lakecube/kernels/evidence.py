"""The loops of `lakecube.kernels.rules`: one over the bands, one over the scores and their neighbours."""

from __future__ import annotations

import numpy as np

from lakecube.kernels.jit import jit, jit_inline
from lakecube.names import LAND, LAND_REASONS, NO_VALID_BANDS, RULE_BITS, WATER

# Log-odds in steps of 1/8 to probabilities in steps of 1/255: whole numbers add the same in any order.
_STEPS, _HALF = np.float32(8), 128
LEVEL = np.rint(255 / (1 + np.exp(-(np.arange(2 * _HALF) - _HALF) / _STEPS))).astype(np.uint8)
_BELOW, _WEAK, _NEIGHBOURS = (
    np.uint8(LAND_REASONS[k]) for k in ("index_below_threshold", "weak_evidence", "neighbours")
)
_RULES = ("ndvi", "ndbi", "ndrei", "nir", "nir09", "slope")
_LAND_NDVI, _LAND_NDBI, _LAND_NDREI, _LAND_NIR, _LAND_NIR09, _LAND_SLOPE = (np.uint8(LAND_REASONS[k]) for k in _RULES)
_BIT_NDVI, _BIT_NDBI, _BIT_NDREI, _BIT_NIR, _BIT_NIR09, _BIT_SLOPE = (np.uint16(1 << RULE_BITS[k]) for k in _RULES)
REASONS = np.array([LAND_REASONS[k] for k in _RULES], np.uint8)
BITS = np.array([1 << RULE_BITS[k] for k in _RULES], np.uint16)
ODDS = (1 / (1 + np.exp(-np.arange(-_HALF, _HALF + 1) / float(_STEPS)))).astype(np.float32)
_BIT_MNDWI, _BIT_AWEI, _BIT_NEIGHBOURS = (
    np.uint16(1 << RULE_BITS[k]) for k in ("mndwi_below", "awei_sh_below", "neighbours")
)


@jit_inline
def _beyond(a, b, limit, noise):
    """How far (a − b) / (a + b) is past `limit`, damped where a + b is not well above `noise`."""
    total = a + b
    return ((a - b) - limit * total) / (max(total, np.float32(0)) + noise)


@jit_inline
def _above(a, b, limit):
    total = a + b
    return total > np.float32(0) and (a - b) / total > limit  # as in `indices`: undefined, hence above nothing


@jit_inline
def _combined(first, second, combine):
    if combine == 0:
        return first + second
    if combine == 1:
        return min(first, second)
    if combine == 2:
        return max(first, second)
    return first if combine == 3 else second


@jit_inline
def _awei_sh(b, g, n, s1, s2):
    """AWEIsh with the same order of operations as `lakecube.kernels.indices.awei_sh`."""
    value = b + np.float32(2.5) * g
    value = value + np.float32(-1.5) * n
    value = value + np.float32(-1.5) * s1
    return value + np.float32(-0.25) * s2


@jit_inline
def _wet(mndwi, awei, evidence, t_m, t_a, combine):
    """Tell whether the indices alone, by their thresholds, say water."""
    if combine == 0:
        return evidence > np.float32(0)
    if combine == 1:
        return mndwi > t_m and awei > t_a
    if combine == 2:
        return mndwi > t_m or awei > t_a
    return mndwi > t_m if combine == 3 else awei > t_a


@jit_inline
def _against(penalty, code, total, worst, ground):
    """Add a penalty where it is positive (a NaN is not) and keep the code of the worst; selects, no branches."""
    total += penalty if penalty > np.float32(0) else np.float32(0)
    ground = code if penalty > worst else ground
    worst = penalty if penalty > worst else worst
    return total, worst, ground


@jit_inline
def _score(g, n, r, re, n9, s1, s2, b, tilt, t_m, t_a, has, p, combine, hard):
    """Return log-odds, the decisive ground against water, and the rules fired, of one valid pixel."""
    zero, one, no = np.float32(0), np.float32(1), np.uint16(0)
    total = g + s1
    mndwi = (g - s1) / total if total > zero else np.float32(np.nan)
    awei = zero
    evidence = p.contrast_weight * _beyond(g, s1, t_m, p.noise)
    fired = no if mndwi > t_m else _BIT_MNDWI
    if has.nir:
        evidence += p.ndwi_weight * _beyond(g, n, p.ndwi_min, p.noise)
    if has.awei_sh:
        awei = _awei_sh(b, g, n, s1, s2)
        fired |= no if awei > t_a else _BIT_AWEI
        second = p.awei_sh_weight * min(max((awei - t_a) / p.awei_sh_span, -one), one)
        evidence = _combined(evidence, second, combine)
    against, worst, ground = zero, zero, _WEAK
    if has.red:
        fired |= _BIT_NDVI if _above(n, r, p.ndvi_max) else no
        penalty = p.contrast_weight * _beyond(n, r, p.ndvi_start, p.noise)
        against, worst, ground = _against(penalty, _LAND_NDVI, against, worst, ground)
    if has.nir:
        fired |= _BIT_NDBI if _above(s1, n, p.ndbi_max) else no
        penalty = p.contrast_weight * _beyond(s1, n, p.ndbi_max, p.noise)
        against, worst, ground = _against(penalty, _LAND_NDBI, against, worst, ground)
    if has.rededge1:
        fired |= _BIT_NDREI if _above(n, re, p.ndrei_max) else no
        penalty = p.contrast_weight * _beyond(n, re, p.ndrei_max, p.noise)
        against, worst, ground = _against(penalty, _LAND_NDREI, against, worst, ground)
    if has.nir:
        fired |= _BIT_NIR if n > p.nir_max else no
        penalty = p.nir_weight * (n - p.nir_max)
        against, worst, ground = _against(penalty, _LAND_NIR, against, worst, ground)
    if has.nir09:
        fired |= _BIT_NIR09 if n9 > p.nir09_max else no
        penalty = p.nir_weight * (n9 - p.nir09_max)
        against, worst, ground = _against(penalty, _LAND_NIR09, against, worst, ground)
    if has.slope:
        fired |= _BIT_SLOPE if tilt > p.slope_max else no
        penalty = p.slope_weight * (tilt - p.slope_max)
        against, worst, ground = _against(penalty, _LAND_SLOPE, against, worst, ground)
    if hard:
        return (one if _wet(mndwi, awei, evidence, t_m, t_a, combine) else -one), _BELOW, fired
    ground = _WEAK if evidence > worst else ground
    return evidence - against, (ground if evidence > zero else _BELOW), fired


@jit
def score_all(blue, green, red, rededge1, nir, nir09, swir16, swir22, slope, observation, judged, t_m, t_a,
               has, p, combine, hard, level, score, ground, fired, near, seen):  # fmt: skip
    """Fill `score`, `ground`, `fired`, and `near` and `seen`, which have a border of one pixel; unseen stays unseen."""
    for i in range(green.shape[0]):
        for j in range(green.shape[1]):
            if not judged[observation[i, j]]:
                ground[i, j] = observation[i, j]
                continue
            b, g, r, re, n = blue[i, j], green[i, j], red[i, j], rededge1[i, j], nir[i, j]
            n9, s1, s2 = nir09[i, j], swir16[i, j], swir22[i, j]
            needed = g + s1
            if has.nir:
                needed += n
            if has.red:
                needed += r
            if has.awei_sh:
                needed += b + s2
            if not np.isfinite(needed):
                ground[i, j] = NO_VALID_BANDS
                continue
            value, ground[i, j], fired[i, j] = _score(
                g, n, r, re, n9, s1, s2, b, slope[i, j], t_m, t_a, has, p, combine, hard
            )
            score[i, j] = value
            own = value - p.neighbour_sure
            step = np.int64(min(max(own, np.float32(-15)), np.float32(15)) * _STEPS) + _HALF
            near[i + 1, j + 1], seen[i + 1, j + 1] = level[step], 1


@jit
def decide(score, near, seen, p, odds, mask, reason, fired, probability):
    """Add the neighbours' evidence to `score`, decide, and turn the sum into a probability; `reason` has the ground."""
    zero = np.float32(0)
    for i in range(score.shape[0]):
        for j in range(score.shape[1]):
            if seen[i + 1, j + 1] == 0:
                continue
            value = score[i, j]
            total, count = -np.int32(near[i + 1, j + 1]), np.int32(-1)
            for u in range(i, i + 3):
                total += np.int32(near[u, j]) + np.int32(near[u, j + 1]) + np.int32(near[u, j + 2])
                count += np.int32(seen[u, j]) + np.int32(seen[u, j + 1]) + np.int32(seen[u, j + 2])
            if count > 0:
                mean = np.float32(total) / np.float32(count * 255)
                value += p.neighbour_weight * (min(mean / p.neighbour_full, np.float32(1)) - p.neighbour_neutral)
            if value > zero:
                mask[i, j], reason[i, j] = WATER, 0
            else:
                mask[i, j] = LAND
                if score[i, j] > zero:
                    reason[i, j] = _NEIGHBOURS
                    fired[i, j] |= _BIT_NEIGHBOURS
            place = (min(max(value, np.float32(-15)), np.float32(15)) + np.float32(16)) * _STEPS
            k = np.int64(place)
            probability[i, j] = odds[k] + (odds[k + 1] - odds[k]) * (place - np.float32(k))


@jit
def decide_hard(score, seen, any_rule, mask, reason, fired, reasons, bits):
    """Decide by the sign of `score` (the indices alone) and, with `any_rule`, by the first rule that holds."""
    for i in range(score.shape[0]):
        for j in range(score.shape[1]):
            if seen[i + 1, j + 1] == 0:
                continue
            mask[i, j], reason[i, j] = WATER, 0
            if not score[i, j] > np.float32(0):
                mask[i, j], reason[i, j] = LAND, _BELOW
            elif any_rule:
                for k in range(6):
                    if fired[i, j] & bits[k]:
                        mask[i, j], reason[i, j] = LAND, reasons[k]
                        break
