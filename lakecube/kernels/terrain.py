"""Slope of the terrain after Horn (1981)."""

from __future__ import annotations

import numpy as np

from lakecube.kernels.jit import jit

#: Pixels that a slope needs around its own.
REACH = 1

#: Fourier series of the metres per degree on WGS 84: latitude in cos 0, 2φ, 4φ; longitude in
#: cos φ, 3φ, 5φ (error under 0.1 m per degree).
_LATITUDE = (111132.954, -559.822, 1.175)
_LONGITUDE = (111412.84, -93.5, 0.118)


@jit
def _slope_degrees(elevation: np.ndarray, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    rows, cols = elevation.shape
    out = np.empty((rows, cols), np.float32)
    for i in range(rows):
        up, down = max(i - 1, 0), min(i + 1, rows - 1)
        run_y = 4.0 * dy[i] * (down - up)
        for j in range(cols):
            left, right = max(j - 1, 0), min(j + 1, cols - 1)
            a, b, c = np.float64(elevation[up, left]), np.float64(elevation[up, j]), np.float64(elevation[up, right])
            d, e, f = np.float64(elevation[i, left]), np.float64(elevation[i, j]), np.float64(elevation[i, right])
            g = np.float64(elevation[down, left])
            h, k = np.float64(elevation[down, j]), np.float64(elevation[down, right])
            run_x = 4.0 * dx[i] * (right - left)
            gx = ((c + 2.0 * f + k) - (a + 2.0 * d + g)) / run_x if run_x > 0.0 else 0.0
            gy = ((g + 2.0 * h + k) - (a + 2.0 * b + c)) / run_y if run_y > 0.0 else 0.0
            # e takes no part in the gradient, yet where the ground itself is unknown so is its slope
            out[i, j] = np.float32(np.degrees(np.arctan(np.sqrt(gx * gx + gy * gy))) + 0.0 * e)
    return out


def slope_horn(elevation: np.ndarray, dx: float | np.ndarray, dy: float | np.ndarray) -> np.ndarray:
    """Slope in degrees from elevation, by Horn's third-order finite difference over 3 × 3 pixels.

    Parameters
    ----------
    elevation : numpy.ndarray
        Shape (y, x), metres; NaN where unknown. Any real dtype.
    dx, dy : float or numpy.ndarray
        Pixel width and height in metres, signs ignored: one number (projected grids), or one per row,
        shape (y,) (grids in degrees, see `metres_per_pixel`).

    Returns
    -------
    numpy.ndarray
        float32, shape (y, x), degrees, 0 to 90. NaN where any of the nine elevations is NaN or infinite.

    Raises
    ------
    ValueError
        Wrong dimensions, or a pixel size that is not positive and finite.

    Notes
    -----
    Reach: 1. At the true edge of the array the missing neighbours are the edge pixels themselves and the
    distance shrinks with them, so a plane keeps its slope up to the edge. An axis of length 1 has no
    gradient. O(pixels).

    References
    ----------
    Horn, B. K. P. (1981). Hill shading and the reflectance map. Proceedings of the IEEE 69(1), 14-47.
    https://doi.org/10.1109/PROC.1981.11918

    Examples
    --------
    >>> import numpy as np
    >>> plane = np.add.outer(np.zeros(3), 10.0 * np.arange(4))
    >>> slope_horn(plane, 10.0, 10.0)[1]
    array([45., 45., 45., 45.], dtype=float32)
    """
    elevation = np.asarray(elevation)
    if elevation.ndim != 2:
        raise ValueError(f"elevation must be 2-D (y, x), got {elevation.ndim} dimensions")
    if elevation.dtype not in (np.float32, np.float64):
        elevation = elevation.astype(np.float64)
    sizes = []
    for name, value in (("dx", dx), ("dy", dy)):
        size = np.abs(np.asarray(value, np.float64))
        if size.ndim > 1 or (size.ndim == 1 and size.shape != elevation.shape[:1]):
            raise ValueError(f"{name} must be one number or one per row ({elevation.shape[0]}), got shape {size.shape}")
        if not np.all(np.isfinite(size) & (size > 0)):
            raise ValueError(f"{name} must be finite and not zero")
        sizes.append(np.ascontiguousarray(np.broadcast_to(size, elevation.shape[:1])))
    return _slope_degrees(elevation, *sizes)


def metres_per_pixel(latitude: np.ndarray, dlon: float, dlat: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixel width and height in metres of the rows of a latitude/longitude grid (WGS 84).

    Parameters
    ----------
    latitude : numpy.ndarray
        Shape (y,), degrees, centre of each row.
    dlon, dlat : float
        Pixel size in degrees, signs ignored.

    Returns
    -------
    dx, dy : numpy.ndarray
        float64, shape (y,), metres, at least 1 mm (at the poles a degree of longitude has no length).
    """
    phi = np.radians(np.asarray(latitude, np.float64))
    a, b, c = _LATITUDE
    dy = (a + b * np.cos(2 * phi) + c * np.cos(4 * phi)) * abs(dlat)
    a, b, c = _LONGITUDE
    dx = (a * np.cos(phi) + b * np.cos(3 * phi) + c * np.cos(5 * phi)) * abs(dlon)
    return np.maximum(dx, 1e-3), np.maximum(dy, 1e-3)
