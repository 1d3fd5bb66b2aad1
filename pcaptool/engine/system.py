"""System calls and shared memory of kernels, as plain Python; `engine.compiled_system` has the same as machine code.

Knows: the monotonic clock, absolute sleeping, sendmmsg, ordered loads and stores between threads, copying of bytes.
Must not know: what is sent, or why.
Kernels hold no interpreter lock when compiled, so one that sends goes on while Python plans what comes next.
`scratch` is an int64 array of at least two elements (a struct timespec).
"""

from __future__ import annotations

import ctypes
import time
from functools import cache
from typing import Any

__all__ = ["copy_bytes", "load_acquire", "monotonic_ns", "send_messages", "sleep_until", "store_release"]


def monotonic_ns(_scratch: Any) -> int:
    """CLOCK_MONOTONIC in nanoseconds."""
    return time.monotonic_ns()


def sleep_until(when_ns: int, _scratch: Any) -> int:
    """Sleep to a moment of CLOCK_MONOTONIC (clock_nanosleep with TIMER_ABSTIME)."""
    left_ns = when_ns - time.monotonic_ns()
    if left_ns > 0:
        time.sleep(left_ns / 1e9)
    return 0


def load_acquire(array: Any, at: int) -> int:
    """An element that another thread writes; what that thread wrote before is seen too."""
    return int(array[at])


def store_release(array: Any, at: int, value: int) -> int:
    """An element that another thread reads; what was written before is seen there too."""
    array[at] = value
    return 0


def send_messages(handle: int, headers: int, count: int, flags: int) -> int:
    """sendmmsg(2): messages taken by the kernel, or minus errno.

    Parameters
    ----------
    handle : int
        File descriptor of a socket.
    headers : int
        Address of `count` struct mmsghdr.
    """
    sent = _sendmmsg()(handle, headers, count, flags)
    return int(sent) if sent >= 0 else -ctypes.get_errno()


def copy_bytes(target: Any, at: int, source: Any, start: int, count: int) -> int:
    r"""target[at:at+count] = source[start:start+count]; the two must not overlap.

    Examples
    --------
    >>> room = bytearray(4)
    >>> copy_bytes(memoryview(room), 1, memoryview(b"abcd"), 2, 2), room
    (0, bytearray(b'\x00cd\x00'))
    """
    if start + count > len(source) or at + count > len(target):
        raise IndexError("copy beyond the end of a buffer")
    target[at : at + count] = source[start : start + count]
    return 0


@cache
def _sendmmsg() -> Any:
    function = ctypes.CDLL(None, use_errno=True).sendmmsg
    function.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
    function.restype = ctypes.c_int
    return function
