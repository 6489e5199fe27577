"""The report of a run: scenes, thresholds, weights, time and bytes of every stage, as JSON and for a reader."""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor

import dask
import numpy as np
import pytest

import lakecube
from lakecube.cli import main
from lakecube.commands.reporting import run_lines, runs_of
from lakecube.io.raw_cache import RAW
from lakecube.store import run_facts, to_zarr
from lakecube.store.contents import survey
from lakecube.store.files import LocalFiles
from lakecube.store.ledger import Ledger
from lakecube.store.report import Pace
from lakecube.store.told import ReadFailedWarning
from tests.store.made import extract


def reports(path):
    return [json.loads((path / f"_runs/{n}.json").read_text()) for n in range(len(list((path / "_runs").iterdir())))]


def test_what_a_run_on_files_reports(archive, tmp_path, capsys):
    RAW.clear()
    how = {"dem": str(archive.dem_path), "chunks": 64}
    early = lakecube.open(str(archive.items_path), datetime="2022-03/2022-05", **how)
    store = early.water.extract().water.to_zarr(tmp_path / "s", chunks=64, progress=False)
    late = lakecube.open(str(archive.items_path), **how)
    late.water.extract().water.to_zarr(tmp_path / "s", mode="append", progress=False)
    first, second = reports(tmp_path / "s")
    assert first["scenes"] == {"given": 4, "read": 4, "skipped": 0, "failed": []}  # two scenes on each date
    assert second["scenes"] == {"given": 6, "read": 2, "skipped": 4, "failed": []}
    assert list(first["thresholds"]) == [str(t)[:10] for t in store.time.values] and len(second["thresholds"]) == 1
    for t, found in enumerate(first["thresholds"].values()):
        assert [np.float32(found[name]["value"]) for name in ("mndwi", "awei_sh")] == store.threshold[t].values.tolist()
    assert first["method"] == "fusion" and first["weights"] is None and first["parameters"]["rules"] == "evidence"
    stages = first["passes"]
    assert all(stage["seconds"] >= 0 for stage in stages.values())
    rows = [tmp_path / "s" / name / "c" / row for name in ("water_mask", "reason", "rules_fired") for row in "01"]
    on_disk = sum(file.stat().st_size for row in rows for file in row.rglob("*") if file.is_file())
    assert stages["observed"]["bytes_written"] == on_disk > 0
    assert stages["observed"]["bytes_imagery"] > 100_000 and stages["counts"]["bytes_read"] > 0
    assert stages["fields"]["bytes_written"] > 0 and "bytes_imagery" not in stages["counts"]
    assert first["bytes_written"] == sum(stage.get("bytes_written", 0) for stage in stages.values())

    assert main(["info", str(tmp_path / "s"), "--runs"]) == 0
    told = capsys.readouterr().out
    assert "run 1: write, " in told and "run 2: append, " in told
    assert "scenes    2 read, 4 skipped (stored before), 0 not read in full" in told
    assert "threshold 2022-03-01  mndwi " in told and "observed " in told
    assert main(["info", str(tmp_path / "s"), "--runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == [first, second]


def test_runs_side_by_side_tell_their_own_bytes(tmp_path):
    sizes = {"few": (2, 24), "many": (5, 64)}
    waters = {name: extract(times=n, rows=side, columns=side, chunks=(1, 8, 8)) for name, (n, side) in sizes.items()}
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(to_zarr, w, tmp_path / name, chunks=8, revise=False) for name, w in waters.items()]
        assert all(run.result() for run in runs)
    for name, water in waters.items():
        files = [f for v in water.data_vars if water[v].ndim == 3 for f in (tmp_path / name / v / "c").rglob("*")]
        told = reports(tmp_path / name)[0]["passes"]["observed"]["bytes_written"]
        assert told == sum(file.stat().st_size for file in files if file.is_file()) > 0


def test_runs_side_by_side_tell_their_own_imagery(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(RAW, "capacity", 0)  # every read decodes

    def imagery(name, datetime):
        water = lakecube.open(str(archive.items_path), datetime=datetime, chunks=64).water.extract()
        to_zarr(water, tmp_path / name, chunks=64, revise=False, progress=False)
        return reports(tmp_path / name)[0]["passes"]["observed"]["bytes_imagery"]

    asked = {"one": "2022-07", "two": "2022-03/2022-05"}
    alone = [imagery(f"{name} alone", datetime) for name, datetime in asked.items()]
    with ThreadPoolExecutor() as pool:
        assert list(pool.map(imagery, asked.keys(), asked.values())) == alone
    assert 0 < alone[0] < alone[1]


def test_scenes_that_could_not_be_read_are_named(archive, tmp_path):
    items = json.loads(archive.items_path.read_text())
    for item in items["features"]:
        for asset in item["assets"].values():
            asset["href"] = str((archive.items_path.parent / asset["href"]).resolve())
    broken = items["features"][0]
    broken["assets"]["green"]["href"] += ".gone"
    (tmp_path / "items.json").write_text(json.dumps(items))
    water = lakecube.open(str(tmp_path / "items.json"), chunks=64).water.extract()
    with pytest.warns(ReadFailedWarning):
        to_zarr(water, tmp_path / "s", chunks=64, progress=False)
    (run,) = reports(tmp_path / "s")
    assert run["scenes"]["failed"] == [broken["id"]]  # its date has another, which was read
    assert any(line.endswith(broken["id"]) for line in run_lines(1, run))


def test_more_than_ten_runs_stay_in_order(tmp_path):
    ledger = Ledger(LocalFiles(tmp_path))
    for n in range(12):
        ledger.report({"number": n})
    assert [run["number"] for run in ledger.reports()] == [run["number"] for run in reports(tmp_path)] == [*range(12)]
    assert ledger.reports() == runs_of(str(tmp_path))


def test_the_speed_of_a_run_is_that_without_its_start():
    pace = Pace()
    for pixels, threads, seconds in ((900, 1, 60.0), (0, 4, 5.0), (900, 2, 3.0), (300, 4, 1.5)):
        pace.add(pixels, threads, seconds)
    water = extract(times=2, rows=8, columns=8)
    of_dates = run_facts.pace(pace, survey(water), (0, 1))
    assert of_dates == {"threads": 4, "speed": 100}
    days = np.arange("2022-03-01", "2022-03-05", dtype="datetime64[D]").astype("datetime64[ns]")
    months = dataclasses.replace(survey(water), water=water.assign_coords(item_date=("item", days)))
    assert run_facts.pace(pace, months, (0, 1))["speed"] == 200  # all dates of a month count


def test_the_report_tells_threads_and_speed_to_plan_with(archive, tmp_path, capsys):
    with dask.config.set(num_workers=2):
        cube = lakecube.open(str(archive.items_path), chunks=64)
        cube.water.extract().water.to_zarr(tmp_path / "s", chunks=64, wave=4, progress=False)
        to_zarr(extract(times=1), tmp_path / "t", progress=False)
    (told,), (short,) = reports(tmp_path / "s"), reports(tmp_path / "t")
    assert told["threads"] == 2 and told["speed"] > 0
    assert short["speed"] is None  # over with its start
    line = next(line for line in run_lines(1, told) if "threads" in line)
    assert f"2, {told['speed']:,} pixels per second each (lakecube plan --speed" in line
    assert any("too few dates to tell their speed" in line for line in run_lines(1, short))
    given = line.partition("--speed ")[2].rstrip(")")
    assert main(["plan", str(archive.items_path), "--speed", given]) == 0
    assert f"{float(given) / 1e6:g} million pixels per second and core" in capsys.readouterr().out
