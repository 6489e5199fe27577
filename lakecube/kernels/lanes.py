"""Vector instructions that compilers do not find by themselves: the nearest of nine centres for 16 pixels at a time.

`nearest` is written in LLVM's own vector types, so it works on every machine; only the product of int16 pairs is named
by its instruction where there is one (``pmaddwd``: without the name LLVM takes three multiplications for it). The
arithmetic is exact whichever way is taken.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

#: Pixels treated together.
LANES = 16
#: Pixels, or bits, in a word.
WORD = 64
CANDIDATES = 9
_I8, _I16, _I32, _I64 = (ir.IntType(n) for n in (8, 16, 32, 64))
_WORDS = ir.VectorType(_I32, LANES)
_BYTES = ir.VectorType(_I8, LANES)
#: The instruction for sums of two products of int16, by the feature it needs, and how many int32 it gives.
_PAIR_PRODUCTS = (
    ("+avx512bw", "llvm.x86.avx512.pmaddw.d.512", 16),
    ("+avx2", "llvm.x86.avx2.pmadd.wd", 8),
    ("+sse2", "llvm.x86.sse2.pmadd.wd", 4),
)


#: Callers do not pass the first argument, the typing context: type checkers need not know.
_intrinsic: Any = intrinsic


def _constant(kind: Any, value: int) -> Any:
    return ir.Constant(kind, [value] * LANES)


def _take(builder: Any, vector: Any, first: int, count: int) -> Any:
    index = ir.Constant(ir.VectorType(_I32, count), list(range(first, first + count)))
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), index)


def _pair_products(builder: Any, features: str, a: Any, b: Any) -> Any:
    """a.low · b.low + a.high · b.high of 16 packed pairs."""
    width = next((entry for entry in _PAIR_PRODUCTS if entry[0] in features.split(",")), None)
    if width is None:
        half = _constant(_WORDS, 16)
        low = [builder.ashr(builder.shl(v, half), half) for v in (a, b)]
        high = [builder.ashr(v, half) for v in (a, b)]
        return builder.add(builder.mul(*low), builder.mul(*high))
    _, name, count = width
    out, pair = ir.VectorType(_I32, count), ir.VectorType(_I16, 2 * count)
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(out, [pair, pair]), name)
    parts = [
        builder.call(function, [builder.bitcast(_take(builder, v, first, count), pair) for v in (a, b)])
        for first in range(0, LANES, count)
    ]
    while len(parts) > 1:
        join = ir.Constant(ir.VectorType(_I32, 2 * parts[0].type.count), list(range(2 * parts[0].type.count)))
        parts = [builder.shuffle_vector(x, y, join) for x, y in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


class _Memory:
    """Reads and writes of a Numba function's arrays."""

    def __init__(self, context: Any, builder: Any) -> None:
        self.context, self.builder = context, builder

    def _at(self, kind: Any, array: Any, index: Any) -> Any:
        data = self.context.make_array(kind)(self.context, self.builder, array).data
        return self.builder.gep(data, [index])

    def load(self, kind: Any, array: Any, index: Any, vector: Any) -> Any:
        pointer = self.builder.bitcast(self._at(kind, array, index), vector.as_pointer())
        return self.builder.load(pointer, align=vector.element.width // 8)

    def store(self, value: Any, kind: Any, array: Any, index: Any) -> None:
        pointer = self.builder.bitcast(self._at(kind, array, index), value.type.as_pointer())
        self.builder.store(value, pointer, align=value.type.element.width // 8)

    def spread(self, kind: Any, array: Any, index: int) -> Any:
        """One int32 in all lanes."""
        value = self.builder.load(self._at(kind, array, ir.Constant(_I64, index)))
        first = self.builder.insert_element(ir.Constant(_WORDS, ir.Undefined), value, ir.Constant(_I32, 0))
        return self.builder.shuffle_vector(first, ir.Constant(_WORDS, ir.Undefined), _constant(_WORDS, 0))


def _nearest(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    features, places, weights, base, old, new, at, j = arguments
    kinds = signature.args
    count = kinds[0].count
    memory = _Memory(context, builder)
    target = context.codegen().magic_tuple()[2]
    first = builder.add(at, j)
    pixels = [memory.load(kinds[0].dtype, builder.extract_value(features, p), first, _WORDS) for p in range(count)]
    pixels.append(memory.load(kinds[1], places, j, _WORDS))
    best = None
    for k in range(CANDIDATES):
        total = memory.spread(kinds[3], base, k)
        for p, pixel in enumerate(pixels):
            weight = memory.spread(kinds[2], weights, k * len(pixels) + p)
            total = builder.add(total, _pair_products(builder, target, pixel, weight))
        nearer = None if best is None else builder.icmp_signed("<", total, best)
        best = total if best is None else builder.select(nearer, total, best)
    code = builder.trunc(builder.and_(best, _constant(_WORDS, 15)), _BYTES)
    before = memory.load(kinds[4], old, first, _BYTES)
    none = _constant(_BYTES, 15)
    code = builder.select(builder.icmp_unsigned("==", before, none), none, code)
    memory.store(code, kinds[5], new, first)
    return builder.zext(builder.bitcast(builder.icmp_unsigned("!=", code, before), _I16), _I64)


@_intrinsic
def nearest(typing_context, features, places, weights, base, old, new, at, j):
    """Codes of the 16 pixels from `at` + j: the candidate k with the least ``base[k] + Σ features · weights[k]``.

    features: tuple of int32 (n,) of packed pairs; places: int32, the last pair, from j; weights: int32 (9, pairs + 1);
    base: int32 (9,) with k in the four low bits; old, new: uint8 (n,). A pixel whose old code is 15 keeps it.
    Returns the bits of the pixels whose code has changed, int64.
    """
    signature = types.int64(features, places, weights, base, old, new, types.int64, types.int64)
    return signature, _nearest


@_intrinsic
def lowest_bit(typing_context, bits):
    """The number of the lowest bit that is set, int64; `bits` is not 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


@_intrinsic
def differing(typing_context, first, at, second, to):
    """The bits of those of 64 bytes, uint8, from first[at] and from second[to], that differ: int64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        memory, bytes_ = _Memory(context, builder), ir.VectorType(_I8, WORD)
        a = memory.load(signature.args[0], arguments[0], arguments[1], bytes_)
        b = memory.load(signature.args[2], arguments[2], arguments[3], bytes_)
        return builder.bitcast(builder.icmp_unsigned("!=", a, b), _I64)

    return types.int64(first, types.int64, second, types.int64), generate


@_intrinsic
def count_bits(typing_context, bits):
    """How many bits of an int64 are set, int64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.int64), generate
