"""Identity: told stories (growth, split, merge, flood), and properties that hold for any pair of images."""

from __future__ import annotations

import numpy as np
import pytest

from lakecube.errors import InvalidInputError
from lakecube.kernels.label import label_block
from lakecube.kernels.lake_overlap import OVERLAP_TABLE, overlap_block
from lakecube.kernels.lakes import measure_block
from lakecube.series.registry import EVENT, Registry, identify
from tests.kernels.blocks import random_classes

NAMES = {code: name for name, code in EVENT.items()}


def revise(classes, previous=None, number=1):
    """One revision of a whole image: lake ids (y, x), registry, told lineage."""
    before, registry = previous or (np.zeros(classes.shape, np.int64), Registry.empty())
    labels = label_block(classes, 0, 0, classes.shape[1])
    one = np.ones((classes.shape[0] + 1, 1), np.int64)
    objects = measure_block(np.pad(classes, 1), labels, 0, 0, one[1:], one, one[1:])
    overlaps = overlap_block(labels, before)
    frozen = [a.copy() for a in (objects, overlaps, registry.lakes)]
    ids, after, lineage = identify(objects, overlaps, registry, number)
    for a, b in zip((objects, overlaps, registry.lakes), frozen, strict=True):
        assert a.tobytes() == b.tobytes(), "inputs are left alone"
    raster = np.zeros_like(labels)
    for label, lake in zip(objects["label"], ids, strict=True):
        raster[labels == label] = lake
    return raster, after, [(NAMES[e], a, b, n) for e, a, b, n in lineage.tolist()]


def drawn(*lines):
    return np.array([[".12".index(c) for c in line] for line in lines], np.uint8)


def test_the_first_revision_counts_from_one_in_the_order_of_first_pixels():
    raster, registry, told = revise(drawn("..1..2", "1...22", "11..22"))
    np.testing.assert_array_equal(raster, [[0, 0, 1, 0, 0, 2], [3, 0, 0, 0, 2, 2], [3, 3, 0, 0, 2, 2]])
    assert registry.next_id == 4
    assert registry.lakes.tolist() == [(1, 1, 0, 1), (2, 1, 1, 5), (3, 1, 0, 3)]
    assert told == [("birth", 1, 0, 1), ("birth", 2, 0, 5), ("birth", 3, 0, 3)]


def test_a_lake_that_grows_keeps_its_id_and_nothing_is_told():
    first = revise(drawn(".....", "..11.", "....."))
    raster, registry, told = revise(drawn("11...", "1111.", "....."), first[:2], 2)
    assert raster.max() == 1, "its first pixel moved, its id did not"
    assert told == []
    assert registry.lakes.tolist() == [(1, 1, 0, 6)]


def test_a_split_leaves_the_id_with_the_larger_part():
    first = revise(drawn("1111111"))
    raster, registry, told = revise(drawn("11.1111"), first[:2], 2)
    np.testing.assert_array_equal(raster, [[2, 2, 0, 1, 1, 1, 1]])
    assert told == [("split", 2, 1, 2)]
    assert registry.lakes["first_revision"].tolist() == [1, 2]


def test_a_merge_keeps_the_id_that_gave_most():
    first = revise(drawn("11.1111"))
    raster, registry, told = revise(drawn("1111111"), first[:2], 2)
    assert (raster == 2).all()
    assert told == [("merge", 1, 2, 2)]
    assert registry.next_id == 3, "the id of the lake that ended is not given again"
    raster, registry, told = revise(drawn("11.1111"), (raster, registry), 3)
    np.testing.assert_array_equal(raster, [[3, 3, 0, 2, 2, 2, 2]])
    assert told == [("split", 3, 2, 2)]


def test_equal_claims_go_to_the_smallest_id_and_the_first_object():
    first = revise(drawn("11.11"))
    assert (revise(drawn("11111"), first[:2], 2)[0] == 1).all()
    first = revise(drawn("11111"))
    np.testing.assert_array_equal(revise(drawn("11.11"), first[:2], 2)[0], [[1, 1, 0, 2, 2]])


def test_pixels_that_change_hands_between_two_lakes_are_an_exchange():
    first = revise(drawn("1111.11"))
    raster, _, told = revise(drawn("111.111"), first[:2], 2)
    np.testing.assert_array_equal(raster, [[1, 1, 1, 0, 2, 2, 2]])
    assert told == []
    first = revise(drawn("1111111.11111"))
    raster, _, told = revise(drawn("1111.11111111"), first[:2], 2)
    np.testing.assert_array_equal(raster, [[1] * 4 + [0] + [2] * 8])
    assert told == [("exchange", 2, 1, 2)]


