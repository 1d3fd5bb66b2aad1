"""Calling a compiled kernel by its address, without numba.

Knows: numba's native calling convention (`numba.core.callconv.CPUCallConv`) and how its array model is laid out:
a function gets a place for its result, a place for its exception, and every argument taken apart into integers,
and returns a status that is 0 or, for None, -2. Must not know: where machine code comes from.

An array becomes: memory information (none: kernels do not count references), owner (none), elements, item size,
address, shape, strides. A tuple becomes its members, one behind the other.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

__all__ = ["Flat", "arguments_like", "caller", "flatten"]

# What arguments are, as text, and the integers they become.
Flat = tuple[str, list[int]]

_OK = (0, -2)  # RETCODE_OK, RETCODE_NONE
_MOST_ARGUMENTS = 1_020  # ctypes' limit is 1,024


def _address_of(array: np.ndarray[Any, Any]) -> int:
    return int(array.__array_interface__["data"][0])


def _address_behind_header(array: np.ndarray[Any, Any]) -> int:
    """The first member behind the object's header (PyArrayObject_fields): six times as fast to ask for."""
    return _ADDRESS.from_address(id(array) + object.__basicsize__).value or 0


_ADDRESS = ctypes.c_void_p
_PROBE = np.zeros(1)
_address = (
    _address_behind_header
    if sys.implementation.name == "cpython" and _address_behind_header(_PROBE) == _address_of(_PROBE)
    else _address_of
)


def flatten(args: tuple[Any, ...]) -> Flat:
    """Take arguments apart.

    Returns
    -------
    kinds : str
        Equal for arguments that the same machine code takes.
    values : list of int

    Raises
    ------
    TypeError
        An argument that is neither integer, array nor tuple of them.

    Examples
    --------
    >>> kinds, values = flatten((7, (np.zeros((2, 3), "u2"),)))
    >>> kinds, values[:1] + values[3:5] + values[6:]
    ('i(u2Cw2)', [7, 6, 2, 2, 3, 6, 2])
    """
    kinds: list[str] = []
    values: list[int] = []
    _flatten(args, kinds, values)
    return "".join(kinds), values


def _flatten(args: tuple[Any, ...], kinds: list[str], values: list[int]) -> None:
    for value in args:
        if isinstance(value, np.ndarray):
            flags, shape, dtype = value.flags, value.shape, value.dtype
            kinds.append(_array_kind(dtype, flags.c_contiguous, flags.writeable, len(shape)))
            values += (
                0,
                0,
                value.size,
                dtype.itemsize,
                _address(value),
                *shape,
                *value.strides,
            )
        elif isinstance(value, tuple):
            kinds.append("(")
            _flatten(value, kinds, values)
            kinds.append(")")
        elif isinstance(value, (int, np.integer)):
            kinds.append("i")
            values.append(int(value))
        else:
            raise TypeError(f"a kernel takes no {type(value).__name__}")


@cache
def _array_kind(dtype: np.dtype[Any], contiguous: bool, writeable: bool, axes: int) -> str:
    return f"{dtype.str[1:]}{'C' if contiguous else 'A'}{'w' if writeable else 'r'}{axes}"


# A letter for an integer, a parenthesis, or an array: kind and size of its elements, order, access, axes.
_KIND = re.compile(r"([i()])(?![0-9])|([a-z][0-9]+)([CA])([wr])([0-9]+)")


def arguments_like(kinds: str) -> tuple[Any, ...]:
    """Arguments of these kinds, without content: for compiling where the true ones are not at hand.

    Parameters
    ----------
    kinds : str
        As `flatten` gives them.

    Raises
    ------
    ValueError
        No such kinds.

    Examples
    --------
    >>> number, (array,) = arguments_like("i(u2Ar2)")
    >>> number, array.dtype.str, array.ndim, array.flags.c_contiguous, array.flags.writeable
    (0, '<u2', 2, False, False)
    """
    open_tuples: list[list[Any]] = [[]]
    at = 0
    while at < len(kinds):
        found = _KIND.match(kinds, at)
        if found is None or (found[1] == ")" and len(open_tuples) == 1):
            raise ValueError(f"kinds of arguments: {kinds!r} at {at}")
        at = found.end()
        if found[1] == "(":
            open_tuples.append([])
        elif found[1] == ")":
            whole = tuple(open_tuples.pop())
            open_tuples[-1].append(whole)
        else:
            open_tuples[-1].append(0 if found[1] else _empty(found[2], found[3], found[4], int(found[5])))
    if len(open_tuples) != 1:
        raise ValueError(f"kinds of arguments: {kinds!r} ends too soon")
    return tuple(open_tuples[0])


def _empty(dtype: str, order: str, access: str, axes: int) -> np.ndarray[Any, Any]:
    array = (
        np.zeros((2,) * axes, dtype)
        if order == "C"
        else np.zeros((4,) * axes, dtype)[(slice(None, None, 2),) * axes]
    )
    array.flags.writeable = access == "w"
    return array


def caller(address: int, count: int, owner: Any) -> Callable[[list[int]], int]:
    """A function of flattened arguments.

    Parameters
    ----------
    address : int
        Of the machine code.
    count : int
        Flattened arguments it takes.
    owner : object
        Kept as long as the function: what holds the machine code in memory.

    Raises
    ------
    ValueError
        More arguments than can be passed.
    """
    if count > _MOST_ARGUMENTS:
        raise ValueError(f"{count} arguments")
    pointers = (ctypes.c_void_p, ctypes.c_void_p)
    function = ctypes.CFUNCTYPE(ctypes.c_int32, *pointers, *[ctypes.c_int64] * count)(address)

    def call(values: list[int], _owner: Any = owner) -> int:
        result, fault = ctypes.c_int64(0), ctypes.c_void_p()  # of its own: kernels run in several threads
        status = function(ctypes.addressof(result), ctypes.addressof(fault), *values)
        if status not in _OK:
            raise ArithmeticError(f"a kernel failed with status {status}")
        return result.value

    return call
