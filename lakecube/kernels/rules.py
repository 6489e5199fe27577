"""Land or water on one date: two indices, the removal rules, and what the neighbours say.

`classify` is one fused pass over the bands and one over its own scores. Three ways to use the rules:

``"evidence"`` (the default)
    Every index and every rule contributes log-odds by how far it is past its limit; the eight neighbours'
    probabilities are added; positive is water.
``"paper"``
    Xue et al. (2025): a pixel that any rule holds for is land.
``"none"``
    The indices alone.

Contrasts of two bands are measured as ((a − b) − limit · (a + b)) / (a + b + `noise`): the distance of the
normalised difference from its limit, damped where both bands are as dark as their own error, so that deep
shadow says little.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from lakecube.kernels.evidence import BITS, LEVEL, ODDS, REASONS, decide, decide_hard, score_all
from lakecube.kernels.mosaic import IS_JUDGED
from lakecube.names import UNKNOWN

#: Pixels around its own that a decision depends on.
REACH = 1
RULES = ("evidence", "paper", "none")
COMBINE = ("sum", "intersection", "union", "mndwi", "awei_sh")
#: Bands `classify` uses where present; `nir08` stands in for `nir`.
BANDS = ("blue", "green", "red", "rededge1", "nir", "nir08", "nir09", "swir16", "swir22")


@dataclass(frozen=True, slots=True)
class RuleParams:
    """How `classify` decides. Reflectance and indices are of unit 1, slope is in degrees, weights in log-odds.

    Parameters
    ----------
    rules : {"evidence", "paper", "none"}
        See the module.
    combine : {"sum", "intersection", "union", "mndwi", "awei_sh"}
        How the two indices make one: the sum of their evidence, the weaker, the stronger, or one of them.
        Hard rules with ``"sum"`` take the sign of the sum. Where AWEIsh cannot be computed: ``"mndwi"``.
    ndvi_max, ndbi_max, ndrei_max, nir_max, nir09_max, slope_max : float
        The limits of the removal rules (Xue et al. 2025): a rule holds above its limit. They set
        `rules_fired` in every mode, and decide alone in ``"paper"``.
    contrast_weight : float
        Log-odds per unit of a contrast: for water by MNDWI from its threshold, against it by NDVI, NDBI and NDREI.
    ndwi_weight, ndwi_min : float
        Log-odds per unit of NDWI from `ndwi_min`, added to those of MNDWI: shaded land keeps its NIR above its green.
    awei_sh_weight, awei_sh_span : float
        Log-odds at `awei_sh_span` of AWEIsh from its threshold; further away counts no more.
    ndvi_start : float
        Where the evidence of NDVI starts (green water reaches its limit); the other rules' starts at their limit.
    nir_weight : float
        Log-odds against water per unit of reflectance of NIR.
    slope_weight : float
        Log-odds against water per degree beyond `slope_max`.
    noise : float
        Reflectance below which a contrast of two bands says little.
    neighbour_weight, neighbour_full, neighbour_neutral, neighbour_sure : float
        Log-odds that neighbours add when their mean probability reaches `neighbour_full` (more adds no more: a
        straight shore has three wet neighbours of eight), the share of it at which they are neutral, and the
        log-odds that a neighbour must have of its own to count as one half, so that doubt does not feed on doubt.
        A mixed pixel of the shore loses its index faster than its water: what joins on to sure water needs less
        of its own, yet never so little that bare or green land beside a lake turns to water.
    """

    rules: str = "evidence"
    combine: str = "sum"
    ndvi_max: float = 0.2
    ndbi_max: float = -0.05
    ndrei_max: float = 0.1
    nir_max: float = 0.18
    nir09_max: float = 0.15
    slope_max: float = 15.0
    contrast_weight: float = 14.0
    ndwi_weight: float = 6.0
    ndwi_min: float = 0.0
    awei_sh_weight: float = 1.0
    awei_sh_span: float = 0.08
    ndvi_start: float = 0.25
    nir_weight: float = 100.0
    slope_weight: float = 0.2
    noise: float = 0.025
    neighbour_weight: float = 8.0
    neighbour_full: float = 0.25
    neighbour_neutral: float = 0.25
    neighbour_sure: float = 2.5

    def __post_init__(self) -> None:
        if self.rules not in RULES:
            raise ValueError(f"rules must be one of {RULES}, got {self.rules!r}")
        if self.combine not in COMBINE:
            raise ValueError(f"combine must be one of {COMBINE}, got {self.combine!r}")
        for name, value in asdict(self).items():
            if name in ("rules", "combine"):
                continue
            if not np.isfinite(value):
                raise ValueError(f"{name} must be finite, got {value!r}")
            if value < 0 and (name.endswith(("_weight", "_span")) or name == "noise"):
                raise ValueError(f"{name} must not be negative, got {value!r}")
        for name in ("awei_sh_span", "noise", "neighbour_full"):
            if getattr(self, name) == 0:
                raise ValueError(f"{name} must be positive")
        for name in ("neighbour_full", "neighbour_neutral"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)!r}")

    @classmethod
    def paper(cls) -> RuleParams:
        """Preset of Xue et al. (2025): both indices above their thresholds, and no rule holds.

        Its text combines the two indices without saying how; its code (Appendix A) takes the intersection.
        """
        return cls(rules="paper", combine="intersection")


_NUMBERS = tuple(f for f in RuleParams.__dataclass_fields__ if f not in ("rules", "combine"))
_Numbers = namedtuple("_Numbers", _NUMBERS)  # type: ignore[misc]
_Has = namedtuple("_Has", ("awei_sh", "nir", "red", "rededge1", "nir09", "slope"))


def _band(bands: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray | None:
    if name not in bands:
        return None
    band = np.asarray(bands[name])
    if band.shape != shape or band.ndim != 2:
        raise ValueError(f"band {name!r} must be 2-D of shape {shape}, got {band.shape}")
    return np.ascontiguousarray(band, np.float32)


def _gather(bands: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> dict[str, np.ndarray | None]:
    for name in ("green", "swir16"):
        if name not in bands:
            raise ValueError(f"MNDWI needs the bands 'green' and 'swir16'; missing: {name!r}, given: {sorted(bands)}")
    found = {name: _band(bands, name, shape) for name in BANDS}
    if found["nir"] is None:
        found["nir"] = found["nir08"]
    return found


def can_awei_sh(bands: Mapping[str, np.ndarray]) -> bool:
    """Tell whether `bands` allow AWEIsh; where not, `classify` goes by MNDWI alone."""
    return {"blue", "green", "swir16", "swir22"} <= set(bands) and bool({"nir", "nir08"} & set(bands))


def classify(
    bands: Mapping[str, np.ndarray],
    observation: np.ndarray,
    slope: np.ndarray | None = None,
    thresholds: np.ndarray | tuple[float, float] = (0.1, 0.0),
    params: RuleParams | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Judge every pixel of one date land, water or unknown, and say why.

    Parameters
    ----------
    bands : mapping of str to numpy.ndarray
        float32 reflectance (unit 1), shape (y, x), by STAC common name. ``green`` and ``swir16`` must be there;
        a rule or index whose band is not there is left out. ``nir08`` stands in for ``nir``.
    observation : numpy.ndarray
        uint8, shape (y, x), codes of `lakecube.names.OBSERVATION`. Only states in `lakecube.names.JUDGED` are
        judged; what the bands hold elsewhere has no influence.
    slope : numpy.ndarray, optional
        float32, shape (y, x), degrees; NaN where unknown.
    thresholds : array_like
        MNDWI and AWEIsh, compared in float32.
    params : RuleParams, optional
        The default weighs evidence; `RuleParams.paper` is the paper's preset.

    Returns
    -------
    water_mask : numpy.ndarray
        uint8, shape (y, x): 0 land, 1 water, 255 unknown.
    reason : numpy.ndarray
        uint8, codes of `lakecube.names.REASON`. ``no_valid_bands`` where green, swir16, or another given one of
        red, nir and AWEIsh's bands is NaN or infinite; NaN in rededge1, nir09 or slope only silences its rule.
    rules_fired : numpy.ndarray
        uint16 flags of `lakecube.names.RULE_BITS`; 0 where unknown.
    water_probability : numpy.ndarray or None
        float32, logistic of the evidence, NaN where unknown; above 0.5 is water. None with hard rules.

    Raises
    ------
    ValueError
        A band without which MNDWI cannot be computed is missing, a threshold is not finite, or shapes differ.

    Notes
    -----
    Reach: `REACH` with ``rules="evidence"``, else 0. Law: exact, bitwise, for any cut with that halo. At the true
    edge, and beside unknown pixels, the mean is over the neighbours that were judged; with none the neighbours are
    neutral. O(pixels), two passes, 6 bytes a pixel of scratch. Inputs are never written.

    References
    ----------
    Xue et al. (2025), Applied Sciences 15, 11490 (rules and limits). Xu (2006),
    https://doi.org/10.1080/01431160600589179. Feyisa et al. (2014), https://doi.org/10.1016/j.rse.2013.08.029.

    Examples
    --------
    >>> import numpy as np
    >>> water, soil = np.full((2, 2), 0.02, np.float32), np.full((2, 2), 0.3, np.float32)
    >>> bands = {"green": 3 * water, "swir16": np.hstack([water, soil])[:, 1:3]}
    >>> classify(bands, np.zeros((2, 2), np.uint8))[0]
    array([[1, 0],
           [1, 0]], dtype=uint8)
    """
    p = params or RuleParams()
    observation = np.ascontiguousarray(observation, np.uint8)
    shape = observation.shape
    found = _gather(bands, shape)
    stand_in = found["green"]
    tilt = None if slope is None else _band({"slope": slope}, "slope", shape)
    awei = can_awei_sh(bands) and p.combine != "mndwi"
    if not awei and p.combine == "awei_sh":
        raise ValueError(f"AWEIsh needs blue, green, nir, swir16 and swir22; given: {sorted(bands)}")
    names = ("blue", "green", "red", "rededge1", "nir", "nir09", "swir16", "swir22")
    arrays = [stand_in if found[name] is None else found[name] for name in names]
    given = [found[k] is not None for k in ("nir", "red", "rededge1", "nir09")]
    has = _Has._make([awei, *given, tilt is not None])
    numbers = _Numbers._make(np.float32(getattr(p, name)) for name in _NUMBERS)
    limits = np.asarray(thresholds, np.float32)
    if limits.shape != (2,) or not np.isfinite(limits).all():
        raise ValueError(f"thresholds must be two finite numbers (MNDWI, AWEIsh), got {thresholds!r}")
    t_m, t_a = limits
    hard = p.rules != "evidence"
    combine = COMBINE.index(p.combine) if awei else COMBINE.index("mndwi")

    score, reason, fired = np.empty(shape, np.float32), np.empty(shape, np.uint8), np.zeros(shape, np.uint16)
    padded = (shape[0] + 2 * REACH, shape[1] + 2 * REACH)
    near, seen = np.zeros(padded, np.uint8), np.zeros(padded, np.uint8)
    score_all(*arrays, stand_in if tilt is None else tilt, observation, IS_JUDGED, t_m, t_a, has, numbers, combine,
               hard, LEVEL, score, reason, fired, near, seen)  # fmt: skip
    mask = np.full(shape, UNKNOWN, np.uint8)
    if hard:
        decide_hard(score, seen, p.rules == "paper", mask, reason, fired, REASONS, BITS)
        return mask, reason, fired, None
    probability = np.full(shape, np.nan, np.float32)
    decide(score, near, seen, numbers, ODDS, mask, reason, fired, probability)
    return mask, reason, fired, probability
