"""``python -m benchmarks.restoration [--seeds 11 12 13] [--size 240] [--dates 60]``: what restoration is worth.

A synthetic archive of lakes with seasons and trends under the weather of a rainy season is written, opened and
extracted by `fusion`. Then

* hidden on purpose: clouds of other dates are laid over dates that are nearly clear, a third of them at a time, and
  every method restores the archive as a user would have it. What was hidden on purpose is known, and scored by the
  cloud cover of the donor: pixels of lakes and 2 px around them, the whole scene, and the area of each lake;
* as it is: the 90 % intervals of the areas of all lakes on all dates, calibrated as a revision does it, against the
  extraction of the same archive without a cloud, and against the true area of each lake;
* real: floods of `places`, 4 or 5 dates each, under clouds of the synthetic sky.

Parameters were chosen on seeds 1 and 2. Compare methods within one run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from scipy import ndimage

import lakecube
from benchmarks import real_scenes as real
from lakecube.kernels import heights, intervals, levels, relation, shore
from lakecube.kernels import restore as decide
from lakecube.kernels.counts import count_states
from lakecube.series.lake_levels import MIN_VISIBLE
from lakecube.series.restore import MIN_FREQUENCY, MIN_PIXELS, SHORE, restore
from lakecube.synthetic import make_archive
from lakecube.synthetic.scene import CLOUD_OPACITY, SHADOW_OPACITY
from lakecube.synthetic.sky import make_sky

METHODS = ("frequency", "forest", "lake")
#: Cloud cover of the donor, per cent.
CLASSES = {"< 30": (0.05, 0.3), "30-60": (0.3, 0.6), "> 60": (0.6, 1.0)}
FOLDS = 3
NEARLY_CLEAR = 0.3
BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")


def weather(dates: np.ndarray) -> list[float]:
    """Cloud cover of each date: evenly spread, heavier from May to September, rarely none in the rainy season."""
    index = np.arange(len(dates))
    month = dates.astype("datetime64[M]").astype(int) % 12 + 1
    rain = 0.5 + 0.5 * np.sin(2 * np.pi * (month - 4) / 12)
    chance, size = (index * 0.6180339887) % 1, (index * 0.7548776662) % 1
    cover = 0.05 + 0.9 * size * (0.4 + 0.6 * rain)
    return np.where(chance < 0.3 - 0.2 * rain, 0.0, cover).tolist()


@dataclass(frozen=True)
class Case:
    """Masks of one archive: as seen, as it would be seen without clouds, and the truth; (time, y, x)."""

    mask: xr.DataArray
    cloudless: np.ndarray
    water: np.ndarray
    lake_id: np.ndarray
    elevation: np.ndarray

    @property
    def hidden(self) -> np.ndarray:
        """Hidden share of the scene, by date."""
        return (self.mask.values > 1).mean(axis=(1, 2))


def synthetic(seed: int, size: int, dates: int, step: int = 12) -> Case:
    """One archive through `open` and `extract`, and its twin without clouds."""
    days = np.datetime64("2022-01-10") + np.arange(dates) * np.timedelta64(step, "D")
    masks = []
    for clouds in (weather(days), 0.0):
        with tempfile.TemporaryDirectory() as folder:
            archive = make_archive(
                folder, shape=(size, size), dates=list(days), seed=seed, clouds=clouds, haze=0.0, missing=0.0,
                bands=BANDS,
            )  # fmt: skip
            cube = lakecube.open(str(archive.items_path), dem=str(archive.dem_path), resolution=10)
            masks.append(cube.water.extract()["water_mask"].compute())
            elevation = cube["elevation"].values
    truth = archive.truth
    return Case(masks[0], masks[1].values, truth["water"].values, truth["lake_id"].values, elevation)


def lakes_of(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Counts, and lakes as `restore` finds them: numbers (y, x), -1 outside, and how many."""
    wet, clear = count_states(mask)
    labels, n = ndimage.label((wet > 0) & (wet >= MIN_FREQUENCY * clear), np.ones((3, 3)))
    large = np.bincount(labels.ravel(), minlength=n + 1) >= MIN_PIXELS
    grown = shore.grow_lakes(np.where(large[labels], labels, 0).astype(np.int64), SHORE)
    known, numbers = np.unique(grown, return_inverse=True)
    return wet, clear, (numbers.reshape(labels.shape) - 1).astype(np.int32), known.size - 1


# --- hidden on purpose -----------------------------------------------------------------------------------------------


