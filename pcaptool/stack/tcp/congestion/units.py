"""BBR's fixed point: bandwidth in segments per microsecond times 2**24, gains in 256ths (tcp_bbr.c).

Knows: how a bandwidth becomes bytes a second.
Must not know: where a bandwidth comes from.
"""

from __future__ import annotations

__all__ = ["BW_SCALE", "BW_UNIT", "UNIT", "bytes_per_second"]

BW_SCALE = 24
BW_UNIT = 1 << BW_SCALE
UNIT = 1 << 8
MARGIN_PERCENT = 1  # pace a little below the estimate


def bytes_per_second(mss: int, bandwidth: int, gain: int) -> int:
    """bbr_rate_bytes_per_sec.

    Examples
    --------
    >>> bytes_per_second(1448, 10 * BW_UNIT // 40_000, UNIT)  # ten segments in 40 ms, less one percent
    358354
    """
    rate = bandwidth * mss * gain >> 8
    return rate * (1_000_000 // 100 * (100 - MARGIN_PERCENT)) >> BW_SCALE
