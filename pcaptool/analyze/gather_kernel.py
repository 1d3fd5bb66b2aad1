"""Kernel: the columns of a batch as the rows that conversations and TCP analysis want, and back as columns.

Knows: which header of a packet counts (the innermost that no ICMP error quotes), which column goes where.
Must not know: what is made of them (`flow_kernel`, `tcp_kernel`, `sender_kernel`).
Columns have their own widths: `0 +` makes a sum signed and wide.
One pass over each table's rows, each column read once: with one numpy call a column this took as long as all rules.
"""

from __future__ import annotations

from typing import Any

from pcaptool.analyze.flow_kernel import (
    IN_ACK,
    IN_DST,
    IN_DSTPORT,
    IN_FLAGS,
    IN_LEN,
    IN_MSS,
    IN_N,
    IN_PAYLOAD,
    IN_PROTOCOL,
    IN_SACK_PERMITTED,
    IN_SEQ,
    IN_SRC,
    IN_SRCPORT,
    IN_TIMESTAMPS,
    IN_TS,
    IN_WSCALE,
    OUT_ACK,
    OUT_FLOW,
    OUT_REUSED,
    OUT_SEQ,
    OUT_SIDE,
    OUT_STREAM,
)
from pcaptool.analyze.sender_kernel import (
    X_HIGHEST,
    X_LEFT,
    X_LEFT2,
    X_MSS,
    X_RIGHT,
    X_RIGHT2,
    X_SACK_PERMITTED,
    X_TSECR,
    X_TSVAL,
    X_WIDTH,
)
from pcaptool.analyze.tcp_kernel import (
    FAST,
    OUT_ACK_RTT,
    OUT_FLAGS,
    OUT_INITIAL_RTT,
    OUT_OF_ORDER,
    RETRANSMISSION,
    SPURIOUS,
)
from pcaptool.analyze.tcp_kernel import IN_ACK as SEG_ACK
from pcaptool.analyze.tcp_kernel import IN_BASE as SEG_BASE
from pcaptool.analyze.tcp_kernel import IN_FLAGS as SEG_FLAGS
from pcaptool.analyze.tcp_kernel import IN_MPTCP as SEG_MPTCP
from pcaptool.analyze.tcp_kernel import IN_N as SEG_N
from pcaptool.analyze.tcp_kernel import IN_REUSED as SEG_REUSED
from pcaptool.analyze.tcp_kernel import IN_SACK as SEG_SACK
from pcaptool.analyze.tcp_kernel import IN_SEQ as SEG_SEQ
from pcaptool.analyze.tcp_kernel import IN_SIDE as SEG_SIDE
from pcaptool.analyze.tcp_kernel import IN_SIZE as SEG_SIZE
from pcaptool.analyze.tcp_kernel import IN_STREAM as SEG_STREAM
from pcaptool.analyze.tcp_kernel import IN_TS as SEG_TS
from pcaptool.analyze.tcp_kernel import IN_WINDOW as SEG_WINDOW
from pcaptool.analyze.tcp_kernel import IN_WSCALE as SEG_WSCALE
from pcaptool.analyze.timing_kernel import IN_DATA as TIME_DATA
from pcaptool.analyze.timing_kernel import IN_FLOW as TIME_FLOW
from pcaptool.analyze.timing_kernel import IN_INITIAL as TIME_INITIAL
from pcaptool.analyze.timing_kernel import IN_REPEATS as TIME_REPEATS
from pcaptool.analyze.timing_kernel import IN_RTT as TIME_RTT
from pcaptool.analyze.timing_kernel import IN_SIDE as TIME_SIDE
from pcaptool.analyze.timing_kernel import IN_TS as TIME_TS
from pcaptool.analyze.timing_kernel import IN_WAITS as TIME_WAITS

__all__ = ["announcing", "extras", "headers", "innermost", "segments", "spread", "timed"]

