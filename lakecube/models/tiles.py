"""Tiles of scenes: an index made in one pass, then each read, changed and cut when its turn comes."""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import NamedTuple, TypeVar

import numpy as np

from lakecube.errors import InvalidInputError
from lakecube.models.augment import Augment, Frame, changed, cut, draw, frame_of, resized
from lakecube.models.scenes import Picture, Scene, values_of
from lakecube.names import UNKNOWN, WATER

#: Bytes of read scenes that are kept for the next tile of them.
KEPT_BYTES = 256 * 2**20
#: Said of samples of two kinds.
MIXED = "some scenes are 8-bit display imagery, others reflectance: train on one kind at a time"
T = TypeVar("T")


class Batch(NamedTuple):
    """Tiles that are learned from together: values (n, band, y, x) float32, labels (n, y, x) uint8."""

    values: np.ndarray
    labels: np.ndarray


class Tiles:
    """Tiles of some scenes; reads every scene once to know where they are.

    Parameters
    ----------
    scenes : sequence of Scene
        In their order.
    bands : sequence of str
        Of the values, in this order.
    tile : int
        Side, pixels. Tiles lie side by side from the upper left corner; beyond the edge they are unknown.
    keep_empty : float
        Share of the tiles without water that is kept, by a hash of their place. Tiles of which nothing is known never.
    seed : int
        Of that hash.

    Attributes
    ----------
    index : numpy.ndarray
        int64 (n, 3): scene, row and column of the upper left corner.
    left_out : int
        How many tiles were not kept: no water in them is known.
    mean, deviation : numpy.ndarray
        float64 (band,): of all known pixels of the scenes.
    radiometry : str
        ``"display"`` of 8-bit pictures, ``"reflectance"`` of all else.
    digest : str
        Of labels, values' sums and index: the same for the same samples.
    """

    def __init__(
        self, scenes: Sequence[Scene], bands: Sequence[str], tile: int, keep_empty: float = 1.0, seed: int = 0,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:  # fmt: skip
        self.scenes, self.bands, self.tile = list(scenes), tuple(bands), tile
        self._limit, self._recent, self._lock = kept_bytes, OrderedDict[int, Picture](), Lock()
        rows: list[tuple[int, int, int]] = []
        whole, count, sums, digest, kinds = 0, 0, np.zeros((2, len(self.bands))), hashlib.sha256(), set[str]()
        for k, scene in enumerate(self.scenes):
            picture = self.picture(k)
            for known in _known_values(picture):
                count += known.shape[1]
                sums += known.sum(axis=1), np.square(known).sum(axis=1)
            digest.update(picture.labels.tobytes())
            kinds.add(picture.radiometry)
            rows += ((k, *corner) for corner in _corners(picture.labels, tile, keep_empty, f"{seed}:{scene.name}"))
            whole += -(-picture.shape[0] // tile) * -(-picture.shape[1] // tile)
        if len(kinds) > 1:
            raise InvalidInputError(MIXED)
        self.radiometry = kinds.pop() if kinds else "reflectance"
        self.index = np.array(rows, np.int64).reshape(-1, 3)
        self.left_out = whole - len(rows)
        self.mean = sums[0] / max(count, 1)
        self.deviation = np.sqrt(np.maximum(sums[1] / max(count, 1) - self.mean**2, 0))
        for array in (sums, self.index):
            digest.update(array.tobytes())
        self.digest = digest.hexdigest()

    def __len__(self) -> int:
        return len(self.index)

    def picture(self, k: int) -> Picture:
        """A scene with its bands in order, kept as long as there is room."""
        with self._lock:
            if k in self._recent:
                self._recent.move_to_end(k)
                return self._recent[k]
        picture = in_order(self.scenes[k], self.scenes[k].read(), self.bands)
        with self._lock:
            self._recent[k] = picture
            while len(self._recent) > 1 and sum(p.nbytes for p in self._recent.values()) > self._limit:
                self._recent.popitem(last=False)
        return picture

    def read(self, k: int, how: Augment, seeds: Sequence[int] = ()) -> tuple[np.ndarray, np.ndarray]:
        """Tile `k`: values (band, tile, tile) float32, NaN where unknown, and labels (tile, tile) uint8."""
        scene, row, column = (int(v) for v in self.index[k])
        chance, picture = draw((*seeds, k)), self.picture(scene)
        frame = frame_of((row, column), self.tile, picture.shape, how, chance)
        values, labels = tile_of(picture, frame)
        return changed(*resized(values, labels, self.tile), how, chance)

    def batch(self, members: np.ndarray | Sequence[int], how: Augment, seeds: Sequence[int] = ()) -> Batch:
        """Some tiles together."""
        values, labels = zip(*(self.read(int(k), how, seeds) for k in members), strict=True)
        return Batch(np.stack(values), np.stack(labels))


def in_order(scene: Scene, picture: Picture, bands: Sequence[str]) -> Picture:
    """A picture of the scene with these bands in this order."""
    order = [scene.bands.index(band) for band in bands]
    if order == list(range(len(scene.bands))):
        return picture
    return picture._replace(values=np.ascontiguousarray(picture.values[order]))


def tile_of(picture: Picture, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """A window of a picture: values as float32, NaN beyond the edge, and labels."""
    labels = cut(picture.labels, frame, UNKNOWN)
    if picture.radiometry == "display":
        values = values_of(Picture(cut(picture.values, frame, 0), labels))
        beyond = cut(np.zeros(picture.labels.shape, bool), frame, True)
        values[:, beyond] = np.nan
        return values, labels
    return cut(picture.values, frame, np.nan), labels


def order_of(n: int, batch: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Which tiles each batch of an epoch takes: shuffled, all batches full, unless there are too few for one."""
    shuffled = draw((seed, epoch)).permutation(n)
    full = max(n // batch, 1)
    return [shuffled[k * batch : (k + 1) * batch] for k in range(full)]


def ahead(jobs: Iterable[Callable[[], T]], readers: int) -> Iterator[T]:
    """Results of jobs in their order, some computed in threads while the one before is used."""
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(readers) as pool:
        try:
            for job in jobs:
                waiting.append(pool.submit(job))
                if len(waiting) > 2 * readers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def check_some(tiles: Tiles, what: str) -> None:
    """Raise if there is no tile."""
    if not len(tiles):
        raise InvalidInputError(
            f"none of the {len(tiles.scenes)} scenes for {what} has a tile with water that is known: are the masks "
            "right (0 land, else water)? keep_empty= keeps tiles without water"
        )


def _known_values(picture: Picture) -> Iterator[np.ndarray]:
    """Known pixels as float64 (band, n), some rows at a time."""
    divisor = 255 if picture.values.dtype == np.uint8 else 1
    for row in range(0, picture.labels.shape[0], 256):
        strip = slice(row, row + 256)
        known = picture.labels[strip] != UNKNOWN
        yield picture.values[:, strip][:, known].astype(np.float64) / divisor


def _corners(labels: np.ndarray, tile: int, keep_empty: float, text: str) -> Iterator[tuple[int, int]]:
    """Upper left corners of the tiles that are kept."""
    for row in range(0, labels.shape[0], tile):
        for column in range(0, labels.shape[1], tile):
            part = labels[row : row + tile, column : column + tile]
            wet = bool((part == WATER).any())
            if wet or (keep_empty and (part != UNKNOWN).any() and _share(f"{text}:{row}:{column}") < keep_empty):
                yield row, column


def _share(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
