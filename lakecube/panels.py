"""The panels of a picture: frequency map, false colour with outlines, area through time. Each draws on given axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyproj
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.patches import Patch
from matplotlib.ticker import Formatter, MaxNLocator

from lakecube.errors import InvalidInputError
from lakecube.names import BANDS, LAND, TIME, UNKNOWN, WATER, X, Y
from lakecube.summary import AreaSeries, crs_of, ground_scale, north_up, step_of, unit_of

#: Longest side, in pixels, of what is read for a map.
MAX_SIDE = 1600
INK, GREY, BLUE, ORANGE, YELLOW, SAND = "#222222", "#b8b8b8", "#0b559f", "#d95f02", "#ffe14d", "#efe6cf"
FALSE_COLOUR = (
    ("swir16", "nir", "red"),
    ("swir16", "nir08", "red"),
    ("nir", "red", "green"),
    ("nir08", "red", "green"),
    ("red", "green", "blue"),
    ("nir", "green", "green"),
    ("nir08", "green", "green"),
    ("swir16", "green", "green"),
)


class Even(Formatter):
    """Numbers with as many decimals as the finest tick needs, all alike; no offset, no power of ten."""

    def __init__(self, divisor: float = 1.0) -> None:
        self.divisor = divisor
        self._ticks: Sequence[float] = ()

    def set_locs(self, locs: Any) -> None:
        """Take note of all ticks."""
        self._ticks = list(locs)

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Text of a tick."""
        ticks = np.asarray(self._ticks or [x], float) / self.divisor
        decimals = next((n for n in range(8) if np.allclose(ticks, ticks.round(n), rtol=0, atol=10.0 ** -(n + 3))), 8)
        return f"{x / self.divisor:.{decimals}f}"


def water_colours() -> Colormap:
    """Light to dark blue, told apart by lightness alone; grey where never seen, white below the range."""
    from matplotlib import colormaps

    return colormaps["GnBu"].with_extremes(bad=GREY, under="white")


def draw_frequency(axes: Axes, frequency: xr.DataArray, title: str = "Water frequency") -> Any:
    """Water frequency as a map; grey where never clear, white where never wet. Returns the image."""
    picture = thin(frequency)
    values = np.ma.masked_invalid(picture.values.astype(np.float32))
    look: dict[str, Any] = {"cmap": water_colours(), "vmin": 1e-6, "vmax": 1, "interpolation": "nearest"}
    image = axes.imshow(values, extent=extent(picture), origin="upper", **look)
    furnish(axes, picture, title)
    kinds = [Patch(facecolor="white", edgecolor=INK, linewidth=0.5, label="never wet")]
    if np.ma.getmaskarray(values).any():
        kinds.append(Patch(facecolor=GREY, edgecolor=INK, linewidth=0.5, label="never clear"))
    legend_above(axes, kinds)
    return image


def draw_classes(axes: Axes, mask: xr.DataArray, title: str) -> None:
    """Water, land and unknown of one date as a map of three colours."""
    picture = thin(mask)
    colours = {LAND: SAND, WATER: BLUE, UNKNOWN: GREY}
    names = {LAND: "land", WATER: "water", UNKNOWN: "unknown"}
    values = np.select([picture.values == code for code in colours], range(len(colours)), 2)
    look: dict[str, Any] = {"cmap": ListedColormap(list(colours.values())), "vmin": -0.5, "vmax": 2.5}
    axes.imshow(values, extent=extent(picture), origin="upper", interpolation="nearest", **look)
    furnish(axes, picture, title)
    shares = [(picture.values == code).mean() for code in colours]
    there = [(code, share) for code, share in zip(colours, shares, strict=True) if share]
    look = {"edgecolor": INK, "linewidth": 0.5}
    legend_above(axes, [Patch(facecolor=colours[c], label=f"{names[c]} {share:.1%}", **look) for c, share in there])


def legend_above(axes: Axes, kinds: Sequence[Any] | None = None) -> None:
    """A legend on the line of the title, clear of the data."""
    look: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "ncols": 3, "fontsize": 7.5}
    look |= {"frameon": False, "borderaxespad": 0.2, "handlelength": 1.3, "columnspacing": 0.8, "handletextpad": 0.5}
    axes.legend(**look) if kinds is None else axes.legend(handles=kinds, **look)


