"""What the server was set to, and what its program wrote when, as its frames show it.

Knows: rules from observed frames to settings and writes.
Must not know: how a run is done.

Settings: MTU from the MSS option, buffers from window and scale, options from what the SYN-ACK left out, offloads from
super-packets and partial checksums. They can be overridden. Congestion control is not inferred.
Writes: the server's bytes are cut where the program must have made another call: when new request bytes came in
between, behind a head that left alone, and behind a part of a segment with PSH. A write happens when its first byte
left, less what the way down costs; one that only waited for an ACK (Nagle) happened right after the write before.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_left
from dataclasses import replace

from pcaptool.predict.calls import Program, Write, known_program
from pcaptool.predict.guesses import Assumptions
from pcaptool.predict.observe import Connection, Frame, Observation
from pcaptool.predict.probes import infer_watch
from pcaptool.predict.queue import infer_qdisc, waits_ms
from pcaptool.predict.recording import refused
from pcaptool.scenario import Costs, Host
from pcaptool.stack.tcp.sock import near
from pcaptool.wire.ethernet import mac_text
from pcaptool.wire.tcp import TcpFlag

__all__ = ["infer_assumptions", "infer_host", "infer_program", "way_down_ns"]

AFTER_ACK_NS = 300_000  # a frame this soon behind an ACK was let go by it
NEXT_CALL_NS = 5_000  # from one call of a program to its next, when nothing tells
ROUND_SIZES = (*(1 << n for n in range(11, 16)), *range(1000, 66_000, 1000))  # that people ask for
FAST_OPEN_SERVER, FAST_OPEN_WITHOUT_COOKIE = 2 | 0x400, 0x200  # of sysctl tcp_fastopen
ALWAYS_COOKIES = 2  # of sysctl tcp_syncookies
UNSEEN_BYTES = 65536  # what a program wrote and nobody saw, as the connection ended before


def infer_assumptions(seen: Observation, base: Host) -> Assumptions:
    """What a driven run of a capture is made with, as far as frames tell."""
    rcvbuf = _receive_buffer(seen.connections[0], base)
    settings = infer_host(seen, base)
    if rcvbuf is not None:
        settings = replace(settings, tcp_rmem=base.tcp_rmem, rmem_max=base.rmem_max)
    return Assumptions(settings, rcvbuf=rcvbuf)


def _receive_buffer(connection: Connection, base: Host) -> int | None:
    """SO_RCVBUF, where the SYN-ACK's scale is that of its own window: nothing larger will ever be offered."""
    synack = connection.from_server[0].tcp
    scale, window = synack.options.window_scale, synack.window
    unit = (synack.options.mss or 536) - (12 if synack.options.timestamps else 0)
    if scale is None or window > 65535 - unit or window == base.tcp_rmem[1] // 2 // unit * unit:
        return None
    if scale != max(0, window.bit_length() - 1 - 15):
        return None
    most = (
        window + unit - 1
    )  # the payload that fits; twice the value is allocated, and half of that is overhead
    return next((size for size in ROUND_SIZES if window <= size <= most), window)


