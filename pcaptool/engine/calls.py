"""Calling a compiled kernel by its address, without numba.

Knows: numba's native calling convention (`numba.core.callconv.CPUCallConv`): a function gets a place for its result, a
place for its exception and its arguments, and returns a status that is 0 or, for None, -2. How numpy's arrays begin
(PyArrayObject_fields, part of its binary interface). Must not know: where machine code comes from.

Machine code of a kernel has one argument: the address of a block of words. Of an integer the word is its value, of an
array the address of its object, whose fields the machine code reads itself: taking a hundred arrays apart in Python,
and handing over seven numbers of each, took longer than many a kernel did. A tuple becomes its members, one behind the
other.
"""

from __future__ import annotations

import ctypes
import re
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["DATA", "DIMENSIONS", "STRIDES", "arguments_like", "caller", "flatten", "kinds_of"]

# Where an array's object says where its elements, shape and strides are.
_HEADER = object.__basicsize__
DATA, DIMENSIONS, STRIDES = _HEADER, _HEADER + 16, _HEADER + 24

_OK = (0, -2)  # RETCODE_OK, RETCODE_NONE
_CONTIGUOUS, _WRITEABLE = 0x0001, 0x0400  # NPY_ARRAY_C_CONTIGUOUS, NPY_ARRAY_WRITEABLE


def _check_layout() -> None:
    probe = np.zeros((2, 3), np.int16)
    words = [ctypes.c_void_p.from_address(id(probe) + at).value for at in (DATA, DIMENSIONS, STRIDES)]
    shape, strides = ((ctypes.c_ssize_t * 2).from_address(word or id(probe)) for word in words[1:])
    found = (words[0], tuple(shape), tuple(strides))
    if found != (probe.__array_interface__["data"][0], probe.shape, probe.strides):
        raise RuntimeError("numpy's arrays are not laid out as known: set NUMBA_DISABLE_JIT=1")


_check_layout()


def flatten(args: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[int]]:
    """Take arguments apart.

    Returns
    -------
    key : tuple
        Equal for arguments that the same machine code takes.
    words : list of int
        Valid as long as the arguments are there.

    Raises
    ------
    TypeError
        An argument that is neither integer, array nor tuple of them.

    Examples
    --------
    >>> numbers = np.zeros((2, 3), "u2")
    >>> key, words = flatten((7, (numbers,)))
    >>> words == [7, id(numbers)], key == flatten((8, (numbers[:1],)))[0], key == flatten((7, numbers))[0]
    (True, True, False)
    """
    key: list[Any] = []
    words: list[int] = []
    _flatten(args, key, words)
    return tuple(key), words


def _flatten(args: tuple[Any, ...], key: list[Any], words: list[int]) -> None:
    for value in args:
        if isinstance(value, np.ndarray):
            key += (value.dtype, value.flags.num & (_CONTIGUOUS | _WRITEABLE), value.ndim)
            words.append(id(value))
        elif isinstance(value, tuple):
            key.append("(")
            _flatten(value, key, words)
            key.append(")")
        elif isinstance(value, (int, np.integer)):
            key.append("i")
            words.append(int(value))
        else:
            raise TypeError(f"a kernel takes no {type(value).__name__}")


def kinds_of(args: tuple[Any, ...]) -> str:
    """What arguments are, as text: equal where `flatten` gives equal keys.

    Raises
    ------
    TypeError
        As there.

    Examples
    --------
    >>> kinds_of((7, (np.zeros((2, 3), "u2"),)))
    'i(u2Cw2)'
    """
    return "".join(map(_kind, args))


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        order = "C" if value.flags.c_contiguous else "A"
        return f"{value.dtype.str[1:]}{order}{'w' if value.flags.writeable else 'r'}{value.ndim}"
    if isinstance(value, tuple):
        return f"({kinds_of(value)})"
    if isinstance(value, (int, np.integer)):
        return "i"
    raise TypeError(f"a kernel takes no {type(value).__name__}")


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


def caller(address: int, owner: Any) -> Callable[[list[int]], int]:
    """A function of flattened arguments.

    Parameters
    ----------
    address : int
        Of the machine code.
    owner : object
        Kept as long as the function: what holds the machine code in memory.
    """
    function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(address)

    def call(words: list[int], _owner: Any = owner) -> int:
        block = array("q", (0, 0, *words))  # of its own: kernels run in several threads
        here = block.buffer_info()[0]
        status = function(here, here + 8, here + 16)
        if status not in _OK:
            raise ArithmeticError(f"a kernel failed with status {status}")
        return block[0]

    return call