def overlaid(mask: np.ndarray, hidden: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Class, mask with some dates under clouds of others, and those dates; donors by index arithmetic."""
    clear = np.flatnonzero(hidden <= NEARLY_CLEAR)
    for name, (low, high) in CLASSES.items():
        donors = np.flatnonzero((hidden > low) & (hidden <= high))
        for fold in range(FOLDS):
            dates = clear[fold::FOLDS]
            chosen = [donors[donors != t] for t in dates]
            if not len(dates) or any(c.size == 0 for c in chosen):
                continue
            over = mask.copy()
            for i, (t, c) in enumerate(zip(dates, chosen, strict=True)):
                u = c[(7 * i + 3 * fold) % c.size]
                over[t] = np.where(mask[u] > 1, 255, mask[t])
            yield name, over, dates


def score(truth: np.ndarray, found: np.ndarray, asked: np.ndarray, lakes: np.ndarray, n: int) -> dict[str, Any]:
    """Counts of right and wrong pixels where `asked`; undecided ones are land. Areas lake by lake, in pixels."""
    water = found == 1
    inside = asked & (lakes >= 0)
    by_lake = [
        np.stack([np.bincount(lakes[m], minlength=n) for m in day])
        for day in zip(inside, inside & (truth == 1), inside & water, (truth == 1) & (lakes >= 0), strict=True)
    ]
    return {
        "right": int(((truth == 1) == water)[inside].sum()), "of": int(inside.sum()),
        "right_scene": int(((truth == 1) == water)[asked].sum()), "of_scene": int(asked.sum()),
        "tp": int((asked & water & (truth == 1)).sum()), "fp": int((asked & water & (truth == 0)).sum()),
        "fn": int((asked & ~water & (truth == 1)).sum()),
        "lakes": np.array(by_lake, dtype=np.int64).transpose(0, 2, 1).reshape(-1, 4),
    }  # fmt: skip


def hide_and_restore(case: Case, methods: tuple[str, ...] = METHODS) -> list[tuple[str, str, dict]]:
    """(method, class, score) of every fold."""
    mask = case.mask.values
    _, _, lakes, n = lakes_of(mask)
    out = []
    for name, over, dates in overlaid(mask, case.hidden):
        asked = (over[dates] > 1) & (mask[dates] <= 1)
        water = case.mask.copy(data=over).chunk({"time": 10}).to_dataset(name="water_mask")
        water["elevation"] = (("y", "x"), case.elevation)
        for method in methods:
            found = restore(water, method).isel(time=dates).values
            out.append((method, name, score(mask[dates], found, asked, lakes, n)))
        nothing = np.zeros_like(over[dates])
        out.append(("none", name, score(mask[dates], nothing, asked, lakes, n)))
    return out


def summary(scores: list[dict]) -> dict[str, float]:
    """Percentages over all folds and seeds."""
    total = {k: sum(s[k] for s in scores) for k in scores[0] if k != "lakes"}
    asked, true, found, whole = np.concatenate([s["lakes"] for s in scores]).T
    there = (asked > 0) & (whole >= 50)
    error = (found - true)[there] / whole[there]
    return {
        "accuracy, lakes": 100 * total["right"] / total["of"],
        "accuracy, scene": 100 * total["right_scene"] / total["of_scene"],
        "precision": 100 * total["tp"] / max(total["tp"] + total["fp"], 1),
        "recall": 100 * total["tp"] / max(total["tp"] + total["fn"], 1),
        "F1": 200 * total["tp"] / max(2 * total["tp"] + total["fp"] + total["fn"], 1),
        "area error": 100 * float(np.abs(error).mean()), "area bias": 100 * float(error.mean()),
        "pixels": total["of"],
    }  # fmt: skip


# --- as it is: intervals of the areas --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Revision:
    """What a revision knows of the lakes of one archive, on whole arrays."""

    shores: np.ndarray
    scene: np.ndarray
    lakes: decide.Restoration
    heights: heights.Heights


def revise(case: Case) -> tuple[Revision, tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
    """Count, decide, sort by height, count and decide again."""
    states, days = case.mask.values, case.mask["time"].values.astype("datetime64[D]").astype(np.int64)
    wet, clear, numbers, n = place = lakes_of(states)
    table = shore.count_shore(states, wet, clear, numbers, n)
    scene = relation.relation_by_date(table.sum(axis=1, dtype=np.int64), MIN_VISIBLE)
    first = decide.decide_lakes(table[:, :n], scene, days)
    level = levels.level_numbers(first.levels)
    row = heights.index_shore(wet, clear, numbers, (first.source != levels.SCENE).all(axis=0))
    known = heights.Heights(row, heights.count_levels(states, level, numbers, row), level)
    table = shore.count_shore(states, wet, clear, numbers, n, known)[:, :n]
    return Revision(table, scene, decide.decide_lakes(table, scene, days), known), place


def calibrate(case: Case, found: Revision, place: tuple, limit: int = 960, at_once: int = 60) -> np.ndarray:
    """Quantiles of the error, from dates under the clouds of other dates."""
    states, (wet, clear, numbers, n) = case.mask.values, place
    extent = np.bincount(numbers[numbers >= 0], minlength=n)
    whole = found.shores[..., :2].sum(axis=(2, 3)) >= 0.9 * extent
    counts = np.zeros((intervals.N_CLASSES, intervals.STEPS), np.int64)
    pairs = intervals.pseudo_dates(len(states), limit)
    for start in range(0, len(pairs), at_once):
        date, donor = pairs[start : start + at_once].T
        known = found.heights._replace(levels=found.heights.levels[date])
        under = shore.count_shore_under(states[date], states[donor], wet, clear, numbers, n, known)[:, :n]
        there = decide.decide_under(under, found.lakes.linked[date], found.lakes.source[date], found.scene[date])
        hidden = under[..., 2].astype(np.int64) + under[..., 3]
        spread = intervals.spread_of_hidden(there.levels, hidden)
        true, restored = under[..., 3].sum(axis=2, dtype=np.int64), (hidden * there.decisions).sum(axis=2)
        classes = intervals.error_class(hidden.sum(axis=2), extent)
        counts += intervals.count_errors(true, restored, spread, classes, whole[date] & (hidden.sum(axis=2) > 0))
    return intervals.error_quantiles(counts)


def by_lake(states: np.ndarray, numbers: np.ndarray, n: int, value: int) -> np.ndarray:
    """Pixels of each lake on each date that have a value: (time, lake)."""
    return np.stack([np.bincount(numbers[(numbers >= 0) & (day == value)], minlength=n) for day in states])


def areas(case: Case) -> dict[str, np.ndarray]:
    """Of every lake and date of which something is hidden: areas in pixels, limits, and the hidden share."""
    found, place = revise(case)
    numbers, n = place[2:]
    quantiles = calibrate(case, found, place)
    extent = np.bincount(numbers[numbers >= 0], minlength=n)
    hidden = found.shores[..., 2].astype(np.int64)
    restored = (hidden * found.lakes.decisions).sum(axis=2)
    spread = intervals.spread_of_hidden(found.lakes.levels, hidden)
    n_hidden = hidden.sum(axis=2)
    classes = intervals.error_class(n_hidden, extent)
    low, high = intervals.hidden_interval(restored, n_hidden, spread, classes, quantiles)
    seen = found.shores[..., 1].sum(axis=2, dtype=np.int64)
    real_lakes = np.array([(case.lake_id[numbers == k] > 0).mean() > 0.5 for k in range(n)])
    table = {
        "low": seen + low, "high": seen + high, "observed": seen, "restored": seen + restored,
        "lifted": seen + by_lake(np.where(case.mask.values > 1, case.cloudless, 0), numbers, n, 1),
        "cloudless": by_lake(case.cloudless, numbers, n, 1), "unknown": by_lake(case.cloudless, numbers, n, 255),
        "true": by_lake(case.water, numbers, n, 1), "share": n_hidden / extent,
        "real": np.broadcast_to(real_lakes, seen.shape),
    }  # fmt: skip
    return {name: values[n_hidden > 0] for name, values in table.items()}


def coverage(table: dict[str, np.ndarray]) -> dict[str, float]:
    """How often the interval holds the area, how wide it is, and the errors with and without restoration.

    Of three areas: with what clouds hid as the cloudless extraction has it; the cloudless extraction throughout, which
    differs from it where haze beside a cloud misled the extraction; and the true area of the lakes that are real.
    """
    inside = {k: (table[k] >= table["low"]) & (table[k] <= table["high"]) for k in ("lifted", "cloudless", "true")}
    large = table["cloudless"] >= 50
    scale = np.maximum(table["cloudless"], 1)
    error = {name: np.abs(table[name] - table["cloudless"]) / scale for name in ("observed", "restored")}
    return {
        "lakes × dates": int(table["low"].size), "coverage, hidden": 100 * float(inside["lifted"].mean()),
        "coverage": 100 * float(inside["cloudless"].mean()),
        "width, median": 100 * float(np.median(((table["high"] - table["low"]) / scale)[large])),
        "error, observed": 100 * float(error["observed"][large].mean()),
        "error, restored": 100 * float(error["restored"][large].mean()),
        "coverage, true area": 100 * float(inside["true"][table["real"]].mean()) if table["real"].any() else np.nan,
    }  # fmt: skip


# --- real floods -----------------------------------------------------------------------------------------------------


def floods(least_dates: int = 4) -> Iterator[Case]:
    """`places` with at least so many dates: water and clouds as Fmask says."""
    by_place: dict[str, list[Any]] = {}
    for scene in real.places():
        by_place.setdefault(scene.name.split("/")[0], []).append(scene)
    for scenes in by_place.values():
        if len(scenes) < least_dates:
            continue
        states = np.stack([np.where(s.observation == 0, s.reference, 255).astype(np.uint8) for s in scenes])
        time = np.array([s.name.split("/")[1] for s in scenes], "datetime64[ns]")
        mask = xr.DataArray(states, dims=("time", "y", "x"), coords={"time": time})
        zero = np.zeros(states.shape[1:], np.float32)
        yield Case(mask, states, states, zero.astype(int), zero)


def cloud_over_floods(case: Case, seed: int) -> Iterator[tuple[str, str, dict]]:
    """As `hide_and_restore`, one date at a time, under a synthetic sky."""
    mask = case.mask.values
    _, _, lakes, n = lakes_of(mask)
    for t in range(len(mask)):
        for k, (name, (low, high)) in enumerate(CLASSES.items()):
            sky = make_sky(case.elevation, (seed, 10 * t + k), (150.0, 45.0), (low + high) / 2, 0.0)
            over = mask.copy()
            over[t][(sky.cloud > CLOUD_OPACITY) | (sky.shadow > SHADOW_OPACITY)] = 255
            asked = ((over > 1) & (mask <= 1))[t : t + 1]
            for method in METHODS:
                found = restore(case.mask.copy(data=over), method).values[t : t + 1]
                yield method, name, score(mask[t : t + 1], found, asked, lakes, n)


# --- print -----------------------------------------------------------------------------------------------------------


def table_of(scores: list[tuple[str, str, dict]]) -> dict[str, dict[str, dict[str, float]]]:
    """Summaries by method and class."""
    methods = dict.fromkeys(method for method, _, _ in scores)
    return {
        m: {c: summary(s) for c in CLASSES if (s := [v for a, b, v in scores if (a, b) == (m, c)])} for m in methods
    }


def show(title: str, found: dict[str, dict[str, dict[str, float]]]) -> None:
    print(f"\n{title}\n")
    for name, rows in found.items():
        for cloud, row in rows.items():
            print(f"  {name:<10} {cloud:>6} %  " + "  ".join(f"{k} {v:.2f}" for k, v in row.items()))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.restoration", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--size", type=int, default=240, help="pixels along y and x")
    parser.add_argument("--dates", type=int, default=60)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/restoration.json"), help="where to write")
    arguments = parser.parse_args()
    cases = [synthetic(seed, arguments.size, arguments.dates) for seed in arguments.seeds]
    print(f"hidden share of the scenes: {[round(float(c.hidden.mean()), 2) for c in cases]}")
    found = {"hidden on purpose": table_of([s for case in cases for s in hide_and_restore(case)])}
    show("Clouds of other dates over nearly clear dates", found["hidden on purpose"])
    tables = [areas(case) for case in cases]
    found["areas"] = intervals_by_share(tables)
    show("Areas of lakes on all dates, by hidden share of the lake", {"lake": found["areas"]})
    if real.is_available("places"):
        found["places"] = table_of([s for i, c in enumerate(floods()) for s in cloud_over_floods(c, i)])
        show("Floods of places, 4 or 5 dates each, under a synthetic sky", found["places"])
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(found, indent=1))
    print(f"\nwritten to {arguments.json}")


def intervals_by_share(tables: list[dict[str, np.ndarray]]) -> dict[str, dict[str, float]]:
    """Coverage over all, and by the hidden share of the lake."""
    joined = {k: np.concatenate([t[k] for t in tables]) for k in tables[0]}
    joined = {k: v[joined["unknown"] == 0] for k, v in joined.items()}
    ends = (0.0, *intervals.HIDDEN_SHARES, 1.1)
    parts = {"all": np.ones(joined["share"].shape, bool)}
    for low, high in itertools.pairwise(ends):
        parts[f"{100 * low:.0f}-{100 * min(high, 1):.0f}"] = (joined["share"] >= low) & (joined["share"] < high)
    return {name: coverage({k: v[part] for k, v in joined.items()}) for name, part in parts.items() if part.any()}


if __name__ == "__main__":
    main()
