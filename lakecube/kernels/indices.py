"""Spectral indices of water and of what is mistaken for it, one function per published formula.

Every function takes reflectance (unit 1) arrays of one shape and returns a new float32 array of that
shape; inputs are never written. NaN in any needed band gives NaN; so does a denominator of zero, and for a
normalised difference a negative one too: after the radiometric offset dark water can fall below 0, and there
is no light to compare. Each is evaluated pixel by pixel in float32: reach 0, O(pixels), bitwise the same
wherever a block is cut.

`CATALOGUE` names them all, with bands, formula and reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from lakecube.kernels.jit import jit


@jit
def _normalized(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    for i in range(a.size):
        total = a[i] + b[i]
        out[i] = (a[i] - b[i]) / total if total > np.float32(0.0) else np.float32(np.nan)


@jit
def _linear5(b0, b1, b2, b3, b4, w, c, out) -> None:
    for i in range(out.size):
        out[i] = c + w[0] * b0[i] + w[1] * b1[i] + w[2] * b2[i] + w[3] * b3[i] + w[4] * b4[i]


def _flat(bands: tuple[np.ndarray, ...]) -> tuple[list[np.ndarray], tuple[int, ...]]:
    arrays = [np.asarray(band) for band in bands]
    shape = arrays[0].shape
    if any(a.shape != shape for a in arrays):
        raise ValueError(f"bands must have one shape, got {[a.shape for a in arrays]}")
    return [np.ascontiguousarray(a, np.float32).reshape(-1) for a in arrays], shape


def normalized_difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Normalised difference (a − b) / (a + b).

    Parameters
    ----------
    a, b : numpy.ndarray
        Reflectance, any shape, the same for both; computed in float32.

    Returns
    -------
    numpy.ndarray
        float32, unit 1; NaN where either is NaN or a + b is not positive. Outside [-1, 1] where a band is negative.

    Raises
    ------
    ValueError
        The shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> normalized_difference(np.float32([0.75, 0.0, np.nan]), np.float32([0.25, 0.0, 0.1]))
    array([0.5, nan, nan], dtype=float32)
    """
    (x, y), shape = _flat((a, b))
    out = np.empty(x.shape, np.float32)
    _normalized(x, y, out)
    return out.reshape(shape)


def _weighted(weights: tuple[float, ...], *bands: np.ndarray, constant: float = 0.0) -> np.ndarray:
    """Return constant + Σ weight · band over up to five bands, in the order given, in float32."""
    flat, shape = _flat(bands)
    padding = 5 - len(flat)
    w = np.array((*weights, *(0.0,) * padding), np.float32)
    out = np.empty(flat[0].shape, np.float32)
    _linear5(*flat, *(flat[:1] * padding), w, np.float32(constant), out)
    return out.reshape(shape)


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    out = np.full(top.shape, np.nan, np.float32)
    return np.divide(top, bottom, out=out, where=bottom != 0)


def ndwi(green: np.ndarray, nir: np.ndarray) -> np.ndarray:
    """NDWI of McFeeters (1996): (green − nir) / (green + nir). https://doi.org/10.1080/01431169608948714."""
    return normalized_difference(green, nir)


def mndwi(green: np.ndarray, swir16: np.ndarray) -> np.ndarray:
    """MNDWI of Xu (2006): (green − swir16) / (green + swir16). https://doi.org/10.1080/01431160600589179."""
    return normalized_difference(green, swir16)


def awei_sh(blue: np.ndarray, green: np.ndarray, nir: np.ndarray, swir16: np.ndarray, swir22: np.ndarray) -> np.ndarray:
    """AWEIsh of Feyisa et al. (2014), for scenes with shadows.

    blue + 2.5 green − 1.5 (nir + swir16) − 0.25 swir22. https://doi.org/10.1016/j.rse.2013.08.029. Not scale
    free: it needs reflectance. Evaluated band after band as written in the bands' order, in float32.
    """
    return _weighted((1.0, 2.5, -1.5, -1.5, -0.25), blue, green, nir, swir16, swir22)


def awei_nsh(green: np.ndarray, nir: np.ndarray, swir16: np.ndarray, swir22: np.ndarray) -> np.ndarray:
    """AWEInsh of Feyisa et al. (2014), for scenes without shadows.

    4 (green − swir16) − (0.25 nir + 2.75 swir22), the sign of swir22 as in the paper (lists in circulation
    have + 2.75). https://doi.org/10.1016/j.rse.2013.08.029.
    """
    return _weighted((4.0, -0.25, -4.0, -2.75), green, nir, swir16, swir22)


