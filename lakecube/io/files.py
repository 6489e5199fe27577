"""Opening rasters: the rules for hrefs, signing just before a read, retries, and no secret in any message."""

from __future__ import annotations

import contextlib
import logging
import os
import posixpath
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar
from urllib.parse import urlsplit

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from lakecube.errors import InvalidInputError, ReadError, unchained
from lakecube.io import messages
from lakecube.io.hrefs import REMOTE_DRIVERS, check_href, gdal_path, is_remote, redact, strip_signature
from lakecube.io.patience import DecodeError, Patience, RequestError, with_patience
from lakecube.io.ranges import KNOWN, OneFile, RemoteFile, driver_of
from lakecube.io.records import BandSource, ItemRecord, SourceGrid

T = TypeVar("T")

#: Where in a file decoding failed: told in the log, left out where failures are counted.
_PLACE = re.compile(r" at X offset \d+, Y offset \d+")
#: The query of an address or of the end of one.
_QUERY = re.compile(r"\?[^\s'\"]+")


class _WithoutQueries(logging.Filter):
    """Takes the query, where signatures are, off every address that GDAL or urllib3 logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if "?" in message:
            record.msg, record.args = _QUERY.sub("", message), ()
        return True


# A picture without a place is no mistake: `rasters` says what becomes of it. Raised in rasterio's worker threads too.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

for _name in ("rasterio._env", "rasterio._err", "rasterio._base", "rasterio._io", "urllib3.connectionpool"):
    logging.getLogger(_name).addFilter(_WithoutQueries())

#: How files are read, unless the environment says otherwise.
GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MULTIRANGE": "YES",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_CONNECTTIMEOUT": "15",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1000",
    "VSI_CACHE": "TRUE",
    "GDAL_NUM_THREADS": "1",
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",  # takes a cut file for black from there on; its cost: models/picture_files.py
}
GDAL_OPTIONS |= {name: os.environ[name] for name in GDAL_OPTIONS if name in os.environ}


#: What GDAL says where a signature is not, or no longer, accepted.
_REFUSED = re.compile(r"HTTP response code: 40[13]\b")
#: Messages of failures that another try cannot mend.
_FINAL = re.compile(r"No such file|not recognized as being in a supported|HTTP response code: (40[0-5]|410)\b")


@contextlib.contextmanager
def open_source(
    href: str, *, local: bool, sign: Callable[[str], str] | None = None, patience: Patience | None = None
) -> Iterator[DatasetReader]:
    """Open a raster under the rules for hrefs, signed if need be.

    Raises
    ------
    UnsafeHrefError
        If a remote catalogue points to what it may not.
    ReadError
        If it cannot be opened, or read inside the context.
    """
    with unchained():
        yield from _found(href, local, sign, patience or Patience())


def _found(href: str, local: bool, sign: Callable[[str], str] | None, patience: Patience) -> Iterator[DatasetReader]:
    check_href(href, local=local)
    if not is_remote(href):
        yield from _opened(href, href, lambda: rasterio.open(gdal_path(href)))
        return
    signed = href if sign is None else _signed(href, sign)
    if signed.lower().startswith(("http:", "https:")) and not _has_gdal_settings():
        yield from _over_http(signed, href, patience)
        return
    try:
        # `rasterio.open` takes one driver only; what a server calls .tif may be a VRT that names local files
        yield from _opened(signed, href, lambda: DatasetReader(gdal_path(signed), driver=list(REMOTE_DRIVERS)))
    except ReadError as error:
        _forget(gdal_path(signed))
        if sign is not None and _REFUSED.search(str(error)):
            raise RequestError(str(error)) from None  # the next try is signed anew
        raise


def _opened(
    path: str, href: str, opened: Callable[[], DatasetReader], kind: type[ReadError] = ReadError
) -> Iterator[DatasetReader]:
    """The dataset, what GDAL raises turned into an error that names the file and no signature."""
    try:
        with opened() as file:
            yield file
    except RasterioError as error:
        raise kind(f"{strip_signature(href)}: {_clean(_told(error), path, href)}") from None


def _over_http(url: str, href: str, patience: Patience) -> Iterator[DatasetReader]:
    """The dataset at a web address, by ranges that are checked; see `lakecube.io.ranges`."""
    shown = strip_signature(href)
    try:
        file = RemoteFile(url, href, patience)
        driver = driver_of(file)
    except RequestError as error:
        raise _named(error, shown) from None
    if driver is None:
        KNOWN.forget(file.href)
        raise DecodeError(f"{shown}: it is neither GeoTIFF, JPEG 2000, PNG nor JPEG")
    name = posixpath.basename(urlsplit(shown).path) or "raster"
    path = f"{id(file)}/{name}"
    try:
        yield from _opened(
            path, href, lambda: rasterio.open(path, opener=OneFile(file, name), driver=driver), DecodeError
        )
    except Exception:  # whatever the zeros that stand for missing bytes were taken for
        KNOWN.forget(file.href)
        if file.failure is None:
            raise
    if file.failure is not None:
        KNOWN.forget(file.href)
        raise _named(file.failure, shown) from None


def _named(error: Exception, shown: str) -> ReadError:
    if isinstance(error, RequestError):
        return RequestError(f"{shown}: {error}", final=error.final, asked=error.asked)
    return ReadError(f"{shown}: {reason(error)}")


#: Settings of GDAL for web servers that say how often, how long or how fast to ask, and nothing of who asks.
_TUNING = re.compile(
    r"GDAL_HTTP_(TIMEOUT|CONNECTTIMEOUT|LOW_SPEED_\w+|MAX_RETRY|RETRY_\w+|MULTIRANGE|MULTIPLEX|VERSION|TCP_\w+"
    r"|MERGE_CONSECUTIVE_RANGES|MAX_\w+_CONNECTIONS)"
)


def _has_gdal_settings() -> bool:
    """Whether the user told GDAL how to ask web servers (tokens, cookies, a proxy): it then reads them itself."""
    inside = rasterio.env.getenv() if rasterio.env.hasenv() else {}
    return any(name.startswith("GDAL_HTTP_") and not _TUNING.fullmatch(name) for name in (*os.environ, *inside))


def _signed(href: str, sign: Callable[[str], str]) -> str:
    """The href to read, from the user's callable; whatever it raises is a failure to read, told without queries."""
    try:
        signed = sign(href)
    except InvalidInputError:  # it did not arrive on this worker: a mistake, and no file that cannot be read
        raise
    except Exception as error:  # what a callable of the user's raises is not known
        message = f"{strip_signature(href)}: sign failed with {type(error).__name__}: {reason(error)}"
        raise ReadError(message) from None  # its own text may hold the signature
    if not isinstance(signed, str) or not is_remote(signed):
        raise RequestError(
            f"{strip_signature(href)}: sign returned no address but a {type(signed).__name__}", final=True
        )
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


