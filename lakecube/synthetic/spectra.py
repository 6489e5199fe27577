"""What things look like: surface reflectance of twelve Sentinel-2 bands for land, snow, cloud and water.

Means follow Sentinel-2 L2A scenes; the twelve columns are `lakecube.names.BANDS`.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from lakecube.names import BANDS
from lakecube.synthetic.noise import FloatArray

#: Native pixel (m) of each band.
RESOLUTION = MappingProxyType(dict(zip(BANDS, (60, 10, 10, 10, 20, 20, 20, 10, 20, 60, 20, 20), strict=True)))

# coastal blue green red | rededge1-3 | nir nir08 nir09 | swir16 swir22
LAND = MappingProxyType({
    "green":   (.020, .033, .078, .036, .122, .360, .465, .480, .495, .490, .175, .078),
    "conifer": (.010, .018, .036, .020, .064, .215, .290, .305, .318, .320, .140, .063),
    "bare_trees": (.030, .042, .062, .068, .105, .165, .190, .205, .220, .225, .215, .130),
    "dry":     (.050, .070, .105, .130, .175, .225, .255, .275, .295, .300, .330, .215),
    "soil":    (.058, .082, .122, .168, .205, .232, .252, .270, .288, .290, .365, .300),
    "dark_soil": (.040, .054, .074, .095, .120, .140, .155, .168, .178, .180, .240, .200),
    "rock":    (.135, .165, .205, .235, .250, .262, .272, .282, .290, .292, .325, .285),
    "roof":    (.115, .140, .165, .190, .202, .210, .216, .224, .230, .228, .262, .235),
    "blue_roof": (.200, .255, .240, .185, .180, .190, .200, .210, .218, .210, .150, .115),
    "asphalt": (.075, .086, .098, .105, .112, .118, .122, .128, .132, .130, .145, .125),
    "sand":    (.130, .170, .225, .275, .300, .312, .322, .332, .340, .335, .385, .335),
    "mud":     (.050, .066, .088, .104, .116, .122, .126, .128, .128, .125, .118, .082),
})  # fmt: skip
SNOW = np.array((0.80, 0.85, 0.86, 0.86, 0.86, 0.85, 0.84, 0.83, 0.82, 0.76, 0.115, 0.095), np.float32)
CLOUD = np.array((0.46, 0.50, 0.51, 0.52, 0.55, 0.57, 0.58, 0.59, 0.61, 0.82, 0.46, 0.38), np.float32)
HAZE = np.array((0.42, 0.40, 0.36, 0.33, 0.31, 0.29, 0.28, 0.27, 0.26, 0.25, 0.14, 0.09), np.float32)
#: Share of light that is skylight: what a shadow still gets.
DIFFUSE = np.array((0.34, 0.28, 0.22, 0.17, 0.155, 0.145, 0.135, 0.125, 0.12, 0.11, 0.055, 0.04), np.float32)

DEEP = np.array((0.014, 0.018, 0.020, 0.009, 0.0085, 0.0065, 0.006, 0.0055, 0.005, 0.005, 0.0030, 0.0020), np.float32)
SEDIMENT = np.array((0.045, 0.068, 0.110, 0.125, 0.122, 0.082, 0.084, 0.064, 0.058, 0.045, 0.014, 0.007), np.float32)
#: Diffuse attenuation of clear water (1/m): the bottom shows through where depth times this is small.
ATTENUATION = np.array((0.12, 0.10, 0.11, 0.38, 0.62, 2.4, 2.6, 4.0, 4.6, 9.0, 60.0, 90.0), np.float32)

_SPECTRA = {name: np.array(values, np.float32) for name, values in LAND.items()}


def mix_land(abundance: dict[str, FloatArray]) -> FloatArray:
    """Linear mixture of land surfaces: abundances (y, x) that sum to 1 give reflectance (band, y, x)."""
    names = list(abundance)
    shares = np.stack([abundance[name] for name in names])
    table = np.stack([_SPECTRA[name] for name in names], axis=1)
    return np.tensordot(table, shares, axes=1)


def water_reflectance(depth: FloatArray, sediment: FloatArray, glint: float) -> FloatArray:
    """Optically simple water: deep colour, sediment, and a sandy bottom seen through `depth` (m) metres."""
    bottom = _SPECTRA["sand"] * np.float32(0.55)
    out = np.empty((len(BANDS), *depth.shape), np.float32)
    for b in range(len(BANDS)):
        column = DEEP[b] + SEDIMENT[b] * sediment / (1 + 0.6 * sediment)
        seen = np.exp(-2 * ATTENUATION[b] * (1 + 8 * sediment) * depth)
        out[b] = column + (bottom[b] - column) * seen + np.float32(glint)
    return out
