"""The report's tables: one definition each, from which schemas, docs, metadata and oracle tests are derived.

Knows: columns, types, units, Wireshark names, one line of documentation a column; Parquet in and out.
Must not know: how a value is computed.
"""

from __future__ import annotations

from pcaptool.tables.conversations import FLOWS
from pcaptool.tables.definition import Column, Table
from pcaptool.tables.exchanges import HTTP
from pcaptool.tables.handshakes import TLS
from pcaptool.tables.headers import ARP, ICMP, IGMP, IP, LINK, TCP, UDP
from pcaptool.tables.names import DNS
from pcaptool.tables.packets import PACKETS
from pcaptool.tables.replayed import REPLAY, REPLAY_HTTP
from pcaptool.tables.stages import STAGE_NAMES, STAGES
from pcaptool.tables.timings import TIMINGS

__all__ = [
    "ARP",
    "DNS",
    "FLOWS",
    "HTTP",
    "ICMP",
    "IGMP",
    "IP",
    "LINK",
    "OF_NO_CAPTURE",
    "PACKETS",
    "REPLAY",
    "REPLAY_HTTP",
    "STAGES",
    "STAGE_NAMES",
    "TABLES",
    "TCP",
    "TIMINGS",
    "TLS",
    "UDP",
    "Column",
    "Table",
]

# In the order of the layers, as people read a packet.
TABLES: dict[str, Table] = {
    t.name: t
    for t in (
        PACKETS,
        LINK,
        ARP,
        IP,
        ICMP,
        IGMP,
        TCP,
        UDP,
        FLOWS,
        DNS,
        TLS,
        HTTP,
        TIMINGS,
        STAGES,
        REPLAY,
        REPLAY_HTTP,
    )
}

# Tables that tell of a run, of the model or of a replay: no capture has them.
OF_NO_CAPTURE = frozenset({STAGES.name, REPLAY.name, REPLAY_HTTP.name})
