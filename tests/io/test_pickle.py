"""Zarr from outside is never unpickled."""

import json
import pickle

import numpy as np
import pytest

import lakecube
from lakecube.errors import ReadError


class Payload:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.filterwarnings("ignore:Failed to open Zarr store with consolidated metadata")
@pytest.mark.parametrize("where", ["filters", "second filter", "compressor", "objects"])
def test_zarr_that_asks_for_pickle_is_refused(tmp_path, where):
    folder, trace = tmp_path / "evil.zarr", tmp_path / "trace"
    codec = {"id": "pickle", "protocol": 4}
    before = [{"id": "delta", "dtype": "<i8"}] if where == "second filter" else []
    arrays = {"y": np.arange(4.0)[::-1], "x": np.arange(4.0), "green": np.ones((4, 4)), "note": np.zeros(1, "i8")}
    for name, values in arrays.items():
        evil = name == "note"
        (folder / name).mkdir(parents=True)
        document = {
            "zarr_format": 2, "shape": values.shape, "chunks": values.shape, "fill_value": None, "order": "C",
            "dtype": "|O" if evil and where == "objects" else values.dtype.str,
            "compressor": codec if evil and where == "compressor" else None,
            "filters": [*before, codec] if evil and where != "compressor" else None,
        }  # fmt: skip
        dims = {"note": ["item"], "green": ["y", "x"]}.get(name, [name])
        (folder / name / ".zarray").write_text(json.dumps(document))
        (folder / name / ".zattrs").write_text(json.dumps({"_ARRAY_DIMENSIONS": dims}))
        data = pickle.dumps(Payload(trace)) if evil else np.ascontiguousarray(values).tobytes()
        (folder / name / ".".join("0" * values.ndim)).write_bytes(data)
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    with pytest.raises(ReadError, match="pickle"):
        lakecube.open(folder)
    assert not trace.exists()
