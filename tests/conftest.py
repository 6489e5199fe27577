"""Fixtures that many tests share: an archive on disk, a cube in memory, the real scenes, a scheduler that refuses."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import dask
import pytest

from lakecube.synthetic.archive import make_archive
from lakecube.synthetic.cube import sentinel2_cube


def pytest_configure(config):
    # rioxarray 0.19 multiplies by affine's old operator, which affine 3.1 will deprecate
    config.addinivalue_line("filterwarnings", "ignore::rasterio.errors.NotGeoreferencedWarning")  # as `io.files` does
    config.addinivalue_line("filterwarnings", "ignore:Use `@` matmul:PendingDeprecationWarning")


@pytest.fixture(autouse=True)
def _no_scheduler_is_left():
    """A client that lost its scheduler closes without taking back what it had set for all of Dask."""
    yield
    if dask.config.get("scheduler", None) == "dask.distributed" and "distributed" in sys.modules:
        try:
            sys.modules["distributed"].get_client()
        except ValueError:
            dask.config.set(scheduler=None)


def _refuse(dsk, keys, **kwargs):
    raise AssertionError("something was computed while a lazy result was built")


@pytest.fixture
def no_compute():
    """Everything computed while this fixture lives is a failure."""
    with dask.config.set(scheduler=_refuse):
        yield


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """Three cloudy dates of two overlapping tiles each, baselines 03.01 and 04.00 side by side, with a DEM."""
    return make_archive(
        tmp_path_factory.mktemp("archive"), shape=(130, 142), dates=["2022-03-01", "2022-04-20", "2022-07-09"], seed=3,
        baseline="mixed", boa_offset_applied=False, tiles=2, clouds=[0.0, 0.3, 0.15], missing=[0.0, 0.0, 0.2],
    )  # fmt: skip


@pytest.fixture(scope="session")
def cube():
    """Three dates in memory with cloud, a part beyond the swath, and relief; 40 × 44 pixels."""
    return sentinel2_cube((40, 44), 3, seed=5, clouds=[0.0, 0.25, 0.1], missing=0.1)


@pytest.fixture(scope="session")
def data():
    """The folder of real scenes: ``LAKECUBE_DATA``, or ``../shared/data`` beside the repository."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("LAKECUBE_DATA", default)).resolve()
    if not folder.is_dir():
        pytest.skip(f"no real scenes at {folder}; set LAKECUBE_DATA to the folder that holds them")
    return folder
