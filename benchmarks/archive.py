"""The archive that pipeline figures are measured on: six dates of 2040² px with nine bands, made once and kept."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np

from lakecube.synthetic import make_archive

#: What both sides read: four bands at 10 m, four at 20 m, one at 60 m (SCL is the quality layer).
BANDS = ("blue", "green", "red", "nir", "rededge1", "swir16", "swir22", "nir09", "scl")


def archive(shape: int = 2040, dates: int = 6) -> Path:
    """The items.json of an archive in the temporary folder; made if it is not there."""
    folder = Path(tempfile.gettempdir()) / f"lakecube-bench-{shape}-{dates}"
    done = folder / "items.json"
    if not done.exists():
        make_archive(folder, shape=(shape, shape), dates=dates, bands=[b for b in BANDS if b != "scl"])
    return done


def repeated(items_path: Path, times: int) -> Path:
    """An ItemCollection that shows the files of another under new names on `times` as many dates."""
    collection = json.loads(items_path.read_text())
    features = []
    for k in range(times):
        for feature in collection["features"]:
            copy = json.loads(json.dumps(feature))
            moved = np.datetime64(copy["properties"]["datetime"].removesuffix("Z")) + np.timedelta64(3 * 365 * k, "D")
            copy["properties"]["datetime"] = f"{moved}Z"
            for name in ("s2:product_uri", "s2:datatake_id", "s2:granule_id"):
                copy["properties"].pop(name, None)
            copy["id"] = f"{feature['id']}_{k}"
            link = items_path.parent / copy["id"]
            if not link.is_symlink():
                link.symlink_to(feature["id"])
            for asset in copy["assets"].values():
                asset["href"] = asset["href"].replace(feature["id"], copy["id"], 1)
            features.append(copy)
    path = items_path.with_name(f"items-x{times}.json")
    path.write_text(json.dumps({**collection, "features": features}))
    return path
