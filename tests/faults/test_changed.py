"""A file that is replaced while its date is read: the date is made of one state of it, whoever reads the rest."""

from __future__ import annotations

import gc
import json
import shutil
import warnings

import numpy as np
import pytest

import lakecube
from lakecube.errors import StoreError
from lakecube.io import messages
from lakecube.io.messages import ForRun, Heard, Told, Trouble
from lakecube.io.ranges import CHANGED
from lakecube.io.states import is_other, last_part, name_of, told_state
from lakecube.store.file_states import FileStates, nested, unfinished
from lakecube.store.files import LocalFiles
from lakecube.store.lease import Lease
from lakecube.store.ledger import Ledger
from lakecube.store.unread import Troubles
from tests.faults import made
from tests.faults.server import serve

DATES = made.DATES[:2]
NO_REVISION = {"revise": False}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original")
    return folder, made.archive(folder, DATES, shape=(130, 142))


@pytest.fixture
def archive(original, tmp_path):
    """An archive whose files may be replaced; the item whose file is."""
    shutil.copytree(original[0], tmp_path / "archive")
    return tmp_path / "archive", original[1][0]


@pytest.fixture(params=["http", "local"])
def place(request, archive):
    """Where the archive is read from."""
    if request.param == "local":
        yield str(archive[0])
        return
    with serve(archive[0]) as site:
        yield site.url


@pytest.fixture(scope="module")
def afterwards(original, tmp_path_factory):
    """What an undisturbed run makes of the archive with its file replaced."""
    folder = tmp_path_factory.mktemp("afterwards")
    shutil.copytree(original[0], folder / "archive")
    replace(folder / "archive", original[1][0])
    made.run(str(folder / "archive"), folder / "s", **NO_REVISION)
    return made.by_date(folder / "s")


def replace(folder, item):
    """Put another picture in the place of a green band."""
    new = (folder / item / "B08.tif").read_bytes()
    (folder / item / "new.tif").write_bytes(new)
    (folder / item / "new.tif").replace(folder / item / "B03.tif")


def after_waves(monkeypatch, number, then, stage="observed"):
    """Call a function once when so many waves of a pass are recorded."""
    record, seen = Ledger.record, []

    def recorded(self, name, *args):
        record(self, name, *args)
        seen.append(name)
        if name == stage and seen.count(stage) == number:
            then()

    monkeypatch.setattr(Ledger, "record", recorded)


def stop():
    raise KeyboardInterrupt


