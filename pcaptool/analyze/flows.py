"""Conversations: the `flow` of each packet, what TCP did in it, and the flows table.

Knows: how columns of a batch become the kernel's rows, and the kernel's rows become tables.
Must not know: payload. Rules and their source: `analyze.flow_kernel`; TCP's: `analyze.tcp_analysis`.
Memory: 512 bytes a conversation, in arrays that double (so up to twice that), each distinct address once, and
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
from pcaptool.analyze import gather_kernel as gk
from pcaptool.analyze.flow_state import ConnectionStates
from pcaptool.analyze.selection import Selection
from pcaptool.analyze.take import Ints, WordIds, masked, plain
from pcaptool.analyze.tcp_analysis import TcpAnalyzer
from pcaptool.decode.batch import Batch
from pcaptool.engine import Engine
from pcaptool.tables.columns import ColumnData, Columns, Masked, Texts, row_count

__all__ = ["FlowAnalysis"]

TCP, UDP = 6, 17
FIRST_CAPACITY = 1024
PART_ROWS = 16_384
END_WORDS = ("open", "half", "fin", "rst", "timeout")
OPEN, HALF, FINISHED, RESET, TIMED_OUT = range(5)
# Without a packet for so long a conversation is over: Zeek's tcp_inactivity_timeout and udp_inactivity_timeout.
TCP_TIMEOUT_NS, UDP_TIMEOUT_NS = 300 * 10**9, 60 * 10**9
_PREPARED = "headers"  # in a batch's notes
# What `gather_kernel.spread` adds to tables.
_SPREAD = {"packets": ("flow",), "tcp": ("flow", "stream", "fwd", "seq", "ack"), "udp": ("flow",)}


class FlowAnalysis:
    """Fills `flow` in packets, tcp and udp, the analysis columns of tcp, and the flows table.

    Parameters
    ----------
    engine : Engine, optional
        How the kernels run; plain Python without it.
    chosen : Selection, optional
        What is wanted of it; all without. Conversations and relative numbers are always found: others need them.

    Attributes
    ----------
    alone : bool
        No other analysis reads what it adds to batches: what is not wanted need not be added.
    """

    reads_bytes = False
    needs: dict[str, tuple[str, ...]] = {  # noqa: RUF012 - the protocol has it on the instance
        "packets": ("n", "ts", "len"),
        "ip": ("n", "depth", "proto", "src", "dst"),
        "tcp": (
            *("n", "depth", "srcport", "dstport", "seq_raw", "ack_raw", "flags", "len"),
            *("options_mss_val", "options_wscale_shift", "options_sack_perm", "options_timestamp_tsval"),
            *("window_size_value", "options_sack_le", "options_sack_re", "options_timestamp_tsecr"),
            "options_mptcp_subtypes",
        ),
        "udp": ("n", "depth", "srcport", "dstport", "payload_bytes"),
    }

    def __init__(self, engine: Engine | None = None, chosen: Selection | None = None) -> None:
        engine = engine or Engine("plain")
        self._track = engine.flat(fk.__name__, "track")
        self._rehash = engine.flat(fk.__name__, "rehash")
        self._innermost = engine.flat(gk.__name__, "innermost")
        self._announcing = engine.flat(gk.__name__, "announcing")
        self._headers = engine.flat(gk.__name__, "headers")
        self._spread = engine.flat(gk.__name__, "spread")
        self._tcp = TcpAnalyzer(engine, chosen)
        wanted = chosen is None or chosen.wants("flows", ("conn_state", "history"))
        self._states = ConnectionStates(engine) if wanted else None
        self._rules = fk.RULES_44 if chosen is not None and chosen.tcp_rules == "4.4" else fk.RULES_40
        self.alone = False
        self._columns_wanted = chosen is None or any(
            chosen.wants(table, names) for table, names in _SPREAD.items()
        )
        self._addresses = WordIds()
        self._flows = np.zeros((FIRST_CAPACITY, fk.WIDTH), np.int64)
        self._slots = np.zeros(2 * FIRST_CAPACITY, np.int64)
        self._counts = np.zeros(2, np.int64)
        self._last_ts = np.iinfo(np.int64).min

    @property
    def flow_count(self) -> int:
        """Conversations seen so far."""
        return int(self._counts[0])

    def prepare(self, batch: Batch) -> None:
        """What of `feed` does not need the batch before: another thread may do it beforehand, batch after batch."""
        batch.notes[_PREPARED] = self._rows(batch)

    def feed(self, batch: Batch) -> dict[str, Columns]:
        """Adds the columns `flow` (packets, tcp, udp) and all that tcp has beyond its header."""
        self._last_ts = max(self._last_ts, int(plain(batch.tables["packets"], "ts").max()))
        rows, tcp_rows, udp_rows = batch.notes.pop(_PREPARED, None) or self._rows(batch)
        rules = self._rules
        out = np.empty((len(rows), 6), np.int64)
        done = self._track(rows, 0, self._flows, self._slots, self._counts, rules, out)
        while done < len(rows):
            self._grow()
            done = self._track(rows, done, self._flows, self._slots, self._counts, rules, out)
        if self._states is not None:
            windows = plain(batch.tables.get("tcp") or NO_TCP, "window_size_value")
            self._states.feed(rows, out, tcp_rows, windows, self._flows)
        if self._columns_wanted or not self.alone:
            self._fill(batch, rows, out, (tcp_rows, udp_rows))
        if self._tcp.wanted and "tcp" in batch.tables:
            batch.notes["followed"] = self._tcp.feed(batch.tables["tcp"], rows, out, tcp_rows)
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
        columns = flow_columns(flows, self._addresses.words, self._last_ts)
        columns["flow"] = np.arange(first, end, dtype="u4")
        if self._states is not None:
            columns |= self._states.columns(flows, first)
        columns |= self._tcp.flow_columns(flows[:, fk.STREAM], flows[:, fk.LAST_TS])
        if "retransmitted_bytes_fwd" in columns:
            columns |= _goodput(flows, columns)
        return {"flows": columns}

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
        places = tuple(np.full(batch.count, -1, np.int64) for _ in range(4))
        at_tcp, at_udp, under_tcp, under_udp = places
        tcp, udp = (batch.tables.get(name) or {} for name in ("tcp", "udp"))
        for table, at in ((tcp, at_tcp), (udp, at_udp)):
            if table and row_count(table["n"]):
                self._innermost(batch.first_n, _order(table), at)
        out = (np.empty((batch.count, 16), np.int64), *(np.empty(batch.count, np.int64) for _ in range(2)))
        if (at_tcp < 0).all() and (at_udp < 0).all():
            return out[0][:0], out[1][:0], out[2][:0]
        ip, packets = batch.tables["ip"], batch.tables["packets"]
        for number, at, under in ((TCP, at_tcp, under_tcp), (UDP, at_udp, under_udp)):
            if (at >= 0).any():
                # The IP header below the innermost transport header is the innermost that announces it.
                self._announcing(batch.first_n, _order(ip), plain(ip, "proto"), number, under)
        (src, src_ids), (dst, dst_ids) = self._addresses.table(ip["src"]), self._addresses.table(ip["dst"])
        count = self._headers(
            batch.first_n,
            (plain(packets, "ts"), plain(packets, "len")),
            (src, dst, src_ids, dst_ids),
            _tcp_fields(tcp or NO_TCP),
            tuple(plain(udp or NO_UDP, name) for name in ("srcport", "dstport", "payload_bytes")),
            places,
            out,
        )
        return out[0][:count], out[1][:count], out[2][:count]

    def _fill(self, batch: Batch, rows: Ints, found: Ints, places: tuple[Ints, Ints]) -> None:
        heights = [
            row_count(batch.tables[name]["n"]) if name in batch.tables else 0
            for name in ("packets", "tcp", "udp")
        ]
        packets, tcp, udp = (
            tuple(np.zeros(height, kind) for kind in kinds.split())
            for height, kinds in zip(heights, ("u4 ?", "u4 u4 ? u4 u4 ?", "u4 ?"), strict=True)
        )
        self._spread(batch.first_n, rows, found, places, (packets, tcp, udp))
        for (name, columns), (*values, known) in zip(_SPREAD.items(), (packets, tcp, udp), strict=True):
            if name in batch.tables:
                whole = bool(known.all())
                made: dict[str, ColumnData] = {
                    column: value if whole else Masked(value, known)
                    for column, value in zip(columns, values, strict=True)
                }
                batch.tables[name].update(made)


# Of a batch without such headers.
NO_TCP: Columns = {
    "srcport": np.empty(0, "u2"),
    "dstport": np.empty(0, "u2"),
    "len": Masked(np.empty(0, "u4"), np.empty(0, "?")),
    "seq_raw": np.empty(0, "u4"),
    "ack_raw": np.empty(0, "u4"),
    "flags": np.empty(0, "u2"),
    "window_size_value": np.empty(0, "u2"),
    "options_mss_val": Masked(np.empty(0, "u2"), np.empty(0, "?")),
    "options_wscale_shift": Masked(np.empty(0, "u1"), np.empty(0, "?")),
    "options_sack_perm": np.empty(0, "?"),
    "options_timestamp_tsval": Masked(np.empty(0, "u4"), np.empty(0, "?")),
}
NO_UDP: Columns = {
    "srcport": np.empty(0, "u2"),
    "dstport": np.empty(0, "u2"),
    "payload_bytes": np.empty(0, "u4"),
}


def _order(table: Columns) -> tuple[npt.NDArray[Any], ...]:
    """What says which header of a packet is the innermost; one that an ICMP error quotes is another packet's."""
    n = plain(table, "n")
    quoted = plain(table, "quoted") if "quoted" in table else np.zeros(len(n), np.bool_)
    return n, plain(table, "depth"), quoted


