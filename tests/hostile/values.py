"""Odd values, odd addresses, and changes to JSON documents and to bytes: what every kind of case is made of."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

Path = tuple[Any, ...]

#: Numbers that are none, or that something overflows on.
NUMBERS = [0, -1, 1, 2**31, 2**63, 10**30, 1e308, -1e308, 5e-324, float("nan"), float("inf"), -float("inf"), True]
WORDS = [
    "",
    " ",
    "\x00",
    "a\x00b",
    "\x1b[31mred",
    "\u202egnp.fit",
    "\ud83d\udca7",
    "e\u0301" * 3,
    "../../../etc/passwd",
    "..",
    "/etc/passwd",
    "con\nsole",
    "%s%n%x",
    "${HOME}",
    "'; DROP TABLE lakes;--",
    "<script>alert(1)</script>",
    "NaN",
    "1e999",
    "-0",
    "0x10",
    "١٢",
    "x" * 5000,
    "None",
    "null",
    "{}",
    "EPSG:0",
    "EPSG:999999",
    "2022-02-30",
    "0000-00-00T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "2022-04-20T03:37:36+99:99",
]


def deep(levels: int, kind: str = "list") -> Any:
    """Lists or objects in each other."""
    value: Any = 1
    for _ in range(levels):
        value = [value] if kind == "list" else {"a": value}
    return value


plain = st.one_of(
    st.sampled_from([None, [], {}, [None], [[]], {"": None}, [1, "a", None], deep(40), deep(40, "object")]),
    st.sampled_from(NUMBERS),
    st.sampled_from(WORDS),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
#: Anything that JSON can say, the worst most often.
odd = plain | json_values


def hostile_hrefs(bait: str) -> list[str]:
    """Addresses that no remote catalogue may point to; `bait` is a folder with files that nobody may read."""
    vrt = (
        f'<VRTDataset rasterXSize="36" rasterYSize="36"><VRTRasterBand dataType="UInt16" band="1"><SimpleSource>'
        f"<SourceFilename>{bait}/secret.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    tif, text = f"{bait}/secret.tif", f"{bait}/secret.txt"
    return [
        f"file://{tif}",
        f"FILE://{tif}",
        f"file:{tif}",
        f"file://localhost{tif}",
        tif,
        f"//localhost{tif}/",
        f"/vsicurl/file://{tif}",
        f"/vsicurl_streaming/{tif}",
        f"/vsizip/{bait}/secret.zip/secret.tif",
        f"/vsitar/{tif}",
        f"/vsigzip/{tif}",
        f"/VsiSubFile/0_100,{tif}",
        f"/vsisparse/{text}",
        "/vsistdin/",
        "/vsimem/x.tif",
        f"vrt://{tif}",
        f"VRT://{tif}?bands=1",
        vrt,
        f" {vrt}",
        f"zip://{bait}/secret.zip!secret.tif",
        f"zip+file://{tif}",
        f"GTIFF_DIR:1:{tif}",
        f"GTIFF_RAW:{tif}",
        f'NETCDF:"{tif}":x',
        f'HDF5:"{tif}"://x',
        f"JPEG_SUBFILE:0,10,{tif}",
        f"MEM:::DATAPOINTER=1,PIXELS=1,LINES=1,X={tif}",
        f"PLMOSAIC:{tif}",
        "PG:dbname=x",
        f"WMS:{tif}",
        f"| cat {text}",
        f"cat {text} |",
        f"\\\\localhost\\{bait}\\secret.tif",
        "C:\\Windows\\win.ini",
        "c:/windows/win.ini",
        f"data:image/tiff;base64,AAAA{bait}",
        "javascript:alert(1)",
        f"ftp://127.0.0.1{tif}",
        f"dav://127.0.0.1{tif}",
        f"~{tif}",
        "",
        "\n",
        f"{tif}\x00.tif",
        f"file%3A%2F%2F{tif}",
        "https:///etc/passwd",
        f"https:{tif}",
        f"s3://{tif}",
        f"s3://bucket/../..{tif}",
        f"s3://b/%2e%2e/%2e%2e{tif}",
        "https://user:pass@127.0.0.1:9/a.tif",
        "http://127.0.0.1:9/a.vrt",
        "http://127.0.0.1:9/a%2evrt",
        "http://127.0.0.1:9/a.zip",
        "http://127.0.0.1:9/a.mrf",
        "http://[::1",
        "http://127.0.0.1:99999999/a.tif",
        "http://127.0.0.1:9\\@x/a.tif",
        "http://a b/a.tif",
        "unix:/run/x.sock",
        f'{{"type": "x", "f": "{tif}"}}',
        "gopher://127.0.0.1/x",
        "smb://x/y",
        "h" * 70000,
    ]


def paths_of(document: Any, at: Path = ()) -> list[Path]:
    """The place of every value in a JSON document."""
    found = [at] if at else []
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in inner:
        found += paths_of(value, (*at, key))
    return found


def changed(document: Any, at: Path, how: str, value: Any = None) -> Any:
    """A copy of a document with one change: "set", "drop", "wrap" (in a list), "twice" (a list's member)."""
    made = copy.deepcopy(document)
    holder = made
    for key in at[:-1]:
        holder = holder[key]
    if how == "drop":
        del holder[at[-1]]
    elif how == "wrap":
        holder[at[-1]] = [holder[at[-1]]]
    elif how == "twice" and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[at[-1]]))
    else:
        holder[at[-1]] = value
    return made


