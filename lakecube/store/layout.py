"""What a store looks like: the metadata of every array, from the one table of variables.

Nothing here touches a disk. The metadata are the documents of Zarr format 3, built by Zarr itself.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.abc.store import Store
from zarr.codecs import ZstdCodec
from zarr.core.array import AsyncArray
from zarr.core.metadata.v3 import ArrayV3Metadata
from zarr.storage import MemoryStore, StorePath

from lakecube.errors import InvalidInputError
from lakecube.names import ITEM, SPATIAL_REF, TIME, VARIABLES, X, Y
from lakecube.store.conventions import axis_attrs, spatial_attrs, spatial_ref_attrs

#: Chunk of every per-date and per-item array; fixed, so that an append rewrites one small file.
ROW_CHUNK = 16384
#: Pixel chunks if the caller does not choose.
PIXEL_CHUNK = 1024
#: Measured on masks and reasons of real scenes: 3 to 18 % smaller than level 3, still 270 to 840 MB/s on one
#: core; level 7 saves 10 % more at half that speed, level 9 nothing more. Each chunk has a checksum of 4 bytes:
#: without, 368 of 2,400 single bits that were turned over in chunks of masks changed numbers without an error.
ZSTD_LEVEL = 5
#: Fixed for ever: never inferred again from the data at hand.
CALENDAR = "proleptic_gregorian"
TIME_UNITS = "seconds since 1970-01-01"
ITEM_TIME_UNITS = "microseconds since 1970-01-01"


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """One array as it is stored: values (None for pixels, which the passes write) and metadata."""

    metadata: ArrayV3Metadata
    values: np.ndarray | None = None


def pixel_array(
    name: str, dtype: Any, dims: tuple[str, ...], shape: tuple[int, ...], chunks: tuple[int, int], attrs: Mapping
) -> Stored:
    """Metadata of a variable whose last dims are (y, x): extent 1 along every other dim of its chunks."""
    spec = VARIABLES.get(name)
    fill = spec.fill if spec else (np.nan if np.dtype(dtype).kind == "f" else 0)
    merged = {**attrs, **(spec.attrs if spec else {"grid_mapping": SPATIAL_REF})}
    chunk_shape = (1,) * (len(shape) - 2) + chunks
    return Stored(_metadata(name, shape, np.dtype(dtype), chunk_shape, dims, fill, merged))


def row_array(name: str, variable: xr.Variable, chunk: int = ROW_CHUNK) -> Stored:
    """A small array that grows along its first dim, values encoded: strings, dates and numbers alike."""
    values, attrs = encode(name, variable)
    spec = VARIABLES.get(name)
    fill: Any = spec.fill if spec else {"T": "", "f": np.nan}.get(values.dtype.kind, 0)
    merged = {**attrs, **(spec.attrs if spec else {})}
    chunk_shape = (chunk, *values.shape[1:]) if values.ndim else ()
    chunk_shape = tuple(max(1, size) for size in chunk_shape)
    return Stored(_metadata(name, values.shape, values.dtype, chunk_shape, variable.dims, fill, merged), values)


def series_array(name: str, shape: tuple[int, ...], chunks: tuple[int, ...]) -> Stored:
    """Metadata of a variable without pixels that a pass fills chunk by chunk."""
    spec = VARIABLES[name]
    size = tuple(max(1, min(pair)) for pair in zip(shape, chunks, strict=True))
    return Stored(_metadata(name, shape, np.dtype(spec.dtype), size, spec.dims, spec.fill, spec.attrs))


def encode(name: str, variable: xr.Variable) -> tuple[np.ndarray, dict[str, Any]]:
    """Values and attributes as they are stored.

    Dates become int64 in fixed units, booleans uint8 flags, strings Zarr's variable-length ``string``
    (a registered data type: fixed-width text warns, and would bind later rows to the first rows' width).
    """
    values, attrs = np.asarray(variable.values), dict(variable.attrs)
    if values.dtype.kind == "M":
        unit, step = (ITEM_TIME_UNITS, "us") if variable.dims[:1] == (ITEM,) else (TIME_UNITS, "s")
        if np.isnat(values).any():
            raise InvalidInputError(f"{name} holds dates that are missing (NaT): drop these rows first")
        values = values.astype(f"datetime64[{step}]").astype(np.int64)
        return values, {**attrs, "units": unit, "calendar": CALENDAR}
    if values.dtype.kind in "UOST":
        return np.asarray(values.tolist(), dtype=np.dtypes.StringDType()).reshape(values.shape), attrs
    if values.dtype.kind == "b":
        flags = {"flag_values": [0, 1], "flag_meanings": "false true", "dtype": "bool"}
        return values.astype(np.uint8), {**attrs, **flags}
    return values, attrs


def axes(water: xr.Dataset) -> dict[str, Stored]:
    """Coordinates of the grid: `y`, `x` (one chunk each) and `spatial_ref`."""
    out = {}
    for dim in (Y, X):
        variable = xr.Variable((dim,), water[dim].values, axis_attrs(water, dim))
        out[dim] = row_array(dim, variable, water.sizes[dim])
    ref = xr.Variable((), np.int64(0), spatial_ref_attrs(water))
    out[SPATIAL_REF] = row_array(SPATIAL_REF, ref)
    return out


def time_attrs(water: xr.Dataset) -> dict[str, Any]:
    """CF attributes of `time`."""
    attrs = {"standard_name": "time", "long_name": "solar date", **water[TIME].attrs, "axis": "T"}
    attrs.pop("units", None)
    return attrs | ({"bounds": "time_bounds"} if "time_bounds" in water.variables else {})


def group_document(attrs: Mapping[str, Any], children: Mapping[str, dict[str, Any]] | None = None) -> dict[str, Any]:
    """A Zarr group's document; with `children`, their metadata are consolidated inside it."""
    document: dict[str, Any] = {"zarr_format": 3, "node_type": "group", "attributes": plain(attrs)}
    if children is not None:
        inline = {"kind": "inline", "must_understand": False, "metadata": dict(sorted(children.items()))}
        document["consolidated_metadata"] = inline
    return document


def group_attrs(water: xr.Dataset) -> dict[str, Any]:
    """Attributes that every group with pixels of this grid carries."""
    return {"Conventions": "CF-1.12", **spatial_attrs(water)}


def array_document(metadata: ArrayV3Metadata) -> dict[str, Any]:
    """The JSON document of an array."""
    (buffer,) = metadata.to_buffer_dict(_prototype()).values()
    return json.loads(buffer.to_bytes())


def read_metadata(document: dict[str, Any]) -> ArrayV3Metadata:
    """The inverse of `array_document`."""
    return ArrayV3Metadata.from_dict(document)


def resized(metadata: ArrayV3Metadata, length: int) -> ArrayV3Metadata:
    """The same array with another length along its first dim."""
    return dataclasses.replace(metadata, shape=(length, *metadata.shape[1:]))


def open_array(store: Store, name: str, metadata: ArrayV3Metadata) -> zarr.Array:
    """An array by metadata in hand, whatever the store says: this is how rows are written before they are visible.

    Chunks that hold nothing but the fill value are not written (and removed where an earlier try left one).
    """
    path = StorePath(store, name)
    return zarr.Array(AsyncArray(metadata=metadata, store_path=path, config={"write_empty_chunks": False}))


def dumps(document: Mapping[str, Any]) -> bytes:
    """JSON bytes, the same for the same document."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False).encode()


def plain(value: Any) -> Any:
    """`value` as JSON has it; InvalidInputError if it cannot be."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not np.isfinite(value):
            raise InvalidInputError("an attribute is NaN or infinite, which metadata cannot hold: give a finite number")
        return value
    raise InvalidInputError(
        f"an attribute of type {type(value).__name__} cannot be stored; use text, numbers or lists of them"
    )


def _metadata(
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype,
    chunks: tuple[int, ...],
    dims: tuple[Any, ...],
    fill: Any,
    attrs: Mapping[str, Any],
) -> ArrayV3Metadata:
    made = zarr.create_array(
        store=MemoryStore(),
        name=name,
        shape=shape,
        chunks=chunks if shape else "auto",
        dtype=dtype,
        fill_value=fill,
        compressors=ZstdCodec(level=ZSTD_LEVEL, checksum=True),
        dimension_names=[str(dim) for dim in dims],
        attributes=plain({k: v for k, v in attrs.items() if k not in ("_FillValue", "missing_value")}),
        zarr_format=3,
        overwrite=True,
    )
    metadata = made.metadata
    assert isinstance(metadata, ArrayV3Metadata)
    return metadata


def _prototype() -> Any:
    from zarr.core.buffer import default_buffer_prototype

    return default_buffer_prototype()