def _tcp_fields(tcp: Columns) -> tuple[tuple[npt.NDArray[Any], ...], tuple[npt.NDArray[Any], ...]]:
    """As `gather_kernel.headers` wants them."""
    return (
        (
            *(plain(tcp, "srcport"), plain(tcp, "dstport"), *masked(tcp, "len")),
            *(plain(tcp, "seq_raw"), plain(tcp, "ack_raw"), plain(tcp, "flags")),
        ),
        (
            *(*masked(tcp, "options_mss_val"), *masked(tcp, "options_wscale_shift")),
            *(plain(tcp, "options_sack_perm"), masked(tcp, "options_timestamp_tsval")[1]),
        ),
    )


def flow_columns(flows: Ints, words: list[str], last_ts: int) -> Columns:
    """The flows table from the kernel's rows.

    Parameters
    ----------
    flows : (conversations, WIDTH) int64
    words : list of str
        Address of each address number.
    last_ts : int
        The capture's last time.
    """

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
        "sack_permitted": (_side(flows, 0, fk.SACK_PERMITTED) > 0) & (_side(flows, 1, fk.SACK_PERMITTED) > 0),
        "timestamps": (_side(flows, 0, fk.TIMESTAMPS) > 0) & (_side(flows, 1, fk.TIMESTAMPS) > 0),
        "rst_n": packet(flows[:, fk.RST_N]),
        "end": Texts(_ends(flows, last_ts), END_WORDS),
        "ended_by": Texts(_enders(flows), ("fwd", "rev")),
    }
    for which, name in ((0, "fwd"), (1, "rev")):
        columns[f"packets_{name}"] = _side(flows, which, fk.PACKETS).astype("u4")
        columns[f"bytes_{name}"] = _side(flows, which, fk.BYTES).astype("u8")
        columns[f"payload_bytes_{name}"] = _side(flows, which, fk.PAYLOAD).astype("u8")
        columns[f"mss_{name}"] = known(_side(flows, which, fk.MSS), "u2")
        columns[f"wscale_{name}"] = known(_side(flows, which, fk.WSCALE), "u1")
        columns[f"fin_{name}_n"] = packet(_side(flows, which, fk.FIN_N))
    return columns


