"""Who passed which stage of the egress path, and when.

Knows: rows of the `stages` table, as tuples of integers and short names.
Must not know: files, or columns in memory.
Stage names are those of `tables.stages.STAGE_NAMES`; a test holds them together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pcaptool.wire.ethernet import EtherType
from pcaptool.wire.ip import IpProtocol
from pcaptool.wire.tcp import SEQ_MASK

if TYPE_CHECKING:
    from pcaptool.stack.skbuff import SkBuff
    from pcaptool.stack.tcp.sock import TcpSock

__all__ = ["Noted", "StageRow", "Stages", "header_names"]

_PROTOCOLS = {
    int(IpProtocol.TCP): "tcp",
    int(IpProtocol.UDP): "udp",
    int(IpProtocol.ICMP): "icmp",
    int(IpProtocol.ICMPV6): "icmpv6",
}


def header_names(skb: SkBuff) -> str:
    """The headers of a frame, outermost first.

    Examples
    --------
    >>> from pcaptool.stack.skbuff import SkBuff
    >>> header_names(SkBuff(1, 1, ethertype=0x0806))
    'eth:arp'
    """
    if skb.ip is None:
        return "eth:arp" if skb.ethertype == EtherType.ARP else "eth:ipv6:icmpv6"
    if len(skb.ip.source) == 4:
        network = "eth:ip"
    else:
        network = "eth:ipv6" if skb.ip.fragment_id is None else "eth:ipv6:ipv6.fraghdr"
    if skb.ip.fragment_offset:
        return f"{network}:data"
    return f"{network}:{_PROTOCOLS.get(int(skb.ip.protocol), 'data')}"


# A row as it is noted: the values of a `StageRow`, whose making takes as long again.
Noted = tuple[int, int, str, str, int, int | None, int, int, int, str]


class StageRow(NamedTuple):
    """A buffer at a stage.

    Parameters
    ----------
    skb, origin : int
        The buffer, and the one it was cloned or cut from.
    host : str
    stage : str
    time_ns : int
    seq : int or None
        TCP sequence number of its first byte.
    payload_bytes, len_bytes : int
        Transport payload; all bytes it holds.
    gso_segs : int
    headers : str
        Headers written so far, outermost first.
    """

    skb: int
    origin: int
    host: str
    stage: str
    time_ns: int
    seq: int | None
    payload_bytes: int
    len_bytes: int
    gso_segs: int
    headers: str


class Stages:
    """The stage rows of one host.

    Parameters
    ----------
    host : str
        Its name in the rows.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self.noted: list[Noted] = []
        self._frame: SkBuff | None = None  # the last frame that passed a stage: most pass several in a row
        self._seq: int | None = None
        self._len_bytes = 0
        self._headers = ""
        self.drops: list[tuple[int, int, str]] = []  # time, buffer, why

    @property
    def rows(self) -> list[StageRow]:
        """The rows so far."""
        return [StageRow(*noted) for noted in self.noted]

    def pass_buffer(self, _sk: TcpSock, skb: SkBuff, stage: str, time_ns: int) -> None:
        """A buffer of the write queue passed a stage: it holds payload, and no header yet."""
        if not skb.length:
            return
        if stage == "tcp_write_xmit":
            # Only now is it known which bytes the buffer holds: what it passed before is written here.
            self._row(skb, "sys_enter_sendto", skb.written_ns, "", 0)
            self._row(skb, "tcp_sendmsg_locked", skb.copied_ns, "", 0)
        self._row(skb, stage, time_ns, "", 0)

    def pass_frame(self, skb: SkBuff, stage: str, time_ns: int) -> None:
        """A frame on its way down passed a stage, with its headers."""
        if skb is not self._frame:
            # Its headers are complete: nothing below changes how long they are.
            self._frame, self._headers = skb, header_names(skb)
            self._len_bytes = skb.length + skb.header_bytes
            self._seq = skb.seq & SEQ_MASK if skb.tcp is not None else None
        self.noted.append(
            (
                skb.number,
                skb.origin,
                self.host,
                stage,
                time_ns,
                self._seq,
                skb.length,
                self._len_bytes,
                skb.gso_segs,
                self._headers,
            )
        )

    def pass_packet(self, skb: SkBuff, stage: str, time_ns: int, headers: str, header_bytes: int) -> None:
        """A buffer above the link layer passed a stage, with these headers."""
        self._row(skb, stage, time_ns, headers, header_bytes)

    def drop(self, skb: SkBuff, reason: str, time_ns: int) -> None:
        """A buffer was dropped on this host (skb:kfree_skb)."""
        self._row(skb, "kfree_skb", time_ns, header_names(skb), skb.header_bytes)
        self.drops.append((time_ns, skb.number, reason))

    def _row(self, skb: SkBuff, stage: str, time_ns: int, headers: str, header_bytes: int) -> None:
        plain = skb.ip is not None or skb.udp is not None or headers
        seq = skb.seq & SEQ_MASK if skb.tcp is not None or not plain else None
        self.noted.append(
            (
                skb.number,
                skb.origin,
                self.host,
                stage,
                time_ns,
                seq,
                skb.length,
                skb.length + header_bytes,
                skb.gso_segs,
                headers,
            )
        )
