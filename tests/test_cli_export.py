"""`lakecube export`, `doctor`, `completion`, `-v` and `--json`, from outside."""

from __future__ import annotations

import json
import logging
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import rasterio

import lakecube
from lakecube.arguments import parser
from lakecube.cli import main
from lakecube.commands import helping
from lakecube.models import forward
from tests.store.made import extract


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli-export") / "lake.zarr"
    extract(times=3, rows=24, columns=20).water.to_zarr(path, chunks=32, progress=False)
    return path


@pytest.fixture(autouse=True)
def _logger():
    """The command line takes over the logger of lakecube; other tests want it as it was."""
    logger = logging.getLogger("lakecube")
    before = logger.handlers, logger.propagate, logger.level
    yield
    logger.handlers, logger.propagate = before[:2]
    logger.setLevel(before[2])


def documented():
    """Command lines of README, and of every --help without what is said beside them."""
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^    (lakecube .*)$", readme, re.MULTILINE)
    for command in parser()._subparsers._group_actions[0].choices.values():
        text = re.sub(r" *\\\n *", " ", command.epilog or "")
        lines += [line.split("  ")[0] for line in re.findall(r"^  (lakecube .*)$", text, re.MULTILINE)]
    return sorted(set(lines))


@pytest.mark.parametrize("line", documented())
def test_what_is_documented_is_understood(line):
    words = shlex.split(line.split(" > ")[0], comments=True)
    if "--list-parameters" not in words:
        assert parser().parse_args(words[1:]).command == words[1]


def run(capsys, *words):
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def strict(text):
    """JSON as others read it: NaN is none."""

    def refuse(name):
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


def test_one_file(capsys, store, tmp_path):
    target = tmp_path / "mask.tif"
    code, out, err = run(capsys, "export", store, target, "--product", "mask", "--date", "2019-12-06")
    assert (code, out, err) == (0, f"written  {target}\n", "")
    with rasterio.open(target) as file:
        assert file.tags()["date"] == "2019-12-06"


def test_a_folder(capsys, store, tmp_path):
    words = ("export", store, tmp_path / "web", "--format", "cog", "csv", "--product", "frequency", "mask")
    code, out, _ = run(capsys, *words, "--date", "2019-11", "--date", "2019-12-20/..", "--stac", "--json")
    assert code == 0
    names = ["frequency.tif", "mask-2019-11-20.tif", "mask-2019-12-22.tif", "areas.csv", "collection.json"]
    assert strict(out)["written"] == [str(tmp_path / "web" / name) for name in names]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("m.tif", "--product", "mask"), "there are 3 dates: choose one with --date"),
        (("m.tif", "--product", "mask", "--date", "2018"), "--date 2018 holds no date of these"),
        (("m.tif", "--date", "2019"), "none of these is by date"),
        (("no/where/m.tif",), "does not exist"),
        (("lakes.shp",), "no format has this suffix"),
    ],
)
def test_mistakes_are_one_line(capsys, store, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "export", store, *words)
    assert (code, out) == (2, "")
    assert message in err and err.count("\n") == 1 and err.startswith("lakecube: ")
    assert list(tmp_path.iterdir()) == []


def test_verbose_tells_what_is_done(capsys, store, tmp_path):
    assert run(capsys, "export", store, tmp_path / "f.tif")[2] == ""
    _, _, err = run(capsys, "export", store, tmp_path / "f.tif", "-v")
    assert err == f"lakecube: cog of {tmp_path / 'f.tif'}\n"


@pytest.mark.parametrize("words", [("lakes",), ("lakes", "--lake", "1"), ("info",), ("info", "--dates")])
def test_json_has_no_nan(capsys, store, words):
    name, *options = words
    code, out, _ = run(capsys, name, store, *options, "--json")
    assert code == 0
    assert strict(out)["store"] == str(store)


def test_doctor_tells_what_is_there(capsys, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA-SECRET")
    monkeypatch.setattr(
        helping, "_OPTIONAL", {"no_such_package": ("deep", "the networks"), "pytest": ("test", "tests")}
    )
    monkeypatch.setattr(forward, "gpu_name", lambda: None)
    code, out, _ = run(capsys, "doctor", "--json")
    found = strict(out)
    assert code == 0 and "SECRET" not in out
    assert found["gdal"] == rasterio.__gdal_version__
    assert found["optional"] == {"no_such_package": None, "pytest": pytest.__version__}
    assert found["credentials"]["AWS"] is True and found["credentials"]["Google Cloud"] is False
    assert found["cpu_threads"] >= 1 and found["memory_bytes"] > 1e8 and found["temporary_free_bytes"] > 0


def test_doctor_knows_the_extras_of_the_package():
    """Each optional package is one that its extra installs."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, (extra, _) in helping._OPTIONAL.items():
        wanted = {re.match(r"[\w-]+", text)[0] for text in project["optional-dependencies"][extra]}
        assert helping._DISTRIBUTION.get(name, name) in wanted, (name, extra)


def test_doctor_in_words(capsys, monkeypatch):
    monkeypatch.setattr(forward, "gpu_name", lambda: None)
    monkeypatch.setattr(helping, "_optional", lambda name: None if name == "torch" else "1.0")
    monkeypatch.setenv("AWS_PROFILE", "hidden-profile")
    code, out, _ = run(capsys, "doctor")
    assert code == 0
    assert "torch       not installed; pip install -c constraints.txt '.[deep]' gives the networks" in out
    assert "accounts  AWS" in out and "hidden-profile" not in out
    assert "GPU" not in out


def test_an_address_in_object_storage_stays_one(capsys, store, tmp_path, monkeypatch):
    """pathlib would make s3:/bucket of it."""
    asked, opened = [], lakecube.open_store(store)
    monkeypatch.setattr(lakecube, "open_store", lambda path: asked.append(path) or opened)
    address = "s3://bucket/lake.zarr"
    for words in (("info", address), ("lakes", address), ("export", address, tmp_path / "f.tif")):
        assert run(capsys, *words)[0] == 0
    assert asked == [address] * 3
    assert strict(run(capsys, "info", address, "--json")[1])["size_bytes"] is None


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_every_command_and_parse(capsys, shell, tmp_path):
    code, out, _ = run(capsys, "completion", shell)
    assert code == 0
    assert all(word in out for word in ("extract", "export", "doctor", "cloud-buffer", "product"))
    if shutil.which(shell):
        (tmp_path / "script").write_text(out)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


def test_bash_completes_a_command(capsys, tmp_path):
    bash = shutil.which("bash") or pytest.skip("there is no bash here")
    (tmp_path / "script").write_text(run(capsys, "completion", "bash")[1])
    code = f"""source {tmp_path / "script"}
COMP_WORDS=(lakecube exp); COMP_CWORD=1
_shtab_lakecube lakecube exp lakecube
printf '%s\\n' "${{COMPREPLY[@]}}" """
    done = subprocess.run([bash, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["export"]
