"""Every code of every quality layer, against tables written out by hand."""

import numpy as np
import pytest

from lakecube.kernels import qa
from lakecube.names import OBSERVATION, OBSERVATION_PRIORITY

NAMES = {code: name for name, code in OBSERVATION.items()}


def state(kind, number, sensor="", dtype=np.uint16):
    return NAMES[int(qa.decode(kind, np.array([number], dtype), sensor)[0])]


SCL = ["not_acquired", "saturated", "terrain_shadow", "cloud_shadow", "clear", "clear", "clear", "unclassified",
       "cloud", "cloud", "cirrus", "snow_ice"]  # fmt: skip


def test_scl_every_class():
    for number in range(256):
        expected = SCL[number] if number < len(SCL) else "unclassified"
        assert state("scl", number, dtype=np.uint8) == expected


# Values of the USGS Data Format Control Book, table of common QA_PIXEL values.
@pytest.mark.parametrize(
    ("number", "oli", "tm"),
    [
        (1, "not_acquired", "not_acquired"),
        (21824, "clear", "clear"),  # land
        (21952, "clear", "clear"),  # water
        (22280, "cloud", "cloud"),
        (23888, "cloud_shadow", "cloud_shadow"),
        (30048, "snow_ice", "snow_ice"),
        (54596, "cirrus", "clear"),
        (54852, "cirrus", "clear"),
        (55052, "cloud", "cloud"),
        (21762, "cloud_adjacent", "cloud_adjacent"),
        (0, "unclassified", "unclassified"),
    ],
)
def test_qa_pixel_values_of_the_book(number, oli, tm):
    assert state("qa_pixel", number, "landsat-oli-c2-l2") == oli
    assert state("qa_pixel", number, "landsat-tm-c2-l2") == tm


def slow_qa_pixel(number, has_cirrus):
    """The definition, one number at a time."""
    if number & 1:
        return "not_acquired"
    if number & 8:
        return "cloud"
    if number & 4 and has_cirrus:
        return "cirrus"
    if number & 16:
        return "cloud_shadow"
    if number & 32:
        return "snow_ice"
    if number & 2:
        return "cloud_adjacent"
    return "clear" if number & 64 else "unclassified"


@pytest.mark.parametrize("has_cirrus", [True, False])
def test_qa_pixel_every_number(has_cirrus):
    numbers = np.arange(65536, dtype=np.uint16)
    expected = np.array([OBSERVATION[slow_qa_pixel(n, has_cirrus)] for n in range(65536)], np.uint8)
    np.testing.assert_array_equal(qa.decode_qa_pixel(numbers, has_cirrus=has_cirrus), expected)


@pytest.mark.parametrize("bit", range(16))
def test_qa_radsat_every_bit(bit):
    oli = "saturated" if bit <= 6 else "terrain_shadow" if bit == 11 else "clear"
    tm = "saturated" if bit in {0, 1, 2, 3, 4, 6, 9} else "clear"
    assert state("qa_radsat", 1 << bit, "landsat-oli-c2-l2") == oli
    assert state("qa_radsat", 1 << bit, "landsat-tm-c2-l2") == tm


def test_qa_radsat_saturation_wins_over_terrain():
    assert state("qa_radsat", 1 << 11 | 1, "landsat-oli-c2-l2") == "saturated"
    assert state("qa_radsat", 0) == "clear"


def slow_fmask(number, has_cirrus):
    if number == 255:
        return "not_acquired"
    if number & 2:
        return "cloud"
    if number & 1 and has_cirrus:
        return "cirrus"
    if number & 8:
        return "cloud_shadow"
    if number & 16:
        return "snow_ice"
    return "cloud_adjacent" if number & 4 else "clear"


@pytest.mark.parametrize(("kind", "has_cirrus"), [("hls_fmask", True), ("fmask", False)])
def test_fmask_every_number(kind, has_cirrus):
    for number in range(256):
        assert state(kind, number, dtype=np.uint8) == slow_fmask(number, has_cirrus)


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        ("ga_fmask", {0: "not_acquired", 1: "clear", 2: "cloud", 3: "cloud_shadow", 4: "snow_ice", 5: "clear"}),
        ("cloud_mask", {0: "clear", 1: "cloud", 255: "not_acquired"}),
    ],
)
def test_classes_every_number(kind, known):
    for number in range(256):
        assert state(kind, number, dtype=np.uint8) == known.get(number, "unclassified")


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint16, np.int64])
def test_wider_dtypes_agree_and_impossible_numbers_are_not_acquired(dtype):
    numbers = np.arange(256).astype(dtype)
    np.testing.assert_array_equal(qa.decode_fmask(numbers), qa.decode_fmask(numbers.astype(np.uint8)))
    assert state("fmask", 256, dtype=dtype) == "not_acquired"
    if np.dtype(dtype).kind == "i":
        assert state("fmask", -9999, dtype=dtype) == "not_acquired"
        assert state("qa_pixel", -1, dtype=dtype) == "not_acquired"


def test_worst_every_pair():
    codes = np.arange(len(OBSERVATION), dtype=np.uint8)
    a, b = np.meshgrid(codes, codes, indexing="ij")
    found = qa.worst(a, b)
    for one, other, winner in zip(a.ravel(), b.ravel(), found.ravel(), strict=True):
        assert NAMES[winner] == min(NAMES[one], NAMES[other], key=OBSERVATION_PRIORITY.index)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, qa.worst(b, a))
    np.testing.assert_array_equal(qa.worst(codes, codes), codes)


def test_inputs_are_not_written_and_shapes_are_kept():
    numbers = np.arange(12, dtype=np.uint8).reshape(3, 4)
    numbers.flags.writeable = False
    states = qa.decode_scl(numbers)
    assert states.shape == (3, 4) and states.dtype == np.uint8
    assert qa.worst(states, states).flags.writeable
    assert qa.decode_scl(np.empty((0, 5), np.uint8)).shape == (0, 5)


def test_floats_and_unknown_kinds_are_refused():
    with pytest.raises(TypeError, match="float32"):
        qa.decode_scl(np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="unknown quality layer 'qa'"):
        qa.decode("qa", np.zeros(3, np.uint8))
