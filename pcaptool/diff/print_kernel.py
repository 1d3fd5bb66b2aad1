"""Kernel: fingerprints of the packets of a batch.

Knows: where each packet's bytes and payload lie. Must not know: what a fingerprint is (`engine.loads.remainder`).
Time: O(bytes). Memory: what the caller passes.
"""

from __future__ import annotations

from typing import Any

from pcaptool.engine.loads import remainder

__all__ = ["prints"]


def prints(data: Any, packets: Any, out: Any) -> None:
    """Fill the rows of `out`: all bytes, payload, captured payload bytes.

    Parameters
    ----------
    data : bytes
        Of a batch.
    packets : (starts, sizes, places, lengths)
        Integers a packet: where it begins in `data`, captured bytes, where its payload begins in it, payload
        bytes by the headers.
    out : (frame, payload, captured)
        Integers a packet, written.
    """
    starts, sizes, places, lengths = packets
    frame, payload, captured = out
    for i in range(len(starts)):
        start = starts[i]
        end = start + sizes[i]
        frame[i] = remainder(data, start, end)
        begin = min(end, start + places[i])
        stop = min(end, begin + lengths[i])
        payload[i] = remainder(data, begin, stop)
        captured[i] = stop - begin
