"""Tests write hundreds of tiny stores: whether the disk has them after a power cut is not what they ask."""

import pytest

from lakecube.store.files import LocalFiles


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch):
    monkeypatch.setattr(LocalFiles, "sync", lambda self: None)
