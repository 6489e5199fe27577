"""`svm` and `rf`: classifiers of single pixels, the baselines that Cao et al. and Chen et al. compare with.

No published weights exist: `fit` learns from labelled pixels, and `extract` applies what was learnt.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import xarray as xr

from lakecube import chunked
from lakecube.chunked import law
from lakecube.detect.composite import composite as make_composite
from lakecube.detect.observe import checked
from lakecube.errors import InvalidInputError, MissingBandError, MissingDependencyError
from lakecube.kernels.mosaic import IS_JUDGED
from lakecube.kernels.stages import decide
from lakecube.methods.provenance import PAPERS, finished, given_of
from lakecube.models.pixel_model import Kind, PixelModel, read_pixel_model
from lakecube.models.registry import STAND_INS
from lakecube.names import (
    BANDS,
    LAND,
    SPATIAL_REF,
    TIME,
    UNKNOWN,
    VARIABLES,
    WATER,
    X,
    Y,
)

#: Of Cao et al.: penalty and kernel width of the machine, trees of the forest and features that a split looks at.
PENALTY, GAMMA = 12.0, 0.187
TREES, FEATURES = 150, 2
_OUTPUTS = ("water_mask", "reason", "rules_fired", "water_probability")


def fit(
    bands: Mapping[str, np.ndarray] | xr.Dataset, truth: np.ndarray | xr.DataArray, kind: Kind = "rf", *,
    names: Sequence[str] | None = None, sample: int = 10_000, seed: int = 0,
) -> PixelModel:  # fmt: skip
    """Learn from labelled pixels by the settings of Cao et al.

    ``"svm"``: radial basis functions, C = 12, γ = 0.187, on standardised bands. ``"rf"``: 150 trees, 2 features at each
    split. scikit-learn learns; what it found is kept as arrays.

    Parameters
    ----------
    bands : mapping of str to numpy.ndarray, or xr.Dataset
        Reflectance by STAC common name, any shape, NaN where unknown; or a labelled cube.
    truth : numpy.ndarray or xr.DataArray
        Of that shape (or dims that broadcast to those of a Dataset, or a mask of its last two): 0 land, 1 water,
        others unknown.
    kind : {"svm", "rf"}
    names : sequence of str, optional
        Bands to learn from; by default all.
    sample : int
        At most so many pixels, of each class in proportion. A machine takes time like their square.
    seed : int
        Of the sample and the forest.

    Returns
    -------
    PixelModel
        Give it to ``cube.water.extract(method="svm" or "rf", model=…)``, or `save` it.

    Raises
    ------
    InvalidInputError
        Another kind, bands or shapes that do not fit, or labels of one class alone.
    MissingDependencyError
        Without scikit-learn (extra ``forest``).
    """
    if find_spec("sklearn") is None:
        raise MissingDependencyError(
            'learning from pixels needs scikit-learn: pip install -c constraints.txt ".[forest]"'
        )
    if kind not in _LEARNERS:
        raise InvalidInputError(f"kind={kind!r}: use 'svm' or 'rf'")
    chosen, table, labels = _table(bands, truth, names)
    if set(np.unique(labels).tolist()) != {LAND, WATER}:
        raise InvalidInputError("truth must hold land (0) and water (1) where all bands are known; it holds only one")
    rows = np.random.default_rng(seed).permutation(len(labels))[: max(sample, 2)]
    if len(set(labels[rows].tolist())) < 2:
        raise InvalidInputError(f"a sample of {sample} pixels holds only one class; give a greater sample=")
    return PixelModel(kind, chosen, _LEARNERS[kind](table[rows], labels[rows], seed))


def _table(
    bands: Mapping[str, np.ndarray] | xr.Dataset, truth: Any, names: Sequence[str] | None
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Names, features float32 (n, bands) and labels of the pixels that are known."""
    have = [str(name) for name in bands if name in BANDS]
    chosen = tuple(have if names is None else map(str, names))
    missing = [name for name in chosen if name not in have]
    if missing or not chosen:
        raise MissingBandError(
            f"no {', '.join(missing) or 'bands'} to learn from; there are {', '.join(have) or 'none'}"
        )
    if isinstance(bands, xr.Dataset):
        wanted = truth if isinstance(truth, xr.DataArray) else _on_pixels_of(bands[chosen[0]], np.asarray(truth))
        first, *rest = xr.broadcast(wanted, *(bands[name] for name in chosen))
        labels, arrays = first.values, [array.values for array in rest]
        if "observation" in bands:
            seen = IS_JUDGED[bands["observation"].broadcast_like(first).transpose(*first.dims).values]
            labels = np.where(seen, labels, UNKNOWN)
    else:
        labels, arrays = np.asarray(truth), [np.asarray(bands[name]) for name in chosen]
    if any(array.shape != labels.shape for array in arrays):
        raise InvalidInputError(f"bands {[a.shape for a in arrays]} and truth {labels.shape} are on different pixels")
    table = np.stack([array.ravel() for array in arrays], axis=1).astype(np.float32)
    known = np.isfinite(table).all(axis=1) & np.isin(labels.ravel(), (LAND, WATER))
    return chosen, table[known], labels.ravel()[known].astype(np.uint8)


