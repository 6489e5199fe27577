"""A remote catalogue can point to web servers and object stores, and to nothing else."""

import pytest

import lakecube
from lakecube.errors import InvalidInputError, LakecubeError, UnsafeHrefError
from lakecube.io.hrefs import (
    absolute_path,
    check_href,
    file_of,
    from_here,
    gdal_path,
    is_remote,
    redact,
    resolve_href,
    strip_signature,
)

GOOD = [
    "https://example.com/a/B04.tif",
    "http://127.0.0.1:8000/B04.tif",
    "https://x.blob.core.windows.net/c/B04.tif?st=2020&sig=a%2Bb",
    "s3://bucket/key/B04.jp2",
    "gs://bucket/key.tif",
    "az://container/key.tif",
    "abfs://container@account.dfs.core.windows.net/key.tif",
    "abfss://container@account.dfs.core.windows.net/key.tif",
    "HTTPS://EXAMPLE.COM/B04.TIF",
]
HOSTILE = [
    "",
    " https://example.com/a.tif",
    "https://example.com/a.tif\n",
    "https://example.com/a\x00.tif",
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "file://localhost/etc/passwd",
    "/etc/passwd",
    "//server/share/a.tif",
    "etc/passwd",
    "../../etc/passwd",
    "./B04.tif",
    "~/secret.tif",
    "C:\\Windows\\win.ini",
    "c:/Windows/win.ini",
    "\\\\server\\share\\a.tif",
    "/vsicurl/https://example.com/a.tif",
    "/vsizip//etc/a.zip/a.tif",
    "/VSIMEM/a.tif",
    "/vsistdin/",
    "/vsisubfile/0_100,/etc/passwd",
    "\\vsizip\\a.zip",
    "<VRTDataset rasterXSize='1' rasterYSize='1'></VRTDataset>",
    " <VRTDataset/>",
    "vrt:///etc/passwd",
    "vrt://https://example.com/a.tif",
    "zip:///etc/a.zip!a.tif",
    "zip+https://example.com/a.zip!a.tif",
    "zip+file:///etc/a.zip!a.tif",
    "tar://a.tar!a.tif",
    "https+file://example.com/a.tif",
    "GTIFF_DIR:1:/etc/a.tif",
    "NETCDF:/etc/a.nc:x",
    'HDF5:"/etc/a.h5"://x',
    "WMS:https://example.com",
    "PG:dbname=postgres",
    "MEM:::DATAPOINTER=1,PIXELS=1,LINES=1",
    "ftp://example.com/a.tif",
    "data:image/tiff;base64,AAAA",
    "javascript:alert(1)",
    "| cat /etc/passwd",
    "cat /etc/passwd |",
    '{"type": "gdal"}',
    "https://example.com/a.vrt",
    "https://example.com/a.VRT?sig=x",
    "https://example.com/a%2Evrt",
    "https://example.com/a.vrt/",
    "s3://bucket/a.vrt",
    "s3://bucket/../../etc/a.tif",
    "s3://bucket/%2e%2e/a.tif",
    "https://example.com/a.zip",
    "https://example.com/wms.xml",
    "https://user:secret@example.com/a.tif",
    "https://token@example.com/a.tif",
    "s3://key:secret@bucket/a.tif",
    "https:///etc/passwd",
    "https:etc/passwd",
    "s3:///etc/passwd",
    "https://exa mple.com/a.tif",
    "https://[::1/a.tif",
    "https://example.com\\@evil/a.tif",
]


@pytest.mark.parametrize("href", GOOD)
@pytest.mark.parametrize("local", [True, False])
def test_remote_hrefs_pass(href, local):
    assert check_href(href, local=local) == href
    assert is_remote(href)


@pytest.mark.parametrize("href", HOSTILE)
def test_hostile_hrefs_of_a_remote_catalogue_are_refused(href):
    with pytest.raises(UnsafeHrefError, match=r"Item 'scene-7' points to .*may point to http\(s\)://") as caught:
        check_href(href, local=False, item="scene-7")
    assert isinstance(caught.value, InvalidInputError)
    assert "secret@" not in str(caught.value)


@pytest.mark.parametrize(
    "href", ["/data/B04.tif", "data/B04.tif", "../B04.tif", "C:\\data\\B04.tif", "file:///data/B04.tif", "/data/a.vrt"]
)
def test_a_local_catalogue_may_point_to_local_files(href):
    assert check_href(href, local=True) == href


@pytest.mark.parametrize(
    "href",
    ["/vsizip/a.zip/a.tif", "<VRTDataset/>", "vrt://a.tif", "zip://a.zip!a.tif", "| cat", "file://host/a.tif",
     "file:///vsizip/a.zip", "file:data/B04.tif", "", "https://user:secret@example.com/a.tif"],
)  # fmt: skip
def test_even_a_local_catalogue_may_not_point_to_what_is_interpreted(href):
    with pytest.raises(UnsafeHrefError, match="and local files only"):
        check_href(href, local=True)


