"""From counted shores to decisions: what is restored as land, as water, or not at all.

The flow is described in `kernels.shore`. ``"frequency"`` has one row of decisions per date, for the whole scene;
``"lake"`` has a row per lake and, for what lies outside of them, the row of the scene.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lakecube.kernels.levels import (
    DEFAULT,
    SCENE,
    LevelParams,
    join_evidence,
    link_dates,
    sources,
    water_by_bin,
    weigh_levels,
)

#: Above this probability a hidden pixel of a scene is called water (Xue et al., 2025, §3.6).
P_SCENE = 0.7
#: The same around a lake whose level is known: the likelier state.
P_LAKE = 0.5


@dataclass(frozen=True, slots=True)
class Restoration:
    """What is known of a group of lakes on all dates.

    `decisions` (time, lake, BINS) uint8, `probability` (time, lake, BINS) float32, `source` (time, lake) uint8;
    `linked` and `levels` (time, lake, LEVELS) float64, the probability of each level without and with what the date
    itself shows.
    """

    decisions: np.ndarray
    probability: np.ndarray
    source: np.ndarray
    linked: np.ndarray
    levels: np.ndarray

    @property
    def has_level(self) -> np.ndarray:
        """Lakes (lake,) bool whose shore was ever seen: on no date do they fall back to the scene."""
        return (self.source != SCENE).all(axis=0)


def decide_scene(relation: np.ndarray, p: float = P_SCENE) -> np.ndarray:
    """Decisions (time, BINS) uint8 from the relation of each date (time, BINS): water where it is above `p`."""
    return (relation > np.float32(p)).astype(np.uint8)


def decide_lakes(
    shore: np.ndarray,
    relation: np.ndarray,
    days: np.ndarray,
    params: LevelParams = DEFAULT,
    p: float = P_LAKE,
    p_scene: float = P_SCENE,
) -> Restoration:
    """Decide for a group of lakes on all dates: by their levels, or by the scene where they never showed a shore.

    Parameters
    ----------
    shore : (time, lake, BINS, 3) uint32
        What `count_shore` returned, added over blocks, without its last row; dates in ascending order.
    relation : (time, BINS) float32
        What `relation.relation_by_date` returned.
    days : (time,) int64
        Day number of each date, ascending.

    Returns
    -------
    Restoration
        Its size is lakes × dates × LEVELS: pass a group of lakes at a time.
    """
    evidence = weigh_levels(shore, params)
    linked = link_dates(evidence, days, params)
    return decide_under(shore, linked, sources(shore, params), relation, params, p, p_scene)


def decide_under(
    shore: np.ndarray,
    linked: np.ndarray,
    source: np.ndarray,
    relation: np.ndarray,
    params: LevelParams = DEFAULT,
    p: float = P_LAKE,
    p_scene: float = P_SCENE,
) -> Restoration:
    """As `decide_lakes` for dates whose `linked` levels are known: also pseudo-dates, each given its date's row.

    Parameters
    ----------
    shore : (pair, lake, BINS, 3 or 4) uint32
        What `count_shore_under` returned, without its last row.
    linked : (pair, lake, LEVELS) float64
        `Restoration.linked` of the date of each pair.
    source : (pair, lake) uint8
        `Restoration.source` of the date of each pair.
    relation : (pair, BINS) float32
        Of the pseudo-date itself, from the sum of `shore` over the scene.
    """
    levels = join_evidence(linked, weigh_levels(shore, params))
    scene = (source == SCENE)[..., None]
    probability = np.where(scene, relation[:, None, :], water_by_bin(levels, params))
    limit = np.where(scene, np.float32(p_scene), np.float32(p))
    return Restoration((probability > limit).astype(np.uint8), probability, source, linked, levels)
