"""Hostile and broken inputs end in a result or a clear refusal: never in a hang, a crash, a wrong success or a leak."""

import pytest

from tests.hostile.judge import Verdict, Watch, WrongError, judged
from tests.hostile.scenes import lay_bait
from tests.hostile.table import judge, table

from lakecube.errors import InvalidInputError  # isort: skip

#: The first test starts one process, which imports everything; kinds that need torch or a store are in the second.
QUICK = ["addresses", "STAC items", "catalogues and APIs", "image bytes", "answers of servers", "searches"]


def _check(found):
    faults = [fault for one in found.values() for fault in one.faults]
    assert not faults, f"{len(faults)} faults:\n" + "\n".join(faults[:12])


def test_some_hostile_inputs():
    found = judge(110, kinds=QUICK)
    _check(found)
    assert all(one.counts["refusal"] and one.counts["result"] for one in found.values())


@pytest.mark.slow
def test_two_thousand_hostile_inputs(capsys):
    pytest.importorskip("torch")
    pytest.importorskip("geopandas")
    found = judge(2200, seed=1)
    with capsys.disabled():
        print(f"\n{table(found)}")
    _check(found)
    assert sum(sum(one.counts.values()) for one in found.values()) >= 2000


def _raise(error):
    raise error


@pytest.mark.parametrize(
    ("run", "fault"),
    [
        (lambda _: _raise(KeyError("x")), "KeyError came through"),
        (lambda _: _raise(WrongError("the numbers are others")), "wrong success"),
        (lambda _: _raise(InvalidInputError("no")), "says too little"),
        (lambda _: _raise(InvalidInputError(f"it holds {int} and not a name")), "shows insides"),
        (lambda _: [0 for _ in iter(int, 1)], "no answer within"),
        (lambda bait: (bait / "secret.txt").read_text() and "read", "opened"),
        (lambda bait: "kingfisher-1847-bait", "the bait shows"),
    ],
    ids=["leak", "wrong", "short", "insides", "hang", "opened", "shown"],
)
def test_the_judge_sees_every_kind_of_fault(tmp_path, monkeypatch, run, fault):
    monkeypatch.setattr("tests.hostile.judge.LIMIT", 0.2)
    bait = lay_bait(tmp_path / "bait")
    verdict = judged(run, bait, Watch(bait))
    assert verdict.outcome == "fault"
    assert fault in verdict.told


def test_the_judge_sees_what_c_code_opens(tmp_path):
    watch = Watch(lay_bait(tmp_path / "bait"))
    if not watch.works():
        pytest.skip("this system has no inotify")
    import rasterio

    verdict = judged(lambda path: rasterio.open(path).close(), str(tmp_path / "bait" / "secret.tif"), watch)
    assert verdict.outcome == "fault"
    assert judged(lambda _: "fine", None, watch) == Verdict("result", "fine")
