"""UDP that is not as it should be, and tunnels by port: every column equals tshark's."""

from __future__ import annotations

import dpkt
import pytest

from pcaptool.verify import verify

pytestmark = pytest.mark.oracle

A, B = b"\xc0\0\2\1", b"\xc0\0\2\2"


def packet(payload, proto=17, *, longer=0):
    """An IPv4 packet that claims to be longer than it is."""
    ip = dpkt.ip.IP(src=A, dst=B, p=proto, data=payload)
    ip.len = 20 + len(payload) + longer
    return bytes(ip)


def udp(sport, dport, data, *, longer=0):
    made = dpkt.udp.UDP(sport=sport, dport=dport, data=data, ulen=8 + len(data) + longer)
    made.sum = 0x1234
    return bytes(made)


def gre(inner):
    return bytes.fromhex("00000800") + inner


INNER = packet(udp(7, 8, b"inner"))
PACKETS = {
    "wrong sum": packet(udp(40000, 9, b"x" * 30)),
    "longer than the IP packet": packet(udp(40000, 9, b"x" * 30, longer=1)),
    "longer than the frame": packet(udp(40000, 9, b"x" * 30, longer=100), longer=100),
    "shorter than the IP packet": packet(udp(40000, 9, b"x" * 30, longer=-10)),
    "GRE in UDP": packet(udp(40000, 4754, gre(INNER))),
    "GRE in UDP, the other way": packet(udp(4754, 40000, gre(INNER))),
    "GRE in UDP in GRE": packet(gre(packet(udp(40000, 4754, gre(INNER)))), 47),
}


@pytest.mark.parametrize("what", PACKETS)
def test_columns_are_sharks(what, tmp_path):
    with (tmp_path / "u.pcap").open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        writer.writepkt(bytes(dpkt.ethernet.Ethernet(type=0x800, data=PACKETS[what])), 1)
    verdict = verify(tmp_path / "u.pcap")
    assert [str(mismatch) for mismatch in verdict.mismatches] == []
    assert verdict.values > 20