def infer_host(seen: Observation, base: Host) -> Host:
    """The server's settings; what the capture does not tell is taken from `base`."""
    first = seen.connections[0]
    syn, synack = first.from_client[0].tcp, first.from_server[0].tcp
    version4 = len(seen.server) == 4
    segments = [f for c in seen.connections for f in c.from_server if f.skb.length]
    mss, full = synack.options.mss or 536, first.segment_bytes
    unit = mss - (12 if synack.options.timestamps else 0)
    scale = synack.options.window_scale
    tso = any(f.skb.length > full for f in segments)
    rmem = base.tcp_rmem
    if scale is not None:
        # The scale is that of the largest buffer there may ever be (tcp_select_initial_window).
        rmem = (rmem[0], rmem[1], max(rmem[1], (1 << scale + 15) if scale else rmem[1]))
    opens = [c for c in seen.connections if c.took_syn_data or c.cookie is not None]
    fast_open = base.tcp_fastopen
    if opens:
        fast_open |= FAST_OPEN_SERVER
        without = any(c.took_syn_data and c.from_client[0].tcp.options.fast_open is None for c in opens)
        fast_open |= FAST_OPEN_WITHOUT_COOKIE if without else 0
    # A SYN-ACK offers half of the default buffer, in whole segments.
    if not any((rmem[1] >> 1) // size * size == synack.window for size in (unit, mss)):
        rmem = (rmem[0], max(4608, 2 * (synack.window + unit // 2)), rmem[2])
    address = str(ipaddress.ip_address(seen.server))
    return replace(
        base,
        mac=mac_text(seen.server_mac),
        ipv4=address if version4 else base.ipv4,
        ipv6=base.ipv6 if version4 else address,
        mtu=mss + (40 if version4 else 60),
        ttl=next((f.skb.ip.ttl for f in first.from_server if f.skb.ip), base.ttl),
        tcp_timestamps=int(synack.options.timestamps is not None or syn.options.timestamps is None),
        tcp_sack=synack.options.sack_permitted or not syn.options.sack_permitted,
        tcp_window_scaling=scale is not None or syn.options.window_scale is None,
        tcp_rmem=rmem,
        tcp_fastopen=fast_open,
        tcp_abort_on_overflow=base.tcp_abort_on_overflow or any(map(refused, seen.connections)),
        rmem_max=rmem[2],
        qdisc=infer_qdisc(seen.connections, full) or base.qdisc,
        offload=replace(base.offload, tso=tso or not segments, tx_checksum=first.from_server[0].partial),
    )


def way_down_ns(costs: Costs) -> int:
    """What a frame takes from TCP's decision to send it to the tap."""
    return (
        costs.tcp_transmit_skb_ns
        + costs.ip_queue_xmit_ns
        + costs.ip_output_ns
        + costs.neigh_output_ns
        + costs.net_dev_queue_ns
        + costs.net_dev_start_xmit_ns
    )


def infer_program(
    connection: Connection,
    costs: Costs,
    *,
    recognise: bool = True,
    queued: bool = False,
    assumed: Assumptions | None = None,
) -> Program:
    """What the program wrote on a connection, and when it closed it.

    Parameters
    ----------
    connection : Connection
    costs : Costs
    recognise : bool
        Whether a program that says who it is makes the calls that it is known to make; else all calls are send().
    queued : bool
        Whether a queue held frames back, so that their stamps say better than their departures when they were built.
    assumed : Assumptions, optional
        Without: the program does not cork, and full segments that left one by one are calls.
    """
    cookies = assumed is not None and assumed.settings.tcp_syncookies == ALWAYS_COOKIES
    stream = _Stream(
        connection,
        lone_calls=assumed is None or assumed.lone_calls,
        frame_calls=assumed is not None and assumed.frame_calls,
        cookies=cookies,
    )
    corked = assumed is not None and assumed.corked
    if queued:
        stream.waits_ms = {id(frame): wait for frame, wait in waits_ms(connection)}
    down_ns = costs.tcp_sendmsg_locked_ns + costs.tcp_write_xmit_ns + way_down_ns(costs)
    writes: list[Write] = []
    for group in stream.groups():
        begin = group[0][0]
        first_ns = group[0][2].time_ns - down_ns
        known = known_program(
            stream.bytes(begin, group[-1][1]), [end - begin for _, end, _ in group], first_ns
        )
        if recognise and known:
            writes += known
            continue
        corks = corked and stream.may_be_corked(group)
        if corks:
            writes.append(Write(first_ns, call="cork"))
        for border in stream.corked_borders(group) if corks else stream.borders(group):
            piece = next(piece for piece in group if piece[1] > begin)
            copied_ns = (border - begin) * costs.copy_per_kib_ns >> 10
            time_ns = piece[2].time_ns - down_ns - min(copied_ns, 32 * costs.copy_per_kib_ns)
            latest_ns = time_ns - stream.waited_ns(piece[2], -1)
            if begin == group[0][0]:
                time_ns = latest_ns
            elif (
                latest_ns < time_ns
            ):  # it was built in that millisecond: right behind the call before, if that fits
                earliest_ns = time_ns - stream.waited_ns(piece[2], 1)
                time_ns = max(earliest_ns, writes[-1].time_ns + NEXT_CALL_NS)
            elif stream.let_go_by_ack(piece[2]) and not corks:
                time_ns = writes[-1].time_ns + NEXT_CALL_NS
            writes.append(Write(time_ns, stream.bytes(begin, border)))
            begin = border
        if corks:
            writes.append(Write(writes[-1].time_ns, call="uncork"))
    if writes and stream.broken_off():
        # The program had more to say: a buffer that ends with the last byte of a call would carry PSH.
        writes[-1] = replace(writes[-1], data=writes[-1].data + bytes(UNSEEN_BYTES))
    close, reset = stream.close()
    close_ns = None if close is None else close.time_ns - down_ns
    if close is not None and close.skb.length and writes:
        close_ns = min(close_ns or 0, writes[-1].time_ns + NEXT_CALL_NS)
    if close_ns is not None and writes:
        close_ns = max(close_ns, writes[-1].time_ns + 1)
    nodelay = stream.nodelay() or (assumed is not None and assumed.nodelay)
    return Program(tuple(writes), close_ns, nodelay, reset, infer_watch(connection))


# (first byte, byte behind the last, frame), relative to the server's first byte
_Piece = tuple[int, int, Frame]


class _Stream:
    """The server's bytes of one connection, in sequence space, with the frames that first carried them."""

    def __init__(
        self,
        connection: Connection,
        *,
        lone_calls: bool = True,
        frame_calls: bool = False,
        cookies: bool = False,
    ) -> None:
        self.connection = connection
        self._frame_calls = frame_calls
        self._lone_calls = lone_calls
        self._segment = connection.segment_bytes_by_cookie if cookies else connection.segment_bytes
        base = connection.from_server[0].tcp.seq + 1
        client_base = connection.from_client[0].tcp.seq + 1
        self._pieces: list[_Piece] = []
        expected = 0
        for frame in connection.from_server[1:]:
            at = near(frame.tcp.seq, base + expected) - base
            end = at + frame.skb.length
            if end > expected and frame.skb.length and at <= expected:
                self._pieces.append((expected, end, frame))
                expected = end
        self.size = expected
        self._base = base
        self.waits_ms: dict[int, int] = {}  # by frame: how long it waited in a queue
        self._requests = self._new_requests(client_base)
        self._acks = [f.time_ns for f in connection.from_client if f.tcp.flags & TcpFlag.ACK]

    def _new_requests(self, base: int) -> list[int]:
        """Times at which new bytes of the client arrived."""
        times, expected = [], 0
        for frame in self.connection.from_client:
            syn = bool(frame.tcp.flags & TcpFlag.SYN)
            if syn and not self.connection.took_syn_data:
                continue
            at = near(frame.tcp.seq, base + expected) - base + syn
            if frame.skb.length and at + frame.skb.length > expected:
                times.append(frame.time_ns)
                expected = at + frame.skb.length
        return times

    def groups(self) -> list[list[_Piece]]:
        """Pieces that follow the same request."""
        out: list[list[_Piece]] = []
        last = -1
        for piece in self._pieces:
            request = bisect_left(self._requests, piece[2].time_ns)
            if request != last:
                out.append([])
                last = request
            out[-1].append(piece)
        return out

    def borders(self, group: list[_Piece]) -> list[int]:
        """Bytes behind which the program made another call."""
        borders, lone = [], self._lone_segments(group)
        anchors = {
            group[0][0] % self._segment
        }  # where buffers of this call may begin or end, in whole segments
        for index, (start, end, frame) in enumerate(group[:-1], 1):
            head_alone = index == 1 and self.bytes(start, end).endswith(b"\r\n\r\n")
            # PSH stands at the end of a write. A part of a segment without it was cut out of a longer buffer, as was
            # one that ends whole segments behind the call's beginning or a window's edge: so far are buffers filled.
            short = bool(frame.tcp.flags & TcpFlag.PSH) and frame.skb.length % self._segment != 0
            phase = end % self._segment
            if head_alone or (short and phase not in anchors and not self._cut_by_window(end)):
                borders.append(end)
                anchors = {phase}
            elif index in lone or (self._frame_calls and self._unasked(frame, group[index][2])):
                # More than this segment had been written, but not a second one, or both had left at once.
                borders.append(end + 1)
                anchors = {(end + 1) % self._segment}
            elif short:
                anchors.add(phase)
        return [*borders, group[-1][1]]

    def _unasked(self, frame: Frame, following: Frame) -> bool:
        """Whether no ACK came between a frame of whole segments and the next one."""
        whole = frame.skb.length % self._segment == 0
        return whole and bisect_left(self._acks, frame.time_ns) == bisect_left(self._acks, following.time_ns)

    def _lone_segments(self, group: list[_Piece]) -> set[int]:
        """Indices behind full segments that left one by one, though no ACK let the next one go.

        The last segment of a super-packet has PSH, so that a stretch without any holds none. A queue lets segments go
        one by one, too.
        """
        if self.waits_ms or not self._lone_calls:
            return set()
        lone: set[int] = set()
        stretch: list[int] = []
        for index, (_, _, frame) in enumerate(group, 1):
            if self.let_go_by_ack(frame):
                lone.update(stretch[:-1])
                stretch = []
            if frame.tcp.flags & TcpFlag.PSH or frame.skb.length != self._segment:
                stretch = []
            else:
                stretch.append(index)
        return lone | set(stretch[:-1])

    def may_be_corked(self, group: list[_Piece]) -> bool:
        """Whether whole segments left first, and what was left of the answer by itself."""
        begin, (start, end, _) = group[0][0], group[-1]
        return len(group) > 1 and (start - begin) % self._segment == 0 and (end - start) % self._segment != 0

    def corked_borders(self, group: list[_Piece]) -> list[int]:
        """Bytes behind which a corked program made another call: more than left, less than another segment."""
        begin = group[0][0]
        ends = [end for _, end, _ in group[:-1] if (end - begin) % self._segment == 0]
        return [*(end + 1 for end in ends), group[-1][1]]

    def broken_off(self) -> bool:
        """Whether the connection ended in the middle of a call.

        The last bytes left, at first or again, in a segment of their own without PSH, and no FIN followed.
        """
        if self.close()[0] is not None:
            return False
        last = [f for f in self.connection.from_server[1:] if f.skb.length]
        ends = (near(f.tcp.seq, self._base) + f.skb.length - self._base for f in last)
        return any(
            end == self.size and not f.tcp.flags & TcpFlag.PSH for f, end in zip(last, ends, strict=True)
        )

    def _cut_by_window(self, end: int) -> bool:
        """Whether the peer's window ended just there."""
        scale = self.connection.from_client[0].tcp.options.window_scale or 0
        scaling = self.connection.from_server[0].tcp.options.window_scale is not None
        edge = self._base + end
        return any(
            near(f.tcp.ack + (f.tcp.window << (scale if scaling else 0)), edge) == edge
            for f in self.connection.from_client[1:]
        )

    def let_go_by_ack(self, frame: Frame) -> bool:
        """Whether an ACK arrived just before a frame left."""
        index = bisect_left(self._acks, frame.time_ns)
        return index > 0 and frame.time_ns - self._acks[index - 1] < AFTER_ACK_NS

    def waited_ns(self, frame: Frame, rounding: int) -> int:
        """How long a frame lay in a queue below TCP, with a millisecond more or less."""
        return max(0, self.waits_ms.get(id(frame), 0) + rounding) * 1_000_000

    def bytes(self, start: int, end: int) -> bytes:
        """Captured bytes; zero where a frame was cut by the capture's snap length."""
        out = bytearray(end - start)
        for frame in self.connection.from_server[1:]:
            at = near(frame.tcp.seq, self._base + start) - self._base
            kept = bytes(frame.skb.payload[: frame.captured_bytes])
            low, high = max(at, start), min(at + len(kept), end)
            if low < high:
                out[low - start : high - start] = kept[low - at : high - at]
        return bytes(out)

    def close(self) -> tuple[Frame | None, bool]:
        """The frame that ended the server's side, and whether it was a reset."""
        for frame in self.connection.from_server:
            if frame.tcp.flags & TcpFlag.FIN:
                return frame, False
            if frame.tcp.flags & TcpFlag.RST and frame.tcp.flags & TcpFlag.ACK and frame.tcp.window:
                return frame, True
        return None, False

    def nodelay(self) -> bool:
        """Whether a short segment left while another short one was unacknowledged: Nagle forbids that."""
        una_times = [
            (near(f.tcp.ack, self._base) - self._base, f.time_ns) for f in self.connection.from_client[1:]
        ]
        full = self._segment
        small_end = 0  # of the last short segment (Minshall); behind a queue it need not be the one before
        for start, end, frame in self._pieces if self.waits_ms else []:
            if end - start >= full or frame.tcp.flags & TcpFlag.FIN:
                continue
            built_ns = frame.time_ns - self.waited_ns(frame, -1)
            if small_end > max((una for una, time in una_times if time <= built_ns), default=0):
                return True
            small_end = end
        for (start, end, frame), (_, after, following) in zip(self._pieces, self._pieces[1:], strict=False):
            if end - start >= full or after - end >= full or frame.tcp.flags & TcpFlag.FIN:
                continue
            if following.tcp.flags & TcpFlag.FIN:
                continue
            acked = max((una for una, time in una_times if time <= following.time_ns), default=0)
            if acked < end:
                return True
        return False
