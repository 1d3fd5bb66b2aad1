"""Kernel: recorded packets to the frames that are to be sent, or the reason why one is not.

Knows: the order of things for one packet: cut or whole, link type, VLAN, headers, size. What a frame's headers are
and how they change is `frame_kernel`'s; how a super-packet is cut is `segment_kernel`'s.
Must not know: files, sockets, times.

A row for each frame, or for each packet that is refused (length 0 and a reason).
"""

from __future__ import annotations

from typing import Any

from pcaptool.engine.loads import be16, remainder
from pcaptool.engine.system import copy_bytes
from pcaptool.replay.frame_kernel import (
    F_DONE,
    F_L3,
    F_L4,
    F_PROTOCOL,
    F_SIZE,
    F_TYPE,
    complete_checksums,
    edit_frame,
    put16,
    read_headers,
)
from pcaptool.replay.inner_kernel import edit_inner
from pcaptool.replay.segment_kernel import payload_room, write_segment

__all__ = ["plan_packets"]

# Why a packet is refused; `plan.REFUSALS` has the words.
CUT, LINK_TYPE, NO_DESTINATION, TOO_LONG, NO_ROOM, NOT_IP, NOT_SEGMENTED, NO_HEADER, DATAGRAM = (
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
)

# settings[...]
SEGMENT, PAD, FIX, VLAN, VLAN_ID, DIGEST = 0, 1, 2, 3, 4, 5
VLAN_KEEP, VLAN_ADD, VLAN_STRIP = 0, 1, 2

# state[...]: the next packet, bytes used in `out`; and what happened to packets that were sent
NEXT, USED, SEGMENTED, PADDED, COMPLETED = 0, 1, 2, 3, 4

ETHERNET_BYTES, TAG_BYTES, LEAST_BYTES = 14, 4, 60
IPV4, IPV6, TAG, QINQ, TCP, UDP = 0x0800, 0x86DD, 0x8100, 0x88A8, 6, 17
FLAG_NOT_READY = 1 << 9
NONE, RAW, ETHERNET = 0, 1, 2  # what an interface's frames begin with (ETHERNET: an Ethernet header)


def plan_packets(
    data: Any,
    columns: Any,
    interfaces: Any,
    settings: Any,
    rules: Any,
    out: Any,
    rows: Any,
    state: Any,
    work: Any,
) -> int:
    """Plan packets state[NEXT]... until all are planned or `out` or `rows` is full.

    Parameters
    ----------
    data : uint8 array
        Bytes of all packets.
    columns : tuple of arrays
        Of the packets: offset, captured length, original length, link type, flags (-1: none), interface to leave by.
    interfaces : tuple of int64 arrays
        Of the interfaces: MTU, kind of link, own MAC, MAC that frames without one go to (-1: none).
    settings : int64 array
    rules : tuple of int64 arrays
        ttl, macs, addresses, ports (`frame_kernel.edit_frame`); macs of the second interface.
    out : uint8 array
        Receives the frames.
    rows : tuple of int64 arrays
        Receives packet, part, where in `out`, bytes, reason of refusal, digest.
    state : int64 array
    work : tuple
        Room: a uint8 array for one whole packet, int64 arrays of FRAME_SIZE, FRAME_SIZE and INNER_SIZE.

    Returns
    -------
    int
        Rows written.
    """
    orig_len = columns[2]
    count = 0
    while state[NEXT] < len(orig_len):
        added = _plan_one(
            data, columns, interfaces, settings, rules, out, rows, state, work, state[NEXT], count
        )
        if added < 0:
            break
        count += added
        state[NEXT] += 1
    return count