def ndvi(nir: np.ndarray, red: np.ndarray) -> np.ndarray:
    """NDVI of Tucker (1979): (nir − red) / (nir + red). https://doi.org/10.1016/0034-4257(79)90013-0."""
    return normalized_difference(nir, red)


def ndbi(swir16: np.ndarray, nir: np.ndarray) -> np.ndarray:
    """NDBI of Zha et al. (2003): (swir16 − nir) / (swir16 + nir). https://doi.org/10.1080/01431160304987."""
    return normalized_difference(swir16, nir)


def ndrei(nir: np.ndarray, rededge1: np.ndarray) -> np.ndarray:
    """NDREI of Gitelson and Merzlyak (1994): (nir − rededge1) / (nir + rededge1).

    The red edge is B5 of Sentinel-2 here, as in Xue et al. (2025). https://doi.org/10.1016/S0176-1617(11)81633-0.
    """
    return normalized_difference(nir, rededge1)


def lswi(nir: np.ndarray, swir16: np.ndarray) -> np.ndarray:
    """LSWI of Xiao et al. (2004): (nir − swir16) / (nir + swir16). https://doi.org/10.1016/j.rse.2003.11.008."""
    return normalized_difference(nir, swir16)


def wi2015(green: np.ndarray, red: np.ndarray, nir: np.ndarray, swir16: np.ndarray, swir22: np.ndarray) -> np.ndarray:
    """WI2015 of Fisher et al. (2016): 1.7204 + 171 green + 3 red − 70 nir − 45 swir16 − 71 swir22.

    Water where positive. https://doi.org/10.1016/j.rse.2015.12.055.
    """
    return _weighted((171.0, 3.0, -70.0, -45.0, -71.0), green, red, nir, swir16, swir22, constant=1.7204)


def mbwi(green: np.ndarray, red: np.ndarray, nir: np.ndarray, swir16: np.ndarray, swir22: np.ndarray) -> np.ndarray:
    """MBWI of Wang et al. (2018): 2 green − red − nir − swir16 − swir22. https://doi.org/10.1016/j.jag.2018.01.018."""
    return _weighted((2.0, -1.0, -1.0, -1.0, -1.0), green, red, nir, swir16, swir22)


def muwi_r(blue: np.ndarray, green: np.ndarray, nir: np.ndarray, swir16: np.ndarray, swir22: np.ndarray) -> np.ndarray:
    """MuWI-R of Wang et al. (2018), the revised multi-spectral water index of Sentinel-2.

    −4 ND(blue, green) + 2 ND(green, nir) + 2 ND(green, swir22) − ND(green, swir16). https://doi.org/10.3390/rs10101643.
    """
    parts = ((-4.0, blue, green), (2.0, green, nir), (2.0, green, swir22), (-1.0, green, swir16))
    terms = [np.float32(weight) * normalized_difference(a, b) for weight, a, b in parts]
    return ((terms[0] + terms[1]) + terms[2]) + terms[3]


def wri(green: np.ndarray, red: np.ndarray, nir: np.ndarray, swir16: np.ndarray) -> np.ndarray:
    """WRI of Shen and Li (2010): (green + red) / (nir + swir16). https://doi.org/10.1109/GEOINFORMATICS.2010.5567762.

    Water where above 1.
    """
    return _ratio(_weighted((1.0, 1.0), green, red), _weighted((1.0, 1.0), nir, swir16))


def andwi(
    blue: np.ndarray, green: np.ndarray, red: np.ndarray, nir: np.ndarray, swir16: np.ndarray, swir22: np.ndarray
) -> np.ndarray:
    """ANDWI of Rad et al. (2021): the normalised difference of all visible and all infrared bands.

    (blue + green + red − nir − swir16 − swir22) / (sum of the six). https://doi.org/10.1016/j.envsoft.2021.105030.
    """
    ones = (1.0, 1.0, 1.0)
    return normalized_difference(_weighted(ones, blue, green, red), _weighted(ones, nir, swir16, swir22))