def write(place, path, **options):
    """As `made.run`, in waves of two blocks of 64²; warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        water = made.extract(place, chunks=64)
        water.water.to_zarr(path, progress=False, chunks=64, wave=2, revise=False, **options)
    return [str(one.message) for one in caught if "read" in type(one.message).__name__.lower()]


@pytest.mark.parametrize("stage", ["facts", "observed"])
def test_a_stopped_run_goes_on_with_a_file_that_was_replaced(archive, place, afterwards, tmp_path, monkeypatch, stage):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        after_waves(patch, 1, stop, stage)
        write(place, tmp_path / "s")
    replace(*archive)
    assert write(place, tmp_path / "s") == []
    assert made.by_date(tmp_path / "s") == afterwards
    report = made.report(tmp_path / "s")
    assert report["scenes"]["failed"] == [] and CHANGED in report["reads"]["reasons"]
    assert report["reads"]["files"][0]["file"] == "B03.tif"


def test_a_stopped_run_goes_on_with_files_as_they_were(archive, place, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        after_waves(patch, 1, stop)
        write(place, tmp_path / "s")
    assert write(place, tmp_path / "s") == []
    report = made.report(tmp_path / "s")
    assert report["resumed_blocks"] == 2 and report["reads"]["reasons"] == {}


def test_replaced_between_waves_where_another_process_reads_the_rest(archive, place, afterwards, tmp_path, monkeypatch):
    def swapped():
        replace(*archive)
        made.forget()  # as a worker that has read nothing of it

    after_waves(monkeypatch, 2, swapped)
    assert write(place, tmp_path / "s") == []
    assert made.by_date(tmp_path / "s") == afterwards
    assert made.report(tmp_path / "s")["pixels"] == 2 * 130 * 142


def test_servers_that_do_not_agree_cost_a_scene_and_end(archive, place, afterwards, tmp_path, monkeypatch):
    """Another file in every wave, for processes that know of none before: one date is not read, the other as ever."""
    record, file = Ledger.record, archive[0] / archive[1] / "B03.tif"
    two = [(archive[0] / archive[1] / name).read_bytes() for name in ("B03.tif", "B08.tif")]

    def recorded(*args):
        record(*args)
        two.reverse()
        file.write_bytes(two[0])
        made.forget()

    monkeypatch.setattr(Ledger, "record", recorded)
    (told,) = write(place, tmp_path / "s")
    assert DATES[0] in told and DATES[1] not in told
    mine = made.by_date(tmp_path / "s")
    assert made.unread(tmp_path / "s").keys() == {DATES[0]} and mine[DATES[1]] == afterwards[DATES[1]]
    monkeypatch.undo()
    assert (lakecube.open_store(tmp_path / "s").water_mask[0] == 255).all()
    file.write_bytes(two[1])
    assert write(place, tmp_path / "s", mode="append", retry=True) == []  # at rest again


def test_records_that_contradict_each_other_are_forgotten_with_all_that_share_one(tmp_path):
    ledger = Ledger(LocalFiles(tmp_path))
    of = {state: nested([("i", "f", state), ("i", "g", "7--")]) for state in ("1--", "2--")}
    waves = {"a": ([0, 1], "1--"), "b": ([1, 2], "2--"), "c": ([2, 3], None), "d": ([4, 5], None)}
    for name, (rows, state) in waves.items():
        ledger.record("facts", name, {"rows": rows, "states": of.get(state, {})})
    last = {"states": nested([("k", "h", "5--")])}
    ledger.record("observed", "x", {"box": [[3, 4], [0, 1], [0, 1]]})
    ledger.record("observed", "y", {"box": [[4, 5], [0, 1], [0, 2]], **last})
    ledger.record("observed", "z", {"box": [[5, 6], [0, 1], [0, 1]], "states": nested([("k", "l", "6--")])})
    left, records = unfinished(ledger, blocks=2)
    assert records == {stage: ledger.done(stage) for stage in ("facts", "observed")}
    assert [record["rows"] for record in ledger.done("facts")] == [[4, 5]]
    assert sorted(record["box"][0] for record in ledger.done("observed")) == [[4, 5], [5, 6]]
    assert left._known == {("k", "l"): {"6--"}} and not left.changed  # what is finished is not held


def test_states_are_compared_as_within_a_process():
    states = FileStates()
    states.add([("i", "f", "a-11-99"), ("i", "f", "a-11-"), ("i", "f", "a--99"), ("j", "g", "a--")])
    assert not states.changed  # the same strong ETag; without one the date speaks; without any the length
    states.add([("k", "f", "a-22-99"), ("k", "g", "b--")])  # of another item: read at another time
    assert not states.changed
    states.add([("i", "f", "a-22-99"), ("j", "g", "b--")])
    assert states.changed == {("i", "f"), ("j", "g")}
    assert not is_other("a--", "a-1-2")


def test_two_files_of_one_name_have_two_names():
    names = {name_of(f"https://a.example/{folder}/B02.jp2") for folder in ("R10m", "R20m")}
    assert len(names) == 2 and {last_part(name) for name in names} == {"B02.jp2"}


def test_a_local_file_that_changes_as_it_is_read_tells_both_states(tmp_path):
    file, heard = tmp_path / "a.tif", Heard()
    file.write_text("a")

    def read():
        with told_state("i", str(file)):
            file.write_text("longer")

    ForRun(read, heard.run)()
    assert sorted(state.split("-")[0] for _, _, state in heard.take().states) == ["1", "6"]


def test_any_number_of_runs_hear_their_own_and_leave_nothing():
    runs = [Heard() for _ in range(40)]

    def task(k):
        messages.note(f"i{k}", "f", "r", failed=k % 2 == 0)
        messages.decoded(k)
        return -k

    assert [ForRun(task, heard.run)(k) for k, heard in enumerate(runs)] == [-k for k in range(40)]
    messages.note("outside", "f", "r", failed=True)  # of no task
    for k, heard in enumerate(runs):
        assert heard.take() == Told({Trouble(f"i{k}", "f", "r", k % 2 == 0): 1}, set(), k)
        assert heard.take() == Told()
    open_before = len(messages._open)
    del runs, heard
    gc.collect()
    assert len(messages._open) <= open_before - 40


def test_what_a_task_met_is_told_though_it_failed_and_once_by_many_clients():
    heard = Heard()

    def broken():
        messages.note("i", "f", "r", failed=False)
        raise ValueError

    with pytest.raises(ValueError):
        ForRun(broken, heard.run)()
    heard.ear = "one"
    plain = json.loads(json.dumps(Told({Trouble("i", "f", "r", True): 2}, {("i", "f", "1--")}, 5).plain()))
    for ear in ("one", "two"):
        messages.hear(ear, (0.0, [heard.run, *plain]))
    messages.hear("one", (0.0, ["a run that is over", *plain]))
    told = heard.take()
    assert told.troubles == {Trouble("i", "f", "r", False): 1, Trouble("i", "f", "r", True): 2}
    assert told.states == {("i", "f", "1--")} and told.imagery == 5


def test_a_forked_process_does_not_tell_its_copy_of_the_run():
    heard = Heard()
    heard.process += 1  # as in a fork: the same memory, another number
    ForRun(lambda: messages.decoded(3), heard.run)()
    assert heard.take() == Told()


def test_troubles_are_counted_up_to_a_bound(monkeypatch):
    monkeypatch.setattr(messages, "_MOST", 3)
    heard = Heard()
    for k in range(9):
        heard.add(Told({Trouble(f"i{k}", "f", "r", k % 2 == 0): 1}))
    found = heard.take().troubles
    assert sum(found.values()) == 9
    assert messages.failed_items(found) == {f"i{k}" for k in range(0, 9, 2)}  # none is forgotten


def test_the_offset_is_audited_on_the_file_that_was_read(archive, tmp_path, monkeypatch):
    """The audit comes last: of a file that is another by then it says nothing, and the date is named."""
    import lakecube.store.transaction as transaction

    lazy = transaction._lazy_items

    def late(*args):
        replace(*archive)
        made.forget()
        return lazy(*args)

    monkeypatch.setattr(transaction, "_lazy_items", late)
    new = (archive[0] / archive[1] / "B03.tif").read_bytes()
    monkeypatch.setitem(globals(), "replace", lambda folder, item: (folder / item / "B08.tif").write_bytes(new))
    (told,) = write(str(archive[0]), tmp_path / "s")
    assert DATES[0] in told and DATES[1] not in told and "audit" in told
    assert np.isin(made.report(tmp_path / "s")["scenes"]["failed"], archive[1]).all()


def test_what_shares_a_record_with_dates_made_anew_is_not_lost(tmp_path):
    """A stopped run of more workers found the thresholds of dates that the one that goes on comes to later."""
    files = LocalFiles(tmp_path)
    ledger = Ledger(files)
    states = nested([("b", "f", "1--")])
    for first, item in ((0, "a"), (1, "b"), (3, "c")):
        ledger.record("facts", str(first), {"rows": [first, first + 1], "unread": [item], "states": states})
    with Lease(files) as lease:
        troubles = Troubles()
        troubles._files, _ = unfinished(ledger, 1)
        troubles.heard.add(Told(states={("b", "f", "2--")}))
        ledger.record("observed", "x", {"box": [[1, 2], [0, 1], [0, 1]], **troubles.gather()})
        assert troubles.start_anew((1, 2), ledger, lease) == {1, 2}
        assert troubles.items == {"a", "c"}  # the pixels of date 0 stay, what is unread of 2 will be seen again
        assert [record["rows"] for record in ledger.done("facts")] == [[3, 4]] and ledger.done("observed") == []
        assert troubles.start_anew((1, 2), ledger, lease) == set()


RECORDS = [
    ("observed", {"states": [1]}), ("observed", {"states": {"i": {"f": "1-2"}}}), ("observed", {"box": 3}),
    ("observed", {"box": [[0, 99], [0, 1], [0, 1]]}), ("observed", {"unread": 3}), ("observed", {"failed": {"a": 1}}),
    ("facts", {"rows": [77]}), ("facts", {"rows": [-1]}), ("facts", {"rows": []}), ("facts", {"values": {}}),
]  # fmt: skip


def test_records_that_were_edited_are_refused_in_words(archive, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        after_waves(patch, 1, stop)
        write(str(archive[0]), tmp_path / "s")
    for stage, change in RECORDS:
        file = next((tmp_path / f"s/_ledger/pending/{stage}").glob("*.json"))
        before = file.read_text()
        file.write_text(json.dumps(json.loads(before) | change))
        with pytest.raises(StoreError, match="tell of an unfinished write what cannot be"):
            write(str(archive[0]), tmp_path / "s")
        file.write_text(before)
    assert write(str(archive[0]), tmp_path / "s") == []
