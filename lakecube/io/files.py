"""Opening rasters: the rules for hrefs, signing just before a read, retries, and no secret in any message."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import re
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar
from urllib.parse import urlsplit

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from lakecube.errors import ReadError, UnsafeHrefError
from lakecube.io.hrefs import REMOTE_DRIVERS, check_href, gdal_path, is_remote, redact, strip_signature
from lakecube.io.records import BandSource, ItemRecord, SourceGrid

logger = logging.getLogger("lakecube.io")

T = TypeVar("T")

#: The query of an address or of the end of one.
_QUERY = re.compile(r"\?[^\s'\"]+")
#: Seconds before the one further try at a local file: nothing that is wrong with a disk passes in a minute.
_LOCAL_WAIT = 0.1


class _WithoutQueries(logging.Filter):
    """Takes the query, where signatures are, off every address that GDAL logs through rasterio."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if "?" in message:
            record.msg, record.args = _QUERY.sub("", message), ()
        return True


# A picture without a place is no mistake: `rasters` says what becomes of it. Raised in rasterio's worker threads too.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

for _name in ("rasterio._env", "rasterio._err", "rasterio._base", "rasterio._io"):
    logging.getLogger(_name).addFilter(_WithoutQueries())

#: How files are read, unless the environment says otherwise.
GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MULTIRANGE": "YES",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_CONNECTTIMEOUT": "15",
    "GDAL_HTTP_TIMEOUT": "60",
    "VSI_CACHE": "TRUE",
    "GDAL_NUM_THREADS": "1",
}
GDAL_OPTIONS |= {name: os.environ[name] for name in GDAL_OPTIONS if name in os.environ}


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
    remote = is_remote(href)
    signed = _signed(href, sign) if remote and sign is not None else href
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
        raise ReadError(f"{strip_signature(href)}: {_clean(_told(error), signed, href)}") from cause


def _signed(href: str, sign: Callable[[str], str]) -> str:
    """The href to read, from the user's callable; whatever it raises is a failure to read, told without queries."""
    try:
        signed = sign(href)
    except Exception as error:  # what a callable of the user's raises is not known
        message = f"{strip_signature(href)}: sign failed with {type(error).__name__}: {reason(error)}"
        raise ReadError(message) from None  # its own text may hold the signature
    if not isinstance(signed, str) or not is_remote(signed):
        raise ReadError(f"{strip_signature(href)}: sign returned no address but a {type(signed).__name__}")
    return signed


def reason(error: BaseException) -> str:
    """The message of an error without the queries, where signatures are, of any address in it."""
    return _QUERY.sub("", redact(_told(error)))


def _told(error: BaseException) -> str:
    """The message of an error, or of the one it points to: rasterio's own says no more than that a read failed."""
    seen: BaseException | None = error
    while seen is not None and "previous exception" in str(seen):
        seen = seen.__cause__ or seen.__context__
    return str(error if seen is None else seen)


def _forget(path: str) -> None:
    """Drop what GDAL remembers of a remote file: it keeps failures and half answers as long as the process lives.

    A handle opened under ``CPL_VSIL_CURL_NON_CACHED`` takes all of it along when it is closed.
    """
    with (
        rasterio.Env(**GDAL_OPTIONS, CPL_VSIL_CURL_NON_CACHED="/vsi"),
        contextlib.suppress(RasterioError),
        # as above: with any other driver, what lies there could have local files opened even now
        DatasetReader(path, driver=list(REMOTE_DRIVERS)),
    ):
        pass


def _clean(message: str, signed: str, href: str) -> str:
    """A message of GDAL without signatures: it names files by their path, or by the end of it."""
    if not is_remote(href):
        return message
    for secret in (gdal_path(signed), signed):
        message = message.replace(secret, strip_signature(href))
    query = urlsplit(signed).query
    return _QUERY.sub("", redact(message.replace(f"?{query}", "") if query else message))


def with_retries(read: Callable[[], T], href: str, retries: int, backoff: float) -> T:
    """Call `read` again after a failure that may pass: with exponential backoff and jitter; once for local files."""
    remote = is_remote(href)
    tries = 1 + (retries if remote else min(retries, 1))
    for attempt in range(1, tries + 1):
        try:
            return read()
        except UnsafeHrefError:
            raise
        except (RasterioError, OSError) as error:
            if attempt == tries or _is_final(error):
                raise
            wait = backoff * 2 ** (attempt - 1) * (0.5 + random.random()) if remote else min(backoff, _LOCAL_WAIT)
            logger.warning("read failed, try %d of %d in %.1f s: %s", attempt + 1, tries, wait, reason(error))
        time.sleep(wait)
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
