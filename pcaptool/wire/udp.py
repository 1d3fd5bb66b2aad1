"""UDP (RFC 768)."""

from __future__ import annotations

from pcaptool.wire.layout import Field, Layout

__all__ = ["UDP"]

UDP = Layout(
    "udp",
    "RFC 768",
    (
        Field("srcport", 16, "source port", "udp.srcport"),
        Field("dstport", 16, "destination port", "udp.dstport"),
        Field("length", 16, "header and payload in bytes", "udp.length"),
        Field("checksum", 16, "checksum, 0 if not used", "udp.checksum"),
    ),
)
