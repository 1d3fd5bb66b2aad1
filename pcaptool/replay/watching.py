"""What arrives on the far side: a thread that receives, and frames found again by their bytes.

Knows: packet sockets with kernel time stamps; that a card's VLAN offload takes the tag out of the frame; that a frame
shorter than 60 bytes may arrive with zeros behind it.
Must not know: plans, reports.
A frame is known by a 62-bit digest of its bytes (`engine.loads.remainder`), computed as it arrives; equal frames are
matched in order. Memory: 16 bytes a frame that arrived.
"""

from __future__ import annotations

import socket
import struct
import threading
from array import array

import numpy as np
import numpy.typing as npt

from pcaptool.engine.loads import remainder

__all__ = ["Watcher", "match"]

LEAST_BYTES = 60
_FRAME_BYTES = 1 << 18
_ANCILLARY_BYTES = 256
_SO_TIMESTAMPNS, _SOL_PACKET = 35, 263
_PACKET_AUXDATA, _PACKET_STATISTICS = 8, 6
_VLAN_VALID = 1 << 4
_PACKET_OUTGOING = 4
_AUXDATA = struct.Struct("IIIHHHH")

Ints = npt.NDArray[np.int64]


class Watcher:
    """Receives in a thread from its making until `finish`.

    Parameters
    ----------
    handle : socket
        From `interfaces.open_receiver`; closed by `finish`.
    """

    def __init__(self, handle: socket.socket) -> None:
        self._handle = handle
        self._times, self._digests = array("q"), array("q")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._thread.start()

    @property
    def count(self) -> int:
        """Frames that arrived so far."""
        return len(self._digests)

    def _run(self) -> None:
        while True:
            try:
                data, ancillary, _, address = self._handle.recvmsg(_FRAME_BYTES, _ANCILLARY_BYTES)
            except TimeoutError:
                if self._stop.is_set():
                    return
                continue
            except OSError:  # the interface went away or down: what arrived before counts
                if self._stop.wait(0.05):
                    return
                continue
            if address[2] != _PACKET_OUTGOING:
                time_ns, frame = _unpack(data, ancillary)
                self._times.append(time_ns)
                self._digests.append(remainder(frame, 0, len(frame)))

    def finish(self) -> tuple[Ints, Ints, int]:
        """Times (since 1970) and digests of all that arrived, and how many more the socket had to drop."""
        self._stop.set()
        self._thread.join()
        statistics = self._handle.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self._handle.close()
        lost = struct.unpack("II", statistics)[1]
        return np.array(self._times, np.int64), np.array(self._digests, np.int64), int(lost)


def _unpack(data: bytes, ancillary: list[tuple[int, int, bytes]]) -> tuple[int, bytes]:
    """Arrival time and frame, with the tag that was taken out, and at least 60 bytes long."""
    time_ns, frame = 0, data
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("qq", value[:16])
            time_ns = seconds * 10**9 + nanoseconds
        elif level == _SOL_PACKET and kind == _PACKET_AUXDATA:
            status, _, _, _, _, tci, tpid = _AUXDATA.unpack(value[: _AUXDATA.size])
            if status & _VLAN_VALID:
                frame = data[:12] + struct.pack("!HH", tpid or 0x8100, tci) + data[12:]
    return time_ns, frame.ljust(LEAST_BYTES, b"\0")


def match(sent: Ints, seen: Ints) -> Ints:
    """For each sent digest which of the seen ones it is, -1 where it is none; equal ones are matched in order.

    Examples
    --------
    >>> match(np.array([5, 7, 5, 5]), np.array([7, 5, 9, 5])).tolist()
    [1, 0, 3, -1]
    """
    out = np.full(len(sent), -1, np.int64)
    if not len(sent) or not len(seen):
        return out
    sent_order, seen_order = np.argsort(sent, kind="stable"), np.argsort(seen, kind="stable")
    left, right = sent[sent_order], seen[seen_order]
    # The k-th of equal digests on one side belongs to the k-th on the other.
    rank = np.arange(len(left)) - np.searchsorted(left, left)
    first = np.searchsorted(right, left)
    place = first + rank
    fits = place < len(right)
    fits[fits] = right[place[fits]] == left[fits]
    out[sent_order[fits]] = seen_order[place[fits]]
    return out