def with_retries(read: Callable[[], T], href: str, patience: Patience, item: str = "") -> T:
    """Call `read` again after a failure that may pass, as `patience` says; every try that failed is counted."""

    def told(error: BaseException) -> str:
        note(error, item, failed=False)
        return reason(error)

    return with_patience(read, patience, remote=is_remote(href), told=told, is_final=_is_final)


def note(error: BaseException, item: str, *, failed: bool) -> None:
    """Count a try, or (`failed`) a read, that failed, for the report of the run."""
    file, found, why = reason(error).partition(": ")
    messages.note(item, file if found else "", _PLACE.sub("", why if found else file), failed=failed)


def _is_final(error: BaseException) -> bool:
    """True for failures that another try cannot mend."""
    if isinstance(error, RequestError):
        return error.final
    return not isinstance(error, DecodeError) and _FINAL.search(str(error)) is not None


def with_header(
    record: ItemRecord, sign: Callable[[str], str] | None = None, patience: Patience | None = None
) -> ItemRecord:
    """The record with the grids its metadata do not tell, asked from the files' headers."""

    def known(source: BandSource) -> BandSource:
        if source.grid is not None:
            return source

        def read() -> BandSource:
            opened = open_source(source.href, local=record.local, sign=sign, patience=patience)
            with rasterio.Env(**GDAL_OPTIONS), opened as file:
                if file.crs is None:
                    raise ReadError(f"{strip_signature(source.href)} has no CRS, and its item declares none")
                grid = SourceGrid(file.crs.to_string(), tuple(file.transform)[:6], file.shape)
                nodata = source.nodata if source.nodata is not None else file.nodata
            return replace(source, grid=grid, nodata=nodata)

        return with_retries(read, source.href, patience or Patience(), record.id)

    if all(s.grid is not None for s in (*record.bands.values(), *record.qa.values())):
        return record
    return replace(
        record,
        bands={name: known(source) for name, source in record.bands.items()},
        qa={kind: known(source) for kind, source in record.qa.items()},
    )
