"""STAC of an extract: by the schemas of its core, by pystac's own readers of extensions, by hand."""

import json

import numpy as np
import pystac
import pytest
import xarray as xr
from jsonschema import Draft7Validator, ValidationError
from pyproj import CRS
from pystac.extensions.classification import ClassificationExtension
from pystac.extensions.eo import EOExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry, Resource

from lakecube.errors import InvalidInputError
from lakecube.io.stac_fields import classes
from lakecube.io.stac_out import Exported, collection_of, save, slug
from lakecube.names import COLOURS, VARIABLES
from tests.store.made import extract


def check(document):
    """Core of STAC 1.1, by the schemas that pystac brings."""
    cache = get_local_schema_cache()
    registry = Registry().with_resources((url, Resource.from_contents(schema)) for url, schema in cache.items())
    kind = "collection" if document["type"] == "Collection" else "item"
    url = f"https://schemas.stacspec.org/v1.1.0/{kind}-spec/json-schema/{kind}.json"
    Draft7Validator(cache[url], registry=registry).validate(document)
    return document


def alone(item):
    """An Item as it stands by itself."""
    item.clear_links()
    item.collection_id = None
    return item.to_dict()


def request(source):
    return json.dumps({"source": source})


@pytest.fixture
def water():
    made = extract(times=3)
    collections = np.full(made.sizes["item"], "sentinel-2-l2a")
    return made.assign_coords(item_collection=("item", collections)).assign_attrs(
        request=request("https://user:secret@stac.example/v1/?sig=abc"), lakecube_version="0.1.0"
    )


def test_collection_and_items_are_valid(water, no_compute, tmp_path):
    files = [Exported(str(tmp_path / "mask.tif"), "mask", "surface water", "water_mask", "uint8", water.time.values[1]),
             Exported(str(tmp_path / "lakes.gpkg"), "lakes", "Outlines")]  # fmt: skip
    cover = {"eo:cloud_cover": [12.345, np.nan, 0.0], "eo:snow_cover": [0.0, 0.0, 0.0]}
    made = collection_of(
        water, id="lake", href=str(tmp_path / "s.zarr"), exported=files, cover=cover, license="CC-BY-4.0"
    )
    path = save(made, tmp_path / "out")
    check(json.loads(path.read_text()))
    documents = [check(json.loads(file.read_text())) for file in sorted((tmp_path / "out").glob("*/*.json"))]
    assert [d["id"] for d in documents] == ["lake-2019-11-20", "lake-2019-12-06", "lake-2019-12-22", "lake-all"]
    assert [d["properties"].get("eo:cloud_cover") for d in documents] == [12.35, None, 0.0, None]
    read = pystac.Collection.from_file(str(path))
    items = list(read.get_items())
    assert [sorted(item.assets) for item in items] == [["zarr"], ["mask", "zarr"], ["zarr"], ["lakes", "zarr"]]
    assert items[1].assets["mask"].get_absolute_href() == str(tmp_path / "mask.tif")
    assert items[1].assets["mask"].href == "../../mask.tif"
    assert set(read.item_assets) == {"zarr", "mask", "lakes"}
    assert read.assets["zarr"].media_type == "application/vnd+zarr"
    assert EOExtension.ext(items[0]).cloud_cover == 12.35
    assert not list((tmp_path / "out").rglob("*partial*"))


def test_an_invalid_item_is_told(water):
    item = alone(next(collection_of(water, id="lake").get_items()))
    check(item)
    item["bbox"] = [1, 2]
    with pytest.raises(ValidationError):
        check(item)


def test_projection_is_of_the_pixels(water):
    made = collection_of(
        water, id="lake", exported=[Exported("/x/f.tif", "frequency", "", "water_frequency", "float32")]
    )
    item = list(made.get_items())[-1]
    for found in (ProjectionExtension.ext(item), ProjectionExtension.ext(item.assets["frequency"])):
        assert found.code == "EPSG:32648"
        assert found.shape == [70, 50]
        assert found.transform == [10, 0, 500_000, 0, -10, 3_000_000]
        assert found.bbox == [500_000, 2_999_300, 500_500, 3_000_000]
    asset = item.assets["frequency"].extra_fields
    assert "nodata" not in asset and asset["data_type"] == "float32" and asset["unit"] == "1"
    assert asset["raster:spatial_resolution"] == 10 and asset["raster:sampling"] == "area"
    assert asset["bands"] == [{"name": "water_frequency", "description": "share of clear dates that are wet"}]


def test_boxes_are_west_south_east_north_in_degrees(water):
    made = collection_of(water, id="lake")
    west, south, east, north = 105.0, 27.11615, 105.00505, 27.12247
    for box in (made.extent.spatial.bboxes[0], *(item.bbox for item in made.get_items())):
        assert box == pytest.approx([west, south, east, north], abs=2e-5)
    for item in made.get_items():
        lon, lat = np.array(item.geometry["coordinates"][0]).T
        assert lon.min() == pytest.approx(west, abs=2e-5) and lat.max() == pytest.approx(north, abs=2e-4)


