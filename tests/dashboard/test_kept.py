"""Pictures are kept within bytes, the latest used."""

import threading
import time

import numpy as np

from lakecube.dashboard import kept
from lakecube.dashboard.kept import Kept


def test_what_was_used_latest_stays(monkeypatch):
    monkeypatch.setattr(kept, "MOST_BYTES", 250)
    made, pictures = [], Kept()

    def ask(key, size=100):
        return pictures.get(key, lambda: made.append(key) or np.zeros(size, np.uint8))

    for key in ("a", "b", "a", "c", "a", "b"):
        assert ask(key).size == 100
    assert made == ["a", "b", "c", "b"]
    assert ask("large", 1000).size == 1000
    assert ask("large", 1000).size == 1000
    assert made[-1] == "large" and made.count("large") == 1


def test_who_asks_while_it_is_made_waits():
    made, pictures = [], Kept()

    def slowly():
        time.sleep(0.1)
        made.append(1)
        return np.ones(3)

    threads = [threading.Thread(target=pictures.get, args=("a", slowly)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
