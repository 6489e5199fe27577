"""Files on the way out."""

import numpy as np
import pytest

from lakecube.errors import InvalidInputError
from lakecube.io.out_files import name_of, outside_stores


def test_names_of_dates_are_safe_everywhere():
    assert name_of(np.datetime64("2021-06-01", "ns")) == "2021-06-01"
    assert name_of(np.datetime64("2021-06-01T03:00:05.123", "ns")) == "2021-06-01T030005"


def test_a_folder_with_stores_in_it_is_no_store(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_text("{}")
    assert outside_stores(tmp_path / "out") == tmp_path / "out"
    with pytest.raises(InvalidInputError, match="lies in the store"):
        outside_stores(tmp_path / "a.zarr" / "c" / "out.tif")