TCP, UDP = 6, 17
FIN, SYN, ACK = 1, 2, 16
MASK32 = 0xFFFFFFFF
HALF = 1 << 31
SUMMED_BLOCKS, SEEN_BLOCKS = 3, 4  # SACK blocks: in the sum of `tcp_kernel`, known to `sender_kernel`


def innermost(first_n: int, table: Any, at: Any) -> None:
    """For each packet the row of its innermost header that is not quoted.

    Parameters
    ----------
    first_n : int
    table : tuple of arrays
        n, depth, quoted.
    at : int64 array
        An element a packet, -1 at first, written.
    """
    n, depth, quoted = table
    for row in range(len(n)):
        if quoted[row]:
            continue
        packet = n[row] - first_n
        if at[packet] < 0 or depth[row] >= depth[at[packet]]:
            at[packet] = row


def announcing(first_n: int, table: Any, proto: Any, number: int, at: Any) -> None:
    """The same for IP headers before a header of the given protocol."""
    n, depth, quoted = table
    for row in range(len(n)):
        if quoted[row] or proto[row] != number:
            continue
        packet = n[row] - first_n
        if at[packet] < 0 or depth[row] >= depth[at[packet]]:
            at[packet] = row


def headers(first_n: int, packets: Any, ip: Any, tcp: Any, udp: Any, places: Any, out: Any) -> int:
    """Rows of `flow_kernel.track`, in packet order.

    Parameters
    ----------
    first_n : int
    packets : tuple of arrays
        ts, len.
    ip : tuple of arrays
        Codes of src and dst, and the number of the address of each code.
    tcp : two tuples of arrays
        srcport, dstport, len and its validity, seq_raw, ack_raw, flags; MSS, window scale, each with validity, SACK
        permitted, validity of TSval.
    udp : tuple of arrays
        srcport, dstport, payload_bytes.
    places : tuple of int64 arrays
        For each packet the row of its tcp, udp header, and of the IP header before either; -1 where there is none.
    out : (rows, tcp rows, udp rows)
        Written, what only SYNs say of them only; -1 in the others says that it is the other protocol.

    Returns
    -------
    int
        Rows written.
    """
    ts, length = packets
    src, dst, src_ids, dst_ids = ip
    (tcp_srcport, tcp_dstport, tcp_len, tcp_len_known, seq, ack, flags), options = tcp
    mss, mss_known, wscale, wscale_known, sack, stamps_known = options
    udp_srcport, udp_dstport, udp_payload = udp
    at_tcp, at_udp, under_tcp, under_udp = places
    rows, tcp_rows, udp_rows = out
    k = 0
    for packet in range(len(at_tcp)):
        t, u = at_tcp[packet], at_udp[packet]
        if t < 0 and u < 0:
            continue
        below = under_tcp[packet] if t >= 0 else under_udp[packet]
        rows[k, IN_SRC] = rows[k, IN_DST] = -1
        if below >= 0:
            rows[k, IN_SRC] = src_ids[src[below]] if src[below] >= 0 else -1
            rows[k, IN_DST] = dst_ids[dst[below]] if dst[below] >= 0 else -1
        rows[k, IN_N], rows[k, IN_TS], rows[k, IN_LEN] = first_n + packet, ts[packet], length[packet]
        if t >= 0:  # TCP in a UDP tunnel is the inner one
            tcp_rows[k], udp_rows[k] = t, -1
            rows[k, IN_PROTOCOL], rows[k, IN_SRCPORT], rows[k, IN_DSTPORT] = (
                TCP,
                tcp_srcport[t],
                tcp_dstport[t],
            )
            rows[k, IN_PAYLOAD] = tcp_len[t] if tcp_len_known[t] else -1
            rows[k, IN_SEQ], rows[k, IN_ACK], rows[k, IN_FLAGS] = seq[t], ack[t], flags[t]
            if flags[t] & SYN:  # `track` looks at them only then
                rows[k, IN_MSS] = mss[t] if mss_known[t] else -1
                rows[k, IN_WSCALE] = wscale[t] if wscale_known[t] else -1
                rows[k, IN_SACK_PERMITTED] = 1 if sack[t] else 0
                rows[k, IN_TIMESTAMPS] = 1 if stamps_known[t] else 0
        else:
            tcp_rows[k], udp_rows[k] = -1, u
            rows[k, IN_PROTOCOL], rows[k, IN_SRCPORT], rows[k, IN_DSTPORT] = (
                UDP,
                udp_srcport[u],
                udp_dstport[u],
            )
            rows[k, IN_PAYLOAD] = udp_payload[u]
            rows[k, IN_SEQ] = rows[k, IN_ACK] = rows[k, IN_FLAGS] = 0
        k += 1
    return k


