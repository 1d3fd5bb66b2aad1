"""Memory between planning and sending: a ring of slots, each with some frames and what is known of them.

Knows: arrays and their layout, the C structures that sendmmsg(2) reads (64-bit Linux).
Must not know: what frames mean, sockets.
Memory is bounded, whatever the capture: SLOTS * SLOT_BYTES and 120 bytes a row; pages that are never used cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["HEADER_WORDS", "SLOTS", "SLOT_BYTES", "SLOT_ROWS", "Ring", "Slot"]

SLOTS = 16
SLOT_ROWS = 4096  # a 64 KiB super-packet in segments of 16 bytes still fits
SLOT_BYTES = 4 << 20
HEADER_WORDS = 8  # struct mmsghdr: 64 bytes
_IOV, _IOV_COUNT = 2, 3  # its words that are not zero

Ints = npt.NDArray[np.int64]


@dataclass(slots=True)
class Slot:
    """Frames in the order of sending; arrays of SLOT_ROWS, of which `count` rows count.

    Parameters
    ----------
    data : numpy.ndarray of uint8
        Bytes of the frames.
    n : Ints
        Packet in the capture, 1-based.
    round : Ints
        Which time the capture is sent, 0-based.
    part : Ints
        Segment of a super-packet, 0-based.
    at, size : Ints
        Where in `data`; size 0 is a packet that is refused.
    reason : Ints
        Why, 0 for those that are sent.
    digest : Ints
        Of the frame's bytes, if asked for.
    due_ns : Ints
        Deadline since the start.
    interface : Ints
        Number of the interface it leaves by.
    sent_ns : Ints
        Filled by the sender: when it was handed over, since the start; -1 while it was not.
    error : Ints
        Filled by the sender: errno, 0 for none.
    """

    data: npt.NDArray[np.uint8]
    n: Ints
    round: Ints
    part: Ints
    at: Ints
    size: Ints
    reason: Ints
    digest: Ints
    due_ns: Ints
    interface: Ints
    sent_ns: Ints
    error: Ints
    count: int = 0

    @staticmethod
    def alone() -> Slot:
        """One slot outside any ring, to plan without sending."""
        columns: Any = [np.zeros(SLOT_ROWS, np.int64) for _ in range(11)]
        return Slot(np.empty(SLOT_BYTES, np.uint8), *columns)

    def frame(self, row: int) -> bytes:
        """Bytes of one frame."""
        at = int(self.at[row])
        return self.data[at : at + int(self.size[row])].tobytes()

    def clear(self) -> None:
        """Ready for other frames."""
        self.count = 0
        self.sent_ns[:] = -1
        self.error[:] = 0


class Ring:
    """All slots, as the sender's kernel sees them: flat arrays of SLOTS * SLOT_ROWS.

    Attributes
    ----------
    slots : list of Slot
    counts : Ints
        Rows of each slot.
    due_ns, interface, size, sent_ns, error : Ints
    headers : Ints
        A struct mmsghdr for each row.
    """

    def __init__(self) -> None:
        rows = SLOTS * SLOT_ROWS
        self._data = np.empty((SLOTS, SLOT_BYTES), np.uint8)
        columns: Any = [np.zeros(rows, np.int64) for _ in range(11)]
        self._at, self.size = columns[3], columns[4]
        self.due_ns, self.interface, self.sent_ns, self.error = columns[7:]
        self.counts = np.zeros(SLOTS, np.int64)
        self._iov = np.zeros((rows, 2), np.int64)
        self.headers = np.zeros(rows * HEADER_WORDS, np.int64)
        words = self.headers.reshape(rows, HEADER_WORDS)
        words[:, _IOV] = self._iov.ctypes.data + 16 * np.arange(rows)
        words[:, _IOV_COUNT] = 1
        self.slots: list[Slot] = []
        for k in range(SLOTS):
            views: Any = [column[k * SLOT_ROWS : (k + 1) * SLOT_ROWS] for column in columns]
            self.slots.append(Slot(self._data[k], *views))

    def close_slot(self, number: int) -> None:
        """The slot is filled: its frames' addresses for the kernel."""
        slot = self.slots[number]
        rows = slice(number * SLOT_ROWS, number * SLOT_ROWS + slot.count)
        self._iov[rows, 0] = self._data[number].ctypes.data + self._at[rows]
        self._iov[rows, 1] = self.size[rows]
        self.counts[number] = slot.count
