"""Options that hardly any capture holds, made here: tshark finds the same ones in every packet."""

from __future__ import annotations

import random
import struct

import pytest

from pcaptool.analyze.pipeline import frames
from pcaptool.engine import Engine
from pcaptool.verify import verify
from pcaptool.wire.checksum import sum16

pytestmark = pytest.mark.oracle

# Kind of a TCP option, and the lengths of its data.
TCP_OPTIONS = {2: [2], 3: [1], 4: [0], 5: [8, 16], 8: [8], 28: [2], 29: [14], 34: [0, 4, 8, 16], 254: [4]}
# MPTCP options (RFC 8684 section 3): subtype and flags, and how many bytes follow. Those of
# handshakes are left out: in these packets tshark 4.0 gives up at them (a dissector bug, as it says itself).
MPTCP = [
    *((b"\x20\x01", 4), (b"\x20\x04", 10), (b"\x34\x01", 4)),
    *((b"\x40\x01", 0), (b"\x51", 0), (b"\x60\x00", 8), (b"\x70\x00", 8)),
]
IP_OPTIONS = {7: [5], 68: [6], 131: [5], 136: [2], 148: [2]}


def padded(parts, chance, size=40):
    """As many of the options as fit, with NOPs between some and NOPs or an end mark behind."""
    out = b""
    for part in parts:
        more = b"\1" * chance.randrange(3) + part
        if len(out) + len(more) <= size:
            out += more
    fill = -len(out) % 4
    return out + (b"\0" * fill if chance.random() < 0.5 else b"\1" * fill)


def tcp_options(chance):
    """Each kind but MPTCP's at most once: a column holds the first one's value."""
    kinds = chance.sample([*TCP_OPTIONS, 30, 30, 30], chance.randrange(5))

    def one(kind):
        if kind == 30:
            begin, size = chance.choice(MPTCP)
            data = begin + chance.randbytes(size)
        else:
            data = chance.randbytes(chance.choice(TCP_OPTIONS[kind]))
        return bytes([kind, 2 + len(data)]) + data

    return padded([one(kind) for kind in kinds], chance)


def ip_options(chance):
    def one():
        kind = chance.choice(list(IP_OPTIONS))
        size = chance.choice(IP_OPTIONS[kind])
        return bytes([kind, 2 + size, 3 + size]) + bytes(
            size - 1
        )  # a pointer behind the end: nothing to come

    return padded([one() for _ in range(chance.randrange(3))], chance)


def packet(chance):
    options = tcp_options(chance)
    tcp = struct.pack("!HHIIBBHHH", 4000, 80, 1, 1, (20 + len(options)) << 2, 0x10, 500, 0, 0) + options
    if chance.random() < 0.7:
        extra = ip_options(chance)
        word = 0x40 | (20 + len(extra)) >> 2
        ip = struct.pack("!BBHHHBBH", word, 0, 20 + len(extra) + len(tcp), 7, 0x4000, 64, 6, 0)
        ip += bytes([10, 0, 0, 1, 10, 0, 0, 2]) + extra
        return ip[:10] + struct.pack("!H", ~sum16(ip, 0) & 0xFFFF) + ip[12:] + tcp
    chain = [chance.choice([0, 60, 43]) for _ in range(chance.randrange(3))]
    chain.sort(key=bool)  # hop-by-hop comes first
    body = b""
    for kind, following in zip(chain, [*chain[1:], 6], strict=bool(chain)):
        # Six bytes of PadN; of a routing header: type 0 without addresses.
        body += bytes([following, 0]) + (bytes(6) if kind == 43 else bytes([1, 4, 0, 0, 0, 0]))
    first = chain[0] if chain else 6
    return (
        struct.pack("!IHBB", 6 << 28, len(body) + len(tcp), first, 64)
        + bytes(15)
        + b"\1"
        + bytes(15)
        + b"\2"
        + body
        + tcp
    )


@pytest.mark.parametrize("mode", ["plain", "compiled"])
def test_rare_options_equal_tshark(tmp_path, mode):
    chance = random.Random(20)
    path = tmp_path / "options.pcap"
    packets = [packet(chance) for _ in range(400)]
    records = (struct.pack("<IIII", 1, i, len(p), len(p)) + p for i, p in enumerate(packets))
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101) + b"".join(records))
    verdict = verify(path, engine=Engine(mode))
    assert not verdict.mismatches, "\n".join(map(str, verdict.mismatches[:10]))
    found = frames(path, ["ip", "tcp"], engine=Engine(mode))
    tcp, ip = found["tcp"], found["ip"]
    for table, column in ((tcp, "options_mptcp_subtypes"), (ip, "option_types"), (ip, "extension_headers")):
        assert (table[column].list.len() > 1).sum() > 10, column  # the comparison was not empty
    assert set(tcp["options_tfo_cookie_bytes"].drop_nulls()) == {0, 4, 8, 16}
    assert tcp["options_ao_keyid"].drop_nulls().n_unique() > 10
