"""Land, water or unknown from a network's probability and what refined it, with the reason for each."""

from __future__ import annotations

import numpy as np

from lakecube.kernels.mosaic import IS_JUDGED
from lakecube.names import LAND, LAND_REASONS, NO_VALID_BANDS, REASON, RULE_BITS, UNKNOWN, WATER

_LOW, _SUPERPIXEL, _CRF = (np.uint8(LAND_REASONS[k]) for k in ("low_probability", "superpixel", "crf"))
_BIT_LOW, _BIT_SUPERPIXEL, _BIT_CRF = (np.uint16(1 << RULE_BITS[k]) for k in ("low_probability", "superpixel", "crf"))


def decide(
    probability: np.ndarray,
    observation: np.ndarray,
    threshold: float,
    fused: np.ndarray | None = None,
    refined: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mask by the last stage there is, the stage that made a pixel land, and all that said land.

    Parameters
    ----------
    probability : array of float32
        Of the network; NaN where unknown.
    observation : array of uint8
        Codes of `lakecube.names.OBSERVATION`.
    threshold : float
        Above it the network says water.
    fused : array of uint8, optional
        The mask after fusion in superpixels.
    refined : array of float32, optional
        Probability after the CRF: above a half is water.

    Returns
    -------
    water_mask, reason : array of uint8
    rules_fired : array of uint16
        0 where unknown.

    Notes
    -----
    Any shape, element by element. Inputs are never written.
    """
    known = ~np.isnan(probability)
    with np.errstate(invalid="ignore"):
        wet = probability > np.float32(threshold)
        fired = np.where(wet, np.uint16(0), _BIT_LOW)
        ground = np.full(probability.shape, _LOW)
        if fused is not None:
            now = fused == WATER
            ground[wet & ~now] = _SUPERPIXEL
            fired[~now] |= _BIT_SUPERPIXEL
            wet = now
        if refined is not None:
            now = refined > 0.5
            ground[wet & ~now] = _CRF
            fired[~now] |= _BIT_CRF
            wet = now
    mask = np.where(known, np.where(wet, np.uint8(WATER), np.uint8(LAND)), np.uint8(UNKNOWN))
    why = np.where(IS_JUDGED[observation], np.uint8(NO_VALID_BANDS), observation)
    reason = np.where(known, np.where(wet, np.uint8(REASON["water"]), ground), why)
    fired[~known] = 0
    return mask, reason, fired


def redraw(
    mask: np.ndarray, reason: np.ndarray, fired: np.ndarray, drawn: np.ndarray, by: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mask, reason and rules after new outlines were drawn: what changed has a new reason, what is unknown stays.

    Parameters
    ----------
    mask, reason : array of uint8
    fired : array of uint16
    drawn : array of uint8
        The new mask; 255 keeps what was there.
    by : {"superpixel", "crf"}
        What drew it: the reason of new land, and the rule that fired there.

    Returns
    -------
    water_mask, reason : array of uint8
    rules_fired : array of uint16

    Notes
    -----
    Any shape, element by element. Inputs are never written.
    """
    told = (mask != UNKNOWN) & (drawn != UNKNOWN)
    dry, wet = told & (drawn != WATER), told & (drawn == WATER)
    why = np.where(dry & (mask == WATER), np.uint8(LAND_REASONS[by]), reason)
    why = np.where(wet & (mask != WATER), np.uint8(REASON["water"]), why)
    return np.where(told, drawn, mask), why, np.where(dry, fired | np.uint16(1 << RULE_BITS[by]), fired)
