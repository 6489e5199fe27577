"""Outlines drawn anew, put back into a result: no reason may contradict its pixel."""

from __future__ import annotations

import numpy as np
import pytest

from lakecube.errors import InvalidInputError
from lakecube.methods import extract
from lakecube.names import LAND, LAND_REASONS, REASON, RULE_BITS, UNKNOWN, WATER
from lakecube.refine.outlines import with_outlines


@pytest.fixture(scope="module")
def water(cube):
    return extract(cube.chunk(y=17, x=23)).compute()


@pytest.fixture
def drawn(water):
    mask = water["water_mask"].copy(deep=True)
    mask[:, ::2] = np.where(mask[:, ::2] == UNKNOWN, WATER, mask[:, ::2] ^ 1)  # the other, and water where unknown
    mask[:, :, :3] = UNKNOWN
    return mask


@pytest.mark.parametrize("by", ["crf", "superpixel"])
def test_mask_and_reason_agree_and_unknown_stays(water, drawn, by):
    out = with_outlines(water.chunk(y=10), drawn.chunk(x=9), by=by).compute()
    before, mask, reason = water["water_mask"].values, out["water_mask"].values, out["reason"].values
    unknown = before == UNKNOWN
    np.testing.assert_array_equal(mask == UNKNOWN, unknown)
    np.testing.assert_array_equal(reason[unknown], water["reason"].values[unknown])
    np.testing.assert_array_equal(reason == REASON["water"], mask == WATER)
    kept = drawn.values == UNKNOWN
    for name in ("water_mask", "reason", "rules_fired"):
        np.testing.assert_array_equal(out[name].values[kept], water[name].values[kept])
    turned = (before == WATER) & (mask == LAND)
    assert turned.any()
    assert (reason[turned] == LAND_REASONS[by]).all()
    dry = ~kept & (mask == LAND)
    bit = np.uint16(1 << RULE_BITS[by])
    np.testing.assert_array_equal(out["rules_fired"].values & bit > 0, dry)


def test_a_store_does_not_mix_rows_with_and_without(water, drawn):
    out = with_outlines(water, drawn)
    assert out.attrs["configuration"] != water.attrs["configuration"]
    assert "extract_request" not in out.attrs
    assert "extract_request" in water.attrs


def test_what_cannot_be_meant_is_refused(water, drawn):
    with pytest.raises(InvalidInputError, match="by='hand'"):
        with_outlines(water, drawn, by="hand")
    with pytest.raises(InvalidInputError, match='output="labels"'):
        with_outlines(water, drawn.astype("float32"))
    with pytest.raises(InvalidInputError, match="must share"):
        with_outlines(water, drawn.isel(y=slice(1, None)))
    with pytest.raises(InvalidInputError, match="rules_fired is missing"):
        with_outlines(water.drop_vars("rules_fired"), drawn)
    with pytest.raises(InvalidInputError, match="time, y, x"):
        with_outlines(water, drawn.isel(time=0, drop=True))
