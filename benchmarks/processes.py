"""A Dask cluster of separate processes on loopback: one scheduler, some workers, nothing shared but what they open.

Every process starts in an empty directory of its own with an environment that holds no more than it must.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[1]
#: What a process needs of the environment to run at all.
_KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "NUMBA_CACHE_DIR", "SSL_CERT_FILE", "SYSTEMROOT")


def environment(home: Path, **more: str) -> dict[str, str]:
    """A clean environment: a home of its own, this package, one thread for each library."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    libraries = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return {**kept, **libraries, "HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": str(ROOT), **more}


def start(command: list[str], folder: Path, name: str, **more: str) -> subprocess.Popen[bytes]:
    """Start a process in a new directory below `folder`; what it says goes into ``<name>.log`` there."""
    home = folder / name
    home.mkdir(parents=True)
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, *command], cwd=home, env=environment(home, **more), stdout=log, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip


class Cluster:
    """One scheduler and `workers` workers of `threads` threads each, all processes of their own.

    `kill` ends a worker, or the scheduler, as ``kill -9`` does; nothing starts it again but `add`.
    """

    def __init__(self, folder: Path, workers: int = 2, threads: int = 1, **environment: str) -> None:
        self.folder, self.threads, self.environment = folder, threads, environment
        self.workers: list[subprocess.Popen[bytes]] = []
        self._started = 0
        told = folder / "scheduler.json"
        listen = [
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--dashboard-address",
            "127.0.0.1:0",
            "--scheduler-file",
            str(told),
        ]
        listen += ["--idle-timeout", "900"]  # nothing is left behind where whoever started it was killed
        self.scheduler = start(["-m", "dask", "scheduler", *listen], folder, "scheduler", **environment)
        try:
            self.address = _address(told, self.scheduler)
            for _ in range(workers):
                self.add()
        except BaseException:
            self.close()
            raise

    def add(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start one more worker, with these variables besides."""
        self._started += 1
        options = ["--nthreads", str(self.threads), "--no-nanny", "--no-dashboard", "--memory-limit", "0"]
        options += ["--death-timeout", "60"]
        options += ["--preload", "lakecube.store"]  # else the first task of each waits for imports
        command = ["-m", "dask", "worker", self.address, "--host", "127.0.0.1", *options]
        self.workers.append(start(command, self.folder, f"worker-{self._started}", **self.environment, **environment))
        return self.workers[-1]

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a process at once."""
        process.send_signal(signal.SIGKILL)
        process.wait()
        if process in self.workers:
            self.workers.remove(process)

    def close(self) -> None:
        """End what is left of it."""
        for process in [*self.workers, self.scheduler]:
            if process.poll() is None:
                process.kill()
            process.wait()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _address(told: Path, scheduler: subprocess.Popen[bytes], patience: float = 120.0) -> str:
    """Where the scheduler listens, once it does."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if scheduler.poll() is not None:
            raise RuntimeError(
                f"the scheduler ended with {scheduler.returncode}: {told.with_suffix('.log').read_text()}"
            )
        try:
            return str(json.loads(told.read_text())["address"])
        except (FileNotFoundError, ValueError):
            time.sleep(0.05)
    raise TimeoutError("the scheduler does not answer")
