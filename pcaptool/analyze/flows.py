"""Conversations: the `flow` of each packet, what TCP did in it, and the flows table.

Knows: how columns of a batch become the kernel's rows, and the kernel's rows become tables.
Must not know: payload. Rules and their source: `analyze.flow_kernel`; TCP's: `analyze.tcp_analysis`.
Memory: 352 bytes a conversation, in arrays that double (so up to twice that), each distinct address once, and
what `tcp_analysis` says; nothing grows with packets.
A packet with several transport headers (tunnels) belongs to the conversation of the innermost one; its outer
headers have no flow, and neither have headers that an ICMP error quotes (Wireshark gives those a stream).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from pcaptool.analyze import flow_kernel as fk
from pcaptool.analyze.flow_state import connection_states, histories
from pcaptool.analyze.selection import Selection
from pcaptool.analyze.take import Ints, WordIds, fill, index, integers, put
from pcaptool.analyze.tcp_analysis import Segments, TcpAnalyzer
from pcaptool.decode.batch import Batch
from pcaptool.engine import Engine
from pcaptool.tables.columns import Columns, Masked, Texts, row_count

__all__ = ["FlowAnalysis"]

TCP, UDP = 6, 17
FIRST_CAPACITY = 1024
PART_ROWS = 65_536
END_WORDS = ("open", "half", "fin", "rst")


class FlowAnalysis:
    """Fills `flow` in packets, tcp and udp, the analysis columns of tcp, and the flows table.

    Parameters
    ----------
    engine : Engine, optional
        How the kernels run; plain Python without it.
    chosen : Selection, optional
        What is wanted of it; all without. Conversations and relative numbers are always found: others need them.
    """

    reads_bytes = False
    needs: dict[str, tuple[str, ...]] = {  # noqa: RUF012 - the protocol has it on the instance
        "packets": ("n", "ts", "len"),
        "ip": ("n", "depth", "proto", "src", "dst"),
        "tcp": (
            *("n", "depth", "srcport", "dstport", "seq_raw", "ack_raw", "flags", "len"),
            *("options_mss_val", "options_wscale_shift", "options_sack_perm", "options_timestamp_tsval"),
            *("window_size_value", "options_sack_le", "options_sack_re", "options_timestamp_tsecr"),
        ),
        "udp": ("n", "depth", "srcport", "dstport", "payload_bytes"),
    }

    def __init__(self, engine: Engine | None = None, chosen: Selection | None = None) -> None:
        self._track = engine.flat(fk.__name__, "track") if engine else fk.track
        self._rehash = engine.flat(fk.__name__, "rehash") if engine else fk.rehash
        self._tcp = TcpAnalyzer(engine, chosen)
        self._rules = fk.RULES_44 if chosen is not None and chosen.tcp_rules == "4.4" else fk.RULES_40
        self._addresses = WordIds()
        self._flows = np.zeros((FIRST_CAPACITY, fk.WIDTH), np.int64)
        self._slots = np.zeros(2 * FIRST_CAPACITY, np.int64)
        self._counts = np.zeros(2, np.int64)

    @property
    def flow_count(self) -> int:
        """Conversations seen so far."""
        return int(self._counts[0])

    def feed(self, batch: Batch) -> dict[str, Columns]:
        """Adds the columns `flow` (packets, tcp, udp) and all that tcp has beyond its header."""
        rows, tcp_rows, udp_rows = self._rows(batch)
        rules = self._rules
        out = np.full((len(rows), 6), -1, np.int64)
        out[:, fk.OUT_REUSED] = 0
        done = self._track(rows, 0, self._flows, self._slots, self._counts, rules, out)
        while done < len(rows):
            self._grow()
            done = self._track(rows, done, self._flows, self._slots, self._counts, rules, out)
        self._spread(batch, rows, tcp_rows, udp_rows, out)
        return {}

    def finish(self) -> dict[str, Columns]:
        """The flows table."""
        return self._part(0, self.flow_count)

    def parts(self) -> Iterator[dict[str, Columns]]:
        """The flows table in parts: its columns together would take as much memory as the state."""
        for first in range(0, max(self.flow_count, 1), PART_ROWS):
            yield self._part(first, min(first + PART_ROWS, self.flow_count))

    def _part(self, first: int, end: int) -> dict[str, Columns]:
        flows = self._flows[first:end]
        columns = flow_columns(flows, self._addresses.words)
        columns["flow"] = np.arange(first, end, dtype="u4")
        return {"flows": columns | self._tcp.flow_columns(flows[:, fk.STREAM], flows[:, fk.LAST_TS])}

    def _grow(self) -> None:
        count = self.flow_count
        if count >= len(self._flows):
            grown = np.zeros((2 * len(self._flows), fk.WIDTH), np.int64)
            grown[:count] = self._flows
            self._flows = grown
        self._slots = np.zeros(2 * len(self._flows), np.int64)
        self._rehash(self._flows, count, self._slots)

    def _rows(self, batch: Batch) -> tuple[Ints, Ints, Ints]:
        """Kernel rows in packet order; which tcp and udp rows they are (-1: the other protocol)."""
        packets = batch.tables["packets"]
        tcp, udp = batch.tables.get("tcp", {}), batch.tables.get("udp", {})
        tcp_at, udp_at = _innermost(tcp, batch), _innermost(udp, batch)
        udp_at[tcp_at >= 0] = -1  # TCP in a UDP tunnel is the inner one
        at = np.flatnonzero(np.maximum(tcp_at, udp_at) >= 0)
        tcp_rows, udp_rows = tcp_at[at], udp_at[at]
        picked = index(at, batch.count)
        rows = np.zeros((len(at), 16), np.int64)
        if len(at):
            ip = batch.tables["ip"]
            src, dst = self._addresses(ip["src"]), self._addresses(ip["dst"])
            proto = integers(ip, "proto")
            for number, mine in ((TCP, tcp_rows), (UDP, udp_rows)):
                here = np.flatnonzero(mine >= 0)
                if not len(here):
                    continue
                # The IP header below the innermost transport header is the innermost that announces it.
                below, into = _innermost(ip, batch, proto == number)[at[here]], index(here, len(rows))
                rows[into, fk.IN_SRC], rows[into, fk.IN_DST] = src[below], dst[below]
        for column, name in ((fk.IN_N, "n"), (fk.IN_TS, "ts"), (fk.IN_LEN, "len")):
            fill(rows[:, column], packets, name, picked)
        _fill_tcp(rows, tcp, tcp_rows)
        _fill_udp(rows, udp, udp_rows)
        return rows, tcp_rows, udp_rows

    def _spread(self, batch: Batch, rows: Ints, tcp_rows: Ints, udp_rows: Ints, out: Ints) -> None:
        packet = index(rows[:, fk.IN_N] - batch.first_n, batch.count)
        batch.tables["packets"]["flow"] = put(batch.count, packet, out[:, fk.OUT_FLOW], "u4")
        for name, at in (("tcp", tcp_rows), ("udp", udp_rows)):
            if name not in batch.tables:
                continue
            table = batch.tables[name]
            height = row_count(table["n"])
            mine = index(np.flatnonzero(at >= 0), len(at))
            found = out[mine]
            place = index(at[mine], height)
            table["flow"] = put(height, place, found[:, fk.OUT_FLOW], "u4")
            if name == "tcp":
                table["stream"] = put(height, place, found[:, fk.OUT_STREAM], "u4")
                table["fwd"] = put(height, place, found[:, fk.OUT_SIDE] == 0, "?")
                table["seq"] = put(height, place, found[:, fk.OUT_SEQ], "u4")
                table["ack"] = put(height, place, found[:, fk.OUT_ACK], "u4")
                if self._tcp.wanted:
                    batch.notes["followed"] = self._tcp.feed(
                        table, _tcp_segments(at[mine], rows[mine], found)
                    )


def _tcp_segments(place: Ints, rows: Ints, out: Ints) -> Segments:
    seq = rows[:, fk.IN_SEQ]
    return Segments(
        at=place,
        stream=out[:, fk.OUT_STREAM],
        side=out[:, fk.OUT_SIDE],
        n=rows[:, fk.IN_N],
        ts=rows[:, fk.IN_TS],
        seq=seq,
        base=(seq - out[:, fk.OUT_SEQ]) & fk.MASK32,
        size=rows[:, fk.IN_PAYLOAD],
        reused=out[:, fk.OUT_REUSED],
    )


def _innermost(table: Columns, batch: Batch, chosen: npt.NDArray[np.bool_] | None = None) -> Ints:
    """For each packet of the batch the table's row of its innermost (chosen) header, -1 where it has none.

    A header that an ICMP error quotes is another packet's.
    """
    if not table or not row_count(table["n"]):
        return np.full(batch.count, -1, np.int64)
    n = integers(table, "n")
    order = np.arange(len(n))
    if np.any(n[1:] <= n[:-1]):  # tunnels, or datagrams that were put together
        order = np.lexsort((integers(table, "depth"), n))
    elif len(n) == batch.count and (chosen is None or chosen.all()) and not _any_quoted(table):
        return order  # one in each packet
    if chosen is not None:
        order = order[chosen[order]]
    if _any_quoted(table):
        order = order[integers(table, "quoted")[order] == 0]
    at = np.full(batch.count, -1, np.int64)
    at[n[order] - batch.first_n] = order  # of equal places the last assignment stays
    return at


def _any_quoted(table: Columns) -> bool:
    return "quoted" in table and bool(integers(table, "quoted").any())


def _set(rows: Ints, column: int, table: Columns, name: str, places: tuple[Any, Any]) -> None:
    """Some rows of a table's column, put into some rows of the kernel's; `places`: `index` of these and of those."""
    into, at = places
    if isinstance(into, slice):
        fill(rows[into, column], table, name, at)
    else:
        rows[into, column] = integers(table, name)[at]


def _fill_tcp(rows: Ints, tcp: Columns, tcp_rows: Ints) -> None:
    mine = np.flatnonzero(tcp_rows >= 0)
    if not len(mine):
        return
    at = index(tcp_rows[mine], row_count(tcp["n"]))
    into = index(mine, len(rows))
    rows[into, fk.IN_PROTOCOL] = TCP
    for column, name in (
        (fk.IN_SRCPORT, "srcport"),
        (fk.IN_DSTPORT, "dstport"),
        (fk.IN_PAYLOAD, "len"),
        (fk.IN_SEQ, "seq_raw"),
        (fk.IN_ACK, "ack_raw"),
        (fk.IN_FLAGS, "flags"),
        (fk.IN_MSS, "options_mss_val"),
        (fk.IN_WSCALE, "options_wscale_shift"),
        (fk.IN_SACK_PERMITTED, "options_sack_perm"),
    ):
        _set(rows, column, tcp, name, (into, at))
    rows[into, fk.IN_TIMESTAMPS] = integers(tcp, "options_timestamp_tsval")[at] >= 0


def _fill_udp(rows: Ints, udp: Columns, udp_rows: Ints) -> None:
    mine = np.flatnonzero(udp_rows >= 0)
    if not len(mine):
        return
    at = index(udp_rows[mine], row_count(udp["n"]))
    into = index(mine, len(rows))
    rows[into, fk.IN_PROTOCOL] = UDP
    for column, name in (
        (fk.IN_SRCPORT, "srcport"),
        (fk.IN_DSTPORT, "dstport"),
        (fk.IN_PAYLOAD, "payload_bytes"),
    ):
        _set(rows, column, udp, name, (into, at))


def flow_columns(flows: Ints, words: list[str]) -> Columns:
    """The flows table from the kernel's rows.

    Parameters
    ----------
    flows : (conversations, WIDTH) int64
    words : list of str
        Address of each address number.
    """

    def side(which: int, column: int) -> Ints:
        return flows[:, fk.SIDE + which * fk.SIDE_WIDTH + column]

    def packet(values: Ints) -> Masked:
        return Masked(values.astype("u4"), values > 0)

    def known(values: Ints, dtype: str) -> Masked:
        return Masked(np.maximum(values, 0).astype(dtype), values >= 0)

    columns: Columns = {
        "flow": np.arange(len(flows), dtype="u4"),
        "protocol": Texts((flows[:, fk.PROTOCOL] == UDP).astype(np.int32), ("tcp", "udp")),
        "src": Texts((flows[:, fk.SRC] >> 16).astype(np.int32), words),
        "srcport": (flows[:, fk.SRC] & 0xFFFF).astype("u2"),
        "dst": Texts((flows[:, fk.DST] >> 16).astype(np.int32), words),
        "dstport": (flows[:, fk.DST] & 0xFFFF).astype("u2"),
        "first_n": flows[:, fk.FIRST_N].astype("u4"),
        "last_n": flows[:, fk.LAST_N].astype("u4"),
        "first_ts": flows[:, fk.FIRST_TS].copy(),
        "last_ts": flows[:, fk.LAST_TS].copy(),
        "syn_n": packet(flows[:, fk.SYN_N]),
        "synack_n": packet(flows[:, fk.SYNACK_N]),
        "handshake_rtt_ns": Masked(
            flows[:, fk.HANDSHAKE].copy(), (flows[:, fk.SYN_N] > 0) & (flows[:, fk.ACK_N] > 0)
        ),
        "sack_permitted": (side(0, fk.SACK_PERMITTED) > 0) & (side(1, fk.SACK_PERMITTED) > 0),
        "timestamps": (side(0, fk.TIMESTAMPS) > 0) & (side(1, fk.TIMESTAMPS) > 0),
        "rst_n": packet(flows[:, fk.RST_N]),
        "end": Texts(_ends(flows), END_WORDS),
        "conn_state": connection_states(flows),
        "history": histories(flows),
    }
    for which, name in ((0, "fwd"), (1, "rev")):
        columns[f"packets_{name}"] = side(which, fk.PACKETS).astype("u4")
        columns[f"bytes_{name}"] = side(which, fk.BYTES).astype("u8")
        columns[f"payload_bytes_{name}"] = side(which, fk.PAYLOAD).astype("u8")
        columns[f"mss_{name}"] = known(side(which, fk.MSS), "u2")
        columns[f"wscale_{name}"] = known(side(which, fk.WSCALE), "u1")
        columns[f"fin_{name}_n"] = packet(side(which, fk.FIN_N))
    return columns


def _ends(flows: Ints) -> npt.NDArray[np.int32]:
    """How each conversation ended, as an index into END_WORDS: a RST after both FINs changes nothing."""
    fins = np.zeros(len(flows), np.int32)
    for which in range(2):
        fins += (flows[:, fk.SIDE + which * fk.SIDE_WIDTH + fk.FIN_N] > 0).astype(np.int32)
    reset = (flows[:, fk.RST_N] > 0) & (flows[:, fk.END_FIN] < 2)
    return np.where(reset, 3, fins).astype(np.int32)
