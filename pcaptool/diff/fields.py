"""The fields that are compared, as a table: layer, column, rules that may explain a difference, weight.

Knows: which column of which report table is a field of which layer.
Must not know: how rules decide, or how packets were aligned.
Names are `table.column`, with `#2` and `#3` those of the second and third IP header, and `#2` those of the link header
inside a tunnel; `tcp.seq`, `tcp.ack` and the SACK
edges are the relative numbers that `units` adds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["FIELDS", "FIELD_BY_NAME", "IN_ORDER", "LATER", "LAYERS", "ComparedField", "plain_name"]

LAYERS = ("link", "network", "transport", "application")
# Of the second and the third IP header.
LATER = ("#2", "#3")


@dataclass(frozen=True, slots=True)
class ComparedField:
    """One compared field.

    Parameters
    ----------
    name : str
        `table.column`, as people see it.
    layer : str
        One of `LAYERS`.
    weight : int
        Differences of heavier fields are told first.
    rules : tuple of str
        Names in `rules.RULES` that may make two differing values equal; the first that does is credited.
    column : str
        Column of the units that holds the raw value; the name if empty.
    shown : str
        Column that is shown to people; the raw one if empty.
    per_segment : bool
        Whether it is still comparable where one side's frame is several of the other's.
    follows : tuple of str
        Fields whose difference in the same packet explains this one.
    """

    name: str
    layer: str
    weight: int
    rules: tuple[str, ...] = ()
    column: str = ""
    shown: str = ""
    per_segment: bool = False
    follows: tuple[str, ...] = ()


# What each checksum covers: where one of these differs, another value of the checksum is no news.
_PSEUDO = (
    "ip.src",
    "ip.dst",
    *(f"ip.{end}{n}" for n in LATER for end in ("src", "dst")),
    *(f"link.{c}{LATER[0]}" for c in ("src", "dst", "type", "vlan_id")),
    "payload",
    "payload.bytes",
)
_IP_SUMMED = (
    "ip.version", "ip.src", "ip.dst", "ip.hdr_len", "ip.dsfield", "ip.len", "ip.id", "ip.flags",
    "ip.frag_offset",
    "ip.ttl", "ip.proto", "tcp.len", "tcp.hdr_len",
)  # fmt: skip
_TCP_SUMMED = (
    *_PSEUDO, "tcp.srcport", "tcp.dstport", "tcp.seq", "tcp.ack", "tcp.flags", "tcp.window_size_value",
    "tcp.urgent_pointer", "tcp.len", "tcp.option_kinds", "tcp.options_mss_val", "tcp.options_wscale_shift",
    "tcp.options_timestamp_tsval", "tcp.options_timestamp_tsecr", "tcp.options_sack",
)  # fmt: skip
_UDP_SUMMED = (*_PSEUDO, "udp.srcport", "udp.dstport", "udp.length")


def _fields() -> tuple[ComparedField, ...]:
    field = ComparedField
    return (
        field("link.kind", "link", 50, per_segment=True),
        field("link.src", "link", 20, ("mac-map",), per_segment=True, follows=("link.kind",)),
        field("link.dst", "link", 20, ("mac-map",), per_segment=True, follows=("link.kind",)),
        field("link.type", "link", 50, per_segment=True, follows=("ip.version",)),
        field("link.vlan_id", "link", 50, per_segment=True),
        field("link.vlan_priority", "link", 40, per_segment=True, follows=("link.vlan_id",)),
        field("link.padding_bytes", "link", 30),
        field("arp.opcode", "network", 60),
        field("arp.hw_type", "network", 40),
        field("arp.proto_type", "network", 40),
        field("arp.src_hw_mac", "network", 30, ("mac-map",)),
        field("arp.src_proto_ipv4", "network", 40, ("address-map",)),
        field("arp.dst_hw_mac", "network", 30, ("mac-map",)),
        field("arp.dst_proto_ipv4", "network", 40, ("address-map",)),
        field("ip.version", "network", 60, per_segment=True),
        field("ip.src", "network", 60, ("address-map",), per_segment=True),
        field("ip.dst", "network", 60, ("address-map",), per_segment=True),
        field("ip.hdr_len", "network", 40),
        field("ip.dsfield", "network", 55, per_segment=True),
        field("ip.len", "network", 30, follows=("tcp.len", "tcp.hdr_len", "udp.length", "payload.bytes")),
        field("ip.id", "network", 35, ("ip-id-start",)),
        field("ip.flags", "network", 50, per_segment=True),
        field("ip.frag_offset", "network", 50),
        field("ip.ttl", "network", 55, per_segment=True),
        field("ip.proto", "network", 60, per_segment=True),
        field("ip.flow_label", "network", 35, ("flow-label",), per_segment=True),
        field("tcp.srcport", "transport", 60, ("client-port",), per_segment=True),
        field("tcp.dstport", "transport", 60, ("client-port",), per_segment=True),
        field("tcp.seq", "transport", 80, ("isn",), column="tcp.seq_raw", shown="tcp.seq"),
        field("tcp.ack", "transport", 78, ("isn",), column="tcp.ack_raw", shown="tcp.ack"),
        field("tcp.flags", "transport", 75),
        field("tcp.window_size_value", "transport", 70),
        field("tcp.urgent_pointer", "transport", 50),
        field("tcp.len", "transport", 85),
        field("tcp.option_kinds", "transport", 72),
        field("tcp.hdr_len", "transport", 40, follows=("tcp.option_kinds", "tcp.options_sack")),
        field("tcp.options_mss_val", "transport", 74),
        field("tcp.options_wscale_shift", "transport", 74),
        field("tcp.options_sack_perm", "transport", 74, follows=("tcp.option_kinds",)),
        field("tcp.options_timestamp_tsval", "transport", 45, ("tsval-clock",)),
        field("tcp.options_timestamp_tsecr", "transport", 45, ("tsecr-echo",)),
        field("tcp.options_sack", "transport", 73, ("isn",), column="tcp.sack_raw", shown="tcp.sack"),
        field("udp.srcport", "transport", 60, ("client-port",)),
        field("udp.dstport", "transport", 60, ("client-port",)),
        field("udp.length", "transport", 80),
        field("payload.bytes", "application", 88, follows=("tcp.len", "udp.length")),
        field(
            "payload", "application", 90, ("http-date", "client-port"), column="payload_print",
            follows=("payload.bytes", "tcp.len", "udp.length"),
        ),
        field("ip.checksum", "network", 25, ("checksum",), "ip.checksum_state", follows=_IP_SUMMED),
        field("tcp.checksum", "transport", 25, ("checksum",), "tcp.checksum_state", follows=_TCP_SUMMED),
        field("udp.checksum", "transport", 25, ("checksum",), "udp.checksum_state", follows=_UDP_SUMMED),
    )  # fmt: skip


def plain_name(name: str) -> str:
    """A field's name without the number of its header.

    Examples
    --------
    >>> plain_name("ip.ttl#2"), plain_name("ip.ttl")
    ('ip.ttl', 'ip.ttl')
    """
    return name.partition("#")[0]


def _of_later(number: str) -> tuple[ComparedField, ...]:
    """The same of a later IP header, which tunnels have; named as in Wireshark's display filters."""
    return tuple(
        replace(
            item, name=item.name + number, column=item.column and item.column + number,
            follows=tuple(f + number if f.startswith("ip.") else f for f in item.follows),
        )
        for item in _fields() if item.name.startswith("ip.")
    )  # fmt: skip


def _of_inner_link() -> tuple[ComparedField, ...]:
    """What the link header inside a tunnel says.

    Where the frame in front has no tag, `link.vlan_id` is the inner one already (the outermost there is).
    """
    wanted = {
        "link.src": (),
        "link.dst": (),
        "link.type": ("ip.version#2",),
        "link.vlan_id": ("link.vlan_id",),
    }
    return tuple(
        replace(item, name=item.name + LATER[0], follows=wanted[item.name])
        for item in _fields() if item.name in wanted
    )  # fmt: skip


FIELDS = (*_fields(), *_of_inner_link(), *(item for number in LATER for item in _of_later(number)))


def _turn(item: ComparedField) -> int:
    """Fields that may follow from others are compared behind them, sums and totals last."""
    name = plain_name(item.name)
    return bool(item.follows) + (name == "ip.len" or name.endswith(".checksum"))


IN_ORDER = tuple(sorted(FIELDS, key=_turn))
FIELD_BY_NAME = {f.name: f for f in FIELDS}
