"""The command line, from outside: exit codes, one line per mistake, nothing half-written.

One Python process serves many command lines (`Shell`), because a start costs seconds; what is special about
processes (signals, pipes, the installed script) gets its own.
"""

from __future__ import annotations

import ast
import errno
import json
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

import lakecube
from lakecube.cli import exit_code, main
from lakecube.commands import in_flags
from lakecube.commands.words import PHRASES
from lakecube.errors import InvalidInputError, ReadError, StoreError
from lakecube.kernels.histogram import ThresholdParams
from lakecube.kernels.rules import RuleParams

_SERVER = """
import contextlib, io, json, sys
sys.argv[0] = "lakecube"
from lakecube.cli import main
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(json.loads(line))
        except SystemExit as stop:
            code = stop.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""


@dataclass
class Done:
    code: int
    out: str
    err: str


class Shell:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, *words: object) -> Done:
        self.process.stdin.write(json.dumps([str(w) for w in words]) + "\n")
        self.process.stdin.flush()
        return Done(*json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def shell():
    shell = Shell()
    yield shell
    shell.close()


@pytest.fixture(scope="module")
def stored(shell, archive, tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "s.zarr"
    return path, shell("extract", archive.items_path, "--dem", archive.dem_path, "--out", path)


@pytest.fixture
def copy(archive, tmp_path):
    """An archive that a test may spoil."""
    folder = tmp_path / "copy"
    folder.mkdir()
    shutil.copy(archive.items_path, folder)
    for name in archive.items:
        shutil.copytree(archive.path / name, folder / name)
    return folder


def script() -> str:
    beside = Path(sys.executable).with_name("lakecube")
    return str(beside) if beside.exists() else shutil.which("lakecube") or pytest.skip("lakecube is not installed")


def test_extract_says_what_it_found(stored):
    path, done = stored
    assert done.code == 0, done.err
    store = lakecube.open_store(path)
    assert done.out.startswith(f"lakecube extract: 3 dates of {store.sizes['y']} x {store.sizes['x']} px, into {path}")
    assert "dates     3, 2022-03-01 to 2022-07-09; 6 scenes of sentinel-2-l2a" in done.out
    assert "px of 10 m in EPSG:32648" in done.out
    assert "threshold guarded, rules evidence, every date by itself, cloud buffer 40 m" in done.out
    assert "cloud:" not in done.out
    assert f"{100 * float((store['water_mask'] != 255).mean()):.1f}% of all pixels" in done.out
    assert "unknown" in done.out
    assert "not_acquired" in done.out
    assert f"lakecube info {path}" in done.out
    assert "Traceback" not in done.err


def test_the_same_again_changes_nothing(shell, stored, archive):
    path, first = stored
    before = (path / "zarr.json").stat().st_mtime_ns
    again = shell("extract", archive.items_path, "--dem", archive.dem_path, "--out", path)
    assert again.code == 0
    assert again.out.replace("already complete, nothing written\n", "") == first.out
    assert again.out.splitlines()[1] == "already complete, nothing written"
    assert "already" not in first.out
    assert (path / "zarr.json").stat().st_mtime_ns == before


def test_info_and_json(shell, stored):
    path, _ = stored
    text = shell("info", path, "--dates")
    assert text.code == 0
    assert text.out.count("seen ") >= 4
    found = json.loads(shell("info", path, "--json").out)
    assert found["dates"] == 3
    assert found["items"] == 6
    assert found["seen"] + sum(found["unknown"].values()) == pytest.approx(1)
    assert found["parameters"]["rules"] == "evidence"


def test_plan_takes_the_same_arguments_and_writes_nothing(shell, archive, tmp_path):
    done = shell("plan", archive.items_path, "--dem", archive.dem_path, "--out", tmp_path / "s.zarr", "--chunks", 64)
    assert done.code == 0
    assert "peak memory" in done.out
    assert json.loads(shell("plan", archive.items_path, "--json").out)["dates"] == 3
    assert list(tmp_path.iterdir()) == []


def test_parameters_reach_the_method(shell, archive, tmp_path):
    done = shell(
        "extract", archive.items_path, "--out", tmp_path / "s.zarr", "--rules", "paper", "--threshold",
        "mndwi=0.2,awei_sh=0", "--set", "ndvi_max=0.33", "--datetime", "2022-04", "--query", "eo:cloud_cover<90",
        "--no-cloud-mask", "--json", "--quiet",
    )  # fmt: skip
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["dates"] == 1
    assert found["parameters"]["ndvi_max"] == 0.33
    assert found["parameters"]["threshold"] == {"mndwi": 0.2, "awei_sh": 0}
    assert found["unknown"].get("cloud") is None
    store = lakecube.open_store(tmp_path / "s.zarr")
    assert store["threshold"].values.tolist() == [pytest.approx([0.2, 0.0])]


MISTAKES = {
    "empty search": (["--datetime", "1999"], "2022-03-01"),
    "bbox elsewhere": (["--bbox", 10, 50, 11, 51], "bbox"),
    "bbox swapped": (["--bbox", 26.9, 105.4, 27.0, 105.6], "swapped"),
    "bbox upside down": (["--bbox", 105.4, 27.1, 105.6, 26.9], "south"),
    "bbox west for east": (["--bbox", 105.6, 26.9, 105.4, 27.1], "antimeridian"),
    "wrong datetime": (["--datetime", "soon"], "soon"),
    "dates reversed": (["--datetime", "2022-05/2022-01"], "2022-05"),
    "missing band": (["--bands", "green", "swir61"], "swir61"),
    "too few bands": (["--bands", "blue", "green"], "swir16"),
    "wrong collection": (["--collection", "sentinel-3"], "sentinel-2-l2a"),
    "wrong sensor": (["--sensor", "spot"], "spot"),
    "unknown parameter": (["--set", "ndwi_maximum=1"], "ndwi_maximum"),
    "parameter of another kind": (["--set", "ndvi_max=much"], "ndvi_max"),
    "no value": (["--set", "ndvi_max"], "NAME=VALUE"),
    "unknown rules": (["--rules", "strict"], "strict"),
    "unknown threshold": (["--threshold", "magic"], "magic"),
    "unknown method": (["--method", "magic"], "fusion"),
    "resolution": (["--resolution", -10], "--resolution -10"),
    "chunks": (["--chunks", 0], "--chunks 0"),
    "buffer": (["--cloud-buffer", -1], "--cloud-buffer -1"),
    "offset": (["--offset", "guess"], "guess"),
    "crs": (["--crs", "EPSG:1"], "EPSG:1"),
    "workers": (["--workers", 0], "--workers 0"),
    "dem": (["--dem", "nowhere.tif"], "dem: nowhere.tif: No such file"),
    "option": (["--colection", "x"], "did you mean --collection?"),
    "query": (["--query", "eo:cloud_cover"], "eo:cloud_cover"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(shell, archive, tmp_path, mistake):
    words, says = MISTAKES[mistake]
    done = shell("extract", archive.items_path, "--out", tmp_path / "s.zarr", *words)
    assert done.code == 2, done.err
    assert says in done.err
    assert "Traceback" not in done.err
    assert done.out == ""
    if mistake != "option":
        assert len(done.err.strip().splitlines()) == 1
        assert done.err.startswith("lakecube: ")
    assert list(tmp_path.iterdir()) == []


def test_an_option_of_another_command_is_said_to_be_one(shell):
    done = shell("info", "s.zarr", "--datetime", "2021")
    assert done.code == 2 and "--datetime belongs to other commands: see --help of this one" in done.err


def test_sources_that_are_none(shell, tmp_path):
    (tmp_path / "text.tif").write_text("this is no raster")
    (tmp_path / "broken.json").write_text("{")
    target = tmp_path / "s.zarr"
    for source in ("text.tif", "broken.json", "nothing.json"):
        done = shell("extract", tmp_path / source, "--out", target)
        assert done.code == 2, (source, done.err)
        assert len(done.err.strip().splitlines()) == 1, done.err
        assert done.err.count(source) == 1
        assert "Traceback" not in done.err
    assert not target.exists()


CODES = [
    (InvalidInputError("the request"), None, 2),
    (StoreError("another configuration"), None, 2),
    (StoreError("/x has 0.01 GB free, and this store needs at least 0.02 GB"), None, 1),
    (StoreError("writing stopped"), OSError(errno.ENOSPC, "full"), 1),
    (StoreError("writing stopped"), OSError(errno.EDQUOT, "quota"), 1),
    (StoreError("not writable"), OSError(errno.EACCES, "denied"), 2),
    (ReadError("B03.tif"), None, 1),
]


@pytest.mark.parametrize(("error", "cause", "code"), CODES)
def test_exit_codes(error, cause, code):
    error.__cause__ = cause
    assert exit_code(error) == code


WORDS = {
    "use mode='overwrite'": "use --mode overwrite",
    'use mode="overwrite"': "use --mode overwrite",
    "cut the area (bbox=), or skip (query=)": "cut the area (--bbox), or skip (--query)",
    "crs='EPSG:1' is no CRS": "--crs EPSG:1 is no CRS",
    "resolution=-10.0: above 0": "--resolution -10.0: above 0",
    "chunks=1024.": "--chunks 1024.",
    "give source= again": "give --source again",
    "min_observed=2.0: a share": "--min-observed 2.0: a share",
    "collections=sentinel-2": "--collection sentinel-2",
    "a=1, --bands x=green": "a=1, --bands x=green",
    "tell bands={'2': 'green', '5': 'swir16'}, with": "tell --bands 2=green 5=swir16, with",
    "make the same to_zarr call again": "run the same lakecube extract again",
    "give open() and the store chunks=64": "give --chunks 64",
    "fit(bands, truth, 'rf').save('rf.npz'), and give that file by model=": "fit(bands, truth, 'rf').save('rf.npz'), "
    "and give that file by --model",
    "anew with water.water.to_zarr('a b.zarr', mode='append', retry=True)": "anew with lakecube update 'a b.zarr' "
    "--retry",
}


@pytest.mark.parametrize("python", WORDS)
def test_messages_speak_of_flags(python):
    assert in_flags(python) == WORDS[python]


def test_who_said_channels_is_told_of_channels_but_not_of_names_in_files():
    said = in_flags("open it with bands= that include it, or bands={'B03': 'green'}", channels=True)
    assert said == "open it with --channels that include it, or --bands B03=green"


def test_every_phrase_that_is_put_in_flags_is_in_a_message():
    def texts(node):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        else:
            for child in ast.iter_child_nodes(node):
                yield from texts(child)

    sources = [f for f in Path(lakecube.__file__).parent.rglob("*.py") if f.parent.name != "commands"]
    said = "\n".join(text for file in sources for text in texts(ast.parse(file.read_text())))
    assert [phrase for phrase in PHRASES if phrase not in said] == []


def test_parameters_are_listed(shell):
    done = shell("extract", "--list-parameters")
    assert done.code == 0
    for name, value in [*asdict(RuleParams()).items(), *asdict(ThresholdParams()).items()]:
        assert f"  {name} = {json.dumps(value) if isinstance(value, tuple) else value}" in done.out
    assert "threshold = guarded   (paper: otsu)" in done.out


def test_nobody_looked_for_cloud_and_it_is_said(shell, archive, tmp_path):
    done = shell("extract", archive.items_path, "--out", tmp_path / "s.zarr", "--no-cloud-mask")
    assert done.code == 0, done.err
    assert "cloud:    not checked on 3 of 3 dates (no quality layer)" in done.out
    assert "not checked on 3 of 3 dates" in json.loads(shell("info", tmp_path / "s.zarr", "--json").out)["cloud"]


def test_composites_are_months(shell, archive, tmp_path):
    done = shell("extract", archive.items_path, "--out", tmp_path / "s.zarr", "--composite", "month")
    assert "months    3, 2022-03 to 2022-07;" in done.out
    assert "rule: slope (needs --dem)" in done.out
    one = shell("extract", archive.items_path, "--out", tmp_path / "one.zarr", "--datetime", "2022-04")
    assert "dates     1, 2022-04-20; " in one.out
    assert "best seen" not in one.out


def test_targets_that_cannot_be(shell, archive, stored, tmp_path):
    path, _ = stored
    (tmp_path / "file.zarr").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    for target, says in (
        (tmp_path / "file.zarr", "is a file"),
        (tmp_path / "full", "not a lakecube store"),
        (tmp_path / "no" / "such" / "s.zarr", "does not exist"),
        ("/proc/lakecube.zarr", "/proc"),
    ):
        done = shell("extract", archive.items_path, "--out", target)
        assert done.code == 2, (target, done.err)
        assert says in done.err
        assert "Traceback" not in done.err
    assert (tmp_path / "file.zarr").read_text() == "mine"
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine.txt"]
    before = (path / "zarr.json").read_bytes()
    other = shell("extract", archive.items_path, "--out", path, "--rules", "paper")
    assert other.code == 2
    assert "overwrite" in other.err
    assert (path / "zarr.json").read_bytes() == before


def test_a_corrupt_file_is_read_failed_and_said_once(shell, copy, tmp_path):
    spoiled = next(copy.rglob("*/B11.tif"))
    data = spoiled.read_bytes()
    spoiled.write_bytes(data[: len(data) // 3])
    done = shell("extract", copy / "items.json", "--out", tmp_path / "s.zarr")
    assert done.code == 0, done.err
    assert "read_failed" in done.out
    assert f"read failed: item {spoiled.parent.name}" in done.err
    lines = done.err.strip().splitlines()
    assert len(lines) == len(set(lines))
    assert all(line.startswith("lakecube: warning: ") for line in lines)
    assert not any(".py" in line for line in lines)
    spoiled.write_bytes(data)
    _, *advised = shlex.split(done.err.partition("anew with ")[2].splitlines()[0])
    again = shell(*advised)
    assert again.code == 0 and again.err == ""
    assert again.out.startswith(f"{tmp_path / 's.zarr'}: no new date, 1 read anew, 3 in all")


def test_a_missing_file_is_read_failed(shell, copy, tmp_path):
    gone = next(copy.rglob("*/B03.tif"))
    gone.unlink()
    done = shell("extract", copy / "items.json", "--out", tmp_path / "s.zarr", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["unknown"]["read_failed"] > 0
    assert gone.parent.name in done.err


def test_nothing_readable_is_a_failure(shell, copy, tmp_path):
    for file in copy.rglob("*.tif"):
        file.unlink()
    done = shell("extract", copy / "items.json", "--out", tmp_path / "s.zarr")
    assert done.code == 1
    assert "no scene could be read" in done.err
    assert "Traceback" not in done.err


def test_an_all_cloud_date_is_unknown(shell, tmp_path):
    from lakecube.synthetic import make_archive

    made = make_archive(tmp_path / "a", shape=(64, 64), dates=["2022-07-09"], clouds=0.0, scl_errors=0.0, dem=False)
    import numpy as np
    import rasterio

    (mask,) = [f for f in made.path.rglob("*.tif") if f.stem.lower() == "scl"]
    with rasterio.open(mask, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        file.write(np.full((1, *file.shape), 9, np.uint8))
    done = shell("extract", made.items_path, "--out", tmp_path / "s.zarr", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["seen"] == 0
    assert found["water_km2"]["most"] == 0
    assert found["unknown"]["cloud"] > 0.9


def test_info_of_no_store(shell, tmp_path):
    for place in (tmp_path, tmp_path / "nothing.zarr"):
        done = shell("info", place)
        assert done.code == 2
        assert len(done.err.strip().splitlines()) == 1
    assert f"there is no store at {tmp_path}: the folder is empty" in shell("info", tmp_path).err


def test_help_version_and_nothing(shell):
    assert shell("--version").out == f"lakecube {lakecube.__version__}\n"
    assert shell().code == 2
    module = subprocess.run([sys.executable, "-m", "lakecube", "--version"], capture_output=True, text=True, check=True)
    assert module.stdout == f"lakecube {lakecube.__version__}\n"
    for command in ("extract", "plan", "info", "demo"):
        done = shell(command, "--help")
        assert done.code == 0
        assert "examples:" in done.out


def test_debug_shows_the_traceback(archive):
    done = subprocess.run(
        [script(), "plan", str(archive.items_path), "--datetime", "1999", "--debug"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_closed_pipe_is_no_error(stored):
    path, _ = stored
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([script(), "info", str(path)], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_interrupted_then_again(archive, tmp_path):
    """Ctrl-C in the middle: one line and 130; the same command then finishes, equal to an undisturbed run."""
    target = tmp_path / "s.zarr"
    command = [script(), "extract", str(archive.items_path), "--out", str(target), "--chunks", "16", "--quiet"]
    for _ in range(3):  # on a busy machine this process may sleep while the other comes to its end
        shutil.rmtree(target, ignore_errors=True)
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        until = time.monotonic() + 60
        while not any((target / "water_mask").rglob("c/*")) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        late = process.poll() is not None or (target / "zarr.json").exists()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        if not late:
            break
    assert process.returncode == 130, err
    assert err.strip() == (
        "lakecube: interrupted; what was finished is kept, all but the last wave of blocks, and the same lakecube "
        "extract goes on from there"
    )
    assert out == ""
    assert not (target / "zarr.json").exists()
    told = subprocess.run([script(), "info", str(target)], capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert "is unfinished" in told.stderr
    assert "run the same lakecube extract again" in told.stderr
    again = subprocess.run(command[:-1], check=True, capture_output=True, text=True)
    written = [line for line in again.stdout.splitlines() if line.startswith("resuming: ")]
    assert (f"({written[0].split()[1]} blocks written" in told.stderr) if written else "(0 blocks" in told.stderr
    assert lakecube.open_store(target).sizes["time"] == 3


def test_what_was_written_before_is_said(archive, tmp_path, monkeypatch, capsys):
    from lakecube.store.ledger import Ledger

    target, record, seen = tmp_path / "s.zarr", Ledger.record, []

    def stops(self, stage, name, what):
        record(self, stage, name, what)
        if stage == "observed":
            seen.append([end - begin for begin, end in what["box"]])
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record", stops)
        water = lakecube.open(archive.items_path, chunks=32).water.extract()
        with pytest.raises(KeyboardInterrupt):
            water.water.to_zarr(target, chunks=32, progress=False, wave=8)
    monkeypatch.setattr("lakecube.cli._plain_warnings", lambda verbose: None)  # it is for a process of its own
    words = ["extract", str(archive.items_path), "--out", str(target), "--chunks", "32"]
    done = math.prod(seen[0])
    total = 3 * math.ceil(water.sizes["y"] / 32) * math.ceil(water.sizes["x"] / 32)
    assert 0 < done < total
    assert main(["info", str(target)]) == 2
    assert f"unfinished ({done} blocks written so far)" in capsys.readouterr().err
    assert main(words) == 0
    assert f"resuming: {done} of {total} blocks were already written" in capsys.readouterr().out
    assert main(words) == 0
    assert "already complete, nothing written" in capsys.readouterr().out