@pytest.mark.parametrize(
    ("href", "base", "expected"),
    [
        ("./B04.tif", "/data/items/scene.json", "/data/items/B04.tif"),
        ("../B04.tif", "/data/items/scene.json", "/data/B04.tif"),
        ("/elsewhere/B04.tif", "/data/scene.json", "/elsewhere/B04.tif"),
        ("B04.tif", "file:///data/my%20items/scene.json", "/data/my items/B04.tif"),
        ("B04.tif", "https://example.com/items/scene.json?sig=x", "https://example.com/items/B04.tif"),
        ("/B04.tif", "https://example.com/items/scene.json", "https://example.com/B04.tif"),
        ("../B04.tif", "s3://bucket/items/scene.json", "s3://bucket/B04.tif"),
        ("s3://other/B04.tif", "https://example.com/scene.json", "s3://other/B04.tif"),
        ("file:///etc/passwd", "https://example.com/scene.json", "file:///etc/passwd"),
        ("/etc/passwd", "s3://bucket/scene.json", "/etc/passwd"),
        ("B04.tif", None, "B04.tif"),
    ],
)
def test_resolve(href, base, expected):
    assert resolve_href(href, base) == expected


def test_a_relative_href_of_a_remote_item_never_becomes_local():
    for href in ("../../../../etc/passwd", "/etc/passwd", "//evil.example/a.tif"):
        assert resolve_href(href, "https://example.com/i/scene.json").startswith("https://")


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("https://example.com/a.tif?sig=x", "/vsicurl/https://example.com/a.tif?sig=x"),
        ("s3://bucket/k/a.tif", "/vsis3/bucket/k/a.tif"),
        ("gs://bucket/a.tif", "/vsigs/bucket/a.tif"),
        ("az://container/a.tif", "/vsiaz/container/a.tif"),
        ("abfs://container@account.dfs.core.windows.net/a.tif", "/vsiadls/container/a.tif"),
        ("/data/a.tif", "/data/a.tif"),
        ("file:///data/my%20a.tif", "/data/my a.tif"),
    ],
)
def test_gdal_path(href, expected):
    assert gdal_path(href) == expected


def test_signatures_never_stay():
    signed = "https://u:p@x.blob.core.windows.net/c/B04.tif?st=1&sig=SECRET#frag"
    assert strip_signature(signed) == "https://x.blob.core.windows.net/c/B04.tif"
    assert strip_signature("s3://bucket/a.tif?versionId=1") == "s3://bucket/a.tif"
    assert strip_signature("abfs://c@a.dfs.core.windows.net/k?sig=S") == "abfs://c@a.dfs.core.windows.net/k"
    assert strip_signature("/data/what?.tif") == "/data/what?.tif"
    text = redact(f"cannot open '{signed}': 403, nor https://y.example/z.tif?token=SECRET")
    assert "SECRET" not in text and "u:p" not in text
    assert "https://x.blob.core.windows.net/c/B04.tif'" in text and text.endswith("https://y.example/z.tif")


@pytest.mark.parametrize(
    "secret",
    ["/vsicurl/https://host/a_2020-01-01.tif?sig=SECRET", "/vsicurl?sig=SECRET&url=https://host/a.tif",
     "https://127.0.0.1:9/a.nc?sig=SECRET", "/vsis3/bucket/a.tif?sig=SECRET", "HTTPS://127.0.0.1:9/a.NC?sig=SECRET"],
)  # fmt: skip
def test_no_source_shows_its_signature(secret):
    assert "SECRET" not in strip_signature(secret)
    assert "SECRET" not in redact(secret.upper()) or "://" not in secret.partition("?")[0]
    with pytest.raises(LakecubeError) as caught:
        lakecube.open(secret)
    assert "SECRET" not in str(caught.value)


def test_paths_of_the_user_are_made_absolute_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert from_here("a/B04.tif") == str(tmp_path / "a" / "B04.tif")
    assert from_here("~/B04.tif") == "/home/me/B04.tif"
    nobody = "~no such user/B04.tif"
    assert from_here(nobody) == absolute_path(nobody) == str(tmp_path / nobody)
    strange = [
        "file:///data/a.tif",
        "/vsicurl/a.tif",
        "<VRTDataset/>",
        "zip://a.zip!a.tif",
        "| cat",
        " a",
        "",
        "/a.tif",
    ]
    for href in (*GOOD, *strange):
        assert from_here(href) == href


def test_a_file_is_told_from_others_by_what_its_query_asks_for_and_not_by_who_signed():
    base = "https://h.example/get"
    asked = [file_of(f"{base}?{query}") for query in ("id=4", "id=5", "id=4&part=2")]
    assert len({*asked, file_of(base)}) == 4 and all(one.startswith(f"{base}#") for one in asked)
    signs = ["st=1&se=2&sp=r&sv=3&sr=c&skoid=4&sig=a%2Fb", "X-Amz-Date=1&X-Amz-Signature=9", "Expires=3&Signature=2",
             "X-Goog-Expires=1", "token=1", "api_key=1", "Key-Pair-Id=4&Policy=x"]  # fmt: skip
    assert {file_of(f"{base}?id=4&{sign}") for sign in signs} == {asked[0]}
    assert {file_of(f"{base}?{sign}") for sign in signs} == {base}
    assert file_of("/data/what?id=4.tif") == "/data/what?id=4.tif"
