"""`engine.system` as machine code: calls into the C library that numba's linker finds by name, and atomic accesses.

Knows: numba, the C library's ABI on 64-bit Linux (pointers and size_t are 64 bits; errno by __errno_location).
Imported only when something is to be compiled.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba import extending
from numba.core import cgutils, types

from pcaptool.engine import system

__all__ = ["C_FUNCTIONS", "PRIMITIVES"]

CLOCK_MONOTONIC, TIMER_ABSTIME = 1, 1

# What machine code may need besides its own: every process has it, so an object file finds it by name.
C_FUNCTIONS = frozenset({"clock_gettime", "clock_nanosleep", "sendmmsg", "__errno_location"})

_clock_gettime: Any = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.int64))
_clock_nanosleep: Any = types.ExternalFunction(
    "clock_nanosleep", types.int32(types.int32, types.int32, types.int64, types.int64)
)
_sendmmsg: Any = types.ExternalFunction(
    "sendmmsg", types.int32(types.int32, types.int64, types.uint32, types.int32)
)
_errno_location: Any = types.ExternalFunction("__errno_location", types.int64())


def _element(context: Any, builder: Any, array_type: Any, array: Any, at: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [at])


def _make_address(_context: Any, array: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return types.int64(array), codegen


_address: Any = extending.intrinsic(_make_address)


def _make_int32_at(_context: Any, _address_type: Any) -> Any:
    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        place = builder.inttoptr(args[0], ir.IntType(32).as_pointer())
        return builder.sext(builder.load(place), ir.IntType(64))

    return types.int64(types.int64), codegen


_int32_at: Any = extending.intrinsic(_make_int32_at)


def _make_load_acquire(_context: Any, array: Any, _at: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _element(context, builder, signature.args[0], args[0], args[1])
        return builder.load_atomic(place, "acquire", 8)

    return types.int64(array, types.int64), codegen


load_acquire: Any = extending.intrinsic(_make_load_acquire)


def _make_store_release(_context: Any, array: Any, _at: Any, _value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _element(context, builder, signature.args[0], args[0], args[1])
        builder.store_atomic(args[2], place, "release", 8)
        return ir.Constant(ir.IntType(64), 0)

    return types.int64(array, types.int64, types.int64), codegen


store_release: Any = extending.intrinsic(_make_store_release)


def _monotonic_ns(scratch: Any) -> int:
    _clock_gettime(CLOCK_MONOTONIC, _address(scratch))
    seconds, nanoseconds = load_acquire(scratch, 0), load_acquire(scratch, 1)
    return int(seconds * 1_000_000_000 + nanoseconds)


def _sleep_until(when_ns: int, scratch: Any) -> int:
    store_release(scratch, 0, when_ns // 1_000_000_000)
    store_release(scratch, 1, when_ns % 1_000_000_000)
    _clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, _address(scratch), 0)
    return 0


def _send_messages(handle: int, headers: int, count: int, flags: int) -> int:
    sent = _sendmmsg(handle, headers, count, flags)
    if sent >= 0:
        return int(sent)
    return int(-_int32_at(_errno_location()))


def _make_copy_bytes(_context: Any, target: Any, _at: Any, source: Any, _start: Any, _count: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to = _element(context, builder, signature.args[0], args[0], args[1])
        origin = _element(context, builder, signature.args[2], args[2], args[3])
        memcpy: Any = cgutils.raw_memcpy
        memcpy(builder, to, origin, args[4], 1)
        return ir.Constant(ir.IntType(64), 0)

    return types.int64(target, types.int64, source, types.int64, types.int64), codegen


copy_bytes: Any = extending.intrinsic(_make_copy_bytes)


_jit: Any = numba.njit(nogil=True)
PRIMITIVES: dict[Any, Any] = {
    system.monotonic_ns: _jit(_monotonic_ns),
    system.sleep_until: _jit(_sleep_until),
    system.send_messages: _jit(_send_messages),
    system.copy_bytes: copy_bytes,
    system.load_acquire: load_acquire,
    system.store_release: store_release,
}
