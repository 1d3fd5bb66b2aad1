"""One table for each header: link, arp, ip, tcp, udp.

Column names are Wireshark's without the layer's prefix, dots as underscores; values are equal to
Wireshark's (`tests/oracle`), with lengths in bytes.
`depth` counts headers of the same kind from the outside (0), so tunnels keep every header.
"""

from __future__ import annotations

from pcaptool.tables.definition import Column, Table
from pcaptool.tables.tcp_analysis import TCP_ANALYSIS, TCP_NUMBERS, TCP_SENDER

__all__ = ["ARP", "ICMP", "IGMP", "IP", "LINK", "TCP", "UDP"]

_N = Column("n", "u32", "packet number", "frame.number")
_DEPTH = Column("depth", "u8", "0 for the outermost header of this kind")
_QUOTED = Column("quoted", "bool", "quoted by an ICMP error: the header of another packet")
_STATUS_DOC = "0 bad, 1 good, 2 unverified (cut, fragment or partial), 3 not present"

LINK = Table(
    name="link",
    version=1,
    row="packet",
    doc="The link layer: what stands in front of the network header.",
    columns=(
        _N,
        Column("kind", "text", "eth, sll, sll2, null, loop, raw, ppp, radiotap, wlan, ..."),
        Column("src", "text", "link source address", "eth.src sll.src.eth wlan.sa", nullable=True),
        Column("dst", "text", "link destination address", "eth.dst wlan.da", nullable=True),
        Column("type", "u16", "EtherType behind all tags", nullable=True),
        Column("vlan_id", "u16", "outermost 802.1Q tag: VLAN", nullable=True),
        Column("vlan_priority", "u8", "outermost 802.1Q tag: priority", nullable=True),
        Column("hdr_bytes", "u16", "bytes in front of the network header"),
        Column("padding_bytes", "u32", "captured bytes behind the network packet"),
    ),
)

ARP = Table(
    name="arp",
    version=1,
    row="ARP packet",
    doc="Address resolution (RFC 826): who asks for whom, and who answers.",
    columns=(
        _N,
        Column("hw_type", "u16", "hardware address space, 1 is Ethernet", "arp.hw.type"),
        Column("proto_type", "u16", "protocol address space", "arp.proto.type"),
        Column("opcode", "u16", "1 request, 2 reply", "arp.opcode"),
        Column("src_hw_mac", "text", "sender's hardware address", "arp.src.hw_mac", nullable=True),
        Column("src_proto_ipv4", "text", "sender's address", "arp.src.proto_ipv4", nullable=True),
        Column("dst_hw_mac", "text", "target's hardware address", "arp.dst.hw_mac", nullable=True),
        Column("dst_proto_ipv4", "text", "target's address", "arp.dst.proto_ipv4", nullable=True),
    ),
)

IP = Table(
    name="ip",
    version=1,
    row="IP header",
    doc="IPv4 and IPv6 headers. A super-packet of segmentation offload has its true length here, or 0.",
    columns=(
        _N,
        _DEPTH,
        Column("version", "u8", "4 or 6", "ip.version"),
        Column("src", "text", "source address", "ip.src ipv6.src"),
        Column("dst", "text", "destination address", "ip.dst ipv6.dst"),
        Column(
            "hdr_len",
            "u16",
            "header with options (IPv6: with extension headers) in bytes",
            "ip.hdr_len",
        ),
        Column("dsfield", "u8", "TOS byte or traffic class", "ip.dsfield ipv6.tclass"),
        Column(
            "len",
            "u32",
            "IPv4 total length, IPv6 payload length, as it stands in the header",
            "ip.len ipv6.plen",
        ),
        Column("id", "u16", "IPv4 identification", "ip.id", nullable=True),
        Column("flags", "u8", "IPv4: reserved 4, DF 2, MF 1", nullable=True),
        Column("frag_offset", "u32", "fragment offset in bytes"),
        Column("ttl", "u8", "time to live or hop limit", "ip.ttl ipv6.hlim"),
        Column("proto", "u8", "protocol behind this header and its extensions", "ip.proto"),
        Column("checksum", "u16", "IPv4 header checksum", "ip.checksum", nullable=True),
        Column("checksum_status", "u8", _STATUS_DOC, "ip.checksum.status", nullable=True),
        Column("flow_label", "u32", "IPv6 flow label", "ipv6.flow", nullable=True),
        Column("payload_bytes", "u32", "bytes behind the header, by the header"),
        Column("option_types", "u8_list", "IPv4: types of its options in wire order", "ip.opt.type"),
        Column(
            "extension_headers",
            "u8_list",
            "IPv6: hop-by-hop 0, routing 43, fragment 44, destination 60, in wire order",
        ),
        _QUOTED,
    ),
)

