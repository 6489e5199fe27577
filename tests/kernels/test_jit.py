"""Machine code on disk: never older than any of the files that it comes from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lakecube.kernels import jit

INNER = "from kernels.jit import jit\n@jit\ndef inner(x):\n    return x + {}\n"
OUTER = "from kernels.jit import jit\nfrom kernels.inner import inner\n@jit\ndef outer(x):\n    return inner(x)\n"
SHOW = "from kernels.outer import outer; print(outer(1), sum(outer.stats.cache_hits.values()))"


def told(folder: Path, code: str = SHOW) -> list[int]:
    environment = os.environ | {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / "cache")}
    run = subprocess.run([sys.executable, "-c", code], env=environment, cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0 or code != SHOW, run.stderr
    return [int(word) for word in run.stdout.split()]


@pytest.fixture
def kernels(tmp_path: Path) -> Path:
    folder = tmp_path / "kernels"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "jit.py").write_text(Path(jit.__file__).read_text())
    (folder / "outer.py").write_text(OUTER)
    return folder


@pytest.mark.skipif(not jit.CACHE, reason="no cache here")
def test_a_change_in_another_file_makes_the_code_anew(kernels: Path) -> None:
    """Even if a process dies while it saves what it has made."""
    dies = (
        "import os; from numba.core.caching import IndexDataCacheFile as F; from kernels.outer import outer\n"
        "F._save_data = lambda *_: os._exit(9)\nouter(1)"
    )
    (kernels / "inner.py").write_text(INNER.format(1))
    assert told(kernels.parent) == [2, 0]
    (kernels / "inner.py").write_text(INNER.format(10))
    assert told(kernels.parent, dies) == []
    assert told(kernels.parent) == [11, 0]
    assert told(kernels.parent) == [11, 1]
