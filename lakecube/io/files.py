"""Opening rasters: the rules for hrefs, signing just before a read, retries, and no secret in any message."""

from __future__ import annotations

import contextlib
import logging
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from lakecube.errors import ReadError, UnsafeHrefError
from lakecube.io.hrefs import REMOTE_DRIVERS, check_href, gdal_path, is_remote, strip_signature
from lakecube.io.records import BandSource, ItemRecord, SourceGrid

logger = logging.getLogger("lakecube.io")


class _WithoutQueries(logging.Filter):
    """Takes the query, where signatures are, off every address that GDAL logs through rasterio."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if "?" in message:
            record.msg, record.args = re.sub(r"\?[^\s'\"]+", "", message), ()
        return True


for _name in ("rasterio._env", "rasterio._err", "rasterio._base", "rasterio._io"):
    logging.getLogger(_name).addFilter(_WithoutQueries())

GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MULTIRANGE": "YES",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_CONNECTTIMEOUT": "15",
    "GDAL_HTTP_TIMEOUT": "60",
    "VSI_CACHE": "TRUE",
    "GDAL_NUM_THREADS": "1",
}


#: Messages of failures that another try cannot mend.
_FINAL = re.compile(r"No such file|not recognized as being in a supported|HTTP response code: (40[0-5]|410)\b")


@contextlib.contextmanager
def open_source(href: str, *, local: bool, sign: Callable[[str], str] | None = None) -> Iterator[DatasetReader]:
    """Open a raster under the rules for hrefs, signed if need be.

    Raises
    ------
    UnsafeHrefError
        If a remote catalogue points to what it may not.
    ReadError
        If it cannot be opened.
    """
    check_href(href, local=local)
    signed = sign(href) if sign is not None and "://" in href else href
    remote = is_remote(signed)
    try:
        # `rasterio.open` takes one driver only; what a server calls .tif may be a VRT that names local files
        with (
            DatasetReader(gdal_path(signed), driver=list(REMOTE_DRIVERS)) if remote else rasterio.open(gdal_path(href))
        ) as file:
            yield file
    except RasterioError as error:
        if remote:
            _forget(gdal_path(signed))
        cause = None if urlsplit(signed).query else error  # its text holds the signature
        raise ReadError(f"{strip_signature(href)}: {_clean(str(error), signed, href)}") from cause


def _forget(path: str) -> None:
    """Drop what GDAL remembers of a remote file: it keeps failures and half answers as long as the process lives.

    A handle opened under ``CPL_VSIL_CURL_NON_CACHED`` takes all of it along when it is closed.
    """
    with (
        rasterio.Env(**GDAL_OPTIONS, CPL_VSIL_CURL_NON_CACHED="/vsi"),
        contextlib.suppress(RasterioError),
        rasterio.open(path),
    ):
        pass


def _clean(message: str, signed: str, href: str) -> str:
    """A message of GDAL without signatures: it names files by their path, or by the end of it."""
    for secret in (gdal_path(signed), signed):
        message = message.replace(secret, strip_signature(href))
    query = urlsplit(signed).query
    return message.replace(f"?{query}", "") if query else message


def with_retries(read: Callable[[], np.ndarray], href: str, retries: int, backoff: float) -> np.ndarray:
    """Call `read` again after a failure that may pass, with exponential backoff and jitter."""
    for attempt in range(retries + 1):
        try:
            return read()
        except UnsafeHrefError:
            raise
        except (RasterioError, OSError) as error:
            if attempt == retries or _is_final(error):
                raise
            logger.info("retry %d of %s: %s", attempt + 1, strip_signature(href), error)
            time.sleep(backoff * 2**attempt * (0.5 + random.random()))
    raise AssertionError("unreachable")


def _is_final(error: Exception) -> bool:
    """True for failures that another try cannot mend."""
    return _FINAL.search(str(error)) is not None


def with_header(record: ItemRecord, sign: Callable[[str], str] | None = None) -> ItemRecord:
    """The record with the grids its metadata do not tell, asked from the files' headers."""

    def known(source: BandSource) -> BandSource:
        if source.grid is not None:
            return source
        with rasterio.Env(**GDAL_OPTIONS), open_source(source.href, local=record.local, sign=sign) as file:
            if file.crs is None:
                raise ReadError(f"{strip_signature(source.href)} has no CRS, and its item declares none")
            grid = SourceGrid(file.crs.to_string(), tuple(file.transform)[:6], file.shape)
            nodata = source.nodata if source.nodata is not None else file.nodata
        return replace(source, grid=grid, nodata=nodata)

    if all(s.grid is not None for s in (*record.bands.values(), *record.qa.values())):
        return record
    return replace(
        record,
        bands={name: known(source) for name, source in record.bands.items()},
        qa={kind: known(source) for kind, source in record.qa.items()},
    )
