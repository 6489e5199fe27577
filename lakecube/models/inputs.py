"""From bands of a cube to what a network takes: one rule for reflectance, one for pictures, neither from the data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lakecube.models.spec import ModelSpec, Radiometry

#: Reflectance that is white in a picture: 0 to 0.3 becomes 0 to 1, cut there.
WHITE = 0.3
#: Values that are filled in at a time: about what a core keeps close.
_NEAR = 2**18


def network_input(bands: Sequence[np.ndarray], spec: ModelSpec, radiometry: Radiometry) -> np.ndarray:
    """Bands as a network takes them, channels last.

    Parameters
    ----------
    bands : sequence of (y, x) float32
        In the order of the spec; NaN where not observed.
    spec : ModelSpec
    radiometry : {"reflectance", "display"}
        What the values are. If the model was trained on the other kind they are converted by a fixed rule:
        reflectance r is shown as r / 0.3, cut to 0 to 1; a shown value v is taken as 0.3 · v.

    Returns
    -------
    (y, x, band) float32
        value · scale + offset; 0 where not observed.
    """
    out = np.empty((*bands[0].shape, len(bands)), np.float32)
    step = max(_NEAR // (bands[0].shape[1] * len(bands)), 1)
    for row in range(0, len(out), step):
        part = out[row : row + step]
        for k, band in enumerate(bands):
            values = _converted(band[row : row + step], radiometry, spec.radiometry)
            part[..., k] = values * np.float32(spec.scale[k]) + np.float32(spec.offset[k])
        part[~np.isfinite(part)] = 0
    return out


def _converted(band: np.ndarray, given: Radiometry, wanted: Radiometry) -> np.ndarray:
    if given == wanted:
        return band
    if wanted == "display":
        return np.clip(band / np.float32(WHITE), 0, 1)
    return band * np.float32(WHITE)
