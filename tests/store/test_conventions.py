"""What CF asks of a store that leaves as NetCDF, and a checker's word on it where one is installed."""

import numpy as np
import pytest
import xarray as xr

import lakecube
from lakecube.synthetic.archive import make_archive


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cf")
    made = make_archive(folder / "a", shape=(40, 40), dates=["2022-03-01", "2022-03-11"], clouds=0.2, seed=4)
    water = lakecube.open(made.items_path, dem=made.dem_path).water.extract(probability=True)
    water.water.to_zarr(folder / "s.zarr", progress=False).to_netcdf(folder / "s.nc")
    return folder


def test_a_store_leaves_as_netcdf_and_comes_back(written):
    back, store = xr.open_dataset(written / "s.nc"), lakecube.open_store(written / "s.zarr")
    np.testing.assert_array_equal(back.water_mask, store.water_mask)
    assert back.water_mask.dtype == np.uint8 and set(back.variables) == set(store.variables)


def test_every_number_says_what_it_is_and_no_coordinate_has_a_fill_value(written):
    raw = xr.open_dataset(written / "s.nc", decode_cf=False)
    for name, variable in raw.variables.items():
        if variable.dtype.kind in "uif":
            assert {"long_name", "standard_name"} & set(variable.attrs), name
        if name in raw.dims:
            assert not {"_FillValue", "missing_value"} & set(variable.attrs), name
        if "flag_values" in variable.attrs:
            assert variable.attrs["flag_values"].dtype == variable.dtype, name
            assert len(variable.attrs["flag_meanings"].split()) == np.size(variable.attrs["flag_values"]), name


def test_a_checker_finds_no_error(written):
    pytest.importorskip("compliance_checker")
    from compliance_checker.runner import CheckSuite, ComplianceChecker

    CheckSuite.load_all_available_checkers()
    report = written / "report.txt"
    ComplianceChecker.run_checker(str(written / "s.nc"), ["cf:1.11"], 0, "normal", output_filename=str(report))
    assert "Errors" not in report.read_text(), report.read_text()
