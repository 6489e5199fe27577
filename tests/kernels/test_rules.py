import dataclasses

import numpy as np
import pytest

from lakecube.kernels import indices
from lakecube.kernels.rules import REACH, RuleParams, can_awei_sh, classify
from lakecube.names import JUDGED, LAND_REASONS, NO_VALID_BANDS, OBSERVATION, REASON, RULE_BITS

NAMES = ("blue", "green", "red", "rededge1", "nir", "nir09", "swir16", "swir22")
JUDGED_CODES = [OBSERVATION[name] for name in JUDGED]
MODES = [
    RuleParams(),
    RuleParams.paper(),
    RuleParams(rules="none", combine="union"),
    RuleParams(rules="none", combine="sum"),
    RuleParams(combine="intersection"),
]


def scene(shape=(40, 50), seed=0, states=True):
    """Dark and bright pixels of every kind, with invalid bands and unseen pixels among them."""
    rng = np.random.default_rng(seed)
    bands = {k: (rng.random(shape) ** 2 * 0.3 - 0.01).astype(np.float32) for k in NAMES}
    wet = rng.random(shape) < 0.5
    for name, high in (("nir", 0.05), ("swir16", 0.03), ("swir22", 0.02), ("nir09", 0.05), ("rededge1", 0.06)):
        bands[name][wet] = rng.random(wet.sum()) * high
    for k in ("green", "nir", "rededge1", "nir09"):
        bands[k][rng.random(shape) < 0.03] = np.nan
    observation = rng.choice(list(OBSERVATION.values()) if states else [0], shape).astype(np.uint8)
    slope = (rng.random(shape) * 30).astype(np.float32)
    slope[0, :5] = np.nan
    return bands, observation, slope


def naive(bands, observation, slope, thresholds, p):
    """The same decisions, one pixel at a time, in the plainest words."""
    f = np.float32
    tm, ta = f(thresholds[0]), f(thresholds[1])
    shape = observation.shape
    mask, reason = np.full(shape, 255, np.uint8), np.full(shape, 255, np.uint8)
    fired, score = np.zeros(shape, np.uint16), np.full(shape, np.nan, np.float32)
    rules = ("ndvi", "ndbi", "ndrei", "nir", "nir09", "slope")
    wet = np.zeros(shape, bool)

    def beyond(a, b, limit):
        return ((a - b) - f(limit) * (a + b)) / (max(a + b, f(0)) + f(p.noise))

    for at in np.ndindex(shape):
        if observation[at] not in JUDGED_CODES:
            reason[at] = observation[at]
            continue
        v = {k: band[at] for k, band in bands.items()}
        if not all(np.isfinite(v[k]) for k in ("blue", "green", "red", "nir", "swir16", "swir22")):
            reason[at] = NO_VALID_BANDS
            continue
        one = {k: np.array([x]) for k, x in v.items()}
        mndwi, awei = indices.CATALOGUE["mndwi"](one)[0], indices.CATALOGUE["awei_sh"](one)[0]
        held = {
            "ndvi": indices.CATALOGUE["ndvi"](one)[0] > f(p.ndvi_max),
            "ndbi": indices.CATALOGUE["ndbi"](one)[0] > f(p.ndbi_max),
            "ndrei": indices.CATALOGUE["ndrei"](one)[0] > f(p.ndrei_max),
            "nir": v["nir"] > f(p.nir_max), "nir09": v["nir09"] > f(p.nir09_max), "slope": slope[at] > f(p.slope_max),
            "mndwi_below": not mndwi > tm, "awei_sh_below": not awei > ta,
        }  # fmt: skip
        first = f(p.contrast_weight) * beyond(v["green"], v["swir16"], tm)
        first += f(p.ndwi_weight) * beyond(v["green"], v["nir"], p.ndwi_min)
        second = f(p.awei_sh_weight) * min(max((awei - ta) / f(p.awei_sh_span), f(-1)), f(1))
        combined = {"sum": first + second, "intersection": min(first, second), "union": max(first, second)}[p.combine]
        fired[at] = sum(1 << RULE_BITS[k] for k, yes in held.items() if yes)
        penalties = {
            "ndvi": f(p.contrast_weight) * beyond(v["nir"], v["red"], p.ndvi_start),
            "ndbi": f(p.contrast_weight) * beyond(v["swir16"], v["nir"], p.ndbi_max),
            "ndrei": f(p.contrast_weight) * beyond(v["nir"], v["rededge1"], p.ndrei_max),
            "nir": f(p.nir_weight) * (v["nir"] - f(p.nir_max)),
            "nir09": f(p.nir_weight) * (v["nir09"] - f(p.nir09_max)),
            "slope": f(p.slope_weight) * (slope[at] - f(p.slope_max)),
        }
        if p.rules != "evidence":
            m, a = mndwi > tm, awei > ta
            wet[at] = {"intersection": m and a, "union": m or a, "sum": combined > 0}[p.combine]
            ground = next((r for r in rules if held[r]), None) if p.rules == "paper" and wet[at] else None
            mask[at] = wet[at] and ground is None
            reason[at] = 0 if mask[at] else LAND_REASONS[ground or "index_below_threshold"]
            continue
        penalties = {k: x for k, x in penalties.items() if x > 0}
        score[at] = combined - sum(penalties.values(), f(0))
        worst = max(penalties, key=penalties.get, default=None)
        if combined <= 0:
            reason[at] = LAND_REASONS["index_below_threshold"]
        elif worst and combined <= penalties[worst]:
            reason[at] = LAND_REASONS[worst]
        else:
            reason[at] = LAND_REASONS["weak_evidence"]
    if p.rules != "evidence":
        return mask, reason, fired, None
    return naive_neighbours(mask, reason, fired, score, p)


