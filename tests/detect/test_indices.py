"""The labelled indices: formula, holes, stand-ins, the catalogue, clear refusals."""

import numpy as np
import pytest
import xarray as xr

from lakecube.detect.indices import index, indices
from lakecube.errors import InvalidInputError, MissingBandError
from lakecube.kernels.indices import CATALOGUE


def pixels(**bands):
    arrays = {name: (("y", "x"), np.atleast_2d(np.array(values, "float32"))) for name, values in bands.items()}
    return xr.Dataset(arrays)


def test_mndwi_by_hand():
    cube = pixels(green=[0.3, 0.1, np.nan, 0.0, 0.2], swir16=[0.1, 0.3, 0.1, 0.0, np.nan])
    out = index(cube, "mndwi")
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.values[0], [0.5, -0.5, np.nan, np.nan, np.nan], rtol=1e-6)
    assert out.attrs["units"] == "1"
    assert out.attrs["references"]


def test_scaling_both_bands_changes_no_normalised_difference(cube):
    for name in ("mndwi", "ndwi", "ndvi", "ndbi"):
        np.testing.assert_allclose(index(cube, name).values, index(cube * 0.5, name).values, atol=1e-6)


def test_flips_commute(cube):
    for name in CATALOGUE:
        turned = cube.isel(y=slice(None, None, -1), x=slice(None, None, -1))
        np.testing.assert_array_equal(index(turned, name).values, index(cube, name).values[:, ::-1, ::-1])


def test_nir08_stands_in_for_nir_and_only_where_there_is_none(cube):
    without = cube.drop_vars("nir")
    np.testing.assert_array_equal(index(without, "ndwi").values, index(cube.assign(nir=cube["nir08"]), "ndwi").values)
    assert (index(without, "ndwi") != index(cube, "ndwi")).any()


def test_all_that_the_bands_allow(cube):
    assert set(indices(cube)) == set(CATALOGUE)
    few = indices(cube[["green", "nir08"]])
    assert "ndwi" in few
    assert "mndwi" not in few
    assert list(indices(cube, "ndvi")) == ["ndvi"]
    assert list(indices(cube, ["ndvi", "mndwi"])) == ["ndvi", "mndwi"]


def test_refusals_name_what_is_missing(cube):
    with pytest.raises(InvalidInputError, match="mndwi"):
        index(cube, "mmdwi")
    with pytest.raises(MissingBandError, match=r"swir16.*green, red"):
        index(cube[["green", "red"]], "mndwi")
    with pytest.raises(InvalidInputError, match="nope"):
        cube.water.indices(["nope"])
