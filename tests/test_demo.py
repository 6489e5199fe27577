"""The demo: its numbers are repeatable and right, and its picture is there."""

from __future__ import annotations

import errno

import numpy as np
import pytest

import lakecube
from lakecube import demo
from lakecube.cli import exit_code
from lakecube.errors import InvalidInputError, StoreError


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    first, second = (demo.run(folder / name, size=130, dates=3, quiet=True) for name in ("a", "b"))
    return folder, first, second


def test_the_numbers_are_the_same_again(runs):
    _, first, second = runs
    for name in ("lakecube", "mndwi", "errors", "unknown_water", "dates"):
        assert first[name] == second[name]


def test_the_scores_follow_from_the_store_and_the_truth(runs):
    folder, result, _ = runs
    from lakecube.synthetic import make_archive

    truth = make_archive(folder / "truth", shape=(130, 130), dates=3, seed=demo.SEED).truth
    store = lakecube.open_store(result["store"]).sel(y=truth["y"], x=truth["x"])
    mask, true = store["water_mask"].values, truth["water"].values == 1
    right = ((mask == 1) & true).sum()
    wrong = ((mask == 1) & ~true).sum() + ((mask == 0) & true).sum()
    assert result["lakecube"]["iou"] == pytest.approx(right / (right + wrong))
    assert sum(result["errors"].values()) == wrong == result["lakecube"]["false"] + result["lakecube"]["missed"]
    assert result["unknown_water"] == pytest.approx((true & (mask == 255)).sum() / true.sum())
    np.testing.assert_allclose([row["truth_km2"] for row in result["dates"]], true.sum(axis=(1, 2)) * 1e-4)
    np.testing.assert_allclose([row["water_km2"] for row in result["dates"]], (mask == 1).sum(axis=(1, 2)) * 1e-4)


def test_it_leaves_a_picture_and_a_store(runs):
    folder, result, _ = runs
    assert (folder / "a" / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert lakecube.open_store(result["store"]).sizes["time"] == 3


def test_mistakes_are_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInputError, match="is a file"):
        demo.run(tmp_path / "file")
    with pytest.raises(InvalidInputError, match="at least 64 px"):
        demo.run(tmp_path / "small", size=8)
    assert not (tmp_path / "small").exists()


def test_a_full_disk_is_said_before_and_while_writing(tmp_path, monkeypatch):
    class Little:
        free = 1000

    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: Little)
        with pytest.raises(StoreError, match=r"disk full: .* 0 MB free") as caught:
            demo.run(tmp_path / "before", size=64, dates=1, quiet=True)
        assert exit_code(caught.value) == 1
        assert not (tmp_path / "before").exists()

    def stops(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(demo, "make_archive", stops)
    with pytest.raises(StoreError, match="disk full") as caught:
        demo.run(tmp_path / "while", size=64, dates=1, quiet=True)
    assert exit_code(caught.value) == 1