def _goodput(flows: Ints, columns: Columns) -> Columns:
    """Payload that did not come again, by the time that the conversation took."""
    lasted = flows[:, fk.LAST_TS] - flows[:, fk.FIRST_TS]
    out: Columns = {}
    for which, name in ((0, "fwd"), (1, "rev")):
        again = plain(columns, f"retransmitted_bytes_{name}").astype(np.int64)
        fresh = np.maximum(_side(flows, which, fk.PAYLOAD) - again, 0)
        rate = np.rint(fresh * 1e9 / np.maximum(lasted, 1)).astype("u8")
        out[f"goodput_bytes_per_s_{name}"] = Masked(rate, lasted > 0)
    return out


def _ends(flows: Ints, last_ts: int) -> npt.NDArray[np.int32]:
    """How each conversation ended, as an index into END_WORDS: a RST after both FINs changes nothing."""
    fins = (_side(flows, 0, fk.FIN_N) > 0).astype(np.int32) + (_side(flows, 1, fk.FIN_N) > 0)
    reset = (flows[:, fk.RST_N] > 0) & (flows[:, fk.END_FIN] < FINISHED)
    patience = np.where(flows[:, fk.PROTOCOL] == UDP, UDP_TIMEOUT_NS, TCP_TIMEOUT_NS)
    silent = (fins == OPEN) & (last_ts - patience >= flows[:, fk.LAST_TS])
    return np.select([reset, silent], [RESET, TIMED_OUT], fins).astype(np.int32)


def _enders(flows: Ints) -> npt.NDArray[np.int32]:
    """The side whose RST, or first FIN, ended each conversation; -1 where none did."""
    mine, other = _side(flows, 0, fk.FIN_N), _side(flows, 1, fk.FIN_N)
    closer = np.where((mine > 0) & ((other == 0) | (mine < other)), 0, np.where(other > 0, 1, -1))
    reset = (flows[:, fk.RST_N] > 0) & (flows[:, fk.END_FIN] < FINISHED)
    return np.where(reset, np.where(_side(flows, 0, fk.RESET) > 0, 0, 1), closer).astype(np.int32)


def _side(flows: Ints, which: int, column: int) -> Ints:
    return flows[:, fk.SIDE + which * fk.SIDE_WIDTH + column]