def spread(first_n: int, rows: Any, found: Any, places: Any, columns: Any) -> None:
    """What `flow_kernel.track` found, as columns.

    Parameters
    ----------
    first_n : int
    rows, found : int64 arrays
        Its input and output.
    places : (tcp rows, udp rows)
        As `headers` wrote them.
    columns : (packets, tcp, udp)
        Of packets and udp: flow, validity; of tcp: flow, stream, whether forward, seq, ack, validity. Zero at first.
    """
    tcp_rows, udp_rows = places
    (packet_flow, packet_known), (tcp_flow, stream, forward, seq, ack, tcp_known), (udp_flow, udp_known) = (
        columns
    )
    for k in range(len(rows)):
        flow = found[k, OUT_FLOW]
        packet, t, u = rows[k, IN_N] - first_n, tcp_rows[k], udp_rows[k]
        packet_flow[packet], packet_known[packet] = flow, True
        if t >= 0:
            tcp_flow[t], stream[t], forward[t] = flow, found[k, OUT_STREAM], found[k, OUT_SIDE] == 0
            seq[t], ack[t], tcp_known[t] = found[k, OUT_SEQ], found[k, OUT_ACK], True
        else:
            udp_flow[u], udp_known[u] = flow, True


def segments(rows: Any, found: Any, tcp_rows: Any, tcp: Any, at: Any, out: Any) -> int:
    """Rows of `tcp_kernel.analyze`: those of `track` that are TCP.

    Parameters
    ----------
    rows, found : int64 arrays
        Input and output of `flow_kernel.track`.
    tcp_rows : int64 array
    tcp : tuple of arrays
        Window, window scale and its validity, offsets of SACK blocks, their left and right edges, offsets of MPTCP
        subtypes, and these.
    at : int64 array
        Written: the tcp table's row of each.
    out : (IN_WIDTH, segments) int64
        Written.

    Returns
    -------
    int
        Segments.
    """
    window, wscale, wscale_known, offsets, left, right, subtypes_at, subtypes = tcp
    m = 0
    for k in range(len(rows)):
        t = tcp_rows[k]
        if t < 0:
            continue
        at[m] = t
        out[SEG_STREAM, m], out[SEG_SIDE, m], out[SEG_N, m], out[SEG_TS, m] = (
            found[k, OUT_STREAM],
            found[k, OUT_SIDE],
            rows[k, IN_N],
            rows[k, IN_TS],
        )
        out[SEG_SEQ, m], out[SEG_ACK, m], out[SEG_FLAGS, m], out[SEG_WINDOW, m] = (
            rows[k, IN_SEQ],
            rows[k, IN_ACK],
            rows[k, IN_FLAGS],
            window[t],
        )
        out[SEG_SIZE, m], out[SEG_BASE, m] = (
            rows[k, IN_PAYLOAD],
            (rows[k, IN_SEQ] - found[k, OUT_SEQ]) & MASK32,
        )
        out[SEG_WSCALE, m] = wscale[t] if wscale_known[t] else -1
        sacked = 0
        begin = offsets[t]
        for block in range(begin, min(offsets[t + 1], begin + SUMMED_BLOCKS)):
            sacked += (0 + right[block] - left[block]) & MASK32
        operations = 0
        for option in range(subtypes_at[t], subtypes_at[t + 1]):
            operations |= 1 << subtypes[option]
        out[SEG_SACK, m], out[SEG_REUSED, m], out[SEG_MPTCP, m] = sacked, found[k, OUT_REUSED], operations
        m += 1
    return m