TCP = Table(
    name="tcp",
    version=1,
    row="TCP header",
    doc="TCP headers with their options (RFC 9293, 7323, 2018, 5925, 7413, 8684; of others the kind).",
    columns=(
        _N,
        _DEPTH,
        Column("flow", "u32", "row of `flows`", nullable=True),
        Column("srcport", "u16", "source port", "tcp.srcport"),
        Column("dstport", "u16", "destination port", "tcp.dstport"),
        Column("seq_raw", "u32", "sequence number", "tcp.seq_raw"),
        Column("ack_raw", "u32", "acknowledgement number", "tcp.ack_raw"),
        Column("hdr_len", "u8", "header with options in bytes", "tcp.hdr_len"),
        Column(
            "flags",
            "u16",
            "12 bits: reserved, AE, CWR ECE URG ACK PSH RST SYN FIN",
            "tcp.flags",
        ),
        Column("window_size_value", "u16", "window, not scaled", "tcp.window_size_value"),
        Column("checksum", "u16", "checksum", "tcp.checksum"),
        Column("checksum_status", "u8", _STATUS_DOC, "tcp.checksum.status"),
        Column(
            "checksum_partial",
            "bool",
            "holds only the pseudo-header's sum: a device was to complete it",
        ),
        Column("urgent_pointer", "u16", "urgent pointer", "tcp.urgent_pointer"),
        Column("len", "u32", "payload bytes by the IP header", "tcp.len", nullable=True),
        Column("payload_offset", "u32", "where the payload begins in the captured bytes"),
        Column("option_kinds", "u8_list", "option kinds in wire order", "tcp.option_kind"),
        Column(
            "options_mss_val",
            "u16",
            "maximum segment size",
            "tcp.options.mss_val",
            nullable=True,
        ),
        Column(
            "options_wscale_shift",
            "u8",
            "window scale",
            "tcp.options.wscale.shift",
            nullable=True,
        ),
        Column("options_sack_perm", "bool", "SACK permitted"),
        Column(
            "options_timestamp_tsval", "u32", "timestamp value", "tcp.options.timestamp.tsval", nullable=True
        ),
        Column(
            "options_timestamp_tsecr",
            "u32",
            "timestamp echo reply",
            "tcp.options.timestamp.tsecr",
            nullable=True,
        ),
        Column("options_sack_le", "u32_list", "left edges of SACK blocks", "tcp.options.sack_le"),
        Column("options_sack_re", "u32_list", "right edges of SACK blocks", "tcp.options.sack_re"),
        Column(
            "options_mptcp_subtypes",
            "u8_list",
            "Multipath TCP (RFC 8684) subtypes",
            "tcp.options.mptcp.subtype",
        ),
        Column(
            "options_tfo_cookie_bytes",
            "u8",
            "Fast Open (RFC 7413): length of the cookie, 0 a request for one",
            nullable=True,
        ),
        Column(
            "options_ao_keyid",
            "u8",
            "authentication option (RFC 5925): KeyID",
            "tcp.options.ao.keyid",
            nullable=True,
        ),
        Column(
            "options_ao_rnextkeyid",
            "u8",
            "authentication option: RNextKeyID",
            "tcp.options.ao.rnextkeyid",
            nullable=True,
        ),
        _QUOTED,
        *TCP_NUMBERS,
        *TCP_ANALYSIS,
        *TCP_SENDER,
    ),
)

ICMP = Table(
    name="icmp",
    version=1,
    row="ICMP header",
    doc="ICMP (RFC 792) and ICMPv6 (RFC 4443). What an error quotes has rows in `ip`, `tcp`, `udp`, with `quoted`.",
    columns=(
        _N,
        _DEPTH,
        Column("version", "u8", "4 ICMP, 6 ICMPv6"),
        Column("type", "u8", "message type", "icmp.type icmpv6.type"),
        Column("code", "u8", "code of the type", "icmp.code icmpv6.code"),
        Column("checksum", "u16", "checksum", "icmp.checksum icmpv6.checksum"),
        Column(
            "checksum_status",
            "u8",
            _STATUS_DOC,
            "icmp.checksum.status icmpv6.checksum.status",
        ),
        Column(
            "ident",
            "u16",
            "echo, timestamp and the like: identifier",
            "icmp.ident icmpv6.echo.identifier",
            nullable=True,
        ),
        Column(
            "seq",
            "u16",
            "echo, timestamp and the like: sequence number",
            "icmp.seq icmpv6.echo.sequence_number",
            nullable=True,
        ),
        _QUOTED,
    ),
)

IGMP = Table(
    name="igmp",
    version=1,
    row="IGMP message",
    doc="Group membership (RFC 2236, RFC 3376): the fixed part of each message.",
    columns=(
        _N,
        Column("type", "u8", "message type", "igmp.type"),
        Column("max_resp", "u8", "second byte: largest response time, as coded"),
        Column("checksum", "u16", "checksum", "igmp.checksum"),
        Column("maddr", "text", "group address", nullable=True),
    ),
)

UDP = Table(
    name="udp",
    version=1,
    row="UDP header",
    doc="UDP headers (RFC 768).",
    columns=(
        _N,
        _DEPTH,
        Column("flow", "u32", "row of `flows`", nullable=True),
        Column("srcport", "u16", "source port", "udp.srcport"),
        Column("dstport", "u16", "destination port", "udp.dstport"),
        Column("length", "u16", "header and payload in bytes", "udp.length"),
        Column("checksum", "u16", "checksum, 0 if not used", "udp.checksum"),
        Column("checksum_status", "u8", _STATUS_DOC, "udp.checksum.status"),
        Column("checksum_partial", "bool", "holds only the pseudo-header's sum"),
        Column("payload_offset", "u32", "where the payload begins in the captured bytes"),
        Column("payload_bytes", "u32", "payload bytes by the header"),
        _QUOTED,
    ),
)
