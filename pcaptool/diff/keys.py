"""Groups and keys of packets: what makes two packets candidates for each other.

Knows: four keys of falling strictness (identity, content, place, stray) for TCP, UDP and other packets.
Must not know: how packets are paired up by them (`align`).
"""

from __future__ import annotations

import polars as pl

from pcaptool.diff.stand_ins import stand_ins

__all__ = ["grouped"]

_OTHER_GROUPS = 1 << 40
_ACK_KINDS = ("ack", "probe")


def grouped(sides: list[pl.DataFrame], flows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Adds group and keys, sorts by group and number, counts rows.

    Parameters
    ----------
    sides : list of polars.DataFrame
        Units of both sides; emptied, so that each is held once.
    flows : polars.DataFrame
    """
    ends = pl.concat([flows.select(x="src_a", y="src_b"), flows.select(x="dst_a", y="dst_b")])
    stands_for = dict(stand_ins(ends))
    kinds = pl.concat([units["kind"] for units in sides]).drop_nulls().unique().sort()
    number = {k: _OTHER_GROUPS + i for i, k in enumerate(kinds.to_list())}
    group = (
        pl.when(pl.col("proto") == "other")
        .then(pl.col("kind").replace_strict(number, default=_OTHER_GROUPS, return_dtype=pl.Int64))
        .when(pl.col("pair") < 0).then(-1)
        .otherwise(pl.col("pair") * 2 + pl.col("dir").cast(pl.Int64))
    )  # fmt: skip
    out = []
    for canonical in (stands_for, {}):  # A's addresses as B's
        keyed = sides.pop(0).with_columns(
            _canonical("sender", canonical).alias("_from"),
            _canonical("ip.dst", canonical).alias("_to"),
            _canonical("arp.dst_proto_ipv4", canonical).alias("_asked"),
        )
        keyed = keyed.with_columns(g=group)
        for name, key in _keys().items():  # one at a time: what is hashed is laid out anew for it
            keyed = keyed.with_columns(key.alias(name))
        keyed = keyed.with_columns(
            pl.col("sender", "protocol").cast(pl.Categorical)
        )  # as `units` does with others
        keyed = _sorted(keyed.drop("_from", "_to", "_asked"))
        out.append(keyed.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64)))
    return out[0], out[1]


def _sorted(units: pl.DataFrame) -> pl.DataFrame:
    """By group and number; column by column, each let go when its copy is there: units are most of the memory."""
    order = units.select(pl.arg_sort_by("g", "n")).to_series()
    return pl.DataFrame([units.drop_in_place(name).gather(order) for name in units.columns])


def _keys() -> dict[str, pl.Expr]:
    tcp, other = pl.col("proto") == "tcp", pl.col("proto") == "other"
    acked = pl.when(pl.col("kind").is_in(_ACK_KINDS)).then("tcp.ack")
    sack = pl.col("tcp.sack").cast(pl.List(pl.String)).list.join(",")
    place_tcp = pl.struct("kind", "start", "end", ack=acked).hash()
    content_tcp = pl.struct(
        "kind", "start", "end", "tcp.ack", "tcp.flags", "tcp.window_size_value", "masked_print", sack=sack
    ).hash()
    raw_tcp = pl.struct("tcp.seq_raw", "tcp.ack_raw", "tcp.flags", "tcp.len").hash()
    identity_tcp = pl.struct(
        "tcp.seq_raw",
        "tcp.ack_raw",
        "tcp.flags",
        "tcp.len",
        "tcp.window_size_value",
        "ip.id",
        "tcp.options_timestamp_tsval",
    ).hash()
    place_other = pl.struct("kind", "_from", "_to", "_asked", "arp.opcode").hash()
    content_other = pl.struct(
        "kind", "_from", "_to", "_asked", "arp.opcode", "payload_print", "payload.bytes"
    ).hash()
    content_udp = pl.struct("masked_print", "payload.bytes").hash()
    identity_other = pl.struct("frame_print", "ip.id", "payload.bytes").hash()
    return {
        "identity": pl.when(tcp).then(identity_tcp).otherwise(identity_other),
        "content": pl.when(tcp).then(content_tcp).when(other).then(content_other).otherwise(content_udp),
        "place": pl.when(tcp)
        .then(place_tcp)
        .when(other)
        .then(place_other)
        .otherwise(pl.struct("payload.bytes").hash()),
        "stray": pl.when(tcp).then(raw_tcp),
    }


def _canonical(column: str, stands_for: dict[str, str]) -> pl.Expr:
    text = pl.col(column).cast(pl.String)
    return text.replace(stands_for) if stands_for else text
