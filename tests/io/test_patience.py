"""How long a reader goes on asking."""

import pickle

import pytest

from lakecube.errors import InvalidInputError, ReadError, UnsafeHrefError
from lakecube.io import files, patience, unread
from lakecube.io.asking import asked_seconds
from lakecube.io.patience import DecodeError, Patience, RequestError, with_patience
from lakecube.io.web import State


def tried(failures, remote=True, is_final=lambda error: False, **how):
    """How often a read that fails with `failures` in turn was called, and what came of it."""
    calls, left = [], list(failures)

    def read():
        calls.append(1)
        if left:
            raise left.pop(0)
        return "read"

    try:
        found = with_patience(read, Patience(**how), remote=remote, told=str, is_final=is_final)
    except (OSError, ValueError) as error:
        found = error
    return len(calls), found


@pytest.fixture
def waits(monkeypatch):
    found = []
    monkeypatch.setattr(patience.time, "sleep", found.append)
    return found


def test_waits_double_with_jitter_and_have_a_bound(waits):
    assert tried([RequestError("busy")] * 9, times=9, wait=1, longest_wait=20) == (10, "read")
    for k, wait in enumerate(waits):
        assert min(20, 0.5 * 2**k) <= wait <= min(20, 1.5 * 2**k)


def test_the_server_is_given_the_rest_it_asks_for_within_a_bound(waits):
    asked = [RequestError("busy", asked=7), RequestError("busy", asked=7000)]
    assert tried(asked, times=3, wait=0.01, longest_wait=9, total=99) == (3, "read")
    assert waits == [7, 9]


def test_a_read_has_a_time_after_which_it_is_given_up(waits):
    calls, error = tried([RequestError("busy", asked=50)] * 9, times=9, total=40)
    assert calls == 1 and isinstance(error, RequestError) and waits == []


@pytest.mark.parametrize(
    ("error", "remote", "calls"),
    [(OSError(), True, 4), (OSError(), False, 2), (DecodeError(), True, 2), (UnsafeHrefError(), True, 1)],
)
def test_what_is_near_or_broken_is_tried_twice(waits, error, remote, calls):
    assert tried([error] * 9, remote) == (calls, error)


def test_what_is_final_is_final(waits):
    assert tried([RequestError("gone", final=True)], is_final=lambda e: e.final)[0] == 1


@pytest.mark.parametrize(
    "retries",
    [-1, True, 1.5, "3", None, {"tries": 3}, {"timeout": 0}, {"wait": -1}, {"total": float("nan")}, {"times": 2.5}],
)
def test_retries_that_are_none(retries):
    with pytest.raises(InvalidInputError, match="retries"):
        Patience.of(retries)


def test_retries_are_a_number_or_a_mapping():
    assert Patience.of(5) == Patience(times=5)
    assert Patience.of({"timeout": 3, "times": 0}) == Patience(times=0, timeout=3.0)


def test_errors_travel(waits):
    error = pickle.loads(pickle.dumps(RequestError("busy", final=True, asked=3.0)))
    assert (str(error), error.final, error.asked) == ("busy", True, 3.0)
    assert isinstance(error, ReadError)


@pytest.mark.parametrize(
    ("text", "seconds"), [("7", 7), ("", 0), ("soon", 0), ("-3", 0), ("nan", 0), ("Fri, 01 Jan 1999 00:00:00 GMT", 0)]
)
def test_retry_after(text, seconds):
    assert asked_seconds(text) == seconds


@pytest.mark.parametrize(
    ("name", "own"), [("GDAL_HTTP_TIMEOUT", False), ("GDAL_HTTP_MAX_RETRY", False), ("GDAL_HTTP_COOKIEFILE", True)]
)
def test_waits_and_tries_set_for_gdal_leave_web_addresses_to_us(monkeypatch, name, own):
    monkeypatch.setenv(name, "7")
    assert files._has_gdal_settings() is own


def test_states_of_a_file():
    one = State(10, '"a"', "Mon")
    assert one.is_same(State(10, '"a"', "Tue")) and not one.is_same(State(10, '"b"', "Mon"))
    assert not one.is_same(State(11, '"a"', "Mon"))
    assert State(10, 'W/"a"', "Mon").is_same(State(10, 'W/"b"', "Mon")) and State(10).is_same(one)
    assert not State(10, "", "Mon").is_same(State(10, 'W/"a"', "Tue"))


def test_troubles_are_counted_up_to_a_bound(monkeypatch):
    unread.begin("a")
    unread.begin("b")
    monkeypatch.setattr(unread, "_MOST", 3)
    for k in range(9):
        unread.note(f"i{k}", "f", "r", failed=k % 2 == 0)
    found = unread.collect("a")
    assert sum(found.values()) == 9
    assert unread.failed_items(found) == {f"i{k}" for k in range(0, 9, 2)}  # none is forgotten
    assert not unread.collect("a")
    assert unread.collect("b") == found  # a run takes nothing from one beside it
    for k in range(99):
        unread.begin(str(k))
    assert len(unread._log.counts) == 16