def _on_pixels_of(band: xr.DataArray, truth: np.ndarray) -> xr.DataArray:
    """Labels of all of a cube, or a mask (y, x) that holds on every date."""
    last = truth.ndim if truth.ndim > 1 else band.ndim
    if truth.shape != band.shape[-last:]:
        raise InvalidInputError(
            f"truth is of shape {truth.shape}, but the bands are {dict(band.sizes)}: give labels of that shape, or of "
            "its last two dims"
        )
    return band.copy(data=np.broadcast_to(truth, band.shape))


def _machine(table: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    from sklearn.svm import SVC

    mean, deviation = table.mean(axis=0, dtype=np.float64), table.std(axis=0, dtype=np.float64)
    deviation = np.where(deviation > 0, deviation, 1.0)
    found = SVC(C=PENALTY, kernel="rbf", gamma=GAMMA).fit((table - mean) / deviation, labels)
    return {
        "mean": mean, "deviation": deviation, "vectors": found.support_vectors_, "weights": found.dual_coef_[0],
        "intercept": found.intercept_[0], "gamma": np.float64(GAMMA),
    }  # fmt: skip


def _forest(table: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    from sklearn.ensemble import RandomForestClassifier

    features = min(FEATURES, table.shape[1])
    found = RandomForestClassifier(TREES, max_features=features, random_state=seed, n_jobs=1).fit(table, labels)
    trees = [estimator.tree_ for estimator in found.estimators_]
    roots = np.cumsum([0, *(tree.node_count for tree in trees[:-1])])
    parts = []
    for root, tree in zip(roots, trees, strict=True):
        leaf = tree.children_left < 0
        value = tree.value[:, 0, :]
        parts.append({
            "feature": np.where(leaf, -1, tree.feature), "limit": tree.threshold,
            "left": np.where(leaf, 0, tree.children_left + root),
            "right": np.where(leaf, 0, tree.children_right + root), "share": value[:, 1] / value.sum(axis=1),
        })  # fmt: skip
    return {"roots": roots, **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]}}


_LEARNERS = {"svm": _machine, "rf": _forest}