def naive_neighbours(mask, reason, fired, score, p):
    f, probability = np.float32, np.full(score.shape, np.nan)
    levels = np.rint(255 / (1 + np.exp(-np.trunc(np.clip(score - f(p.neighbour_sure), -15, 15) * 8) / 8)))
    for y, x in zip(*np.nonzero(np.isfinite(score)), strict=True):
        box = levels[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        count = np.isfinite(box).sum() - 1
        value = score[y, x]
        if count:
            mean = f(np.nansum(box) - levels[y, x]) / f(count * 255)
            value += f(p.neighbour_weight) * (min(mean / f(p.neighbour_full), f(1)) - f(p.neighbour_neutral))
        mask[y, x] = value > 0
        if value > 0:
            reason[y, x] = 0
        elif score[y, x] > 0:
            reason[y, x] = LAND_REASONS["neighbours"]
            fired[y, x] |= 1 << RULE_BITS["neighbours"]
        probability[y, x] = 1 / (1 + np.exp(-np.clip(np.float64(value), -15, 15)))
    return mask, reason, fired, probability


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("p", MODES, ids=lambda p: f"{p.rules}-{p.combine}")
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_naive_reference(p, seed):
    bands, observation, slope = scene(seed=seed)
    thresholds = (0.12, 0.01)
    got, expected = classify(bands, observation, slope, thresholds, p), naive(bands, observation, slope, thresholds, p)
    for name, a, b in zip(("mask", "reason", "fired"), got, expected, strict=False):
        np.testing.assert_array_equal(a, b, err_msg=name)
    if p.rules == "evidence":
        np.testing.assert_allclose(got[3], expected[3], atol=6e-4)  # linear between steps of 1/8
    else:
        assert got[3] is None
    assert {1, 0, 255} <= set(np.unique(got[0]))


@pytest.mark.parametrize("p", MODES, ids=lambda p: f"{p.rules}-{p.combine}")
def test_what_is_not_judged_has_no_influence(p):
    bands, observation, slope = scene()
    first = classify(bands, observation, slope, params=p)
    unseen = ~np.isin(observation, JUDGED_CODES)
    rng = np.random.default_rng(9)
    for junk in (np.nan, np.inf, 1e30, -5.0):
        other = {k: np.where(unseen, np.float32(junk), v) for k, v in bands.items()}
        other["blue"] = np.where(unseen, rng.random(unseen.shape, np.float32), bands["blue"])
        tilt = np.where(unseen, np.float32(junk), slope)
        for a, b in zip(first, classify(other, observation, tilt, params=p), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("p", MODES, ids=lambda p: f"{p.rules}-{p.combine}")
def test_a_block_with_halo_gives_the_whole_images_answer(p):
    bands, observation, slope = scene()
    whole = classify(bands, observation, slope, params=p)
    for rows, cols in ((slice(0, 17), slice(3, 20)), (slice(11, 40), slice(31, 32)), (slice(7, 8), slice(0, 50))):
        grown = tuple(slice(max(s.start - REACH, 0), s.stop + REACH) for s in (rows, cols))
        block = classify({k: v[grown] for k, v in bands.items()}, observation[grown], slope[grown], params=p)
        inner = tuple(slice(s.start - g.start, s.stop - g.start) for s, g in zip((rows, cols), grown, strict=True))
        for a, b in zip(block, whole, strict=True):
            if a is not None:
                np.testing.assert_array_equal(a[inner], b[rows, cols])


@pytest.mark.parametrize("turn", [lambda a: a[::-1], lambda a: a[:, ::-1], lambda a: a.T], ids=["up", "left", "turn"])
def test_flips_commute(turn):
    bands, observation, slope = scene()
    whole = classify(bands, observation, slope)
    turned = classify({k: turn(v) for k, v in bands.items()}, turn(observation), turn(slope))
    for a, b in zip(turned, whole, strict=True):
        np.testing.assert_array_equal(a, turn(b))


def test_inputs_are_not_written_and_dtypes():
    bands, observation, slope = scene()
    held = [*bands.values(), observation, slope]
    before = [a.copy() for a in held]
    for a in held:
        a.flags.writeable = False
    got = classify(bands, observation, slope)
    assert [a.dtype for a in got] == [np.uint8, np.uint8, np.uint16, np.float32]
    for a, b in zip(held, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_unknown_is_told_why():
    bands, observation, slope = scene()
    mask, reason, fired, probability = classify(bands, observation, slope)
    unseen = ~np.isin(observation, JUDGED_CODES)
    np.testing.assert_array_equal(reason[unseen], observation[unseen])
    assert (mask[unseen] == 255).all()
    unknown = mask == 255
    assert (fired[unknown] == 0).all()
    np.testing.assert_array_equal(np.isnan(probability), unknown)
    assert set(np.unique(reason)) <= set(REASON.values())
    assert set(np.unique(reason[unknown & ~unseen])) == {NO_VALID_BANDS}
    np.testing.assert_array_equal(mask == 1, reason == 0)


def test_absent_bands_leave_their_rule_out():
    bands, observation, slope = scene(states=False)
    bands = {k: np.nan_to_num(v) for k, v in bands.items()}
    few = {k: v for k, v in bands.items() if k not in ("rededge1", "nir09")}
    _, _, fired, _ = classify(few, observation, None, params=RuleParams.paper())
    for name in ("ndrei", "nir09", "slope"):
        assert not (fired >> RULE_BITS[name] & 1).any()
    as_nir08 = {("nir08" if k == "nir" else k): v for k, v in bands.items()}
    both = bands | {"nir08": bands["nir"] * 3}
    expected = classify(bands, observation, slope)
    for other in (as_nir08, both):
        for a, b in zip(classify(other, observation, slope), expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_mndwi_alone_where_awei_is_impossible():
    bands, observation, _ = scene(states=False)
    some = {k: bands[k] for k in ("green", "swir16", "nir")}
    assert can_awei_sh(bands)
    assert not can_awei_sh(some)
    hard = RuleParams(rules="none", combine="intersection")
    mask, _, fired, _ = classify(some, observation, params=hard)
    valid = np.isfinite(bands["green"]) & np.isfinite(bands["nir"])
    wet = indices.mndwi(bands["green"], bands["swir16"]) > np.float32(0.1)
    np.testing.assert_array_equal(mask, np.where(valid, wet, 255))
    assert not (fired >> RULE_BITS["awei_sh_below"] & 1).any()
    with pytest.raises(ValueError, match="AWEIsh needs"):
        classify(some, observation, params=RuleParams(combine="awei_sh"))
    for missing in ("green", "swir16"):
        with pytest.raises(ValueError, match=f"missing: '{missing}'"):
            classify({k: v for k, v in bands.items() if k != missing}, observation)


def test_a_pixel_without_neighbours_is_judged_by_itself():
    spectrum = zip(NAMES, (0.03, 0.06, 0.03, 0.02, 0.01, 0.01, 0.005, 0.003), strict=True)
    water = {k: np.full((3, 3), v, np.float32) for k, v in spectrum}
    observation = np.full((3, 3), OBSERVATION["cloud"], np.uint8)
    observation[1, 1] = OBSERVATION["clear"]
    mask, _, _, probability = classify(water, observation)
    assert mask[1, 1] == 1
    one = classify({k: v[:1, :1] for k, v in water.items()}, np.zeros((1, 1), np.uint8))
    assert one[3][0, 0] == probability[1, 1]


LAND_SPECTRA = {  # blue, green, red, nir, swir16, swir22
    "grass": (0.04, 0.08, 0.06, 0.40, 0.22, 0.11), "crop": (0.03, 0.06, 0.04, 0.35, 0.18, 0.08),
    "conifer": (0.02, 0.035, 0.025, 0.18, 0.08, 0.035), "forest in shade": (0.008, 0.012, 0.008, 0.05, 0.026, 0.012),
    "dry soil": (0.10, 0.14, 0.18, 0.25, 0.32, 0.27), "dark soil": (0.05, 0.07, 0.09, 0.13, 0.18, 0.15),
    "mud": (0.06, 0.08, 0.10, 0.13, 0.12, 0.08), "asphalt": (0.08, 0.09, 0.10, 0.12, 0.13, 0.12),
    "concrete": (0.18, 0.21, 0.23, 0.26, 0.28, 0.26), "sand": (0.2, 0.26, 0.32, 0.38, 0.45, 0.40),
    "scrub": (0.04, 0.06, 0.06, 0.22, 0.2, 0.12),
}  # fmt: skip
WATER_SPECTRA = {
    "dark": (0.03, 0.03, 0.015, 0.008, 0.005, 0.003), "clear": (0.05, 0.06, 0.03, 0.01, 0.005, 0.003),
    "turbid": (0.08, 0.11, 0.12, 0.08, 0.02, 0.01), "green": (0.03, 0.06, 0.04, 0.05, 0.015, 0.01),
}  # fmt: skip
SIX = ("blue", "green", "red", "nir", "swir16", "swir22")


@pytest.mark.parametrize("land", LAND_SPECTRA)
@pytest.mark.parametrize("water", WATER_SPECTRA)
def test_neighbours_do_not_move_a_pure_shore(land, water):
    """A straight shore between pure pixels, a bay of one pixel and a lone water pixel stay where they are."""
    wet = np.zeros((9, 9), bool)
    wet[:4], wet[4, 3] = True, True
    lone = np.zeros((9, 9), bool)
    lone[4, 4] = True
    for truth in (wet, lone, ~lone):
        bands = {k: np.where(truth, w, s).astype(np.float32) for k, w, s in zip(
            SIX, WATER_SPECTRA[water], LAND_SPECTRA[land], strict=True)}  # fmt: skip
        mask = classify(bands, np.zeros((9, 9), np.uint8))[0]
        np.testing.assert_array_equal(mask == 1, truth)


def test_more_evidence_against_never_makes_water():
    bands, observation, slope = scene(states=False)
    first = classify(bands, observation, slope)[3]
    steeper = classify(bands, observation, slope + np.float32(5))[3]
    assert (np.nan_to_num(steeper) <= np.nan_to_num(first)).all()
    greener = classify(bands | {"red": bands["red"] - np.float32(0.01)}, observation, slope)[3]
    assert (np.nan_to_num(greener) <= np.nan_to_num(first) + 1e-6).all()


def test_empty_block():
    bands = {k: np.zeros((0, 5), np.float32) for k in NAMES}
    assert classify(bands, np.zeros((0, 5), np.uint8))[0].shape == (0, 5)


@pytest.mark.parametrize("change", [
    {"rules": "strict"}, {"combine": "or"}, {"noise": 0.0}, {"noise": -1.0}, {"ndvi_max": np.nan},
    {"contrast_weight": -1.0}, {"neighbour_neutral": 1.5}, {"neighbour_full": 0.0}, {"awei_sh_span": 0.0},
])  # fmt: skip
def test_parameters_are_validated(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        RuleParams(**change)


def test_parameters_are_frozen_and_shapes_are_checked():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RuleParams().noise = 1.0
    bands, observation, slope = scene()
    with pytest.raises(ValueError, match="'blue'"):
        classify(bands | {"blue": np.zeros((3, 3), np.float32)}, observation)
    with pytest.raises(ValueError, match="'slope'"):
        classify(bands, observation, slope[:5])
    for thresholds in ((np.nan, 0.0), (0.1,)):
        with pytest.raises(ValueError, match="two finite"):
            classify(bands, observation, thresholds=thresholds)


def test_reflectance_below_zero_flips_no_rule():
    bands = {name: np.full((3, 3), value, np.float32) for name, value in
             {"green": -0.02, "swir16": 0.01, "nir": -0.02, "red": 0.01, "rededge1": 0.01}.items()}  # fmt: skip
    clear = np.zeros((3, 3), np.uint8)
    mask, _, fired, _ = classify(bands, clear, None, np.float32([0.1, 0.0]), RuleParams(rules="none", combine="mndwi"))
    assert (mask == 0).all()  # green below short-wave infrared is no water, though the quotient is +3
    assert not (
        fired & (1 << RULE_BITS["ndvi"])
    ).any()  # red above near infrared is no plant, though the quotient is +3


def test_the_paper_s_numbers():
    """Xue et al. (2025), section 3.5 and Appendix A."""
    paper = RuleParams.paper()
    assert (paper.rules, paper.combine) == ("paper", "intersection")
    assert (paper.ndvi_max, paper.ndbi_max, paper.ndrei_max) == (0.2, -0.05, 0.1)
    assert (paper.nir_max, paper.nir09_max, paper.slope_max) == (0.18, 0.15, 15.0)
