"""The function by which a compiled kernel is called from outside: one argument, the address of a block of words.

Knows: numba's arrays and its code generator; how `engine.calls` lays out the block, and where numpy's arrays keep their
fields. Must not know: what kernels compute.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numba.np import arrayobj

from pcaptool.engine.calls import DATA, DIMENSIONS, STRIDES

__all__ = ["entry"]

_numba: Any = types  # numba declares its types in part only
_WORD = ir.IntType(64)


def entry(kernel: Any, args: tuple[Any, ...]) -> Callable[[int], Any]:
    """A function, to be compiled, that calls a kernel with what a block says.

    Parameters
    ----------
    kernel : numba dispatcher
    args : tuple
        Arguments like those that there will be.
    """
    space: dict[str, Any] = {"kernel": kernel, "integer": _integer_at}
    words = iter(range(1_000_000))

    def expression(value: Any) -> str:
        if isinstance(value, tuple):
            return f"({''.join(f'{expression(member)}, ' for member in value)})"
        at = 8 * next(words)
        if not isinstance(value, np.ndarray):
            return f"integer(block, {at})"
        kind = _array_kind(value)
        name = f"array_{len(space)}"
        space[name] = _array_at(kind)
        return f"{name}(block, {at})"

    text = ", ".join(map(expression, args))
    exec(f"def call(block):\n    return kernel({text})", space)  # noqa: S102 - made of our own words
    made: Callable[[int], Any] = space["call"]
    return made


def _array_kind(value: np.ndarray[Any, Any]) -> Any:
    """As `engine.calls.kinds_of` tells arrays apart."""
    order = "C" if value.flags.c_contiguous else "A"
    readonly = not value.flags.writeable
    return _numba.Array(numba.from_dtype(value.dtype), value.ndim, order, readonly=readonly)


def _read(builder: Any, address: Any, offset: int, kind: Any) -> Any:
    place = builder.add(address, _WORD(offset))
    return builder.load(builder.inttoptr(place, kind.as_pointer()))


@intrinsic
def _integer_at(_context: Any, _block: Any, _at: Any) -> Any:
    """The word of the block."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return _read(builder, builder.add(*args), 0, _WORD)

    return types.int64(types.int64, types.int64), codegen


@cache
def _array_at(kind: Any) -> Any:
    """An array, from the word of the block that says where its object is."""

    @intrinsic
    def array_at(_context: Any, _block: Any, _at: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            populate: Any = arrayobj.populate_array  # as numba has it: without types
            array = context.make_array(signature.return_type)(context, builder)
            owner = _read(builder, builder.add(*args), 0, _WORD)
            item_bytes = context.get_abi_sizeof(context.get_data_type(kind.dtype))

            def numbers(field: int) -> list[Any]:
                first = _read(builder, owner, field, _WORD)
                return [_read(builder, first, 8 * axis, _WORD) for axis in range(kind.ndim)]

            strides = numbers(STRIDES)
            if kind.layout == "C":
                strides[-1:] = [_WORD(item_bytes)]
            populate(
                array,
                data=_read(builder, owner, DATA, array.data.type),
                shape=numbers(DIMENSIONS),
                strides=strides,
                itemsize=_WORD(item_bytes),
                meminfo=None,
            )
            return array._getvalue()  # noqa: SLF001 - numba's own extensions do no other

        return kind(types.int64, types.int64), codegen

    return array_at