def tcw(
    blue: np.ndarray, green: np.ndarray, red: np.ndarray, nir: np.ndarray, swir16: np.ndarray, swir22: np.ndarray
) -> np.ndarray:
    """Tasselled cap wetness of Crist (1985), for reflectance factors of the Thematic Mapper.

    0.0315 blue + 0.2021 green + 0.3102 red + 0.1594 nir − 0.6806 swir16 − 0.6109 swir22.
    https://doi.org/10.1016/0034-4257(85)90102-6.
    """
    visible = _weighted((0.0315, 0.2021, 0.3102, 0.1594), blue, green, red, nir)
    return visible + _weighted((-0.6806, -0.6109), swir16, swir22)


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """One index: how to compute it and where it comes from.

    Parameters
    ----------
    function : callable
        Takes the bands in the order of `bands`, returns float32.
    bands : tuple of str
        STAC common names.
    formula : str
        In those names.
    reference : str
        Author, year and DOI.
    """

    function: Callable[..., np.ndarray]
    bands: tuple[str, ...]
    formula: str
    reference: str

    def __call__(self, bands: Mapping[str, np.ndarray]) -> np.ndarray:
        """Compute the index from a mapping of band name to array; ValueError names a missing band."""
        missing = [name for name in self.bands if name not in bands]
        if missing:
            raise ValueError(f"{self.function.__name__} needs the bands {list(self.bands)}; missing: {missing}")
        return self.function(*(bands[name] for name in self.bands))


def _difference(a: str, b: str) -> str:
    return f"({a} - {b}) / ({a} + {b})"


_SIX = ("blue", "green", "red", "nir", "swir16", "swir22")

#: Every index by name.
CATALOGUE: Mapping[str, IndexSpec] = MappingProxyType({
    "ndwi": IndexSpec(ndwi, ("green", "nir"), _difference("green", "nir"),
                      "McFeeters 1996, 10.1080/01431169608948714"),
    "mndwi": IndexSpec(mndwi, ("green", "swir16"), _difference("green", "swir16"),
                       "Xu 2006, 10.1080/01431160600589179"),
    "awei_sh": IndexSpec(awei_sh, ("blue", "green", "nir", "swir16", "swir22"),
                         "blue + 2.5 * green - 1.5 * (nir + swir16) - 0.25 * swir22",
                         "Feyisa et al. 2014, 10.1016/j.rse.2013.08.029"),
    "awei_nsh": IndexSpec(awei_nsh, ("green", "nir", "swir16", "swir22"),
                          "4 * (green - swir16) - (0.25 * nir + 2.75 * swir22)",
                          "Feyisa et al. 2014, 10.1016/j.rse.2013.08.029"),
    "ndvi": IndexSpec(ndvi, ("nir", "red"), _difference("nir", "red"), "Tucker 1979, 10.1016/0034-4257(79)90013-0"),
    "ndbi": IndexSpec(ndbi, ("swir16", "nir"), _difference("swir16", "nir"),
                      "Zha et al. 2003, 10.1080/01431160304987"),
    "ndrei": IndexSpec(ndrei, ("nir", "rededge1"), _difference("nir", "rededge1"),
                       "Gitelson and Merzlyak 1994, 10.1016/S0176-1617(11)81633-0"),
    "lswi": IndexSpec(lswi, ("nir", "swir16"), _difference("nir", "swir16"),
                      "Xiao et al. 2004, 10.1016/j.rse.2003.11.008"),
    "wi2015": IndexSpec(wi2015, ("green", "red", "nir", "swir16", "swir22"),
                        "1.7204 + 171 * green + 3 * red - 70 * nir - 45 * swir16 - 71 * swir22",
                        "Fisher et al. 2016, 10.1016/j.rse.2015.12.055"),
    "mbwi": IndexSpec(mbwi, ("green", "red", "nir", "swir16", "swir22"), "2 * green - red - nir - swir16 - swir22",
                      "Wang et al. 2018, 10.1016/j.jag.2018.01.018"),
    "muwi_r": IndexSpec(muwi_r, ("blue", "green", "nir", "swir16", "swir22"),
                        "-4 * (blue - green) / (blue + green) + 2 * (green - nir) / (green + nir)"
                        " + 2 * (green - swir22) / (green + swir22) - (green - swir16) / (green + swir16)",
                        "Wang et al. 2018, 10.3390/rs10101643"),
    "wri": IndexSpec(wri, ("green", "red", "nir", "swir16"), "(green + red) / (nir + swir16)",
                     "Shen and Li 2010, 10.1109/GEOINFORMATICS.2010.5567762"),
    "andwi": IndexSpec(andwi, _SIX, "(blue + green + red - nir - swir16 - swir22) /"
                       " (blue + green + red + nir + swir16 + swir22)",
                       "Rad et al. 2021, 10.1016/j.envsoft.2021.105030"),
    "tcw": IndexSpec(tcw, _SIX, "0.0315 * blue + 0.2021 * green + 0.3102 * red + 0.1594 * nir"
                     " - 0.6806 * swir16 - 0.6109 * swir22", "Crist 1985, 10.1016/0034-4257(85)90102-6"),
})  # fmt: skip
