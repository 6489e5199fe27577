"""What a catalogue may point to (law 8): a remote one can never make us read a local file."""

from __future__ import annotations

import contextlib
import hashlib
import posixpath
import re
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit
from urllib.request import url2pathname

from lakecube.errors import UnsafeHrefError

#: Schemes that lead to object stores and web servers, and to nothing on this machine.
REMOTE_SCHEMES = ("https", "http", "s3", "gs", "az", "abfs", "abfss")

#: GDAL drivers a remote raster may be read with. The name of a file proves nothing: a `.tif` whose content is a VRT
#: opens as one and reads the local files it names, so the reader asks for one of these or checks `dataset.driver`.
REMOTE_DRIVERS = ("GTiff", "COG", "JP2OpenJPEG", "JP2KAK", "JP2ECW", "PNG", "JPEG")

_ALLOWED = "http(s)://, s3://, gs://, az:// and abfs(s)://"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_WINDOWS = re.compile(r"^[A-Za-z]:[\\/]")
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.\-]*):")
_VIRTUAL_SUFFIXES = (".vrt", ".gti", ".mrf", ".wms", ".xml", ".zip", ".tar", ".tgz", ".gz", ".7z")
_SIGNED = re.compile(r"\b(https?|s3|gs|az|abfss?)://[^\s'\"<>]+", re.IGNORECASE)
#: What signs an address, wherever it stands: a quote or a space in the address hides it from `_SIGNED`.
_SECRET = re.compile(
    r"\b(sig|[\w.-]*(?:signature|token|credential|accesskeyid|api_?key|secret|password))=[^&\s'\"<>]+", re.IGNORECASE
)

#: What a query holds of a signature besides: of Amazon, Google, Azure and CloudFront.
_SIGNING = re.compile(
    r"(x-amz-[\w-]+|x-goog-[\w-]+|googleaccessid|expires|policy|key-pair-id|s[tepvr]|spr|sip|sdd|ss|srt|sk[vtes]"
    r"|skoid|sktid|sig|token|signature)(=|$)",
    re.IGNORECASE,
)


def is_remote(href: str) -> bool:
    """Whether an href starts with a scheme that leads off this machine."""
    scheme = _scheme(href)
    return scheme in REMOTE_SCHEMES


def _scheme(href: str) -> str:
    if _WINDOWS.match(href):
        return ""
    match = _SCHEME.match(href)
    return match[1].lower() if match else ""


def unknown_scheme(location: str) -> str | None:
    """What is wrong with an address that starts with a scheme nothing is read by; None if all is well, or it is a path.

    >>> unknown_scheme("htp://earth.example/v1")
    "'htp://' is no known scheme: http(s)://, s3://, gs://, az:// and abfs(s):// are, and file:// for this machine"
    """
    scheme = _scheme(location)
    if not scheme or f"{scheme}://" != location[: len(scheme) + 3].lower() or scheme in (*REMOTE_SCHEMES, "file"):
        return None
    return f"'{scheme}://' is no known scheme: {_ALLOWED} are, and file:// for this machine"


def check_href(href: str, *, local: bool, item: str = "") -> str:
    """Return `href` if a catalogue may point to it, else raise.

    Parameters
    ----------
    href : str
        Absolute, as `resolve_href` gives it.
    local : bool
        Whether the catalogue is the user's own (on disk or built in Python): it may point to local files too.
    item : str, optional
        Id of the item, for the message.

    Raises
    ------
    UnsafeHrefError
        A remote catalogue points to anything but a web server or an object store, or any catalogue to something
        that a driver would interpret (``/vsi…``, ``<VRTDataset``, ``vrt://``, ``zip:``, a pipe).
    """
    reason = _reason(href, local)
    if reason is None:
        return href
    whose = f"Item {item!r}" if item else "A catalogue"
    also = " and local files" if local else ""
    raise UnsafeHrefError(
        f"{whose} points to {strip_signature(href)[:200]!r}, which {reason}. "
        f"{'This' if local else 'A remote'} catalogue may point to {_ALLOWED}{also} only. "
        + ("" if local else "If the item is your own, save it to disk and open its path.")
    )


def _reason(href: str, local: bool) -> str | None:
    if not isinstance(href, str) or not href:
        return "is empty"
    if _CONTROL.search(href) or href != href.strip():
        return "has control characters or spaces around it"
    if href[0] in "<{|" or href.endswith("|"):
        return "is not a path but something to be interpreted"
    if href.lower().replace("\\", "/").startswith(("/vsi", "//vsi")):
        return "is a virtual file of GDAL"
    scheme = _scheme(href)
    if scheme in REMOTE_SCHEMES:
        return _remote_reason(href, scheme)
    if scheme == "file":
        return _file_reason(href) if local else "is on this machine"
    if scheme:
        return f"has the scheme {scheme}:"
    return None if local else "is a path on this machine"