@law("exact")
def extract(
    cube: xr.Dataset, *, kind: Kind = "rf", model: PixelModel | str | os.PathLike[str] | None = None,
    composite: str | None = None, choice: str = "median",
) -> xr.Dataset:  # fmt: skip
    """Water on every date of a cube, each pixel by its own bands.

    Parameters
    ----------
    cube : xr.Dataset
        From `lakecube.open`: the bands that the model learnt from (`nir08` stands in for `nir`), and `observation`.
    kind : {"svm", "rf"}
        What the model must be.
    model : PixelModel, str or path
        From `fit`, or the ``.npz`` file of one.
    composite : {None, "month", "year"}
        Judge every date, or composites.
    choice : {"median", "mndwi", "ndvi", "maximum"}
        What stands for a period in a composite.

    Returns
    -------
    xr.Dataset
        `water_mask`, `reason`, `rules_fired` (time, y, x); with a forest `water_probability`, the mean share of water
        in its leaves, NaN where unknown: water is above one half. A machine gives no probability: water is where its
        margin is positive. Land has the reason ``low_probability``. The items along `item`; `elevation` (y, x), m, if
        the cube has it.

    Notes
    -----
    Chunks: any. Law: exact. Reach: 0. Lazy. Of a machine the time grows with its vectors: seconds per megapixel and
    thousand vectors.

    Raises
    ------
    InvalidInputError
        No model, or one of another kind.
    MissingBandError
        A band of the model is missing.

    References
    ----------
    Cao et al. (2024), 10.5194/tc-18-153-2024, section 4.2; Cortes and Vapnik (1995), 10.1007/BF00994018;
    Breiman (2001), 10.1023/A:1010933404324.
    """
    fitted = _model(model, kind)
    given = given_of(cube)
    cube = checked(cube)
    names = [band if band in cube else STAND_INS.get(band, band) for band in fitted.bands]
    missing = [band for band, name in zip(fitted.bands, names, strict=True) if name not in cube]
    if missing:
        raise MissingBandError(
            f"the model needs {', '.join(missing)}; the cube has "
            f"{', '.join(str(n) for n in cube.data_vars if n in BANDS) or 'no band'}"
        )
    if composite is not None:
        cube = make_composite(cube, composite, choice=choice)
    used = {"composite": composite, "choice": choice if composite else None, "bands": fitted.bands,
            "model_sha256": fitted.sha256}  # fmt: skip
    return finished(_classified(cube, fitted, names), cube, given, kind, PAPERS["linknet50"], used)


#: The two methods by name.
svm, rf = partial(extract, kind="svm"), partial(extract, kind="rf")


def _model(model: Any, kind: str) -> PixelModel:
    if model is None:
        raise InvalidInputError(
            f"method={kind!r} has no weights of its own: learn from labelled pixels in Python, "
            f"lakecube.methods.pixelwise.fit(bands, truth, {kind!r}).save('{kind}.npz'), and give that file by model="
        )
    found = model if isinstance(model, PixelModel) else read_pixel_model(model)
    if found.kind != kind:
        raise InvalidInputError(f"the model is of kind {found.kind!r}, not {kind!r}: use method={found.kind!r}")
    return found


def _classified(cube: xr.Dataset, model: PixelModel, bands: Sequence[str]) -> xr.Dataset:
    names = [*bands, "observation"]
    kept = [name for name in (TIME, Y, X, SPATIAL_REF) if name in cube.coords]
    layers = chunked.alike(cube[names].reset_coords(drop=True).assign_coords(cube[kept].coords), (TIME, Y, X), 0)
    pairs = [v for name in names for v in (layers[name].data, "tyx")]
    blocks = chunked.blockwise(
        _classify, "tyx", *pairs, dtype=object, name="lakecube-pixelwise", model=model
    )  # fmt: skip
    specs = [VARIABLES[name] for name in (_OUTPUTS if model.kind == "rf" else _OUTPUTS[:-1])]
    variables = {s.name: (s.dims, chunked.field(blocks, s.name, s.dtype), s.attrs) for s in specs}
    return xr.Dataset(variables, coords=layers.coords)


def _classify(*blocks: np.ndarray, model: PixelModel) -> dict[str, np.ndarray]:
    *bands, observation = blocks
    known = IS_JUDGED[observation]
    for band in bands:
        known = known & np.isfinite(band)
    score = np.full(observation.shape, np.nan)
    score[known] = model.evaluate(np.stack([band[known] for band in bands], axis=1))
    decided = decide(score, observation, 0.5 if model.kind == "rf" else 0.0)
    return dict(zip(_OUTPUTS, (*decided, score.astype(np.float32)), strict=True))