def _plan_one(
    data: Any,
    columns: Any,
    interfaces: Any,
    settings: Any,
    rules: Any,
    out: Any,
    rows: Any,
    state: Any,
    work: Any,
    i: int,
    row: int,
) -> int:
    """One packet: rows added, or -1 where there is no room for it."""
    captured, flags, leaves = int(columns[1][i]), int(columns[4][i]), int(columns[5][i])
    original = max(int(columns[2][i]), captured)
    buffer, frame = work[0], work[1]
    if row >= len(rows[0]):
        return -1
    if original + ETHERNET_BYTES + TAG_BYTES + LEAST_BYTES > len(buffer):
        return _refuse(rows, row, i, TOO_LONG)
    if captured < original and not settings[PAD]:
        return _refuse(rows, row, i, CUT)
    ethernet = 1 if interfaces[1][leaves] == ETHERNET else 0
    size = _link(
        data,
        int(columns[0][i]),
        captured,
        original,
        int(columns[3][i]),
        ethernet,
        interfaces[2][leaves],
        interfaces[3][leaves],
        settings,
        work,
    )
    if size < 0:
        return _refuse(rows, row, i, -size)
    l3 = ETHERNET_BYTES if ethernet else 0
    kind = be16(buffer, 12) if ethernet else (IPV4 if buffer[0] >> 4 == 4 else IPV6)
    read_headers(buffer, size, l3, kind, frame)
    if flags >= 0 and flags & FLAG_NOT_READY:
        frame[F_DONE] = 0
    padded = captured < original
    ready = frame[F_DONE]
    macs = rules[4] if leaves else rules[1]
    edit_inner(buffer, size, frame, work[2], work[3], rules[2], rules[3])
    edit_frame(buffer, 0, size, frame, ethernet, rules[0], macs, rules[2], rules[3])
    largest = interfaces[0][leaves] + l3 + (TAG_BYTES if ethernet and kind in (TAG, QINQ) else 0)
    if size <= largest:
        complete_checksums(buffer, size, frame, 1 if settings[FIX] or padded else 0)
        if _emit(out, rows, state, row, i, 0, buffer, size, settings) < 0:
            return -1
        added = 1
    else:
        added = _cut(out, rows, state, work, row, i, size, interfaces[0][leaves], settings)
        if added < 0:
            return -1
        if rows[4][row] == 0:
            state[SEGMENTED] += 1
            ready = 1
    if rows[4][row] == 0:
        state[PADDED] += padded
        state[COMPLETED] += 1 - ready
    return added


def _refuse(rows: Any, row: int, i: int, reason: int) -> int:
    rows[0][row], rows[1][row], rows[2][row], rows[3][row], rows[4][row] = i, 0, 0, 0, reason
    rows[5][row] = 0
    return 1


def _link(
    data: Any,
    at: int,
    captured: int,
    original: int,
    linktype: int,
    ethernet: int,
    own: int,
    destination: int,
    settings: Any,
    work: Any,
) -> int:
    """The packet with the interface's link header in front, in the work buffer: its bytes, or minus a reason."""
    buffer, found = work[0], work[2]
    _network_header(data, at, captured, linktype, found)
    skip, kind = found[0], found[1]
    if skip < 0:
        return -LINK_TYPE if found[1] == 0 else -NO_HEADER
    if ethernet and linktype == 1:
        copy_bytes(buffer, 0, data, at, captured)
        for k in range(captured, original):
            buffer[k] = 0
        return _tag(buffer, original, settings)
    if not ethernet and (kind not in (IPV4, IPV6) or captured - skip < 20):
        return -NOT_IP
    if ethernet and destination < 0:
        return -NO_DESTINATION
    begin = ETHERNET_BYTES if ethernet else 0
    if ethernet:
        for k in range(6):
            buffer[k] = (destination >> (40 - 8 * k)) & 0xFF
            buffer[6 + k] = (own >> (40 - 8 * k)) & 0xFF
        put16(buffer, 12, kind)
    copy_bytes(buffer, begin, data, at + skip, captured - skip)
    for k in range(begin + captured - skip, begin + original - skip):
        buffer[k] = 0
    return _tag(buffer, begin + original - skip, settings) if ethernet else original - skip


def _tag(buffer: Any, size: int, settings: Any) -> int:
    """Add or strip the outermost 802.1Q tag; the frame's bytes afterwards."""
    if settings[VLAN] == VLAN_ADD:
        for k in range(size - 1, 11, -1):
            buffer[k + TAG_BYTES] = buffer[k]
        put16(buffer, 12, TAG)
        put16(buffer, 14, settings[VLAN_ID])
        return size + TAG_BYTES
    if settings[VLAN] == VLAN_STRIP and size >= 18 and be16(buffer, 12) in (TAG, QINQ):
        for k in range(12, size - TAG_BYTES):
            buffer[k] = buffer[k + TAG_BYTES]
        return size - TAG_BYTES
    return size