def _remote_reason(href: str, scheme: str) -> str | None:
    try:
        parts = urlsplit(href)
        host = parts.hostname
    except ValueError:
        return "is not a valid address"
    if not host or "\\" in href or any(char in parts.netloc for char in " %<>|\"'"):
        return "is not a valid address"
    if "@" in parts.netloc and not (scheme in {"abfs", "abfss"} and re.fullmatch(r"[\w-]+@[\w.-]+", parts.netloc)):
        return "holds a user name or password"
    path = unquote(parts.path).lower().rstrip("/")
    if scheme not in {"http", "https"} and ".." in PurePosixPath(path).parts:
        return "leaves its bucket"
    if path.endswith(_VIRTUAL_SUFFIXES):
        return f"is a {posixpath.splitext(path)[1]} file, which can name other files"
    return None


def _file_reason(href: str) -> str | None:
    parts = urlsplit(href)
    if parts.netloc not in {"", "localhost"}:
        return "is on another machine"
    if not parts.path.startswith("/"):
        return "is no absolute path"
    return "is a virtual file of GDAL" if unquote(parts.path).startswith(("/vsi", "//vsi")) else None


def resolve_href(href: str, base: str | None) -> str:
    """Return `href` made absolute against where its catalogue was read from; unchanged if it is absolute already.

    Parameters
    ----------
    href : str
    base : str or None
        Address or path of the *file* that holds the href.
    """
    if not href or base is None or _scheme(href) or _WINDOWS.match(href) or href[:1] in {"<", "{", "|"}:
        return href
    if _scheme(base) in {"http", "https"}:
        return urljoin(base, href)
    if is_remote(base):
        if href.startswith("/"):
            return href  # a path, not a key of the bucket: refused when it is checked
        parts = urlsplit(base)
        path = posixpath.normpath(posixpath.join(posixpath.dirname(parts.path), href))
        return urlunsplit((parts.scheme, parts.netloc, path, "", ""))
    if href.startswith("/"):
        return href
    return posixpath.normpath(posixpath.join(_local_path(base).absolute().parent.as_posix(), href))


def from_here(path: str) -> str:
    """An href of the user's made absolute, since a worker may run in another folder; what is no path unchanged."""
    return path if _scheme(path) or _reason(path, local=True) else absolute_path(path)


def absolute_path(path: str) -> str:
    """A path from the root, ``~`` replaced."""
    with contextlib.suppress(RuntimeError):  # "~" and the name of nobody
        path = str(Path(path).expanduser())
    return str(Path(path).absolute())


def _local_path(href: str) -> Path:
    if _scheme(href) == "file":
        return Path(url2pathname(urlsplit(href).path))
    return Path(href)


def gdal_path(href: str) -> str:
    """Return the name under which GDAL opens an href that `check_href` has passed.

    Examples
    --------
    >>> gdal_path("s3://bucket/key.tif")
    '/vsis3/bucket/key.tif'
    >>> gdal_path("https://example.com/a.tif?sig=x")
    '/vsicurl/https://example.com/a.tif?sig=x'
    """
    scheme = _scheme(href)
    if scheme in {"http", "https"}:
        return f"/vsicurl/{href}"
    if scheme in REMOTE_SCHEMES:
        parts = urlsplit(href)
        # abfs://container@account.dfs.core.windows.net/path: GDAL takes the account from its configuration
        bucket = parts.netloc.split("@")[0]
        prefix = {"s3": "vsis3", "gs": "vsigs", "az": "vsiaz"}.get(scheme, "vsiadls")
        return f"/{prefix}/{bucket}{parts.path}"
    return str(_local_path(href))


def strip_signature(url: str) -> str:
    """Return a URL (or a ``/vsi…`` path) without query, fragment, user and password; anything else unchanged.

    Examples
    --------
    >>> strip_signature("https://x.blob.core.windows.net/c/B04.tif?st=2020&sig=abc")
    'https://x.blob.core.windows.net/c/B04.tif'
    """
    if match := re.match(r"[\\/]+vsi\w+", url, re.IGNORECASE):
        return match[0] + redact(url[match.end() :].split("?", 1)[0])
    scheme = _scheme(url)
    if scheme not in REMOTE_SCHEMES:
        return url
    head = re.split(r"[?#]", url, maxsplit=1)[0]
    if scheme in {"abfs", "abfss"} and re.match(r"abfss?://[\w-]+@", head, re.IGNORECASE):
        return head
    return re.sub(r"^([A-Za-z0-9+.\-]+://)[^/]*@", r"\1", head)


def file_of(url: str) -> str:
    """Return what tells a file from others: the URL as of `strip_signature`, and a hash of what its query asks for.

    What a query holds of signatures is left out, so that a file that is signed anew is the same.

    Examples
    --------
    >>> file_of("https://x.blob.core.windows.net/c/B04.tif?st=2020&sig=abc")
    'https://x.blob.core.windows.net/c/B04.tif'
    >>> file_of("https://x.example/get?id=4") == file_of("https://x.example/get?id=5")
    False
    """
    shown = strip_signature(url)
    query = urlsplit(url).query if is_remote(url) else ""
    asked = [part for part in query.split("&") if part and not _SIGNING.match(part) and not _SECRET.match(part)]
    return f"{shown}#{hashlib.sha256('&'.join(asked).encode()).hexdigest()[:16]}" if asked else shown


def redact(text: str) -> str:
    """Return a text, such as the message of an error, with the signature stripped from every URL in it."""
    return _SECRET.sub(r"\1=…", _SIGNED.sub(lambda match: strip_signature(match[0]), text))
