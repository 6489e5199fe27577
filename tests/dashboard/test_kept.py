"""Pictures are kept within bytes, the latest used."""

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
