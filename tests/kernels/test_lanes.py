"""The vector instructions of SLIC: every way to multiply pairs gives the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from llvmlite import binding, ir
from numba import njit, types
from numba.extending import intrinsic

from lakecube.kernels import lanes

WAYS = ["", *(feature for feature, _, _ in lanes._PAIR_PRODUCTS)]


def products(way):
    @intrinsic
    def multiply(typing_context, a, b, out):
        def generate(context, builder, signature, arguments):
            memory, zero = lanes._Memory(context, builder), ir.Constant(ir.IntType(64), 0)
            loaded = [
                memory.load(kind, array, zero, lanes._WORDS)
                for kind, array in zip(signature.args[:2], arguments[:2], strict=True)
            ]
            found = lanes._pair_products(builder, way, *loaded)
            memory.store(found, signature.args[2], arguments[2], zero)
            return context.get_dummy_value()

        return types.void(a, b, out), generate

    @njit
    def run(a, b, out):
        multiply(a, b, out)

    return run


@pytest.mark.parametrize("way", WAYS)
def test_products_of_pairs_are_the_same_with_and_without_the_instruction(way):
    if way and not binding.get_host_cpu_features().get(way[1:], False):
        pytest.skip(f"this processor has no {way[1:]}")
    rng = np.random.default_rng(0)
    a, b = rng.integers(-(2**15), 2**15, (2, lanes.LANES, 2)).astype(np.int16)
    a[0], b[0] = (-(2**15), 2**15 - 1), (2**15 - 1, -(2**15))
    out = np.zeros(lanes.LANES, np.int32)
    products(way)(a.view(np.int32).ravel(), b.view(np.int32).ravel(), out)
    np.testing.assert_array_equal(out, (a.astype(np.int64) * b).sum(axis=1))
