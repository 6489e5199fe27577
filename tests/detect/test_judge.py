"""The judgement: what unknown, land and water mean, metamorphic relations, thresholds that fit."""

import numpy as np
import pytest
import xarray as xr

from lakecube.detect.judge import judge
from lakecube.detect.threshold import threshold
from lakecube.errors import InvalidInputError, MissingBandError
from lakecube.kernels.mosaic import IS_JUDGED
from lakecube.kernels.rules import REACH
from lakecube.names import LAND, LAND_REASONS, NO_VALID_BANDS, OBSERVATION, UNKNOWN, WATER

GIVEN = {"mndwi": 0.1, "awei_sh": 0.0}


def judged(cube, **options):
    return judge(cube, threshold(cube, GIVEN)["threshold"], **options).compute()


@pytest.mark.parametrize("rules", ["evidence", "paper", "none"])
def test_every_pixel_has_its_ground(cube, rules):
    out = judged(cube, rules=rules)
    mask, reason, state = out.water_mask.values, out.reason.values, cube.observation.values
    assert set(np.unique(mask)) <= {LAND, WATER, UNKNOWN}
    assert (mask == WATER).any()
    assert (mask == LAND).any()
    hidden = ~IS_JUDGED[state]
    assert hidden.any()
    assert (mask[hidden] == UNKNOWN).all()
    np.testing.assert_array_equal(reason[hidden], state[hidden])
    assert (reason[mask == WATER] == 0).all()
    assert np.isin(reason[mask == LAND], list(LAND_REASONS.values())).all()
    assert (reason[~hidden & (mask == UNKNOWN)] == NO_VALID_BANDS).all()
    assert (out.rules_fired.values[hidden] == 0).all()


@pytest.mark.parametrize("rules", ["evidence", "paper", "none"])
def test_flips_and_turns_commute(cube, rules):
    out = judged(cube, rules=rules)
    for turn in ({"y": slice(None, None, -1)}, {"x": slice(None, None, -1)}):
        xr.testing.assert_equal(judged(cube.isel(turn), rules=rules), out.isel(turn))
    turned = cube.rename(y="x", x="y").transpose("time", "y", "x")
    again = judged(turned, rules=rules)
    for name in out.data_vars:
        np.testing.assert_array_equal(again[name].values, out[name].values.transpose(0, 2, 1))


def test_a_border_of_nodata_changes_nothing_inside(cube):
    out = judged(cube)
    fill = dict.fromkeys(cube.data_vars, np.nan) | {"observation": OBSERVATION["not_acquired"]}
    framed = cube.pad(y=3, x=3, constant_values=fill)
    framed["observation"] = framed["observation"].astype("uint8")
    framed = framed.assign_coords(y=np.arange(framed.sizes["y"]), x=np.arange(framed.sizes["x"]))
    inside = judged(framed).isel(y=slice(3, -3), x=slice(3, -3))
    for name in out.data_vars:
        np.testing.assert_array_equal(inside[name].values, out[name].values)


def test_neighbours_beyond_the_reach_have_no_say(cube):
    base = judged(cube)
    changed = cube.copy(deep=True)
    for band in ("green", "swir16", "nir"):
        changed[band][:, 20, 20] = np.float32(0.4)
    other = judged(changed)
    differs = (base.water_mask != other.water_mask) | (base.reason != other.reason)
    rows, columns = np.nonzero(differs.any("time").values)
    assert abs(rows - 20).max(initial=0) <= REACH
    assert abs(columns - 20).max(initial=0) <= REACH


def test_dates_are_judged_by_themselves(cube):
    out = judged(cube)
    for i in range(3):
        xr.testing.assert_equal(judged(cube.isel(time=[i])), out.isel(time=[i]))


def test_thresholds_are_matched_by_date_and_name_not_by_position(cube):
    limits = threshold(cube, "otsu")["threshold"].compute()
    limits[0, 0], limits[1, 0] = 0.9, -0.9
    out = judge(cube, limits).compute()
    turned = judge(cube, limits.isel(time=[2, 0, 1], index=[1, 0])).compute()
    xr.testing.assert_equal(out, turned)
    more = judge(cube.isel(time=[1]), limits).compute()
    xr.testing.assert_equal(more, out.isel(time=[1]))


def test_thresholds_that_do_not_fit_are_refused(cube):
    limits = threshold(cube, "otsu")["threshold"].compute()
    with pytest.raises(InvalidInputError, match="threshold"):
        judge(cube, limits.isel(time=[0]))
    with pytest.raises(InvalidInputError, match="shape"):
        judge(cube, limits.isel(time=[0]).drop_vars("time"))
    with pytest.raises(InvalidInputError, match="dims"):
        judge(cube, limits.isel(time=0))


def test_a_higher_threshold_never_makes_water(cube):
    limits = threshold(cube, GIVEN)["threshold"]
    low, high = (judge(cube, limits + d, rules="none").compute().water_mask for d in (0.0, 0.1))
    assert not ((high == WATER) & (low != WATER)).any()
    assert (high == WATER).sum() < (low == WATER).sum()


def test_probability_is_asked_for_and_only_evidence_has_one(cube):
    out = judged(cube, probability=True)
    probability = out.water_probability.values
    assert probability.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(probability), out.water_mask.values == UNKNOWN)
    known = ~np.isnan(probability)
    np.testing.assert_array_equal(probability[known] > 0.5, out.water_mask.values[known] == WATER)
    assert "water_probability" not in judged(cube)
    with pytest.raises(InvalidInputError, match="probability"):
        judged(cube, rules="paper", probability=True)


def test_rules_without_their_band_are_named(cube):
    assert judged(cube).attrs["rules_skipped"] == ""
    skipped = judged(cube.drop_vars(["rededge1", "nir09", "slope"])).attrs["rules_skipped"].split()
    assert skipped == ["ndrei", "nir09", "slope"]


def test_slope_speaks(cube):
    steep = cube.assign(slope=cube.slope * 0 + np.float32(60))
    flat = cube.assign(slope=cube.slope * 0)
    assert (judged(steep, rules="paper").water_mask == WATER).sum() == 0
    assert (judged(flat, rules="paper").water_mask == WATER).sum() > 0


def test_refusals(cube):
    with pytest.raises(MissingBandError, match="swir16"):
        judged(cube.assign().drop_vars("swir16"))
    with pytest.raises(InvalidInputError, match="ndvi_maxx"):
        judged(cube, ndvi_maxx=1)
    with pytest.raises(InvalidInputError, match="rules"):
        judged(cube, rules="papr")
