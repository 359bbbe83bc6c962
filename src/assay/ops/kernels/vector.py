"""What the product is made of: a block of fused multiply-adds held in registers, and the comparisons that follow it, in LLVM code.

The block has MR rows of x and NR = NV * LANES latents; its MR * NV accumulators, NV vectors of the encoder and one broadcast number fill
the vector registers of the processor it is compiled for.
"""

from __future__ import annotations

from typing import Any, no_type_check

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from assay.ops.kernels.geometry import LANES, MR, NR, NV

I64, F32 = ir.IntType(64), ir.FloatType()
VECTOR = ir.VectorType(F32, LANES)


@intrinsic
@no_type_check
def multiply(typing: Any, a: Any, b: Any, depth: Any, c: Any):
    """c[r, n] = sum_k a[k, r] b[k, n] for packed panels a [depth MR] and b [depth NR]; c [MR NR]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, b, c = (_data(context, builder, signature, arguments, i) for i in (0, 1, 3))
        before, loop, after = builder.block, builder.append_basic_block("depth"), builder.append_basic_block("sums")
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(I64)
        sums = [builder.phi(VECTOR) for _ in range(MR * NV)]
        columns = [_load(builder, b, builder.add(builder.mul(k, _int(NR)), _int(v * LANES))) for v in range(NV)]
        totals = []
        for r in range(MR):
            number = builder.load(builder.gep(a, [builder.add(builder.mul(k, _int(MR)), _int(r))]))
            row = _broadcast(builder, number)
            totals += [_fused(builder, row, column, sums[r * NV + v]) for v, column in enumerate(columns)]
        following = builder.add(k, _int(1))
        k.add_incoming(_int(0), before)
        k.add_incoming(following, loop)
        for phi, total in zip(sums, totals, strict=True):
            phi.add_incoming(ir.Constant(VECTOR, [0.0] * LANES), before)
            phi.add_incoming(total, loop)
        builder.cbranch(builder.icmp_signed("<", following, arguments[2]), loop, after)
        builder.position_at_end(after)
        for i, total in enumerate(totals):
            store = builder.store(total, builder.bitcast(builder.gep(c, [_int(i * LANES)]), VECTOR.as_pointer()))
            store.align = 4
        return context.get_dummy_value()

    return types.void(a, b, depth, c), generate


@intrinsic
@no_type_check
def outside(typing: Any, c: Any, row: Any, high: Any, low: Any, first: Any):
    """Bit n of the result: c[row, n] > high[first + n] or c[row, n] < low[first + n]. NaN is neither."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        c, high, low = (_data(context, builder, signature, arguments, i) for i in (0, 2, 3))
        place, first = builder.mul(arguments[1], _int(NR)), arguments[4]

        def test(v: int) -> Any:
            value = _load(builder, c, builder.add(place, _int(v * LANES)))
            at = builder.add(first, _int(v * LANES))
            above = builder.fcmp_ordered(">", value, _load(builder, high, at))
            return builder.or_(above, builder.fcmp_ordered("<", value, _load(builder, low, at)))

        return _bits(builder, test)

    return types.int64(c, row, high, low, first), generate


@intrinsic
@no_type_check
def above(typing: Any, c: Any, row: Any, bias: Any, first: Any, threshold: Any):
    """Bit n of the result: c[row, n] + bias[first + n] > threshold. NaN is not."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        c, bias = (_data(context, builder, signature, arguments, i) for i in (0, 2))
        place, first, level = builder.mul(arguments[1], _int(NR)), arguments[3], _broadcast(builder, arguments[4])

        def test(v: int) -> Any:
            value = _load(builder, c, builder.add(place, _int(v * LANES)))
            shifted = builder.fadd(value, _load(builder, bias, builder.add(first, _int(v * LANES))))
            return builder.fcmp_ordered(">", shifted, level)

        return _bits(builder, test)

    return types.int64(c, row, bias, first, types.float32), generate


@intrinsic
@no_type_check
def lowest_bit(typing: Any, bits: Any):
    """Index of the lowest set bit."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(bits), generate


@intrinsic
@no_type_check
def take(typing: Any, counter: Any, amount: Any):
    """counter[0] += amount, as one step that no other thread interrupts; what it was before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _data(context, builder, signature, arguments, 0, I64)
        return builder.atomic_rmw("add", place, arguments[1], "seq_cst")

    return types.int64(counter, amount), generate


def _data(context: Any, builder: Any, signature: Any, arguments: Any, which: int, kind: Any = F32) -> Any:
    array = context.make_array(signature.args[which])(context, builder, arguments[which])
    return builder.bitcast(array.data, kind.as_pointer())


def _bits(builder: Any, test: Any) -> Any:
    """The NV vectors of truth values that `test` gives, as one integer."""
    bits = _int(0)
    for v in range(NV):
        part = builder.zext(builder.bitcast(test(v), ir.IntType(LANES)), I64)
        bits = builder.or_(bits, builder.shl(part, _int(v * LANES)))
    return bits


def _load(builder: Any, pointer: Any, offset: Any) -> Any:
    load = builder.load(builder.bitcast(builder.gep(pointer, [offset]), VECTOR.as_pointer()))
    load.align = 4
    return load


def _broadcast(builder: Any, number: Any) -> Any:
    undefined = ir.Constant(VECTOR, ir.Undefined)
    single = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(single, undefined, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


def _fused(builder: Any, x: Any, y: Any, z: Any) -> Any:
    kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32"), [x, y, z])


def _int(value: int) -> Any:
    return ir.Constant(I64, value)
