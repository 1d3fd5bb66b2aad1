"""One row a packet with every compared field side by side, and the relative TCP numbers.

Knows: how the report's tables join by packet number; sequence arithmetic over a whole direction (RFC 9293
3.4). Must not know: the other side.
Leaves out: headers behind the third IP header of a packet (the three outermost `ip` rows and the packet's first
`tcp` or `udp` row are compared), link headers behind the second (the one in front, and the one inside a tunnel).
Complexity: a few sorted joins and cumulative sums, O(n log n) in packets.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl

from pcaptool.diff.fields import FIELDS, LATER, plain_name
from pcaptool.diff.side import EXCHANGES, PRINTS_SCHEMA, Side
from pcaptool.tables import ARP, IP, LINK, TCP, UDP, Table

__all__ = [
    "alike",
    "bases_of",
    "columns_read",
    "placed",
    "relative",
    "units_of",
    "voted_bases",
    "with_elapsed",
]

# Columns beside the compared ones that flows, alignment and rules look at.
_ALSO = {
    *(f"{t}.{c}" for t in ("ip", "tcp", "udp") for c in ("checksum", "checksum_status", "checksum_partial")),
    "tcp.options_sack_le", "tcp.options_sack_re",
}  # fmt: skip
_READ = _ALSO | {f.name for f in FIELDS} | {f.column for f in FIELDS}
# Texts of few different values that are only compared: held as numbers. `pairs.View` makes texts
# of them again.
_NUMBERED = (
    "link.kind", "link.src", "link.dst", "link.src#2", "link.dst#2", "arp.src_hw_mac", "arp.src_proto_ipv4",
    "arp.dst_hw_mac", "arp.dst_proto_ipv4", "ip.src", "ip.dst",
    *(f"ip.{end}{n}" for n in LATER for end in ("src", "dst")),
)  # fmt: skip
_FIN, _SYN, _RST, _ACK = 0x001, 0x002, 0x004, 0x010
_EMPTY: dict[str, Any] = {
    "bool": pl.Boolean, "u8": pl.UInt8, "u16": pl.UInt16, "u32": pl.UInt32, "u64": pl.UInt64, "i32": pl.Int32,
    "i64": pl.Int64, "f64": pl.Float64, "time": pl.Datetime("ns", "UTC"), "text": pl.String,
    "string": pl.String, "u8_list": pl.List(pl.UInt8), "u32_list": pl.List(pl.UInt32),
    "text_list": pl.List(pl.String),
}  # fmt: skip


_OF_PACKETS = (
    "n", "ts", "len", "cap_len", "linktype", "protocol", "src", "srcport", "flow", "payload_bytes", "payload_offset",
)  # fmt: skip


def columns_read(table: Table) -> list[str]:
    """Names of the columns of a table of the report that units are made of; all of `flows`."""
    if table.name == "flows":
        return list(table.names)
    if table.name == EXCHANGES:
        return ["flow", "exchange", "server_time_ns", "transfer_time_ns"]
    keys = _OF_PACKETS if table.name == "packets" else ("n", "depth", "quoted")
    return [c for c in table.names if c in keys or f"{table.name}.{c}" in _READ]


def units_of(side: Side) -> pl.DataFrame:
    """The packets of a side, sorted by number, with the columns `table.column` of all layers.

    Beside them: `n`, `ts` (ns, i64), `flow`, `proto` (tcp, udp or other), `dir` (0 from the originator),
    `sender` (address), `protocol`, `len`, `cap_len`, `payload.bytes` and the fingerprint columns.
    """
    flows = side.frames.get("flows")
    units = _with_direction(_packet_list(side), flows)
    for table in (LINK, ARP, IP, TCP, UDP):
        units = units.join(_one_row_a_packet(side, table), on="n", how="left", maintain_order="left")
    units = _with_later(units, side)
    if side.inner is not None and side.inner.height:
        named = side.inner.rename({c: f"link.{c}#2" for c in side.inner.columns if c != "n"})
        units = units.join(named, on="n", how="left", maintain_order="left")
    prints = side.prints if side.prints is not None else pl.DataFrame(schema=PRINTS_SCHEMA)
    units = units.join(prints, on="n", how="left", maintain_order="left")
    in_flow = pl.col("flow").is_not_null()
    proto = (
        pl.when(pl.col("tcp.seq_raw").is_not_null() & in_flow).then(pl.lit("tcp"))
        .when(pl.col("udp.length").is_not_null() & in_flow).then(pl.lit("udp"))
        .otherwise(pl.lit("other"))
    )  # fmt: skip
    state = [_checksum_state(t) for t in ("ip", "tcp", "udp")]
    made = [
        f"{t}.{c}" for t in ("ip", "tcp", "udp") for c in ("checksum", "checksum_status", "checksum_partial")
    ]
    units = units.with_columns(
        proto.alias("proto"),
        pl.coalesce("arp.src_proto_ipv4", "ip.src", "link.src").alias("sender"),
        *state,
    ).drop(*made, "src", "srcport", strict=False)
    return units.with_columns(
        pl.col(name).cast(pl.Categorical) for name in _NUMBERED if name in units.columns
    )


def _packet_list(side: Side) -> pl.DataFrame:
    packets = side.frames["packets"].sort("n")
    return packets.select(
        pl.col("n").cast(pl.UInt32),
        pl.col("ts").cast(pl.Datetime("ns", "UTC")).to_physical().alias("ts"),
        pl.col("len").cast(pl.UInt32),
        pl.col("cap_len").cast(pl.UInt32),
        pl.col("linktype").cast(pl.UInt16),
        pl.col("protocol").cast(pl.String),
        pl.col("src").cast(pl.String),
        pl.col("srcport").cast(pl.UInt16),
        pl.col("flow").cast(pl.UInt32),
        pl.col("payload_bytes").cast(pl.Int64).alias("payload.bytes"),
        pl.col("payload_offset").cast(pl.UInt32).alias("payload.offset"),
    )


def _with_direction(units: pl.DataFrame, flows: pl.DataFrame | None) -> pl.DataFrame:
    if flows is None or not flows.height:
        return units.with_columns(dir=pl.lit(None, pl.Int8))
    origin = flows.select(
        pl.col("flow").cast(pl.UInt32),
        pl.col("src").cast(pl.String).alias("_src"),
        pl.col("srcport").cast(pl.UInt16).alias("_port"),
    )
    units = units.join(origin, on="flow", how="left", maintain_order="left")
    same = (pl.col("src") == pl.col("_src")) & (pl.col("srcport") == pl.col("_port"))
    known = pl.when(pl.col("flow").is_not_null()).then(pl.when(same).then(0).otherwise(1))
    return units.with_columns(known.cast(pl.Int8).alias("dir")).drop("_src", "_port")


def _one_row_a_packet(side: Side, table: Table) -> pl.DataFrame:
    frame = side.frames.get(table.name)
    if frame is None or not frame.height:
        frame = pl.DataFrame(schema={c.name: _EMPTY[c.kind] for c in table.columns})
    if "depth" in frame.columns:
        frame = frame.sort("n", "depth").unique("n", keep="first", maintain_order=True)
    keep = [c for c in table.columns if f"{table.name}.{c.name}" in _READ and c.name in frame.columns]
    casts = [pl.col(c.name).cast(_EMPTY[c.kind]).alias(f"{table.name}.{c.name}") for c in keep]
    return frame.select(pl.col("n").cast(pl.UInt32), *casts)


def _with_later(units: pl.DataFrame, side: Side) -> pl.DataFrame:
    """Adds the columns of the second and the third IP header, if any packet has one."""
    frame = side.frames.get(IP.name)
    # What an ICMP error quotes is another packet's header; its bytes are compared as payload.
    mine = (pl.col("depth") > 0) & ~pl.col("quoted")
    if frame is None or not frame.select(mine.any()).item():
        return units
    inner = (
        frame.filter(~pl.col("quoted")).sort("n", "depth").with_columns(_at=pl.int_range(pl.len()).over("n"))
    )
    for place, number in enumerate(LATER, 1):
        some = inner.filter(pl.col("_at") == place)
        if not some.height:
            break
        later = _one_row_a_packet(replace(side, frames={IP.name: some}), IP).with_columns(
            _checksum_state(IP.name)
        )
        wanted = [f.column or f.name for f in FIELDS if f.name.startswith("ip.") and f.name.endswith(number)]
        named = later.select("n", **{column: pl.col(plain_name(column)) for column in wanted})
        units = units.join(named, on="n", how="left", maintain_order="left")
    return units


def alike(units: list[pl.DataFrame]) -> None:
    """Gives both sides the columns that either has."""
    for mine, other in ((0, 1), (1, 0)):
        lacking = {c: kind for c, kind in units[other].schema.items() if c not in units[mine].columns}
        units[mine] = units[mine].with_columns(**{c: pl.lit(None, kind) for c, kind in lacking.items()})


def _checksum_state(table: str) -> pl.Expr:
    """Value, status and partial mark as one number, so that one comparison sees all three."""
    value = pl.col(f"{table}.checksum").cast(pl.Int64)
    status = pl.col(f"{table}.checksum_status").cast(pl.Int64)
    total = value + status * 0x10000
    if table != "ip":
        total = total + pl.col(f"{table}.checksum_partial").cast(pl.Int64) * 0x100000
    return total.cast(pl.UInt32).alias(f"{table}.checksum_state")


def bases_of(units: pl.DataFrame) -> pl.DataFrame:
    """Initial sequence number of each TCP direction: flow, dir, base, syn (whether it has a SYN)."""
    tcp = units.filter(pl.col("proto") == "tcp").select(
        "flow",
        "dir",
        flags="tcp.flags",
        seq=pl.col("tcp.seq_raw").cast(pl.Int64),
        ack=pl.col("tcp.ack_raw").cast(pl.Int64),
    )
    syn, ack = pl.col("flags") & _SYN != 0, pl.col("flags") & _ACK != 0
    seq = pl.col("seq")
    firsts = tcp.group_by("flow", "dir").agg(
        syn_seq=seq.filter(syn).first(),
        next_seq=seq.filter(~syn & (pl.col("flags") & _RST == 0)).first(),
        any_seq=seq.first(),
        acked=pl.col("ack").filter(ack).first(),
    )
    return voted_bases(firsts)


def voted_bases(firsts: pl.DataFrame) -> pl.DataFrame:
    """The same from what the first packets of each direction say.

    The SYN's number, unless two later witnesses (what the peer acknowledges, the first segment behind it)
    agree on another; without a SYN one less than the first number seen.

    Parameters
    ----------
    firsts : polars.DataFrame
        flow, dir, and the first raw numbers: syn_seq (of a SYN), next_seq (of neither SYN nor RST), any_seq,
        acked (acknowledgement).
    """
    keys = ["flow", "dir"]
    peer = firsts.select("flow", acked=(pl.col("acked") - 1) % 2**32, dir=1 - pl.col("dir"))
    both = firsts.drop("acked").join(peer, on=keys, how="left")
    both = both.with_columns(next_seq=(pl.col("next_seq") - 1) % 2**32)
    outvoted = (pl.col("next_seq") == pl.col("acked")) & (pl.col("syn_seq") != pl.col("next_seq"))
    base = pl.when(outvoted).then(pl.col("next_seq")).otherwise(pl.coalesce("syn_seq", "next_seq", "any_seq"))
    return both.select(*keys, base=base, syn=pl.col("syn_seq").is_not_null())


def relative(units: pl.DataFrame, bases: pl.DataFrame) -> pl.DataFrame:
    """Adds tcp.seq, tcp.ack (i64, unwrapped), tcp.sack, tcp.sack_raw, kind, start, end to the units.

    `kind` is syn, syn-ack, rst, data, fin, probe (no data, one below the highest number sent), ack; or
    datagram; or the protocol of other packets. `start` and `end` bound the sequence space it takes.
    """
    units = _with_bases(units, bases)
    flags = pl.col("tcp.flags")
    ack = pl.when((flags & _ACK) != 0).then(pl.col("tcp.ack_raw"))
    units = _with_sack(units).with_columns(
        _unwrapped(pl.col("tcp.seq_raw"), pl.col("base")).alias("tcp.seq"),
        _unwrapped(ack, pl.col("peer_base")).alias("tcp.ack"),
    )
    length = pl.col("tcp.len").fill_null(0).cast(pl.Int64)
    space = length + ((flags & _SYN) != 0).cast(pl.Int64) + ((flags & _FIN) != 0).cast(pl.Int64)
    units = units.with_columns(start=pl.col("tcp.seq"), end=pl.col("tcp.seq") + space)
    sent = pl.col("end").cum_max().shift(1).over("flow", "dir")
    kind = (
        pl.when(pl.col("proto") == "udp").then(pl.lit("datagram"))
        .when(pl.col("proto") != "tcp").then(pl.col("protocol"))
        .when((flags & _RST) != 0).then(pl.lit("rst"))
        .when((flags & (_SYN | _ACK)) == (_SYN | _ACK)).then(pl.lit("syn-ack"))
        .when((flags & _SYN) != 0).then(pl.lit("syn"))
        .when(length > 0).then(pl.lit("data"))
        .when((flags & _FIN) != 0).then(pl.lit("fin"))
        .when(pl.col("start") == sent - 1).then(pl.lit("probe"))
        .otherwise(pl.lit("ack"))
    )  # fmt: skip
    return units.with_columns(kind=kind).drop("base", "peer_base")


def placed(units: pl.DataFrame, bases: pl.DataFrame, numbers: pl.DataFrame) -> pl.DataFrame:
    """The same columns for some packets of a capture, from numbers that were found over all of them.

    Parameters
    ----------
    units : polars.DataFrame
    bases : polars.DataFrame
    numbers : polars.DataFrame
        n, start, end, tcp.ack, kind (null for packets of no flow).
    """
    units = _with_sack(_with_bases(units, bases))
    units = units.join(numbers, on="n", how="left", maintain_order="left")
    units = units.with_columns(pl.col("start").alias("tcp.seq"), kind=pl.coalesce("kind", "protocol"))
    return units.drop("base", "peer_base")


def _with_bases(units: pl.DataFrame, bases: pl.DataFrame) -> pl.DataFrame:
    peer = bases.select("flow", dir=1 - pl.col("dir"), peer_base="base")
    own = bases.select("flow", "dir", "base")
    units = units.join(own, on=["flow", "dir"], how="left", maintain_order="left")
    return units.join(peer, on=["flow", "dir"], how="left", maintain_order="left")


def with_elapsed(units: pl.DataFrame) -> pl.DataFrame:
    """Adds `elapsed`: ns since the flow's first packet, or the capture's for packets of no flow."""
    flow_start = pl.col("ts").min().over("flow")
    start = pl.when(pl.col("flow").is_not_null()).then(flow_start).otherwise(pl.col("ts").min())
    return units.with_columns(elapsed=pl.col("ts") - start)


def _unwrapped(raw: pl.Expr, base: pl.Expr) -> pl.Expr:
    """Distance from the base without wrap-around: the first one signed, then the sum of signed steps."""
    value = raw.cast(pl.Int64)
    before = value.forward_fill().shift(1).over("flow", "dir")
    step = value - pl.coalesce(before, base)
    signed = (step + 2**31 + 2**32) % 2**32 - 2**31
    known = signed.fill_null(0).cum_sum().over("flow", "dir")
    return pl.when(raw.is_not_null() & base.is_not_null()).then(known)


def _with_sack(units: pl.DataFrame) -> pl.DataFrame:
    base = pl.col("peer_base").cast(pl.UInt32)
    edges = units.with_columns(
        _le=pl.col("tcp.options_sack_le") - base, _re=pl.col("tcp.options_sack_re") - base
    )
    return edges.with_columns(
        pl.concat_list("_le", "_re").alias("tcp.sack"),
        pl.concat_list("tcp.options_sack_le", "tcp.options_sack_re").alias("tcp.sack_raw"),
    ).drop("_le", "_re", "tcp.options_sack_le", "tcp.options_sack_re")
