"""A reader sees one commit: metadata, pixels and the names of its arrays, also if somebody commits while it opens."""

import pytest

import lakecube.store.read as read
from lakecube.store import open_store, revise, to_zarr
from lakecube.store.commit import ROOT
from lakecube.store.files import LocalFiles
from lakecube.store.place import place_of
from tests.store.made import extract


def test_the_root_is_read_once_beside_the_reading_of_xarray(tmp_path, monkeypatch):
    to_zarr(extract(times=2), tmp_path / "s", progress=False)
    asked, whole = [], LocalFiles.read
    monkeypatch.setattr(
        LocalFiles, "read", lambda self, key, *most: (asked.append(self.root / key), whole(self, key))[1]
    )
    open_store(tmp_path / "s")
    assert asked.count(tmp_path / "s" / ROOT) == 1  # pages of other tests may look at theirs


@pytest.mark.parametrize("what", ["append", "revise"])
def test_a_commit_while_a_store_is_opened(tmp_path, monkeypatch, what):
    path, whole, left = tmp_path / "s", read.open_group, [1]
    to_zarr(extract(times=2), path, progress=False)

    def slow(*args, **options):
        if left:  # between the look at the root and the reading of the arrays
            left.clear()
            if what == "append":
                to_zarr(extract(times=1, start=2), path, mode="append", progress=False)
            else:
                revise(path, min_wet=1, progress=False)
        return whole(*args, **options)

    monkeypatch.setattr(read, "open_group", slow)
    seen = open_store(path)
    assert seen.encoding[read.KEPT]["token"] == read.mark_of(place_of(path))
    after = open_store(path)
    assert seen.sizes == after.sizes and seen.attrs == after.attrs
    assert seen["water_mask"].data.name == after["water_mask"].data.name
