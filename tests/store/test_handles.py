"""What travels to workers is small: kernels by name, networks as handles, stores and archives as addresses."""

from __future__ import annotations

import cloudpickle
import numpy as np
import pytest

import lakecube
from lakecube.store.waves import Runner

#: Bytes per block·date of a graph: the items of its date, four bands and more each, are most of it.
PER_BLOCK = 12_000


def graph_of(water):
    """All tasks of all pixels, pickled as for a scheduler, and the number of blocks."""
    arrays = [v.data for v in water.data_vars.values() if v.dims == ("time", "y", "x")]
    keys = {(a.name, *at) for a in arrays for at in np.ndindex(*a.numblocks)}
    return cloudpickle.dumps(Runner(arrays).part(keys)), arrays[0].npartitions


def test_fusion_travels_as_handles(archive):
    cube = lakecube.open(str(archive.items_path), dem=str(archive.dem_path), chunks=32)
    graph, blocks = graph_of(cube.water.extract())
    assert blocks == 75 and len(graph) < PER_BLOCK * blocks
    assert b"lakecube" in graph and b"def " not in graph


def test_weights_stay_where_they_are(archive):
    pytest.importorskip("torch", reason="torch is not installed: pip install -c constraints.txt '.[deep]'")
    from lakecube.models.registry import find
    from lakecube.models.weights_file import located

    cube = lakecube.open(str(archive.items_path), chunks=64)
    graph, blocks = graph_of(cube.water.extract(method="linknet50"))
    weights = find(lakecube.extract(cube, "linknet50").attrs["parameters"].split('"model": "')[1].split('"')[0])
    file = located(weights.source, weights.spec.sha256)
    assert file.stat().st_size > 3_000_000 and len(graph) < PER_BLOCK * blocks
