"""Training samples: scenes divided by place, cut in tiles, streamed; memory does not grow with the number of scenes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import xarray as xr

from lakecube.errors import InvalidInputError, MissingBandError
from lakecube.models.picture_files import count_bands
from lakecube.models.polygons import check_near, grid_of, labelled_shapes, windows
from lakecube.models.scenes import SUFFIXES, FileScene, Scene, WaterCodes
from lakecube.names import BANDS, LAND, UNKNOWN, X, Y


@dataclass(frozen=True)
class Samples:
    """Scenes to learn from, and how they are cut and divided.

    Parameters
    ----------
    scenes : tuple of Scene
        Read one by one, when needed.
    bands : tuple of str
        Bands to learn from, in the order of the network's input.
    tile : int
        Side of a tile, pixels; tiles do not overlap.
    keep_empty : float
        Share of the training tiles without water that is kept.
    validation : float
        Share of the places that is kept for validation, whole.
    seed : int
        Of that choice.
    """

    scenes: tuple[Scene, ...]
    bands: tuple[str, ...]
    tile: int = 256
    keep_empty: float = 0.0
    validation: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.tile < 8:
            raise InvalidInputError(f"tile={self.tile}: a tile has 8 pixels or more, 256 in the paper")
        if not (0 <= self.keep_empty <= 1 and 0 <= self.validation < 1):
            raise InvalidInputError("keep_empty= is a share from 0 to 1, validation= one below 1")
        if not self.scenes:
            raise InvalidInputError("there are no scenes to learn from")
        for scene in self.scenes:
            missing = [band for band in self.bands if band not in scene.bands]
            if missing:
                raise MissingBandError(f"{scene.name} has no {', '.join(missing)}; it has {', '.join(scene.bands)}")

    def ordered(self, bands: Sequence[str]) -> Samples:
        """The same with these bands, in this order."""
        return replace(self, bands=tuple(bands))

    def without(self, patterns: Iterable[str]) -> Samples:
        """The same but for the scenes whose name matches one of the patterns, as ``"0[13]"`` or ``"lake-*"``."""
        patterns = list(patterns)
        for pattern in patterns:
            if not any(fnmatch(scene.name, pattern) for scene in self.scenes):
                raise InvalidInputError(f"no scene is called {pattern!r}; there are {_some(self.scenes)}")
        rest = tuple(s for s in self.scenes if not any(fnmatch(s.name, pattern) for pattern in patterns))
        return replace(self, scenes=rest)

    def split(self) -> tuple[list[Scene], list[Scene]]:
        """Scenes for training and for validation: places in the order of a hash of their name, the first validate."""
        places = sorted({scene.place for scene in self.scenes}, key=lambda place: _hash(self.seed, place))
        n = round(self.validation * len(places))
        if self.validation and n == 0:
            n = min(1, len(places) - 1)
        kept = set(places[:n])
        parts: tuple[list[Scene], list[Scene]] = [], []
        for scene in self.scenes:
            parts[scene.place in kept].append(scene)
        return parts


def folder_samples(
    folder: str | Path, *, bands: Sequence[str] | None = None, scale: float | None = None, offset: float = 0.0,
    ignore: int | None = None, black: int | None = None, tile: int = 256, keep_empty: float = 0.0,
    validation: float = 0.2, seed: int = 0,
) -> Samples:  # fmt: skip
    """Samples from pictures ``images/NAME.*`` and masks ``masks/NAME.*`` (PNG, JPEG or GeoTIFF) in a folder.

    Parameters
    ----------
    folder : str or Path
        Holds `images` and `masks`.
    bands : sequence of str, optional
        STAC common names of the bands in the order of the files: ``("blue", "green", "red")`` where they are stored
        so. By default the descriptions or colours in the files, or red, green, blue where there are three bands.
    scale, offset : float
        Reflectance is number × scale + offset. By default what the files declare; 8 bits are taken as display imagery,
        value = number / 255.
    ignore : int, optional
        Number in the masks that means unknown, as NaN and a nodata number but 0 that a file declares do; all others
        but 0 are water. Where masks hold both 1 and 255, in one file or in several, it must be given.
    black : int, optional
        Where all bands are at most this and touch the edge, a turned scene ends: unknown.
    tile, keep_empty, validation, seed
        See `Samples`.

    Returns
    -------
    Samples
        With the bands in spectral order, whatever that of the files.

    Raises
    ------
    InvalidInputError
        The folder is not in this form, a picture has no mask or a mask no picture, the bands are not named.
    """
    images, masks = (_files(Path(folder), part) for part in ("images", "masks"))
    for here, there, what in ((images, masks, "mask"), (masks, images, "picture")):
        alone = [name for name in here if name not in there]
        if alone:
            more = f" and {len(alone) - 3} more" if len(alone) > 3 else ""
            raise InvalidInputError(f"{folder}: no {what} is called {', '.join(alone[:3])}{more}")
    names = _named(next(iter(images.values())), bands)
    codes = WaterCodes()
    scenes = tuple(
        FileScene(name, image, masks[name], names, scale=scale, offset=offset, ignore=ignore, black=black, codes=codes)
        for name, image in images.items()
    )
    return Samples(scenes, spectral(names), tile, keep_empty, validation, seed)


def cube_samples(
    cube: xr.Dataset, polygons: Any, *, bands: Sequence[str] | None = None, column: str | None = None,
    tile: int = 256, keep_empty: float = 0.0, validation: float = 0.2, seed: int = 0,
) -> Samples:  # fmt: skip
    """Samples from a cube and polygons, labelled only where the cube is observed.

    Parameters
    ----------
    cube : xr.Dataset
        From `lakecube.open`: dims ([time,] y, x), bands, perhaps `observation`, the CRS in `spatial_ref`. Every date
        is used, so choose those on which the polygons hold. It is read again every epoch: load a small one, and store
        a large one near by.
    polygons : GeoDataFrame, str or Path
        GeoJSON, GeoPackage or whatever else GeoPandas reads.
    bands : sequence of str, optional
        Default: all bands of the cube.
    column : str, optional
        Column that tells water from land (``water`` or ``land``, 1 or 0); then what is in no polygon is unknown.
        Without, polygons are water and all else is land.
    tile, keep_empty, validation, seed
        See `Samples`; a place is a window of 4 × 4 tiles on all dates, or a smaller one where that gives fewer than 5.

    Raises
    ------
    InvalidInputError
        Polygons or cube without a CRS, polygons beside the cube, classes that are neither water nor land.
    MissingDependencyError
        Without GeoPandas.
    """
    names = tuple(bands) if bands is not None else tuple(name for name in BANDS if name in cube)
    missing = [name for name in names if name not in cube]
    if missing or not names:
        raise MissingBandError(f"the cube has no {', '.join(missing) or 'band'}; it has {', '.join(map(str, cube))}")
    transform, crs = grid_of(cube)
    shapes = labelled_shapes(polygons, column, crs)
    check_near(shapes, transform, (cube.sizes[Y], cube.sizes[X]))
    cube = cube[[*names, *(n for n in ("observation",) if n in cube)]]
    scenes = tuple(windows(cube, names, transform, shapes, UNKNOWN if column is not None else LAND, tile))
    return Samples(scenes, spectral(names), tile, keep_empty, validation, seed)


def joined(*samples: Samples) -> Samples:
    """All scenes of several sources, cut and divided as those of the first; they need its bands."""
    first = samples[0]
    return replace(first, scenes=tuple(scene for one in samples for scene in one.scenes))


def spectral(bands: Sequence[str]) -> tuple[str, ...]:
    """Bands from short to long waves; names that are no STAC common names last, as given."""
    rank = {name: k for k, name in enumerate(BANDS)}
    return tuple(sorted(bands, key=lambda band: rank.get(band, len(rank))))


def _hash(seed: int, text: str) -> bytes:
    return hashlib.sha256(f"{seed}:{text}".encode()).digest()


def _some(scenes: Sequence[Scene], n: int = 5) -> str:
    names = [scene.name for scene in scenes[:n]]
    return ", ".join(names) + (f" and {len(scenes) - n} more" if len(scenes) > n else "")


def _files(folder: Path, part: str) -> dict[str, Path]:
    there = folder / part
    if not there.is_dir():
        raise InvalidInputError(f"there is no folder {there}: samples are {folder}/images/NAME.* and masks/NAME.*")
    found: dict[str, Path] = {}
    for path in sorted(there.iterdir()):
        if path.suffix.lower() in SUFFIXES:
            if path.stem in found:
                raise InvalidInputError(f"{there} holds {found[path.stem].name} and {path.name}: one of them is enough")
            found[path.stem] = path
    if not found:
        raise InvalidInputError(f"{there} holds no picture ({', '.join(SUFFIXES)})")
    return found


def _named(path: Path, bands: Sequence[str] | None) -> tuple[str, ...]:
    count, alpha, described = count_bands(path)
    n, described = count - alpha, described[: count - alpha]
    if bands is not None:
        if len(bands) not in (n, count) or len(set(bands)) != len(bands):
            raise InvalidInputError(
                f"{path} has {n} bands, but bands= names {', '.join(bands)}: name each of them once"
            )
        return tuple(bands)
    if all(name in BANDS for name in described) and len(set(described)) == n:
        return described
    if n == 3:
        return ("red", "green", "blue")
    raise InvalidInputError(
        f"{path} has {n} bands without names: give them with bands= in the order of the file, such as red, green, "
        "blue, nir"
    )