def test_a_flood_does_not_take_the_name_of_a_lake():
    first = revise(drawn("2222222", "2222222", ".......", ".11...."))
    assert set(np.unique(first[0])) == {0, 1, 2}
    raster, registry, told = revise(drawn("1111111", "1111111", ".11....", ".11...."), first[:2], 2)
    assert set(np.unique(raster)) == {0, 2}, "the lake goes on as what it has become"
    assert told == [("merge", 1, 2, 14)]
    raster, _, told = revise(drawn("2222222", "2222222", ".......", ".11...."), (raster, registry), 3)
    np.testing.assert_array_equal(raster[3], [0, 2, 2, 0, 0, 0, 0])
    assert (raster[:2] == 3).all(), "and flood water that is left of it gets an id of its own"
    assert told == [("split", 3, 2, 14)]


def test_water_that_becomes_a_lake_keeps_its_id():
    first = revise(drawn("22.", "..1"))
    raster, registry, told = revise(drawn("11.", "..."), first[:2], 2)
    assert (raster[0, :2] == 1).all()
    assert registry.lakes["provisional"].tolist() == [0]
    assert told == [("death", 2, 0, 1)]


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_ids_are_distinct_and_every_pixel_is_told_of(seed):
    first = revise(random_classes(seed, (23, 31), water=0.4))
    raster, registry, told = revise(random_classes(seed + 50, (23, 31), water=0.5), first[:2], 2)
    ids = registry.lakes["lake_id"]
    assert (np.diff(ids) > 0).all()
    assert registry.lakes["pixels"].tolist() == [(raster == k).sum() for k in ids]
    before = set(first[1].lakes["lake_id"].tolist())
    ended = before - set(ids.tolist())
    fresh = set(ids.tolist()) - before
    assert min(fresh) == first[1].next_id
    by_event = {name: {a for e, a, *_ in told if e == name} for name in EVENT}
    assert by_event["death"] | by_event["merge"] == ended
    assert by_event["birth"] | by_event["split"] == fresh
    moved = {(a, b): n for e, a, b, n in told if e in ("split", "exchange")}
    moved |= {(b, a): n for e, a, b, n in told if e == "merge"}
    for a in ids.tolist():
        for b in before - {a}:
            assert ((raster == a) & (first[0] == b)).sum() == moved.get((a, b), 0)


def test_the_order_of_the_rows_does_not_matter_and_the_same_again_changes_nothing():
    classes = random_classes(3, (23, 31))
    first = revise(random_classes(4, (23, 31)))
    labels = label_block(classes, 0, 0, 31)
    one = np.ones((24, 1), np.int64)
    objects = measure_block(np.pad(classes, 1), labels, 0, 0, one[1:], one, one[1:])
    overlaps = overlap_block(labels, first[0])
    ids, registry, lineage = identify(objects, overlaps, first[1], 2)
    rng = np.random.default_rng(0)
    p, q = rng.permutation(objects.size), rng.permutation(overlaps.size)
    again = identify(objects[p], overlaps[q], first[1], 2)
    np.testing.assert_array_equal(again[0], ids[p])
    np.testing.assert_array_equal(again[1].lakes, registry.lakes)
    np.testing.assert_array_equal(again[2], lineage)
    raster = revise(classes, first[:2], 2)[0]
    same = revise(classes, (raster, registry), 3)
    np.testing.assert_array_equal(same[0], raster)
    assert same[2] == []
    np.testing.assert_array_equal(same[1].lakes, registry.lakes)


def test_overlaps_with_lakes_unknown_to_the_registry_are_refused():
    objects = np.zeros(1, [("label", "i8"), ("class", "u1"), ("pixels", "i8")])
    objects["label"] = 4
    with pytest.raises(InvalidInputError, match="the overlaps name 9, which is not a lake of the previous revision"):
        identify(objects, np.array([(4, 9, 1)], OVERLAP_TABLE), Registry.empty(), 1)
    with pytest.raises(InvalidInputError, match="not an object"):
        identify(objects, np.array([(5, 9, 1)], OVERLAP_TABLE), Registry.empty(), 1)
    with pytest.raises(InvalidInputError, match="2\\^53"):
        identify(objects, np.zeros(0, OVERLAP_TABLE), Registry(Registry.empty().lakes, 2**53), 1)
