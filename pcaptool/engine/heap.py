"""Memory that arrays of one batch have left is kept for those of the next.

Knows: glibc's mallopt(3). Must not know: who allocates.
By itself glibc gives an array beyond 128 KiB back to the system when it is freed, and the next one costs a page fault
every 4 KiB: a tenth of the time of analyzing a capture. For whole programs only: this is a setting of the process.
"""

from __future__ import annotations

import ctypes

__all__ = ["keep_freed"]

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_KEPT_BYTES = 256 << 20
_LARGEST_BYTES = 4 << 20


def keep_freed() -> bool:
    """Tell this process's allocator; whether it has such settings.

    Examples
    --------
    >>> keep_freed() in (True, False)
    True
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return False
    settings = ((_MMAP_THRESHOLD, _LARGEST_BYTES), (_TRIM_THRESHOLD, _KEPT_BYTES), (_TOP_PAD, _LARGEST_BYTES))
    accepted = [mallopt(name, value) for name, value in settings]  # each is tried
    return all(accepted)
