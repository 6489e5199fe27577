"""Scenes to learn from: pictures with masks in folders, windows of a cube with polygons. Each is read when needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import xarray as xr

from lakecube.errors import InvalidInputError
from lakecube.kernels.mosaic import IS_JUDGED
from lakecube.models.picture_files import Numbers, read_numbers
from lakecube.names import LAND, UNKNOWN, WATER

#: Suffixes of pictures; other files in a folder are left alone.
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_LOSSY = (".jpg", ".jpeg")


class Picture(NamedTuple):
    """What a scene holds once read.

    Attributes
    ----------
    values : numpy.ndarray
        (band, y, x): uint8 display numbers (value = number / 255), or float32 reflectance, NaN where not observed.
    labels : numpy.ndarray
        (y, x) uint8: 0 land, 1 water, 255 unknown.
    """

    values: np.ndarray
    labels: np.ndarray

    @property
    def radiometry(self) -> str:
        """What the values are, as in a model's spec."""
        return "display" if self.values.dtype == np.uint8 else "reflectance"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.labels.shape[0], self.labels.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.values.nbytes + self.labels.nbytes


class Scene(Protocol):
    """One picture to learn from; those of one `place` are never divided between training and validation."""

    @property
    def name(self) -> str:
        """Unique among scenes."""

    @property
    def place(self) -> str:
        """What it shows."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands as `read` gives them."""

    def read(self) -> Picture:
        """Values and labels."""


class WaterCodes:
    """Which numbers the masks of a folder call water: one that says 1 and one that says 255 do not mean the same."""

    def __init__(self) -> None:
        self._holders: dict[int, Path] = {}

    def check(self, mask: Path, present: np.ndarray) -> None:
        """Raise InvalidInputError if this mask or those seen before hold both 1 and 255."""
        for code in (1, 255):
            if code in present:
                self._holders.setdefault(code, mask)
        if len(self._holders) < 2:
            return
        one, other = self._holders[1], self._holders[255]
        who = f"{one} holds both 1 and 255" if one == other else f"{one} holds 1 and {other} holds 255"
        raise InvalidInputError(
            f"{who}: say ignore=255 where 255 means unknown, or ignore=1; where both are water, another number that no "
            "mask holds, such as ignore=2"
        )


