"""What a store exports, opened by its neighbours; what is not installed is skipped. All of them: docs/readers.md."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import h5py
import numpy as np
import pyarrow.parquet
import pytest

from lakecube.export import export, to_cog, to_netcdf
from tests.store.made import extract


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("readers") / "lake.zarr"
    return extract(times=3, rows=40, columns=50).water.to_zarr(path, chunks=64, progress=False)


def test_netcdf_by_the_rules_that_a_checker_of_cf_found_broken(store, tmp_path):
    """CF 1.12, 2.3, 2.5.1, 2.6.2 and 3.4, as the IOOS compliance checker has them."""
    with h5py.File(to_netcdf(store, tmp_path / "all.nc")) as file:
        names = set(file)
        assert file.attrs["Conventions"].startswith("CF-") and file.attrs["history"]
        assert all(re.fullmatch(r"[A-Za-z]\w*", name) for name in file.attrs if not name.startswith("_"))
        for name in ("x", "y", "time", "lake"):
            assert "_FillValue" not in file[name].attrs
        for variable in file.values():
            assert set(variable.attrs.get("ancillary_variables", "").split()) <= names
    assert store["water_frequency"].attrs["ancillary_variables"] == "count_wet count_clear"  # untouched
    with h5py.File(to_netcdf(store[["water_frequency"]], tmp_path / "one.nc")) as file:
        assert "ancillary_variables" not in file["water_frequency"].attrs


def test_geoparquet_says_its_version_and_where_boxes_are(store, tmp_path):
    (written,) = export(store, tmp_path / "lakes.parquet")
    geo = json.loads(pyarrow.parquet.read_metadata(written.path).metadata[b"geo"])
    column = geo["columns"][geo["primary_column"]]
    assert geo["version"] == "1.1.0" and column["encoding"] == "WKB"
    assert column["covering"]["bbox"]["xmin"] == ["bbox", "xmin"] and column["crs"]["id"]["code"] == 32648


def test_duckdb_reads_the_lakes(store, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    (written,) = export(store, tmp_path / "lakes.parquet")
    found = duckdb.sql(f"select lake_id, max_area from '{written.path}' order by lake_id").fetchall()
    assert found == list(zip(store.lake.values.tolist(), store.max_area.values.tolist(), strict=True))


def test_the_c_library_of_netcdf_reads_every_variable(store, tmp_path):
    netcdf = pytest.importorskip("netCDF4")
    with netcdf.Dataset(to_netcdf(store, tmp_path / "all.nc")) as file:
        file.set_auto_mask(False)
        assert set(store.variables) <= set(file.variables)
        np.testing.assert_array_equal(file["water_mask"][:], store.water_mask.values)
        assert file["water_mask"].flag_meanings == "land water unknown"


def test_gdal_of_the_system_reads_maps_and_lakes(store, tmp_path):
    for program in ("gdalinfo", "ogrinfo"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    (mask,) = to_cog(store, tmp_path / "mask.tif", product="mask", date="2019-12-06")
    said = json.loads(subprocess.run(["gdalinfo", "-json", mask], capture_output=True, check=True).stdout)
    (band,) = said["bands"]
    assert said["size"] == [50, 40] and band["noDataValue"] == 255 and band["colorInterpretation"] == "Palette"
    export(store, tmp_path / "lakes.gpkg")
    lines = subprocess.run(
        ["ogrinfo", "-so", "-al", tmp_path / "lakes.gpkg"], capture_output=True, text=True, check=True
    )
    assert f"Feature Count: {store.sizes['lake']}\n" in lines.stdout