def draw_false_colour(axes: Axes, cube: xr.Dataset, date: Any, water: xr.DataArray | None = None) -> None:
    """One date of a cube in false colour, stretched between percentiles; outlines of `water` on it.

    In the first of `FALSE_COLOUR` for which the bands are there; in grey by one band where there are none of these.
    """
    have = [name for name in BANDS if name in cube]
    if not have:
        raise InvalidInputError("a picture needs a band: open the cube with bands= such as swir16, nir and red")
    bands = next((b for b in FALSE_COLOUR if {*b} <= {*have}), (have[0],) * 3)
    at = cube[list(dict.fromkeys(bands))].sel({TIME: date})
    picture = thin(at).compute()
    rgb = np.stack([_stretch(picture[name].values) for name in bands], axis=-1)
    box = extent(picture)
    axes.imshow(rgb, extent=box, interpolation="nearest", origin="upper")
    if water is not None:
        mask = thin(water.sel({TIME: date})).values
        outline(axes, mask == WATER, box, YELLOW)
        _hatch(axes, mask == UNKNOWN, box)
        kinds = [Patch(facecolor="#4a5a48", edgecolor=YELLOW, linewidth=1.4, label="mapped water")]
        if (mask == UNKNOWN).any():
            kinds.append(Patch(facecolor="white", edgecolor="#8a8a8a", hatch="////", linewidth=0.5, label="unknown"))
        legend_above(axes, kinds)
    day = np.datetime_as_string(np.datetime64(date, "ns"), unit="D")
    furnish(axes, picture, f"{day}, {' · '.join(bands) if len({*bands}) > 1 else f'{bands[0]}, grey'}")


def draw_series(
    axes: Axes, series: AreaSeries, truth: Sequence[float] | None = None, truth_seen: Sequence[float] | None = None
) -> None:
    """Area of water seen on every date, shaded by how much was seen; `truth` (m²) of all and of the seen pixels."""
    order = np.argsort(series.dates)
    dates, water, seen = series.dates[order], series.water[order] / 1e6, series.seen[order]
    axes.vlines(dates, 0, water, color=GREY, linewidth=0.8, zorder=1)
    look: dict[str, Any] = {
        "s": 42,
        "edgecolor": INK,
        "linewidth": 0.7,
        "zorder": 3,
        "label": "mapped, shaded by share seen",
    }
    shades = axes.scatter(dates, water, c=seen, cmap="Greys", vmin=0, vmax=1, **look)
    if truth is not None:
        axes.plot(dates, np.asarray(truth)[order] / 1e6, color=ORANGE, linewidth=1.4, zorder=2,
                  label="truth, all of it")  # fmt: skip
    if truth_seen is not None:
        axes.scatter(dates, np.asarray(truth_seen)[order] / 1e6, color=ORANGE, marker="_", s=220, linewidth=2, zorder=4,
                     label="truth, on the pixels seen")  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_ylabel("area of water, km²")
    axes.set_title("Area of water that was seen", loc="left", fontsize=10, color=INK)
    furnish_series(axes, shades, "share of the area seen")
    legend_above(axes)


def furnish_series(axes: Axes, shades: Any, label: str) -> None:
    """Axes of dates and areas, and the colour bar of what shades the points."""
    from matplotlib.dates import AutoDateFormatter, AutoDateLocator

    axes.margins(x=0.03)
    plain(axes)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    days = abs(float(np.diff(axes.get_xlim())[0]))
    ticks = AutoDateLocator(minticks=min(3, max(1, int(days))), maxticks=7)  # of a few days no hours
    axes.xaxis.set_major_locator(ticks)
    axes.xaxis.set_major_formatter(AutoDateFormatter(ticks))
    axes.yaxis.set_major_formatter(Even())
    colour_bar(axes, shades, label, pad=0.015, fraction=0.03, shrink=1.0)


def colour_bar(
    axes: Axes, image: Any, label: str, *, pad: float = 0.02, fraction: float = 0.04, shrink: float = 0.9
) -> Any:
    """A colour bar right of some axes, with what its numbers are."""
    bar = axes.figure.colorbar(image, ax=axes, pad=pad, fraction=fraction, shrink=shrink)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    return bar


