"""Tests write hundreds of tiny stores: whether the disk has them after a power cut is not what they ask."""

import pytest

import lakecube.store.commit as commit


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch):
    monkeypatch.setattr(commit, "sync_all", lambda: None)
