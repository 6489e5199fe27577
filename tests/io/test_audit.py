"""The audit of the offset: what it says depends on the record and the file, never on what was asked before."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from lakecube.errors import ReadError
from lakecube.io import audit, lazy
from lakecube.io.grids import Window
from lakecube.io.reader import read_block
from lakecube.names import OBSERVATION
from tests.imagery import grid, item, settings, source

WHERE = grid(120, 120)
BANDS = ("nir", "swir16")
TRUE = 0.0  #: many numbers lie below 1000, so nothing was added to them


@pytest.fixture(autouse=True)
def _nothing_remembered():
    audit._samples.clear()
    audit._told.clear()


@pytest.fixture
def record(tmp_path):
    """A function that gives records of one pair of files, each with an offset of its own."""
    dn = np.random.default_rng(1).integers(50, 3000, (120, 120)).astype("uint16")
    files = {band: source(tmp_path / f"{band}.tif", dn, WHERE) for band in BANDS}

    def declare(offset, id_="scene", source_="baseline"):
        bands = {b: replace(f, offset=offset) for b, f in files.items()}
        return item(id_, bands=bands, offset_source=source_)

    return declare


@pytest.mark.parametrize("order", [(-0.1, 0.0, -0.1), (0.0, -0.1, 0.0)], ids=str)
def test_a_verdict_is_of_the_record_not_of_the_first_record_seen(record, order):
    for offset in order:
        found = audit.audit_item(record(offset), settings(WHERE, *BANDS))
        assert found.offset == TRUE
        assert found.conflict == (offset != TRUE)


@pytest.mark.parametrize("first", [-0.1, 0.0])
def test_pixels_under_audit_do_not_depend_on_what_was_read_before(record, first):
    where = settings(WHERE, *BANDS, offset_audit=True)
    out = [read_block((record(o),), Window(0, 120, 0, 120), where)["nir"] for o in (first, -0.1 - first)]
    np.testing.assert_array_equal(*out)
    assert out[0].min() > 0


def test_each_file_is_sampled_once(record, monkeypatch):
    opened = []
    inner = audit.open_source
    monkeypatch.setattr(audit, "open_source", lambda href, **k: opened.append(href) or inner(href, **k))
    for offset in (-0.1, 0.0, -0.1):
        audit.audit_item(record(offset), settings(WHERE, *BANDS))
    assert len(opened) == len(set(opened)) == 2


def test_the_memory_of_samples_is_bounded(record, monkeypatch):
    monkeypatch.setattr(audit, "_MOST_SAMPLES", 1)
    assert audit.audit_item(record(-0.1), settings(WHERE, *BANDS)).conflict
    assert len(audit._samples) == 1


def broken(times):
    """An `open_source` that fails a number of times with a signed address in its message."""
    left = [times]
    inner = audit.open_source

    def open_source(href, **known):
        if left[0]:
            left[0] -= 1
            raise ReadError("HTTP 503 for https://host/a.tif?sig=TOPSECRET")
        return inner(href, **known)

    return open_source


def test_a_failed_sample_is_tried_again_and_never_remembered(record, monkeypatch, caplog):
    monkeypatch.setattr(audit, "open_source", broken(2))
    where = settings(WHERE, *BANDS)
    assert audit.audit_item(record(-0.1), where).confidence == 0
    assert "could not be read" in caplog.text
    assert "TOPSECRET" not in caplog.text
    assert audit.audit_item(record(-0.1), where).conflict
    audit._samples.clear()
    monkeypatch.setattr(audit, "open_source", broken(1))
    assert audit.audit_item(record(-0.1), where).conflict


def test_what_cannot_be_audited_is_not_decoded_with_either_offset(record, monkeypatch):
    monkeypatch.setattr(audit, "open_source", broken(99))
    where = settings(WHERE, *BANDS, offset_audit=True)
    out = read_block((record(-0.1),), Window(0, 9, 0, 9), where)
    assert (out["observation"] == OBSERVATION["read_failed"]).all()


@pytest.mark.parametrize(
    ("source_", "under_audit", "expected"),
    [("user", False, "you gave offset -0.1; the imagery says 0 ("), ("baseline", False, "the metadata's was used"),
     ("baseline", True, "the imagery's was used")],
)  # fmt: skip
def test_a_conflict_is_logged_once_and_never_warned_of_in_a_task(record, caplog, source_, under_audit, expected):
    """Warnings are errors here, as under ``-W error``."""
    for _ in range(3):
        audit.audit_item(record(-0.1, source_=source_), settings(WHERE, *BANDS, offset_audit=under_audit))
    (message,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert expected in message
    if source_ == "user":
        assert message.endswith("yours was used")


@pytest.mark.parametrize("under_audit", [False, True])
def test_the_table_tells_the_offset_that_decoding_used(record, under_audit):
    where = settings(WHERE, *BANDS, offset_audit=under_audit)
    records = record(-0.1, "wrong"), record(0.0, "right")
    found = lazy.audit(lazy.BlockSource(where, tuple((r,) for r in records), (120, 120)))
    assert found.item_offset_applied.chunks is not None
    assert found.item_offset_applied.dtype == "float32"
    done = found.compute()
    np.testing.assert_array_equal(done.item_offset_conflict, [1, 0])
    np.testing.assert_allclose(done.item_offset_applied, [TRUE if under_audit else -0.1, 0.0])
    dn = read_block((record(0.0),), Window(0, 120, 0, 120), settings(WHERE, *BANDS))["nir"]
    for one, applied in zip(records, done.item_offset_applied.values, strict=True):
        read = read_block((one,), Window(0, 120, 0, 120), where)["nir"]
        np.testing.assert_allclose(read, dn + applied, atol=1e-6)


def test_variables_of_the_audit_have_names_and_units(record):
    found = lazy.audit(lazy.BlockSource(settings(WHERE, *BANDS), ((record(0.0),),), (120, 120)))
    for name, variable in found.data_vars.items():
        assert variable.attrs["long_name"], name
        assert variable.attrs["units"] == "1", name
    attrs = found.item_offset_conflict.attrs
    assert len(attrs["flag_values"]) == len(attrs["flag_meanings"].split()) == 2


def test_an_offset_that_could_not_be_audited_is_told_as_unknown(record, monkeypatch):
    monkeypatch.setattr(audit, "open_source", broken(99))
    for under_audit, expected in ((False, -0.1), (True, np.nan)):
        where = settings(WHERE, *BANDS, offset_audit=under_audit)
        found = lazy.audit(lazy.BlockSource(where, ((record(-0.1),),), (120, 120))).compute()
        np.testing.assert_allclose(found.item_offset_applied, [expected], rtol=1e-6)
        assert np.isnan(found.item_offset_audited).all()