def test_a_crs_without_a_code_is_told_by_its_wkt(water):
    crs = CRS("+proj=laea +lat_0=27 +lon_0=105 +datum=WGS84")
    item = next(collection_of(water.assign_coords(spatial_ref=((), 0, crs.to_cf())), id="lake").get_items())
    assert check(alone(item))["properties"]["proj:code"] is None
    assert CRS.from_wkt(item.properties["proj:wkt2"]) == crs


def test_classes_are_the_flags_of_cf(water):
    time = water.time.values[0]
    files = [Exported("/x/m.tif", "mask", "", "water_mask", "uint8", time),
             Exported("/x/r.tif", "rules", "", "rules_fired", "uint16", time)]  # fmt: skip
    item = next(collection_of(water, id="lake", exported=files).get_items())
    found = ClassificationExtension.ext(item.assets["mask"]).classes
    attrs = VARIABLES["water_mask"].attrs
    assert [(c.name, c.value) for c in found] == list(
        zip(attrs["flag_meanings"].split(), attrs["flag_values"].tolist(), strict=True)
    )
    assert [c.color_hint for c in found] == ["EFE6CF", "0B559F", "B8B8B8"]
    assert [c.nodata for c in found] == [None, None, True]
    bits = ClassificationExtension.ext(item.assets["rules"]).bitfields
    assert [1 << b.offset for b in bits] == VARIABLES["rules_fired"].attrs["flag_masks"].tolist()
    assert {b.length for b in bits} == {1}


def test_every_table_of_flags_makes_classes_that_the_extension_allows():
    for spec in VARIABLES.values():
        made = classes(spec)
        assert bool(made) == (spec.flags is not None)
        for one in made.get("classification:classes", ()):
            assert isinstance(one["value"], int)
            assert set(one["name"]) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")
            assert len(one.get("color_hint", "000000")) == 6
    for name, colours in COLOURS.items():
        assert set(colours) == set(VARIABLES[name].flags), name


def test_sources_are_linked_without_secrets(water):
    item = next(collection_of(water, id="lake", href="https://me:pw@files.example/s.zarr?sig=abc").get_items())
    links = [link.href for link in item.links if link.rel == "derived_from"]
    assert len(links) == 2 and links[0].startswith(
        "https://stac.example/v1/collections/sentinel-2-l2a/items/S2A_48RX%C3%85_2019-11-20_0"
    )
    assert item.properties["lakecube:source_items"] == water.item_id.values[:2].tolist()
    file = Exported(
        "https://me:pw@files.example/m.tif?sig=abc", "mask", "", "water_mask", "uint8", water.time.values[0]
    )
    dressed = next(collection_of(water, id="lake", exported=[file]).get_items())
    assert dressed.assets["mask"].href == "https://files.example/m.tif"
    text = json.dumps([item.to_dict(), dressed.to_dict()])
    assert not any(secret in text for secret in ("secret", "sig=", "pw@"))
    assert item.assets["zarr"].href == "https://files.example/s.zarr"


@pytest.mark.parametrize(
    ("source", "links"),
    [("/home/me/items.json", []), (None, []), ("https://x.example/items.json?sig=1", ["https://x.example/items.json"])],
)
def test_only_remote_sources_are_linked(water, source, links):
    item = next(collection_of(water.assign_attrs(request=request(source)), id="lake").get_items())
    assert [link.href for link in item.links if link.rel == "derived_from"] == links
    assert len(item.properties["lakecube:source_items"]) == 2


def test_times_are_those_of_the_scenes_or_the_composite(water):
    stamps = water.item_time.values.copy()
    stamps[1] += np.timedelta64(25, "s")
    item = next(collection_of(water.assign_coords(item_time=("item", stamps)), id="lake").get_items())
    assert item.datetime is None
    assert item.properties["start_datetime"] == "2019-11-20T03:00:00.123456Z"
    assert item.properties["end_datetime"] == "2019-11-20T03:00:25.123456Z"
    stamps[-1] += np.timedelta64(25, "s")
    made = collection_of(water.assign_coords(item_time=("item", stamps)), id="lake").to_dict()
    assert made["extent"]["temporal"]["interval"] == [["2019-11-20T03:00:00.123456Z", "2019-12-22T03:00:25.123456Z"]]
    bounds = np.stack([water.time.values, water.time.values + np.timedelta64(30, "D")], axis=1)
    monthly = next(collection_of(water.assign(time_bounds=(("time", "bound"), bounds)), id="lake").get_items())
    assert monthly.properties["end_datetime"] == "2019-12-19T23:59:59Z"
    plain = next(collection_of(extract(items=False), id="lake").get_items())
    assert check(alone(plain))["properties"]["end_datetime"] == "2019-11-20T23:59:59Z"


def test_what_cannot_be_told_is_refused(water):
    with pytest.raises(InvalidInputError, match="no CRS"):
        collection_of(water.drop_vars("spatial_ref"), id="lake")
    with pytest.raises(InvalidInputError, match="no date"):
        collection_of(water.isel(time=slice(0)), id="lake")
    one = xr.Dataset({"water_mask": water.water_mask[:, :1]})
    with pytest.raises(InvalidInputError, match="GeoTransform"):
        collection_of(one, id="lake")


@pytest.mark.parametrize(("text", "id"), [("Poyang Hu (2021)", "Poyang-Hu-2021"), ("..", "water"), ("鄱阳", "water")])
def test_ids_are_safe_in_paths(text, id):
    assert slug(text) == id