@st.composite
def changes(draw: Any, document: Any, values: Any = odd, most: int = 2) -> list[tuple[Path, str, Any]]:
    """One or a few changes to a document; a later one whose place has gone counts for nothing."""
    places = paths_of(document)
    return [
        (
            draw(st.sampled_from(places)),
            draw(st.sampled_from(["set", "set", "set", "drop", "wrap", "twice"])),
            draw(values),
        )
        for _ in range(draw(st.integers(1, most)))
    ]


def apply(document: Any, wanted: list[tuple[Path, str, Any]]) -> Any:
    """The document with some changes."""
    for at, how, value in wanted:
        try:
            document = changed(document, at, how, value)
        except (KeyError, IndexError, TypeError):
            continue
    return document


@st.composite
def broken_texts(draw: Any, text: str) -> bytes:
    """A JSON text that is cut, spoilt or swollen."""
    data = text.encode()
    return draw(
        st.one_of(
            broken_bytes(data),
            st.sampled_from(
                [
                    b"",
                    b"null",
                    b"[]",
                    b"{}",
                    b"1",
                    b'"x"',
                    b"[" * 100_000,
                    b'{"a":' * 100_000,
                    b"\xff\xfe" + data,
                    b"\xef\xbb\xbf" + data,
                    data * 2,
                    data.replace(b":", b": " + b"9" * 5000, 1),
                    b"<html>busy</html>",
                    text.encode("utf-16"),
                    text.encode("latin-1", "replace") + b"\xe9",
                ]
            ),
        )
    )


@st.composite
def broken_bytes(draw: Any, data: bytes) -> bytes:
    """Bytes that are cut, flipped, overwritten, swollen or shifted."""
    how = draw(st.sampled_from(["cut", "flip", "flip", "zero", "insert", "noise", "swap", "append"]))
    at = draw(st.integers(0, max(len(data) - 1, 0)))
    if how == "cut":
        return data[:at]
    if how == "append":
        return data + draw(st.binary(min_size=1, max_size=64))
    if how == "insert":
        return data[:at] + draw(st.binary(min_size=1, max_size=16)) + data[at:]
    if how in {"zero", "noise"}:
        length = draw(st.integers(1, 64))
        new = bytes(length) if how == "zero" else draw(st.binary(min_size=length, max_size=length))
        return (data[:at] + new + data[at + length :])[: len(data)]
    out = bytearray(data)
    if how == "swap":
        other = draw(st.integers(0, len(data) - 1))
        out[at], out[other] = out[other], out[at]
    else:
        for _ in range(draw(st.integers(1, 4))):
            out[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(out)


def said(document: Any) -> bytes:
    """A document as bytes, NaN and infinity as Python's JSON writes them."""
    return json.dumps(document).encode("utf-8", "surrogatepass")