def furnish(axes: Axes, picture: xr.Dataset | xr.DataArray, title: str) -> None:
    """Title, scale bar and coordinates of a map."""
    crs = crs_of(picture) if isinstance(picture, xr.Dataset) else crs_of(picture.to_dataset(name="_"))
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    narrower = 1.0 if crs is None or not crs.is_geographic else np.cos(np.radians(float(picture[Y].mean())))
    axes.set_aspect(1 / max(narrower, 0.05))  # at a pole there would be nothing to see
    km = 1000.0 / unit_of(crs) if crs is not None and not crs.is_geographic else 1.0
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4))
        axis.set_major_formatter(Even(km))
    if crs is not None and crs.is_geographic:
        axes.set_xlabel("longitude, °E")
        axes.set_ylabel("latitude, °N")
    elif crs is not None:
        axes.set_xlabel(f"easting, km ({crs.name})")
        axes.set_ylabel("northing, km")
    for words in (axes.title, axes.xaxis.label):
        words.set_parse_math(False)  # the name of a CRS comes from a file
    plain(axes)
    _scale_bar(axes, picture, crs)


def stride(picture: Any) -> int:
    """The k of every k-th pixel, so that neither side is longer than `MAX_SIDE`."""
    return max(1, -(-max(picture.sizes[Y], picture.sizes[X]) // MAX_SIDE))


def thin(picture: Any) -> Any:
    """Every k-th pixel: nothing more is held. North up, east right."""
    every = slice(None, None, stride(picture))
    return north_up(picture.isel({Y: every, X: every}))


def extent(picture: Any) -> tuple[float, float, float, float]:
    """Left, right, bottom, top of the pixels' outer edges."""
    x, y = picture[X].values, picture[Y].values
    dx, dy = step_of(picture, X) / 2, step_of(picture, Y) / 2
    return float(x.min()) - dx, float(x.max()) + dx, float(y.min()) - dy, float(y.max()) + dy


def _stretch(band: np.ndarray) -> np.ndarray:
    good = band[np.isfinite(band)]
    low, high = np.percentile(good, (2, 98)) if good.size else (0.0, 1.0)
    return np.nan_to_num(np.clip((band - low) / max(high - low, 1e-6), 0, 1), nan=0.72) ** 0.8


def outline(axes: Axes, mask: np.ndarray, box: tuple[float, float, float, float], colour: str) -> None:
    """A line around the pixels of a mask, along their edges; where there are many, corners are cut."""
    if mask.any() and not mask.all() and min(mask.shape) > 1:
        finer = max(1, min(8, 800 // max(mask.shape)))
        mask = mask.repeat(finer, axis=0).repeat(finer, axis=1)
        x, y = _centres(mask.shape, box)
        axes.contour(x, y, mask.astype(np.float32), levels=[0.5], colors=[colour], linewidths=0.8)


def _hatch(axes: Axes, mask: np.ndarray, box: tuple[float, float, float, float]) -> None:
    if mask.any() and min(mask.shape) > 1:
        x, y = _centres(mask.shape, box)
        filled = axes.contourf(x, y, mask.astype(np.float32), levels=[0.5, 1.5], colors=["none"], hatches=["////"])
        filled.set_edgecolor("#8a8a8a")  # seen on cloud as on dark water
        filled.set_linewidth(0.0)


def _centres(shape: tuple[int, ...], box: tuple[float, float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    left, right, bottom, top = box
    across, down = (right - left) / shape[1], (bottom - top) / shape[0]
    return left + across * (np.arange(shape[1]) + 0.5), top + down * (np.arange(shape[0]) + 0.5)


def _scale_bar(axes: Axes, picture: Any, crs: pyproj.CRS | None) -> None:
    if crs is None:
        return  # how long a pixel is, nobody knows
    left, right, bottom, top = extent(picture)
    width = abs(right - left)
    metres = width * ground_scale(crs, (left + right) / 2, (bottom + top) / 2, width)
    if metres <= 0:
        return
    length = _round_length(metres / 4)
    start, level = 0.04, 0.045
    end = start + length / metres
    axes.plot([start, end], [level, level], transform=axes.transAxes, color="white", linewidth=5, solid_capstyle="butt")
    axes.plot([start, end], [level, level], transform=axes.transAxes, color=INK, linewidth=2.5, solid_capstyle="butt")
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    look: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 8, "color": INK}
    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1}
    axes.text((start + end) / 2, level + 0.015, text, transform=axes.transAxes, bbox=box, **look)


def _round_length(metres: float) -> float:
    power = 10.0 ** np.floor(np.log10(metres))
    return float(max(k * power for k in (1, 2, 5) if k * power <= metres))


def plain(axes: Axes) -> None:
    """Ticks and frame that stay in the background."""
    axes.tick_params(labelsize=8, length=3, color=GREY)
    axes.xaxis.label.set_fontsize(8)
    axes.yaxis.label.set_fontsize(8)
    for side in axes.spines.values():
        side.set_color(GREY)
        side.set_linewidth(0.6)