def _network_header(data: Any, at: int, captured: int, linktype: int, found: Any) -> int:
    """Where layer 3 begins, and its EtherType; -1 and 0 where the link type is not known, -1 and 1 where it is cut."""
    found[0], found[1] = -1, 1
    if linktype == 1:
        if captured >= ETHERNET_BYTES:
            found[0], found[1] = ETHERNET_BYTES, be16(data, at + 12)
            skip = ETHERNET_BYTES
            while found[1] in (TAG, QINQ) and captured >= skip + TAG_BYTES:
                found[1] = be16(data, at + skip + 2)
                skip += TAG_BYTES
            found[0] = skip
        return 0
    if linktype in (12, 14, 101, 228, 229):  # RAW, IPV4, IPV6
        skip = 0
    elif linktype in (0, 108):  # NULL, LOOP: an address family that differs between systems
        skip = 4
    elif linktype == 113:  # LINUX_SLL
        skip = 16
    elif linktype == 276:  # LINUX_SLL2
        skip = 20
    elif linktype == 104:  # C_HDLC
        skip = 4
    else:
        found[1] = 0
        return 0
    if captured <= skip:
        return 0
    found[0] = skip
    if linktype == 113:
        found[1] = be16(data, at + 14)
    elif linktype == 276:
        found[1] = be16(data, at)
    elif linktype == 104:
        found[1] = be16(data, at + 2)
    else:
        version = data[at + skip] >> 4
        found[1] = IPV4 if version == 4 else IPV6
        if version not in (4, 6):
            found[0], found[1] = -1, 1
    return 0


def _emit(
    out: Any, rows: Any, state: Any, row: int, i: int, part: int, source: Any, size: int, settings: Any
) -> int:
    """Copy a frame to `out`, with zeros up to the least size of Ethernet behind it (not sent)."""
    at = int(state[USED])
    if at + max(size, LEAST_BYTES) > len(out):
        return -1
    copy_bytes(out, at, source, 0, size)
    _finish_row(out, rows, state, row, i, part, at, size, settings)
    return 1


def _finish_row(
    out: Any, rows: Any, state: Any, row: int, i: int, part: int, at: int, size: int, settings: Any
) -> int:
    room = max(size, LEAST_BYTES)
    for k in range(at + size, at + room):
        out[k] = 0
    rows[0][row], rows[1][row], rows[2][row], rows[3][row], rows[4][row] = i, part, at, size, 0
    rows[5][row] = remainder(out, at, at + room) if settings[DIGEST] else 0
    state[USED] = at + room
    return 0


def _cut(
    out: Any, rows: Any, state: Any, work: Any, row: int, i: int, size: int, mtu: int, settings: Any
) -> int:
    """A frame that is larger than the MTU: its segments, a refusal, or -1 where there is no room."""
    buffer, frame, scratch = work[0], work[1], work[2]
    tcp = frame[F_L4]
    if frame[F_PROTOCOL] != TCP or tcp < 0 or tcp + frame[F_SIZE] > size or _fragmented(buffer, frame):
        datagram = frame[F_PROTOCOL] == UDP and not _fragmented(buffer, frame)
        return _refuse(rows, row, i, DATAGRAM if datagram else TOO_LONG)
    room = payload_room(buffer, frame, mtu)
    if room <= 0:
        return _refuse(rows, row, i, NO_ROOM)
    if not settings[SEGMENT]:
        return _refuse(rows, row, i, NOT_SEGMENTED)
    header = (buffer[tcp + 12] >> 4) * 4
    total = frame[F_SIZE] - header
    parts = (total + room - 1) // room
    head = tcp + header
    if row + parts > len(rows[0]) or state[USED] + total + parts * (head + LEAST_BYTES) > len(out):
        return -1
    for part in range(parts):
        at, place = part * room, int(state[USED])
        length = write_segment(buffer, 0, frame, at, min(room, total - at), part, out, place, scratch)
        _finish_row(out, rows, state, row + part, i, part, place, length, settings)
    return parts  # type: ignore[no-any-return]


def _fragmented(buffer: Any, frame: Any) -> bool:
    l3 = frame[F_L3]
    return frame[F_TYPE] == IPV4 and be16(buffer, l3 + 6) & 0x3FFF != 0