def extras(at: Any, tcp: Any, out: Any) -> None:
    """What `sender_kernel.follow` wants beyond these.

    Parameters
    ----------
    at : int64 array
        The tcp table's row of each segment.
    tcp : tuple of arrays
        TSval, TSecr, their validity, MSS and its validity, SACK permitted, ack_raw, offsets of SACK blocks, left and
        right edges.
    out : (X_WIDTH, segments) int64
        Written; -1 where the segment has none.
    """
    tsval, tsecr, stamps_known, mss, mss_known, sack, ack, offsets, left, right = tcp
    for m in range(len(at)):
        t = at[m]
        for column in range(X_WIDTH):
            out[column, m] = -1
        if stamps_known[t]:
            out[X_TSVAL, m], out[X_TSECR, m] = tsval[t], tsecr[t]
        if mss_known[t]:
            out[X_MSS, m] = mss[t]
        out[X_SACK_PERMITTED, m] = 1 if sack[t] else 0
        begin, end = offsets[t], min(offsets[t + 1], offsets[t] + SEEN_BLOCKS)
        if end == begin:
            continue
        out[X_LEFT, m], out[X_RIGHT, m] = left[begin], right[begin]
        if end > begin + 1:
            out[X_LEFT2, m], out[X_RIGHT2, m] = left[begin + 1], right[begin + 1]
        highest = 0
        for block in range(begin, end):
            ahead = (0 + right[block] - ack[t]) & MASK32
            if highest < ahead < HALF:
                highest = ahead
        out[X_HIGHEST, m] = (ack[t] + highest) & MASK32


def timed(rows: Any, found: Any, waits: Any, at: Any, tcp: Any, out: Any, acks: Any, ends: Any) -> None:
    """Rows of `timing_kernel.follow`, and what acknowledges what.

    Parameters
    ----------
    rows, found : int64 arrays
        Input and output of `tcp_kernel.analyze`.
    waits : int64 array
        `sender_kernel`'s OUT_WAITS of each segment.
    at : int64 array
        The tcp table's row of each segment.
    tcp : tuple of arrays
        Its flow and relative ack.
    out : (IN_WIDTH, segments) int64
        Written.
    acks, ends : int64 arrays
        Written: relative acknowledgement number, -1 where there is none; relative number behind the segment.
    """
    flow, ack = tcp
    for m in range(len(at)):
        t, size, flags, told = at[m], rows[SEG_SIZE, m], rows[SEG_FLAGS, m], found[OUT_FLAGS, m]
        out[TIME_FLOW, m], out[TIME_SIDE, m], out[TIME_TS, m] = flow[t], rows[SEG_SIDE, m], rows[SEG_TS, m]
        out[TIME_DATA, m] = 1 if size > 0 or (size == 0 and flags & FIN) else 0
        repeats = 1 if told & (RETRANSMISSION | FAST | OUT_OF_ORDER) else 0
        out[TIME_REPEATS, m] = 2 if told & SPURIOUS else repeats
        out[TIME_WAITS, m], out[TIME_RTT, m] = waits[m], found[OUT_ACK_RTT, m]
        out[TIME_INITIAL, m] = found[OUT_INITIAL_RTT, m]
        acks[m] = 0 + ack[t] if flags & ACK else -1
        ends[m] = (rows[SEG_SEQ, m] - rows[SEG_BASE, m] + max(size, 0)) & MASK32
