"""The notebooks of `examples/`: clean as they are kept, and they run from their first cell to their last."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from tests.notebooks import cells, run

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
NEEDS_TORCH = ("03", "05")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_clean(path):
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert (kept["nbformat"], kept["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in kept["cells"]}) == len(kept["cells"])
    for cell in kept["cells"]:
        assert set(cell) - {"outputs", "execution_count"} == {"cell_type", "id", "metadata", "source"}
        assert cell["metadata"] == {} and not cell.get("outputs") and cell.get("execution_count") is None
    trees = [ast.parse(source) for source in cells(path)]
    assigned = [node.targets[0] for tree in trees for node in tree.body if isinstance(node, ast.Assign)]
    assert [getattr(name, "id", "") for name in assigned].count("REAL") == 1  # the real archive, beside and off
    assert "REAL = False" in "\n".join(cells(path))


def test_there_are_the_five():
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    if path.stem.startswith(NEEDS_TORCH):
        pytest.importorskip("torch", reason="torch is not installed: pip install -c constraints.txt '.[deep]'")
    done = run(path, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    if path.stem.startswith("04"):
        assert done.stdout.count("True\n") == 2, done.stdout  # both clusters wrote what the threads did
