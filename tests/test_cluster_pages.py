"""The pages on clusters: what can be run here is run; of the rest, the options and names are checked."""

from __future__ import annotations

import ast
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.processes import ROOT, environment
from lakecube.io.files import GDAL_OPTIONS

PAGES = sorted((ROOT / "docs").glob("cluster-*.md"))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    return [shlex.split(line) for block in blocks(page, "bash") for line in block.splitlines()]


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.fixture
def home(archive, tmp_path):
    """A directory with the archive of the page, `items.json`."""
    for name in (archive.items_path.name, *(path.name for path in archive.path.iterdir() if path.is_dir())):
        (tmp_path / name).symlink_to(archive.path / name)
    if archive.items_path.name != "items.json":
        (tmp_path / "items.json").symlink_to(archive.items_path)
    return tmp_path


def test_there_are_pages():
    assert [page.stem for page in PAGES] == ["cluster-kubernetes", "cluster-local", "cluster-slurm"]


@pytest.mark.slow
def test_the_commands_on_the_page_of_one_machine(home, port):
    given = [[word.replace("8786", port) for word in line] for line in commands(ROOT / "docs/cluster-local.md")]
    assert [line[:2] for line in given] == [["dask", "scheduler"], *[["dask", "worker"]] * 2,
                                            ["lakecube", "extract"], ["lakecube", "info"]]  # fmt: skip
    modules = {"dask": "dask", "lakecube": "lakecube.cli"}
    running = []
    try:
        for line in given:
            command = [sys.executable, "-m", modules[line[0]], *line[1:]]
            how = {"cwd": home, "env": environment(home), "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
            if line[0] == "dask":
                extra = ["--dashboard-address", ":0"] if line[1] == "scheduler" else ["--no-dashboard"]
                running.append(subprocess.Popen([*command, *extra], **how | {"stdout": subprocess.DEVNULL}))
                wait_for(port)
            else:
                said = subprocess.run(command, **how, text=True, check=False)
                assert said.returncode == 0, said.stdout
        assert "run 1: write" in said.stdout and "6 read, 0 skipped" in said.stdout
    finally:
        for process in reversed(running):
            process.terminate()  # a nanny ends its worker
        for process in running:
            process.wait(60)


def wait_for(port, patience=120):
    end = time.monotonic() + patience
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                return
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
def test_the_python_on_the_page_of_one_machine(home):
    (script,) = blocks(ROOT / "docs/cluster-local.md", "python")
    (home / "script.py").write_text(script)
    said = subprocess.run(
        [sys.executable, "script.py"], cwd=home, env=environment(home), capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.strip().endswith("3 dates")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_cannot_run_here_is_at_least_well_formed(page):
    from lakecube.arguments import parser

    for script in blocks(page, "python"):
        ast.parse(script)
    for line in commands(page):
        if line[0] == "lakecube":
            assert parser().parse_args(line[1:]).command == line[1]
        else:
            known = subprocess.run(
                [sys.executable, "-m", "dask", "worker" if "worker" in line else "scheduler", "--help"],
                capture_output=True, text=True, check=True,
            ).stdout  # fmt: skip
            ours = line[line.index("dask") :]
            assert not [word for word in ours if word.startswith("--") and word.rstrip(",") not in known]


def test_what_lakecube_sets_for_gdal_is_told_right():
    text = (ROOT / "docs/cluster-local.md").read_text()
    told = dict(re.findall(r"`(GDAL_\w+|VSI_CACHE)` \(([\w]+)\)", text))
    assert told == {name: GDAL_OPTIONS[name] for name in told} and len(told) >= 6


def test_the_environment_has_the_last_word():
    code = "from lakecube.io.files import GDAL_OPTIONS; print(GDAL_OPTIONS['GDAL_HTTP_LOW_SPEED_TIME'])"
    env = environment(ROOT, GDAL_HTTP_LOW_SPEED_TIME="7")
    assert subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True).stdout == "7\n"