@dataclass(frozen=True, slots=True)
class FileScene:
    """A picture and its mask, two files of the same pixels.

    Parameters
    ----------
    name : str
        Of both files, without suffix.
    image, mask : Path
        Anything rasterio reads.
    bands : tuple of str
        Names of the picture's bands in the order of the file.
    scale, offset : float, optional
        Reflectance is stored number × scale + offset; by default what the file declares, and 1/255 of 8 bits.
    ignore : int, optional
        Number in the mask that means unknown, as NaN and a nodata number but 0 that the file declares do; all others
        but 0 are water.
    black : int, optional
        Dark corners beyond a turned scene: where all bands are at most this and touch the picture's edge, the label
        is unknown.
    codes : WaterCodes, optional
        Shared by the masks of one folder, so that they mean the same.
    """

    name: str
    image: Path
    mask: Path
    bands: tuple[str, ...]
    scale: float | None = None
    offset: float = 0.0
    ignore: int | None = None
    black: int | None = None
    codes: WaterCodes = field(default_factory=WaterCodes, compare=False, repr=False)

    @property
    def place(self) -> str:
        """Its name: every file is taken as another place."""
        return self.name

    def read(self) -> Picture:
        """Values and labels.

        Raises
        ------
        ReadError
            A file cannot be read.
        InvalidInputError
            Sizes differ, or the numbers cannot be understood without being told.
        """
        image = read_numbers(self.image, len(self.bands))
        numbers, valid = image.numbers, image.valid
        labels = self._labels()
        if labels.shape != valid.shape:
            raise InvalidInputError(
                f"{self.mask} has {_size(labels.shape)} pixels, but {self.image} has {_size(valid.shape)}: a mask "
                "covers the pixels of its picture one by one"
            )
        if self.black is not None:
            valid &= ~_dark_border(numbers, self.black)
        values = self._values(image)
        if values.dtype != np.uint8:
            values[:, ~valid] = np.nan
            valid &= np.isfinite(values).all(axis=0)
        labels[~valid] = UNKNOWN
        return Picture(values, labels)

    def _values(self, image: Numbers) -> np.ndarray:
        numbers, scale, offset = image.numbers, image.scale, image.offset
        if self.scale is not None:
            return numbers.astype(np.float32) * np.float32(self.scale) + np.float32(self.offset)
        if (scale != 1).any() or (offset != 0).any():
            return numbers.astype(np.float32) * scale[:, None, None] + offset[:, None, None]
        if numbers.dtype == np.uint8 or numbers.dtype.kind == "f":
            return numbers if numbers.dtype == np.uint8 else numbers.astype(np.float32)
        raise InvalidInputError(
            f"{self.image} holds {numbers.dtype} without a scale: say how a number becomes reflectance with scale=, "
            "such as 0.0001"
        )

    def _labels(self) -> np.ndarray:
        mask = read_numbers(self.mask, 1)
        numbers = mask.numbers[0]
        if self.mask.suffix.lower() in _LOSSY:
            return np.where(numbers > 127, WATER, LAND).astype(np.uint8)
        unknown = np.isnan(numbers) if numbers.dtype.kind == "f" else np.zeros(numbers.shape, bool)
        if mask.nodata:  # 0 is land, whatever the file says
            unknown |= numbers == mask.nodata
        present = np.unique(numbers[~unknown])
        if (present[present != self.ignore] < 0).any():
            raise InvalidInputError(
                f"{self.mask} holds {present.min()}: say ignore={present.min()} if it means unknown"
            )
        if self.ignore is None:
            self.codes.check(self.mask, present)
        labels = np.where(numbers > 0, WATER, LAND).astype(np.uint8)
        if self.ignore is not None:
            unknown |= numbers == self.ignore
        labels[unknown] = UNKNOWN
        return labels


@dataclass(frozen=True, eq=False, slots=True)
class CubeScene:
    """A window of one date of a cube, labelled by polygons.

    Parameters
    ----------
    name, place : str
        Of the window and date; of the window.
    cube : xr.Dataset
        Dims (y, x): the bands and, if there is one, `observation`; may be lazy.
    transform : affine.Affine
        From column and row to the cube's CRS.
    shapes : tuple of (geometry, int)
        Polygons in the cube's CRS with their label, later ones over earlier ones.
    outside : int
        Label outside all polygons.
    """

    name: str
    place: str
    bands: tuple[str, ...]
    cube: xr.Dataset
    transform: Any
    shapes: tuple[tuple[Any, int], ...]
    outside: int

    def read(self) -> Picture:
        """Values and labels; the label is unknown where a band or the observation state tells nothing."""
        from rasterio.features import rasterize

        cube = self.cube.compute()
        values = np.stack([cube[band].to_numpy() for band in self.bands]).astype(np.float32, copy=False)
        shape = values.shape[1:]
        if self.shapes:
            labels = rasterize(self.shapes, shape, fill=self.outside, transform=self.transform, dtype="uint8")
        else:
            labels = np.full(shape, self.outside, np.uint8)
        seen = np.isfinite(values).all(axis=0)
        if "observation" in cube:
            seen &= IS_JUDGED[cube["observation"].to_numpy()]
        labels[~seen] = UNKNOWN
        return Picture(values, labels)


def values_of(picture: Picture) -> np.ndarray:
    """Values of a picture, float32 (band, y, x): display numbers over 255, or reflectance."""
    if picture.radiometry == "display":
        return picture.values.astype(np.float32) / np.float32(255)
    return picture.values


def _dark_border(numbers: np.ndarray, limit: int) -> np.ndarray:
    from scipy import ndimage

    label, _ = ndimage.label((numbers <= limit).all(axis=0))
    touching = np.unique(np.concatenate([label[0], label[-1], label[:, 0], label[:, -1]]))
    return np.isin(label, touching[touching > 0])


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]}"
