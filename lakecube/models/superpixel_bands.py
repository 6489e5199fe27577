"""Which superpixels `method="sapcnn"` makes; its training makes the same."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

#: Side of a region of A-SLIC, pixels, and the price of one more superpixel in it.
REGION, PRICE = 16, 0.02
RGB = ("red", "green", "blue")
#: Bands in the place of red, green and blue of a superpixel's colour: the paper's, a picture's, and green again where
#: there is no blue, so that hue is the sign of NDWI and saturation grows with its size.
_COLOURS = (
    ("blue", "green", "nir"),
    ("blue", "green", "nir08"),
    RGB,
    ("green", "green", "nir"),
    ("green", "green", "nir08"),
)


def bands_of_superpixels(have: Container[Any]) -> tuple[str, ...] | None:
    """The three bands of a superpixel's colour, of those that there are; None where they make none."""
    return next((names for names in _COLOURS if all(name in have for name in names)), None)
