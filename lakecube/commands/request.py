"""From the arguments of a request to a cube and an extract."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

import lakecube
from lakecube.errors import InvalidInputError, ReadError
from lakecube.names import BANDS


def open_request(given: argparse.Namespace) -> xr.Dataset:
    """The cube that was asked for; a source or DEM that is not there, or is none, is a mistake of the request."""
    try:
        return _opened(given)
    except ReadError as error:
        text = str(error)
        for path in (given.dem, *given.source):  # as it was given: paths are made absolute before they are read
            text = text.replace(str(Path(path).absolute()), path) if path and "://" not in path else text
        if given.dem is not None and _is_about(text, given.dem):
            kind = ReadError if "://" in given.dem else InvalidInputError
            raise kind(f"dem: {text}") from error
        if any("://" not in source and _is_about(text, source) for source in given.source):
            raise InvalidInputError(text) from error
        raise
    except InvalidInputError as error:
        if given.dem is not None and "DEM" not in str(error) and _is_about(str(error), given.dem):
            raise InvalidInputError(f"dem: {error}") from error
        raise


def _is_about(text: str, path: str) -> bool:
    return text.startswith((path, Path(path).name, repr(path)))


def _opened(given: argparse.Namespace) -> xr.Dataset:
    _check_count(given.source, channels_of(given))
    source = given.source[0] if len(given.source) == 1 else given.source
    return lakecube.open(
        source,
        collections=given.collection,
        bbox=given.bbox,
        datetime=given.datetime,
        query=given.query,
        sensor=given.sensor,
        bands=bands_of(given),
        crs=given.crs,
        resolution=given.resolution,
        chunks=given.chunks,
        dem=given.dem,
        offset=_value(given.offset),
        nodata=_range(given.nodata),
        cloud_mask=not given.no_cloud_mask,
        cloud_buffer=given.cloud_buffer,
    )


def _check_count(files: Sequence[str], channels: Sequence[str] | None) -> None:
    """Raise InvalidInputError if a picture beside us has another number of channels than are named."""
    from lakecube.models.picture_files import count_bands
    from lakecube.models.scenes import SUFFIXES

    for path in (Path(name) for name in files):
        if channels is None or path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        count, alpha, _ = count_bands(path)
        if len(channels) not in (count, count - alpha):
            raise InvalidInputError(
                f"{path} has {count - alpha} channels, but --channels names {', '.join(channels)}: name each of them "
                "once, or choose some by their number, such as --bands 1=green 4=nir"
            )


def water_of(cube: xr.Dataset, given: argparse.Namespace) -> xr.Dataset:
    """The extract that was asked for, lazily."""
    return lakecube.extract(cube, given.method, composite=given.composite, **parameters_of(given))


def bands_of(given: argparse.Namespace) -> Any:
    """`bands` of `open`: a choice, or what is what in the files, by --bands or --channels."""
    channels = channels_of(given)
    if channels is None:
        return _bands(given.bands)
    return {str(i): band for i, band in enumerate(channels, 1)}


def channels_of(given: argparse.Namespace) -> list[str] | None:
    """What --channels says of files, if it is given; STAC common names, each once."""
    channels: list[str] | None = given.channels
    if channels is None:
        return None
    if given.bands is not None:
        raise InvalidInputError("--channels names all channels of the files and --bands others: give one of them")
    unknown = [name for name in channels if name not in BANDS]
    if unknown or len(set(channels)) < len(channels):
        raise InvalidInputError(
            f"--channels {' '.join(channels)}: each channel of the files has another STAC common name, of "
            f"{', '.join(BANDS)}"
        )
    return channels


def _bands(words: list[str] | None) -> Any:
    if words is None or not any("=" in word for word in words):
        return words
    return dict(pair(word, "--bands") for word in words)


def _range(text: str | None) -> Any:
    """A number, or two with a comma between; what is neither is told by `open`."""
    if text is None:
        return None
    numbers = [_value(part) for part in text.split(",")]
    return numbers[0] if len(numbers) == 1 else numbers


def parameters_of(given: argparse.Namespace) -> dict[str, Any]:
    """Parameters of the method: --model, --threshold, --rules and every --set."""
    out = values_set(given)
    if given.model is not None:
        out["model"] = given.model
    if given.threshold is not None:
        pairs = [pair(part, "--threshold") for part in given.threshold.split(",")] if "=" in given.threshold else None
        out["threshold"] = {n: _value(v) for n, v in pairs} if pairs else _value(given.threshold)
    if given.rules is not None:
        out["rules"] = given.rules
    return out


def values_set(given: argparse.Namespace) -> dict[str, Any]:
    """The values of every --set."""
    return {name: _value(text) for name, text in (pair(p, "--set") for p in given.parameters)}


def pair(text: str, option: str) -> tuple[str, str]:
    """Name and value of NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidInputError(f"{option} {text}: write NAME=VALUE")
    return name.strip(), value.strip()


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
