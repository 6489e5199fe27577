"""Which pixels of a raster file hold nothing: by the user, by a number that the file declares, by its mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rasterio.enums import MaskFlags

from lakecube.checks import is_number
from lakecube.errors import InvalidInputError
from lakecube.io.records import BandSource, Blank


def range_of(nodata: Any) -> tuple[float, float] | None:
    """The lowest and the highest number that mean no data, of a number or a pair; None of None.

    Raises
    ------
    InvalidInputError
        Neither a number nor two numbers, the lower one first.
    """
    if nodata is None:
        return None
    pair = tuple(nodata) if isinstance(nodata, list | tuple) else (nodata, nodata)
    if len(pair) != 2 or not all(map(is_number, pair)) or pair[0] > pair[1]:
        raise InvalidInputError(
            "nodata= takes the number in the file that means no data, such as 0, or the lowest and the highest; "
            f"got {nodata!r}"
        )
    return float(pair[0]), float(pair[1])


def has_mask(file: Any, band: int) -> bool:
    """Whether an alpha band or a mask, and not a number, says where a band holds data."""
    flags = file.mask_flag_enums[band - 1]
    return MaskFlags.nodata not in flags and MaskFlags.all_valid not in flags


def with_blanks(sources: Mapping[str, BandSource], empty: tuple[float, float] | None) -> dict[str, BandSource]:
    """The bands of a file with what is no data: `empty`, or of a picture what the file declares.

    Of a picture all bands together tell; elsewhere each band by itself.
    """
    shown = tuple(source.band for source in sources.values() if source.display)

    def known(source: BandSource) -> BandSource:
        bands = shown if source.display else (source.band,)
        if empty is not None:
            return replace(source, blank=Blank(*empty, bands))
        if source.display and source.nodata is not None:
            return replace(source, blank=Blank(source.nodata, source.nodata, bands))
        return source

    return {name: known(source) for name, source in sources.items()}
